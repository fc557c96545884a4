"""Journals go when every line of them is in the lake for good, and not before (LAKE-111)."""

from __future__ import annotations

import asyncio
import datetime
import fcntl
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from deltalake import DeltaTable
from prometheus_client import CollectorRegistry

from ingest_service.compose_lake_writer import compose_lake_writer
from ingest_service.errors import BadArgumentError, NotFoundError
from ingest_service.keep import cleanup as cleaning
from ingest_service.keep.archive import archive
from ingest_service.keep.cleanup import CleanupResult, clean_up
from ingest_service.lake.recover import marked
from ingest_service.lake.tables import Lake
from ingest_service.land.settings import LakeWriterSettings
from ingest_service.relay.positions import Place, RelayPositions
from millrace_ports.bus.port import Partition
from millrace_ports.journal import JournalRoot, JournalWriter
from millrace_testkit.builders import message, traffic
from millrace_testkit.clock import ManualClock
from millrace_testkit.model.tables import read_dataset
from millrace_testkit.progress import unlanded

FIRST = datetime.datetime(2026, 3, 14, 12, tzinfo=datetime.UTC)
"""When the first journal is written; the second one is of the day after."""

TODAY = "2026-03-22"
"""Eight days after the first journal's day."""


class Installation:
    """A data directory with two journals, and a clock."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.raw = data / "messages" / "raw"
        self.metadata = data / "metadata"
        self.lake = Lake(data / "parquet")
        self.clock = ManualClock(FIRST)

    def write(self, *lines: bytes) -> Path:
        """Append to the journal of the clock's day, as a door does."""
        writer = JournalWriter(JournalRoot(self.raw), now_ms=self.clock.now_ms)
        writer.append(list(lines))
        writer.close()
        return self.raw / f"{self.clock.now():%Y-%m-%d}.jsonl"

    def land(self) -> None:
        """Have a lake writer land and report all there is."""

        async def work() -> None:
            settings = LakeWriterSettings.load(data=self.data, bus=f"journal:{self.data}")
            async with (
                compose_lake_writer(settings, registry=CollectorRegistry(), clock=self.clock),
                asyncio.timeout(30),
            ):
                while unlanded(self.data, today=f"{self.clock.now():%Y-%m-%d}"):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)

        asyncio.run(work())

    def clean_up(self, *, retention_days: int = 7, dry_run: bool = False) -> CleanupResult:
        return clean_up(
            self.raw,
            self.lake,
            self.metadata,
            now_ms=self.clock.now_ms,
            retention_days=retention_days,
            dry_run=dry_run,
        )

    def journals(self) -> list[str]:
        return sorted(path.name for path in self.raw.glob("*.jsonl"))

    def go_to(self, day: str) -> None:
        moment = datetime.datetime.fromisoformat(f"{day}T12:00:00+00:00")
        self.clock.advance((moment - self.clock.now()).total_seconds())


