"""A process pays only for what it uses."""

import subprocess
import sys

import pytest

HEAVY = ("grpc", "fastapi", "starlette", "granian", "uvloop", "opentelemetry")


LIGHT = (
    "auth clock crash edge errors health http listen logs management metrics process service settings startup "
    "tracing"
)


@pytest.mark.parametrize("module", LIGHT.split())
def test_importing_a_module_loads_no_server(module: str) -> None:
    code = f"import sys, millrace_runtime.{module}; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_our_grpc_module_uses_the_real_grpc() -> None:
    import grpc

    from millrace_runtime import grpc as ours

    assert ours.grpc is grpc
    assert grpc.aio.__name__ == "grpc.aio"
