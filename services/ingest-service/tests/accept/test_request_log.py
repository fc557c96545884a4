"""The request log: rotation, secrets, and a disk that refuses."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest_service.accept.request_log import RequestLog, RequestRecord, safe_headers

RECEIVED_MS = 1_773_489_600_123


class Headers:
    def items(self) -> list[tuple[str, str]]:
        return [("host", "h"), ("cookie", "sid=1"), ("accept", "a"), ("accept", "b")]


def record(request_id: str) -> RequestRecord:
    return RequestRecord(
        request_id, RECEIVED_MS, "::1", "POST", "/w", Headers(), 7, None, "malformed: x", 200, 1.23456
    )


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[RequestLog]:
    log = RequestLog(tmp_path / "logs" / "door.log", max_bytes=1000, backups=2)
    log.start()
    yield log
    log.close()


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_a_record_has_all_fields(log: RequestLog, tmp_path: Path) -> None:
    """LAKE-16."""
    log.add(record("id-1"))
    log.close()
    assert lines_of(tmp_path / "logs/door.log") == [
        {
            "event": "request",
            "timestamp": "2026-03-14T12:00:00.123Z",
            "request_id": "id-1",
            "client_ip": "::1",
            "method": "POST",
            "path": "/w",
            "status": 200,
            "headers": {"host": "h", "cookie": "***", "accept": "a, b"},
            "body_length": 7,
            "content_type": None,
            "parse_error": "malformed: x",
            "processing_time_ms": 1.235,
        }
    ]


@pytest.mark.parametrize("backups", [0, 2])
def test_files_rotate_at_their_size(tmp_path: Path, backups: int) -> None:
    """LAKE-16; 100 MB and 10 old ones by default (test_settings)."""
    log = RequestLog(tmp_path / "door.log", max_bytes=1000, backups=backups)
    log.start()
    for number in range(20):
        log.add(record(f"id-{number:02}"))
    log.close()
    files = ["door.log", "door.log.1", "door.log.2"][: backups + 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == files
    kept = [line["request_id"] for name in reversed(files) for line in lines_of(tmp_path / name)]
    assert kept == [f"id-{number:02}" for number in range(20 - len(kept), 20)]
    assert all((tmp_path / name).stat().st_size <= 1000 for name in files)


def test_a_file_moved_away_by_others_is_made_again(log: RequestLog, tmp_path: Path) -> None:
    path = tmp_path / "logs/door.log"
    log.add(record("1"))
    until(lambda: path.exists() and path.stat().st_size > 0)
    path.rename(tmp_path / "moved")
    log.add(record("2"))
    log.close()
    assert [line["request_id"] for line in lines_of(tmp_path / "moved")] == ["1"]
    assert [line["request_id"] for line in lines_of(path)] == ["2"]


def test_a_torn_line_is_ended(log: RequestLog, tmp_path: Path) -> None:
    path = tmp_path / "logs/door.log"
    path.parent.mkdir()
    path.write_bytes(b'{"event":"re')
    log.add(record("1"))
    log.close()
    torn, whole = path.read_bytes().splitlines()
    assert (torn, json.loads(whole)["request_id"]) == (b'{"event":"re', "1")


def test_records_wait_while_the_log_cannot_be_written(log: RequestLog, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.write_bytes(b"in the way")
    log.add(record("1"))
    until(lambda: log.error is not None)
    assert "door.log" in (log.check() or "")
    logs.unlink()
    log.add(record("2"))
    until(lambda: log.error is None)
    assert log.check() is None
    log.close()
    assert [line["request_id"] for line in lines_of(logs / "door.log")] == ["1", "2"]


def test_a_close_between_two_looks_of_the_thread_is_not_missed(tmp_path: Path) -> None:
    log = RequestLog(tmp_path / "door.log", max_bytes=1000, backups=0)

    class SetAfterItsWait(threading.Event):
        """Has `close` come when the thread has looked for it and goes on."""

        def wait(self, timeout: float | None = None) -> bool:
            seen = super().wait(timeout)
            self.set()
            log._wake.set()
            return seen

    log._stop = SetAfterItsWait()
    log.start()
    writer = log._thread
    assert writer is not None
    log.add(record("1"))
    writer.join(10)
    assert not writer.is_alive()
    assert [line["request_id"] for line in lines_of(tmp_path / "door.log")] == ["1"]


def test_too_many_waiting_records_are_dropped_and_counted(tmp_path: Path) -> None:
    dropped: list[int] = []
    log = RequestLog(tmp_path / "l", max_bytes=10**9, backups=0, dropped=lambda: dropped.append(1))
    for number in range(50_010):  # nobody writes: not started
        log.add(record(str(number)))
    assert len(dropped) == 10


@pytest.mark.parametrize(
    "name", ["authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token", "x-hub-signature"]
)
def test_secrets_are_blotted_out(name: str) -> None:
    """LAKE-16."""
    assert safe_headers([(name, "s3cret"), ("user-agent", "x")]) == {name: "***", "user-agent": "x"}