@pytest.fixture
def empty(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory eight days after a journal of every kind of line, seven after a second one; all has landed."""
    empty = Installation(tmp_path_factory.mktemp("original"))
    bodies = [body for body in itertools.islice(traffic(3), 160) if _is_object(body)]
    empty.write(*bodies[:100], b"{broken", message("repeat"), message("repeat"), b"  ")
    empty.go_to("2026-03-15")
    empty.write(*bodies[100:], message("repeat", create_time=1_773_540_000))
    empty.land()
    empty.go_to(TODAY)
    empty.land()  # both days are closed now
    return empty.data


@pytest.fixture
def landed(original: Path, tmp_path: Path) -> Installation:
    """A copy of it, on that day."""
    installation = Installation(
        Path(shutil.copytree(original, tmp_path / "data", copy_function=shutil.copy2))
    )
    installation.go_to(TODAY)
    return installation


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except ValueError:
        return False


def test_of_journals_aged_7_and_8_days_the_older_one_goes(landed: Installation) -> None:
    """LAKE-S13."""
    rows = len(read_dataset(landed.data, "messages"))
    result = landed.clean_up()
    assert (result.total_scanned, result.deleted, result.deleted_files) == (2, 1, ["2026-03-14.jsonl"])
    assert (result.skipped_no_parquet, result.skipped_in_use, result.kept) == (0, 0, {})
    assert landed.journals() == ["2026-03-15.jsonl"]
    assert not list(landed.raw.glob(".2026-03-14.*"))
    assert list(landed.raw.glob(".2026-03-15.*"))
    landed.land()  # it is no news to a lake writer
    assert len(read_dataset(landed.data, "messages")) == rows


def test_a_dry_run_lists_and_removes_nothing(landed: Installation) -> None:
    result = landed.clean_up(dry_run=True)
    assert (result.total_scanned, result.deleted, result.deleted_files) == (2, 0, ["2026-03-14.jsonl"])
    assert landed.journals() == ["2026-03-14.jsonl", "2026-03-15.jsonl"]


def test_days_to_keep_are_a_choice(landed: Installation) -> None:
    assert landed.clean_up(retention_days=8).deleted == 0
    assert landed.clean_up(retention_days=6).deleted_files == ["2026-03-14.jsonl", "2026-03-15.jsonl"]
    with pytest.raises(BadArgumentError, match="retention_days"):
        landed.clean_up(retention_days=-1)


def test_files_that_are_no_journals_of_a_day_are_counted_and_left(landed: Installation) -> None:
    for name in ("notes.txt", "2026-02-30.jsonl", "2026-01-01.jsonl.bak"):
        (landed.raw / name).write_text("x")
    result = landed.clean_up()
    assert (result.total_scanned, result.deleted) == (5, 1)
    assert (landed.raw / "2026-02-30.jsonl").exists()


def test_what_it_relies_on_is_durable_and_never_taken_back(landed: Installation) -> None:
    """ARCHITECTURE 4, rule 11: recovery starts behind the versions that hold the rows."""
    (landed.metadata / "durable.json").unlink()
    landed.clean_up()
    version = DeltaTable(str(landed.lake.path("messages"))).version()
    assert marked(landed.metadata)["messages"] == version


def _no_checkpoint(landed: Installation) -> None:
    (landed.metadata / "checkpoints" / "2026-03-14_checkpoint.json").unlink()


def _failed_checkpoint(landed: Installation) -> None:
    path = landed.metadata / "checkpoints" / "2026-03-14_checkpoint.json"
    path.write_bytes(path.read_bytes().replace(b"completed", b"failed"))


def _more_lines(landed: Installation) -> None:
    with (landed.raw / "2026-03-14.jsonl").open("ab") as journal:
        journal.write(message("more") + b"\n")


def _half_a_line(landed: Installation) -> None:
    with (landed.raw / "2026-03-14.jsonl").open("ab") as journal:
        journal.write(b'{"guid"')


def _lost_message(landed: Installation) -> None:
    DeltaTable(str(landed.lake.path("messages"))).delete("src_file = '2026-03-14.jsonl' AND src_line = 1")


def _lost_dead_letter(landed: Installation) -> None:
    DeltaTable(str(landed.lake.path("dead_letters"))).delete("src_file = '2026-03-14.jsonl'")


def _lost_notifications(landed: Installation) -> None:
    DeltaTable(str(landed.lake.path("other"))).delete("src_file = '2026-03-14.jsonl'")


def _lost_contacts(landed: Installation) -> None:
    DeltaTable(str(landed.lake.path("contacts"))).delete("username <> ''")


def _no_identity(landed: Installation) -> None:
    (landed.raw / ".door").unlink()


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (_no_checkpoint, "checkpoint is missing"),
        (_failed_checkpoint, "checkpoint is failed"),
        (_more_lines, "of its"),
        (_half_a_line, "of its"),
        (_lost_message, "line 1"),
        (_lost_dead_letter, "in no dataset"),
        (_lost_notifications, "in no dataset"),
        (_lost_contacts, "in no dataset"),
        (_no_identity, "no identity"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_journal_that_the_lake_does_not_hold_for_sure_stays(
    landed: Installation, harm: Callable[[Installation], None], reason: str
) -> None:
    harm(landed)
    result = landed.clean_up()
    assert (result.deleted, result.skipped_no_parquet, result.skipped_in_use) == (0, 1, 0)
    assert reason in result.kept["2026-03-14.jsonl"]
    assert landed.journals() == ["2026-03-14.jsonl", "2026-03-15.jsonl"]


def test_a_journal_that_is_locked_or_not_read_by_all_is_in_use(landed: Installation) -> None:
    offsets = landed.metadata / "offsets"
    behind = offsets / "live-stats" / "webhook.messages.json"
    behind.parent.mkdir()
    own = json.loads((offsets / "lake-writer" / "webhook.messages.json").read_bytes())
    own["partitions"] = {name: {"position": 3} for name in own["partitions"]}
    behind.write_text(json.dumps(own))
    result = landed.clean_up()
    assert (result.deleted, result.skipped_in_use) == (0, 1)
    assert "live-stats is at line 3" in result.kept["2026-03-14.jsonl"]
    behind.unlink()
    with (landed.raw / "2026-03-14.jsonl").open("rb") as journal:
        fcntl.flock(journal, fcntl.LOCK_SH)
        assert landed.clean_up().skipped_in_use == 1
    assert landed.clean_up().deleted == 1


def test_a_journal_whose_rows_are_archived_goes(landed: Installation) -> None:
    today = datetime.date(2026, 12, 31)
    assert archive(landed.lake, landed.metadata, today=today, level=1).archived_partitions > 2
    assert landed.clean_up().deleted == 1


def test_a_message_stored_from_elsewhere_first_accounts_for_its_repeats(empty: Installation) -> None:
    """Late and repeated ones: the row of the line is of another day and another journal (LAKE-63, LAKE-64)."""
    empty.write(message("1", create_time=1_700_000_000))
    empty.land()
    empty.go_to("2026-03-15")
    empty.write(message("1"), message("2", create_time=1_600_000_000))
    empty.land()
    empty.go_to("2026-04-01")
    empty.land()
    assert empty.clean_up().deleted == 2


def test_a_relayed_journal_waits_until_the_lake_is_past_its_last_records(landed: Installation) -> None:
    """ARCHITECTURE 4, rule 19: in real mode the positions are those of Kafka, and there is no checkpoint of it."""
    _no_checkpoint(landed)
    partition = Partition("webhook.messages", f"{JournalRoot(landed.raw).door}/2026-03-14")
    lines = (landed.raw / "2026-03-14.jsonl").read_bytes().count(b"\n")

    def relayed(ends: dict[str, int] | None) -> None:
        async def save() -> None:
            positions = RelayPositions(landed.metadata / "relay", now_ms=landed.clock.now_ms)
            await positions.start(partition)
            positions.begin(partition, "topic-id")
            positions.take({partition: Place(lines)})
            if ends is not None:
                at = {partition: positions.place(partition)}
                positions.close(at, {Partition("webhook.messages", name): n for name, n in ends.items()})
            await positions.save()

        asyncio.run(save())

    relayed(None)
    assert "not closed" in landed.clean_up().kept["2026-03-14.jsonl"]
    relayed({"another-topic/0": 3})
    assert "made anew" in landed.clean_up().kept["2026-03-14.jsonl"]
    relayed({"topic-id/0": 3, "topic-id/1": 0})
    assert "record 0 of topic-id/0" in landed.clean_up().kept["2026-03-14.jsonl"]
    _at_record(landed, "topic-id/0", 3)
    assert landed.clean_up().deleted == 1


def _at_record(landed: Installation, name: str, number: int) -> None:
    from ingest_service.land.index.index import KeyIndex
    from ingest_service.land.lander import Lander

    index = KeyIndex(landed.lake.path("messages"), landed.metadata / "key_index")
    lander = Lander(landed.lake, index, reject=lambda _: None, now_s=lambda: 0)
    assert lander.skip(Partition("webhook.messages", name), number) == number


@pytest.mark.parametrize("moment", ["BEFORE_JOURNAL_REMOVAL", "AFTER_JOURNAL_REMOVAL_BEFORE_SIDECARS"])
def test_a_run_that_ends_in_between_is_gone_on_with(
    landed: Installation, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def crash_point(name: str) -> None:
        if name == moment:
            raise KeyboardInterrupt

    monkeypatch.setattr(cleaning, "crash_point", crash_point)
    with pytest.raises(KeyboardInterrupt):
        landed.clean_up()
    monkeypatch.undo()
    landed.clean_up()
    assert landed.journals() == ["2026-03-15.jsonl"]
    assert not list(landed.raw.glob(".2026-03-14.*"))


def test_a_journal_that_cannot_be_read_is_named_and_the_others_go(
    landed: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = cleaning._Cleanup._lines

    def failing(self: cleaning._Cleanup, day: str) -> int:
        if day == "2026-03-14":
            raise OSError(5, "Input/output error")
        return lines(self, day)

    monkeypatch.setattr(cleaning._Cleanup, "_lines", failing)
    result = landed.clean_up(retention_days=6)
    assert result.deleted_files == ["2026-03-15.jsonl"]
    assert "Input/output error" in result.failed["2026-03-14.jsonl"]


def test_without_journals_there_is_an_error_and_without_a_lake_all_stay(empty: Installation) -> None:
    with pytest.raises(NotFoundError, match="raw"):
        empty.clean_up()
    empty.write(message("1"))
    empty.go_to(TODAY)
    result = empty.clean_up()
    assert (result.total_scanned, result.skipped_no_parquet) == (1, 1)
    assert not empty.lake.root.exists()
