"""Several hosts may succeed a router's, one after another."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_BINDINGS = sa.table(
    "bindings",
    sa.column("router_id", sa.String),
    sa.column("epoch", sa.Integer),
    sa.column("standby_host", sa.String),
    sa.column("standby_incarnation", sa.Integer),
    sa.column("successors", sa.JSON),
)


def upgrade() -> None:
    """Whoever may succeed by now is the first, at the epoch that follows the binding's."""
    op.add_column("bindings", sa.Column("successors", sa.JSON(), nullable=False, server_default="[]"))
    connection, columns = op.get_bind(), _BINDINGS.c
    for row in connection.execute(sa.select(_BINDINGS).where(columns.standby_host.is_not(None))).all():
        first = {"host": row.standby_host, "incarnation": row.standby_incarnation, "epoch": row.epoch + 1}
        one = sa.update(_BINDINGS).where(columns.router_id == row.router_id)
        connection.execute(one.values(successors=[first]))
    op.drop_index(op.f("ix_bindings_standby_host"), "bindings")
    op.drop_column("bindings", "standby_host")
    op.drop_column("bindings", "standby_incarnation")
