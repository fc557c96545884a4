"""Running a scheduled job: one at a time in an installation, each step a process of its own."""

from __future__ import annotations

import asyncio
import ctypes
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ingest_service.coordination_settings import CoordinationSettings
from ingest_service.errors import StorageError
from millrace_ports.coordination import CoordinationError, LeaseLostError, Lock, LockNotAcquiredError
from millrace_runtime.clock import SYSTEM_CLOCK
from millrace_runtime.logs import get_logger
from standalone.storage.jobs import Job, Step

log = get_logger(__name__)

LEASE: Final = "storage-jobs"
_TTL_S: Final = 30.0
_STOP_WITHIN_S: Final = 30.0
_PR_SET_PDEATHSIG: Final = 1

_libc = ctypes.CDLL(None, use_errno=True)


class JobBusyError(StorageError):
    """Another job of the installation did not end in time."""


class JobLostError(StorageError):
    """The right to run jobs was lost, or could not be asked for."""


async def run_job(job: Job, data: Path, *, wait_s: float, environ: Mapping[str, str] = os.environ) -> int:
    """Run the steps while holding the lease of all jobs, waited for `wait_s`; 0, or the first failure's exit code.

    A step that fails does not hold up the next ones. Raises SettingsError, JobBusyError, JobLostError; the step that
    runs is ended then, and when this is cancelled.
    """
    settings = CoordinationSettings.load(**_own_coordination(data, environ))
    coordination = settings.open_coordination(boottime=SYSTEM_CLOCK.boottime)
    holder = f"{job.name}@{socket.gethostname()}:{os.getpid()}"
    try:
        async with Lock(coordination, LEASE, ttl_s=_TTL_S, holder=holder, wait_s=wait_s):
            return await _run_steps(job, data, environ)
    except LockNotAcquiredError as error:
        log.error("job_failed", job=job.name, error="another job is running", waited_s=wait_s)
        raise JobBusyError(f"job {job.name}: another job has been running for {wait_s:g} s") from error
    except (LeaseLostError, CoordinationError) as error:
        log.error("job_failed", job=job.name, error=str(error))
        raise JobLostError(f"job {job.name}: {error}") from error
    finally:
        await coordination.close()


async def delayed(job: Job, most_s: float) -> None:
    """Wait a random time, so that the jobs of many installations do not start at once."""
    if most_s > 0:
        seconds = random.uniform(0, most_s)  # noqa: S311 nothing is to be kept secret
        log.info("job_delayed", job=job.name, seconds=round(seconds, 1))
        await asyncio.sleep(seconds)


async def _run_steps(job: Job, data: Path, environ: Mapping[str, str]) -> int:
    began, today = time.monotonic(), datetime.now(UTC).date()
    behind_kafka = environ.get("MILLRACE_BUS", "").startswith("kafka:")
    failed = 0
    for step in job.steps:
        arguments = step.arguments(today)
        if step.lands and behind_kafka:
            log.info(
                "job_step_left_out", job=job.name, step=arguments, reason="lake writers land what is on Kafka"
            )
            continue
        code = await _run_step(job, step, arguments, data, environ)
        failed = failed or code
    duration_s = round(time.monotonic() - began, 3)
    if failed:
        log.error("job_failed", job=job.name, code=failed, duration_s=duration_s)
    else:
        log.info("job_finished", job=job.name, duration_s=duration_s)
    return failed


async def _run_step(
    job: Job, step: Step, arguments: list[str], data: Path, environ: Mapping[str, str]
) -> int:
    """0, or the exit code with which the step has failed."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import sys; sys.argv[0] = 'millrace'; from millrace.cli import main; main()",
        "storage",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        # Its results and its sums (LAKE-125) are the job's.
        env={"MILLRACE_LOG_LEVEL": "INFO", **environ, "MILLRACE_DATA": str(data)},
        preexec_fn=_end_with_parent,
    )
    try:
        code = await process.wait()
    except asyncio.CancelledError:
        await _stopped(process)
        raise
    duration_s = round(time.monotonic() - began, 3)
    if code == 0 or code in step.fine:
        log.info("job_step_finished", job=job.name, step=arguments, code=code, duration_s=duration_s)
        return 0
    log.error("job_step_failed", job=job.name, step=arguments, code=code, duration_s=duration_s)
    return code if code > 0 else 128 - code


async def _stopped(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, and SIGKILL to one that does not end: nobody may go on without the lease."""
    with suppress(ProcessLookupError):
        process.terminate()
        try:
            async with asyncio.timeout(_STOP_WITHIN_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _end_with_parent() -> None:
    """A job that is killed must not leave a step running that holds no lease."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _own_coordination(data: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Where the environment names no coordination, the installation's own leases."""
    return (
        {}
        if environ.get("MILLRACE_COORDINATION")
        else {"coordination": f"local:{data / 'metadata' / 'leases'}"}
    )
