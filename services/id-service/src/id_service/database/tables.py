"""The tables of the id service (ID sheet section 2).

Workspaces belong to the auth service: a group keeps the name of its workspace.
"""

from datetime import UTC, datetime
from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

LARGEST_MAX_ID: Final = 9223372036854775806


class UtcDateTime(TypeDecorator[datetime]):
    """A timezone-aware instant, also where the database keeps none (SQLite)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The instant in UTC; a naive datetime is a ValueError."""
        if value is not None and value.tzinfo is None:
            raise ValueError("a naive datetime has no instant")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The stored instant, in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


RowId = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite numbers rows by itself only in a column of the very type INTEGER."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

groups = Table(
    "groups",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("workspace", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("description", Text),
    Column("max_biz_tags", Integer, nullable=False, default=100),
    Column("config", JSON, nullable=False, default=dict),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("workspace", "name"),
    CheckConstraint("max_biz_tags BETWEEN 1 AND 1000", name="max_biz_tags"),
)

biz_tags = Table(
    "biz_tags",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("group_id", ForeignKey("groups.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(64), nullable=False),
    Column("description", Text),
    Column("algorithm", String(16), nullable=False, default="segment"),
    Column("format", String(16), nullable=False, default="numeric"),
    Column("prefix", String(50), nullable=False, default=""),
    Column("base_step", Integer, nullable=False, default=1000),
    Column("max_step", Integer, nullable=False, default=100_000),
    Column("datacenter_ids", JSON, nullable=False, default=lambda: [0]),
    Column("config", JSON, nullable=False, default=dict),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("group_id", "name"),
    CheckConstraint("algorithm IN ('segment', 'snowflake', 'uuid_v7', 'uuid_v4')", name="algorithm"),
    CheckConstraint("format IN ('numeric', 'prefixed', 'uuid', 'formatted')", name="format"),
    CheckConstraint("(format = 'uuid') = (algorithm IN ('uuid_v7', 'uuid_v4'))", name="format_fits"),
    CheckConstraint("format <> 'prefixed' OR prefix <> ''", name="prefix"),
    CheckConstraint("base_step BETWEEN 1 AND 1000000", name="base_step"),
    CheckConstraint("max_step BETWEEN base_step AND 10000000", name="max_step"),
)

segments = Table(
    "segments",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("biz_tag_id", ForeignKey("biz_tags.id", ondelete="CASCADE"), nullable=False),
    Column("datacenter_id", Integer, nullable=False),
    Column("period", String(8), nullable=False, default=""),
    Column("start_id", BigInteger, nullable=False),
    Column("current_id", BigInteger, nullable=False, comment="next id not yet allocated to any process"),
    Column("max_id", BigInteger, nullable=False, comment="last id, inclusive"),
    Column("step", Integer, nullable=False, comment="ids of the last allocation"),
    Column("base_step", Integer, nullable=False),
    Column("version", BigInteger, nullable=False, default=0, comment="+1 on every allocation"),
    Column("status", String(20), nullable=False, default="active"),
    Column("statistics", JSON, nullable=False, default=dict),
    Column("last_update_time", UtcDateTime, nullable=False),
    UniqueConstraint("biz_tag_id", "datacenter_id", "period"),
    CheckConstraint("datacenter_id BETWEEN 0 AND 7", name="datacenter_id"),
    CheckConstraint("start_id >= 1", name="start_id"),
    CheckConstraint("current_id BETWEEN start_id AND max_id + 1", name="current_id"),
    CheckConstraint(f"max_id > start_id AND max_id <= {LARGEST_MAX_ID}", name="max_id"),
    CheckConstraint("step > 0 AND base_step > 0", name="step"),
    CheckConstraint("status IN ('active', 'exhausted', 'disabled')", name="status"),
)
Index(None, segments.c.status)

segment_allocations = Table(
    "segment_allocations",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("segment_id", ForeignKey("segments.id", ondelete="CASCADE"), nullable=False),
    Column("first_id", BigInteger, nullable=False),
    Column("last_id", BigInteger, nullable=False),
    Column("allocated_at", UtcDateTime, nullable=False),
    Column("node_id", String(64), nullable=False),
    Column("step_used", Integer, nullable=False),
    UniqueConstraint("segment_id", "last_id"),
    CheckConstraint("first_id >= 1 AND step_used = last_id - first_id + 1 AND step_used > 0", name="range"),
)
