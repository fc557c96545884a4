"""Apache Kafka, one node that is broker and controller."""

from __future__ import annotations

import base64
import itertools
import subprocess
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from millrace_testkit.ports import free_port
from millrace_testkit.real import programs
from millrace_testkit.real.home import Home
from millrace_testkit.real.server import Server, ServerError
from millrace_testkit.stack import wait_until

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

_ANSWER_WITHIN_S = 2.0
_FORMATTED_WITHIN_S = 60.0
_DONE_WITHIN_S = 30.0


class KafkaServer(Server):
    """A broker without TLS and users. It never makes a topic by itself.

    Clients come by `bootstrap`; those who come by `proxied` find a second listener, which tells them to call
    `proxied` for everything: a test puts its proxy there, in front of `behind_proxy`.
    """

    name = "kafka"

    def __init__(self, home: Home, ports: Callable[[], int] = free_port) -> None:
        super().__init__(home)
        self.port = ports()
        self.proxied_port = ports()
        self.behind_proxy = ports()
        self._controller_port = ports()
        self._numbers = itertools.count(1)

    @property
    def bootstrap(self) -> str:
        """`host:port` for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The same as a URL."""
        return f"kafka://{self.bootstrap}"

    @property
    def proxied(self) -> str:
        """`host:port` that the second listener advertises; nobody listens there but a test's proxy."""
        return f"127.0.0.1:{self.proxied_port}"

    def new_prefix(self) -> str:
        """A prefix for names of topics and groups that no test was given before."""
        return f"test-{next(self._numbers)}."

    def delete_topics(self, names: Iterable[str]) -> None:
        """Delete those of these topics that exist, with what groups have stored about them, and wait until they are
        gone. Raises KafkaException."""
        client, wanted = self.admin(), set(names)

        def left() -> list[str]:
            return sorted(wanted & client.list_topics(timeout=_DONE_WITHIN_S).topics.keys())

        if there := left():
            for deleted in client.delete_topics(there, request_timeout=_DONE_WITHIN_S).values():
                deleted.result(_DONE_WITHIN_S)
        wait_until(lambda: not left(), _DONE_WITHIN_S, "the topics are gone")

    def admin(self) -> AdminClient:
        """A client that may do everything."""
        from confluent_kafka.admin import AdminClient

        return AdminClient({**self._client_settings(), "log_level": 0})

    def _prepare(self) -> None:
        programs.java()
        programs.kafka_class_path()
        self._directory.mkdir()
        self._configure()
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        done = subprocess.run(
            self._java(
                "kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", "-c", str(self._properties)
            ),
            capture_output=True,
            text=True,
            check=False,
            timeout=_FORMATTED_WITHIN_S,
        )
        if done.returncode != 0:
            raise ServerError(
                f"formatting Kafka's storage ended with {done.returncode}: {done.stderr[-2000:]}"
            )

    def _configure(self) -> None:
        self._write("server.properties", self._settings())
        (self._directory / "log4j2.properties").write_text(_LOGGING)

    def _command(self) -> list[str]:
        return self._java("kafka.Kafka", str(self._properties))

    def answers(self) -> bool:
        from confluent_kafka import KafkaException

        client = self.admin()  # its answers come only as long as it is held
        try:
            cluster = client.describe_cluster(request_timeout=_ANSWER_WITHIN_S).result(2 * _ANSWER_WITHIN_S)
        except (KafkaException, TimeoutError):
            return False
        return len(cluster.nodes) == 1

    def _client_settings(self) -> dict[str, str]:
        """How this class itself connects, in librdkafka's names."""
        return {"bootstrap.servers": self.bootstrap}

    def _listeners(self) -> dict[str, tuple[str, int, int]]:
        """Security protocol, port and advertised port of each listener for clients."""
        return {
            "PLAINTEXT": ("PLAINTEXT", self.port, self.port),
            "PROXIED": ("PLAINTEXT", self.behind_proxy, self.proxied_port),
        }

    def _settings(self) -> dict[str, str]:
        listeners = self._listeners()
        controller = f"127.0.0.1:{self._controller_port}"
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{controller}",
            "listeners": ",".join(
                [
                    *(f"{name}://127.0.0.1:{port}" for name, (_, port, _) in listeners.items()),
                    f"CONTROLLER://{controller}",
                ]
            ),
            "advertised.listeners": ",".join(
                f"{name}://127.0.0.1:{advertised}" for name, (_, _, advertised) in listeners.items()
            ),
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": ",".join(
                [
                    *(f"{name}:{protocol}" for name, (protocol, _, _) in listeners.items()),
                    "CONTROLLER:PLAINTEXT",
                ]
            ),
            "log.dirs": str(self._directory / "data"),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            # A broker that was killed is let in again when its old session has ended: 9 s by default.
            "broker.session.timeout.ms": "4000",
            "broker.heartbeat.interval.ms": "500",
        }

    @property
    def _properties(self) -> Path:
        return self._directory / "server.properties"

    def _write(self, name: str, settings: dict[str, str]) -> None:
        (self._directory / name).write_text("".join(f"{key}={value}\n" for key, value in settings.items()))

    def _java(self, main: str, *arguments: str) -> list[str]:
        return [
            *(programs.java(), "-Xmx512m", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true"),
            f"-Dlog4j2.configurationFile={self._directory / 'log4j2.properties'}",
            *self._class_data(),
            *("-cp", programs.kafka_class_path(), main, *arguments),
        ]

    def _class_data(self) -> list[str]:
        """Options of the JVM for its archive of classes; one that does not fit is left aside by the JVM."""
        if not programs.KAFKA_CLASSES.exists():
            return []
        return [f"-XX:SharedArchiveFile={programs.KAFKA_CLASSES}", "-Xshare:auto", "-Xlog:cds=off"]


_LOGGING = """\
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d] %p %m (%c)%n
rootLogger.level = WARN
rootLogger.appenderRef.console.ref = console
"""
