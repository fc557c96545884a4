"""Which requests are traced: by the caller's word within a limit, else by the ratio."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_runtime.tracing.sampling import Sampler
from millrace_runtime.tracing.traceparent import Parent, parse, written
from millrace_testkit.clock import ManualClock

from .conftest import CALLER, SAMPLED, TRACE, UNSAMPLED

ABOVE = Parent(int(TRACE, 16), int(CALLER, 16), sampled=True)


class Draws:
    """A random number that a test chooses."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __call__(self) -> float:
        return self.value


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (SAMPLED, ABOVE),
        (UNSAMPLED, ABOVE._replace(sampled=False)),
        (f"00-{TRACE}-{CALLER}-03", ABOVE),
        (f"00-{TRACE}-{CALLER}-02", ABOVE._replace(sampled=False)),
        (f"01-{TRACE}-{CALLER}-01", ABOVE),
        (f"cc-{TRACE}-{CALLER}-01-what-the-future-will-be-like", ABOVE),
        (f"00-{TRACE}-{CALLER}-01-more", None),
        (f"ff-{TRACE}-{CALLER}-01", None),
        (f"00-{TRACE.upper()}-{CALLER}-01", None),
        (f"00-{'0' * 32}-{CALLER}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE}-{CALLER}-1", None),
        (f"00-{TRACE[1:]}-{CALLER}-01", None),
        (f" {SAMPLED}", None),
        (f"{SAMPLED}\n", None),
        (f"cc-{TRACE}-{CALLER}-01-{'x' * 1000}", None),
        ("", None),
        ("٠٠-" + SAMPLED[3:], None),
    ],
)
def test_the_header_is_read_as_the_recommendation_says(text: str, found: Parent | None) -> None:
    assert parse(text) == found


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1))
def test_what_is_written_is_read(trace_id: int, span_id: int) -> None:
    text = written(trace_id, span_id)
    assert len(text) == 55
    assert parse(text) == Parent(trace_id, span_id, sampled=True)


@given(st.text(max_size=80))
def test_nothing_that_is_sent_fails(text: str) -> None:
    parse(text)


@pytest.mark.parametrize("header", [None, "", "nonsense", f"00-{'0' * 32}-{CALLER}-01"])
def test_without_a_usable_header_the_ratio_decides(header: str | None) -> None:
    draw = Draws(0.0)
    sampler = Sampler(0.25, 100, draw=draw)
    for value, sampled in ((0.0, True), (0.2499, True), (0.25, False), (0.999, False)):
        draw.value = value
        assert sampler.decide(header) == (sampled, None)


def test_ratios_of_all_and_of_nothing() -> None:
    assert all(Sampler(1.0, 0).decide(None)[0] for _ in range(1000))
    assert not any(Sampler(0.0, 0).decide(None)[0] for _ in range(1000))


def test_a_caller_that_does_not_sample_is_followed_always() -> None:
    sampler = Sampler(1.0, 100)
    assert not any(sampler.decide(UNSAMPLED)[0] for _ in range(1000))


def test_callers_turn_on_so_many_traces_a_second_and_no_more() -> None:
    clock = ManualClock()
    sampler = Sampler(0.0, 10, monotonic=clock.monotonic, draw=Draws(0.5))

    def turned_on(requests: int) -> int:
        return sum(sampler.decide(SAMPLED) == (True, ABOVE) for _ in range(requests))

    assert turned_on(1000) == 10
    clock.advance(0.5)
    assert turned_on(1000) == 5
    clock.advance(3600)
    assert turned_on(1000) == 10


def test_beyond_the_limit_the_ratio_decides_in_the_callers_trace() -> None:
    draw = Draws(0.9)
    sampler = Sampler(0.5, 0, draw=draw)
    assert sampler.decide(SAMPLED) == (False, ABOVE)
    draw.value = 0.1
    assert sampler.decide(SAMPLED) == (True, ABOVE)


def test_less_than_one_a_second_is_possible() -> None:
    clock = ManualClock()
    sampler = Sampler(0.0, 0.1, monotonic=clock.monotonic)
    assert [sampler.admits_caller() for _ in range(3)] == [True, False, False]
    clock.advance(9.0)
    assert not sampler.admits_caller()
    clock.advance(1.1)
    assert sampler.admits_caller()
