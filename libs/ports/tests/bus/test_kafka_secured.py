"""Kafka that asks for TLS and a password: each way in works, and what is wrong is named by its setting."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from millrace_ports.bus import KafkaOptions
from millrace_ports.bus.kafka.bus import KafkaBus
from millrace_ports.bus.kafka.settings import KafkaSettings, kafka_bootstrap
from millrace_ports.errors import ConfigurationError, PortError
from millrace_testkit.contracts.bus import KeptPositions, read, records, values_of
from millrace_testkit.real.kafka import KafkaServer
from millrace_testkit.real.secured.credentials import LIMITED, WRONG
from millrace_testkit.real.secured.kafka import SecuredKafka

from .conftest import now_ms, topic_of

pytestmark = pytest.mark.real

_KAFKA = "MILLRACE_KAFKA_"


@pytest.fixture
async def open_bus() -> AsyncIterator[Callable[..., KafkaBus]]:
    """A bus with these variables as its environment."""
    buses: list[KafkaBus] = []

    def open_bus(environment: dict[str, str], delivery_timeout_s: float = 30.0) -> KafkaBus:
        options: dict[str, Any] = {
            name.removeprefix(_KAFKA).lower(): value
            for name, value in environment.items()
            if name.startswith(_KAFKA)
        }
        if "ca_file" in options:
            options["ca_file"] = Path(options["ca_file"])
        options["delivery_timeout_s"] = delivery_timeout_s
        settings = KafkaSettings(kafka_bootstrap(environment["MILLRACE_BUS"]), KafkaOptions(**options))
        buses.append(KafkaBus(settings, now_ms=now_ms))
        return buses[-1]

    yield open_bus
    await asyncio.gather(*(bus.close() for bus in buses))


@pytest.fixture
def topic(secured_kafka: SecuredKafka) -> str:
    return f"{secured_kafka.new_prefix()}topic"


@pytest.mark.parametrize(
    ("protocol", "mechanism"),
    [
        ("SASL_SSL", "PLAIN"),
        ("SASL_SSL", "SCRAM-SHA-256"),
        ("SASL_SSL", "SCRAM-SHA-512"),
        ("SASL_PLAINTEXT", "SCRAM-SHA-512"),
        ("SSL", ""),
    ],
)
async def test_every_way_in_works(
    secured_kafka: SecuredKafka,
    open_bus: Callable[..., KafkaBus],
    topic: str,
    protocol: str,
    mechanism: str,
) -> None:
    bus = open_bus(secured_kafka.settings(mechanism, protocol=protocol))
    await bus.ensure_topics([topic_of(topic)])
    await bus.publish(topic, records("1", "2"))
    consumer = bus.consumer(topic, "group", KeptPositions())
    chunks = await read(consumer, 2)
    assert values_of(chunks) == [b'{"n":"1"}', b'{"n":"2"}']
    await consumer.report({chunk.partition: chunk.end for chunk in chunks})
    assert sum((await bus.group_lag(topic, "group")).values()) == 0


def everything(bus: KafkaBus, topic: str) -> list[Callable[[], Awaitable[object]]]:
    """What a process may be about when it finds that its settings are wrong."""
    return [
        lambda: bus.publish(topic, records("1")),
        lambda: bus.consumer(topic, "group", KeptPositions()).poll(
            max_records=1, max_bytes=1, timeout_s=20.0
        ),
        lambda: bus.ensure_topics([topic_of(topic)]),
        lambda: bus.group_lag(topic, "group"),
    ]


async def assert_all_refused(bus: KafkaBus, topic: str, setting: str) -> None:
    for work in everything(bus, topic):
        with pytest.raises(PortError, match=setting) as caught:
            async with asyncio.timeout(30):
                await work()
        assert WRONG.password not in str(caught.value)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
async def test_a_wrong_password_is_named(
    secured_kafka: SecuredKafka,
    open_bus: Callable[..., KafkaBus],
    topic: str,
    mechanism: str,
) -> None:
    bus = open_bus(secured_kafka.settings(mechanism, login=WRONG))
    await assert_all_refused(bus, topic, "MILLRACE_KAFKA_SASL_USERNAME, _PASSWORD or _MECHANISM")


async def test_an_authority_that_did_not_sign_is_named(
    secured_kafka: SecuredKafka, open_bus: Callable[..., KafkaBus], topic: str
) -> None:
    other = {"MILLRACE_KAFKA_CA_FILE": str(secured_kafka.certificates.other_ca)}
    await assert_all_refused(open_bus(secured_kafka.settings() | other), topic, "MILLRACE_KAFKA_CA_FILE")


async def test_tls_where_there_is_none_is_named(
    real_kafka: KafkaServer,
    secured_kafka: SecuredKafka,
    open_bus: Callable[..., KafkaBus],
    topic: str,
) -> None:
    environment = secured_kafka.settings(protocol="SSL") | {"MILLRACE_BUS": real_kafka.url}
    await assert_all_refused(open_bus(environment, 2.0), topic, "MILLRACE_KAFKA_SECURITY_PROTOCOL")


@pytest.mark.parametrize("protocol", ["SASL_SSL", "SASL_PLAINTEXT"])
async def test_a_plain_connection_where_more_is_asked_for_is_named(
    secured_kafka: SecuredKafka,
    open_bus: Callable[..., KafkaBus],
    topic: str,
    protocol: str,
) -> None:
    bus = open_bus({"MILLRACE_BUS": f"kafka://{secured_kafka.bootstrap_for(protocol)}"}, 2.0)
    await assert_all_refused(bus, topic, "MILLRACE_KAFKA_SECURITY_PROTOCOL")


async def test_missing_rights_name_the_user_and_what_it_lacks(
    secured_kafka: SecuredKafka, open_bus: Callable[..., KafkaBus], topic: str
) -> None:
    owner, limited = open_bus(secured_kafka.settings()), open_bus(secured_kafka.settings(login=LIMITED))
    other = f"{topic}.other"
    await owner.ensure_topics([topic_of(topic), topic_of(other)])
    await assert_all_refused(limited, topic, r"MILLRACE_KAFKA_SASL_USERNAME: .* no right to .*topic")
    await grant(secured_kafka, topic, AclOperation.READ)  # and with it to describe
    await grant(secured_kafka, other, AclOperation.WRITE)
    with pytest.raises(ConfigurationError, match=f"no right to publish to topic {topic}$"):
        await limited.publish(topic, records("1"))
    consumer = limited.consumer(topic, "group", KeptPositions())
    with pytest.raises(ConfigurationError, match=f"no right to read topic {topic} as group group$"):
        await consumer.poll(max_records=1, max_bytes=1, timeout_s=20.0)
    await grant(secured_kafka, topic, AclOperation.WRITE)
    await limited.publish(topic, records("1"))  # a right that is given is used without a restart
    assert values_of(await read(owner.consumer(topic, "group", KeptPositions()), 1)) == [b'{"n":"1"}']


async def grant(kafka: SecuredKafka, topic: str, operation: AclOperation) -> None:
    """Let the limited user do this with the topic."""
    binding = AclBinding(
        ResourceType.TOPIC,
        topic,
        ResourcePatternType.LITERAL,
        f"User:{LIMITED.name}",
        "*",
        operation,
        AclPermissionType.ALLOW,
    )
    admin = kafka.admin()
    await asyncio.wrap_future(admin.create_acls([binding])[binding])
