"""What a server acknowledged is there after it was killed, and it can be reached through a proxy."""

import asyncio
import base64
import json
import urllib.request

import asyncpg
import pytest
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaConnectionError
from confluent_kafka.admin import AdminClient, NewTopic

from millrace_testkit.proxy import Proxy
from millrace_testkit.real.etcd import EtcdServer
from millrace_testkit.real.kafka import KafkaServer
from millrace_testkit.real.postgresql import PostgresqlServer
from millrace_testkit.real.redis import RedisServer

pytestmark = pytest.mark.real

WITHIN_S = 60


async def produce(bootstrap: str, topic: str, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", request_timeout_ms=WITHIN_S * 1000)
    async with asyncio.timeout(WITHIN_S):
        try:
            await producer.start()
            await producer.send_and_wait(topic, value)
        finally:
            await producer.stop()


async def consume(bootstrap: str, topic: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    async with asyncio.timeout(WITHIN_S), consumer:
        consumer.assign([TopicPartition(topic, 0)])
        return [(await consumer.getone()).value for _ in range(count)]


def new_topic(server: KafkaServer) -> str:
    name = server.new_prefix() + "records"
    client = AdminClient({"bootstrap.servers": server.bootstrap, "log_level": 0})
    client.create_topics([NewTopic(name, 1)])[name].result(WITHIN_S)
    return name


async def test_kafka_keeps_records_over_a_kill(real_kafka: KafkaServer) -> None:
    topic = new_topic(real_kafka)
    await produce(real_kafka.bootstrap, topic, b"before")
    real_kafka.kill()
    real_kafka.start()
    await produce(real_kafka.bootstrap, topic, b"after")
    assert await consume(real_kafka.bootstrap, topic, 2) == [b"before", b"after"]


async def test_kafka_is_reached_by_a_proxy_alone_where_it_advertises_one(real_kafka: KafkaServer) -> None:
    topic = new_topic(real_kafka)
    with Proxy(real_kafka.behind_proxy, real_kafka.proxied_port) as proxy:
        assert proxy.address == real_kafka.proxied
        await produce(proxy.address, topic, b"whole")

        proxy.cut()
        with pytest.raises(KafkaConnectionError):
            await produce(proxy.address, topic, b"cut")
        proxy.restore()
        await produce(proxy.address, topic, b"restored")
        assert await consume(real_kafka.bootstrap, topic, 2) == [b"whole", b"restored"]


async def execute(url: str, sql: str) -> object:
    connection = await asyncpg.connect(url, timeout=WITHIN_S)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_postgresql_keeps_rows_over_a_kill(real_postgresql: PostgresqlServer) -> None:
    url = real_postgresql.new_database()
    await execute(url, "CREATE TABLE kept AS SELECT 7 AS number")
    connection = await asyncpg.connect(url)
    real_postgresql.kill()
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await connection.fetchval("SELECT 1")
    real_postgresql.start()
    assert await execute(url, "SELECT number FROM kept") == 7


async def test_a_database_is_new(real_postgresql: PostgresqlServer) -> None:
    first, second = real_postgresql.new_database(), real_postgresql.new_database()
    await execute(first, "CREATE TABLE mine (id int)")
    assert await execute(second, "SELECT to_regclass('mine')") is None


async def test_postgresql_behind_a_proxy(real_postgresql: PostgresqlServer) -> None:
    with Proxy(real_postgresql.port) as proxy:
        url = real_postgresql.url.replace(f":{real_postgresql.port}", f":{proxy.port}")
        assert await execute(url, "SELECT 1") == 1
        proxy.cut()
        with pytest.raises(OSError, match="Connect call failed"):
            await execute(url, "SELECT 1")
        proxy.restore()
        assert await execute(url, "SELECT 1") == 1


def test_redis_keeps_keys_over_a_kill(real_redis: RedisServer) -> None:
    url = real_redis.new_database()
    with redis.Redis.from_url(url) as client:
        assert client.set("kept", "7")
        real_redis.kill()
        real_redis.start()
        assert client.get("kept") == b"7"


def etcd(server: EtcdServer, call: str, **message: str) -> dict[str, object]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/v3/kv/{call}", json.dumps(message).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=WITHIN_S) as answer:
        found: dict[str, object] = json.load(answer)
        return found


def test_etcd_keeps_keys_over_a_kill(real_etcd: EtcdServer) -> None:
    key = base64.b64encode(f"{real_etcd.new_prefix()}kept".encode()).decode()
    etcd(real_etcd, "put", key=key, value="Nw==")
    real_etcd.kill()
    real_etcd.start()
    assert etcd(real_etcd, "range", key=key)["kvs"][0]["value"] == "Nw=="  # type: ignore[index]
