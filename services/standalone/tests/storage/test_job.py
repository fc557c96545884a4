"""`millrace storage job`: the steps in order, one job at a time, failures told (LAKE section 13)."""

from __future__ import annotations

import asyncio
import datetime
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from millrace_ports.coordination import open_coordination
from millrace_testkit.messages_lake import MessagesLake
from millrace_testkit.model.tables import read_rows
from standalone.storage.jobs import At, Job, Step, load
from standalone.storage.running import LEASE, JobBusyError, run_job

from .conftest import Command, days_ago

TODAY = datetime.date(2026, 3, 1)


def job(*steps: Step) -> Job:
    return Job("test", "for a test", At(minute=0), list(steps))


def run(job: Job, data: Path, **environ: str) -> int:
    return asyncio.run(run_job(job, data, wait_s=0, environ={"PATH": os.environ["PATH"], **environ}))


def test_yesterday_is_the_day_before_the_run() -> None:
    (ingest, _) = load().by_name["daily"].steps
    assert ingest.arguments(TODAY) == ["dump-parquet", "--date", "2026-02-28"]


def test_a_failing_step_gives_its_code_and_does_not_hold_up_the_next(lake: MessagesLake, data: Path) -> None:
    lake.append(days_ago(100))
    steps = (
        Step(["cleanup"]),  # there are no journals: 66
        Step(["archive", "--compression-level", "99"]),  # 2
        Step(["archive", "--compression-level", "1"]),
    )
    assert run(job(*steps), data) == 66
    assert len(read_rows(data / "archive" / "messages")) == 1


def test_what_is_fine_is_no_failure_and_what_lake_writers_do_is_left_out(data: Path) -> None:
    steps = (Step(["archive"], lands=True), Step(["cleanup"], fine=[66]))
    assert run(job(*steps), data) == 66
    assert run(job(*steps), data, MILLRACE_BUS="kafka://127.0.0.1:1") == 0


def test_jobs_never_run_at_once(data: Path) -> None:
    """Whichever job has the lease, another one waits for it, and gives up with an error."""

    async def beside_another() -> None:
        coordination = open_coordination(f"local:{data / 'metadata' / 'leases'}")
        lease = await coordination.acquire(LEASE, 60.0, "another")
        assert lease is not None
        with pytest.raises(JobBusyError, match="another job"):
            await run_job(job(Step(["cleanup"])), data, wait_s=0.2, environ={})
        running = asyncio.create_task(run_job(job(Step(["cleanup"], fine=[66])), data, wait_s=30, environ={}))
        await asyncio.sleep(0.2)
        assert not running.done()
        await coordination.release(lease)
        assert await running == 0
        await coordination.close()

    asyncio.run(beside_another())


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_a_job_that_is_stopped_or_killed_leaves_no_step_running(
    lake: MessagesLake, data: Path, sent: signal.Signals
) -> None:
    """The step stands still in the middle: it would go on for ever."""
    lake.append(days_ago(100))
    code = (
        "import asyncio, pathlib; from standalone.storage.jobs import *; from standalone.storage.running import *;"
        "from standalone.storage.job import _run;"
        "j = Job('t', '', At(minute=0), [Step(['archive', '--compression-level', '1'])]);"
        f"asyncio.run(_run(j, pathlib.Path({str(data)!r}), 0, 0))"
    )
    environ = os.environ | {"MILLRACE_PAUSE_AT": "BEFORE_ARCHIVING"}
    process = subprocess.Popen([sys.executable, "-c", code], env=environ, stderr=subprocess.DEVNULL)
    step = _child_standing_still(process.pid)
    process.send_signal(sent)
    os.kill(step, signal.SIGCONT)
    assert process.wait(60) != 0
    _wait_for(lambda: not Path(f"/proc/{step}").exists() or _state(step) == "Z")


def _child_standing_still(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    _wait_for(lambda: any(_state(int(child)) == "T" for child in children.read_text().split()))
    return int(children.read_text().split()[0])


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def _wait_for(condition: object) -> None:
    end = time.monotonic() + 60
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)


def test_every_step_of_every_job_is_a_command_with_these_options(storage: Command) -> None:
    for job in load().by_name.values():
        for step in job.steps:
            name, *options = step.arguments(TODAY)
            shown = storage(name, "--help")
            assert shown.exit_code == 0, name
            assert all(option in shown.stdout for option in options if option.startswith("--")), step
