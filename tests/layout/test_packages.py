"""An image is made of one package and what it depends on: the workspace's environment, which has everything, hides a
dependency that is not declared."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from tests.layout.conftest import ROOT

IMAGES = ("auth-service", "id-service", "ingest-service", "query-service")


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_holds_whatever_its_code_imports(image: str) -> None:
    held = set(installed(image, ()))
    missing = {
        (module, str(file.relative_to(ROOT)))
        for file in (ROOT / "services" / image / "src").rglob("*.py")
        for module in imported(file)
        if not distributions(module) & held
    }
    assert missing == set()


def imported(file: Path) -> Iterator[str]:
    """Names of the libraries that a module imports anywhere in it, not those of Python and of this repository."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        else:
            continue
        for library in {name.partition(".")[0] for name in names} - sys.stdlib_module_names:
            if distributions(library):
                yield library


@cache
def distributions(library: str) -> frozenset[str]:
    """Which of the installed packages have a module of that name."""
    return frozenset(
        re.sub(r"[-_.]+", "-", name).lower() for name in packages_distributions().get(library, ())
    )


def installed(name: str, extras: tuple[str, ...]) -> Iterator[str]:
    """The package and all that it depends on, as locked."""
    seen = set()
    wanted = [(name, extras)]
    while wanted:
        if (one := wanted.pop()) in seen:
            continue
        seen.add(one)
        yield one[0]
        for package in locked()[one[0]]:
            edges = list(package.get("dependencies", ()))
            for extra in one[1]:
                edges += package.get("optional-dependencies", {}).get(extra, ())
            wanted += [(edge["name"], tuple(edge.get("extra", ()))) for edge in edges]


@cache
def locked() -> dict[str, list[dict[str, Any]]]:
    """The packages of uv.lock by name; one may be there in several versions, for several Pythons."""
    packages: dict[str, list[dict[str, Any]]] = {}
    for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]:
        packages.setdefault(package["name"], []).append(package)
    return packages
