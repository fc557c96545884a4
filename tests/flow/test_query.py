"""From the door to the answer: `millrace up`, the whole sample posted, the query service asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace import Client
from millrace.installation import find_installation
from millrace_testkit.load import OK, post_all
from millrace_testkit.stack import Stack, wait_until


@pytest.mark.e2e
@pytest.mark.slow
async def test_the_query_service_answers_the_counts_of_what_was_posted(
    tmp_path: Path, bodies: list[bytes], truth: dict[str, int], per_day: dict[str, int]
) -> None:
    first, last = min(per_day), max(per_day)
    with Stack.embedded(tmp_path) as stack:
        everything = stack.up().wait_ready()
        assert set(await post_all(everything.endpoint.http_port, bodies)) == {OK}
        installation = find_installation({}, data=stack.data, port_offset=everything.offset)
        with Client(installation=installation) as client:
            wait_until(
                lambda: client.count(first, last) >= truth["distinct_messages"], 60, "every message queryable"
            )
            assert client.count(first, last) == truth["distinct_messages"]
            assert {day: client.count(day, day) for day in per_day} == per_day
            page = client.search(first, first, limit=1)
            assert page.total == per_day[first]
        everything.stop()
