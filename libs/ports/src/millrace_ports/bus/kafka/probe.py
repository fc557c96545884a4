"""Says in clear words why a broker cannot be used, where the drivers would only say that they did not get through."""

import socket

from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import ApiVersionRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.metadata import MetadataRequest

from millrace_ports.bus.kafka.settings import KafkaSettings
from millrace_ports.bus.kafka.translate import too_old, translated
from millrace_ports.errors import ConfigurationError, PortError, StorageUnavailableError

_TIMEOUT_MS = 10_000
_OLDEST_FETCH = 4
"""Kafka 4.0 dropped the versions of its requests that are older than this (KIP-896)."""


async def probe(settings: KafkaSettings) -> None:
    """Return when one of the brokers can be used: reached, this user known, Kafka 4.0 or later.

    Raises ConfigurationError that names the setting to be mended; StorageUnavailableError when no broker answers.
    """
    failure: PortError | None = None
    for address in settings.bootstrap.split(","):
        try:
            await _probe(address, settings)
        except PortError as error:
            if failure is None or not isinstance(failure, ConfigurationError):
                failure = error
        else:
            return
    assert failure is not None
    raise failure


async def _probe(address: str, settings: KafkaSettings) -> None:
    what = f"connect to {address}"
    host, _, port = address.rpartition(":")
    try:
        connection = await create_conn(
            host.strip("[]"), int(port), request_timeout_ms=_TIMEOUT_MS, **settings.aiokafka()
        )
    except (ConnectionRefusedError, socket.gaierror, TimeoutError) as error:
        raise translated(what, error) from error
    except (KafkaError, OSError) as error:
        raise _puzzled(what, error, settings) from error
    try:
        versions = await connection.send(ApiVersionRequest())
        oldest = {key: lowest for key, lowest, _ in versions.api_versions}
        if oldest.get(FetchRequest.API_KEY, 0) < _OLDEST_FETCH:
            raise too_old(what)
        # A listener that asks for a password tells its versions to anybody, and hangs up now.
        await connection.send(MetadataRequest([]))
    except (KafkaError, OSError, TimeoutError) as error:
        raise _puzzled(what, error, settings) from error
    finally:
        connection.close()


def _puzzled(what: str, error: Exception, settings: KafkaSettings) -> PortError:
    """The error of somebody who was reached and did not understand, unless it says itself what is wrong."""
    found = translated(what, error)
    if isinstance(found, ConfigurationError):
        return found
    protocol = settings.options.security_protocol
    return StorageUnavailableError(
        f"{found}; does this listener speak MILLRACE_KAFKA_SECURITY_PROTOCOL={protocol}?"
    )
