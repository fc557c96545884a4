"""Makes the first keys of an installation once and keeps them in Secret `first-keys`; runs in a Job.

The Secret is a write-ahead record, as the credentials file is on a host: the texts of the keys are in it before they
are valid. So a Job that is killed at any moment is completed by the next one, two that run at once agree, and there is
no moment at which a key is valid and its text is nowhere:

1. read the Secret, or create it with new texts (of two that try, one creates it and the other reads it);
2. write it to the credentials file and run `auth-service bootstrap`, which enters the keys of the file in the database;
3. where the database has other keys already, the Secret having been lost, bootstrap replaces them in database and file:
   put the file's content back into the Secret.
"""

import base64
import json
import os
import secrets
import ssl
import string
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

NAME = "first-keys"
WORKSPACE = "demo"
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
FILE = Path(os.environ.get("MILLRACE_CREDENTIALS_FILE", ""))

_ALREADY_THERE = 409
_NOT_FOUND = 404


def main() -> int:
    """The Job's exit code."""
    cluster = Cluster()
    content = cluster.read() or cluster.created(new_credentials())
    FILE.touch(mode=0o600)
    FILE.write_text(content)
    code = subprocess.run(["auth-service", "bootstrap"], check=False).returncode
    if code == 0 and (now := FILE.read_text()) != content:
        cluster.replace(now)
    return code


def new_credentials() -> str:
    """The content of a credentials file whose keys are new."""
    keys = {"admin_key": new_key("global"), "user_key": new_key(WORKSPACE)}
    return json.dumps({"workspace": WORKSPACE, **keys}, indent=2) + "\n"


def new_key(owner: str) -> str:
    """A key's text: whose it is and 32 random letters or digits."""
    alphabet = string.ascii_letters + string.digits
    return f"idgen_{owner}_" + "".join(secrets.choice(alphabet) for _ in range(32))


class Cluster:
    """The Secret, by the cluster's API and the account of this pod. Raises HTTPError, URLError: the Job tries again."""

    def __init__(self) -> None:
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        host = f"[{host}]" if ":" in host else host
        namespace = (ACCOUNT / "namespace").read_text()
        self._secrets = f"https://{host}:{port}/api/v1/namespaces/{namespace}/secrets"
        self._trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))

    def read(self) -> str | None:
        """The credentials, None when there is no Secret."""
        try:
            found = self._call("GET", f"{self._secrets}/{NAME}")
        except urllib.error.HTTPError as error:
            if error.code == _NOT_FOUND:
                return None
            raise
        return base64.b64decode(found["data"]["credentials.json"]).decode()

    def created(self, content: str) -> str:
        """The credentials in the Secret, which are `content` unless another one was faster."""
        try:
            self._call("POST", self._secrets, content)
        except urllib.error.HTTPError as error:
            if error.code != _ALREADY_THERE:
                raise
            return self.read() or content
        return content

    def replace(self, content: str) -> None:
        """Put other credentials in the Secret's place."""
        self._call("PUT", f"{self._secrets}/{NAME}", content)

    def _call(self, method: str, url: str, content: str | None = None) -> Any:
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": NAME, "labels": {"app.kubernetes.io/part-of": "millrace"}},
            # The whole file for the command line, and each value for pods that refer to it.
            "stringData": {"credentials.json": content, **json.loads(content)} if content else {},
        }
        request = urllib.request.Request(
            url,
            data=json.dumps(secret).encode() if content else None,
            method=method,
            headers={
                "authorization": f"Bearer {(ACCOUNT / 'token').read_text()}",
                "content-type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=20, context=self._trust) as answer:
            return json.load(answer)


if __name__ == "__main__":
    sys.exit(main())
