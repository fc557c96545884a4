"""dedup: what it costs to find the repeats among 10,000 messages when millions of ids are stored."""

import statistics

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from tests.bench.dedup_index import BATCH, REPEATS, batch_ids, timed
from tests.bench.processes import measured
from tests.bench.report import Alternative, BenchmarkError, Result, Target
from tests.bench.stored import StoredTable, stored_table
from tests.bench.workbench import Workbench, stored_rows

SMALL_ROWS = 1_000_000
_ANTI_JOINS = 5


def run(bench: Workbench) -> list[Result]:
    """At 1 M and 10 M stored ids: the key index, a DuckDB anti-join over the files, a Delta MERGE."""
    results: list[Result] = []
    for rows in sorted({min(SMALL_ROWS, stored_rows()), stored_rows()}):
        results += _at(bench, stored_table(bench.cache, rows, bench.say))
    return results


def _at(bench: Workbench, stored: StoredTable) -> list[Result]:
    size = f"{stored.rows / 1e6:g}m"
    bench.say(f"key index of {stored.rows:,} ids")
    snapshot = bench.scratch / f"key_index-{size}"
    place = [str(stored.lake), str(stored.rows)]
    ours = measured(["-m", "tests.bench.dedup_index", *place, str(snapshot)])
    bench.say(f"anti-join over {stored.rows:,} rows")
    anti_join = Alternative("DuckDB anti-join", _anti_join_ms(stored))
    bench.say(f"MERGE into {stored.rows:,} rows")
    merged = measured(["-m", "tests.bench.dedup_merge", *place, str(bench.scratch / f"merge-{size}")])
    merge = Alternative("Delta MERGE", merged["probe_ms"])
    probe_ms, target = ours["probe_ms"], Target("<=", 20)
    return [
        Result(f"probe_ms_{size}", probe_ms, "ms", target, anti_join),
        Result(f"probe_ms_{size}", probe_ms, "ms", target, merge),
        Result(f"add_ms_{size}", ours["add_ms"], "ms"),
        Result(f"rebuild_s_{size}", ours["rebuild_s"], "s"),
        Result(f"load_s_{size}", ours["load_s"], "s"),
        Result(f"index_mb_{size}", ours["index_mb"], "MB"),
        Result(f"rebuild_peak_mb_{size}", ours["rebuild_peak_mb"], "MB"),
    ]


def _anti_join_ms(stored: StoredTable) -> float:
    """Median of several, after one that warms the page cache."""
    files = DeltaTable(str(stored.messages)).file_uris()
    query = "SELECT count(*) FROM batch ANTI JOIN (SELECT msg_id FROM read_parquet($files)) AS held USING (msg_id)"
    took = []
    with duckdb.connect() as connection:
        connection.execute("SET parquet_metadata_cache = true")
        connection.register("batch", pa.table({"msg_id": batch_ids(stored.rows, 0)}))
        for _ in range(1 + _ANTI_JOINS):
            seconds, [(new,)] = timed(lambda: connection.sql(query, params={"files": files}).fetchall())
            if new != BATCH - REPEATS:
                raise BenchmarkError(f"the anti-join found {new} new ids")
            took.append(1000 * seconds)
    return statistics.median(took[1:])
