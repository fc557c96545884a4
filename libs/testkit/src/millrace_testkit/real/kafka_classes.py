"""Makes the archive of the broker's classes, with which it starts in a third of the time.

`python -m millrace_testkit.real.kafka_classes`: starts a broker once, and lets its JVM write down what it loaded.
"""

from __future__ import annotations

from pathlib import Path

from millrace_testkit.real import programs
from millrace_testkit.real.home import Home
from millrace_testkit.real.kafka import KafkaServer


class _Recorded(KafkaServer):
    """A broker whose JVM writes the archive `written` when it ends in good order."""

    written: Path

    def _command(self) -> list[str]:
        program, *arguments = super()._command()
        return [program, f"-XX:ArchiveClassesAtExit={self.written}", "-Xlog:cds=off", *arguments]

    def _class_data(self) -> list[str]:
        return []


def main() -> None:
    """Write the archive anew; it appears whole or not at all."""
    home = Home()
    try:
        broker = _Recorded(home)
        broker.written = programs.KAFKA_CLASSES.with_suffix(".new")
        broker.start()
        broker.stop()
        broker.written.replace(programs.KAFKA_CLASSES)
    finally:
        home.close()


if __name__ == "__main__":
    main()
