"""Errors of both Kafka drivers in the words of the port, with the setting that mends them."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from aiokafka import errors as aio
from confluent_kafka import KafkaError as RdError
from confluent_kafka import KafkaException

from millrace_ports.errors import ConfigurationError, PortError, StorageUnavailableError, TopicMissingError

FORBIDDEN = (
    aio.TopicAuthorizationFailedError,
    aio.GroupAuthorizationFailedError,
    aio.ClusterAuthorizationFailedError,
    aio.TransactionalIdAuthorizationFailed,
)
_NOT_KNOWN = (
    aio.AuthenticationFailedError,
    aio.AuthenticationMethodNotSupported,
    aio.SaslAuthenticationFailed,
    aio.UnsupportedSaslMechanismError,
    aio.IllegalSaslStateError,
)
_TOO_OLD = (aio.IncompatibleBrokerVersion, aio.UnrecognizedBrokerVersion, aio.UnsupportedVersionError)

_RD_FORBIDDEN = (
    RdError.TOPIC_AUTHORIZATION_FAILED,
    RdError.GROUP_AUTHORIZATION_FAILED,
    RdError.CLUSTER_AUTHORIZATION_FAILED,
)
_RD_NOT_KNOWN = (RdError._AUTHENTICATION, RdError.SASL_AUTHENTICATION_FAILED)
_RD_TOPIC_MISSING = (RdError.UNKNOWN_TOPIC_OR_PART, RdError._UNKNOWN_TOPIC, RdError.UNKNOWN_TOPIC_ID)


@contextmanager
def kafka_errors(what: str) -> Iterator[None]:
    """Turn what a driver raises into a PortError; `what` says what was tried, as in "read topic x"."""
    try:
        yield
    except (aio.KafkaError, KafkaException, OSError, TimeoutError) as error:
        raise translated(what, error) from error


def translated(what: str, error: BaseException) -> PortError:
    """The PortError for an exception of a driver."""
    if isinstance(error, PortError):
        return error
    if isinstance(error, KafkaException):
        return _translated_rd(what, error)
    if isinstance(error, FORBIDDEN):
        return forbidden(what)
    if isinstance(error, _NOT_KNOWN):
        return not_known(what, str(error))
    if isinstance(error, _TOO_OLD):
        return too_old(what)
    if isinstance(error, aio.UnknownTopicOrPartitionError):
        return missing(what)
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConfigurationError(
            f"MILLRACE_KAFKA_CA_FILE: cannot {what}: the broker's certificate is not trusted: {error.verify_message}"
        )
    if isinstance(error, ssl.SSLError):
        return ConfigurationError(
            f"MILLRACE_KAFKA_SECURITY_PROTOCOL: cannot {what}: no TLS with this broker: {error.reason}"
        )
    return StorageUnavailableError(f"cannot {what} (MILLRACE_BUS): {str(error) or type(error).__name__}")


def forbidden(what: str) -> ConfigurationError:
    """The user lacks a right."""
    return ConfigurationError(f"MILLRACE_KAFKA_SASL_USERNAME: this user has no right to {what}")


def not_known(what: str, why: str) -> ConfigurationError:
    """User, password or mechanism are not the broker's."""
    return ConfigurationError(
        f"MILLRACE_KAFKA_SASL_USERNAME, _PASSWORD or _MECHANISM: cannot {what}: refused by the broker: {why}"
    )


def too_old(what: str) -> ConfigurationError:
    """The broker does not speak what Kafka 4.0 does."""
    return ConfigurationError(f"MILLRACE_BUS: cannot {what}: the broker is older than Kafka 4.0")


def missing(what: str) -> TopicMissingError:
    """The topic is not there (yet, or any more)."""
    return TopicMissingError(
        f"cannot {what}: the broker that MILLRACE_BUS names has no such topic; topics are made by ensure_topics"
    )


def _translated_rd(what: str, error: KafkaException) -> PortError:
    cause = error.args[0]
    code = cause.code()
    if code in _RD_FORBIDDEN:
        return forbidden(what)
    if code in _RD_NOT_KNOWN:
        return not_known(what, cause.str())
    if code in _RD_TOPIC_MISSING:
        return missing(what)
    if code in (RdError._UNSUPPORTED_FEATURE, RdError.UNSUPPORTED_VERSION):
        return too_old(what)
    if code == RdError._SSL:
        return ConfigurationError(f"MILLRACE_KAFKA_CA_FILE: cannot {what}: {cause.str()}")
    return StorageUnavailableError(f"cannot {what} (MILLRACE_BUS): {cause.str()}")
