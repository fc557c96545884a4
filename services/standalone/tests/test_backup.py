"""Backup and restore as commands: what is copied, what is refused, what an interruption leaves."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from ingest_service.keep.archive import archive
from ingest_service.lake.tables import Lake
from millrace_ports.journal import JournalRoot, JournalWriter
from millrace_testkit.messages_lake import MessagesLake, message
from millrace_testkit.model import read_rows
from millrace_testkit.model.tables import read_dataset
from millrace_testkit.standalone import MILLRACE, environment
from standalone import sample
from standalone.backup import journals
from standalone.backup.errors import BackupError
from standalone.backup.lake import copy_lake
from standalone.backup.manifest import Manifest
from standalone.backup.restore import restore as lay_down
from standalone.backup.staging import Advance, Staging
from standalone.backup.take import Taken, take
from standalone.data_directory import DataDirectory

DAY_MS = 1_772_712_000_000
"""2026-03-05T12:00:00Z."""
DAY = "2026-03-05"


def millrace(*arguments: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environ = {
        name: value for name, value in environment(Path("/nowhere"), 0).items() if name != "MILLRACE_DATA"
    }
    return subprocess.run(
        [MILLRACE, *map(str, arguments)],
        env=environ | {f"MILLRACE_{name}": value for name, value in settings.items()},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextmanager
def unseen(part: str, size: int) -> Iterator[Advance]:
    """No progress is shown."""
    yield lambda count: None


def backup(target: Path, data: Path) -> Taken:
    """What the command does, in this process: a start costs a second."""
    return take(data, target, {}, data / "credentials.json", unseen)


def restore(source: Path, data: Path) -> Manifest:
    return lay_down(source, data, {}, 1_000, unseen)


def refusal(call: Callable[[Path, Path], object], first: Path, second: Path) -> str:
    """What it says instead of doing it."""
    with pytest.raises(BackupError) as caught:
        call(first, second)
    return str(caught.value)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with something of everything, in use by nobody."""
    root = tmp_path_factory.mktemp("installation") / "data"
    for name in ("raw", "rejected"):
        writer = JournalWriter(JournalRoot(root / "messages" / name), now_ms=lambda: DAY_MS)
        writer.append([b'{"n":1}', b'{"n":2}'])
        writer.close()
    MessagesLake(root / "parquet").append(message(1), message(2))
    metadata = root / "metadata"
    for place in ("leases/lake-maintenance/7.lease", "relay/.lock", "key_index", "version", "sample"):
        (metadata / place).parent.mkdir(parents=True, exist_ok=True)
        (metadata / place).write_text("1\n")
    with closing(sqlite3.connect(metadata / "auth.sqlite")) as database:
        database.executescript("PRAGMA journal_mode=WAL; CREATE TABLE t (x); INSERT INTO t VALUES (7);")
    (root / "credentials.json").write_text("{}")
    (root / "credentials.json").chmod(0o600)
    (root / "logs").mkdir()
    (root / "logs" / "millrace.log").write_text("nobody needs it")
    return root


