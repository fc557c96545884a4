"""Group commit: everybody who waits is answered, by what happened to their lines."""

import asyncio
from pathlib import Path

import pytest

from millrace_ports.errors import ClosedError, InvalidRecordError, StorageUnavailableError
from millrace_ports.journal import GroupCommitter, JournalRoot, JournalWriter
from millrace_testkit.clock import ManualClock

NOON_MS = 1_773_489_600_000
TODAY = "2026-03-14"


class Groups:
    """Counts the groups."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def before_sync(self, lines: int) -> None:
        pass

    def after_sync(self, lines: int, seconds: float) -> None:
        assert seconds >= 0
        self.sizes.append(lines)


@pytest.fixture
def root(tmp_path: Path) -> JournalRoot:
    return JournalRoot(tmp_path / "raw")


@pytest.fixture
def groups() -> Groups:
    return Groups()


@pytest.fixture
def committer(root: JournalRoot, groups: Groups) -> GroupCommitter:
    return GroupCommitter(JournalWriter(root, now_ms=ManualClock(NOON_MS).now_ms, observer=groups))


async def test_all_who_wait_share_few_syncs_and_know_their_lines(
    root: JournalRoot, committer: GroupCommitter, groups: Groups
) -> None:
    answers = await asyncio.gather(*(committer.append(b"%d" % number) for number in range(500)))
    await committer.close()
    lines = root.file(TODAY).read_bytes().split(b"\n")
    assert [lines[line - 1] for _, line in answers] == [b"%d" % number for number in range(500)]
    assert sum(groups.sizes) == 500
    assert len(groups.sizes) < 100


async def test_lines_of_one_call_stay_together(root: JournalRoot, committer: GroupCommitter) -> None:
    calls = [[b"%d-%d" % (call, number) for number in range(5)] for call in range(20)]
    answers = await asyncio.gather(*map(committer.append_all, calls))
    await committer.close()
    lines = root.file(TODAY).read_bytes().split(b"\n")
    for call, (_, first) in zip(calls, answers, strict=True):
        assert lines[first - 1 : first + 4] == call


async def test_a_bad_line_fails_its_caller_alone(root: JournalRoot, committer: GroupCommitter) -> None:
    answers = await asyncio.gather(
        committer.append(b"good"),
        committer.append(b"ba\nd"),
        committer.append(b"fine"),
        return_exceptions=True,
    )
    await committer.close()
    assert isinstance(answers[1], InvalidRecordError)
    assert root.file(TODAY).read_bytes() == b"good\nfine\n"


async def test_who_gives_up_waiting_hurts_nobody(root: JournalRoot, committer: GroupCommitter) -> None:
    first = asyncio.create_task(committer.append(b"1"))
    second = asyncio.create_task(committer.append(b"2"))
    await asyncio.sleep(0)
    first.cancel()
    await second
    await committer.close()
    assert root.file(TODAY).read_bytes() == b"1\n2\n"


async def test_a_broken_disk_is_told_to_all_and_heals(root: JournalRoot, committer: GroupCommitter) -> None:
    root.file(TODAY).mkdir(parents=True)
    answers = await asyncio.gather(*(committer.append(b"x") for _ in range(10)), return_exceptions=True)
    assert all(isinstance(answer, StorageUnavailableError) for answer in answers)
    with pytest.raises(StorageUnavailableError, match="Is a directory"):
        await committer.probe()
    assert committer.error is not None
    root.file(TODAY).rmdir()
    await committer.probe()
    assert committer.error is None
    assert (await committer.append(b"x"))[1] == 1
    await committer.close()


async def test_closing_writes_what_waits(root: JournalRoot, committer: GroupCommitter) -> None:
    waiting = [asyncio.create_task(committer.append(b"x")) for _ in range(50)]
    await asyncio.sleep(0)
    await committer.close()
    assert len(await asyncio.gather(*waiting)) == 50
    with pytest.raises(ClosedError):
        await committer.append(b"late")
    assert root.file(TODAY).read_bytes() == b"x\n" * 50


async def test_a_committer_never_used_closes(committer: GroupCommitter, root: JournalRoot) -> None:
    await committer.close()
    assert not root.path.exists()
