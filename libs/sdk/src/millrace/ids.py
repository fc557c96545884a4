"""Ids: what was issued, and what an id says of itself."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from idgen.v1 import idgen_pb2
from millrace.installation import Installation

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Id:
    """An issued id. Sequence, worker and datacenter are 0 unless the algorithm is snowflake."""

    id: str
    algorithm: str
    timestamp: datetime
    sequence: int
    worker_id: int
    datacenter_id: int

    @classmethod
    def of(cls, answer: idgen_pb2.GenerateResponse) -> "Id":
        return cls(
            id=answer.id,
            algorithm=answer.algorithm,
            timestamp=_EPOCH + timedelta(milliseconds=answer.timestamp),
            sequence=answer.sequence,
            worker_id=answer.worker_id,
            datacenter_id=answer.datacenter_id,
        )


@dataclass(frozen=True, slots=True)
class ParsedId:
    """What an id says of itself (ID-34). `timestamp` is None where the algorithm keeps no time."""

    id: str
    numeric_value: str
    algorithm: str
    timestamp: datetime | None
    datacenter_id: int
    worker_id: int
    sequence: int
    biz_tag: str

    @classmethod
    def of(cls, answer: idgen_pb2.ParseResponse) -> "ParsedId":
        return cls(
            id=answer.id,
            numeric_value=answer.numeric_value,
            algorithm=answer.algorithm,
            timestamp=_EPOCH + timedelta(milliseconds=answer.timestamp) if answer.timestamp else None,
            datacenter_id=answer.datacenter_id,
            worker_id=answer.worker_id,
            sequence=answer.sequence,
            biz_tag=answer.biz_tag,
        )


def parse_request(
    id_text: str, installation: Installation, *, biz_tag: str, group: str, workspace: str, algorithm: str
) -> idgen_pb2.ParseRequest:
    """To be read as an id of a tag, which the service wants named in full, or without one."""
    if not biz_tag:
        return idgen_pb2.ParseRequest(id=id_text, algorithm=algorithm)
    return idgen_pb2.ParseRequest(
        id=id_text,
        workspace=workspace or installation.workspace(),
        group=group,
        biz_tag=biz_tag,
        algorithm=algorithm,
    )
