"""What a first connection finds out, against listeners that answer as others than Kafka 4 do."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from millrace_ports.bus.kafka.probe import probe
from millrace_ports.bus.kafka.settings import KafkaOptions, KafkaSettings
from millrace_ports.errors import ConfigurationError, StorageUnavailableError

Answer = Callable[[bytes], bytes]

# Of the answer of Apache Kafka 3.9.1 to ApiVersions: produce, fetch, metadata, ApiVersions itself.
KAFKA_3_9 = [(0, 0, 11), (1, 0, 17), (3, 0, 12), (18, 0, 4)]


def versions(request: bytes) -> bytes:
    """ApiVersions, version 2, as a broker of Kafka 3.9 answers it."""
    (correlation,) = struct.unpack_from(">i", request, 4)
    listed = b"".join(struct.pack(">hhh", *each) for each in KAFKA_3_9)
    answer = struct.pack(">ihi", correlation, 0, len(KAFKA_3_9)) + listed + struct.pack(">i", 0)
    return struct.pack(">i", len(answer)) + answer


@pytest.fixture
async def listen() -> AsyncIterator[Callable[[Answer], Awaitable[str]]]:
    """Starts a listener that answers each request so; gives its `host:port`."""
    servers: list[asyncio.Server] = []

    async def listen(answer: Answer) -> str:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while size := await reader.read(4):
                    request = await reader.readexactly(*struct.unpack(">i", size))
                    writer.write(answer(request))
            except (ConnectionError, asyncio.IncompleteReadError, struct.error):
                pass
            finally:
                writer.close()

        servers.append(await asyncio.start_server(serve, "127.0.0.1", 0))
        return "{}:{}".format(*servers[-1].sockets[0].getsockname())

    yield listen
    for server in servers:
        server.close()


@pytest.fixture
def nobody() -> Iterator[str]:
    """`host:port` that refuses connections."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield "{}:{}".format(*bound.getsockname())


async def test_a_broker_older_than_kafka_4_is_refused(
    listen: Callable[[Answer], Awaitable[str]],
) -> None:
    old = KafkaSettings(await listen(versions), KafkaOptions())
    with pytest.raises(ConfigurationError, match=r"MILLRACE_BUS.*older than Kafka 4\.0"):
        await probe(old)


async def test_what_is_wrong_for_good_is_said_rather_than_who_is_away(
    listen: Callable[[Answer], Awaitable[str]], nobody: str
) -> None:
    addresses = [nobody, await listen(versions), nobody]
    with pytest.raises(ConfigurationError, match="older"):
        await probe(KafkaSettings(",".join(addresses), KafkaOptions()))


async def test_a_listener_that_speaks_something_else_is_suspected_of_another_protocol(
    listen: Callable[[Answer], Awaitable[str]],
) -> None:
    def hang_up(request: bytes) -> bytes:
        raise ConnectionResetError

    settings = KafkaSettings(await listen(hang_up), KafkaOptions())
    with pytest.raises(StorageUnavailableError, match="MILLRACE_KAFKA_SECURITY_PROTOCOL=PLAINTEXT"):
        await probe(settings)


async def test_where_nobody_listens_the_url_is_suspected(nobody: str) -> None:
    with pytest.raises(StorageUnavailableError, match=f"{nobody}.*MILLRACE_BUS") as caught:
        await probe(KafkaSettings(nobody, KafkaOptions()))
    assert "SECURITY_PROTOCOL" not in str(caught.value)