@pytest.fixture(scope="module")
def made(installation: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of it."""
    target = tmp_path_factory.mktemp("backups") / "one"
    backup(target, installation)
    return target


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """One that may be damaged."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


def test_archived_days_come_back_with_the_lake(tmp_path: Path) -> None:
    """LAKE-110: what was archived is in the backup, and what landed late for the same days."""
    data = tmp_path / "data"
    lake = MessagesLake(data / "parquet")
    lake.append(message(1), message(2))
    archive(Lake(lake.root), data / "metadata", today=date(2027, 1, 1), level=1)
    lake.append(message(3))
    taken = backup(tmp_path / "made", data)
    assert taken.left_out == []
    restored = tmp_path / "restored"
    manifest = restore(tmp_path / "made", restored)
    assert manifest.tables.keys() == {"messages", "archive/messages"}
    assert len(read_rows(restored / "archive" / "messages")) == 2
    found = sorted(row["msg_id"] for row in read_dataset(restored, "messages"))
    assert found == sorted(row["msg_id"] for row in lake.rows)
    again = archive(Lake(restored / "parquet"), restored / "metadata", today=date(2027, 1, 1), level=1)
    assert (again.archived_partitions, again.failed) == (1, ())


def names(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_everything_that_cannot_be_made_anew_comes_back(
    installation: Path, made: Path, tmp_path: Path
) -> None:
    door = JournalRoot(installation / "messages" / "raw").door
    done = millrace("restore", made, "--data", tmp_path / "data", "--json")
    assert done.returncode == 0, done.stderr
    restored = tmp_path / "data"
    found = json.loads(done.stdout)
    assert found["doors"] == {"messages/raw": door}
    assert found["databases"] == ["metadata/auth.sqlite"]
    lake = {name for name in names(installation) if name.startswith("parquet/")}
    assert names(restored) == lake | {
        *(f"messages/former/{door}/{name}" for name in (".door", f".{DAY}.idx", f"{DAY}.jsonl")),
        *(f"messages/rejected/{name}" for name in (".door", f".{DAY}.idx", f"{DAY}.jsonl")),
        "metadata/auth.sqlite",
        "metadata/durable.json",
        "metadata/leases/lake-maintenance/7.lease",
        "metadata/sample",
        "metadata/version",
        "credentials.json",
    }
    for name in names(installation) & names(restored) - {"metadata/auth.sqlite"}:
        assert (restored / name).read_bytes() == (installation / name).read_bytes()
    with closing(sqlite3.connect(restored / "metadata" / "auth.sqlite")) as database:
        assert database.execute("SELECT x FROM t").fetchall() == [(7,)]
    assert (restored / "credentials.json").stat().st_mode & 0o777 == 0o600
    assert made.stat().st_mode & 0o777 == 0o700
    assert read_rows(restored / "parquet" / "messages") == read_rows(installation / "parquet" / "messages")
    # The next start of a directory whose note was lost sends no sample among what is there.
    (restored / "metadata" / "sample").unlink()
    assert not sample.wanted(DataDirectory(restored), asked=True)


def test_a_restored_installation_can_be_backed_up_and_restored_again(made: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    restore(made, first)
    writer = JournalWriter(JournalRoot(first / "messages" / "raw"), now_ms=lambda: DAY_MS)
    writer.append([b'{"n":3}'])
    writer.close()
    backup(tmp_path / "again", first)
    restore(tmp_path / "again", second)
    former = {
        path.name: (path / f"{DAY}.jsonl").read_bytes() for path in (second / "messages/former").iterdir()
    }
    assert sorted(former.values()) == [b'{"n":1}\n{"n":2}\n', b'{"n":3}\n']
    assert former[writer.root.door] == b'{"n":3}\n'
    assert not (second / "messages" / "raw").exists()


def test_the_relay_of_a_restored_door_begins_at_the_first_line(installation: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(installation, tmp_path / "real"))
    positions = root / "metadata" / "relay" / "door-1.json"
    journals = {DAY: {"line": 9, "epoch": 2, "topic": "t", "ends": {"t/0": 4}}, "2026-03-06": {"line": 3}}
    positions.write_text(json.dumps({"door": "door-1", "saved_at_ms": 5, "journals": journals}))
    (positions.parent / "door-2.json").write_text("{")
    backup(tmp_path / "one", root)
    restore(tmp_path / "one", tmp_path / "data")
    relay = tmp_path / "data" / "metadata" / "relay"
    assert names(relay) == {"door-1.json"}
    kept = json.loads((relay / "door-1.json").read_bytes())["journals"]
    assert kept == {DAY: {"line": 0, "epoch": 2}, "2026-03-06": {"line": 0}}


def test_what_has_a_position_is_copied_before_what_it_is_a_position_in(
    installation: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(installation, tmp_path / "data"))
    positions = root / "metadata" / "relay" / "door-1.json"
    positions.write_text('{"line": 2}')
    lake = MessagesLake(root / "parquet")
    writer = JournalWriter(JournalRoot(root / "messages" / "raw"), now_ms=lambda: DAY_MS)

    @contextmanager
    def meanwhile(part: str, size: int) -> Iterator[Advance]:
        """While the lake is copied a line comes in, is relayed and lands."""
        if part == "lake":
            writer.append([b'{"n":3}'])
            positions.write_text('{"line": 3}')
            lake.append(message(3))
        yield lambda count: None

    take(root, tmp_path / "one", {}, root / "credentials.json", meanwhile)
    writer.close()
    assert (tmp_path / "one" / "messages" / "raw" / f"{DAY}.jsonl").read_bytes().count(b"\n") == 3
    assert len(read_rows(tmp_path / "one" / "parquet" / "messages")) == 2
    assert (tmp_path / "one" / "metadata" / "relay" / "door-1.json").read_text() == '{"line": 2}'


def test_strangers_in_the_data_directory_are_named(installation: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(installation, tmp_path / "data"))
    (root / "notes.txt").touch()
    (root / "messages" / "old").mkdir()
    assert backup(tmp_path / "one", root).left_out == ["messages/old", "notes.txt"]


Harm = Callable[[Path], Path]


def flipped(file: Path) -> Path:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    return file


def shortened(file: Path) -> Path:
    os.truncate(file, file.stat().st_size - 1)
    return file


def removed(file: Path) -> Path:
    file.unlink()
    return file


FILES = ("messages/raw/2026-03-05.jsonl", "metadata/auth.sqlite", "credentials.json", "manifest.json")


@pytest.mark.parametrize("harm", [flipped, shortened, removed])
@pytest.mark.parametrize("name", [*FILES, "parquet"])
def test_a_damaged_backup_is_refused_and_the_file_is_named(
    copy: Path, tmp_path: Path, harm: Harm, name: str
) -> None:
    file = copy / name if name != "parquet" else next((copy / "parquet").rglob("*.parquet"))
    if harm is shortened and name == "credentials.json":
        file.write_text("{")
    else:
        harm(file)
    said = refusal(restore, copy, tmp_path / "data")
    assert str(file) in said or ("manifest" in name and str(copy) in said)
    assert not (tmp_path / "data").exists() or not list((tmp_path / "data").iterdir())


def test_a_backup_of_a_newer_format_or_another_layout_is_refused(copy: Path, tmp_path: Path) -> None:
    manifest = copy / "manifest.json"
    body = manifest.read_bytes().splitlines()[1]

    def said(change: Callable[[dict[str, Any]], object]) -> str:
        content = json.loads(body)
        change(content)
        changed = json.dumps(content).encode()
        head = json.dumps({"sha256": hashlib.sha256(changed).hexdigest()}).encode()
        manifest.write_bytes(head + b"\n" + changed)
        return refusal(restore, copy, tmp_path / "data")

    assert "format 2" in said(lambda content: content.update(format=2, files="of another shape"))
    assert "layout version 9" in said(lambda content: content.update(layout="9"))
    assert "outside" in said(lambda content: content["files"][0].update(path="../elsewhere"))


def test_the_lines_of_the_page_make_a_former_door_as_a_restore_does(
    installation: Path, made: Path, tmp_path: Path
) -> None:
    page = Path(__file__).parents[3] / "docs" / "backup.md"
    [script] = re.findall(r"```\n(cd /var/lib/millrace .*?)```", page.read_text(), re.DOTALL)
    volume = Path(shutil.copytree(installation, tmp_path / "volume"))
    (volume / "metadata" / "relay" / "door-1.json").write_text("{}")
    subprocess.run(["sh", "-ec", script.replace("/var/lib/millrace", str(volume))], check=True)
    restore(made, tmp_path / "restored")
    hidden = {f"{place}/.lock" for place in ("messages/rejected", "metadata/relay")}
    left = {name for name in names(volume) if name.startswith(("messages/", "metadata/relay"))} - hidden
    door = JournalRoot(installation / "messages" / "raw").door
    assert left - {f"messages/former/{door}/.lock"} == {
        name for name in names(tmp_path / "restored") if name.startswith(("messages/", "metadata/relay"))
    }


def test_only_an_empty_place_is_restored_to(made: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").write_text("here")
    said = refusal(restore, made, tmp_path / "data")
    assert "not empty" in said
    assert "mine" in said
    assert names(tmp_path / "data") == {"mine"}
    (tmp_path / "data" / "mine").unlink()
    restore(made, tmp_path / "data")


def test_what_is_no_installation_and_what_is_no_backup_are_told(
    installation: Path, made: Path, tmp_path: Path
) -> None:
    assert "no installation" in refusal(backup, tmp_path / "one", tmp_path / "none")
    assert "no installation" in refusal(backup, tmp_path / "one", made.parent)
    assert "there already" in refusal(backup, made, installation)
    assert "data directory itself" in refusal(backup, installation / "metadata" / "backup", installation)
    assert "no manifest.json" in refusal(restore, installation, tmp_path / "data")
    assert "no manifest.json" in refusal(restore, tmp_path / "no", tmp_path / "data")
    assert names(tmp_path) == set()


def test_the_commands_say_what_they_did_or_in_one_line_why_not(
    installation: Path, made: Path, tmp_path: Path
) -> None:
    (installation / "notes.txt").touch()
    keys = tmp_path / "keys.json"
    keys.write_text("first keys that lie elsewhere")
    done = millrace("backup", tmp_path / "one", "--data", installation, CREDENTIALS_FILE=str(keys))
    (installation / "notes.txt").unlink()
    assert (tmp_path / "one" / "credentials.json").read_bytes() == keys.read_bytes()
    assert done.returncode == 0
    assert str(installation / "notes.txt") in done.stderr
    assert f"{tmp_path / 'one'}: a backup of {installation}" in done.stdout
    assert "messages 0" in done.stdout
    failed = millrace("backup", tmp_path / "one", "--data", installation)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == f"millrace: {tmp_path / 'one'} is there already; name a new directory\n"


def test_a_wrong_setting_ends_with_78_and_is_named(installation: Path, tmp_path: Path) -> None:
    target = tmp_path / "one"
    wrong = millrace("backup", target, "--data", installation, AUTH_DATABASE_URL="mysql://u:secret@h/d")
    assert (wrong.returncode, "MILLRACE_AUTH_DATABASE_URL" in wrong.stderr) == (78, True)
    assert "secret" not in wrong.stderr
    elsewhere = f"sqlite+aiosqlite:///{tmp_path}/ids.sqlite"
    refused = millrace("backup", target, "--data", installation, ID_DATABASE_URL=elsewhere)
    assert (refused.returncode, "MILLRACE_ID_DATABASE_URL" in refused.stderr) == (1, True)
    assert not target.exists()


def test_a_backup_that_is_killed_leaves_nothing_that_looks_whole(installation: Path, tmp_path: Path) -> None:
    target, partial = tmp_path / "one", tmp_path / "one.partial"
    killed = millrace("backup", target, "--data", installation, CRASH_AT="AFTER_COPY_BEFORE_MANIFEST")
    assert killed.returncode == -9
    assert (target.exists(), partial.exists()) == (False, True)
    assert "no manifest.json" in refusal(restore, partial, tmp_path / "data")
    backup(target, installation)
    assert (target.exists(), partial.exists()) == (True, False)
    restore(target, tmp_path / "data")


def test_a_restore_that_is_killed_leaves_nothing_that_would_start(made: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    killed = millrace("restore", made, "--data", data, CRASH_AT="AFTER_COPY_BEFORE_MOVE")
    assert killed.returncode == -9
    assert [path.name for path in data.iterdir()] == [".restoring"]
    assert ".restoring is what a restore that was killed has left" in refusal(restore, made, data)
    shutil.rmtree(data / ".restoring")
    restore(made, data)


@pytest.mark.faults
def test_a_disk_that_is_full_is_told_and_nothing_is_left(
    installation: Path, made: Path, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "millrace-test", str(small)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        refuse = pytest.fail if os.environ.get("MILLRACE_REQUIRE_REAL") == "1" else pytest.skip
        refuse(f"no small file system to be had: {mounted.stderr.decode().strip()}")
    try:
        said = refusal(backup, small / "one", installation)
        assert "No space left" in said
        assert str(small) in said
        assert list(small.iterdir()) == []
        assert "No space left" in refusal(restore, made, small / "data")
        assert list((small / "data").iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_data_files_that_are_removed_while_they_are_copied_are_taken_from_a_newer_version(
    tmp_path: Path,
) -> None:
    lake = MessagesLake(tmp_path / "parquet")
    for number in range(4):
        lake.append(message(number))
    progresses: list[str] = []

    @contextmanager
    def keeper(part: str, size: int) -> Iterator[Advance]:
        """Compacts and vacuums before the first copy, as a keeper without patience would."""
        if not progresses:
            lake.append(message(9))
            lake.compact_and_vacuum()
        progresses.append(part)
        yield lambda count: None

    staging = Staging(tmp_path / "copy")
    versions = copy_lake(Lake(lake.root), staging, keeper)
    assert len(progresses) == 2
    assert len(read_rows(tmp_path / "copy" / "parquet" / "messages")) == 5
    assert read_rows(tmp_path / "copy" / "parquet" / "messages") == read_rows(lake.table)
    files = sorted(name for name in names(tmp_path / "copy" / "parquet") if name.endswith(".parquet"))
    assert len(files) == 1  # nothing of the former version
    assert versions.keys() == {"messages"}


def test_a_log_with_a_checkpoint_is_copied_from_there(tmp_path: Path) -> None:
    lake = MessagesLake(tmp_path / "parquet")
    for number in range(5):
        lake.append(message(number))
    DeltaTable(str(lake.table)).create_checkpoint()
    lake.append(message(5))
    copy_lake(Lake(lake.root), Staging(tmp_path / "copy"), unseen)
    log = {path.name for path in (tmp_path / "copy" / "parquet" / "messages" / "_delta_log").iterdir()}
    assert log == {"00000000000000000004.checkpoint.parquet", "00000000000000000005.json"}
    assert len(read_rows(tmp_path / "copy" / "parquet" / "messages")) == 6


def test_journals_are_copied_whole_lines_while_they_grow(tmp_path: Path) -> None:
    root = JournalRoot(tmp_path / "raw")
    writer = JournalWriter(root, now_ms=lambda: DAY_MS)
    stop = threading.Event()

    def append() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            writer.append([b"x" * (number % 5000), b"%d" % number])

    appending = threading.Thread(target=append)
    writer.append([b"first"])
    appending.start()
    try:
        for number in range(20):
            staging = Staging(tmp_path / f"copy-{number}")
            staging.copy_all(journals.sources(root, growing=True), lambda count: None)
    finally:
        stop.set()
        appending.join()
    whole = root.file(DAY).read_bytes()
    lengths = set()
    for number in range(20):
        copied = (tmp_path / f"copy-{number}" / f"{DAY}.jsonl").read_bytes()
        assert copied.endswith(b"\n")
        assert whole.startswith(copied)
        lengths.add(len(copied))
    assert len(lengths) > 1


def test_half_of_a_reject_line_is_left_and_half_of_a_closed_day_is_not(tmp_path: Path) -> None:
    """Landing appends rejects without the lock; the end of a past day's journal is a line that may have landed."""
    for day in ("2026-03-04", DAY):
        (tmp_path / f"{day}.jsonl").write_bytes(b"one\ntwo\nhal")
    root = JournalRoot(tmp_path)
    sizes = {name: source.size for name, source in journals.sources(root, growing=True).items()}
    assert sizes == {"2026-03-04.jsonl": 11, f"{DAY}.jsonl": 11}
    whole = journals.sources(root, growing=True, whole_lines=True)
    assert {name: source.size for name, source in whole.items()} == dict.fromkeys(sizes, 8)
