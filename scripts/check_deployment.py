"""Checks the deployment files with the tools that will read them.

- every Kubernetes overlay is built by kustomize, and each of its objects held against the schemas of the oldest and
  the newest Kubernetes that the manifests are for, strictly;
- units, timers and CronJobs of the scheduled jobs are those that their definition gives (`--write` makes them);
- hadolint reads the Dockerfiles, `docker compose config` the compose file, `systemd-analyze verify` the units.

What was right is remembered below build/, by the content of the files: the next run takes no time. A tool that this
machine lacks is named; with MILLRACE_REQUIRE_REAL=1 that is a failure for kustomize, which can be had wherever Go or
kubectl is, and not for the two that belong to the machine.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
PASSED = ROOT / "build" / "check_deployment"

KUSTOMIZE = "sigs.k8s.io/kustomize/kustomize/v5@v5.8.1"
KUBERNETES = ("1.29", "1.34")
"""The oldest has sidecars, which the webhook door needs; the newest is the one that the manifests were tried on."""

JOBS = ["services/standalone/src/standalone/storage/jobs.yaml", "scripts/scheduled_jobs.py"]
"""The definition of the scheduled jobs, and what makes files of it."""

_OLDEST_KUBECTL = (1, 21)  # the first whose kustomize knows components


class MissingToolError(Exception):
    """This machine lacks the tool; the text says which, and how to get it."""


def kustomize() -> list[str]:
    """The command that builds an overlay: kubectl's, or one that Go builds below build/ once.

    Raises MissingToolError.
    """
    if _kubectl_version() >= _OLDEST_KUBECTL:
        return ["kubectl", "kustomize"]
    own = ROOT / "build" / "bin" / "kustomize"
    if not own.exists() and shutil.which("go"):
        _say(f"Building {KUSTOMIZE} below build/ ...")
        subprocess.run(
            ["go", "install", KUSTOMIZE],
            env={**os.environ, "GOBIN": str(own.parent), "GOFLAGS": "-mod=mod"},
            stdout=sys.stderr,
            check=False,
            timeout=900,
        )
    if own.exists():
        return [str(own), "build"]
    oldest = ".".join(map(str, _OLDEST_KUBECTL))
    raise MissingToolError(f"kustomize: install kubectl {oldest} or later, or Go to build it with")


def check_overlays() -> list[str]:
    """What is wrong with the Kubernetes manifests."""
    command = kustomize()
    overlays = sorted(path.parent for path in DEPLOY.glob("k8s/overlays/*/kustomization.yaml"))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [
            line
            for lines in pool.map(lambda overlay: overlay_problems(command, overlay), overlays)
            for line in lines
        ]


def check_dockerfiles() -> list[str]:
    """What hadolint says about the Dockerfiles."""
    files = [*DEPLOY.rglob("Dockerfile"), *DEPLOY.rglob("*.Dockerfile")]
    if not files:
        return []
    return _complaints(
        [str(Path(sys.executable).parent / "hadolint"), *(str(file.relative_to(ROOT)) for file in files)]
    )


def check_compose() -> list[str]:
    """What Docker says about the compose file. Raises MissingToolError."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and _succeeds([*command, "version"]):
            return _complaints([*command, "--file", "docker-compose.yml", "config", "--quiet"])
    raise MissingToolError("docker compose")


def check_units() -> list[str]:
    """What systemd says about the units. Raises MissingToolError."""
    if not shutil.which("systemd-analyze"):
        raise MissingToolError("systemd-analyze")
    units = [path for path in sorted((DEPLOY / "systemd").glob("millrace*")) if path.suffix in _UNITS]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(unit.name for unit in units)],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{DEPLOY / 'systemd'}:"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    # Only where Millrace is installed are its programs there. Of the rest, a mere warning is a mistake too.
    return [
        line
        for line in done.stderr.splitlines()
        if not line.endswith("is not executable: No such file or directory")
    ]


def check_jobs() -> list[str]:
    """What of the scheduled jobs' files is not as their definition says."""
    if not (ROOT / JOBS[0]).exists():
        return []
    import scheduled_jobs

    return list(scheduled_jobs.problems(DEPLOY))


