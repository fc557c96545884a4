"""Why a journal line, or an element of one, cannot become a row (LAKE-53, LAKE-91)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Refused(Exception):
    """Not a row. `error_type` is parse_error, schema_error or validation_error; `message` names the fields."""

    error_type: str
    reason: str
    message: str
    fields: tuple[str, ...] = ()


def missing(fields: Sequence[str]) -> Refused:
    """Required fields that are absent, null or empty."""
    return Refused(
        "schema_error",
        "missing_required_field",
        f"missing or empty required field: {', '.join(fields)}",
        tuple(fields),
    )


def wrong_type(field: str, wanted: str) -> Refused:
    """A value that the column cannot take."""
    return Refused("validation_error", "type_error", f"{field} must be {wanted}", (field,))


def out_of_range(field: str, allowed: str) -> Refused:
    """A value outside of its range."""
    return Refused("validation_error", "out_of_range", f"{field} must be {allowed}", (field,))


TOMBSTONE = Refused("parse_error", "tombstone", "the record has no value")
"""Kafka deletes a key by such a record; on these topics nothing is deleted."""
