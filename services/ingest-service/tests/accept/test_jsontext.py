"""Exact JSON: what the journal holds is what landing reads."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_service.jsontext import NotAnObject, one_line, parse_object

texts = st.text()
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(texts, values, max_size=5), st.sampled_from([None, 1, "\t"]), st.booleans())
def test_an_object_comes_back_exactly(
    value: dict[str, object], indent: int | str | None, ascii_: bool
) -> None:
    body = json.dumps(value, indent=indent, ensure_ascii=ascii_).encode()
    parsed = parse_object(body)
    assert json.dumps(parsed) == json.dumps(value)
    assert json.dumps(parse_object(one_line(body))) == json.dumps(value)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_refused(body: bytes) -> None:
    outcome = parsed_or_refused(body)
    if isinstance(outcome, NotAnObject):
        assert (outcome.error_type, bool(outcome.reason), bool(outcome.message)) == (
            "parse_error",
            True,
            True,
        )
    else:
        assert isinstance(json.loads(body), dict)


def parsed_or_refused(body: bytes) -> dict[str, object] | NotAnObject:
    try:
        return parse_object(body)
    except NotAnObject as refused:
        return refused


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"n":18446744073709551617}', {"n": 18446744073709551617}),
        (b'{"n":-9223372036854775809}', {"n": -9223372036854775809}),
        (b'{"n":' + b"9" * 4300 + b"}", {"n": int("9" * 4300)}),
        (b'{"s":"\\ud800"}', {"s": "\ud800"}),
        (b'{"\\udfff":[1.5,{"x":"\\ud83d\\ude00"}],"n":18446744073709551617}', None),
        (b'{"a":1,"a":2}', {"a": 2}),
    ],
)
def test_hard_values_are_exact(body: bytes, value: dict[str, object] | None) -> None:
    assert parse_object(body) == (json.loads(body) if value is None else value)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (b"\r\n", "empty"),
        (b"[]", "not_an_object"),
        (b"true", "not_an_object"),
        (b'{"a":1', "malformed"),
        (b'{"a":NaN}', "malformed"),
        (b'{"s":"\\ud800","a":NaN}', "malformed"),
        (b'{"s":"\\ud800","a":1e999}', "number_out_of_range"),
        (b'{"s":"\\ud800","a":' + b"9" * 5000 + b"}", "number_out_of_range"),
        (b'{"s":"\\ud800",' + b'"a":{' * 100_000, "too_deep"),
        (b'{"s":"\\ud800","b":"\xff"}', "not_utf8"),
        (b'{"a":-1e999}', "number_out_of_range"),
        (b'{"a":' + b"9" * 5000 + b"}", "number_out_of_range"),
        (b'{"a":' * 100_000, "too_deep"),
        (b'{"a":"\xed\xa0\x80"}', "not_utf8"),
        ('{"a":1}'.encode("utf-16"), "malformed"),
    ],
)
def test_refusals_are_told_apart_and_never_quote_the_body(body: bytes, reason: str) -> None:
    with pytest.raises(NotAnObject) as caught:
        parse_object(body)
    assert caught.value.reason == reason
    assert len(caught.value.message) < 100
