"""What ids say of themselves (ID-34, ID-35)."""

import uuid
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from id_service.catalog.tag import Algorithm, IdFormat, Tag, TagName
from id_service.parse.layout import EPOCH_MS, split
from id_service.parse.read import ParsedId, read_id
from id_service.uuid.v7 import UuidV7
from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_testkit.clock import ManualClock


def a_tag(algorithm: Algorithm = Algorithm.SEGMENT, prefix: str = "") -> Tag:
    form = IdFormat.UUID if algorithm in (Algorithm.UUID_V4, Algorithm.UUID_V7) else IdFormat.NUMERIC
    name = TagName("acme", "shop", "order-id")
    return Tag("t1", name, algorithm, IdFormat.PREFIXED if prefix else form, prefix, 1000, frozenset({0}))


def refused(text: str, **how: object) -> str:
    with pytest.raises(ServiceError) as error:
        read_id(text, **how)  # type: ignore[arg-type]
    assert error.value.code is ErrorCode.INVALID_REQUEST
    return error.value.message


@pytest.mark.parametrize(
    ("text", "at_ms", "written", "datacenter_id", "worker_id", "sequence"),
    [
        ("9223372036854775807", 6102113711103, "2163-05-15T07:35:11.103", 7, 255, 1023),
        ("132452764877603845", 1767225600000, "2026-01-01T00:00:00.000", 3, 17, 5),
        ("1234567890123456789", 2292755044335, "2042-08-27T12:24:04.335", 2, 96, 277),
    ],
)
def test_the_snowflakes_of_the_sheet(
    text: str, at_ms: int, written: str, datacenter_id: int, worker_id: int, sequence: int
) -> None:
    parsed = read_id(text)
    assert parsed == ParsedId(text, int(text), Algorithm.SNOWFLAKE, at_ms, datacenter_id, worker_id, sequence)
    assert parsed.instant is not None
    assert parsed.instant.isoformat(timespec="milliseconds") == written + "+00:00"


def test_the_segment_id_of_the_sheet() -> None:
    parsed = read_id("1999999999999")
    assert parsed == ParsedId("1999999999999", 1999999999999, Algorithm.SEGMENT, datacenter_id=0)
    assert parsed.instant is None


@pytest.mark.parametrize(
    ("text", "algorithm", "datacenter_id"),
    [
        ("1", Algorithm.SNOWFLAKE, 0),
        ("999999999999", Algorithm.SNOWFLAKE, 1),
        ("1000000000000", Algorithm.SEGMENT, 0),
        ("8999999999999", Algorithm.SEGMENT, 7),
        ("9000000000000", Algorithm.SNOWFLAKE, 3),
    ],
)
def test_decimals_are_told_apart_by_their_range(text: str, algorithm: Algorithm, datacenter_id: int) -> None:
    parsed = read_id(text)
    assert parsed.algorithm is algorithm
    assert parsed.datacenter_id == datacenter_id


@given(st.integers(1, (1 << 63) - 1))
def test_every_snowflake_is_put_together_again_from_its_parts(number: int) -> None:
    parts = split(number)
    rebuilt = (
        (parts.at_ms - EPOCH_MS) << 21 | parts.datacenter_id << 18 | parts.worker_id << 10 | parts.sequence
    )
    assert rebuilt == number


def test_a_uuid_v7_gives_its_time(clock: ManualClock) -> None:
    [text] = UuidV7(clock).take(1)
    assert read_id(text) == ParsedId(text, uuid.UUID(text).int, Algorithm.UUID_V7, at_ms=clock.now_ms())
    assert read_id(text).instant == clock.now()
    assert read_id(text.upper()).number == uuid.UUID(text).int


def test_a_uuid_v4_gives_none() -> None:
    text = "9f1c2f0a-6f3b-4c1e-8a44-0a1b2c3d4e5f"
    assert read_id(text) == ParsedId(text, uuid.UUID(text).int, Algorithm.UUID_V4)


def test_a_uuid_after_the_year_9999_has_no_datetime() -> None:
    parsed = read_id("ffffffff-ffff-7000-8000-000000000000")
    assert parsed.at_ms == (1 << 48) - 1
    assert parsed.instant is None


@pytest.mark.parametrize(
    "text",
    [
        "", "0", "-1", "+1", "01", "1.0", "1e3", " 1", "1 ", "1\n", "١٢٣", "abc", "0x10",
        "9223372036854775808", "1" * 256,
        "0190a000000070008000000000000000",
        "{0190a000-0000-7000-8000-000000000000}",
        "0190a000-0000-1000-8000-000000000000",
        "0190a000-0000-7000-c000-000000000000",
        "0190a000-0000-7000-8000-00000000000g",
        "0190a000-0000-7000-8000-0000000000000",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    assert refused(text).startswith("id: ")


def test_an_id_has_at_most_256_characters() -> None:
    assert refused("1" * 257) == "id: must have 1 to 256 characters"


def test_a_tags_prefix_is_removed_first() -> None:
    parsed = read_id("ORD-1000000000042", tag=a_tag(prefix="ORD-"))
    assert (parsed.original_id, parsed.number) == ("ORD-1000000000042", 1000000000042)
    assert (parsed.algorithm, parsed.biz_tag) == (Algorithm.SEGMENT, "order-id")
    assert "prefix ORD-" in refused("1000000000042", tag=a_tag(prefix="ORD-"))
    assert refused("ORD-", tag=a_tag(prefix="ORD-"))


def test_a_tags_algorithm_decides_how_a_decimal_is_read() -> None:
    assert read_id("1000000000042", tag=a_tag(Algorithm.SNOWFLAKE)).algorithm is Algorithm.SNOWFLAKE
    assert "outside the segment range" in refused("132452764877603845", tag=a_tag(Algorithm.SEGMENT))


def test_a_requested_algorithm_decides_before_the_tags() -> None:
    snowflake = read_id("1000000000042", tag=a_tag(), algorithm=Algorithm.SNOWFLAKE)
    assert snowflake.algorithm is Algorithm.SNOWFLAKE
    assert "not an id of uuid_v7" in refused("1000000000042", algorithm=Algorithm.UUID_V7)
    assert "not an id of segment" in refused(
        "9f1c2f0a-6f3b-4c1e-8a44-0a1b2c3d4e5f", algorithm=Algorithm.SEGMENT
    )


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(ServiceError):
        assert read_id(text).original_id == text
