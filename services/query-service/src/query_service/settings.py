"""What query-service reads from its environment."""

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field, model_validator

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


def megabytes(text: str) -> int:
    """A size such as 512MB or 2GB as a number of MB."""
    return int(text[:-2]) * (1024 if text.endswith("GB") else 1)


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
    sql_workers: int = Field(
        default=2,
        ge=1,
        le=32,
        description="SQL questions run at a time, each in a process; others wait their turn",
    )
    sql_memory: Annotated[str, AfterValidator(_memory_size)] = Field(
        default="256MB", description="memory that a SQL question may use before it sorts on disk"
    )
    sql_disk: Annotated[str, AfterValidator(_memory_size)] = Field(
        default="1GB", description="disk that a SQL question may sort on"
    )
    sql_time_s: float = Field(default=10.0, gt=0, le=3600, description="seconds that a SQL question may take")
    sql_rows: int = Field(
        default=10_000, ge=1, description="rows of a SQL answer when the question does not say how many"
    )
    sql_max_rows: int = Field(default=100_000, ge=1, description="rows of a SQL answer that may be asked for")
    sql_answer: Annotated[str, AfterValidator(_memory_size)] = Field(
        default="64MB", description="size of a SQL answer at most"
    )

    def table_of(self, dataset: str) -> Path:
        """The directory of a table in the lake."""
        return Path(_split(self.lake)[2]) / dataset

    def archive_of(self, dataset: str) -> Path:
        """The directory of a table in the archive; it need not be there."""
        return self.roots()[1] / dataset

    def roots(self) -> tuple[Path, Path]:
        """The directories of the lake's and of the archive's tables."""
        lake = Path(_split(self.lake)[2])
        return lake, lake.parent / "archive" if self.archive is None else Path(_split(self.archive)[2])

    @model_validator(mode="after")
    def _rows_within(self) -> Self:
        if self.sql_rows > self.sql_max_rows:
            raise ValueError("sql_rows must not be more than sql_max_rows")
        return self


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
