"""Which letters somebody means, from texts: the same rules for the command, gRPC and HTTP."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from ingest_service.errors import BadArgumentError
from ingest_service.letters.letter import LetterId, Selection

MOST_IDS = 10_000

_Texts = Sequence[str] | None


def choice(
    *,
    ids: _Texts = None,
    everything: bool = False,
    start: str | None = None,
    end: str | None = None,
    error_type: _Texts = None,
    reason: _Texts = None,
    door: _Texts = None,
    file: _Texts = None,
) -> Selection:
    """Either ids, or conditions that all hold, or everything. Empty texts and lists are as if not given.

    Raises BadArgumentError that names what is wrong.
    """
    conditions = (start, end, error_type, reason, door, file)
    if [bool(ids), everything, any(conditions)].count(True) != 1:
        raise BadArgumentError("say which letters: by ids, or by conditions, or all of them")
    if ids and len(ids) > MOST_IDS:
        raise BadArgumentError(f"ids: {len(ids)} are given, at most {MOST_IDS} are possible")
    first, last = _day("start", start), _day("end", end)
    if first and last and first > last:
        raise BadArgumentError(f"start: {first} is after end {last}")
    return Selection(
        [LetterId.parsed(text) for text in ids] if ids else None,
        first,
        last,
        error_type or None,
        reason or None,
        door or None,
        file or None,
    )


def _day(name: str, text: str | None) -> datetime.date | None:
    if not text:
        return None
    try:
        day = datetime.date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:
        raise BadArgumentError(f"{name}: must be a day written YYYY-MM-DD")
    return day
