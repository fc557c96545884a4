"""From calls to contracts and back, without a service."""

from datetime import UTC, date, datetime

import pytest

from millrace.errors import InvalidRequestError
from millrace.messages import COLUMNS, Message, message_filter, search_request
from millrace.publishing import MAX_CALL_BYTES, MAX_CALL_PAYLOADS, encode, requests
from millrace.query.v1 import query_pb2


def test_filters_take_one_value_or_several_and_keep_an_empty_list_apart() -> None:
    chosen = message_filter(date(2026, 1, 2), "2026-01-03", sender="a", msg_type=[3, 49], guid=[])
    assert (chosen.start_date, chosen.end_date) == ("2026-01-02", "2026-01-03")
    assert list(chosen.sender.values) == ["a"]
    assert list(chosen.msg_type.values) == [3, 49]
    assert chosen.HasField("guid")
    assert not chosen.guid.values
    assert not chosen.HasField("chatroom")


def test_an_unknown_filter_is_named() -> None:
    with pytest.raises(InvalidRequestError, match="colour"):
        message_filter("2026-01-01", "2026-01-01", colour="red")  # type: ignore[call-arg]


def test_a_value_of_the_wrong_type_names_its_filter() -> None:
    with pytest.raises(InvalidRequestError, match="msg_type"):
        message_filter("2026-01-01", "2026-01-01", msg_type="text")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limit", "offset", "named"), [(0, 0, "limit"), (2**32, 0, "limit"), (1, -1, "offset")]
)
def test_a_page_outside_its_range_is_refused(limit: int, offset: int, named: str) -> None:
    with pytest.raises(InvalidRequestError, match=named):
        search_request(message_filter("2026-01-01", "2026-01-01"), (), limit, offset, False)


def test_a_message_has_what_was_asked_for_and_times_in_utc() -> None:
    row = query_pb2.Message(msg_id="7", msg_type=0, content="", create_time=1_767_225_600)
    message = Message.of(row)
    assert message == Message(
        msg_id="7", msg_type=0, content="", create_time=datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert message.guid is None


def test_every_column_of_the_contract_is_a_field() -> None:
    assert tuple(field.name for field in query_pb2.Message.DESCRIPTOR.fields) == COLUMNS


def test_payloads_become_bodies_unchanged() -> None:
    assert encode(b'{"a" : 1}') == b'{"a" : 1}'
    assert encode('{"名":1}') == '{"名":1}'.encode()
    assert encode({"id": 2**64 + 1}) == b'{"id":18446744073709551617}'


@pytest.mark.parametrize("payload", ["\ud800", {"at": object()}])
def test_what_is_not_json_is_refused_before_it_is_sent(payload: object) -> None:
    with pytest.raises(InvalidRequestError, match="payload"):
        encode(payload)  # type: ignore[arg-type]


def test_calls_keep_order_count_and_size() -> None:
    bodies = [b"%d" % number for number in range(MAX_CALL_PAYLOADS * 2 + 1)]
    calls = list(requests(bodies))
    assert [len(call.payloads) for call in calls] == [MAX_CALL_PAYLOADS, MAX_CALL_PAYLOADS, 1]
    assert [body for call in calls for body in call.payloads] == bodies


def test_a_large_payload_travels_alone() -> None:
    large = b"x" * (MAX_CALL_BYTES + 1)
    assert [len(call.payloads) for call in requests([b"a", large, b"b"])] == [1, 1, 1]
