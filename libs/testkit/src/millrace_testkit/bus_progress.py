"""How far a lake is behind Kafka, and Kafka behind the journals of its doors, told from the outside."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from confluent_kafka import TopicCollection, TopicPartition, Uuid
from confluent_kafka.admin import AdminClient, OffsetSpec
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from millrace_testkit.progress import door_of, journal_lines, journal_roots

_ANSWER_WITHIN_S = 15.0


def unrelayed(door: Path, *, today: str | None = None) -> dict[str, str]:
    """The journals below a door's data directory, by door and day, whose lines are not all known to be on the bus; {}
    when level.

    Arguments as for `millrace_testkit.progress.unlanded`.
    """
    left: dict[str, str] = {}
    for root in journal_roots(door):
        name = door_of(root)
        positions = door / "metadata" / "relay" / f"{name}.json"
        saved = json.loads(positions.read_bytes())["journals"] if positions.exists() else {}
        for day, lines in journal_lines(root, today).items():
            relayed = saved.get(day, {"line": 0})["line"]
            if relayed != lines:
                left[f"{name}/{day}"] = f"line {relayed} of {lines} is relayed"
    return left


def unlanded_records(data: Path, bootstrap: str, topics: Iterable[str]) -> dict[str, str]:
    """The partitions whose records are not all in the lake below `data`, each with an explanation; {} when level.

    Kafka's end offsets are held against the transactions of the messages table.
    """
    ends = {name: end for name, end in end_offsets(bootstrap, topics).items() if end}
    if not ends:
        return {}
    try:
        table = DeltaTable(str(data / "parquet" / "messages"))
        positions = {name: table.transaction_version(f"lake/{name}") or 0 for name in ends}
    except (FileNotFoundError, DeltaError) as error:  # not created yet, or just being taken back
        return dict.fromkeys(ends, str(error))
    return {
        name: f"{positions[name]} of {end} records" for name, end in ends.items() if positions[name] != end
    }


def end_offsets(bootstrap: str, topics: Iterable[str]) -> dict[str, int]:
    """How many records each partition ever got, by `<topic id>/<partition>`. Raises KafkaException."""
    client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    known = client.list_topics(timeout=_ANSWER_WITHIN_S).topics
    if not (wanted := [topic for topic in topics if topic in known]):
        return {}
    described = client.describe_topics(TopicCollection(wanted), request_timeout=_ANSWER_WITHIN_S)
    found = {name: described[name].result(_ANSWER_WITHIN_S) for name in wanted}
    asked = {
        TopicPartition(name, partition.id): OffsetSpec.latest()
        for name, topic in found.items()
        for partition in topic.partitions
    }
    offsets = client.list_offsets(asked, request_timeout=_ANSWER_WITHIN_S)
    return {
        f"{_text(found[place.topic].topic_id)}/{place.partition}": answer.result(_ANSWER_WITHIN_S).offset
        for place, answer in offsets.items()
    }


def _text(topic_id: Uuid) -> str:
    """As Kafka itself writes it; the library's own text has `/` and `+` in one id of three."""
    return str(topic_id).translate({ord("/"): "_", ord("+"): "-"})
