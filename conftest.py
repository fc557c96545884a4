"""One run, quick tests first: what is cheap to know should be known early."""

import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

from millrace_testkit import backend_guard

pytest_plugins = ["millrace_testkit.real.fixtures"]

# An example may take its time on a busy host: properties are about results.
settings.register_profile("millrace", deadline=None)
settings.load_profile("millrace")

_LATER = ("real", "slow", "faults", "e2e")

_status = pytest.StashKey[int]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Unmarked tests first, then by the last of their markers in this order; otherwise as collected."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    return max((turn for turn, name in enumerate(_LATER, 1) if item.get_closest_marker(name)), default=0)


@pytest.fixture(autouse=True)
def _no_backend_unless_marked(request: pytest.FixtureRequest) -> Iterator[None]:
    """An unmarked test that touched a backend fails, also when it caught the error itself."""
    if any(request.node.get_closest_marker(name) for name in backend_guard.ALLOWED_MARKERS):
        yield
        return
    if asked := sorted(backend_guard.FIXTURES & set(request.fixturenames)):
        pytest.fail(f"a test without the marker `real` asks for {', '.join(asked)}", pytrace=False)
    backend_guard.install()
    backend_guard.reset()
    yield
    if touched := backend_guard.touched():
        pytest.fail(f"a test without the marker `real` touched {', '.join(touched)}", pytrace=False)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keeps the status for the very end."""
    session.config.stash[_status] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Ends here, with the summary as the last lines: DuckDB's bindings call every type that still lives when
    the interpreter is torn down a leak, at length."""
    if "duckdb" in sys.modules and _status in config.stash:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[_status])
