"""The process that runs statements, one at a time: `python -m query_service.sql.worker FD SETTINGS`.

It is started by `query_service.sql.workers`, and ends when its pipe does. Nothing that starts threads may be imported
before it is confined.
"""

import os
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

from query_service.sql.confine import confine_files, confine_memory
from query_service.sql.protocol import Ask, Given, Ready, WorkerSettings, receive, send

MARGIN_BYTES = 256 << 20
"""What expressions, batches and the answer may take beside the engine's own memory."""


def main() -> None:
    """Serve the pipe until it ends."""
    # Ctrl-C reaches every process of a terminal; this one ends with the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection: Connection[bytes, bytes] = Connection(int(sys.argv[1]))
    settings = msgspec.json.decode(sys.argv[2], type=WorkerSettings)
    landlock = confine_files(map(Path, settings.roots), Path(settings.scratch))
    from query_service.sql.running import Runner

    runner = Runner(settings)
    confine_memory((settings.memory_mb << 20) + MARGIN_BYTES)
    try:
        send(connection, Ready(landlock))
        while True:
            message = receive(connection)
            if isinstance(message, Ask):
                send(connection, runner.look_at(message.text))
            elif isinstance(message, Given):
                answer, stream = runner.run(message)
                send(connection, answer)
                if stream is not None:
                    connection.send_bytes(stream)
    except (EOFError, OSError):
        # The service has gone, or has done with this worker: nothing is left to be put in order.
        os._exit(0)


if __name__ == "__main__":
    main()
