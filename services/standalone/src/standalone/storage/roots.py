"""The directories that a command works on (LAKE-2): given by option or MILLRACE_..., or beside a given one, or the
installation's."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from millrace.installation import default_data_directory

RawDir = Annotated[
    Path | None,
    typer.Option(
        "--raw-dir", envvar="MILLRACE_RAW_DIR", help="Journals; default: messages/raw of the data directory."
    ),
]
ParquetRoot = Annotated[
    Path | None,
    typer.Option(
        "--parquet-root",
        envvar="MILLRACE_PARQUET_ROOT",
        help="The lake; default: parquet of the data directory.",
    ),
]
ArchiveRoot = Annotated[
    Path | None,
    typer.Option("--archive-root", envvar="MILLRACE_ARCHIVE_ROOT", help="Default: archive beside the lake."),
]
CheckpointDir = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint-dir",
        envvar="MILLRACE_CHECKPOINT_DIR",
        help="Default: metadata/checkpoints beside the lake.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]


@dataclass(frozen=True, slots=True)
class Roots:
    """Absolute paths; none of them has to be there."""

    raw: Path
    rejected: Path
    parquet: Path
    archive: Path
    metadata: Path
    checkpoints: Path


def roots(
    *,
    raw_dir: Path | None = None,
    parquet_root: Path | None = None,
    archive_root: Path | None = None,
    checkpoint_dir: Path | None = None,
    data: Path | None = None,
) -> Roots:
    """Every root: as given, else beside the given one it belongs to (archive and metadata beside the lake,
    rejected beside the journals), else in `data`, MILLRACE_DATA or the default data directory."""
    home = _absolute(data or default_data_directory())
    raw = _absolute(raw_dir) if raw_dir else home / "messages" / "raw"
    parquet = _absolute(parquet_root) if parquet_root else home / "parquet"
    metadata = parquet.parent / "metadata"
    return Roots(
        raw=raw,
        rejected=raw.parent / "rejected",
        parquet=parquet,
        archive=_absolute(archive_root) if archive_root else parquet.parent / "archive",
        metadata=metadata,
        checkpoints=_absolute(checkpoint_dir) if checkpoint_dir else metadata / "checkpoints",
    )


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()
