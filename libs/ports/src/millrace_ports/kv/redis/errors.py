"""Redis's errors in the words of the port."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from redis import exceptions as redis_errors

from millrace_ports.kv.errors import KvError, KvRefusedError, KvValueError

_NO_COUNTER = ("not an integer", "would overflow", "negative counter")

_HEALS = (
    redis_errors.OutOfMemoryError,
    redis_errors.ReadOnlyError,
    redis_errors.ClusterDownError,
    redis_errors.TryAgainError,
)
_HEALING_CODES = ("MISCONF", "NOREPLICAS")
"""Replies of a server that will serve the same command later: full, failing over, moving slots."""


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Turn whatever the client raises into KvError and its kinds. `place` is where the server is."""
    try:
        yield
    except TimeoutError as error:
        raise KvError(f"Redis at {place} did not answer in time", retryable=True) from error
    except (redis_errors.RedisError, redis_errors.RedisClusterException, OSError) as error:
        raise _translation(place, error) from error
    except (AttributeError, RuntimeError) as error:
        # When the cluster client cannot learn the topology anew, it closes the connections that other tasks are
        # using; these then find their streams gone in the middle of a command.
        raise KvError(f"Redis at {place} cannot be used now: connection closed", retryable=True) from error


def _translation(place: str, error: Exception) -> KvError:
    chain = list(_causes(error))
    for cause in chain:
        if (refusal := _refusal(place, cause)) is not None:
            return refusal
    text = str(error)
    if text.startswith("WRONGTYPE") or any(part in text for part in _NO_COUNTER):
        return KvValueError(f"Redis at {place}: {text}")
    if isinstance(error, redis_errors.ResponseError) and not (
        isinstance(error, _HEALS) or text.startswith(_HEALING_CODES)
    ):
        return KvError(f"Redis at {place}: {text}")
    return KvError(f"Redis at {place} cannot be used now: {text}", retryable=True)


def _refusal(place: str, error: BaseException) -> KvRefusedError | None:
    """What only a change of settings or of the server can heal."""
    text = str(error)
    if isinstance(error, redis_errors.NoPermissionError):
        return KvRefusedError(f"MILLRACE_KV: the user of Redis at {place} lacks a right: {text}")
    if isinstance(error, redis_errors.AuthenticationError):
        return KvRefusedError(f"MILLRACE_KV: Redis at {place} refuses the user name or password: {text}")
    if isinstance(error, ssl.SSLCertVerificationError):
        return KvRefusedError(
            f"MILLRACE_REDIS_CA_FILE: the certificate of Redis at {place} cannot be verified: {error.verify_message}"
        )
    if isinstance(error, redis_errors.InvalidResponse):
        return KvRefusedError(
            f"MILLRACE_KV: {place} does not answer as Redis does; if it wants TLS, write rediss://"
        )
    if "Cluster mode is not enabled" in text:
        return KvRefusedError(f"MILLRACE_KV: Redis at {place} is no cluster; write redis:// or rediss://")
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, the first cause first: the client wraps what it caught."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    return reversed(chain)
