"""What is known of a host's name outlives its agent."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Of hosts of before, one machine is known each. What it was at since it connected last is in its range."""
    op.create_table(
        "host_names",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("instance", sa.String(length=36), nullable=False),
        sa.Column("started", sa.Integer(), nullable=False),
        sa.Column("highest", sa.Integer(), nullable=False),
        sa.Column("outlived", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_host_names")),
    )
    op.execute(
        "INSERT INTO host_names (name, instance, started, highest, outlived) "
        "SELECT name, instance, incarnation, incarnation, 0 FROM hosts"
    )
