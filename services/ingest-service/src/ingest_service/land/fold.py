"""Folding contact events into stored rows, the latest row per username (LAKE-41, LAKE-65). Pure.

Events are applied in any order and give the state of applying them in the order of `Place.order`:

* the row is that of the latest 1200 or 1202, or of the earliest 1201 while only those are known;
* it is deleted when a 1201 is later, and each key of extra_fields that such 1201s bring has the value of the
  latest of them that brings it.

What this takes to know is kept in two columns. `row_order` is the order of the row's event, with `-` before it
when that is a 1201. `delete_order` is the order of the latest 1201 after the row, empty for none. Nearly always
1201s bring nothing but the `deleteContactScene` of that latest one; else a second line of `delete_order` is a JSON
object of the keys that they brought, each with its order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from ingest_service.land.contacts import Event, Row
from ingest_service.land.values import compact

_ONLY_DELETED: Final = "-"
_SCENE: Final = "deleteContactScene"
_KEYS_FOLLOW: Final = "\n"


@dataclasses.dataclass(slots=True)
class _State:
    """A contact. `extra` are the row's own keys, `brought` those of later deletions: key -> (order, value)."""

    row: Row
    order: str
    only_deleted: bool
    extra: dict[str, Any]
    deleted: str
    brought: dict[str, tuple[str, Any]]


def folded(states: Mapping[str, Row], events: Iterable[Event]) -> dict[str, Row]:
    """The rows that change when these events are applied to the stored rows, by username."""
    changed: dict[str, Row] = {}
    for event in events:
        stored = changed.get(event.username) or states.get(event.username)
        row = _stored_form(_applied(None if stored is None else _read(stored), event))
        if row != stored:
            changed[event.username] = row
    return changed


def _applied(state: _State | None, event: Event) -> _State:
    if not event.deletion:
        return _with_row(state, event)
    if state is None:
        state = _State(event.row, event.order, only_deleted=True, extra={}, deleted="", brought={})
    elif state.only_deleted:
        if _earlier(event, state):
            state.row, state.order = event.row, event.order
    elif event.order <= state.order:
        return state
    state.deleted = max(state.deleted, event.order)
    for key, value in event.extra.items():
        if key not in state.brought or state.brought[key][0] < event.order:
            state.brought[key] = (event.order, value)
    return state


def _with_row(state: _State | None, event: Event) -> _State:
    """The row of the event, with what later deletions have done, unless a later row is known."""
    new = _State(event.row, event.order, only_deleted=False, extra=dict(event.extra), deleted="", brought={})
    if state is None:
        return new
    if not state.only_deleted and event.order <= state.order:
        return state
    if state.deleted > event.order:
        new.deleted = state.deleted
        new.brought = {
            key: (order, value) for key, (order, value) in state.brought.items() if order > event.order
        }
    return new


def _earlier(event: Event, state: _State) -> bool:
    """Whether the deletion comes before the one that gave the row. Rows of the first release have no order of it."""
    if state.order:
        return event.order < state.order
    return (event.row["src_file"], event.row["src_line"]) < (state.row["src_file"], state.row["src_line"])


def _read(row: Row) -> _State:
    order, only_deleted = row["row_order"], not row["row_order"]
    if order.startswith(_ONLY_DELETED):
        order, only_deleted = order[1:], True
    deleted, _, keys = row["delete_order"].partition(_KEYS_FOLLOW)
    extra = msgspec.json.decode(row["extra_fields"] or "{}")
    orders: dict[str, str] = msgspec.json.decode(keys) if keys else {_SCENE: deleted}
    if not only_deleted and deleted <= order:  # of the first release: the row came after it
        deleted, orders = "", {}
    brought = {key: (at, extra.pop(key)) for key, at in orders.items() if key in extra}
    return _State(row, order, only_deleted, extra, deleted, brought)


def _stored_form(state: _State) -> Row:
    """The row; equal for equal states, whatever they came from."""
    brought = sorted(state.brought.items(), key=lambda item: (item[1][0], item[0]))
    extra = {key: value for key, value in state.extra.items() if key not in state.brought}
    extra |= {key: value for key, (_, value) in brought}
    orders = {key: order for key, (order, _) in brought}
    usual = {_SCENE: state.deleted} if state.deleted and _SCENE in extra else {}
    return state.row | {
        "deleteFlag": 1 if state.deleted else state.row["deleteFlag"],
        "extra_fields": compact(extra) if extra else None,
        "row_order": (_ONLY_DELETED if state.only_deleted else "") + state.order,
        "delete_order": state.deleted + ("" if orders == usual else _KEYS_FOLLOW + compact(orders)),
    }
