"""What recipients allow, and what they were written of late

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)


def tenant(*, is_key: bool = False) -> sa.Column[int]:
    return sa.Column(
        "tenant_id", sa.Integer(), sa.ForeignKey("tenant.id"), primary_key=is_key, nullable=False
    )


def upgrade() -> None:
    op.add_column(
        "suppression", sa.Column("actor", sa.String(200), nullable=False, server_default="")
    )
    op.create_table(
        "preference",
        sa.Column("id", BIG_ID, primary_key=True),
        tenant(),
        sa.Column("channel", sa.String(8), nullable=False),
        sa.Column("address", sa.String(320), nullable=False),
        sa.Column("preferred", sa.String(8)),
        sa.Column("topics", JSON, nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.UniqueConstraint("tenant_id", "channel", "address", name="uq_preference"),
        sa.CheckConstraint("channel IN ('email', 'sms')", name="ck_preference_channel"),
    )
    op.create_table(
        "capped_message",
        # Without a foreign key: a claim writes here, and would have to look each tenant up.
        sa.Column("tenant_id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("channel", sa.String(8), primary_key=True),
        sa.Column("address", sa.String(320), primary_key=True),
        sa.Column("message_id", sa.Uuid(), primary_key=True),
        sa.Column("run_at", TIME, nullable=False),
        sa.Column("claimed_at", TIME, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "forgotten_key",
        tenant(is_key=True),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
    )
    op.create_table(
        "forgotten_address",
        tenant(is_key=True),
        sa.Column("channel", sa.String(8), primary_key=True),
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
    )
