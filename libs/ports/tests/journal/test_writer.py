"""Appending durably: numbers, torn lines, midnight, broken disks, several writers."""

import fcntl
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from millrace_ports.errors import InvalidRecordError, LockTimeoutError, StorageUnavailableError
from millrace_ports.journal import Appended, JournalRoot, JournalWriter
from millrace_testkit.clock import ManualClock

LATE_ON_MARCH_14 = 1_773_532_790_000  # 2026-03-14T23:59:50Z
TODAY = "2026-03-14"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(LATE_ON_MARCH_14)


@pytest.fixture
def root(tmp_path: Path) -> JournalRoot:
    return JournalRoot(tmp_path / "raw")


@pytest.fixture
def writer(root: JournalRoot, clock: ManualClock) -> JournalWriter:
    return JournalWriter(root, now_ms=clock.now_ms)


def test_lines_are_appended_whole_and_numbered(root: JournalRoot, writer: JournalWriter) -> None:
    first = writer.append(["数据 🚲".encode(), b""])
    second = writer.append([b"{}"])
    assert first == Appended(root.door, TODAY, 1, 2, LATE_ON_MARCH_14)
    assert (second.first_line, second.count) == (3, 1)
    assert root.file(TODAY).read_bytes() == "数据 🚲\n\n{}\n".encode()


def test_an_empty_batch_does_nothing(root: JournalRoot, writer: JournalWriter) -> None:
    assert writer.append([]).count == 0
    assert not root.path.exists()


def test_a_line_with_a_line_feed_is_named_and_nothing_is_written(
    root: JournalRoot, writer: JournalWriter
) -> None:
    with pytest.raises(InvalidRecordError, match="record 1") as caught:
        writer.append([b"a", b"b\nc", b"d\n"])
    assert caught.value.index == 1
    assert isinstance(caught.value, ValueError)
    assert not root.path.exists()


def test_a_torn_line_is_ended_and_counts(root: JournalRoot, clock: ManualClock) -> None:
    root.path.mkdir()
    root.file(TODAY).write_bytes(b'{"a":1}\n{"torn')
    appended = JournalWriter(root, now_ms=clock.now_ms).append([b'{"b":2}'])
    assert appended.first_line == 3
    assert root.file(TODAY).read_bytes() == b'{"a":1}\n{"torn\n{"b":2}\n'


def test_what_another_writer_tears_meanwhile_is_ended_too(root: JournalRoot, writer: JournalWriter) -> None:
    writer.append([b"1"])
    with root.file(TODAY).open("ab") as file:
        file.write(b"2\n3 torn")
    assert writer.append([b"4"]).first_line == 4
    assert root.file(TODAY).read_bytes() == b"1\n2\n3 torn\n4\n"


@pytest.mark.parametrize("sidecar", ["kept", "missing", "torn", "zeros", "too far"])
def test_numbers_go_on_after_a_restart(
    root: JournalRoot, writer: JournalWriter, clock: ManualClock, sidecar: str
) -> None:
    for _ in range(3):
        writer.append([b"x", b"y"])
    index = root.sidecar(TODAY)
    match sidecar:
        case "missing":
            index.unlink()
        case "torn":
            index.write_bytes(index.read_bytes()[:-5])
        case "zeros":
            index.write_bytes(index.read_bytes() + bytes(48))
        case "too far":
            index.write_bytes(index.read_bytes() + (9).to_bytes(8, "little") * 3 + b"\xff" * 24)
    again = JournalWriter(root, now_ms=clock.now_ms)
    assert again.append([b"z"]).first_line == 7
    assert again.append([b"z"]).first_line == 8


