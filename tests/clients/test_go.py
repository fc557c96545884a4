"""A client in Go, of which everything but its own file is generated from `proto/`, publishes and queries."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from millrace.installation import find_installation
from millrace_testkit.builders import FIRST_SECOND, message
from millrace_testkit.crash import ROOT
from millrace_testkit.stack import Stack

pytestmark = [pytest.mark.real, pytest.mark.slow]

MODULE = "millrace.test/client"
PROTOS = tuple(
    f"millrace/{name}.proto" for name in ("events/v1/envelope", "ingest/v1/ingest", "query/v1/query")
)
DAY = "2026-03-05"
BUILT_WITHIN_S = 280
ANSWERED_WITHIN_S = 90


@pytest.fixture
def client(tmp_path: Path) -> Path:
    """The program, built from `proto/` and `go/`."""
    if shutil.which("go") is None:
        pytest.skip("no go on PATH")
    module = tmp_path / "client"
    shutil.copytree(Path(__file__).with_name("go"), module)
    fetched = subprocess.run(
        ["go", "mod", "download"],
        cwd=module,
        capture_output=True,
        text=True,
        timeout=BUILT_WITHIN_S,
        check=False,
    )
    if fetched.returncode != 0:
        pytest.skip(f"no Go modules to be had: {fetched.stderr.strip()[-300:]}")
    plugins = [
        "google.golang.org/protobuf/cmd/protoc-gen-go",
        "google.golang.org/grpc/cmd/protoc-gen-go-grpc",
    ]
    build(module, "tools/", *plugins)
    generate(module)
    build(module, "program", ".")
    return module / "program"


def build(module: Path, into: str, *packages: str) -> None:
    """`go build` of these packages."""
    subprocess.run(["go", "build", "-o", into, *packages], cwd=module, check=True, timeout=BUILT_WITHIN_S)


def generate(module: Path) -> None:
    """The code of PROTOS below `gen`, each file in the package that its path names."""
    packages = {name: f"{MODULE}/gen/{Path(name).parent}" for name in PROTOS}
    arguments = [f"-I{ROOT / 'proto'}"]
    for plugin in ("go", "go-grpc"):
        arguments += [
            f"--plugin={module / 'tools' / f'protoc-gen-{plugin}'}",
            f"--{plugin}_out={module}",
            f"--{plugin}_opt=module={MODULE}",
            *(f"--{plugin}_opt=M{name}={package}" for name, package in packages.items()),
        ]
    protoc = [sys.executable, "-m", "grpc_tools.protoc", *arguments, *PROTOS]
    subprocess.run(protoc, check=True, timeout=BUILT_WITHIN_S)


@pytest.mark.timeout(600)
def test_a_go_client_publishes_and_queries(client: Path, tmp_path: Path) -> None:
    payloads = [message(f"730441883250000000{n}", FIRST_SECOND, msg_type=n) for n in range(5)]
    with Stack.embedded(tmp_path / "installation") as stack:
        everything = stack.up().wait_ready()
        installation = find_installation({}, data=stack.data, port_offset=everything.offset)
        done = subprocess.run(
            [
                str(client),
                installation.grpc_address("ingest-service"),
                installation.grpc_address("query-service"),
                DAY,
                *(payload.decode() for payload in payloads),
                "no JSON",
            ],
            env=os.environ | {"MILLRACE_API_KEY": installation.require_key()},
            capture_output=True,
            text=True,
            timeout=ANSWERED_WITHIN_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        everything.stop()
    assert found["accepted"] == 5
    assert found["rejected"] == ["malformed"]
    assert found["messages"] == {f"730441883250000000{n}": n for n in range(5)}
