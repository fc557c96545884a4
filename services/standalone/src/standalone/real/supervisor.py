"""Processes that are started, watched, started again when they end, and stopped in order."""

import asyncio
import contextlib
import signal
from asyncio.subprocess import DEVNULL, Process, create_subprocess_exec
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path

from millrace_runtime.logs import get_logger
from standalone.ports import HOST
from standalone.real.processes import ProcessPlan

log = get_logger(__name__)

READY_WITHIN_S = 120.0
_STOP_WITHIN_S = 20.0
_AGAIN_AFTER_S = 2.0
_LOOK_EVERY_S = 0.1
_ANSWER_WITHIN_S = 5.0


class ProcessError(Exception):
    """A process ended before it was ready, or did not become ready. The text names its log."""


class Supervised:
    """One process, started again two seconds after it has ended by itself.

    Args:
        plan: what to start.
        log_path: its output goes to the end of this file.
        watch: told the process id of each start; ends it when this process is killed.
        trouble: told what the person at the terminal should know.
    """

    def __init__(
        self,
        plan: ProcessPlan,
        log_path: Path,
        watch: Callable[[int, int], None],
        trouble: Callable[[str], None],
    ) -> None:
        self.plan = plan
        self.log_path = log_path
        self._watch = watch
        self._trouble = trouble
        self._process: Process | None = None
        self._stopping = False
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when it is ready. Raises ProcessError."""
        await self._launch()
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                while not await self._ready():
                    if self._process is None or self._process.returncode is not None:
                        raise ProcessError(self._explained("ended before it was ready"))
                    await asyncio.sleep(_LOOK_EVERY_S)
        except TimeoutError:
            raise ProcessError(self._explained(f"is not ready within {READY_WITHIN_S:g} s")) from None
        self._keeping = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL to one that does not end; returns when it is gone."""
        self._stopping = True
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_WITHIN_S):
                await process.wait()
        except TimeoutError:
            self._trouble(self._explained(f"did not end within {_STOP_WITHIN_S:g} s and was killed"))
            process.kill()
            await process.wait()

    async def _keep(self) -> None:
        while True:
            assert self._process is not None
            code = await self._process.wait()
            log.error("process_ended", process=self.plan.name, code=code)
            self._trouble(self._explained(f"ended with {code}; it is started again"))
            await asyncio.sleep(_AGAIN_AFTER_S)
            await self._launch()

    async def _launch(self) -> None:
        with self.log_path.open("ab") as output:
            # A session of its own: Ctrl-C is for us, who stop the processes in order.
            self._process = await create_subprocess_exec(
                *self.plan.arguments(),
                stdin=DEVNULL,
                stdout=output,
                stderr=output,
                env=self.plan.environment(),
                start_new_session=True,
            )
        self._watch(self._process.pid, signal.SIGTERM)
        log.info("process_started", process=self.plan.name, pid=self._process.pid)

    async def _ready(self) -> bool:
        request = b"GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        with contextlib.suppress(OSError, TimeoutError, ValueError, IndexError):
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                reader, writer = await asyncio.open_connection(HOST, self.plan.management_port)
                try:
                    writer.write(request)
                    status = (await reader.readline()).split()[1]
                finally:
                    writer.close()
            return int(status) == HTTPStatus.OK
        return False

    def _explained(self, what: str) -> str:
        return f"{self.plan.name} {what}; its log is {self.log_path}"


async def stop_all(running: Sequence[Supervised]) -> None:
    """Stop them one after the other, the first one first: what feeds others is to stop before them."""
    for supervised in running:
        await supervised.stop()
