"""What recipients opened and followed

Revision ID: 0017
Revises: 0016
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

TIME = sa.DateTime(timezone=True)
BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
VIEWS = Path(__file__).parents[1] / "views"

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tracked_url",
        sa.Column("id", BIG_ID, primary_key=True),
        sa.Column("tenant_id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(32), nullable=False),
        sa.Column("url", sa.String(2048), nullable=False),
        sa.UniqueConstraint("tenant_id", "digest", name="uq_tracked_url"),
    )
    op.create_table(
        "tracking_event",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tenant_id", sa.Integer(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("agent", sa.String(16), nullable=False),
        sa.Column("is_proxy", sa.Boolean(), nullable=False),
        sa.Column("url_id", BIG_ID),
        sa.CheckConstraint("kind IN ('open', 'click')", name="ck_tracking_event_kind"),
    )
    op.create_index("ix_tracking_event_message", "tracking_event", ["message_id", "kind"])
    dialect = op.get_bind().dialect.name
    for statement in (VIEWS / f"0017.{dialect}.sql").read_text().split(";"):
        if statement.strip():
            op.execute(statement)
