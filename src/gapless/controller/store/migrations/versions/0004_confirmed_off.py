"""Up to which incarnation of a host's name an operator confirmed that its machine was off."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Of no name of before was that said."""
    with op.batch_alter_table("host_names") as names:
        names.add_column(sa.Column("confirmed", sa.Integer(), nullable=False, server_default="0"))
