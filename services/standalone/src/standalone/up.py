"""One life of the installation: compose, serve, replay the sample on the first start, stop."""

import asyncio
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass

from millrace.installation import DOOR_PORT
from millrace_runtime.clock import SYSTEM_CLOCK
from millrace_runtime.logs import get_logger
from millrace_runtime.service import Endpoint, serving
from millrace_runtime.tracing import exporting
from standalone import sample
from standalone.banner import Banner
from standalone.compose import compose
from standalone.data_directory import DataDirectory
from standalone.memory import give_back
from standalone.ports import HOST, endpoints
from standalone.settings import StandaloneSettings, warnings

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for. `sample` counts on the first start of a data directory only."""

    port_offset: int
    sample: bool


async def serve(directory: DataDirectory, options: Options, stop: asyncio.Event) -> None:
    """Serve until `stop`. Raises SettingsError, PortTakenError."""
    settings = StandaloneSettings.load(directory)
    for warning in warnings():
        sys.stderr.write(f"millrace: {warning}\n")
    places = endpoints(options.port_offset)
    async with AsyncExitStack() as running:
        await running.enter_async_context(exporting(settings.tracing))
        services = await running.enter_async_context(compose(settings, clock=SYSTEM_CLOCK))
        reflection = settings.auth.environment != "production"
        for service in services:
            await running.enter_async_context(serving(service, places[service.name], reflection=reflection))
        banner = Banner(directory, places, options.port_offset)
        if sample.wanted(directory, options.sample):
            await replay_unless_stopped(directory, places, banner, stop)
        await asyncio.to_thread(give_back)
        if not stop.is_set():
            banner.show(with_sample=sample.state(directory) == "replayed")
            log.info("standalone_ready", data=str(directory.root), port_offset=options.port_offset)
        await stop.wait()
        banner.stopping()


async def replay_unless_stopped(
    directory: DataDirectory, places: dict[str, Endpoint], banner: Banner, stop: asyncio.Event
) -> None:
    """Send the sample; a stop ends it at once, and the next start sends it again."""
    replaying = asyncio.create_task(_replay(directory, places, banner))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({replaying, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if replaying.done():
            await replaying
    except sample.SampleError as error:
        log.exception("sample_not_replayed")
        banner.trouble(f"the sample was not replayed: {error}; the next start tries again")
    finally:
        for task in (replaying, stopping):
            task.cancel()
        await asyncio.gather(replaying, stopping, return_exceptions=True)


async def _replay(directory: DataDirectory, places: dict[str, Endpoint], banner: Banner) -> None:
    from millrace import AsyncClient
    from millrace.installation import find_installation

    door = places["ingest-service"]
    installation = find_installation({}, data=directory.root, port_offset=door.http_port - DOOR_PORT)
    async with AsyncClient(installation=installation) as client:
        with banner.replaying(sample.truth().lines) as progress:
            url = f"http://{HOST}:{door.http_port}/webhook/wechat"
            await sample.replay(directory, url, client, progress)
