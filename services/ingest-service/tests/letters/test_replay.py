"""Dead letters land after a fix, each exactly once, whatever happens meanwhile (LAKE-91, LAKE-64, LAKE-65)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from deltalake import DeltaTable

from ingest_service.errors import BadArgumentError, BadDataError, NotFoundError
from ingest_service.land import batch as landing
from ingest_service.land import refusal
from ingest_service.letters.letter import LetterId, Selection
from ingest_service.letters.replay import Replayed, replay
from millrace_testkit.builders import FIRST_SECOND, contact, data_of, deletion, message, other
from millrace_testkit.builders import batch as of_elements

from ..conftest import DAY, Installation

ALL = Selection()


@contextmanager
def a_release_that_refuses(monkeypatch: pytest.MonkeyPatch, *what: str) -> Iterator[None]:
    """Landing as a release with a bug does it: some kinds are refused that are good."""

    def refuses(*_: Any) -> None:
        raise refusal.out_of_range("everything", "otherwise")

    with monkeypatch.context() as patch:
        if "messages" in what:
            patch.setattr(landing.messages, "exact_row", refuses)
        if "contacts" in what:
            patch.setattr(landing.contacts, "contact_event", refuses)
        if "other" in what:
            patch.setattr(landing, "notification", refuses)
        yield


def odd(msg_id: str, **values: Any) -> bytes:
    """A message that takes the exact way, since it has a key that is not known."""
    return message(msg_id, reaction={"n": 2}, **values)


def replayed(installation: Installation, wanted: Selection = ALL, **options: Any) -> Replayed:
    return replay(wanted, installation.parquet, installation.raw, timing=installation.timing, **options)


def sums(done: Replayed) -> tuple[int, int, int, int]:
    return done.selected, done.landed, done.already_landed, done.refused


def door_of(installation: Installation) -> str:
    return (installation.raw / ".door").read_text().strip()


@pytest.fixture
def refused(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """Letters of each kind: messages of lines 1, 2 and two elements of a batch, a contact, two notifications, one
    deletion; and one that nothing mends."""
    with a_release_that_refuses(monkeypatch, "messages", "contacts", "other"):
        installation.journal(
            odd("1"), odd("2"), of_elements(data_of("3", FIRST_SECOND, k=1), data_of("4", FIRST_SECOND, k=1)),
            contact("wxid_a", "A"), other(1), other(1), deletion("wxid_b", 3), b'{"guid":',
        )  # fmt: skip
        installation.ingest()
    assert len(installation.rows("dead_letters")) == 9
    assert installation.rows() == []
    return installation


def everything(installation: Installation) -> dict[str, list[dict[str, Any]]]:
    return {table: installation.rows(table) for table in ("messages", "contacts", "other", "dead_letters")}


def test_what_a_release_refused_lands_once_under_its_origin(refused: Installation) -> None:
    letters = refused.rows("dead_letters")
    done = replayed(refused)
    assert sums(done) == (9, 8, 0, 1)
    assert [letter.reason for letter in done.still_refused] == ["malformed"]
    assert done.reasons == {"parse_error malformed": 1}
    assert [(row["msg_id"], row["src_line"], row["src_element"]) for row in refused.rows()] == [
        ("1", 1, 0), ("2", 2, 0), ("3", 3, 0), ("4", 3, 1),
    ]  # fmt: skip
    assert {row["src_door"] for row in refused.rows()} == {door_of(refused)}
    assert [row["notify_type"] for row in refused.rows() if row["src_line"] == 3] == [1011, 1011]
    assert [row["src_line"] for row in refused.rows("other")] == [5, 6]
    assert {row["username"]: row["deleteFlag"] for row in refused.rows("contacts")} == {
        "wxid_a": 0,
        "wxid_b": 1,
    }
    # The table of the letters says what it said: nothing was rewritten, and what is refused again is no second one.
    assert refused.rows("dead_letters") == letters


def test_replaying_again_changes_nothing(refused: Installation) -> None:
    replayed(refused)
    before = everything(refused)
    again = replayed(refused)
    assert (
        again.landed <= 1
    )  # the deletion of a contact leaves no row of its own: it is applied again, to no effect
    assert (again.selected, again.refused) == (9, 1)
    assert everything(refused) == before
    # Nor does the journal, read again by the mended release.
    refused.ingest(overwrite=True)
    assert everything(refused) == before


def test_the_journal_may_be_gone(refused: Installation) -> None:
    """Then the time of receipt is that of landing, and an element has its envelope from an element that landed."""
    elements = [letter for letter in refused.rows("dead_letters") if letter["src_line"] == 3]
    first, second = (LetterId(door_of(refused), f"{DAY}.jsonl", 3, row["src_element"]) for row in elements)
    replayed(refused, Selection([first]))
    for file in refused.raw.glob("*.jsonl"):
        file.unlink()
    done = replayed(refused)
    assert sums(done) == (9, 7, 1, 1)
    row = next(row for row in refused.rows() if row["src_element"] == 1)
    assert (row["msg_id"], row["guid"], row["notify_type"]) == ("4", refused.rows()[0]["guid"], 1011)
    assert second.line == row["src_line"]


def test_a_message_that_came_another_way_meanwhile_stays_the_only_one(refused: Installation) -> None:
    refused.journal(odd("1", content="sent again"), day="2026-03-15")
    refused.ingest()
    done = replayed(refused, Selection(error_types=["validation_error"], files=[f"{DAY}.jsonl"]))
    assert (done.landed, done.already_landed) == (7, 1)
    assert [(row["msg_id"], row["src_file"]) for row in refused.rows() if row["msg_id"] == "1"] == [
        ("1", "2026-03-15.jsonl")
    ]


def test_an_old_letter_does_not_bring_an_old_contact_back(refused: Installation) -> None:
    """LAKE-65: the letter's place in the order of changes is that of its line."""
    refused.journal(contact("wxid_a", "newer"), day="2026-03-15")
    refused.ingest()
    replayed(refused)
    names = {row["username"]: row["nickName"] for row in refused.rows("contacts")}
    assert names["wxid_a"] == '{"string":"newer"}'


