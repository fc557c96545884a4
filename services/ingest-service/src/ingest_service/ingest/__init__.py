"""Journals into the lake by their files, without a running service (LAKE section 6).

The same landing as the resident writer's (`land/`), driven from a command or a program, and safe beside it:
positions travel in the lake's commits, so whoever comes second reads on from there.

* `incremental_ingest`: what is new in one journal, with its checkpoint
* `convert_journal`, `convert_all`: whole journals, in large batches
* `ingest_directory`: every journal of a directory, as `millrace storage dump-parquet` does
* `ingest_message`: one payload, journal first
* `deduplicate`: a dataset or a day of it

All raise the `StorageError`s of `ingest_service.errors`.
"""

from ingest_service.ingest.convert import convert_all, convert_journal
from ingest_service.ingest.directory import ingest_directory
from ingest_service.ingest.duplicates import deduplicate
from ingest_service.ingest.incremental import incremental_ingest
from ingest_service.ingest.message import ingest_message

__all__ = [
    "convert_all",
    "convert_journal",
    "deduplicate",
    "incremental_ingest",
    "ingest_directory",
    "ingest_message",
]
