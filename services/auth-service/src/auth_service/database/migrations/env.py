"""Alembic's entry: upgrades the connection that `migrate` hands over, inside its transaction."""

from alembic import context

from auth_service.database.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