def test_a_mended_payload_lands_in_place_of_the_letter(installation: Installation) -> None:
    installation.journal(message("1", create_time=0), other(2).replace(b'"guid"', b'"guld"'))
    installation.ingest()
    first, second = (LetterId(door_of(installation), f"{DAY}.jsonl", line, 0) for line in (1, 2))
    with pytest.raises(BadDataError, match="create_time"):
        replayed(installation, Selection([first]), body=message("1", create_time=0))
    with pytest.raises(BadDataError, match="not a JSON object"):
        replayed(installation, Selection([first]), body=b"[]")
    for wanted in (ALL, Selection([first, second])):
        with pytest.raises(BadArgumentError, match="one letter"):
            replayed(installation, wanted, body=message("1"))
    assert installation.rows() == installation.rows("other") == []
    assert sums(replayed(installation, Selection([first]), body=message("1"))) == (1, 1, 0, 0)
    assert sums(replayed(installation, Selection([second]), body=other(2))) == (1, 1, 0, 0)
    # Another payload for a letter that has landed is none: that is the sender's to send.
    assert sums(replayed(installation, Selection([second]), body=other(3))) == (1, 0, 1, 0)
    assert sums(replayed(installation, Selection([first]), body=message("9"))) == (1, 0, 1, 0)
    assert [(row["msg_id"], row["src_line"]) for row in installation.rows()] == [("1", 1)]
    assert [row["payload"] for row in installation.rows("other")] == [other(2).decode()]


