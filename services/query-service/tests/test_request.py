"""Every refusal names the parameter; what passes is exactly what was asked."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_runtime.errors import ErrorCode, ServiceError
from query_service.formats import Format, accepted
from query_service.search.request import Search, parse_lookup, parse_search

DAYS = [("start", "2026-03-14"), ("end", "2026-03-15")]


@pytest.mark.parametrize(
    ("pairs", "named"),
    [
        ([], "start"),
        ([("start", "2026-03-14")], "end"),
        ([("start", ""), ("end", "2026-03-15")], "start"),
        ([("start", "14.03.2026"), ("end", "2026-03-15")], "start"),
        ([("start", "20260314"), ("end", "2026-03-15")], "start"),
        ([("start", "2026-02-30"), ("end", "2026-03-15")], "start"),
        ([("start", "0000-01-01"), ("end", "2026-03-15")], "start"),
        ([("start", "２０２６-03-14"), ("end", "2026-03-15")], "start"),
        ([("start", "2026-03-16"), ("end", "2026-03-15")], "start"),
        ([*DAYS, ("start", "2026-03-14")], "start"),
        ([*DAYS, ("limit", "0")], "limit"),
        ([*DAYS, ("limit", "-1")], "limit"),
        ([*DAYS, ("limit", "ten")], "limit"),
        ([*DAYS, ("limit", "1.5")], "limit"),
        ([*DAYS, ("limit", "10001")], "limit"),
        ([*DAYS, ("limit", "")], "limit"),
        ([*DAYS, ("offset", "-1")], "offset"),
        ([*DAYS, ("offset", "9" * 19)], "offset"),
        ([*DAYS, ("offset", "9" * 5000)], "offset"),
        ([*DAYS, ("columns", "msg_id,msg_id")], "columns"),
        ([*DAYS, ("columns", "")], "columns"),
        ([*DAYS, ("msg_type", "text")], "msg_type"),
        ([*DAYS, ("msg_type", "2147483648")], "msg_type"),
        ([*DAYS, ("is_chatroom_msg", "true")], "is_chatroom_msg"),
        ([*DAYS, ("unmask", "yes")], "unmask"),
        ([*DAYS, ("chat_room", "x")], "chat_room"),
        ([*DAYS, ("guid", "x")] * 1 + [("chatroom", str(i)) for i in range(10_001)], "chatroom"),
    ],
)
def test_a_bad_parameter_is_refused_by_name(pairs: list[tuple[str, str]], named: str) -> None:
    with pytest.raises(ServiceError) as refused:
        parse_search(pairs, paged=True)
    assert refused.value.code is ErrorCode.INVALID_REQUEST
    assert refused.value.message.startswith(f"{named}: ")
    assert refused.value.details == {"parameter": named}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["start", "end", "limit", "offset", "columns", "msg_type", "chatroom", "unmask", "x"]
            ),
            st.text(),
        )
    )
)
def test_any_text_is_refused_or_understood(pairs: list[tuple[str, str]]) -> None:
    outcome: Search | ServiceError
    try:
        outcome = parse_search([*DAYS, *pairs], paged=False)
    except ServiceError as error:
        outcome = error
    if isinstance(outcome, ServiceError):
        assert outcome.code is ErrorCode.INVALID_REQUEST
    else:
        assert len(set(outcome.columns)) == len(outcome.columns)
        assert outcome.offset >= 0


def test_a_whole_search() -> None:
    search = parse_search(
        [
            *DAYS,
            ("msg_type", "49"),
            ("msg_type", "3"),
            ("msg_type", "49"),
            ("chatroom", ""),
            ("columns", "day,msg_id"),
            ("limit", "7"),
            ("offset", "14"),
            ("unmask", "true"),
        ],
        paged=True,
    )
    assert (search.filter.start, search.filter.end) == (date(2026, 3, 14), date(2026, 3, 15))
    assert search.filter.any_of == {"msg_type": (49, 3), "chatroom": ("",)}
    assert search.columns == ("day", "msg_id")
    assert (search.limit, search.offset, search.unmask) == (7, 14, True)


def test_only_pages_have_a_default_limit() -> None:
    assert parse_search(DAYS, paged=True).limit == 100
    assert parse_search(DAYS, paged=False).limit is None
    assert parse_search([*DAYS, ("limit", "1000000")], paged=False).limit == 1_000_000


def test_a_lookup_takes_no_filters() -> None:
    assert parse_lookup("7", [("columns", "content")]).columns == ("content",)
    for pairs in ([("chatroom", "x")], [("start", "2026-03-14")], [("limit", "1")]):
        with pytest.raises(ServiceError, match=pairs[0][0]):
            parse_lookup("7", pairs)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, Format.JSON),
        ("", Format.JSON),
        ("*/*", Format.JSON),
        ("text/html,application/xhtml+xml,*/*;q=0.8", Format.JSON),
        ("text/csv", Format.CSV),
        ("text/*", Format.CSV),
        ("Text/CSV; charset=utf-8", Format.CSV),
        ("application/json;q=0.5, text/csv", Format.CSV),
        ("application/vnd.apache.arrow.stream", Format.ARROW),
        ("*/*, application/json;q=0", Format.CSV),
    ],
)
def test_the_format_is_what_accept_weighs_most(header: str | None, expected: Format) -> None:
    assert accepted(header) is expected


@pytest.mark.parametrize("header", ["text/html", "application/json;q=0", "text/csv;q=much"])
def test_an_accept_without_an_offered_format_is_refused_by_name(header: str) -> None:
    with pytest.raises(ServiceError, match="Accept"):
        accepted(header)
