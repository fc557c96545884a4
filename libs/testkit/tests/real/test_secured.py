"""The secured servers let in who has the certificate's authority and the password, and nobody else."""

import http.client
import json
import ssl

import asyncpg
import pytest
import redis
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from millrace_testkit.real.secured import LIMITED, OWNER, Login
from millrace_testkit.real.secured.credentials import WRONG
from millrace_testkit.real.secured.etcd import SecuredEtcd
from millrace_testkit.real.secured.kafka import MECHANISMS, SecuredKafka
from millrace_testkit.real.secured.postgresql import SecuredPostgresql
from millrace_testkit.real.secured.redis import SecuredRedis

pytestmark = pytest.mark.real


def kafka_client(settings: dict[str, str]) -> AdminClient:
    """A client by our own settings."""
    names = {
        "MILLRACE_KAFKA_SECURITY_PROTOCOL": "security.protocol",
        "MILLRACE_KAFKA_SASL_MECHANISM": "sasl.mechanism",
        "MILLRACE_KAFKA_SASL_USERNAME": "sasl.username",
        "MILLRACE_KAFKA_SASL_PASSWORD": "sasl.password",
        "MILLRACE_KAFKA_CA_FILE": "ssl.ca.location",
    }
    options = {names[name]: value for name, value in settings.items() if name in names}
    bootstrap = settings["MILLRACE_BUS"].removeprefix("kafka://")
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, **options})


def make_topic(client: AdminClient, name: str) -> None:
    client.create_topics([NewTopic(name, 1)], request_timeout=10)[name].result(15)


@pytest.mark.parametrize("protocol", ["SASL_SSL", "SASL_PLAINTEXT"])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_kafka_lets_the_owner_work(secured_kafka: SecuredKafka, mechanism: str, protocol: str) -> None:
    client = kafka_client(secured_kafka.settings(mechanism, protocol=protocol))
    make_topic(client, secured_kafka.new_prefix() + "topic")


def test_kafka_by_tls_without_users(secured_kafka: SecuredKafka) -> None:
    make_topic(kafka_client(secured_kafka.settings(protocol="SSL")), secured_kafka.new_prefix() + "topic")


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_kafka_refuses_a_wrong_password(secured_kafka: SecuredKafka, mechanism: str) -> None:
    client = kafka_client(secured_kafka.settings(mechanism, WRONG))
    with pytest.raises(KafkaException):
        client.list_topics(timeout=3)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_kafka_lets_the_limited_user_in_but_do_nothing(secured_kafka: SecuredKafka, mechanism: str) -> None:
    client = kafka_client(secured_kafka.settings(mechanism, LIMITED))
    hidden = secured_kafka.new_prefix() + "hidden"
    make_topic(kafka_client(secured_kafka.settings(mechanism)), hidden)
    assert hidden not in client.list_topics(timeout=10).topics
    with pytest.raises(KafkaException, match="TOPIC_AUTHORIZATION_FAILED"):
        make_topic(client, secured_kafka.new_prefix() + "topic")


@pytest.mark.parametrize("protocol", ["SASL_SSL", "SSL"])
def test_kafka_hears_nobody_without_tls(secured_kafka: SecuredKafka, protocol: str) -> None:
    client = AdminClient({"bootstrap.servers": secured_kafka.bootstrap_for(protocol), "log_level": 0})
    with pytest.raises(KafkaException):
        client.list_topics(timeout=3)


async def select_user(url: str) -> object:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    finally:
        await connection.close()


async def test_postgresql_lets_in_by_tls_and_password(secured_postgresql: SecuredPostgresql) -> None:
    assert await select_user(secured_postgresql.url) is True
    assert await select_user(secured_postgresql.new_database()) is True


@pytest.mark.parametrize(
    ("login", "parameters", "refusal"),
    [
        (OWNER, {"sslmode": "disable"}, asyncpg.InvalidAuthorizationSpecificationError),
        (WRONG, {}, asyncpg.InvalidPasswordError),
        (OWNER, {"sslrootcert": "other"}, ssl.SSLCertVerificationError),
    ],
)
async def test_postgresql_refuses(
    secured_postgresql: SecuredPostgresql, login: Login, parameters: dict[str, str], refusal: type[Exception]
) -> None:
    if "sslrootcert" in parameters:
        parameters = {"sslrootcert": str(secured_postgresql.certificates.other_ca)}
    with pytest.raises(refusal):
        await select_user(secured_postgresql.url_for(login, **parameters))


async def test_postgresql_lets_the_limited_user_make_nothing(secured_postgresql: SecuredPostgresql) -> None:
    connection = await asyncpg.connect(secured_postgresql.url_for(LIMITED), timeout=10)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("CREATE SCHEMA mine")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("CREATE TABLE public.mine (id int)")
    finally:
        await connection.close()


def redis_client(server: SecuredRedis, login: Login) -> redis.Redis:
    return redis.Redis.from_url(server.url_for(login), ssl_ca_certs=str(server.certificates.ca))


def test_redis_lets_in_by_tls_and_password(secured_redis: SecuredRedis) -> None:
    with redis_client(secured_redis, OWNER) as client:
        assert client.set("key", "value")
        assert client.get("key") == b"value"


def test_redis_refuses_a_wrong_password(secured_redis: SecuredRedis) -> None:
    with redis_client(secured_redis, WRONG) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_redis_lets_the_limited_user_do_nothing(secured_redis: SecuredRedis) -> None:
    with redis_client(secured_redis, LIMITED) as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.get("key")


def test_redis_hears_nobody_without_tls(secured_redis: SecuredRedis) -> None:
    with (
        redis.Redis(port=secured_redis.port, username=OWNER.name, password=OWNER.password) as client,
        pytest.raises(redis.ConnectionError),
    ):
        client.ping()


def etcd_put(server: SecuredEtcd, login: Login | None, *, certificate: bool = True) -> int:
    """Status of a write of one key."""
    context = ssl.create_default_context(cafile=server.certificates.ca)
    if certificate:
        context.load_cert_chain(server.certificates.certificate("client"), server.certificates.key("client"))
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=10, context=context)
    headers = {}
    try:
        if login is not None:
            connection.request(
                "POST", "/v3/auth/authenticate", json.dumps({"name": login.name, "password": login.password})
            )
            answer = connection.getresponse()
            body = json.loads(answer.read())
            if answer.status != http.client.OK:
                return answer.status
            headers = {"Authorization": body["token"]}
        connection.request("POST", "/v3/kv/put", json.dumps({"key": "a2V5", "value": "dg=="}), headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_etcd_lets_in_by_certificate_and_password(secured_etcd: SecuredEtcd) -> None:
    assert etcd_put(secured_etcd, OWNER) == http.client.OK


@pytest.mark.parametrize("login", [WRONG, LIMITED, None])
def test_etcd_lets_nobody_else_write(secured_etcd: SecuredEtcd, login: Login | None) -> None:
    assert etcd_put(secured_etcd, login) >= http.client.BAD_REQUEST


def test_etcd_refuses_who_has_no_certificate(secured_etcd: SecuredEtcd) -> None:
    with pytest.raises(ssl.SSLError):
        etcd_put(secured_etcd, OWNER, certificate=False)
