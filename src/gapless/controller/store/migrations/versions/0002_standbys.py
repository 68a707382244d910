"""Who may succeed whom, the arbiters, and the steps of takeovers."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Bindings of before are classic: nobody may succeed, and nothing guards them. No router of before has a standby,
    whatever its `ha` said.
    """
    op.execute("UPDATE routers SET ha = 0")
    with op.batch_alter_table("bindings") as bindings:
        bindings.add_column(sa.Column("incarnation", sa.Integer(), nullable=True))
        bindings.add_column(sa.Column("leaving_incarnation", sa.Integer(), nullable=True))
        bindings.add_column(sa.Column("standby_host", sa.String(length=255), nullable=True))
        bindings.add_column(sa.Column("standby_incarnation", sa.Integer(), nullable=True))
        bindings.create_index(op.f("ix_bindings_standby_host"), ["standby_host"], unique=False)
    with op.batch_alter_table("moves") as moves:
        moves.add_column(sa.Column("missed_at", sa.DateTime(), nullable=True))
        moves.add_column(sa.Column("silent_at", sa.DateTime(), nullable=True))
        moves.add_column(sa.Column("buried_at", sa.DateTime(), nullable=True))
        moves.add_column(sa.Column("opened_at", sa.DateTime(), nullable=True))
    op.create_table(
        "panel",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("floor", sa.Integer(), nullable=False),
        sa.Column("sets", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_panel")),
    )
