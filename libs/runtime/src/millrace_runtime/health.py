"""Whether a service can do its work now, asked by `/ready` and by gRPC health."""

import asyncio
from collections.abc import Awaitable, Callable

from millrace_runtime.logs import get_logger

log = get_logger(__name__)

Check = Callable[[], Awaitable[None]]
"""Returns when the dependency works; raises otherwise, and the text says why."""


class Health:
    """The named checks of one service. A service without checks is ready while it runs.

    `starting` and `draining` are set by `serving`: before all ports answer and after a stop was
    asked for the service is not ready, whatever the checks say.
    """

    def __init__(self, checks: dict[str, Check] | None = None, *, timeout_s: float = 2.0) -> None:
        self.checks: dict[str, Check] = dict(checks or {})
        self.starting = False
        self.draining = False
        self._timeout_s = timeout_s

    def add(self, name: str, check: Check) -> None:
        """Require `check` for readiness under this name."""
        self.checks[name] = check

    async def ready(self) -> dict[str, object]:
        """`{"ready": bool, "failing": [names], "checks": {name: "ok" or why not}}`.

        The checks run at the same time; one that takes longer than `timeout_s` has failed.
        """
        names = list(self.checks)
        outcomes = dict(zip(names, await asyncio.gather(*map(self._outcome, names)), strict=True))
        if self.starting:
            outcomes["started"] = "still starting"
        if self.draining:
            outcomes["draining"] = "stopping: finishes the requests in progress, takes no new ones"
        failing = [name for name, outcome in outcomes.items() if outcome != "ok"]
        return {"ready": not failing, "failing": failing, "checks": outcomes}

    async def _outcome(self, name: str) -> str:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self.checks[name]()
        except TimeoutError:
            return f"no answer within {self._timeout_s:g} s"
        except Exception as error:
            log.debug("check_failed", check=name, exc_info=True)
            return str(error) or type(error).__name__
        return "ok"
