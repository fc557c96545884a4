"""`millrace storage job`: a scheduled job, as timers and CronJobs start it (LAKE section 13)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from millrace.cli.options import Data
from standalone.storage.outcome import outcome, print_json
from standalone.storage.roots import Json

if TYPE_CHECKING:
    from standalone.storage.jobs import Job


def job(
    name: Annotated[str, typer.Argument(help="hourly, daily or monthly.")],
    data: Data = None,
    wait_s: Annotated[
        float, typer.Option("--wait-s", min=0, help="Wait so long for another job to end.")
    ] = 1800.0,
    random_delay_s: Annotated[
        float, typer.Option("--random-delay-s", min=0, help="Begin at a random moment of so many seconds.")
    ] = 0.0,
    as_json: Json = False,
) -> None:
    """Run a scheduled job now: its steps one after the other, never beside another job.

    Exit code 0, or that of the first step that failed. MILLRACE_COORDINATION says where the lease is kept; without it,
    in the data directory.
    """
    with outcome():
        import asyncio
        import os

        from ingest_service.errors import BadArgumentError
        from millrace.installation import default_data_directory
        from millrace_runtime.logs import configure_logging
        from standalone.storage import jobs

        known = jobs.load().by_name
        if name not in known:
            raise BadArgumentError(f"NAME: there is no job {name!r}; there are {', '.join(known)}")
        configure_logging("storage", os.environ.get("MILLRACE_LOG_LEVEL", "INFO"))
        root = (data or default_data_directory()).expanduser().absolute()
        code = asyncio.run(_run(known[name], root, wait_s, random_delay_s))
    if as_json:
        print_json({"job": name, "exit_code": code})
    if code:
        raise typer.Exit(code)


async def _run(job: Job, root: Path, wait_s: float, random_delay_s: float) -> int:
    """A stop, by whichever signal, ends the step that runs."""
    import asyncio
    import signal

    from standalone.storage.running import delayed, run_job

    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await delayed(job, random_delay_s)
        return await run_job(job, root, wait_s=wait_s)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
