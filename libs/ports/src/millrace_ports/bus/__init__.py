"""The bus port and its adapters."""

from collections.abc import Callable

from millrace_ports.bus.embedded import EmbeddedBus, journal_path
from millrace_ports.bus.kafka.settings import KafkaOptions, KafkaSettings, kafka_bootstrap
from millrace_ports.bus.port import (
    ENVELOPE,
    TRACEPARENT,
    Bus,
    Chunk,
    Consumer,
    Origin,
    Partition,
    Positions,
    Record,
    ServerBus,
)
from millrace_ports.errors import ConfigurationError

__all__ = [
    "ENVELOPE",
    "TRACEPARENT",
    "Bus",
    "Chunk",
    "Consumer",
    "KafkaOptions",
    "Origin",
    "Partition",
    "Positions",
    "Record",
    "ServerBus",
    "journal_path",
    "open_bus",
]


def open_bus(url: str, *, now_ms: Callable[[], int], kafka: KafkaOptions | None = None) -> Bus:
    """The bus that `MILLRACE_BUS` names: `journal:PATH`, PATH being the data directory, or `kafka://host:port,…`.

    `now_ms` tells the UTC day and the time of a record without an origin; `kafka` holds the settings
    `MILLRACE_KAFKA_*`. Nothing is connected yet. Raises ConfigurationError that names the variable.
    """
    kind = url.partition(":")[0]
    if kind == "kafka":
        settings = KafkaSettings(kafka_bootstrap(url), kafka or KafkaOptions())
        from millrace_ports.bus.kafka.bus import KafkaBus  # the drivers take a while to import

        return KafkaBus(settings, now_ms=now_ms)
    if url and kind != "journal":
        raise ConfigurationError(
            f"MILLRACE_BUS: unknown kind {kind!r}; expected journal:PATH or kafka://host:port[,host:port]"
        )
    return EmbeddedBus(journal_path(url), now_ms=now_ms)
