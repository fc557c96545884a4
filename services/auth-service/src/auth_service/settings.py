"""What the service reads from its environment."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from auth_service.keys.names import GLOBAL
from auth_service.keys.text import owner_in
from millrace_relational import DatabaseSetting
from millrace_relational.url import FORMS
from millrace_runtime.drain import DrainSettings
from millrace_runtime.settings import Settings
from millrace_runtime.tls import TlsSettings
from millrace_runtime.tracing import TracingSettings

ADMIN_KEY = "IDGEN_ADMIN_API_KEY"


def _admin_key(secret: SecretStr) -> SecretStr:
    if owner_in(secret.get_secret_value()) != GLOBAL:
        raise ValueError("not the text of a global admin key")
    return secret


class AuthSettings(Settings):
    """Settings of the composed service, whichever process it lives in."""

    auth_database_url: DatabaseSetting = Field(description=f"the service's own database: {FORMS}")
    credentials_file: Path | None = Field(
        default=None,
        description="file that the first start writes: workspace, admin_key, user_key; without it this process"
        " makes no keys, since `auth-service bootstrap` does",
    )
    credentials_renew: bool = Field(
        default=False,
        description="1 replaces first keys that are lost, revoked or expired, and writes the file anew",
    )
    admin_key: Annotated[SecretStr, AfterValidator(_admin_key)] | None = Field(
        default=None,
        validation_alias=ADMIN_KEY,
        description="idgen_global_ and 32 letters or digits; made if it is not set",
    )
    environment: Literal["development", "production"] = Field(
        default="development",
        validation_alias="IDGEN_ENV",
        description="production takes the admin key from the environment and offers no gRPC reflection",
    )

    @model_validator(mode="after")
    def _keys_have_a_file(self) -> Self:
        if self.credentials_file is None and (self.admin_key is not None or self.credentials_renew):
            raise ValueError(
                f"{ADMIN_KEY} and MILLRACE_CREDENTIALS_RENEW need MILLRACE_CREDENTIALS_FILE;"
                " give them to `auth-service bootstrap`"
            )
        return self


class BootstrapSettings(AuthSettings):
    """Settings of the process that makes the first keys and ends."""

    credentials_file: Path = Field(
        description="file that the first start writes: workspace, admin_key, user_key"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="DEBUG, INFO, WARNING or ERROR"
    )


class ServerSettings(AuthSettings, TlsSettings, TracingSettings, DrainSettings):
    """Settings of the process that serves auth-service alone."""

    host: str = Field(default="0.0.0.0", description="address to listen on")  # noqa: S104 ID-47's default
    port_offset: int = Field(default=0, ge=0, le=15_000, description="added to ports 8082, 50054 and 9094")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="DEBUG, INFO, WARNING or ERROR"
    )
