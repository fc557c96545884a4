"""What overlays/lab is tried with: the sample through the Service, then restarts, an upgrade and pods ended by
force, each under load. Prints what was refused in each step; at the end the lake must be exact, and query-service
must answer what is in it.

    python deploy/lab/trial.py [--rate 200] [--upgrade-to 1.0.1] [STEP...]      (KUBECONFIG says which cluster)

Runs on the node itself, whose directory /var/lib/millrace-lab holds journals and lake.
"""

import argparse
import base64
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx

from millrace_testkit.model import read_rows
from millrace_testkit.model.compare import compare, sums

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NODE = Path("/var/lib/millrace-lab")
NAMESPACE = "millrace-lab"
OWNERS = {"kafka": 1000, "etcd": 1000, "postgresql": 999, "redis": 999}
DOORS = ("journal-webhook-0", "journal-webhook-1")
STATEFUL = ("statefulset/webhook",)
DEPLOYMENTS = ("lake-writer", "maintenance", "query-service", "id-service", "auth-service")
WORKLOADS = (*STATEFUL, *(f"deployment/{name}" for name in DEPLOYMENTS))
SETTLED_WITHIN_S = 120
NEW = "--new-connections"


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    """Its output. Raises CalledProcessError, after showing why."""
    done = subprocess.run(
        ["kubectl", f"--namespace={NAMESPACE}", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.stderr.write(done.stderr)
        done.check_returncode()
    return done.stdout


def prepare() -> None:
    """The node's directories, each of the user that writes there: a hostPath is mounted as it is."""
    for name in ("lake", "objects", *DOORS, *OWNERS, "trial"):
        directory = NODE / name
        directory.mkdir(parents=True, exist_ok=True)
        shutil.chown(directory, OWNERS.get(name, 10001), OWNERS.get(name, 10001))
    shutil.copy(HERE / "sender.py", NODE / "trial")
    shutil.copy(ROOT / "tests/data/wechat_webhooks.jsonl.gz", NODE / "trial")


def up() -> None:
    """Apply the overlay and wait until all of it is ready."""
    prepare()
    began = time.monotonic()
    kubectl("apply", "--kustomize", str(ROOT / "deploy/k8s/overlays/lab"))
    kubectl("apply", "--filename", str(HERE / "trial.yaml"))
    for workload in (*(f"statefulset/{name}" for name in OWNERS), *WORKLOADS):
        kubectl("rollout", "status", workload, "--timeout=300s")
    kubectl("wait", "--for=condition=Ready", "pod/sender", "--timeout=60s")
    until(lambda: bool(kubectl("get", "secret", "first-keys", "--ignore-not-found")), "Secret first-keys")
    print(f"up: ready after {time.monotonic() - began:.0f} s")


class Load:
    """The sender, in its pod, until the block is left."""

    def __init__(self, name: str, *arguments: str) -> None:
        self.name = name
        self._arguments = arguments
        self.summary: dict[str, object] = {}

    def __enter__(self) -> "Load":
        command = [
            "kubectl",
            f"--namespace={NAMESPACE}",
            "exec",
            "sender",
            "--",
            "python",
            "/trial/sender.py",
        ]
        command += ["--door=webhook:8000", f"--name={self.name}", "--directory=/trial", *self._arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._lines: list[str] = []
        self._reader = threading.Thread(target=lambda: self._lines.extend(self._process.stdout or ()))
        self._reader.start()
        time.sleep(3)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.wait(600)
        self._reader.join()
        # What was refused comes by the other stream, so it may overtake the summary.
        self.summary = next(json.loads(line) for line in self._lines if line.startswith("{"))
        print(f"{self.name}: {self.summary}")
        for line in [line for line in self._lines if not line.startswith("{")][:20]:
            print(f"  {line.rstrip()}")


def sample(_: argparse.Namespace) -> None:
    """Every payload of the sample, through the Service."""
    with Load("sample", "--rate=400", "--bodies=/trial/wechat_webhooks.jsonl.gz"):
        pass


def restart(options: argparse.Namespace) -> None:
    """Every workload anew, one after the other, under load; by connections that stay, then by new ones."""
    for kind, arguments in (("kept", []), ("new", [NEW])):
        name = f"restart-{kind}-{int(time.time())}"
        with Load(name, f"--rate={options.rate}", f"--seconds={options.seconds}", *arguments):
            for workload in WORKLOADS:
                kubectl("rollout", "restart", workload)
            for workload in WORKLOADS:
                kubectl("rollout", "status", workload, "--timeout=300s")


def upgrade(options: argparse.Namespace) -> None:
    """Every workload to another version of its image, all at once, under load."""
    with Load(
        f"upgrade-{int(time.time())}",
        f"--rate={options.rate}",
        f"--seconds={options.seconds}",
        NEW,
    ):
        overlay = subprocess.run(
            ["kubectl", "kustomize", str(ROOT / "deploy/k8s/overlays/lab")],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        kubectl("apply", "--filename=-", stdin=overlay.replace(":1.0.0\n", f":{options.upgrade_to}\n"))
        for workload in WORKLOADS:
            kubectl("rollout", "status", workload, "--timeout=300s")


def force(options: argparse.Namespace) -> None:
    """Pods ended without a word, one after the other, under load: what a door was answering then is refused, and what
    comes until the cluster has noticed."""
    victims = ["webhook-0", "kafka-0", "webhook-1", "etcd-0", "postgresql-0", *DEPLOYMENTS]
    with Load(f"force-{int(time.time())}", f"--rate={options.rate}", f"--seconds={options.seconds}", NEW):
        for victim in victims:
            pod = _pod(victim) if victim in DEPLOYMENTS else victim
            killed = kill(pod)
            kubectl("delete", "pod", pod, "--grace-period=0", "--force")
            print(f"force: {pod}: {killed} processes killed, pod deleted")
            time.sleep(options.seconds / (len(victims) + 2))
    for workload in WORKLOADS:
        kubectl("rollout", "status", workload, "--timeout=300s")


def kill(pod: str) -> int:
    """SIGKILL for whatever runs in the pod, and how many processes that were: its forced deletion alone would send
    SIGTERM first, and wait."""
    uid = kubectl("get", "pod", pod, "--output=jsonpath={.metadata.uid}")
    processes = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cgroup") if uid in _text(path)]
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return len(processes)


def _text(path: Path) -> str:
    """What a file of /proc says; nothing when its process has ended."""
    try:
        return path.read_text()
    except OSError:
        return ""


def exact(_: argparse.Namespace) -> None:
    """The lake is what the journals of both doors say, and holds whatever was accepted."""
    data, journals = NODE / "lake", [NODE / door / "messages/raw" for door in DOORS]
    began = time.monotonic()
    differences = until(lambda: not compare(data, journals=journals), "the lake to be exact", fail=False)
    if not differences:
        for line in compare(data, journals=journals)[:20]:
            print(f"  {line}")
        raise SystemExit("the lake differs from the journals")
    print(f"exact: {sums(data, journals=journals)} ({time.monotonic() - began:.0f} s)")
    accepted = [line for file in (NODE / "trial").glob("*.accepted") for line in file.read_text().split()]
    stored = [row["msg_id"] for row in read_rows(data / "parquet/messages")]
    wanted = {msg_id for msg_id in accepted if not msg_id.startswith("sample-")}
    lost = wanted - set(stored)
    twice = len(stored) - len(set(stored))
    print(f"exact: {len(wanted)} messages were accepted, {len(lost)} of them lost, {twice} stored twice")
    if lost:
        raise SystemExit(f"lost: {sorted(lost)[:10]}")


def query(_: argparse.Namespace) -> None:
    """What query-service answers through its Service, with the installation's first key, is what the lake holds."""
    key = base64.b64decode(kubectl("get", "secret", "first-keys", "--output=jsonpath={.data.user_key}"))
    address = kubectl("get", "service", "query-service", "--output=jsonpath={.spec.clusterIP}")
    stored = sorted(row["msg_id"] for row in read_rows(NODE / "lake/parquet/messages"))
    days = sorted(path.name for path in (NODE / "lake/parquet/messages").glob("year=*/month=*/day=*"))
    began = time.monotonic()
    answer = httpx.get(
        f"http://{address}:8081/api/v1/messages",
        params={"start": "1970-01-01", "end": "2100-01-01", "columns": "msg_id"},
        headers={"X-API-Key": key.decode(), "Accept": "text/csv"},
        timeout=60,
    ).raise_for_status()
    answered = sorted(row["msg_id"] for row in csv.DictReader(answer.text.splitlines()))
    if answered != stored:
        raise SystemExit(f"query-service answers {len(answered)} rows, the lake holds {len(stored)}")
    took_s = time.monotonic() - began
    print(f"query: {len(answered)} rows of {len(days)} days, each as in the lake ({took_s:.1f} s)")


def _pod(deployment: str) -> str:
    """The name of one of its pods."""
    pods = kubectl("get", "pods", f"--selector=app.kubernetes.io/name={deployment}", "--output=name")
    return pods.split()[0].removeprefix("pod/")


def until(true: Callable[[], bool], what: str, *, fail: bool = True) -> bool:
    """Return when it is; False, or an error, when that takes too long."""
    deadline = time.monotonic() + SETTLED_WITHIN_S
    while not true():
        if time.monotonic() > deadline:
            if fail:
                raise SystemExit(f"waited {SETTLED_WITHIN_S} s for {what}")
            return False
        time.sleep(2)
    return True


STEPS: dict[str, Callable[[argparse.Namespace], None]] = {
    "up": lambda _: up(),
    "sample": sample,
    "restart": restart,
    "upgrade": upgrade,
    "force": force,
    "exact": exact,
    "query": query,
}


def main() -> None:
    """All steps, or those that are named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("steps", nargs="*", choices=[[], *STEPS], default=[])
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--upgrade-to", default="1.0.1")
    options = parser.parse_args()
    for name in options.steps or STEPS:
        STEPS[name](options)


if __name__ == "__main__":
    main()
