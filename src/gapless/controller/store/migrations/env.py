"""Alembic's entry: runs the steps on the connection that `migrate.upgrade` hands in. There is no offline mode."""

from alembic import context

from gapless.controller.store.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,  # SQLite cannot alter most of a table: new steps copy it
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
