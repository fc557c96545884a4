"""What query-service reads from its environment."""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field

from millrace_runtime.drain import DrainSettings
from millrace_runtime.peers import CallerSettings, PeerSetting
from millrace_runtime.settings import Settings
from millrace_runtime.tls import TlsSettings
from millrace_runtime.tracing import TracingSettings


def _local_root(text: str) -> str:
    """`text` if it is an absolute path or a `file://` URL of one: a relative path would depend on the
    working directory."""
    scheme, host, path = _split(text)
    if scheme not in ("", "file"):
        raise ValueError("must be a path or a file:// URL")
    if host not in ("", "localhost"):
        raise ValueError("a file:// URL has three slashes before the path: file:///PATH")
    if not path.startswith("/"):
        raise ValueError("must be an absolute path")
    return text


def _memory_size(text: str) -> str:
    number = text.removesuffix("MB").removesuffix("GB")
    if number == text or not number.isdecimal() or int(number) == 0:
        raise ValueError("must be a size such as 512MB or 2GB")
    return text


class QuerySettings(Settings):
    """Settings of the composed service, whichever process it lives in."""

    lake: Annotated[str, AfterValidator(_local_root)] = Field(
        description="path or file:// URL of the `parquet` directory that holds the lake's tables"
    )
    archive: Annotated[str, AfterValidator(_local_root)] | None = Field(
        default=None, description="path or file:// URL of the archive; `archive` beside the lake if not set"
    )
    query_memory: Annotated[str, AfterValidator(_memory_size)] = Field(
        default="512MB", description="memory the query engine may use before it sorts on disk"
    )
    query_threads: int = Field(default=2, ge=1, le=64, description="threads of the query engine")
    query_workers: int = Field(
        default=4, ge=1, le=64, description="questions worked on at a time; others wait their turn"
    )

    def table_of(self, dataset: str) -> Path:
        """The directory of a table in the lake."""
        return Path(_split(self.lake)[2]) / dataset

    def archive_of(self, dataset: str) -> Path:
        """The directory of a table in the archive; it need not be there."""
        lake = Path(_split(self.lake)[2])
        root = lake.parent / "archive" if self.archive is None else Path(_split(self.archive)[2])
        return root / dataset


class ServerSettings(QuerySettings, TlsSettings, CallerSettings, TracingSettings, DrainSettings):
    """Settings of the process that serves query-service alone."""

    auth_url: PeerSetting = Field(
        description="host:port of auth-service's gRPC, which checks API keys; https://host:port by TLS"
    )
    host: str = Field(default="0.0.0.0", description="address to listen on")  # noqa: S104 as the others
    port_offset: int = Field(default=0, ge=0, le=15_000, description="added to ports 8081, 50053 and 9093")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="DEBUG, INFO, WARNING or ERROR"
    )
    environment: Literal["development", "production"] = Field(
        default="development",
        validation_alias="IDGEN_ENV",
        description="production offers no gRPC reflection",
    )


def _split(text: str) -> tuple[str, str, str]:
    """Scheme, host and path; a text without `://` is a path as it stands."""
    if "://" not in text:
        return "", "", text
    url = urlsplit(text)
    return url.scheme, url.netloc, unquote(url.path)
