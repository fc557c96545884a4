"""The alternative lake writer: json.loads, rows to Arrow, write_deltalake; it remembers and checks nothing.

`python -m tests.bench.land_loop DATA BATCH_ROWS` lands the journals of DATA into DATA/loop and prints JSON.
"""

import json
import sys
import time
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import WriterProperties, write_deltalake
from tests.bench.machine import peak_mb

Row = dict[str, Any]


def row(line: bytes) -> Row:
    """The columns of one message and its directory keys."""
    payload = json.loads(line)
    data = payload["data"]
    moment = datetime.fromtimestamp(data["create_time"], UTC)
    return {
        **data,
        "create_time": moment,
        "guid": payload["guid"],
        "notify_type": payload["notify_type"],
        "year": f"{moment:%Y}",
        "month": f"{moment:%m}",
        "day": f"{moment:%d}",
    }


def main() -> None:
    """One append a batch, journal after journal."""
    data, batch_rows = Path(sys.argv[1]), int(sys.argv[2])
    started = time.perf_counter()
    count = 0
    for journal in sorted((data / "messages" / "raw").glob("*.jsonl")):
        with journal.open("rb") as lines:
            while batch := [row(line) for line in islice(lines, batch_rows)]:
                write_deltalake(
                    str(data / "loop"),
                    pa.Table.from_pylist(batch),
                    mode="append",
                    partition_by=["year", "month", "day"],
                    writer_properties=WriterProperties(compression="SNAPPY"),
                )
                count += len(batch)
    seconds = time.perf_counter() - started
    most_mb = peak_mb()
    print(json.dumps({"rows": count, "seconds": seconds, "peak_mb": most_mb}))


if __name__ == "__main__":
    main()
