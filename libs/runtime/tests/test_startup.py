"""A start that waits for what is away, and ends at once for what waiting cannot heal."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_runtime.http import create_app
from millrace_runtime.listen import PortTakenError
from millrace_runtime.management import ManagementPort
from millrace_runtime.service import PORT_OPTION, Endpoint, Service
from millrace_runtime.settings import SettingsError
from millrace_runtime.startup import NotThereYetError, needing, run_when_there, serve_when_there
from millrace_testkit.clock import ManualClock

WITHIN_S = 10.0
REASON = "MILLRACE_THINGS_DATABASE_URL: the server cannot be reached"


class Things:
    """What a start needs: away until `there` is set; counts who is inside."""

    def __init__(self, error: Exception | None = None) -> None:
        self.there = asyncio.Event()
        self.error = error or NotThereYetError(REASON)
        self.attempts = 0
        self.inside = 0

    @asynccontextmanager
    async def compose(self) -> AsyncIterator[str]:
        self.attempts += 1
        if not self.there.is_set():
            raise self.error
        self.inside += 1
        try:
            yield "things"
        finally:
            self.inside -= 1


async def test_it_is_entered_when_it_comes_and_left_when_the_work_is_done() -> None:
    things, reasons, seen = Things(), [], []

    def waits(reason: str) -> None:
        reasons.append(reason)
        if len(reasons) == 3:
            things.there.set()

    async def run(made: str) -> None:
        seen.append((made, things.inside))

    async with asyncio.timeout(WITHIN_S):
        assert await run_when_there(things.compose, run, asyncio.Event(), waits=waits)

    assert (reasons, things.attempts) == ([REASON] * 3, 4)
    assert (seen, things.inside) == ([("things", 1)], 0)


async def test_a_stop_between_two_attempts_ends_the_wait_at_once() -> None:
    things, stop = Things(), asyncio.Event()

    async def run(made: str) -> None:
        raise AssertionError("it was never there")

    waiting = asyncio.create_task(run_when_there(things.compose, run, stop, waits=lambda _: stop.set()))
    assert await asyncio.wait_for(waiting, 0.05) is False
    assert things.attempts == 1


async def test_a_stop_ends_an_attempt_under_way_and_lets_it_tidy_up() -> None:
    stop, hanging, tidied = asyncio.Event(), asyncio.Event(), []

    @asynccontextmanager
    async def compose() -> AsyncIterator[None]:
        try:
            hanging.set()
            await asyncio.Event().wait()
            yield
        finally:
            tidied.append(True)

    async def run(made: None) -> None:
        raise AssertionError("it was never there")

    waiting = asyncio.create_task(run_when_there(compose, run, stop))
    await hanging.wait()
    stop.set()
    assert await asyncio.wait_for(waiting, WITHIN_S) is False
    assert tidied == [True]


async def test_once_inside_a_stop_is_for_the_work_itself() -> None:
    things, stop, finished = Things(), asyncio.Event(), []
    things.there.set()

    async def run(made: str) -> None:
        stop.set()
        await asyncio.sleep(0.01)
        finished.append(made)

    assert await run_when_there(things.compose, run, stop)
    assert finished == ["things"]


@pytest.mark.parametrize("error", [SettingsError("wrong password"), RuntimeError("bug")])
async def test_what_waiting_cannot_heal_ends_the_start_at_once(error: Exception) -> None:
    things = Things(error)
    with pytest.raises(type(error), match=str(error)):
        await run_when_there(things.compose, lambda made: asyncio.sleep(0), asyncio.Event())
    assert things.attempts == 1


class AwayError(Exception):
    retryable = True


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (ServiceError(ErrorCode.UNAVAILABLE, "not now"), NotThereYetError),
        (ServiceError(ErrorCode.DATABASE_UNAVAILABLE, "not now"), NotThereYetError),
        (AwayError("not now"), NotThereYetError),
        (ServiceError(ErrorCode.INVALID_REQUEST, "never"), ServiceError),
        (ValueError("never"), ValueError),
    ],
)
def test_a_step_that_may_succeed_later_is_waited_for_under_its_setting(
    error: Exception, becomes: type[Exception]
) -> None:
    with pytest.raises(becomes) as raised, needing("MILLRACE_THINGS"):
        raise error
    if becomes is NotThereYetError:
        assert str(raised.value).startswith("MILLRACE_THINGS: ")
        assert "not now" in str(raised.value)


async def get(port: int, path: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"http://127.0.0.1:{port}{path}")


async def until(condition: Callable[[httpx.Response], bool], port: int, path: str) -> httpx.Response:
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                if condition(answer := await get(port, path)):
                    return answer
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.005)


async def test_meanwhile_the_management_port_says_alive_and_not_ready_and_why(
    endpoint: Endpoint, clock: ManualClock
) -> None:
    there, stop = asyncio.Event(), asyncio.Event()
    app = create_app("things", "1.0.0", clock=clock)

    @app.get("/hello")
    async def hello() -> str:
        return "world"

    @asynccontextmanager
    async def compose() -> AsyncIterator[Service]:
        if not there.is_set():
            raise NotThereYetError(REASON)
        yield Service("things", http=app)

    serving = asyncio.create_task(serve_when_there(compose, endpoint, stop))
    management = endpoint.management_port
    waiting = await until(lambda answer: REASON in answer.text, management, "/ready")
    assert (waiting.status_code, waiting.json()["failing"]) == (503, ["started"])
    assert (await get(management, "/live")).status_code == 200
    assert (await get(management, "/metrics")).status_code == 200
    with pytest.raises(httpx.ConnectError):
        await get(endpoint.http_port, "/hello")

    there.set()
    await until(lambda answer: answer.status_code == 200, management, "/ready")
    assert (await get(endpoint.http_port, "/hello")).json() == "world"

    stop.set()
    await asyncio.wait_for(serving, WITHIN_S)
    for port in (management, endpoint.http_port):
        with pytest.raises(httpx.ConnectError):
            await get(port, "/live")


async def test_a_taken_management_port_is_named_before_anything_is_waited_for(endpoint: Endpoint) -> None:
    things = Things()
    async with ManagementPort(endpoint.host, endpoint.management_port, PORT_OPTION):
        with pytest.raises(PortTakenError, match=f"{endpoint.management_port}.*{PORT_OPTION.split(' ')[0]}"):
            await serve_when_there(things.compose, endpoint, asyncio.Event())  # type: ignore[arg-type]
    assert things.attempts == 0
