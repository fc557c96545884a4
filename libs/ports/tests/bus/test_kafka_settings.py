"""What is wrong with a URL or setting is said by its name, and never with a password in it."""

from pathlib import Path
from typing import Any

import pytest

from millrace_ports.bus import KafkaOptions, open_bus
from millrace_ports.bus.kafka.settings import KafkaSettings, kafka_bootstrap
from millrace_ports.errors import ConfigurationError


@pytest.mark.parametrize(
    "url",
    [
        "kafka:",
        "kafka://",
        "kafka:host:9092",
        "kafka://host",
        "kafka://host:",
        "kafka://host:0",
        "kafka://host:70000",
        "kafka://host:9092,",
        "kafka://host:9092,,other:9092",
        "kafka://host:9092 other:9092",
        "kafka://host:9092/topic",
        "kafka://host:9092?secret",
        "kafka://user:secret@host:9092",
    ],
)
def test_a_malformed_url_is_an_error_that_names_the_variable(url: str) -> None:
    with pytest.raises(ConfigurationError, match="MILLRACE_BUS") as caught:
        open_bus(url, now_ms=lambda: 0)
    assert "secret" not in str(caught.value)
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("url", "bootstrap"),
    [
        ("kafka://kafka-1:9092", "kafka-1:9092"),
        ("kafka://127.0.0.1:9092,[::1]:9093/", "127.0.0.1:9092,[::1]:9093"),
    ],
)
def test_a_url_names_its_brokers(url: str, bootstrap: str) -> None:
    assert kafka_bootstrap(url) == bootstrap


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ({"security_protocol": "TLS"}, "MILLRACE_KAFKA_SECURITY_PROTOCOL"),
        ({"compression": "gzip"}, "MILLRACE_KAFKA_COMPRESSION"),
        ({"security_protocol": "SASL_SSL", "sasl_mechanism": "GSSAPI"}, "MILLRACE_KAFKA_SASL_MECHANISM"),
        ({"security_protocol": "SASL_SSL", "sasl_password": "x"}, "MILLRACE_KAFKA_SASL_USERNAME"),
        ({"security_protocol": "SASL_SSL", "sasl_username": "x"}, "MILLRACE_KAFKA_SASL_PASSWORD"),
        ({"sasl_username": "x"}, "MILLRACE_KAFKA_SASL_USERNAME"),
        ({"sasl_password": "secret"}, "MILLRACE_KAFKA_SASL_PASSWORD"),
        ({"ca_file": Path("/ca.pem")}, "MILLRACE_KAFKA_CA_FILE"),
        ({"replication_factor": 0}, "MILLRACE_KAFKA_REPLICATION_FACTOR"),
        ({"delivery_timeout_s": 0.0}, "MILLRACE_KAFKA_DELIVERY_TIMEOUT_S"),
        ({"session_timeout_s": 0.5}, "MILLRACE_KAFKA_SESSION_TIMEOUT_S"),
    ],
)
def test_a_wrong_setting_is_named(options: dict[str, Any], setting: str) -> None:
    with pytest.raises(ConfigurationError, match=setting) as caught:
        KafkaOptions(**options)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigurationError, match=r"MILLRACE_KAFKA_CA_FILE.*ca\.pem"):
        KafkaSettings("host:9092", KafkaOptions(security_protocol="SSL", ca_file=file))


def test_a_password_is_not_shown() -> None:
    options = KafkaOptions(security_protocol="SASL_SSL", sasl_username="millrace", sasl_password="secret")
    assert "secret" not in repr(options)
