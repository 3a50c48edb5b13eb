"""What came back by email

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)
REFUSED = "new_state = 'failed' AND failure_class IN ('address', 'mailbox') AND code <> ''"


def upgrade() -> None:
    op.create_table(
        "mail_report",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("matched_by", sa.String(16), nullable=False),
        sa.Column("tenant_id", sa.Integer()),
        sa.Column("message_id", sa.Uuid()),
        sa.Column("address", sa.String(320), nullable=False),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("code", sa.String(20), nullable=False),
        sa.Column("failure_class", sa.String(20)),
        sa.Column("is_hard", sa.Boolean(), nullable=False),
        sa.Column("detail", sa.String(500), nullable=False),
        sa.Column("remote_mta", sa.String(255), nullable=False),
        sa.Column("note", sa.String(500), nullable=False),
        sa.Column("report", JSON, nullable=False),
        sa.Column("raw", sa.LargeBinary()),
        sa.Column("settled_at", TIME),
        sa.UniqueConstraint("digest", name="uq_mail_report_digest"),
    )
    op.create_index("ix_mail_report_state", "mail_report", ["state", "received_at"])
    op.create_index(
        "ix_mail_report_address", "mail_report", ["tenant_id", "address", "received_at"]
    )
    op.create_index("ix_mail_report_message", "mail_report", ["message_id"])
    # Partial: an event that does not say it, as nearly all do not, costs nothing more.
    op.create_index(
        "ix_message_event_refused",
        "message_event",
        ["at"],
        sqlite_where=sa.text(REFUSED),
        postgresql_where=sa.text(REFUSED),
    )
