"""The latest row per username, whatever the order of arrival."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_service.land.contacts import Event, Row, contact_event
from ingest_service.land.fold import folded
from ingest_service.land.kinds import Contact
from ingest_service.land.places import Place
from ingest_service.land.refusal import Refused

from .conftest import DAY, Landing, contact


def event(line: int, notify_type: int = 1200, **data: Any) -> Event:
    payload = contact("wxid_a", notify_type, **data)
    return contact_event(Contact("g", notify_type, payload["data"], {}), place(line), 1_773_500_000)


def place(line: int) -> Place:
    return Place(DAY, line, "door-1", "2026-03-14.jsonl", line, 0, "2026-03-14", 1_773_450_000_000 + line)


def state(*events: Event) -> Row:
    return folded({}, events)["wxid_a"]


def test_latest_by_journal_position_wins() -> None:
    """LAKE-65, LAKE-S20."""
    row = state(event(2, alias="B"), event(1, alias="A"))
    assert row["alias"] == "B"


def test_deletion_keeps_the_other_columns() -> None:
    """LAKE-41."""
    row = state(event(1, alias="A", mobile="13905718264"), event(2, 1201, deleteContactScene=2))
    assert (row["alias"], row["mobile"], row["deleteFlag"]) == ("A", "13905718264", 1)
    assert json.loads(row["extra_fields"]) == {"deleteContactScene": 2}
    again = state(event(1, alias="A"), event(2, 1201, deleteContactScene=2), event(3, alias="C"))
    assert (again["alias"], again["deleteFlag"], again["extra_fields"]) == ("C", 0, None)


def test_deletion_of_an_unknown_contact_leaves_defaults() -> None:
    row = state(event(1, 1201, deleteContactScene=2))
    assert (row["username"], row["deleteFlag"], row["nickName"], row["sex"]) == ("wxid_a", 1, "{}", 0)


changes = st.tuples(
    st.sampled_from([1200, 1201, 1201, 1202]),
    st.dictionaries(st.sampled_from(["deleteContactScene", "reaction", "alias"]), st.integers(0, 9)),
    st.sampled_from(["door-1", "door-2", "topic-id/0"]),
    st.integers(0, 2),
)


@given(st.lists(changes, min_size=1, max_size=6), st.data())
def test_any_order_gives_the_state_of_the_one_order(
    drawn: list[tuple[int, dict[str, int], str, int]], data: st.DataObject
) -> None:
    """LAKE-65, over doors and producers without a journal, in any order and any batches, some of it twice."""
    events = [
        event_at(place_at(line, door, 1_773_450_000_000 + at_ms), kind, keys)
        for line, (kind, keys, door, at_ms) in enumerate(drawn, 1)
    ]
    wanted = by_the_sheet(sorted(events, key=lambda one: one.order))
    stored: dict[str, Row] = {}
    arriving = data.draw(st.permutations(events + data.draw(st.lists(st.sampled_from(events), max_size=3))))
    while arriving:
        cut = data.draw(st.integers(1, len(arriving)))
        stored |= folded(stored, arriving[:cut])
        arriving = arriving[cut:]
    got = stored["wxid_a"]
    assert {key: got[key] for key in wanted.keys() - {"extra_fields"}} == {
        key: wanted[key] for key in wanted.keys() - {"extra_fields"}
    }
    assert json.loads(got["extra_fields"] or "{}") == wanted["extra_fields"]
    assert stored == folded({}, sorted(events, key=lambda one: one.order))


def place_at(line: int, door: str, received_at_ms: int) -> Place:
    file = "2026-03-14.jsonl" if door.startswith("door") else "webhook.messages"
    return Place(DAY, line, door, file, line, 0, "2026-03-14", received_at_ms)


def event_at(place: Place, kind: int, keys: dict[str, int]) -> Event:
    data = contact("wxid_a", kind, **keys)["data"]
    return contact_event(Contact("g", kind, data, {}), place, 1_773_500_000)


def by_the_sheet(events: list[Event]) -> Row:
    """LAKE-41 one event after the other: a 1200 replaces, a 1201 keeps the columns and adds its keys."""
    row: Row | None = None
    for one in events:
        if row is None or not one.deletion:
            row = one.row | {"extra_fields": dict(one.extra)}
        else:
            row = row | {"extra_fields": row["extra_fields"] | one.extra}
        if one.deletion:
            row["deleteFlag"] = 1
    assert row is not None
    return row


def test_rows_of_the_first_release_are_gone_on_with() -> None:
    """They say nothing of the order of a first deletion, and keep that of a deletion before the row."""
    first, second = event(1, 1201, deleteContactScene=2), event(2, 1201, deleteContactScene=3)
    old = folded({}, [first])["wxid_a"] | {"row_order": ""}
    assert folded({"wxid_a": old}, [second])["wxid_a"]["extra_fields"] == '{"deleteContactScene":3}'
    assert folded({"wxid_a": old}, [event(3, alias="C")])["wxid_a"]["alias"] == "C"
    overtaken = folded({}, [event(3, alias="C")])["wxid_a"] | {"delete_order": first.order}
    assert folded({"wxid_a": overtaken}, [event(4, 1201)])["wxid_a"]["extra_fields"] is None
    assert folded({"wxid_a": overtaken}, [event(2, alias="B")]).get("wxid_a", overtaken)["alias"] == "C"


@pytest.mark.parametrize(
    ("value", "text", "raw"),
    [
        ({"string": "王"}, '{"string":"王"}', None),
        (None, "{}", None),
        ("", "{}", None),
        ('{"a":1}', '{"a":1}', None),
        ("王敏", '{"string":"王敏"}', None),
        ("{broken", "{}", "{broken"),
        ("[broken", "{}", "[broken"),
    ],
)
def test_json_string_fields(value: Any, text: str, raw: str | None) -> None:
    """LAKE-52."""
    row = state(event(1, nickName=value))
    assert row["nickName"] == text
    assert json.loads(row["extra_fields"] or "{}").get("nickName_raw") == raw


def test_names_in_their_order() -> None:
    """LAKE-4.2: userName.string, else username, else tpUsername."""
    for data, name in (
        ({"userName": {"string": "a"}, "username": "b", "tpUsername": "c"}, "a"),
        ({"userName": {}, "username": "b", "tpUsername": "c"}, "b"),
        ({"tpUsername": "c", "nickname": "n"}, "c"),
        ({"userName": "bare"}, "bare"),
    ):
        got = contact_event(Contact("g", 1202, data, {}), place(1), 0)
        assert got.username == name


def test_values_out_of_range_are_refused_by_name() -> None:
    for data, field in (
        ({"sex": 3}, "sex"),
        ({"contactType": -1}, "contactType"),
        ({"deleteFlag": "x"}, "deleteFlag"),
    ):
        with pytest.raises(Refused) as refused:
            event(1, **data)
        assert refused.value.fields == (field,)


def test_many_contacts_merge_once_each(landing: Landing) -> None:
    lines = [contact(f"wxid_{n % 7}", alias=str(n)) for n in range(50)]
    for part in itertools.batched(lines, 9) if hasattr(itertools, "batched") else (lines[:20], lines[20:]):
        landing.land(*part)
    assert {r["username"]: r["alias"] for r in landing.rows("contacts")} == {
        f"wxid_{n % 7}": str(n) for n in range(50)
    }