def test_the_file_is_that_of_the_utc_day_whatever_the_host_s_zone(
    root: JournalRoot, writer: JournalWriter, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    clock.set_ms(1_773_532_799_999)
    assert writer.append([b"a"]).day == "2026-03-14"
    clock.set_ms(1_773_532_800_000)
    assert writer.append([b"b"]) == Appended(root.door, "2026-03-15", 1, 1, 1_773_532_800_000)
    assert root.days() == ["2026-03-14", "2026-03-15"]


def test_receive_times_never_fall_within_a_day(root: JournalRoot, clock: ManualClock) -> None:
    assert JournalWriter(root, now_ms=clock.now_ms).append([b"a"]).received_at_ms == LATE_ON_MARCH_14
    clock.set_ms(LATE_ON_MARCH_14 - 5000)
    restarted = JournalWriter(root, now_ms=clock.now_ms)
    assert restarted.append([b"b"]).received_at_ms == LATE_ON_MARCH_14
    assert restarted.append([b"c"]).received_at_ms == LATE_ON_MARCH_14


def test_midnight_under_load_splits_cleanly(root: JournalRoot, clock: ManualClock) -> None:
    def write(name: int, places: list[Appended]) -> None:
        writer = JournalWriter(root, now_ms=clock.now_ms)
        for number in range(100):
            places.append(writer.append([b"%d-%d" % (name, number)]))
            clock.advance(0.05)
        writer.close()

    places: list[list[Appended]] = [[] for _ in range(4)]
    threads = [threading.Thread(target=write, args=(name, places[name])) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    content = {day: root.file(day).read_bytes().splitlines() for day in root.days()}
    assert list(content) == ["2026-03-14", "2026-03-15"]
    assert sum(map(len, content.values())) == 400
    for name in range(4):
        for number, place in enumerate(places[name]):
            assert content[place.day][place.first_line - 1] == b"%d-%d" % (name, number)


_APPENDING = """
import sys
from pathlib import Path
from millrace_ports.journal import JournalRoot, JournalWriter
writer = JournalWriter(JournalRoot(Path(sys.argv[1])), now_ms=lambda: 1773532790000)
for number in range(150):
    line = b"%s-%d-%s" % (sys.argv[2].encode(), number, b"x" * (number * 37 % 5000))
    print(writer.append([line, line]).first_line)
"""


def test_two_processes_append_to_one_root(root: JournalRoot) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", _APPENDING, root.path, name], stdout=subprocess.PIPE)
        for name in "ab"
    ]
    answers = [process.communicate()[0] for process in writers]
    assert [process.returncode for process in writers] == [0, 0]
    lines = root.file(TODAY).read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert len(lines) == 600
    for name, answer in zip(b"ab", answers, strict=True):
        places = [int(text) for text in answer.split()]
        assert len(places) == 150
        for number, first_line in enumerate(places):
            expected = b"%c-%d-%s" % (name, number, b"x" * (number * 37 % 5000))
            assert lines[first_line - 1] == lines[first_line] == expected


def test_a_lock_that_is_kept_too_long_is_an_io_error_and_then_heals(
    root: JournalRoot, clock: ManualClock
) -> None:
    writer = JournalWriter(root, now_ms=clock.now_ms, lock_wait_s=0.05)
    writer.append([b"1"])
    with root.lock_path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        for _ in range(2):
            with pytest.raises(LockTimeoutError, match=r"\.lock is held .* 0\.05 s"):
                writer.append([b"refused"])
    assert JournalWriter(root, now_ms=clock.now_ms).append([b"2"]).first_line == 2
    writer._lock_wait_s = 10.0
    assert writer.append([b"3"]).first_line == 3


def test_a_removed_root_is_made_again(root: JournalRoot, writer: JournalWriter) -> None:
    import shutil

    writer.append([b"1"])
    shutil.rmtree(root.path)
    with pytest.raises(StorageUnavailableError):
        writer.append([b"refused"])
    assert writer.append([b"2"]).first_line == 1
    assert root.file(TODAY).read_bytes() == b"2\n"


def _fail_the_next_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a disk that loses a write: the kernel tells it once, and then holds the file for clean."""
    real = os.fdatasync
    failures = [OSError(5, "Input/output error")]

    def fdatasync(descriptor: int) -> None:
        if failures:
            raise failures.pop()
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", fdatasync)


def test_a_failed_sync_is_refused_and_the_file_opened_anew(
    root: JournalRoot, writer: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.append([b"1"])
    _fail_the_next_sync(monkeypatch)
    with pytest.raises(StorageUnavailableError, match="Input/output error"):
        writer.append([b"2"])
    assert writer._open is None
    assert writer.append([b"2"]).first_line == 3
    assert root.file(TODAY).read_bytes() == b"1\n2\n2\n"


def test_no_space_left_in_the_middle_of_a_group(root: JournalRoot, writer: JournalWriter) -> None:
    """A limit on file size stands for a full disk: the write ends half-way."""
    writer.append([b"a" * 100])
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (350, old[1]))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(StorageUnavailableError, match="too large"):
            writer.append([b"b" * 100, b"c" * 200])
        with pytest.raises(StorageUnavailableError, match="too large"):
            writer.append([b"d" * 100])
        with pytest.raises(StorageUnavailableError):
            writer.probe()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    writer.probe()
    appended = writer.append([b"e"])
    lines = root.file(TODAY).read_bytes().split(b"\n")
    assert lines[:2] == [b"a" * 100, b"b" * 100]
    assert lines[appended.first_line - 1 :] == [b"e", b""]
    assert all(set(line) <= {99} for line in lines[2 : appended.first_line - 1])


def test_a_read_only_file_system_is_a_clear_error_and_heals(tmp_path: Path, clock: ManualClock) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "lake", mount]).returncode:
        pytest.skip("mounting needs root")
    try:
        root = JournalRoot(mount / "raw")
        writer = JournalWriter(root, now_ms=clock.now_ms)
        writer.append([b"1"])
        writer.close()
        subprocess.run(["mount", "-o", "remount,ro", mount], check=True)
        for attempt in (lambda: writer.append([b"2"]), writer.probe):
            with pytest.raises(StorageUnavailableError, match="Read-only file system"):
                attempt()
        subprocess.run(["mount", "-o", "remount,rw", mount], check=True)
        writer.probe()
        assert writer.append([b"2"]).first_line == 2
        writer.close()
    finally:
        subprocess.run(["umount", mount], check=True)


def test_a_directory_that_turns_read_only_refuses_at_once(root: JournalRoot, writer: JournalWriter) -> None:
    """Not only at midnight, when the next file has to be made (`LAKE-S14`)."""
    writer.append([b"1"])
    if os.geteuid() != 0 or subprocess.run(["chattr", "+i", root.path], capture_output=True).returncode:
        root.path.chmod(0o555)
        if os.access(root.path, os.W_OK):
            pytest.skip("root, on a file system without immutable directories")
    try:
        with pytest.raises(StorageUnavailableError, match="not writable"):
            writer.append([b"2"])
        with pytest.raises(StorageUnavailableError, match="not writable"):
            writer.probe()
    finally:
        subprocess.run(["chattr", "-i", root.path], capture_output=True)
        root.path.chmod(0o755)
    assert writer.append([b"2"]).first_line == 2


def test_a_replaced_root_is_never_written_under_the_old_lock(
    root: JournalRoot, writer: JournalWriter, clock: ManualClock
) -> None:
    writer.append([b"1"])
    root.path.rename(root.path.with_name("moved"))
    other = JournalWriter(JournalRoot(root.path), now_ms=clock.now_ms)
    other.append([b"other"])
    with pytest.raises(StorageUnavailableError, match="replaced"):
        writer.append([b"refused"])
    assert writer.append([b"2"]).first_line == 2
    assert root.file(TODAY).read_bytes() == b"other\n2\n"


def test_a_directory_in_the_journal_s_place_is_a_clear_error(
    root: JournalRoot, writer: JournalWriter
) -> None:
    root.file(TODAY).mkdir(parents=True)
    with pytest.raises(StorageUnavailableError, match=f"{TODAY}.jsonl: Is a directory"):
        writer.append([b"1"])
    root.file(TODAY).rmdir()
    assert writer.append([b"1"]).first_line == 1


def test_a_probe_leaves_no_trace(root: JournalRoot, writer: JournalWriter) -> None:
    writer.append([b"1"])
    before = (sorted(root.path.iterdir()), root.path.stat().st_mtime_ns)
    writer.probe()
    assert (sorted(root.path.iterdir()), root.path.stat().st_mtime_ns) == before


_KILLED = """
import os, sys
from pathlib import Path
from millrace_ports.journal import JournalRoot, JournalWriter
writer = JournalWriter(JournalRoot(Path(sys.argv[1])), now_ms=lambda: 1773532790000)
number = 0
while True:
    appended = writer.append([b"%d-%s" % (number, b"x" * (number * 997 % 3000))])
    os.write(1, b"%d %d\\n" % (number, appended.first_line))
    number += 1
"""


def test_kill_loses_nothing_acknowledged(root: JournalRoot) -> None:
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", _KILLED, root.path], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        acknowledged = [child.stdout.readline() for _ in range(50)]
        child.kill()
        acknowledged += child.stdout.readlines()
        child.wait()
        child.stdout.close()
        lines = root.file(TODAY).read_bytes().split(b"\n")
        for answer in acknowledged:
            if answer.endswith("\n"):
                number, line = map(int, answer.split())
                assert lines[line - 1] == b"%d-%s" % (number, b"x" * (number * 997 % 3000))
