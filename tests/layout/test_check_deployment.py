"""The check of the deployment files finds what is wrong with them."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tests.layout.conftest import ROOT, Overlay

OVERLAY = """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [service.yaml]
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: door}
spec:
  selector: {app: door}
  ports: [{port: 8000, targetport: 8000}]
"""


@pytest.fixture
def mistaken(tmp_path: Path) -> Path:
    """An overlay with a misspelt field, which a cluster would silently leave out."""
    (tmp_path / "kustomization.yaml").write_text(OVERLAY)
    (tmp_path / "service.yaml").write_text(SERVICE)
    return tmp_path


def test_a_misspelt_field_is_found(
    check_deployment: ModuleType, overlays: dict[str, Overlay], mistaken: Path
) -> None:
    problems = check_deployment.overlay_problems(check_deployment.kustomize(), mistaken)
    assert len(problems) == len(check_deployment.KUBERNETES)
    assert all("Service/door" in problem and "targetport" in problem for problem in problems)


def test_an_overlay_that_cannot_be_built_is_named(
    check_deployment: ModuleType, overlays: dict[str, Overlay], mistaken: Path
) -> None:
    (mistaken / "service.yaml").unlink()
    (problem,) = check_deployment.overlay_problems(check_deployment.kustomize(), mistaken)
    assert problem.startswith(f"{mistaken.name}: ")
    assert "service.yaml" in problem


@pytest.mark.parametrize(("required", "code"), [("0", 0), ("1", 1)])
def test_a_missing_tool_is_named_and_fails_only_where_all_is_required(
    tmp_path: Path, required: str, code: int
) -> None:
    (tmp_path / "scripts").mkdir()
    script = tmp_path / "scripts/check_deployment.py"
    script.write_text((ROOT / "scripts/check_deployment.py").read_text())
    environment = {
        "PATH": str(tmp_path),
        "HOME": os.environ.get("HOME", ""),
        "MILLRACE_REQUIRE_REAL": required,
    }
    done = subprocess.run(
        [sys.executable, str(script)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    assert "this machine lacks kustomize: install kubectl" in done.stderr
