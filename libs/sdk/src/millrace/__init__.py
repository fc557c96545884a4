"""Millrace for applications: typed clients and the command line.

    from millrace import Client

    with Client() as client:
        client.publish([{"guid": "…", "notify_type": 1010, "data": {…}}])
        page = client.search("2026-01-01", "2026-01-31", msg_type=[1, 49], limit=100)
        order = client.generate("order-id").id

Names are loaded when first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

# The generated contracts live in the same package (`millrace.ingest.v1`, …) but in another
# distribution, millrace-schemas, so that services need not install the SDK.
__path__ = __import__("pkgutil").extend_path(__path__, __name__)

__version__ = "1.0.0"

if TYPE_CHECKING:
    from millrace.aio import AsyncClient as AsyncClient
    from millrace.client import Client as Client
    from millrace.errors import MillraceError as MillraceError
    from millrace.installation import Installation as Installation

_HOMES = {
    "AsyncClient": "millrace.aio",
    "Client": "millrace.client",
    "Installation": "millrace.installation",
    "MillraceError": "millrace.errors",
}


def __getattr__(name: str) -> object:
    if home := _HOMES.get(name):
        return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
