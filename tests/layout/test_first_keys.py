"""The Job of the first keys, with what it uses of the cluster's API and the real `auth-service bootstrap`."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sqlite3
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.layout.conftest import DEPLOY

SCRIPT = DEPLOY / "k8s/base/auth-service/first_keys.py"
NAMESPACE = "millrace-test"
TOKEN = "the pod's own token"
WITHIN_S = 60


@dataclass
class Cluster:
    """The Secrets of one namespace, and who asked for what."""

    port: int
    account: Path
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """As the API of Kubernetes does for get, create and update."""
        self.asked.append(method)
        base, _, name = path.partition("/secrets")
        assert base == f"/api/v1/namespaces/{NAMESPACE}"
        name = name.lstrip("/") or body["metadata"]["name"]
        there = name in self.secrets
        if method == "POST" and there:
            return 409, {"reason": "AlreadyExists"}
        if method != "POST" and not there:
            return 404, {"reason": "NotFound"}
        if method != "GET":
            self.secrets[name] = body["stringData"]
        return 200, {
            "data": {
                key: base64.b64encode(text.encode()).decode() for key, text in self.secrets[name].items()
            }
        }


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """By TLS, as in a pod: its address in the environment, its certificate and the token in files."""
    authority = trustme.CA()
    account = tmp_path / "account"
    account.mkdir()
    authority.cert_pem.write_to_path(str(account / "ca.crt"))
    (account / "token").write_text(TOKEN)
    (account / "namespace").write_text(NAMESPACE)

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            assert self.headers["authorization"] == f"Bearer {TOKEN}"
            body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
            status, content = state.answer(self.command, self.path, body)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        do_GET = do_POST = do_PUT = respond  # noqa: N815 the names that the server looks for

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    state = Cluster(server.server_port, account)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass(frozen=True)
class Job:
    """Runs of the Job over one database; each is a pod of its own, with an empty file system."""

    cluster: Cluster
    directory: Path

    def run(self) -> None:
        """Until it has ended well."""
        keys = self.directory / f"keys-{len(self.cluster.asked)}"
        keys.mkdir()
        # The account's directory is fixed in a pod.
        program = (
            "import importlib.util, pathlib, sys\n"
            f"spec = importlib.util.spec_from_file_location('first_keys', {str(SCRIPT)!r})\n"
            "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)\n"
            f"module.ACCOUNT = pathlib.Path({str(self.cluster.account)!r})\n"
            "sys.exit(module.main())\n"
        )
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.cluster.port),
            "MILLRACE_AUTH_DATABASE_URL": f"sqlite+aiosqlite:///{self.database}",
            "MILLRACE_CREDENTIALS_FILE": str(keys / "credentials.json"),
            "MILLRACE_CREDENTIALS_RENEW": "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=WITHIN_S,
        )
        assert done.returncode == 0, done.stderr

    @property
    def database(self) -> Path:
        """auth-service's."""
        return self.directory / "auth.sqlite"

    def works(self, text: str) -> bool:
        """Whether the database knows the key and has not revoked it."""
        connection = sqlite3.connect(self.database)
        try:
            found = connection.execute(
                "SELECT enabled FROM api_keys WHERE key_hash = ?",
                (hashlib.sha256(text.encode()).hexdigest(),),
            ).fetchone()
        finally:
            connection.close()
        return found is not None and bool(found[0])


@pytest.fixture
def job(cluster: Cluster, tmp_path: Path) -> Job:
    """Over an empty database."""
    return Job(cluster, tmp_path)


def test_the_first_run_makes_keys_that_work(job: Job) -> None:
    job.run()
    secret = job.cluster.secrets["first-keys"]
    assert json.loads(secret["credentials.json"]) == {
        name: secret[name] for name in ("workspace", "admin_key", "user_key")
    }
    assert job.works(secret["admin_key"])
    assert job.works(secret["user_key"])


def test_a_later_run_leaves_them_as_they_are(job: Job) -> None:
    job.run()
    secret = dict(job.cluster.secrets["first-keys"])
    job.run()
    assert job.cluster.secrets["first-keys"] == secret
    assert "PUT" not in job.cluster.asked
    assert job.works(secret["user_key"])


def test_a_run_that_ended_after_the_secret_is_completed(job: Job) -> None:
    job.run()
    secret = dict(job.cluster.secrets["first-keys"])
    job.database.unlink()  # as if the run had been killed before anything was in the database
    job.run()
    assert job.cluster.secrets["first-keys"] == secret
    assert job.works(secret["admin_key"])


def test_a_lost_secret_is_made_anew_and_the_keys_of_the_old_one_end(job: Job) -> None:
    job.run()
    lost = job.cluster.secrets.pop("first-keys")
    job.run()
    secret = job.cluster.secrets["first-keys"]
    assert job.works(secret["admin_key"])
    assert job.works(secret["user_key"])
    assert not job.works(lost["admin_key"])
    assert not job.works(lost["user_key"])
