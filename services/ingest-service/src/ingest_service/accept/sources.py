"""Configured sources: a route each, and how its bodies are signed. From a YAML file, every mistake named by its key.

sources:
  - name: gateway
    path: /webhook/wechat
    signature:
      scheme: standard-webhooks          # or github, stripe, hmac-sha256
      secrets: [{env: GATEWAY_SECRET}, {file: /run/secrets/gateway_old}]
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ingest_service.accept.guard import Guard
from ingest_service.accept.signature import (
    DEFAULT_TOLERANCE_S,
    Encoding,
    GitHub,
    HmacSha256,
    Scheme,
    StandardWebhooks,
    Stripe,
    standard_webhooks_secret,
)
from ingest_service.yamlfile import read_yaml
from millrace_runtime.settings import SettingsError

_SCHEMES: Final = ("standard-webhooks", "github", "stripe", "hmac-sha256")

HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
Tolerance = Annotated[int, Field(ge=1, le=86_400)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, strict=True)


class SecretPlace(_Part):
    """Where a secret is: an environment variable or a file, never the configuration itself."""

    env: str | None = None
    file: str | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("must have one of env and file")
        return self

    def read(self, environ: Mapping[str, str]) -> str:
        """The secret, without the line end of a file. Raises ValueError that names the place, never the secret."""
        if self.env is not None:
            if not (value := environ.get(self.env)):
                raise ValueError(f"the environment has no {self.env}")
            return value
        path = Path(self.file or "")
        if not path.is_absolute():
            raise ValueError(f"{path} must be an absolute path")
        try:
            value = path.read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ValueError(f"{path} is not UTF-8") from None
        if not value:
            raise ValueError(f"{path} is empty")
        return value


class _Signature(_Part):
    secrets: list[SecretPlace] = Field(min_length=1)

    def scheme_with(self, secrets: Sequence[bytes]) -> Scheme:
        """The scheme with the secrets in the order of `secrets`."""
        raise NotImplementedError

    def key(self, secret: str) -> bytes:
        """The key that a secret's text stands for. Raises ValueError."""
        return secret.encode()


class StandardWebhooksSignature(_Signature):
    """standard-webhooks, symmetric."""

    scheme: Literal["standard-webhooks"]
    tolerance_s: Tolerance = DEFAULT_TOLERANCE_S

    def scheme_with(self, secrets: Sequence[bytes]) -> Scheme:
        return StandardWebhooks(secrets, self.tolerance_s)

    def key(self, secret: str) -> bytes:
        return standard_webhooks_secret(secret)


class GitHubSignature(_Signature):
    """GitHub."""

    scheme: Literal["github"]

    def scheme_with(self, secrets: Sequence[bytes]) -> Scheme:
        return GitHub(secrets)


class StripeSignature(_Signature):
    """Stripe."""

    scheme: Literal["stripe"]
    tolerance_s: Tolerance = DEFAULT_TOLERANCE_S

    def scheme_with(self, secrets: Sequence[bytes]) -> Scheme:
        return Stripe(secrets, self.tolerance_s)


class HmacSha256Signature(_Signature):
    """Any other HMAC-SHA256. `signed` says what is signed: `{body}`, or `{timestamp}` and `{body}` with text around,
    as Slack's `v0:{timestamp}:{body}`."""

    scheme: Literal["hmac-sha256"]
    header: HeaderName
    prefix: str = ""
    encoding: Encoding = "hex"
    timestamp_header: HeaderName | None = None
    signed: str | None = None
    tolerance_s: Tolerance = DEFAULT_TOLERANCE_S

    @field_validator("signed")
    @classmethod
    def _body_ends_it(cls, value: str | None) -> str | None:
        if value is not None and (not value.endswith("{body}") or value.count("{body}") != 1):
            raise ValueError("must end with {body}")
        return value

    @model_validator(mode="after")
    def _time_is_signed(self) -> Self:
        timed = self.timestamp_header is not None
        if not timed and self.signed not in (None, "{body}"):
            raise ValueError("signed has more than {body}: timestamp_header must be set")
        if not timed and "tolerance_s" in self.model_fields_set:
            raise ValueError("tolerance_s needs timestamp_header")
        if timed and self.signed is not None and self.signed.count("{timestamp}") != 1:
            raise ValueError("signed must have {timestamp} once, or the time could be forged")
        return self

    def scheme_with(self, secrets: Sequence[bytes]) -> Scheme:
        template = self.signed or "{timestamp}.{body}"
        before, _, after = template.partition("{timestamp}")
        return HmacSha256(
            secrets,
            self.header.lower(),
            self.prefix,
            self.encoding,
            self.timestamp_header and self.timestamp_header.lower(),
            before,
            after.removesuffix("{body}"),
            self.tolerance_s,
        )


Signature = Annotated[
    StandardWebhooksSignature | GitHubSignature | StripeSignature | HmacSha256Signature,
    Field(discriminator="scheme"),
]


class Source(_Part):
    """A route for chat webhooks, beside the door's own or in its place."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")
    path: str = Field(pattern=r"^/[^\s?#]*$")
    signature: Signature | None = None


class _File(_Part):
    sources: list[Source]

    @model_validator(mode="after")
    def _each_is_one(self) -> Self:
        for attribute in ("name", "path"):
            seen: set[str] = set()
            for number, source in enumerate(self.sources):
                value = getattr(source, attribute)
                if value in seen:
                    raise ValueError(f"sources.{number}.{attribute}: {value} is taken by another source")
                seen.add(value)
        return self


def load_guards(file: Path, environ: Mapping[str, str] = os.environ) -> dict[str, Guard | None]:
    """Path of each source -> what stands before it, None for nothing.

    Raises SettingsError that names file and key of everything that is wrong, and no secret.
    """
    sources = _parsed(file).sources
    guards: dict[str, Guard | None] = {}
    problems: list[str] = []
    for number, source in enumerate(sources):
        guards[source.path] = None
        if source.signature is None:
            continue
        secrets: list[bytes] = []
        for place, secret in enumerate(source.signature.secrets):
            try:
                secrets.append(source.signature.key(secret.read(environ)))
            except ValueError as error:
                problems.append(f"{file}: sources.{number}.signature.secrets.{place}: {error}")
        guards[source.path] = Guard(source.name, source.signature.scheme_with(tuple(secrets)))
    if problems:
        raise SettingsError("\n".join(problems))
    return guards


def _parsed(file: Path) -> _File:
    try:
        return _File.model_validate(read_yaml(file))
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        raise SettingsError("\n".join(f"{file}: {_told(problem)}" for problem in problems)) from None


def _told(problem: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in problem["loc"] if part not in _SCHEMES)
    text = str(problem["msg"]).removeprefix("Value error, ")
    return f"{key}: {text}" if key else text
