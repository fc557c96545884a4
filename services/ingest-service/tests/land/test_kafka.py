"""Landing what Kafka delivers: rows as the journal gives them, each once, whatever comes twice."""

from __future__ import annotations

import itertools
import json
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from ingest_service.land.batch import Counts, build
from ingest_service.land.held import LostRaceError
from millrace_ports.bus.port import Chunk, Origin, Partition
from millrace_testkit.builders import traffic
from millrace_testkit.model import compare, foreign_line

from .conftest import DAY, NOW_S, Landing, contact, message
from .journals import TODAY, write_journal
from .kafka import TOPIC, Topic, foreign, origin, relayed

NOTE = {"guid": "g", "notify_type": 1003, "data": {}}
LINES = [*itertools.islice(traffic(11), 400), b"", b"  ", b'{"cut":', b"\xff", b"[1]"]
"""Of all kinds; a journal may hold lines that no door has let in."""

Another = Callable[[], Landing]


def land_all(landing: Landing, topic: Topic) -> Counts:
    """All records of the topic, in batches of some chunks."""
    totals = Counts()
    chunks = topic.chunks()
    while some := list(itertools.islice(chunks, 3 * len(topic.partitions))):
        counts = landing.take(*some)
        assert counts.add_up()
        totals += counts
    return totals


def without_time(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "ingestion_time"} for row in rows]


def test_relayed_rows_are_those_of_the_journal(landing: Landing, tmp_path: pathlib.Path) -> None:
    write_journal(tmp_path / "messages" / "raw", LINES)
    topic = Topic()
    topic.publish(relayed(LINES))
    totals = land_all(landing, topic)
    assert compare(tmp_path, today=TODAY) == []
    embedded = Landing(tmp_path / "embedded")
    embedded.land(*LINES)
    for table in ("contacts", "other", "dead_letters"):
        assert without_time(landing.rows(table)) == without_time(embedded.rows(table))
    assert totals.messages == len(embedded.rows("messages"))
    assert totals.rejected == len(embedded.rows("dead_letters"))


def test_a_second_relay_run_changes_nothing_whatever_partition_it_meets(
    landing: Landing, tmp_path: pathlib.Path
) -> None:
    """Rule 10, and a topic that was made anew or has more partitions than before."""
    write_journal(tmp_path / "messages" / "raw", LINES)
    first, more = Topic(), Topic("Another_topic_id-1234567", 8)
    first.publish(relayed(LINES))
    first.publish(relayed(LINES[200:], first=201))
    totals = land_all(landing, first)
    assert totals.duplicates >= 200
    rejected = len(landing.rejected)
    more.publish(relayed(LINES), shift=3)
    again = land_all(landing, more)
    assert (again.messages, again.other, again.rejected) == (0, 0, 0)
    assert compare(tmp_path, today=TODAY) == []
    assert len(landing.rejected) == rejected


def test_repeats_within_one_batch_land_once(landing: Landing) -> None:
    topic = Topic(partitions=1)
    entries = relayed([json.dumps(NOTE).encode(), b"bad", json.dumps(message("1")).encode()])
    topic.publish([*entries, *entries])
    counts = landing.take(*topic.chunks(100))
    assert (counts.messages, counts.other, counts.rejected, counts.duplicates) == (1, 1, 1, 3)
    assert [len(landing.rows(t)) for t in ("messages", "other", "dead_letters")] == [1, 1, 1]


def test_what_is_sent_again_below_the_mark_lands_when_it_was_lost(landing: Landing) -> None:
    """Retention has passed records 2 and 3: the replay brings them behind later ones."""
    notes = [json.dumps({**NOTE, "data": {"n": n}}).encode() for n in range(5)]
    topic = Topic(partitions=1)
    entries = relayed(notes)
    topic.publish([entries[0], entries[3], entries[4], *entries[1:4]])
    land_all(landing, topic)
    assert [row["src_line"] for row in landing.rows("other")] == [1, 2, 3, 4, 5]


