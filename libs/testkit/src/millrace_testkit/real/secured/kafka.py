"""Kafka with users behind TLS, and the listeners of each other kind of security."""

from __future__ import annotations

from millrace_testkit.ports import free_port
from millrace_testkit.real.home import Home
from millrace_testkit.real.kafka import KafkaServer
from millrace_testkit.real.secured.certificates import Certificates
from millrace_testkit.real.secured.credentials import LIMITED, OWNER, Login

SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")
MECHANISMS = ("PLAIN", *SCRAM)

_ITERATIONS = 4096  # the fewest that SCRAM allows
_WRITTEN_WITHIN_S = 30.0


class SecuredKafka(KafkaServer):
    """`bootstrap` is SASL_SSL; `bootstrap_for` has a listener per protocol. Only the owner has rights."""

    def __init__(self, home: Home, certificates: Certificates) -> None:
        super().__init__(home)
        self.certificates = certificates
        self._ports = {"SASL_SSL": self.port, "SSL": free_port(), "SASL_PLAINTEXT": free_port()}
        self._broker_port = free_port()

    def bootstrap_for(self, protocol: str) -> str:
        """`host:port` of the listener of SASL_SSL, SSL (client certificate asked for) or SASL_PLAINTEXT."""
        return f"127.0.0.1:{self._ports[protocol]}"

    def settings(
        self, mechanism: str = "SCRAM-SHA-512", login: Login = OWNER, protocol: str = "SASL_SSL"
    ) -> dict[str, str]:
        """Variables with which a process of ours connects."""
        found = {
            "MILLRACE_BUS": f"kafka://{self.bootstrap_for(protocol)}",
            "MILLRACE_KAFKA_SECURITY_PROTOCOL": protocol,
        }
        if protocol.startswith("SASL"):
            found |= {
                "MILLRACE_KAFKA_SASL_MECHANISM": mechanism,
                "MILLRACE_KAFKA_SASL_USERNAME": login.name,
                "MILLRACE_KAFKA_SASL_PASSWORD": login.password,
            }
        if protocol.endswith("SSL"):
            found["MILLRACE_KAFKA_CA_FILE"] = str(self.certificates.ca)
        return found

    def _listeners(self) -> dict[str, tuple[str, int, int]]:
        found = {protocol: (protocol, port, port) for protocol, port in self._ports.items()}
        found["PROXIED"] = ("SASL_SSL", self.behind_proxy, self.proxied_port)
        found["BROKER"] = ("PLAINTEXT", self._broker_port, self._broker_port)
        return found

    def _settings(self) -> dict[str, str]:
        settings = super()._settings() | {
            "inter.broker.listener.name": "BROKER",
            "sasl.enabled.mechanisms": ",".join(MECHANISMS),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.certificates.both("server")),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.certificates.ca),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            # Who comes by a listener without users is ANONYMOUS, the broker itself among them.
            "super.users": f"User:{OWNER.name};User:ANONYMOUS",
            "allow.everyone.if.no.acl.found": "false",
        }
        for listener, (protocol, _port, _advertised) in self._listeners().items():
            if protocol.startswith("SASL"):
                prefix = f"listener.name.{listener.lower()}"
                settings[f"{prefix}.plain.sasl.jaas.config"] = _plain(OWNER, LIMITED)
                for mechanism in SCRAM:
                    settings[f"{prefix}.{mechanism.lower()}.sasl.jaas.config"] = _SCRAM_LOGIN
        return settings

    def _first_ready(self) -> None:
        """The users of SCRAM, which the broker keeps itself; those of PLAIN are in its settings."""
        from confluent_kafka import admin

        client = self.admin()
        # A request may name a user once, so each mechanism has its own.
        for mechanism in (admin.ScramMechanism.SCRAM_SHA_256, admin.ScramMechanism.SCRAM_SHA_512):
            info = admin.ScramCredentialInfo(mechanism, _ITERATIONS)
            users: list[admin.UserScramCredentialAlteration] = [
                admin.UserScramCredentialUpsertion(login.name, info, login.password.encode())
                for login in (OWNER, LIMITED)
            ]
            written = client.alter_user_scram_credentials(users, request_timeout=_WRITTEN_WITHIN_S)
            for one in written.values():
                one.result(_WRITTEN_WITHIN_S)

    def _client_settings(self) -> dict[str, str]:
        return {
            "bootstrap.servers": self.bootstrap,
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "PLAIN",
            "sasl.username": OWNER.name,
            "sasl.password": OWNER.password,
            "ssl.ca.location": str(self.certificates.ca),
        }


_SCRAM_LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


def _plain(*logins: Login) -> str:
    users = " ".join(f'user_{login.name}="{login.password}"' for login in logins)
    return f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
