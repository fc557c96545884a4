"""Before landing: the schemas of this release are registered, and tables of an earlier one get its columns."""

from __future__ import annotations

import pathlib

from deltalake.exceptions import CommitFailedError, DeltaError

from ingest_service.errors import BadArgumentError, StorageError
from ingest_service.lake.tables import TABLES, Lake
from ingest_service.registry.evolve import widen
from ingest_service.registry.registry import SchemaRegistry
from millrace_runtime.logs import get_logger
from millrace_schemas import datasets

log = get_logger(__name__)


def prepare(lake: Lake, metadata: pathlib.Path) -> None:
    """Registers and widens (LAKE-80, LAKE-82). Neither keeps messages from landing: a registry that cannot be read or
    written is logged, and so is a table that is of another schema, to which appending will say so."""
    try:
        SchemaRegistry(metadata).register_built_in()
    except StorageError as error:
        log.warning("schemas_not_registered", why=error.reason)
    for name in TABLES:
        if lake.exists(name):
            _widen(lake, name)


def _widen(lake: Lake, name: str) -> None:
    try:
        widen(lake.open(name), datasets.load(name).arrow_schema())
    except CommitFailedError:
        pass  # another process of this release was first
    except (BadArgumentError, DeltaError) as error:
        log.error("table_not_of_this_schema", table=name, why=str(error))
