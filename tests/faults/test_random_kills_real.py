"""The run of `make faults MODE=real`, short."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from millrace_testkit.faults import run
from millrace_testkit.real import RealStack


@pytest.mark.real
@pytest.mark.faults
@pytest.mark.slow
def test_processes_and_servers_killed_at_random_under_load_lose_and_double_nothing(
    tmp_path: Path, real_stack: RealStack
) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    outcome = run(tmp_path, 20, seed=seed, servers=real_stack)
    assert outcome.differences == [], f"seed {seed}"
    assert sum(outcome.kills.values()) == 20
    assert outcome.acknowledged
    assert outcome.ids
    assert {"PostgreSQL", "etcd", "broker", "id-service"} <= set(outcome.kills)
