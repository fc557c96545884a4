"""PostgreSQL that asks for TLS and a password."""

from __future__ import annotations

import shutil
import ssl
from urllib.parse import quote

from millrace_testkit.real.home import Home
from millrace_testkit.real.postgresql import PostgresqlServer
from millrace_testkit.real.secured.certificates import Certificates
from millrace_testkit.real.secured.credentials import LIMITED, OWNER, Login


class SecuredPostgresql(PostgresqlServer):
    """Lets nobody in without TLS and SCRAM-SHA-256."""

    _password = OWNER.password

    def __init__(self, home: Home, certificates: Certificates) -> None:
        super().__init__(home)
        self.certificates = certificates

    def url_for(self, login: Login, database: str = "postgres", **parameters: str) -> str:
        """URL as somebody, by default with the server's certificate and name checked.

        `parameters` are libpq's and replace those of the same name.
        """
        checked = {"sslmode": "verify-full", "sslrootcert": str(self.certificates.ca)} | parameters
        query = "&".join(f"{name}={quote(value, safe='/')}" for name, value in checked.items())
        return f"postgresql://{login.userinfo}@127.0.0.1:{self.port}/{database}?{query}"

    def _url(self, database: str) -> str:
        return self.url_for(OWNER, database)

    def _prepare(self) -> None:
        super()._prepare()
        for kind in ("certificate", "key"):
            copy = self.directory / "data" / f"server.{kind}"
            shutil.copy(getattr(self.certificates, kind)("server"), copy)
            copy.chmod(0o600)  # the server refuses a key that others may read
            self._give(copy)
        (self.directory / "data" / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")

    def _first_ready(self) -> None:
        self._execute(
            f"CREATE ROLE {LIMITED.name} LOGIN PASSWORD '{LIMITED.password}';"
            "REVOKE ALL ON DATABASE postgres FROM PUBLIC; GRANT CONNECT ON DATABASE postgres TO PUBLIC;"
            "REVOKE ALL ON SCHEMA public FROM PUBLIC;"
        )

    def _settings(self) -> dict[str, str]:
        return super()._settings() | {
            "ssl": "on",
            "ssl_cert_file": "server.certificate",
            "ssl_key_file": "server.key",
        }

    def _client_tls(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=self.certificates.ca)
