"""The alternative key index: a Delta MERGE that inserts what is not there, in a process of its own.

`python -m tests.bench.dedup_merge LAKE ROWS SCRATCH` merges into a copy of the table made of hard links.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from tests.bench.dedup_index import BATCH, REPEATS, batch_ids
from tests.bench.machine import peak_mb
from tests.bench.stored import StoredTable

from ingest_service.land.messages import SCHEMA


def main() -> None:
    """One batch: the first MERGE of a process is like the others."""
    stored = StoredTable(Path(sys.argv[1]), int(sys.argv[2]))
    copy = Path(sys.argv[3])
    shutil.copytree(stored.messages, copy, copy_function=os.link)
    handle = DeltaTable(str(copy))
    batch = _batch(stored)
    started = time.perf_counter()
    merge = handle.merge(batch, predicate="t.msg_id = s.msg_id", source_alias="s", target_alias="t")
    metrics = merge.when_not_matched_insert_all().execute()
    seconds = time.perf_counter() - started
    if metrics["num_target_rows_inserted"] != BATCH - REPEATS:
        raise SystemExit(f"{metrics['num_target_rows_inserted']} rows inserted")
    most_mb = peak_mb()
    print(json.dumps({"probe_ms": 1000 * seconds, "peak_mb": most_mb}))


def _batch(stored: StoredTable) -> pa.Table:
    """Rows of one day under other ids."""
    day = stored.day(0)
    rows = pa.concat_tables([pq.ParquetFile(path).read() for path in stored.files(day)])
    rows = rows.take(pa.array([number % rows.num_rows for number in range(BATCH)]))
    columns = {name: rows.column(name) for name in rows.column_names}
    columns["msg_id"] = pa.array(batch_ids(stored.rows, 0), pa.string())
    for name, text in (("year", f"{day:%Y}"), ("month", f"{day:%m}"), ("day", f"{day:%d}")):
        columns[name] = pa.array([text] * BATCH, pa.string())
    return pa.table({name: columns[name] for name in SCHEMA.names}).cast(SCHEMA)


if __name__ == "__main__":
    main()
