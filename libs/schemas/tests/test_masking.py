"""Masking hides mobiles and customInfo.detail, changes nothing else, and is idempotent."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_schemas.masking import mask_custom_info, mask_extra_fields, mask_mobile


@pytest.mark.parametrize(
    ("clear", "masked"),
    [
        ("13905718264", "139****8264"),
        ("+8613905718264", "+86139****8264"),
        ("+86 13905718264", "+86 139****8264"),
        ("+1-13905718264", "+1-139****8264"),
        ("021-6888-1234", "021****8-1234"),
        ("12345678", "123****8"),
        ("1234567", "*******"),
        ("一二三四五六七八", "一二三****八"),
        ("", ""),
    ],
)
def test_a_mobile(clear: str, masked: str) -> None:
    assert mask_mobile(clear) == masked
    assert mask_mobile(masked) == masked


@given(st.text() | st.from_regex(r"(\+[0-9]{1,3}[ -]?)?[0-9*]{5,13}", fullmatch=True))
def test_masking_a_mobile_twice_is_masking_it_once(text: str) -> None:
    assert mask_mobile(mask_mobile(text)) == mask_mobile(text)


@pytest.mark.parametrize(
    ("clear", "masked"),
    [
        ({"mobile": "13905718264"}, {"mobile": "139****8264"}),
        ({"mobile": 13905718264}, {"mobile": "139****8264"}),
        ({"mobile": {"string": "13905718264"}}, {"mobile": {"string": "139****8264"}}),
        ({"mobile": ["13905718264", None]}, {"mobile": ["139****8264", None]}),
        ({"a": [{"b": {"mobile": "1234567"}}]}, {"a": [{"b": {"mobile": "*******"}}]}),
        (
            {"customInfo": {"detailVisible": 1, "detail": '{"corp":"x"}'}},
            {"customInfo": {"detailVisible": 1, "detail": "***"}},
        ),
        ({"customInfo": {"detail": ""}}, {"customInfo": {"detail": ""}}),
        ({"customInfo": '{"detail":"x","n":1}'}, {"customInfo": '{"detail":"***","n":1}'}),
        ({"customInfo": "not an object"}, {"customInfo": "***"}),
        ({"deep": {"customInfo": {"detail": "x"}}}, {"deep": {"customInfo": {"detail": "***"}}}),
        ({"detail": "x", "Mobile": "13905718264"}, {"detail": "x", "Mobile": "13905718264"}),
    ],
)
def test_extra_fields(clear: Any, masked: Any) -> None:
    once = mask_extra_fields(json.dumps(clear))
    assert json.loads(once) == masked
    assert mask_extra_fields(once) == once


def test_everything_else_stays_exact() -> None:
    numbers = '"big":18446744073709551617,"small":-9223372036854775809,"d":0.12345678901234567890'
    masked = mask_extra_fields(f'{{"mobile":"13905718264",{numbers},"huge":1e999}}')
    assert json.loads(masked, parse_float=Decimal) == {
        "mobile": "139****8264",
        "big": 18446744073709551617,
        "small": -9223372036854775809,
        "d": Decimal("0.12345678901234567890"),
        "huge": Decimal("1e999"),
    }


def test_a_key_written_with_escapes_is_found() -> None:
    assert "13905718264" not in mask_extra_fields('{"\\u006dobile":"13905718264"}')


def test_nothing_to_hide_leaves_the_bytes() -> None:
    for text in ('{ "reaction" : {"n": 2} }', '{"about":"mobile", "n":1.50}', '{"e":"\\u00e9"}'):
        assert mask_extra_fields(text) == text


@pytest.mark.parametrize(
    "text", ['{"mobile":"13905718264"', "[" * 100_000 + '"mobile 13905718264"', '{"mobile":NaN}']
)
def test_what_cannot_be_read_is_hidden_whole(text: str) -> None:
    assert mask_extra_fields(text) == '"***"'


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["mobile", "customInfo", "detail", "n", "string"]), inner)
    ),
    max_leaves=20,
)


@given(_json)
def test_masking_twice_is_masking_once(value: Any) -> None:
    once = mask_extra_fields(json.dumps(value))
    assert mask_extra_fields(once) == once


def test_a_custom_info_that_could_not_be_read_is_hidden_whole() -> None:
    """LAKE-52 keeps it under `_raw`, where its detail would be in clear (LAKE-55)."""
    masked = mask_extra_fields('{"customInfo_raw":"{\\"detail\\":\\"x","a":1}')
    assert masked == '{"customInfo_raw":"***","a":1}'
    assert mask_extra_fields(masked) == masked


def test_the_column_customInfo_keeps_what_is_not_its_detail() -> None:  # noqa: N802 its name
    clear = '{"detailVisible":1,"detail":"{\\"tel\\":\\"13905718264\\"}"}'
    assert mask_custom_info(clear) == '{"detailVisible":1,"detail":"***"}'
    for nothing in ("{}", '{"detailVisible":0,"detail":""}', '{"detail":null}'):
        assert mask_custom_info(nothing) == nothing
