"""`python -m millrace_testkit.model DATA_DIR`: is the lake what its journals say? Exit code 1 if not."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from millrace_testkit.model.compare import compare, sums

SHOWN = 50


def main() -> int:
    """Print the sums and the first differences."""
    parser = argparse.ArgumentParser(prog="python -m millrace_testkit.model", description=__doc__)
    parser.add_argument("data", type=Path, help="data directory: journals in messages/raw, tables in parquet")
    parser.add_argument(
        "--journals",
        type=Path,
        action="append",
        metavar="DIR",
        help="journals of a door that the lake is fed by, once for each door (default: all below DATA/messages)",
    )
    parser.add_argument("--today", help="UTC day whose journal is still open, YYYY-MM-DD (default: now)")
    arguments = parser.parse_args()
    differences = compare(arguments.data, today=arguments.today, journals=arguments.journals)
    print(sums(arguments.data, today=arguments.today, journals=arguments.journals))
    for line in differences[:SHOWN]:
        print(line)
    print(f"{len(differences)} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
