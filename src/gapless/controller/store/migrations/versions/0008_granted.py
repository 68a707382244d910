"""When a host that was taken over from had been granted its lease for the last time."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Of no move of before is that known."""
    with op.batch_alter_table("moves") as moves:
        moves.add_column(sa.Column("granted_at", sa.DateTime(), nullable=True))
