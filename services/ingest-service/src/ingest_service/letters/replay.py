"""Dead letters into the lake after a fix, exactly once (LAKE-91, LAKE-64).

A letter lands under the origin that it had: a message is one of its msg_id, a contact change takes its place in the
order of changes, and a notification is one of its origin. So it makes no difference how often a letter is replayed, by
how many at once, where a kill stops one, or whether its line or a mended one has landed meanwhile. It is landed by the
code that lands journals, straight into the tables, behind any bus. What is refused again stays the letter that it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ingest_service.errors import BadArgumentError, BadDataError, NotFoundError, StorageIoError
from ingest_service.ingest.failures import ingest_errors
from ingest_service.ingest.session import LakePlaces, Session, Timing, landing_session
from ingest_service.jsontext import NotAnObject, parse_object
from ingest_service.lake.recover import mark_durable
from ingest_service.lake.tables import Lake
from ingest_service.land.held import LostRaceError
from ingest_service.land.positions import app_id
from ingest_service.land.refusal import Refused
from ingest_service.letters.landed import landed
from ingest_service.letters.letter import Letter, LetterId, Selection, count, letters
from ingest_service.letters.rebuilt import REPLAYS, Again, rebuilt
from ingest_service.letters.sources import Journals, Line, origin_of, whole
from millrace_runtime.crash import crash_point
from millrace_runtime.logs import get_logger

log = get_logger(__name__)

_ATTEMPTS: Final = 24
_NAMED: Final = 1000
"""Letters that are named in the outcome; all of them are counted."""

Progress = Callable[[int, int], None]
"""Told of letters that are done, and of how many there are."""


@dataclass(frozen=True, slots=True)
class StillRefused:
    """A letter that cannot become a row, as before or for another reason."""

    id: str
    error_type: str
    reason: str
    error_message: str


@dataclass(slots=True)
class Replayed:
    """What became of the letters that were meant.

    `landed`: they gave rows. `already_landed`: their rows were there, be it by an earlier replay or because the
    message came another way. `refused`: not mended; the first 1,000 of these in `still_refused`, all of them
    counted by error_type and reason in `reasons`.
    """

    selected: int = 0
    landed: int = 0
    already_landed: int = 0
    refused: int = 0
    still_refused: list[StillRefused] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)


def replay(
    wanted: Selection,
    parquet_root: str | Path,
    raw_dir: str | Path,
    *,
    body: bytes | None = None,
    timing: Timing | None = None,
    progress: Progress = lambda _done, _of: None,
) -> Replayed:
    """Land the letters that are meant, as far as they can become rows now.

    Args:
        wanted: which ones.
        parquet_root: the lake; its metadata lies beside it.
        raw_dir: the journals, for the exact time of receipt and the rest of a batch; they need not be there.
        body: a payload in place of the one letter's that `wanted` names; once it has a row, another one is not taken.
        timing: clock, sleep and patience, for tests.
        progress: told how far it is.

    Raises:
        NotFoundError: there is no such letter, or no lake.
        BadArgumentError: a `body` for more or less than one letter.
        BadDataError: a `body` that is no JSON object, or cannot become a row.
        StorageIoError, NoPermissionError: as landing does. A part may have landed: replay again.
    """
    places = LakePlaces.of(Path(parquet_root), Path(raw_dir))
    if body is not None:
        _check(wanted, body)
    with ingest_errors("replay_dead_letters", places.parquet):
        if not places.parquet.is_dir():
            raise NotFoundError(f"{places.parquet}: no such lake", source=places.parquet)
        lake = Lake(places.parquet)
        result = Replayed(count(lake, wanted))
        if not result.selected:
            raise NotFoundError("no dead letter is meant by that", source=places.parquet)
        if body is not None and result.selected > 1:
            raise BadArgumentError("a body is for one letter, and there are several of this origin")
        journals = Journals.beside(Path(raw_dir).expanduser().absolute())
        with landing_session(places, timing=timing) as session:
            done = 0
            for group in letters(lake, wanted):
                _replay(session, journals, group, body, result)
                done += len(group)
                progress(done, result.selected)
            session.tidy()
    log.info(
        "dead_letters_replayed",
        selected=result.selected,
        landed=result.landed,
        already_landed=result.already_landed,
        refused=result.refused,
    )
    if body is not None and result.still_refused:
        refused = result.still_refused[0]
        raise BadDataError(f"the body cannot become a row: {refused.error_message}", source=places.parquet)
    return result


def _check(wanted: Selection, body: bytes) -> None:
    if wanted.ids is None or len(wanted.ids) != 1:
        raise BadArgumentError("a body is for one letter: name it by its id")
    try:
        parse_object(body)
    except NotAnObject as error:
        raise BadDataError(f"the body is not a JSON object in UTF-8: {error.message}") from None


def _replay(
    session: Session, journals: Journals, group: Sequence[Letter], body: bytes | None, result: Replayed
) -> None:
    """Lands one group by one commit of each table."""
    lines = [journals.line(letter.id.door, letter.id.file, letter.id.line) for letter in group]
    for _ in range(_ATTEMPTS):
        try:
            _count(*session.persist("replay", lambda: _land(session, group, lines, body)), result)
        except LostRaceError as lost:
            log.info("replay_lost_race", reason=str(lost))
            continue
        return
    raise StorageIoError(f"other replays came in between {_ATTEMPTS} times in a row: replay again")


def _land(
    session: Session, group: Sequence[Letter], lines: Sequence[Line | None], body: bytes | None
) -> tuple[int, int, dict[LetterId, Refused]]:
    """How many landed, how many had before, and why not the others. Safe to repeat, whatever became of it."""
    position = _position(session)
    # The look comes after the position: whoever lands one of these letters in between moves it.
    there = landed(session.lake, [letter.id for letter in group])
    again = []
    for letter, line in zip(group, lines, strict=True):
        if letter.id not in there.datasets:
            guid = there.guids.get((letter.id.door, letter.id.file, letter.id.line))
            payload = whole(letter, line, guid) if body is None else body
            again.append(Again(letter, payload, origin_of(letter, line)))
    now_s = session.timing.clock.now_ms() // 1000
    made = rebuilt(again, position, ingested_at_s=now_s, mask=session.mask)
    before = len(group) - len(again)
    if made.batch is None:
        return 0, before, made.refused
    with session.lock.held():
        counts = session.lander.commit(made.batch)
    crash_point("AFTER_REPLAY_COMMIT")
    mark_durable(session.lake, session.places.metadata, session.lander.versions())
    repeats = min(counts.duplicates, len(made.taken))
    return len(made.taken) - repeats, before + repeats, made.refused


def _position(session: Session) -> int:
    """Where `REPLAYS` stands. A replay that was killed has perhaps brought a table further than the authority; its
    number is not given again, for other letters would be taken for those that the table has."""
    lander = session.lander
    position = lander.position(REPLAYS)
    app = app_id(REPLAYS, 0)
    furthest = max(
        session.lake.open(name).transaction_version(app) or 0 for name in ("other", "dead_letters")
    )
    return lander.skip(REPLAYS, furthest) if furthest > position else position


def _count(new: int, before: int, refused: dict[LetterId, Refused], result: Replayed) -> None:
    result.landed += new
    result.already_landed += before
    result.refused += len(refused)
    for origin, why in refused.items():
        result.reasons[f"{why.error_type} {why.reason}"] += 1
        if len(result.still_refused) < _NAMED:
            result.still_refused.append(StillRefused(str(origin), why.error_type, why.reason, why.message))
