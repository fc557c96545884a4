"""What lands, in which table, once."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from ingest_service.land.batch import build
from ingest_service.land.held import LostRaceError
from millrace_ports.bus.port import Partition
from millrace_schemas import topics

from .conftest import DAY, NOW_S, Landing, contact, message


def test_each_example_of_the_topic_lands_in_its_table(landing: Landing) -> None:
    """LAKE-20: group text, private text, app message, batch of two, contact, deletion, notification."""
    values = list(topics.load("webhook.messages").example_values().values())
    counts = landing.land(*values)
    assert counts.add_up()
    assert (counts.messages, counts.contacts, counts.other, counts.rejected) == (5, 2, 1, 0)
    assert len(landing.rows("messages")) == 5
    assert {row["username"] for row in landing.rows("contacts")} == {"wxid_r4m8ywz6pd", "wxid_h5e1qa9jvn"}


def test_repeats_are_dropped_within_a_batch_across_batches_and_days(landing: Landing) -> None:
    """LAKE-64, LAKE-S10: first stored wins."""
    first = landing.land(message("1", content="first"), message("1", content="second"), message("2"))
    assert (first.messages, first.duplicates) == (2, 1)
    next_day = Partition("webhook.messages", "door-1/2026-03-15")
    second = landing.land(message("1", create_time=1773543947), message("3"), partition=next_day)
    assert (second.messages, second.duplicates) == (1, 1)
    assert [row["content"] for row in landing.rows("messages") if row["msg_id"] == "1"] == ["first"]


def test_ids_that_are_no_canonical_decimals_are_deduplicated_exactly(landing: Landing) -> None:
    ids = ["abc", "007", "7", "18446744073709551615", "18446744073709551616", "é", "x" * 200]
    assert landing.land(*(message(msg_id) for msg_id in ids)).messages == len(ids)
    again = landing.land(*(message(msg_id) for msg_id in [*ids, "new"]))
    assert (again.messages, again.duplicates) == (1, len(ids))


def test_a_new_lander_knows_what_is_stored(landing: Landing, another: Callable[[], Landing]) -> None:
    """LAKE-66: with and without a snapshot of the index."""
    landing.land(message("1"), message("abc"))
    assert another().land(message("1"), message("abc"), message("2")).messages == 1
    landing.lander.position(DAY)
    landing.index.save()
    landing.land(message("3"))
    assert another().land(*map(message, ("1", "2", "3", "abc"))).duplicates == 4


def test_a_lander_that_was_overtaken_lands_nothing(landing: Landing, another: Callable[[], Landing]) -> None:
    """ARCHITECTURE 4, rules 3 and 6: a batch from an old position is fenced off, in every table."""
    other = another()
    landing.lander.position(DAY)
    late = build(
        [landing.chunk([message("1"), {"guid": "g", "notify_type": 1006, "data": {}}, b"bad"])],
        ingested_at_s=NOW_S,
    )
    other.land(message("1"), {"guid": "g", "notify_type": 1006, "data": {}}, b"bad", message("2"))
    with pytest.raises(LostRaceError, match="at line 4"):
        landing.lander.commit(late)
    assert [len(landing.rows(t)) for t in ("messages", "other", "dead_letters")] == [2, 1, 1]


def test_two_landers_of_different_journals_race_for_one_id(
    landing: Landing, another: Callable[[], Landing]
) -> None:
    """Rule 9: the dedup transactions make the loser look again."""
    one, two = (
        Partition("webhook.messages", "door-1/2026-03-14"),
        Partition("webhook.messages", "door-2/2026-03-14"),
    )
    other = another()
    landing.lander.position(one)
    other.lander.position(two)
    batch = build([landing.chunk([message("1"), message("2")], one)], ingested_at_s=NOW_S)
    racer = build([landing.chunk([message("2"), message("3")], two)], ingested_at_s=NOW_S)
    assert other.lander.commit(racer).messages == 2
    counts = landing.lander.commit(batch)
    assert (counts.messages, counts.duplicates) == (1, 1)
    assert sorted(row["msg_id"] for row in landing.rows("messages")) == ["1", "2", "3"]


def test_side_tables_take_only_what_they_do_not_hold(
    landing: Landing, another: Callable[[], Landing]
) -> None:
    """Rule 2: a crash before the messages commit repeats the lines, and nothing stands twice."""
    lines: list[Any] = [
        {"guid": "g", "notify_type": 1003, "data": {}},
        b"bad",
        contact("wxid_a"),
        message("1"),
    ]
    landing.lander.position(DAY)
    batch = build([landing.chunk(lines)], ingested_at_s=NOW_S)
    landing.lander._messages.append = _crash  # type: ignore[method-assign,assignment]
    with pytest.raises(KeyboardInterrupt):
        landing.lander.commit(batch)
    assert landing.rows("messages") == []
    assert len(landing.rows("other")) == 1
    counts = another().land(*lines)
    assert counts.messages == 1
    assert [len(landing.rows(t)) for t in ("other", "dead_letters", "contacts", "messages")] == [1, 1, 1, 1]


def _crash(*_: Any, **_options: Any) -> int:
    raise KeyboardInterrupt


def test_a_journal_with_fewer_lines_is_read_again_in_a_new_epoch(landing: Landing) -> None:
    """LAKE-70: nothing twice, and what is new lands."""
    old = [message("1"), {"guid": "g", "notify_type": 1003, "data": {}}, b"bad", message("2")]
    landing.land(*old)
    landing.lander.restart(DAY)
    new = [message("1"), {"guid": "g", "notify_type": 1003, "data": {"n": 1}}, b"bad"]
    counts = landing.lander.commit(build([landing.chunk(new)], ingested_at_s=NOW_S))
    assert (counts.messages, counts.duplicates) == (0, 1)
    assert landing.lander.position(DAY) == 3
    assert len(landing.rows("messages")) == 2
    assert len(landing.rows("other")) == 2  # another payload at the same line is another notification
    assert len(landing.rows("dead_letters")) == 1


def test_a_batch_without_messages_moves_the_position(landing: Landing) -> None:
    landing.land(b"", b"   ", contact("wxid_a"))
    assert landing.lander.position(DAY) == 3


def test_refusals_name_the_field(landing: Landing) -> None:
    """LAKE-53, LAKE-S8: kept whole in dead_letters and the reject journal, everything else lands."""
    lines: list[Any] = [
        message("1"),
        b'{"guid":',
        message("2", create_time=1773457547000),
        message("3", is_chatroom_msg="yes"),
        message("4", from_username="", to_username=...),
        b"\xff\xfe",
        {"guid": "g", "notify_type": 1011, "data": [message("5")["data"], {"x": 1}, 7]},
        {"guid": "g", "notify_type": 1010, "data": {}},
        b"[1]",
    ]
    counts = landing.land(*lines)
    assert counts.add_up()
    assert (counts.messages, counts.rejected) == (2, 9)
    found = {(row["src_line"], row["src_element"]): row for row in landing.rows("dead_letters")}
    assert found[2, 0]["error_type"] == "parse_error"
    assert (found[3, 0]["reason"], json.loads(found[3, 0]["fields"])) == ("out_of_range", ["create_time"])
    assert (found[4, 0]["reason"], json.loads(found[4, 0]["fields"])) == ("type_error", ["is_chatroom_msg"])
    assert json.loads(found[5, 0]["fields"]) == ["from_username", "to_username"]
    assert found[6, 0]["body_base64"] == "//4="
    assert found[7, 1]["body"] == '{"x":1}'
    assert found[7, 2]["body"] == "7"
    assert found[8, 0]["reason"] == "missing_required_field"
    row = found[9, 0]
    origin = f"{row['src_door']}/{row['src_file']}/9/0"
    assert row["replay"] == f"millrace dead-letters replay {origin}"
    assert len(landing.rejected) == 9


def test_unknown_keys_end_in_extra_fields_exactly(landing: Landing) -> None:
    """LAKE-42, LAKE-S9."""
    landing.land(message("1", reaction={"n": 2}), message("2", big=2**64 + 1), message("3"))
    assert [row["extra_fields"] for row in landing.rows("messages")] == [
        '{"reaction":{"n":2}}',
        '{"big":18446744073709551617}',
        None,
    ]


def test_odd_values_are_normalised(landing: Landing) -> None:
    """LAKE-50, LAKE-51, LAKE-4.1: integers and null of the wire."""
    landing.land(
        message(7304418825596013377, source=0, msg_type=None),
        message("2", source={"a": 1}, msg_type="49", chatroom=None, content=12),
        b'{"guid":"g","notify_type":1010,"data":{"msg_id":"3","from_username":"\\ud83d","to_username":"b","create_time":1.0,'
        b'"is_chatroom_msg":1}}',
    )
    first, second, third = landing.rows("messages")
    assert (first["msg_id"], first["source"], first["msg_type"]) == ("7304418825596013377", "0", 0)
    assert (second["source"], second["msg_type"], second["chatroom"], second["content"]) == (
        '{"a":1}',
        49,
        "",
        "12",
    )
    assert (third["from_username"], third["create_time"].timestamp()) == ("\ufffd", 1.0)


def test_a_row_lands_on_the_day_of_its_create_time(landing: Landing) -> None:
    """LAKE-62, LAKE-63: one second apart, two partitions, whatever the journal's day."""
    landing.land(message("1", create_time=1772323199), message("2", create_time=1772323200))
    assert [(r["year"], r["month"], r["day"]) for r in landing.rows("messages")] == [
        ("2026", "02", "28"),
        ("2026", "03", "01"),
    ]
