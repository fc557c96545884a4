"""What the service and its SQL workers say to each other, each as one message of their pipe.

Service: `Ask`. Worker: `Wants` or `Failed`. Service, after `Wants`: `Given`, or `Ask` anew. Worker: `Answer` and after
it the Arrow IPC stream as a message of its own, or `Failed`.
"""

from collections.abc import Mapping
from enum import StrEnum
from multiprocessing.connection import Connection

import msgspec

from query_service.sql.moments import Bounds


class Fault(StrEnum):
    """Why there is no answer."""

    REFUSED = "refused"
    """The statement is not allowed, or not right."""
    TIME = "time"
    MEMORY = "memory"
    SIZE = "size"
    """More bytes than an answer may have."""
    FILES = "files"
    """It may be due to a data file."""


class WorkerSettings(msgspec.Struct, frozen=True):
    """How a worker runs statements. `roots`: directories whose files it may read."""

    roots: tuple[str, ...]
    scratch: str
    memory_mb: int
    scratch_mb: int
    threads: int


class Ask(msgspec.Struct, frozen=True, tag=True):
    """Look at this statement."""

    text: str


class Wants(msgspec.Struct, frozen=True, tag=True):
    """It is allowed, and needs these views; of messages those of this time."""

    views: tuple[str, ...]
    when: Bounds


class Given(msgspec.Struct, frozen=True, tag=True):
    """The views as SELECTs. Run it for so many seconds, and answer with at most so many rows and bytes."""

    views: Mapping[str, str]
    rows: int
    max_bytes: int
    time_s: float


class Answer(msgspec.Struct, frozen=True, tag=True):
    """`types` are those of SQL; `truncated`: there are more rows than asked for."""

    types: tuple[str, ...]
    rows: int
    truncated: bool


class Failed(msgspec.Struct, frozen=True, tag=True):
    """There is no answer."""

    fault: Fault
    message: str


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The worker has started. `landlock`: the version of Landlock that confines it, 0 for none."""

    landlock: int


Message = Ask | Wants | Given | Answer | Failed | Ready

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Message)


def send(connection: "Connection[bytes, bytes]", message: Message) -> None:
    """Send one message."""
    connection.send_bytes(_ENCODER.encode(message))


def receive(connection: "Connection[bytes, bytes]") -> Message:
    """The next message. Raises EOFError when the other side has gone."""
    message: Message = _DECODER.decode(connection.recv_bytes())
    return message