def test_a_replaced_journal_gives_line_numbers_again(landing: Landing) -> None:
    """LAKE-70: another notification at the same line is another one, the same one is a repeat."""
    topic = Topic(partitions=1)
    old = [json.dumps({**NOTE, "data": {"n": n}}).encode() for n in (1, 2)]
    new = [json.dumps({**NOTE, "data": {"n": n}}).encode() for n in (1, 3)]
    topic.publish([*relayed(old), *relayed(new, day="2026-03-14#1")])
    land_all(landing, topic)
    rows = landing.rows("other")
    assert [(row["src_file"], row["src_line"], json.loads(row["payload"])["data"]["n"]) for row in rows] == [
        ("2026-03-14.jsonl", 1, 1),
        ("2026-03-14.jsonl", 2, 2),
        ("2026-03-14.jsonl", 2, 3),
    ]
    assert landing.lander.relayed(topic.partitions[0]) == {"door-1": ("2026-03-14#1", 2)}


def test_an_installation_may_change_its_bus(landing: Landing, tmp_path: pathlib.Path) -> None:
    """From the journal to Kafka, and back, over one lake."""
    write_journal(tmp_path / "messages" / "raw", LINES)
    landing.land(*LINES[:300])
    topic = Topic()
    topic.publish(relayed(LINES))
    land_all(landing, topic)
    assert compare(tmp_path, today=TODAY) == []
    landing.land(*LINES[300:])
    assert compare(tmp_path, today=TODAY) == []


