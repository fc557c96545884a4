"""The reject journal as landing writes it: beside the door, and never in its way."""

import datetime
import json
import pathlib

from ingest_service.land.places import Place
from ingest_service.land.refusal import missing
from ingest_service.land.reject import reject_writer
from ingest_service.land.side import DeadLetter
from millrace_ports.bus.port import Partition
from millrace_ports.journal import JournalRoot, JournalWriter
from millrace_ports.journal.lock import FileLock

NOON = datetime.datetime(2026, 3, 14, 12, tzinfo=datetime.UTC)


def letter(line: int, body: bytes = b"{}") -> DeadLetter:
    partition = Partition("webhook.messages", "door-1/2026-03-14")
    place = Place(partition, line, "door-1", "2026-03-14.jsonl", line, 0, "2026-03-14", 0)
    return DeadLetter(place, 0, body, missing(["guid"]))


def test_a_held_lock_of_the_door_is_not_waited_for(tmp_path: pathlib.Path) -> None:
    """LAKE-11, the other way round: landing takes no lock that the door could wait for."""
    lock = FileLock(JournalRoot(tmp_path).lock_path)
    lock.acquire(1)
    try:
        reject_writer(tmp_path, lambda: NOON)([letter(1)])
    finally:
        lock.close()
    (line,) = (tmp_path / "2026-03-14.jsonl").read_bytes().splitlines()
    assert json.loads(line)["origin"] == {
        "door": "door-1",
        "journal": "2026-03-14.jsonl",
        "line": 1,
        "element": 0,
    }


def test_the_door_goes_on_behind_lines_of_landing(tmp_path: pathlib.Path) -> None:
    door = JournalWriter(JournalRoot(tmp_path), now_ms=lambda: int(NOON.timestamp() * 1000))
    write = reject_writer(tmp_path, lambda: NOON)
    door.append([b'{"n":1}'])
    write([letter(1), letter(2)])
    door.append([b'{"n":2}'])
    door.close()
    lines = (tmp_path / "2026-03-14.jsonl").read_bytes().splitlines()
    assert [json.loads(line).get("n") for line in lines] == [1, None, None, 2]


def test_a_torn_line_is_ended_first(tmp_path: pathlib.Path) -> None:
    """LAKE-32."""
    file = tmp_path / "2026-03-14.jsonl"
    file.write_bytes(b'{"torn":')
    reject_writer(tmp_path, lambda: NOON)([letter(7, b"\xff")])
    torn, line = file.read_bytes().splitlines()
    assert torn == b'{"torn":'
    assert (json.loads(line)["body_base64"], json.loads(line)["body_text"]) == ("/w==", None)
