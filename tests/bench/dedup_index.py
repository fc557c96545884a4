"""The key index at work, in a process of its own so that its memory is its own.

`python -m tests.bench.dedup_index LAKE ROWS SNAPSHOT` prints JSON.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import psutil
import pyarrow as pa
from tests.bench.machine import peak_mb
from tests.bench.stored import FIRST_ID

from ingest_service.lake.tables import Lake
from ingest_service.land.index.index import KeyIndex
from ingest_service.land.index.keys import keys_of
from ingest_service.land.index.store import KeyStore

BATCHES = 30
BATCH = 10_000
REPEATS = 100
Result = TypeVar("Result")


def batch_ids(rows: int, seed: int) -> list[str]:
    """10,000 msg_ids in random order, 100 of them among the first `rows` of a stored table."""
    random = np.random.default_rng(seed)
    repeats = FIRST_ID + random.choice(rows, REPEATS, replace=False)
    # Anywhere between the smallest and the largest id of 19 digits, but not among the stored ones.
    new = random.integers(10**18, FIRST_ID - 1, BATCH - REPEATS)
    ids: list[str] = random.permutation(np.concatenate([repeats, new])).astype(str).tolist()
    return ids


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds it took, and what it gave."""
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def main() -> None:
    """Rebuild, probe, save, load, add."""
    lake, rows, snapshot = Lake(Path(sys.argv[1])), int(sys.argv[2]), Path(sys.argv[3])
    handle = lake.open("messages")
    before_mb = _rss_mb()
    index = KeyIndex(lake.path("messages"), snapshot)
    rebuild_s, _ = timed(lambda: index.follow(handle))
    most_mb = peak_mb()
    index.save()
    probes = []
    for seed in range(BATCHES):
        ids = pa.array(batch_ids(rows, seed), pa.string())
        seconds, found = timed(lambda ids=ids: index.stored(ids, keys_of(ids), handle))  # type: ignore[misc]
        probes.append(1000 * seconds)
        if int(found.sum()) != REPEATS:
            raise SystemExit(f"{found.sum()} repeats found, not {REPEATS}")
    if len(index) != rows:
        raise SystemExit(f"the index holds {len(index)} keys, not {rows}")
    index_mb = _rss_mb() - before_mb
    load_s, (store, _) = timed(lambda: KeyStore.load(snapshot, str(handle.metadata().id)))
    keys = [keys_of(pa.array(batch_ids(rows, seed), pa.string())) for seed in range(BATCHES)]
    days = np.zeros(BATCH, np.int32)
    adds = [1000 * timed(lambda some=some: store.add(some, days))[0] for some in keys]  # type: ignore[misc]
    figures = {
        "probe_ms": statistics.median(probes),
        "add_ms": statistics.median(adds),
        "rebuild_s": rebuild_s,
        "load_s": load_s,
        "index_mb": index_mb,
        "rebuild_peak_mb": most_mb - before_mb,
    }
    print(json.dumps(figures))


def _rss_mb() -> float:
    return float(psutil.Process().memory_info().rss) / 1e6


if __name__ == "__main__":
    main()
