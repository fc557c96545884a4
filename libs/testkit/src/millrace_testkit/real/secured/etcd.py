"""etcd behind mutual TLS, with users."""

from __future__ import annotations

import http.client
import ssl

from millrace_testkit.real.etcd import EtcdServer
from millrace_testkit.real.home import Home
from millrace_testkit.real.secured.certificates import Certificates
from millrace_testkit.real.secured.credentials import LIMITED, OWNER, Login


class SecuredEtcd(EtcdServer):
    """Wants a client certificate from each, and a name and password from who reads or writes."""

    _scheme = "https"

    def __init__(self, home: Home, certificates: Certificates) -> None:
        super().__init__(home)
        self.certificates = certificates

    def settings(self, login: Login = OWNER) -> dict[str, str]:
        """Variables with which a process of ours connects."""
        return {
            "MILLRACE_COORDINATION": self.url,
            "MILLRACE_ETCD_CA_FILE": str(self.certificates.ca),
            "MILLRACE_ETCD_CERT_FILE": str(self.certificates.certificate("client")),
            "MILLRACE_ETCD_KEY_FILE": str(self.certificates.key("client")),
            "MILLRACE_ETCD_USERNAME": login.name,
            "MILLRACE_ETCD_PASSWORD": login.password,
        }

    def _first_ready(self) -> None:
        """Users, then the switch that asks for them. `root` is a name that etcd gives."""
        for user in (Login("root", OWNER.password), OWNER, LIMITED):
            self._post("auth/user/add", name=user.name, password=user.password)
        for name in ("root", OWNER.name):
            self._post("auth/user/grant", user=name, role="root")
        self._post("auth/enable")

    def _settings(self) -> dict[str, str]:
        return super()._settings() | {
            "cert-file": str(self.certificates.certificate("server")),
            "key-file": str(self.certificates.key("server")),
            "client-cert-auth": "true",
            "trusted-ca-file": str(self.certificates.ca),
            "bcrypt-cost": "4",
        }

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        context = ssl.create_default_context(cafile=self.certificates.ca)
        context.load_cert_chain(self.certificates.certificate("client"), self.certificates.key("client"))
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout_s, context=context)
