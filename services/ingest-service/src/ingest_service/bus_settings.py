"""What every process reads that speaks with the bus: `MILLRACE_BUS` and, for Kafka, `MILLRACE_KAFKA_*`."""

from collections.abc import Callable
from pathlib import Path

from pydantic import Field, SecretStr

from millrace_ports.bus import Bus, KafkaOptions, open_bus
from millrace_ports.errors import ConfigurationError
from millrace_runtime.settings import Settings, SettingsError


class BusSettings(Settings):
    """Base of the settings of such a process."""

    bus: str = Field(
        description="journal:PATH, PATH being the data directory, or kafka://host:port[,host:port]"
    )
    kafka_security_protocol: str = Field(
        "PLAINTEXT", description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"
    )
    kafka_sasl_mechanism: str = Field("PLAIN", description="PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
    kafka_sasl_username: str | None = Field(None, description="user, where the protocol begins with SASL")
    kafka_sasl_password: SecretStr | None = Field(None, description="its password")
    kafka_ca_file: Path | None = Field(
        None, description="certificates that may sign the broker's; the system's when not set"
    )
    kafka_compression: str = Field("zstd", description="zstd or lz4")
    kafka_replication_factor: int | None = Field(
        None, description="replicas of topics that are made; 3, or the number of brokers if fewer"
    )
    kafka_delivery_timeout_s: float = Field(
        30.0, description="seconds for which one publish goes on trying before it counts as failed"
    )
    kafka_session_timeout_s: float = Field(
        10.0, description="seconds after which a consumer that stands still loses its partitions"
    )

    def kafka_options(self) -> KafkaOptions:
        """The options beside the URL. Raises ConfigurationError that names the setting."""
        password = self.kafka_sasl_password
        return KafkaOptions(
            security_protocol=self.kafka_security_protocol,
            sasl_mechanism=self.kafka_sasl_mechanism,
            sasl_username=self.kafka_sasl_username,
            sasl_password=None if password is None else password.get_secret_value(),
            ca_file=self.kafka_ca_file,
            compression=self.kafka_compression,
            replication_factor=self.kafka_replication_factor,
            delivery_timeout_s=self.kafka_delivery_timeout_s,
            session_timeout_s=self.kafka_session_timeout_s,
        )

    def open_bus(self, *, now_ms: Callable[[], int]) -> Bus:
        """The bus; nothing is connected yet. Raises SettingsError that names the setting."""
        try:
            return open_bus(self.bus, now_ms=now_ms, kafka=self.kafka_options())
        except ConfigurationError as error:
            raise SettingsError(str(error)) from error
