"""How to reach Kafka and talk with it: the URL of `MILLRACE_BUS` and the `MILLRACE_KAFKA_*` settings."""

import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from millrace_ports.errors import ConfigurationError

MAX_RECORD_BYTES = 16 << 20
"""`max.message.bytes` of every topic: what the broker takes as one batch, compressed or not."""

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
COMPRESSIONS = ("zstd", "lz4")

_ADDRESS = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")
_EXPECTED = "expected kafka://host:port[,host:port], for instance kafka://kafka-1:9092,kafka-2:9092"


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaOptions:
    """What the URL does not say. Field `ca_file` is the setting `MILLRACE_KAFKA_CA_FILE`, and so on.

    `compression` is zstd, since aiokafka has lz4 only at its level 9, which takes three times as long.
    `replication_factor` is that of topics to be made, None for 3 or the number of brokers if fewer.
    `delivery_timeout_s` is how long a publish goes on trying, `session_timeout_s` after how long a consumer
    that stands still loses its partitions. Raises ConfigurationError that names the setting.
    """

    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "PLAIN"
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    compression: str = "zstd"
    replication_factor: int | None = None
    delivery_timeout_s: float = 30.0
    session_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        _one_of("SECURITY_PROTOCOL", self.security_protocol, PROTOCOLS)
        _one_of("COMPRESSION", self.compression, COMPRESSIONS)
        if self.sasl:
            _one_of("SASL_MECHANISM", self.sasl_mechanism, MECHANISMS)
        for name, value in (("SASL_USERNAME", self.sasl_username), ("SASL_PASSWORD", self.sasl_password)):
            if self.sasl and not value:
                raise _wrong(name, f"is not set; {self.security_protocol} needs it")
            if not self.sasl and value:
                raise _wrong(name, f"is not used by {self.security_protocol}; unset it or use SASL_SSL")
        if self.ca_file is not None and not self.tls:
            raise _wrong(
                "CA_FILE", f"is not used by {self.security_protocol}; unset it or use SSL or SASL_SSL"
            )
        if self.replication_factor is not None and self.replication_factor < 1:
            raise _wrong("REPLICATION_FACTOR", f"{self.replication_factor} is not positive")
        if self.delivery_timeout_s <= 0:
            raise _wrong("DELIVERY_TIMEOUT_S", f"{self.delivery_timeout_s:g} is not positive")
        if not 1 <= self.session_timeout_s <= 1800:
            raise _wrong("SESSION_TIMEOUT_S", f"{self.session_timeout_s:g} is not between 1 and 1800")

    @property
    def sasl(self) -> bool:
        """Whether a user and a password are asked for."""
        return self.security_protocol.startswith("SASL")

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.security_protocol.endswith("SSL")


class KafkaSettings:
    """The whole of it, in the words of both drivers."""

    def __init__(self, bootstrap: str, options: KafkaOptions) -> None:
        """`bootstrap` is `host:port[,host:port]`. Raises ConfigurationError when the CA file cannot be used."""
        self.bootstrap = bootstrap
        self.options = options
        self._context = _tls_context(options.ca_file) if options.tls else None

    def aiokafka(self) -> dict[str, Any]:
        """Arguments of every aiokafka client."""
        options = self.options
        arguments: dict[str, Any] = {
            "security_protocol": options.security_protocol,
            "ssl_context": self._context,
        }
        if options.sasl:
            arguments |= {
                "sasl_mechanism": options.sasl_mechanism,
                "sasl_plain_username": options.sasl_username,
                "sasl_plain_password": options.sasl_password,
            }
        return arguments

    def librdkafka(self) -> dict[str, str | int | float | bool]:
        """Configuration of confluent-kafka's AdminClient."""
        options = self.options
        # What goes wrong is in the answers; its own lines on stderr would come from another thread, unasked.
        configuration: dict[str, str | int | float | bool] = {
            "bootstrap.servers": self.bootstrap,
            "security.protocol": options.security_protocol,
            "log_level": 0,
            "reconnect.backoff.max.ms": 1000,
        }
        if options.ca_file is not None:
            configuration["ssl.ca.location"] = str(options.ca_file)
        if options.sasl:
            configuration |= {
                "sasl.mechanism": options.sasl_mechanism,
                "sasl.username": options.sasl_username or "",
                "sasl.password": options.sasl_password or "",
            }
        return configuration


def kafka_bootstrap(url: str) -> str:
    """`host:port[,host:port]` of a `kafka://` URL. Raises ConfigurationError that names `MILLRACE_BUS`.

    The text never repeats the URL: a password may have been put into it.
    """
    rest = url.removeprefix("kafka://")
    if rest == url:
        raise ConfigurationError(f"MILLRACE_BUS: {_EXPECTED}")
    if "@" in rest:
        raise ConfigurationError(
            "MILLRACE_BUS: a kafka:// URL holds no user; set MILLRACE_KAFKA_SASL_USERNAME and _PASSWORD"
        )
    addresses = rest.removesuffix("/").split(",")
    for place, address in enumerate(addresses, 1):
        found = _ADDRESS.fullmatch(address)
        if found is None or not 0 < int(found[1]) < 65536:
            raise ConfigurationError(f"MILLRACE_BUS: address {place} is not host:port; {_EXPECTED}")
    return ",".join(addresses)


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise _wrong("CA_FILE", f"{ca_file} cannot be used: {error.strerror or error}") from error


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise _wrong(name, f"{value!r} is not known; use one of {', '.join(allowed)}")


def _wrong(name: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"MILLRACE_KAFKA_{name}: {why}")
