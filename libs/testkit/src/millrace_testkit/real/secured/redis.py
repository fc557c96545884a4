"""Redis behind TLS, with users."""

from __future__ import annotations

import hashlib
from typing import Any

from millrace_testkit.real import programs
from millrace_testkit.real.home import Home
from millrace_testkit.real.redis import RedisServer
from millrace_testkit.real.secured.certificates import Certificates
from millrace_testkit.real.secured.credentials import LIMITED, OWNER, Login


class SecuredRedis(RedisServer):
    """TLS alone on its port; the user `default` is off."""

    def __init__(self, home: Home, certificates: Certificates) -> None:
        super().__init__(home)
        self.certificates = certificates

    @property
    def url(self) -> str:
        """Database 0 as the owner."""
        return self.url_for(OWNER)

    def url_for(self, login: Login) -> str:
        """Database 0 as somebody."""
        return f"rediss://{login.userinfo}@127.0.0.1:{self.port}/0"

    def settings(self, login: Login = OWNER) -> dict[str, str]:
        """Variables with which a process of ours connects."""
        return {"MILLRACE_KV": self.url_for(login), "MILLRACE_REDIS_CA_FILE": str(self.certificates.ca)}

    def new_database(self) -> str:
        """URL of a database that no test was given before, as the owner."""
        return f"rediss://{OWNER.userinfo}@127.0.0.1:{self.port}/{next(self._numbers)}"

    def _prepare(self) -> None:
        super()._prepare()
        settings = [
            "port 0",
            f"tls-port {self.port}",
            f"tls-cert-file {self.certificates.certificate('server')}",
            f"tls-key-file {self.certificates.key('server')}",
            f"tls-ca-cert-file {self.certificates.ca}",
            "tls-auth-clients no",
            "user default off",
            f"user {OWNER.name} on #{_sha256(OWNER)} ~* &* +@all",
            f"user {LIMITED.name} on #{_sha256(LIMITED)} resetkeys resetchannels -@all",
        ]
        (self.directory / "redis.conf").write_text("".join(f"{line}\n" for line in settings))

    def _command(self) -> list[str]:
        return [programs.redis_server(), str(self.directory / "redis.conf"), *self._options()]

    def _client_options(self) -> dict[str, Any]:
        return {
            "username": OWNER.name,
            "password": OWNER.password,
            "ssl": True,
            "ssl_ca_certs": str(self.certificates.ca),
        }


def _sha256(login: Login) -> str:
    return hashlib.sha256(login.password.encode()).hexdigest()
