"""The run of `make faults`, short."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from millrace_testkit.faults import run


@pytest.mark.faults
@pytest.mark.slow
def test_processes_killed_at_random_under_load_lose_and_double_nothing(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    outcome = run(tmp_path, 20, seed=seed)
    assert outcome.differences == [], f"seed {seed}"
    assert sum(outcome.kills.values()) == 20
    assert outcome.acknowledged
