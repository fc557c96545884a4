"""The shipped sample has every kind of line, and amounts to what its truth file says."""

import collections
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from standalone import sample
from standalone.data_directory import owned


def decoded() -> list[dict[str, object]]:
    return [json.loads(body) for body in sample.payloads()]


def test_it_amounts_to_its_truth() -> None:
    messages: dict[str, dict[str, object]] = {}
    contacts, others = set(), 0
    for payload in decoded():
        data = payload["data"]
        assert isinstance(data, dict)
        match payload["notify_type"]:
            case 1010:
                messages[data["msg_id"]] = data
            case 1200:
                contacts.add(data["userName"]["string"])
            case _:
                others += 1
    days = collections.Counter(
        str(datetime.fromtimestamp(data["create_time"], UTC).date())  # type: ignore[arg-type]
        for data in messages.values()
    )
    truth = sample.truth()
    assert truth.lines == len(sample.payloads()) == 2_000
    assert truth.distinct_messages == len(messages)
    assert truth.distinct_contacts == len(contacts)
    assert truth.other_lines == others
    assert truth.messages_per_day == dict(days)
    assert (truth.first_day, truth.last_day) == ("2026-01-01", "2026-01-30")


def test_it_has_every_kind_of_line() -> None:
    payloads = decoded()
    kinds = {payload["notify_type"] for payload in payloads}
    data = [payload["data"] for payload in payloads if payload["notify_type"] == 1010]
    assert kinds == {1001, 1003, 1006, 1009, 1010, 1200}
    assert any(isinstance(message["source"], int) for message in data)  # type: ignore[index]
    assert {message["is_chatroom_msg"] for message in data} == {0, 1}  # type: ignore[index]
    assert {message["msg_type"] for message in data} == {  # type: ignore[index]
        None, 1, 3, 34, 42, 43, 47, 48, 49, 51, 10000, 10002,
    }  # fmt: skip
    assert any("reaction" in message for message in data)  # type: ignore[operator]
    ids = [message["msg_id"] for message in data]  # type: ignore[index]
    assert len(ids) > len(set(ids))


def test_lanes_keep_the_order_of_all_but_messages() -> None:
    bodies = [b'{"n":1}', b'{"msg_id":"1"}', b'{"n":2}', b'{"msg_id":"2"}', b'{"msg_id":"3"}']
    dealt = sample.lanes(bodies, 3)
    assert dealt[0] == [b'{"n":1}', b'{"n":2}']
    assert sorted(body for lane in dealt for body in lane) == sorted(bodies)


def test_the_first_start_alone_replays_and_a_cut_off_one_again(tmp_path: Path) -> None:
    with owned(tmp_path) as directory:
        assert sample.state(directory) is None
        assert sample.wanted(directory, asked=True)
        assert sample.wanted(directory, asked=True), "the first start was cut off before it was done"
        sample.note(directory, "replayed")
        assert not sample.wanted(directory, asked=True)


@pytest.mark.parametrize("journal", [False, True])
def test_a_declined_sample_is_never_mixed_with_data(tmp_path: Path, journal: bool) -> None:
    with owned(tmp_path) as directory:
        if journal:
            (directory.raw / "2026-01-01.jsonl").write_text("{}\n")
        assert not sample.wanted(directory, asked=journal)
        assert not sample.wanted(directory, asked=True)
        assert sample.state(directory) == "declined"
