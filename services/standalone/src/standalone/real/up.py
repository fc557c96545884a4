"""One life of the installation in real mode: servers, processes, sample, until told to stop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from millrace_runtime.logs import get_logger
from millrace_runtime.process import CannotGoOnError
from millrace_testkit.real import BackendMissingError, RealStack, ServerError
from standalone import sample
from standalone.banner import Banner
from standalone.data_directory import DataDirectory
from standalone.ports import endpoints
from standalone.real.places import server_ports, servers
from standalone.real.processes import Servers, plans
from standalone.real.supervisor import ProcessError, Supervised, stop_all
from standalone.real.table import Table
from standalone.up import Options, replay_unless_stopped

log = get_logger(__name__)

_STOPPED_FIRST = (
    "webhook",
    "relay",
    "lake-writer",
    "maintenance",
    "query-service",
    "id-service",
    "auth-service",
)


async def serve(directory: DataDirectory, options: Options, stop: asyncio.Event) -> None:
    """Serve until `stop`. Raises CannotGoOnError."""
    places = endpoints(options.port_offset)
    banner = Banner(directory, places, options.port_offset)
    table = Table(directory)
    try:
        async with AsyncExitStack() as running:
            table.say("Starting Kafka, PostgreSQL, Redis and etcd.")
            stack = await running.enter_async_context(_backends(directory, options.port_offset))
            found = await asyncio.to_thread(_servers, stack)
            table.say("Starting every process.")
            watch = stack.watch
            started = await running.enter_async_context(
                _processes(directory, found, options.port_offset, watch, banner.trouble)
            )
            if sample.wanted(directory, options.sample):
                await replay_unless_stopped(directory, places, banner, stop)
            if not stop.is_set():
                table.show(stack, started)
                banner.show(with_sample=sample.state(directory) == "replayed")
                log.info("real_mode_ready", data=str(directory.root), port_offset=options.port_offset)
            await stop.wait()
            banner.stopping()
    except (BackendMissingError, ServerError, ProcessError) as error:
        raise CannotGoOnError(f"millrace: {error}") from error


@asynccontextmanager
async def _backends(directory: DataDirectory, port_offset: int) -> AsyncIterator[RealStack]:
    """The four servers, serving; stopped in good order at the end, their data kept."""
    stack = RealStack(servers(directory), server_ports(port_offset))
    try:
        await asyncio.to_thread(stack.start)
        yield stack
    finally:
        await asyncio.to_thread(stack.end)


def _servers(stack: RealStack) -> Servers:
    """Their URLs as the processes get them, databases made."""
    return Servers(
        kafka=f"kafka://{stack.kafka}",
        auth_database=stack.postgresql_server.database("auth"),
        id_database=stack.postgresql_server.database("ids"),
        etcd=stack.etcd,
    )


@asynccontextmanager
async def _processes(
    directory: DataDirectory,
    found: Servers,
    port_offset: int,
    watch: Callable[[int, int], None],
    trouble: Callable[[str], None],
) -> AsyncIterator[list[Supervised]]:
    """Every process, ready; stopped at the end, what feeds others first. Raises ProcessError."""
    running: list[Supervised] = []
    try:
        for group in plans(directory, found, endpoints(port_offset), port_offset):
            started = [
                Supervised(plan, directory.logs / f"{plan.name}.log", watch, trouble) for plan in group
            ]
            running += started
            async with asyncio.TaskGroup() as tasks:
                for supervised in started:
                    tasks.create_task(supervised.start())
        yield running
    except ExceptionGroup as group_error:
        raise group_error.exceptions[0] from None
    finally:
        order = {name: turn for turn, name in enumerate(_STOPPED_FIRST)}
        await stop_all(sorted(running, key=lambda supervised: order[supervised.plan.name]))
