"""Landing on a temporary lake, without a bus: chunks are made by hand."""

import gzip
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ingest_service.lake.tables import Lake
from ingest_service.land.batch import Counts, build
from ingest_service.land.index.index import KeyIndex
from ingest_service.land.lander import Lander
from ingest_service.land.side import DeadLetter
from millrace_ports.bus.port import Chunk, Partition
from millrace_testkit.model.tables import read_rows

DAY = Partition("webhook.messages", "door-1/2026-03-14")
NOW_S = 1_773_500_000


class Landing:
    """A lander on a directory; another one on the same directory is another process's."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.lake = Lake(root / "parquet")
        self.rejected: list[DeadLetter] = []
        self.index = KeyIndex(self.lake.path("messages"), root / "metadata" / "key_index")
        self.lander = Lander(self.lake, self.index, reject=self.rejected.extend, now_s=lambda: NOW_S)

    def land(
        self, *payloads: bytes | dict[str, Any], partition: Partition = DAY, start: int | None = None
    ) -> Counts:
        """Lands these lines as the next ones of the partition."""
        position = self.lander.position(partition)
        return self.lander.commit(
            build(
                [self.chunk(payloads, partition, start if start is not None else position)],
                ingested_at_s=NOW_S,
            )
        )

    def take(self, *chunks: Chunk) -> Counts:
        """Lands these chunks, which follow what the lake holds, as one batch."""
        for chunk in chunks:
            self.lander.position(chunk.partition)
        return self.lander.commit(build(chunks, ingested_at_s=NOW_S))

    @staticmethod
    def chunk(
        payloads: Sequence[bytes | dict[str, Any]], partition: Partition = DAY, start: int = 0
    ) -> Chunk:
        values = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in payloads]
        end = start + len(values)
        return Chunk(
            partition,
            start,
            end,
            values,
            range(start + 1, end + 1),
            [1_773_450_000_000 + n for n in range(start, end)],
        )

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of a table, in journal order."""
        rows = read_rows(self.lake.path(table))
        return sorted(rows, key=lambda row: (row["src_file"], row["src_line"], row["src_element"]))


@pytest.fixture
def landing(tmp_path: pathlib.Path) -> Landing:
    return Landing(tmp_path)


@pytest.fixture
def another(tmp_path: pathlib.Path) -> Callable[[], Landing]:
    """Makes a second lander on the same directory."""
    return lambda: Landing(tmp_path)


def message(msg_id: Any = "7304418825596013377", **changes: Any) -> dict[str, Any]:
    """An ordinary message payload; `changes` replace or (None by `...`) remove keys of its data."""
    data = {
        "from_username": "wxid_a",
        "to_username": "wxid_b",
        "chatroom_sender": "",
        "create_time": 1773457547,
        "desc": "",
        "msg_id": msg_id,
        "msg_type": 1,
        "is_chatroom_msg": 0,
        "chatroom": "",
        "source": "",
        "content": "收到",
    } | changes
    return {"guid": "g-1", "notify_type": 1010, "data": {k: v for k, v in data.items() if v is not ...}}


def contact(username: str, notify_type: int = 1200, **keys: Any) -> dict[str, Any]:
    """A contact payload."""
    return {"guid": "g-1", "notify_type": notify_type, "data": {"userName": {"string": username}, **keys}}


def sample() -> list[bytes]:
    """The shipped sample's lines."""
    file = pathlib.Path(__file__).parents[4] / "services/standalone/src/standalone/sample"
    path = next(file.glob("*.jsonl.gz"))
    return gzip.decompress(path.read_bytes()).splitlines()
