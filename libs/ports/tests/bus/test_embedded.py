"""The embedded bus: the contract, and what only journals have: days, tails, replaced files."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from millrace_ports.bus import Bus, Partition, Record, open_bus
from millrace_ports.errors import ConfigurationError, PositionError, StorageUnavailableError
from millrace_ports.journal import JournalRoot, JournalWriter
from millrace_testkit.clock import ManualClock
from millrace_testkit.contracts.bus import BusContract, KeptPositions, quiet, read, values_of

TOPIC = "webhook.messages"
LATE_ON_MARCH_14 = 1_773_532_790_000  # 2026-03-14T23:59:50Z


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(LATE_ON_MARCH_14)


@pytest.fixture
async def bus(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Bus]:
    bus = open_bus(f"journal:{tmp_path}", now_ms=clock.now_ms)
    yield bus
    await bus.close()


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    directory = tmp_path / "messages" / "raw"
    directory.mkdir(parents=True)
    return directory


class TestEmbeddedBus(BusContract):
    pass


class TestEmbeddedBusWithAFormerDoor(BusContract):
    """Whose journals are beside those that grow: all that is promised of one is promised of both together."""

    @pytest.fixture
    def topic(self, tmp_path: Path) -> str:
        (tmp_path / "messages" / "former" / "door-0").mkdir(parents=True)
        return TOPIC


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "MILLRACE_BUS is not set"),
        ("journal:", "absolute"),
        ("journal:data", "absolute"),
        ("amqp://user:secret@h", "MILLRACE_BUS: unknown kind 'amqp'"),
        ("/var/lib/millrace", "MILLRACE_BUS"),
    ],
)
def test_a_bad_url_is_an_error_that_names_the_variable(url: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match="MILLRACE_BUS") as caught:
        open_bus(url, now_ms=lambda: 0)
    assert why in str(caught.value)


@pytest.mark.parametrize("name", ["", "../raw", "a/b", ".hidden", "a b"])
async def test_a_topic_is_a_plain_name(bus: Bus, name: str) -> None:
    with pytest.raises(ConfigurationError, match="topic"):
        await bus.publish(name, [Record(b"x")])


async def test_topics_lie_where_the_layout_says(bus: Bus, tmp_path: Path) -> None:
    await bus.publish(TOPIC, [Record(b"m")])
    await bus.publish("lake.commits", [Record(b"c")])
    assert (tmp_path / "messages/raw/2026-03-14.jsonl").read_bytes() == b"m\n"
    assert (tmp_path / "bus/lake.commits/2026-03-14.jsonl").read_bytes() == b"c\n"


async def test_days_are_partitions_read_oldest_first(bus: Bus, clock: ManualClock, tmp_path: Path) -> None:
    await bus.publish(TOPIC, [Record(b"before")])
    clock.advance(20)
    await bus.publish(TOPIC, [Record(b"after")])
    chunks = await read(bus.consumer(TOPIC, "g", KeptPositions()), 2)
    door = JournalRoot(tmp_path / "messages" / "raw").door
    assert [(c.partition, c.start, c.end, list(c.values)) for c in chunks] == [
        (Partition(TOPIC, f"{door}/2026-03-14"), 0, 1, [b"before"]),
        (Partition(TOPIC, f"{door}/2026-03-15"), 0, 1, [b"after"]),
    ]
    assert [list(c.received_at_ms) for c in chunks] == [[LATE_ON_MARCH_14], [LATE_ON_MARCH_14 + 20_000]]


async def test_blank_and_bad_lines_are_counted(bus: Bus, raw: Path) -> None:
    (raw / "2026-03-14.jsonl").write_bytes(b'{"a":1}\n\n\xff\xfe\n   \nlast\n')
    (chunk,) = await read(bus.consumer(TOPIC, "g", KeptPositions()), 5)
    assert list(chunk.values) == [b'{"a":1}', b"", b"\xff\xfe", b"   ", b"last"]
    assert list(chunk.offsets) == [1, 2, 3, 4, 5]
    assert set(chunk.received_at_ms) == {1_773_446_400_000}  # no sidecar: the day's midnight


async def test_names_that_are_no_journals_are_not_read(bus: Bus, raw: Path) -> None:
    for name in (".2026-03-14.jsonl", "2026-03-14.jsonl.tmp", "2026-13-01.jsonl", "x.jsonl", "a.lock"):
        (raw / name).write_bytes(b"no\n")
    assert await quiet(bus.consumer(TOPIC, "g", KeptPositions()))


async def test_an_unterminated_line_waits_for_its_end_or_the_day_s(
    bus: Bus, raw: Path, clock: ManualClock
) -> None:
    journal = raw / "2026-03-14.jsonl"
    journal.write_bytes(b"one\ntw")
    consumer = bus.consumer(TOPIC, "g", KeptPositions())
    assert values_of(await read(consumer, 1)) == [b"one"]
    assert await quiet(consumer)
    with journal.open("ab") as file:
        file.write(b"o\nthr")
    assert values_of(await read(consumer, 1)) == [b"two"]
    assert await quiet(consumer)
    clock.advance(20)
    (tail,) = await read(consumer, 1)
    assert (list(tail.values), tail.start, tail.end) == ([b"thr"], 2, 3)
    assert await quiet(consumer)
    assert await consumer.lag() == {}


async def test_a_day_still_locked_by_a_writer_is_not_closed(bus: Bus, raw: Path, clock: ManualClock) -> None:
    import fcntl

    journal = raw / "2026-03-14.jsonl"
    journal.write_bytes(b"tail")
    clock.advance(20)
    with (raw / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        consumer = bus.consumer(TOPIC, "g", KeptPositions())
        assert await quiet(consumer)
        with journal.open("ab") as file:
            file.write(b" and more")
    assert values_of(await read(consumer, 1)) == [b"tail and more"]


async def test_a_line_of_over_five_megabytes_comes_whole(bus: Bus) -> None:
    large = b"z" * (6 * 1024 * 1024)
    await bus.publish(TOPIC, [Record(b"a"), Record(large), Record(b"b")])
    consumer = bus.consumer(TOPIC, "g", KeptPositions())
    assert values_of(await read(consumer, 3, max_bytes=100_000)) == [b"a", large, b"b"]


async def test_fewer_lines_than_the_position_is_reported(bus: Bus, raw: Path) -> None:
    (raw / "2026-03-14.jsonl").write_bytes(b"one\ntwo\n")
    partition = Partition(TOPIC, f"{JournalRoot(raw).door}/2026-03-14")
    positions = KeptPositions()
    positions.consumed[partition] = 5
    consumer = bus.consumer(TOPIC, "g", positions)
    assert values_of(await read(consumer, 2)) == [b"one", b"two"]
    assert positions.truncations == [(partition, 5, 2)]


async def test_an_owner_cannot_ask_for_more_than_there_is(bus: Bus, raw: Path) -> None:
    class Stubborn(KeptPositions):
        async def start(self, partition: Partition) -> int:
            return 9

        async def truncated(self, partition: Partition, position: int, available: int) -> int:
            return 8

    (raw / "2026-03-14.jsonl").write_bytes(b"one\n")
    with pytest.raises(PositionError, match="1 records"):
        await read(bus.consumer(TOPIC, "g", Stubborn()), 1)


@pytest.mark.parametrize("in_place", [True, False])
async def test_a_journal_replaced_while_it_is_read_is_reported(bus: Bus, raw: Path, in_place: bool) -> None:
    journal = raw / "2026-03-14.jsonl"
    journal.write_bytes(b"one\ntwo\nthree\n")
    positions = KeptPositions()
    consumer = bus.consumer(TOPIC, "g", positions)
    (chunk,) = await read(consumer, 3)
    if in_place:
        journal.write_bytes(b"new\n")
    else:
        (raw / "other.tmp").write_bytes(b"new\n")
        (raw / "other.tmp").replace(journal)
    assert values_of(await read(consumer, 1)) == [b"new"]
    assert positions.truncations == [(chunk.partition, 3, 1)]


async def test_a_journal_that_is_cleaned_up_is_forgotten(bus: Bus, raw: Path, clock: ManualClock) -> None:
    journal = raw / "2026-03-14.jsonl"
    journal.write_bytes(b"one\n")
    consumer = bus.consumer(TOPIC, "g", KeptPositions())
    chunks = await read(consumer, 1)
    clock.advance(20)
    assert await quiet(consumer)
    journal.unlink()
    assert await quiet(consumer)
    await consumer.ensure_durable(chunks)
    assert await consumer.lag() == {}


async def test_a_finished_day_goes_on_when_the_clock_goes_back(
    bus: Bus, clock: ManualClock, tmp_path: Path
) -> None:
    await bus.publish(TOPIC, [Record(b"one")])
    clock.advance(20)
    await bus.publish(TOPIC, [Record(b"next day")])
    positions = KeptPositions()
    consumer = bus.consumer(TOPIC, "g", positions)
    await read(consumer, 2)
    assert await quiet(consumer)
    clock.set_ms(LATE_ON_MARCH_14)
    await bus.publish(TOPIC, [Record(b"two")])
    (chunk,) = await read(consumer, 1)
    assert (chunk.partition.name[-10:], chunk.start, list(chunk.values)) == ("2026-03-14", 1, [b"two"])
    assert positions.truncations == []


async def test_a_finished_journal_is_not_counted_again_after_a_restart(
    tmp_path: Path, raw: Path, clock: ManualClock
) -> None:
    journal = raw / "2026-03-14.jsonl"
    journal.write_bytes(b"one\ntwo\n")
    clock.advance(20)
    positions = KeptPositions()
    first = open_bus(f"journal:{tmp_path}", now_ms=clock.now_ms)
    consumer = first.consumer(TOPIC, "g", positions)
    positions.take(await read(consumer, 2))
    assert await quiet(consumer)
    await consumer.report(positions.consumed)
    await first.close()

    # The same size and time, other content: only the hint can tell where line 2 ends.
    status = journal.stat()
    journal.write_bytes(b"1\n2\n3\n4\n")
    os.utime(journal, ns=(status.st_atime_ns, status.st_mtime_ns))
    second = open_bus(f"journal:{tmp_path}", now_ms=clock.now_ms)
    assert await quiet(second.consumer(TOPIC, "g", positions))
    await second.close()

    os.utime(journal)
    third = open_bus(f"journal:{tmp_path}", now_ms=clock.now_ms)
    assert values_of(await read(third.consumer(TOPIC, "g", positions), 2)) == [b"3", b"4"]
    await third.close()


async def test_the_report_is_json_for_people(bus: Bus, tmp_path: Path) -> None:
    await bus.publish(TOPIC, [Record(b"one")])
    consumer = bus.consumer(TOPIC, "lake", KeptPositions())
    (chunk,) = await read(consumer, 1)
    await consumer.report({chunk.partition: chunk.end})
    report = msgspec.json.decode((tmp_path / "metadata/offsets/lake/webhook.messages.json").read_bytes())
    assert report == {
        "topic": TOPIC,
        "reported_at_ms": LATE_ON_MARCH_14,
        "partitions": {chunk.partition.name: {"position": 1}},
    }


async def test_an_unreadable_report_counts_as_none(bus: Bus, tmp_path: Path) -> None:
    report = tmp_path / "metadata/offsets/lake/webhook.messages.json"
    report.parent.mkdir(parents=True)
    report.write_bytes(b'{"topic":')
    await bus.publish(TOPIC, [Record(b"one")])
    consumer = bus.consumer(TOPIC, "lake", KeptPositions())
    (chunk,) = await read(consumer, 1)
    await consumer.report({chunk.partition: 1})
    assert msgspec.json.decode(report.read_bytes())["partitions"][chunk.partition.name] == {"position": 1}


async def test_a_disk_that_refuses_is_a_retryable_error(bus: Bus, raw: Path) -> None:
    (raw / "2026-03-14.jsonl").mkdir()
    with pytest.raises(StorageUnavailableError, match="2026-03-14") as caught:
        await bus.publish(TOPIC, [Record(b"one")])
    assert caught.value.retryable
    (raw / "2026-03-14.jsonl").rmdir()
    await bus.publish(TOPIC, [Record(b"one")])


async def test_lines_of_a_foreign_writer_are_read_while_it_writes(
    bus: Bus, raw: Path, clock: ManualClock
) -> None:
    other = JournalWriter(JournalRoot(raw), now_ms=clock.now_ms)
    consumer = bus.consumer(TOPIC, "g", KeptPositions())

    async def write() -> None:
        for number in range(200):
            await asyncio.to_thread(other.append, [b"%d" % number])

    writing = asyncio.create_task(write())
    chunks = await read(consumer, 200)
    await writing
    other.close()
    assert values_of(chunks) == [b"%d" % number for number in range(200)]


async def test_journals_of_a_former_door_keep_its_name(tmp_path: Path, clock: ManualClock, raw: Path) -> None:
    former = JournalWriter(JournalRoot(raw), now_ms=clock.now_ms)
    former.append([b"1", b"2", b"3"])
    door = former.root.door
    former.close()
    (tmp_path / "messages" / "former").mkdir()
    await asyncio.to_thread(raw.rename, tmp_path / "messages" / "former" / door)

    bus = open_bus(f"journal:{tmp_path}", now_ms=clock.now_ms)
    await bus.publish(TOPIC, [Record(b"4")])
    positions = KeptPositions()
    consumer = bus.consumer(TOPIC, "g", positions)
    chunks = await read(consumer, 4, max_records=1)
    partitions = {partition.name.rpartition("/")[0]: partition for partition in positions.started}
    assert partitions.keys() == {door, JournalRoot(raw).door}
    by_door = {name: values_of(c for c in chunks if c.partition == p) for name, p in partitions.items()}
    assert by_door == {door: [b"1", b"2", b"3"], JournalRoot(raw).door: [b"4"]}
    assert [chunk.partition for chunk in chunks[:2]] != [partitions[door]] * 2  # in turn

    # Positions, durability and lag go to whoever reads that journal.
    positions.consumed[partitions[door]] = 2
    await consumer.ensure_durable(chunks)
    await consumer.reset(partitions[door])
    assert values_of(await read(consumer, 1)) == [b"3"]
    await bus.publish(TOPIC, [Record(b"5")])
    assert {p: n for p, n in (await consumer.lag()).items() if n} == {partitions[JournalRoot(raw).door]: 1}
    await consumer.report({partitions[door]: 3, partitions[JournalRoot(raw).door]: 1})
    reports = tmp_path / "metadata" / "offsets" / "g"
    assert {
        name: msgspec.json.decode(file.read_bytes())["partitions"][name]["position"]
        for file, name in (
            (reports / f"{TOPIC}@{door}.json", partitions[door].name),
            (reports / f"{TOPIC}.json", partitions[JournalRoot(raw).door].name),
        )
    } == {partitions[door].name: 3, partitions[JournalRoot(raw).door].name: 1}
    assert await quiet(consumer) is False
    await bus.close()
