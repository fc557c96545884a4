"""How far the lake is behind the bus, also while no lake writer runs: the relay looks, for `millrace status`."""

from __future__ import annotations

import asyncio
from typing import Final

from ingest_service.land.positions import GROUP
from ingest_service.relay.observe import RelayObserver
from ingest_service.relay.publish import TOPIC
from millrace_ports.bus.port import ServerBus
from millrace_ports.errors import TopicMissingError
from millrace_runtime.logs import get_logger

log = get_logger(__name__)

_EVERY_S: Final = 2.0


async def watch_landing(bus: ServerBus, observer: RelayObserver) -> None:
    """Tell the observer every two seconds what lake writers have not reported as landed, until cancelled.

    While the bus cannot be asked nothing is told: a number that is old would be taken for one of now.
    """
    failing = False
    while True:
        try:
            observer.unlanded(await bus.group_lag(TOPIC, GROUP))
            failing = False
        except TopicMissingError:
            observer.unlanded({})
        except Exception as error:  # what the driver did not foresee must not end relaying either
            observer.unlanded({})
            if not failing:
                log.warning("landing_not_watched", error=str(error), error_type=type(error).__name__)
            failing = True
        await asyncio.sleep(_EVERY_S)
