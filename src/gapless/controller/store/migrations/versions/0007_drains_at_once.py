"""How many routers may leave a host out of service at a time, as an operator said."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Of no host of before was that stored."""
    with op.batch_alter_table("hosts") as hosts:
        hosts.add_column(sa.Column("drains_at_once", sa.Integer(), nullable=True))
