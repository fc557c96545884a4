"""The Tiltfile, read as Tilt reads it, as far as its names go: they are those of the repository and of overlays/dev."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from tests.layout.conftest import PROCESSES, ROOT, Overlay


class Calls:
    """What the Tiltfile asks of Tilt: (arguments, named arguments) by the name of the function."""

    def __init__(self) -> None:
        self.made: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = defaultdict(list)

    def function(self, name: str) -> Any:
        """One that notes how it was called."""

        def noted(*arguments: Any, **named: Any) -> None:
            self.made[name].append((arguments, named))

        return noted


@pytest.fixture(scope="module")
def calls() -> Calls:
    """Starlark of this kind is Python."""
    calls = Calls()
    names = ("docker_build", "fall_back_on", "sync", "run", "k8s_yaml", "kustomize", "k8s_resource")
    exec((ROOT / "Tiltfile").read_text(), {name: calls.function(name) for name in names})
    return calls


def test_what_is_copied_into_containers_is_here(calls: Calls) -> None:
    missing = [path for (path, _), _ in calls.made["sync"] if not (ROOT / path).is_dir()]
    missing += [
        path for (paths,), _ in calls.made["fall_back_on"] for path in paths if not (ROOT / path).exists()
    ]
    assert missing == []


def test_every_process_has_its_image_and_its_place(calls: Calls, overlays: dict[str, Overlay]) -> None:
    built = {image for (image, _), _ in calls.made["docker_build"]}
    assert built == {f"millrace/{process.command[0]}" for process in PROCESSES}
    placed = {name for (name,), _ in calls.made["k8s_resource"]}
    assert placed == {workload.name for workload in overlays["dev"].workloads()}


def test_an_image_is_built_from_every_manifest_and_its_own_code_alone(calls: Calls) -> None:
    manifests = {str(path.relative_to(ROOT)) for path in ROOT.glob("*/*/pyproject.toml")}
    for (image, _), build in calls.made["docker_build"]:
        built_from = set(build["only"])
        assert manifests <= built_from, image
        services = {
            path.split("/")[1] for path in built_from if path.startswith("services/") and "/src/" in path
        }
        assert services == {image.removeprefix("millrace/")}
