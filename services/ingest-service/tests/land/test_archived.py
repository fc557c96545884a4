"""What is archived is still known to landing: repeats are dropped, contacts go on, late messages land."""

from __future__ import annotations

import datetime
from collections.abc import Callable

import pytest

from ingest_service.keep.archive import ArchiveResult, archive
from millrace_testkit.model.tables import read_dataset, read_rows

from .conftest import DAY, NOW_S, Landing, contact, message
from .kafka import Topic, relayed

LATER = datetime.datetime.fromtimestamp(NOW_S, datetime.UTC).date() + datetime.timedelta(days=200)
NOTIFICATION = {"guid": "g", "notify_type": 1003, "data": {}}


def archived(landing: Landing) -> ArchiveResult:
    result = archive(landing.lake, landing.root / "metadata", today=LATER, level=1)
    assert result.failed == ()
    return result


@pytest.mark.parametrize("snapshot", ["no snapshot", "a snapshot from before", "a snapshot from after"])
def test_repeats_of_archived_messages_are_dropped(
    landing: Landing, another: Callable[[], Landing], snapshot: str
) -> None:
    """LAKE-64: by the index and by a rebuilt one, exact ids and hashed ones."""
    lines = [message("1"), message("abc"), message("007")]
    landing.land(*lines)
    if snapshot == "a snapshot from before":
        landing.index.save()
    assert archived(landing).archived_partitions == 1
    if snapshot == "a snapshot from after":
        landing.lander.position(DAY)
        landing.index.save()
    for who in (landing, another()):
        counts = who.land(*lines, message(f"new of {id(who)}"))
        assert (counts.messages, counts.duplicates) == (1, 3)
    assert len(read_dataset(landing.root, "messages")) == 5


def test_a_late_message_of_an_archived_day_lands_and_is_archived_once(landing: Landing) -> None:
    """LAKE-63."""
    landing.land(message("1"))
    archived(landing)
    landing.land(message("2"), message("1"))
    assert [row["msg_id"] for row in landing.rows("messages")] == ["2"]
    archived(landing)
    assert landing.rows("messages") == []
    assert sorted(row["msg_id"] for row in read_rows(landing.lake.archive.path("messages"))) == ["1", "2"]


def test_an_archived_notification_that_is_relayed_again_is_not_added(landing: Landing) -> None:
    topic, again = Topic(partitions=1), Topic("another_topic-0123456789", partitions=1)
    for one in (topic, again):
        one.publish(relayed([b'{"guid":"g","notify_type":1003,"data":{}}']))
    landing.take(*topic.chunks())
    archived(landing)
    counts = landing.take(*again.chunks())
    assert (counts.other, counts.duplicates) == (0, 1)
    assert len(read_dataset(landing.root, "other")) == 1


def test_an_archived_contact_keeps_its_columns_when_it_is_deleted(landing: Landing) -> None:
    """LAKE-41, LAKE-65."""
    landing.land(contact("wxid_a", nickName={"string": "A"}), contact("wxid_b"))
    archived(landing)
    assert landing.rows("contacts") == []
    landing.land(contact("wxid_a", 1201, deleteContactScene=2), contact("wxid_c"))
    rows = {row["username"]: row for row in read_dataset(landing.root, "contacts")}
    assert rows.keys() == {"wxid_a", "wxid_b", "wxid_c"}
    assert (rows["wxid_a"]["nickName"], rows["wxid_a"]["deleteFlag"]) == ('{"string":"A"}', 1)

    archived(landing)  # the later state takes the place of the earlier one
    rows = {row["username"]: row for row in read_rows(landing.lake.archive.path("contacts"))}
    assert rows.keys() == {"wxid_a", "wxid_b", "wxid_c"}
    assert rows["wxid_a"]["deleteFlag"] == 1


def test_an_older_event_of_an_archived_contact_changes_nothing(landing: Landing) -> None:
    landing.land(contact("wxid_a", nickName={"string": "A"}))
    archived(landing)
    older = landing.chunk([contact("wxid_a", nickName={"string": "0"})])
    early = type(older)(
        type(DAY)(DAY.topic, "door-1/2026-03-01"), 0, 1, older.values, older.offsets, older.received_at_ms
    )
    landing.take(early)
    assert [row["nickName"] for row in read_dataset(landing.root, "contacts")] == ['{"string":"A"}']


def test_a_fold_that_read_a_contact_before_it_was_archived_looks_again(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing.land(contact("wxid_a", nickName={"string": "A"}))
    table = landing.lander._contacts
    read, moved = table._stored, []

    def archived_meanwhile(names: list[str]):  # type: ignore[no-untyped-def]
        found = read(names)
        if not moved:
            moved.append(archived(landing))
        return found

    monkeypatch.setattr(table, "_stored", archived_meanwhile)
    landing.land(contact("wxid_a", 1201, deleteContactScene=2))
    (row,) = read_dataset(landing.root, "contacts")
    assert (row["nickName"], row["deleteFlag"]) == ('{"string":"A"}', 1)
    assert len(read_rows(landing.lake.path("contacts"))) == 1
