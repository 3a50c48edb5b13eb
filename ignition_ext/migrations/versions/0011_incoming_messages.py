"""What came in by SMS

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

TIME = sa.DateTime(timezone=True)

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sms_route",
        sa.Column("bind", sa.String(200), primary_key=True),
        sa.Column("sender", sa.String(20), primary_key=True),
        sa.Column("tenant_id", sa.Integer(), sa.ForeignKey("tenant.id"), primary_key=True),
        sa.Column("used_at", TIME, nullable=False),
    )
    op.create_table(
        "inbound_message",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("received_at", TIME, primary_key=True),
        sa.Column("tenant_id", sa.Integer()),
        sa.Column("bind", sa.String(200), nullable=False),
        sa.Column("source", sa.String(320), nullable=False),
        sa.Column("destination", sa.String(320), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("octets", sa.Text(), nullable=False),
        sa.Column("data_coding", sa.Integer(), nullable=False),
        sa.Column("parts", sa.Integer(), nullable=False),
        sa.Column("parts_received", sa.Integer(), nullable=False),
        sa.Column("keyword", sa.String(8), nullable=False),
        sa.Column("language", sa.String(8), nullable=False),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("repeats", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
    )
    op.create_index("ix_inbound_message_digest", "inbound_message", ["bind", "digest"])
    op.create_index("ix_inbound_message_tenant", "inbound_message", ["tenant_id", "received_at"])
    op.create_table(
        "inbound_part",
        sa.Column("bind", sa.String(200), primary_key=True),
        sa.Column("source", sa.String(64), primary_key=True),
        sa.Column("destination", sa.String(64), primary_key=True),
        sa.Column("reference", sa.String(16), primary_key=True),
        sa.Column("parts", sa.Integer(), primary_key=True),
        sa.Column("part", sa.Integer(), primary_key=True),
        sa.Column("tenant_id", sa.Integer()),
        sa.Column("data_coding", sa.Integer(), nullable=False),
        sa.Column("octets", sa.Text(), nullable=False),
        sa.Column("padding", sa.Integer(), nullable=False),
        sa.Column("single_shift", sa.Integer(), nullable=False),
        sa.Column("locking_shift", sa.Integer(), nullable=False),
        sa.Column("is_binary", sa.Boolean(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("joined_at", TIME),
    )
    op.create_index("ix_inbound_part_received", "inbound_part", ["received_at"])
    op.create_table(
        "sms_reply",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("tenant_id", sa.Integer(), sa.ForeignKey("tenant.id"), nullable=False),
        sa.Column("inbound_id", sa.Uuid(), nullable=False),
        sa.Column("bind", sa.String(200), nullable=False),
        sa.Column("source", sa.String(20), nullable=False),
        sa.Column("destination", sa.String(320), nullable=False),
        sa.Column("keyword", sa.String(8), nullable=False),
        sa.Column("language", sa.String(8), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("parts", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(20), nullable=False),
        sa.Column("detail", sa.String(500), nullable=False),
        sa.Column("provider_id", sa.String(100), nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint(
            "state IN ('pending', 'sending', 'sent', 'failed', 'uncertain', 'expired',"
            " 'suppressed')",
            name="ck_sms_reply_state",
        ),
    )
    op.create_index("ix_sms_reply_number", "sms_reply", ["tenant_id", "destination", "keyword"])
    op.create_index(
        "ix_sms_reply_open",
        "sms_reply",
        ["bind", "created_at"],
        sqlite_where=sa.text("state IN ('pending', 'sending')"),
        postgresql_where=sa.text("state IN ('pending', 'sending')"),
    )