def test_several_doors_and_foreign_producers(landing: Landing, tmp_path: pathlib.Path) -> None:
    one, two = list(itertools.islice(traffic(21), 150)), list(itertools.islice(traffic(22), 150))
    write_journal(tmp_path / "one", one)
    write_journal(tmp_path / "two", two, door="door-2")
    others = foreign(*itertools.islice(traffic(23), 100), at_ms=1_773_450_000_077)
    topic = Topic()
    both = [entry for pair in zip(relayed(two, door="door-2"), relayed(one), strict=False) for entry in pair]
    topic.publish([*relayed(one)[len(both) // 2 :], *others, *both, *relayed(two, door="door-2")])
    land_all(landing, topic)
    strangers = [
        foreign_line(TOPIC, *_parts(chunk.partition), number - 1, at, value)
        for chunk in topic.chunks(10_000)
        for value, number, at, where in zip(
            chunk.values, chunk.offsets, chunk.received_at_ms, chunk.origins or [], strict=True
        )
        if where is None
    ]
    assert len(strangers) == 100
    roots = [tmp_path / "one", tmp_path / "two"]
    assert compare(tmp_path, today=TODAY, journals=roots, foreign=strangers) == []


def _parts(partition: Partition) -> tuple[str, int]:
    topic_id, _, number = partition.name.rpartition("/")
    return topic_id, int(number)


def test_a_record_of_nobodys_journal_is_of_its_partition(landing: Landing) -> None:
    topic = Topic("topic-id", 1)
    batch = {
        "guid": "g",
        "notify_type": 1011,
        "data": [message("2")["data"], {"no": "id"}, message("3")["data"]],
    }
    topic.publish(foreign(message("1"), NOTE, batch, b"garbage", b"", b"  ", at_ms=1_773_532_800_001))
    counts = landing.take(*topic.chunks())
    assert counts.add_up()
    assert (counts.messages, counts.other, counts.rejected, counts.blank) == (3, 1, 4, 0)
    places = [(row["src_door"], row["src_file"], row["src_line"]) for row in landing.rows("messages")]
    assert places == [("topic-id/0", TOPIC, 1), ("topic-id/0", TOPIC, 3), ("topic-id/0", TOPIC, 3)]
    assert [row["src_element"] for row in landing.rows("messages")] == [0, 0, 2]
    assert landing.rows("other")[0]["received_day"] == "2026-03-15"
    dead = landing.rows("dead_letters")
    assert [(row["src_line"], row["src_element"], row["reason"]) for row in dead] == [
        (3, 1, "missing_required_field"),
        (4, 0, "malformed"),
        (5, 0, "empty"),
        (6, 0, "empty"),
    ]
    assert dead[1]["replay"] == f"millrace dead-letters replay topic-id/0/{TOPIC}/4/0"


@pytest.mark.parametrize(
    "wrong",
    [
        Origin("door-1", "2026-02-30", 1, 0, 1),
        Origin("door-1", "9999-12-31", 1, 0, 1),
        Origin("door-1", "today", 1, 0, 1),
        Origin("", "2026-03-14", 1, 0, 1),
        Origin("a|b", "2026-03-14", 1, 0, 1),
        Origin("door-1", "2026-03-14", 0, 0, 1),
        Origin("door-1", "2026-03-14", 2**40, 0, 1),
        Origin("door-1", "2026-03-14", 1, -1, 1),
        Origin("door-1", "2026-03-14", 1, 2**31, 1),
        Origin("door-1", "2026-03-14", 1, 0, -1),
        Origin("door-1", "2026-03-14", 1, 0, 10**15),
    ],
)
def test_an_origin_that_no_door_gives_is_none(landing: Landing, wrong: Origin) -> None:
    """Whatever a producer writes into a header, the record lands and the ones beside it too."""
    topic = Topic(partitions=1)
    value = json.dumps(message("1")).encode()
    topic.publish([(value, wrong, 1), *relayed([json.dumps(message("2")).encode()])])
    assert landing.take(*topic.chunks()).messages == 2
    doors = {row["msg_id"]: row["src_door"] for row in landing.rows("messages")}
    assert doors == {"1": topic.partitions[0].name, "2": "door-1"}


def test_a_batch_that_stays_whole_gives_its_elements_their_places(landing: Landing) -> None:
    topic = Topic(partitions=1)
    payload = {"guid": "g", "notify_type": 1011, "data": [message(str(n))["data"] for n in range(3)] + [7]}
    topic.publish([(json.dumps(payload).encode(), origin(9, 40), 1), *relayed([b"bad"], first=10)])
    counts = landing.take(*topic.chunks())
    assert (counts.lines, counts.messages, counts.rejected) == (5, 3, 2)
    assert [(row["src_line"], row["src_element"]) for row in landing.rows("messages")] == [
        (9, 40),
        (9, 41),
        (9, 42),
    ]
    assert [(row["src_line"], row["src_element"]) for row in landing.rows("dead_letters")] == [
        (9, 43),
        (10, 0),
    ]


def test_ten_megabytes_land(landing: Landing) -> None:
    topic = Topic(partitions=1)
    topic.publish(foreign(message("1", content="x" * 10_000_000), {**NOTE, "data": "y" * 10_000_000}))
    counts = landing.take(*topic.chunks())
    assert (counts.messages, counts.other) == (1, 1)
    assert len(landing.rows("messages")[0]["content"]) == 10_000_000


def test_only_the_partitions_that_another_writer_moved_are_lost(landing: Landing, another: Another) -> None:
    """Rule 3, one partition at a time."""
    topic = Topic(partitions=3)
    topic.publish(foreign(*(message(str(n)) for n in range(9))))
    chunks = list(topic.chunks())
    for chunk in chunks:
        landing.lander.position(chunk.partition)
    other = another()
    other.take(chunks[1])
    with pytest.raises(LostRaceError) as lost:
        landing.lander.commit(build(chunks, ingested_at_s=NOW_S))
    assert lost.value.partitions == {topic.partitions[1]}
    assert landing.take(chunks[0], chunks[2]).messages == 6
    assert landing.lander.position(topic.partitions[1]) == 3


def test_a_writer_that_is_overtaken_at_the_last_moment_lands_nothing(
    landing: Landing, another: Another, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one lands the same records between the early look and the commit."""
    topic = Topic(partitions=2)
    topic.publish([*relayed([json.dumps(NOTE).encode(), b"bad"]), *foreign(NOTE, message("1"))])
    chunks = list(topic.chunks())
    for chunk in chunks:
        landing.lander.position(chunk.partition)
    other = another()
    commit, append = other.take, landing.lander._messages.append

    def overtaken(*arguments: Any, **options: Any) -> int:
        commit(chunks[0])
        return append(*arguments)

    monkeypatch.setattr(landing.lander._messages, "append", overtaken)
    with pytest.raises(LostRaceError) as lost:
        landing.lander.commit(build(chunks, ingested_at_s=NOW_S))
    assert lost.value.partitions == {topic.partitions[0]}
    monkeypatch.undo()
    landing.take(chunks[1])
    assert [len(landing.rows(t)) for t in ("messages", "other", "dead_letters")] == [1, 2, 1]


def test_one_origin_in_two_partitions_is_raced_for_by_two_writers(
    landing: Landing, another: Another, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = Topic(partitions=2)
    entries = relayed([json.dumps(NOTE).encode(), b"bad"])
    topic.publish(entries)
    topic.publish(entries, shift=1)
    first, second = topic.chunks()
    other = another()
    stored = landing.lander._other._stored
    among = stored.among

    def slow(rows: Any) -> Any:
        found = among(rows)
        monkeypatch.undo()
        other.take(second)
        return found

    monkeypatch.setattr(stored, "among", slow)
    landing.take(first)
    assert [len(landing.rows(t)) for t in ("other", "dead_letters")] == [1, 1]


def test_a_crash_before_the_messages_commit_repeats_nothing(landing: Landing, another: Another) -> None:
    topic = Topic(partitions=2)
    lines = [json.dumps(NOTE).encode(), b"bad", json.dumps(contact("wxid_a")).encode(), b"worse"]
    topic.publish([*relayed(lines), *foreign(NOTE, b"bad", message("1"))])
    chunks = list(topic.chunks())
    for chunk in chunks:
        landing.lander.position(chunk.partition)
    landing.lander._messages.append = _crash  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        landing.lander.commit(build(chunks, ingested_at_s=NOW_S))
    counts = another().take(*chunks)
    assert counts.add_up()
    assert counts.messages == 1
    assert [len(landing.rows(t)) for t in ("other", "dead_letters", "contacts", "messages")] == [2, 3, 1, 1]


def _crash(*_: Any, **_options: Any) -> int:
    raise KeyboardInterrupt


def test_the_highest_origin_of_each_door_is_known_by_partition(landing: Landing, another: Another) -> None:
    """A mark never falls, and outlives the process and a checkpoint of the log."""
    topic = Topic(partitions=1)
    values = [json.dumps(message(str(n))).encode() for n in range(4)]
    topic.publish(relayed(values, first=7))
    topic.publish(relayed(values[:1], door="door-2", day="2026-03-15"))
    landing.take(*topic.chunks(100))
    topic.publish(relayed(values[:2], first=7))
    landing.take(topic.chunk(topic.partitions[0], 5))
    known = {"door-1": ("2026-03-14", 10), "door-2": ("2026-03-15", 1)}
    assert landing.lander.relayed(topic.partitions[0]) == known
    landing.lake.open("messages").create_checkpoint()
    assert another().lander.relayed(topic.partitions[0]) == known
    assert another().lander.relayed(Partition(TOPIC, "other-id/0")) == {}


def test_a_position_is_moved_past_what_is_lost(landing: Landing, another: Another) -> None:
    topic = Topic(partitions=1)
    topic.publish(foreign(*(message(str(n)) for n in range(6))))
    (partition,) = topic.partitions
    landing.take(topic.chunk(partition, 0, 2))
    assert landing.lander.skip(partition, 4) == 4
    assert another().lander.position(partition) == 4
    assert another().lander.skip(partition, 3) == 4
    assert landing.take(topic.chunk(partition, 4)).messages == 2
    assert landing.lander.position(DAY) == 0


def test_a_topic_that_replaces_another_has_positions_of_its_own(landing: Landing) -> None:
    old, new = Topic("old-id", 1), Topic("new-id", 1)
    old.publish(foreign(message("1"), message("2")))
    new.publish(foreign(message("2"), message("3")))
    land_all(landing, old)
    assert land_all(landing, new).messages == 1
    assert landing.lander.position(Partition(TOPIC, "new-id/0")) == 2


def test_an_empty_chunk_moves_the_position(landing: Landing) -> None:
    """Records that the bus has already removed within a partition leave gaps in its numbers."""
    partition = Partition(TOPIC, "topic-id/0")
    landing.take(Chunk(partition, 0, 5, [], [], []))
    assert landing.lander.position(partition) == 5
    value = json.dumps(message("1")).encode()
    landing.take(Chunk(partition, 5, 12, [value], [9], [1]))
    assert landing.lander.position(partition) == 12
    assert landing.rows("messages")[0]["src_line"] == 9
