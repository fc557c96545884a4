"""The tables of the newest schema version (sheet section 2). Times are Unix milliseconds, ids UUIDs."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

workspaces = Table(
    "workspaces",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("description", Text),
    Column("max_groups", Integer, nullable=False),
    Column("max_biz_tags", Integer, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("workspace_id", String(36), ForeignKey("workspaces.id", ondelete="CASCADE")),
    Column("name", String(64), nullable=False),
    Column("description", Text),
    Column("key_hash", String(64), nullable=False, unique=True),
    Column("key_prefix", String(16), nullable=False),
    Column("role", String(8), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("rate_limit", Integer, nullable=False),
    Column("enabled", Boolean(create_constraint=False), nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    UniqueConstraint("workspace_id", "name"),
)

# ID-59: there is never a second enabled admin key, however many ask for one at the same moment.
Index(
    "uq_api_keys_one_enabled_admin",
    api_keys.c.role,
    unique=True,
    sqlite_where=text("enabled AND role = 'admin'"),
    postgresql_where=text("enabled AND role = 'admin'"),
)

installation = Table(
    "installation",
    metadata,
    # Always 1: there is at most one row, and it is there once the first start is complete.
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("user_key_id", String(36), ForeignKey("api_keys.id"), nullable=False),
    Column("bootstrapped_at_ms", BigInteger, nullable=False),
)