_UNITS = {".service", ".target", ".timer"}

# Each with the files that it depends on, and whether a machine without its tool fails the check where all is required.
CHECKS: dict[str, tuple[Callable[[], list[str]], list[str], bool]] = {
    "kubernetes": (check_overlays, ["deploy/k8s"], True),
    "dockerfiles": (check_dockerfiles, ["deploy/docker", "deploy/lab"], True),
    "compose": (check_compose, ["docker-compose.yml", "deploy/compose"], False),
    "systemd": (check_units, ["deploy/systemd"], False),
    "jobs": (check_jobs, [*JOBS, "deploy/systemd", "deploy/k8s/components/storage-jobs"], True),
}


def main() -> int:
    """Run every check whose files changed since it passed; 1 if something is wrong.

    With `--write`, first make the files of the scheduled jobs anew.
    """
    if "--write" in sys.argv[1:]:
        import scheduled_jobs

        scheduled_jobs.write(DEPLOY)
    code = 0
    for name, (check, inputs, required) in CHECKS.items():
        mark = PASSED / f"{name}-{_digest(inputs)}"
        if mark.exists():
            continue
        try:
            problems = check()
        except MissingToolError as missing:
            failed = required and os.environ.get("MILLRACE_REQUIRE_REAL") == "1"
            _say(f"{name}: {'FAILED' if failed else 'not checked'}, this machine lacks {missing}")
            code |= failed
            continue
        for problem in problems:
            _say(f"{name}: {problem}")
        if problems:
            code = 1
        else:
            _remember(name, mark)
    return code


def built(overlay: Path, command: list[str]) -> Iterator[dict[str, Any]]:
    """The objects of one overlay. Raises CalledProcessError when it cannot be built."""
    import yaml

    done = subprocess.run([*command, str(overlay)], capture_output=True, text=True, check=True, timeout=60)
    yield from yaml.load_all(done.stdout, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def overlay_problems(command: list[str], overlay: Path) -> list[str]:
    """What is wrong with one overlay, a line each."""
    import kubernetes_validate
    from jsonschema import ValidationError

    try:
        objects = list(built(overlay, command))
    except subprocess.CalledProcessError as error:
        return [f"{overlay.name}: {error.stderr.strip()}"]
    problems = []
    for version in KUBERNETES:
        for thing in objects:
            what = f"{overlay.name}: {thing.get('kind')}/{thing.get('metadata', {}).get('name')}, Kubernetes {version}"
            try:
                kubernetes_validate.validate(thing, version, strict=True)
            except ValidationError as error:
                problems.append(f"{what}: {'.'.join(map(str, error.path))}: {error.message}")
            except kubernetes_validate.SchemaNotFoundError:
                problems.append(f"{what}: unknown kind")
    return problems


def _kubectl_version() -> tuple[int, int]:
    """(0, 0) without kubectl."""
    if not shutil.which("kubectl"):
        return 0, 0
    said = subprocess.run(
        ["kubectl", "version", "--client", "--output=json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    try:
        client = json.loads(said.stdout)["clientVersion"]
        return int(client["major"]), int(re.sub(r"\D.*", "", client["minor"]))
    except (ValueError, KeyError):
        return 0, 0


def _complaints(command: list[str]) -> list[str]:
    """The lines that a command says when it fails."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return said or [f"{command[0]} ended with {done.returncode}"] if done.returncode else []


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


def _digest(inputs: list[str]) -> str:
    """Of all files at or below `inputs`, their names, and this script."""
    files = [Path(__file__)]
    for place in (ROOT / name for name in inputs):
        files += sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]
    digest = hashlib.sha256()
    for file in files:
        content = file.read_bytes() if file.exists() else b""
        digest.update(f"{file.relative_to(ROOT)} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:32]


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _remember(name: str, mark: Path) -> None:
    PASSED.mkdir(parents=True, exist_ok=True)
    for earlier in PASSED.glob(f"{name}-*"):
        earlier.unlink()
    mark.touch()


if __name__ == "__main__":
    sys.exit(main())
