"""Draws the sample that the first start replays from a larger file of webhook payloads.

    python scripts/draw_sample.py SOURCE.jsonl.gz

The same source always gives the same sample: whole groups (all lines of one message, contact or
notification, so that repeats and changes stay together), first a few of every kind, then others
at random, in the source's order. Writes the payloads and, beside them, what a lake must hold of
them, counted here without any of the product's code.
"""

import argparse
import collections
import gzip
import json
import pathlib
import random
from datetime import UTC, datetime
from typing import Any

TARGET = pathlib.Path(__file__).resolve().parent.parent / "services/standalone/src/standalone/sample"
LINES = 2_000
OF_EACH_KIND = 6
SEED = 20260105
MESSAGE_KEYS = frozenset(
    [
        "from_username",
        "to_username",
        "chatroom",
        "chatroom_sender",
        "msg_id",
        "msg_type",
        "create_time",
        "is_chatroom_msg",
        "content",
        "desc",
        "source",
    ]
)
CONTACT_TYPES = (1200, 1201, 1202)

Payload = dict[str, Any]


def key_of(payload: Payload, position: int) -> tuple[str, str]:
    """Dataset and business key; a notification without one is its own group."""
    kind, data = payload["notify_type"], payload["data"]
    if kind == 1010:
        return "message", data["msg_id"]
    if kind in CONTACT_TYPES:
        return "contact", data["userName"]["string"]
    return "other", str(position)


def kinds_of(group: list[Payload]) -> list[str]:
    """Everything that makes these payloads worth keeping a few of."""
    payload = group[0]
    kind, data = payload["notify_type"], payload["data"]
    repeated = ["repeat"] if len(group) > 1 else []
    if kind != 1010:
        return [f"notification {kind}", *(f"{name} {kind}" for name in repeated)]
    return [
        f"type {data['msg_type']}",
        f"room {data['is_chatroom_msg']}",
        f"source {type(data['source']).__name__}",
        f"day {datetime.fromtimestamp(data['create_time'], UTC).date()}",
        *(f"unknown {name}" for name in data.keys() - MESSAGE_KEYS),
        *repeated,
    ]


def draw(payloads: list[Payload]) -> list[int]:
    """Positions of the chosen payloads, in order."""
    groups: dict[tuple[str, str], list[int]] = collections.defaultdict(list)
    for position, payload in enumerate(payloads):
        groups[key_of(payload, position)].append(position)
    order = list(groups.values())
    random.Random(SEED).shuffle(order)  # noqa: S311 the draw must be repeatable, not secret
    seen: collections.Counter[str] = collections.Counter()
    needed, others = [], []
    for members in order:
        kinds = kinds_of([payloads[position] for position in members])
        rare = any(seen[kind] < OF_EACH_KIND for kind in kinds)
        (needed if rare else others).append(members)
        seen.update(kinds)
    chosen: list[int] = []
    for members in [*needed, *others]:
        if len(chosen) + len(members) <= LINES:
            chosen += members
    return sorted(chosen)


def truth(payloads: list[Payload]) -> dict[str, object]:
    """What a correct lake holds after these payloads."""
    messages = {p["data"]["msg_id"]: p["data"] for p in payloads if p["notify_type"] == 1010}
    contacts = [p["data"]["userName"]["string"] for p in payloads if p["notify_type"] in CONTACT_TYPES]
    message_lines = sum(p["notify_type"] == 1010 for p in payloads)
    days = collections.Counter(
        str(datetime.fromtimestamp(data["create_time"], UTC).date()) for data in messages.values()
    )
    return {
        "lines": len(payloads),
        "message_lines": message_lines,
        "distinct_messages": len(messages),
        "contact_lines": len(contacts),
        "distinct_contacts": len(set(contacts)),
        "other_lines": len(payloads) - message_lines - len(contacts),
        "messages_with_integer_source": sum(isinstance(data["source"], int) for data in messages.values()),
        "messages_with_null_type": sum(data["msg_type"] is None for data in messages.values()),
        "messages_with_unknown_key": sum(bool(data.keys() - MESSAGE_KEYS) for data in messages.values()),
        "messages_per_day": dict(sorted(days.items())),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=pathlib.Path)
    with gzip.open(parser.parse_args().source, "rb") as source:
        lines = source.read().splitlines()
    payloads = [json.loads(line) for line in lines]
    chosen = draw(payloads)
    TARGET.mkdir(parents=True, exist_ok=True)
    body = b"".join(lines[position] + b"\n" for position in chosen)
    # No time and no name in the gzip header: the same sample is the same file.
    (TARGET / "wechat_webhooks.jsonl.gz").write_bytes(gzip.compress(body, 9, mtime=0))
    found = truth([payloads[position] for position in chosen])
    (TARGET / "wechat_webhooks.truth.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