def test_letters_of_a_producer_keep_partition_and_offset(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No door has read them: their door is the partition, their line the offset + 1."""
    from ingest_service.ingest.session import LakePlaces, landing_session
    from millrace_ports.bus.port import Chunk, Partition

    partition = Partition("webhook.messages", "topic-a/3")
    values = [odd("1"), other(1), of_elements(data_of("5", FIRST_SECOND), {"no": "id"}), b"no json"]
    chunk = Chunk(partition, 40, 44, values, range(41, 45), [installation.clock.now_ms()] * 4)
    with (
        a_release_that_refuses(monkeypatch, "messages", "other"),
        landing_session(LakePlaces.of(installation.parquet, installation.raw)) as session,
    ):
        session.lander.skip(partition, 40)
        session.lander.commit(landing.build([chunk], ingested_at_s=installation.clock.now_ms() // 1000))
    done = replayed(installation)
    assert sums(done) == (5, 2, 0, 3)
    assert {letter.reason for letter in done.still_refused} >= {"foreign_element", "malformed"}
    assert [(row["src_door"], row["src_file"], row["src_line"]) for row in installation.rows()] == [
        ("topic-a/3", "webhook.messages", 41)
    ]
    assert [row["src_line"] for row in installation.rows("other")] == [42]
    before = everything(installation)
    assert sums(replayed(installation)) == (5, 0, 2, 3)
    assert everything(installation) == before
    # The partition's own position is where it was: its next record is read by the lake writer.
    table = DeltaTable(str(installation.parquet / "messages"))
    assert table.transaction_version("lake/topic-a/3") == 44


def test_two_at_once_land_each_letter_once(refused: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    with a_release_that_refuses(monkeypatch, "other"):
        refused.journal(*(other(number) for number in range(300)), day="2026-03-15")
        refused.ingest()
    monkeypatch.setattr("ingest_service.letters.letter._GROUP_LETTERS", 20)
    done: list[Replayed] = []
    workers = [threading.Thread(target=lambda: done.append(replayed(refused))) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(done) == 2
    places = [(row["src_file"], row["src_line"]) for row in refused.rows("other")]
    assert sorted(places) == sorted({*places})
    assert len(places) == 302
    assert len(refused.ids()) == len(set(refused.ids())) == 4


KILLED = (
    "AFTER_CONTACTS_COMMIT_BEFORE_MESSAGES",
    "AFTER_OTHER_COMMIT_BEFORE_MESSAGES",
    "AFTER_COMMIT_BEFORE_INDEX",
    "AFTER_REPLAY_COMMIT",
)


def test_killed_at_each_moment_nothing_is_lost_or_doubled(refused: Installation) -> None:
    """A replay of other letters comes between a kill and the next try: its numbers are its own."""
    door = door_of(refused)
    names = [str(LetterId(door, f"{DAY}.jsonl", line, 0)) for line in (4, 5, 6, 1)]
    for moment, name in zip(KILLED, names, strict=True):
        assert _command(refused, "replay", name, crash_at=moment) == -signal.SIGKILL
    assert sums(replayed(refused))[::3] == (9, 1)
    assert [row["src_line"] for row in refused.rows("other")] == [5, 6]
    assert sorted(refused.ids()) == ["1", "2", "3", "4"]
    assert sorted(row["username"] for row in refused.rows("contacts")) == ["wxid_a", "wxid_b"]


def _command(installation: Installation, *arguments: str, crash_at: str = "") -> int:
    done = subprocess.run(
        [sys.executable, "-c", "from millrace.cli import main; main()", "dead-letters", *arguments],
        env={**os.environ, "MILLRACE_DATA": str(installation.root), "MILLRACE_CRASH_AT": crash_at},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stdout + done.stderr
    return done.returncode


def test_what_is_not_there_is_said(installation: Installation) -> None:
    with pytest.raises(NotFoundError, match="no such lake"):
        replayed(installation)
    installation.journal(message("1"))
    installation.ingest()
    with pytest.raises(NotFoundError, match="no dead letter"):
        replayed(installation)
    for text in ("x", "d/f/0/0", "d/f/1/-1", "d/f/a/0", "//1/0", f"d/f/{2**63}/0"):
        with pytest.raises(BadArgumentError, match=r"dead letter's id|no such line"):
            LetterId.parsed(text)
    assert LetterId.parsed("topic/3/webhook.messages/41/0") == LetterId("topic/3", "webhook.messages", 41, 0)


def test_progress_and_sums_add_up(refused: Installation) -> None:
    seen: list[tuple[int, int]] = []
    done = replayed(refused, progress=lambda at, of: seen.append((at, of)))
    assert seen[-1] == (9, 9)
    assert done.selected == done.landed + done.already_landed + done.refused
    assert json.loads(json.dumps(done.reasons)) == {"parse_error malformed": 1}
