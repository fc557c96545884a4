"""Whether everything that a door answered with 200 is really there."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from millrace_testkit.model.tables import read_dataset
from millrace_testkit.progress import journal_roots


def lost(data: Path | Sequence[Path], acknowledged: Iterable[bytes]) -> Counter[bytes]:
    """Acknowledged bodies that the journals do not hold as often as they were acknowledged.

    `data` is the data directory, of several doors those of all.

    A body is to be a line of a raw journal, or a reject line of the door with the whole body in it
    (LAKE-10, LAKE-12). Bodies are single lines, so that a line is the body, byte by byte.
    """
    kept: Counter[bytes] = Counter()
    for directory in [data] if isinstance(data, Path) else data:
        kept += _kept(directory)
    return Counter(acknowledged) - kept


def lost_messages(data: Path, acknowledged: Iterable[bytes]) -> set[str]:
    """msg_ids of acknowledged bodies without a row; the body alone is asked, no journal and no model."""
    wanted = {message["msg_id"] for body in acknowledged if (message := _ordinary(body))}
    return wanted - {row["msg_id"] for row in read_dataset(data, "messages")}


def door_rejects(data: Path) -> list[bytes]:
    """The bodies in the reject journal that the door put there, whole; not those of the landing side."""
    bodies = []
    for file in sorted((data / "messages" / "rejected").glob("*.jsonl")):
        for line in file.read_bytes().splitlines():
            entry = json.loads(line)
            if "origin" not in entry:
                text, encoded = entry["body_text"], entry["body_base64"]
                bodies.append(text.encode() if encoded is None else base64.b64decode(encoded))
    return bodies


def _kept(data: Path) -> Counter[bytes]:
    kept = Counter(door_rejects(data))
    for root in journal_roots(data):
        for journal in root.glob("*.jsonl"):
            kept.update(line for line in journal.read_bytes().split(b"\n") if line)
    return kept


def _ordinary(body: bytes) -> dict[str, str] | None:
    """The data of an ordinary and complete message, None for any other body."""
    try:
        payload = json.loads(body)
    except ValueError:
        return None
    if not isinstance(payload, dict) or payload.get("notify_type") != 1010:
        return None
    data: dict[str, str] = payload["data"]
    return data if data["from_username"] else None
