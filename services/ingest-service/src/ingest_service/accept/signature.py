"""Signatures of webhooks: who may have sent a body, and when. Pure; all schemes are HMAC-SHA256 over the body's bytes.

Every secret is tried against every signature that came, and each comparison takes the same time whatever it finds.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

DEFAULT_TOLERANCE_S: Final = 300

Encoding = Literal["hex", "base64"]
Header = Callable[[str], str | None]
"""First value of a header by its lower-case name, None when it did not come."""


class NotSigned(Exception):
    """The body is not from whom it should be, or not of now. The text is for the sender and tells no secret."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature that holds. `replay` is the same for the same signed request alone, and None for schemes without
    a time, where a repeat cannot be told from a new request of the same content; `expires_at_s` is when its time is
    too old to be taken once more."""

    replay: bytes | None = None
    expires_at_s: int = 0


class Scheme(Protocol):
    """One way to sign."""

    @property
    def headers(self) -> Sequence[str]:
        """Lower-case names of the headers that carry it."""
        ...

    def check(self, header: Header, body: bytes, now_s: int) -> Signed:
        """Raises NotSigned."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class StandardWebhooks:
    """standard-webhooks 1.0, symmetric: `id.timestamp.body`, signatures `v1,<base64>` separated by spaces."""

    secrets: Sequence[bytes]
    tolerance_s: int = DEFAULT_TOLERANCE_S
    headers: Sequence[str] = ("webhook-signature", "webhook-timestamp", "webhook-id")

    def check(self, header: Header, body: bytes, now_s: int) -> Signed:
        """Raises NotSigned."""
        given, stamp, message_id = (_required(header, name) for name in self.headers)
        sent_at_s = _fresh(stamp, self.tolerance_s, now_s)
        signatures = [
            value for version, _, value in (part.partition(",") for part in given.split()) if version == "v1"
        ]
        content = f"{message_id}.{stamp}.".encode() + body
        _match(self.secrets, content, signatures, "base64")
        return _signed(content, sent_at_s + self.tolerance_s)


@dataclass(frozen=True, slots=True, repr=False)
class Stripe:
    """Stripe's `Stripe-Signature: t=<seconds>,v1=<hex>[,v1=<hex>]` over `timestamp.body`."""

    secrets: Sequence[bytes]
    tolerance_s: int = DEFAULT_TOLERANCE_S
    headers: Sequence[str] = ("stripe-signature",)

    def check(self, header: Header, body: bytes, now_s: int) -> Signed:
        """Raises NotSigned."""
        parts = [part.strip().partition("=") for part in _required(header, self.headers[0]).split(",")]
        stamps = [value for name, _, value in parts if name == "t"]
        if len(stamps) != 1:
            raise NotSigned(f"{self.headers[0]} must have one t=")
        sent_at_s = _fresh(stamps[0], self.tolerance_s, now_s)
        content = f"{stamps[0]}.".encode() + body
        _match(self.secrets, content, [value for name, _, value in parts if name == "v1"], "hex")
        return _signed(content, sent_at_s + self.tolerance_s)


@dataclass(frozen=True, slots=True, repr=False)
class GitHub:
    """GitHub's `X-Hub-Signature-256: sha256=<hex>` over the body. It has no time, so nothing to tell a replay by."""

    secrets: Sequence[bytes]
    headers: Sequence[str] = ("x-hub-signature-256",)

    def check(self, header: Header, body: bytes, now_s: int) -> Signed:
        """Raises NotSigned."""
        given = _required(header, self.headers[0])
        _match(
            self.secrets, body, [given.removeprefix("sha256=")] if given.startswith("sha256=") else [], "hex"
        )
        return Signed()


@dataclass(frozen=True, slots=True, repr=False)
class HmacSha256:
    """Any other HMAC-SHA256: `header` holds `prefix` and the signature of `before`, the timestamp, `between` and the
    body where `timestamp_header` names one, else of the body alone."""

    secrets: Sequence[bytes]
    header: str
    prefix: str = ""
    encoding: Encoding = "hex"
    timestamp_header: str | None = None
    before: str = ""
    between: str = "."
    tolerance_s: int = DEFAULT_TOLERANCE_S

    @property
    def headers(self) -> Sequence[str]:
        """Lower-case names of the headers that carry it."""
        return tuple(name for name in (self.header, self.timestamp_header) if name is not None)

    def check(self, header: Header, body: bytes, now_s: int) -> Signed:
        """Raises NotSigned."""
        given = _required(header, self.header)
        content, expires_at_s = body, 0
        if self.timestamp_header is not None:
            stamp = _required(header, self.timestamp_header)
            expires_at_s = _fresh(stamp, self.tolerance_s, now_s) + self.tolerance_s
            content = f"{self.before}{stamp}{self.between}".encode() + body
        signatures = [given.removeprefix(self.prefix)] if given.startswith(self.prefix) else []
        _match(self.secrets, content, signatures, self.encoding)
        return _signed(content, expires_at_s) if self.timestamp_header is not None else Signed()


def standard_webhooks_secret(text: str) -> bytes:
    """The key of a secret `whsec_<base64>`, with or without its prefix. Raises ValueError."""
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise ValueError("must be base64, with or without whsec_ before it") from None
    if not key:
        raise ValueError("is empty")
    return key


def _required(header: Header, name: str) -> str:
    value = (header(name) or "").strip()
    if not value:
        raise NotSigned(f"the header {name} is missing")
    return value


def _fresh(stamp: str, tolerance_s: int, now_s: int) -> int:
    """The timestamp's seconds, not further from now than the tolerance in either direction."""
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        raise NotSigned("the timestamp is no number of Unix seconds")
    sent_at_s = int(stamp)
    if abs(now_s - sent_at_s) > tolerance_s:
        where = "old" if sent_at_s < now_s else "ahead"
        raise NotSigned(f"the timestamp is more than {tolerance_s} s {where}")
    return sent_at_s


_MOST_SIGNATURES: Final = 16


def _match(secrets: Sequence[bytes], content: bytes, signatures: Sequence[str], encoding: Encoding) -> None:
    """One of the signatures is that of one of the secrets. Takes as long for a near miss as for a far one."""
    found = False
    wanted = [_encoded(signature) for signature in signatures[:_MOST_SIGNATURES]]
    for secret in secrets:
        digest = hmac.digest(secret, content, hashlib.sha256)
        text = digest.hex().encode() if encoding == "hex" else base64.b64encode(digest)
        for signature in wanted:
            found |= hmac.compare_digest(text, signature.lower() if encoding == "hex" else signature)
    if not found:
        raise NotSigned("no signature matches")


def _encoded(text: str) -> bytes:
    return text.strip().encode("utf-8", "replace")


def _signed(content: bytes, expires_at_s: int) -> Signed:
    return Signed(hashlib.sha256(content).digest(), expires_at_s)
