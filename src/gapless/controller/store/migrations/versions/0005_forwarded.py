"""When a router that was taken over had forwarded its first packet."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Of no move of before is that known."""
    with op.batch_alter_table("moves") as moves:
        moves.add_column(sa.Column("forwarded_at", sa.DateTime(), nullable=True))
