"""Writes the Python code of `proto/` into libs/schemas; `--check` fails when it differs from what is committed."""

import argparse
import filecmp
import pathlib
import shutil
import sys
import tempfile

from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
TARGET = ROOT / "libs/schemas/src"
PACKAGES = ("idgen", "millrace")


def generate(into: pathlib.Path) -> None:
    """Generates messages, services and their type stubs below `into`, proto path = Python path."""
    files = [str(path.relative_to(PROTO)) for path in sorted(PROTO.rglob("*.proto"))]
    # The plugins stand beside the interpreter, which need not be on PATH.
    tools = pathlib.Path(sys.executable).parent
    code = protoc.main(
        [
            "protoc",
            *(f"--plugin={name}={tools / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")),
            f"-I{PROTO}",
            f"--python_out={into}",
            f"--grpc_python_out={into}",
            f"--mypy_out=quiet:{into}",
            f"--mypy_grpc_out=quiet:{into}",
            *files,
        ]
    )
    if code:
        sys.exit(code)


def differences(fresh: pathlib.Path) -> list[str]:
    """Generated files that are missing, superfluous or different in the tree."""
    found: list[str] = []
    for package in PACKAGES:
        new = {p.relative_to(fresh) for p in (fresh / package).rglob("*") if p.is_file()}
        old = {
            p.relative_to(TARGET)
            for p in (TARGET / package).rglob("*")
            if p.is_file() and "__pycache__" not in p.parts
        }
        found += [f"{name}: only one side has it" for name in map(str, new ^ old)]
        found += [
            f"{name}: differs"
            for name in new & old
            if not filecmp.cmp(fresh / name, TARGET / name, shallow=False)
        ]
    return sorted(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check: bool = parser.parse_args().check
    with tempfile.TemporaryDirectory() as directory:
        fresh = pathlib.Path(directory)
        generate(fresh)
        if check:
            if found := differences(fresh):
                sys.exit("generated code is stale, run `make proto`:\n  " + "\n  ".join(found))
            return
        for package in PACKAGES:
            shutil.rmtree(TARGET / package, ignore_errors=True)
            shutil.copytree(fresh / package, TARGET / package)


if __name__ == "__main__":
    main()
