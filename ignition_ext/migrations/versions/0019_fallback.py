"""Text messages that go where an email did not get through

Revision ID: 0019
Revises: 0018
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
VIEWS = Path(__file__).parents[1] / "views"

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_GOES_ON = sa.text("closed_at IS NULL")
_UNDELIVERED = sa.text(
    "new_state <> 'sent' AND (new_state IN ('failed', 'bounced', 'expired', 'uncertain')"
    " OR new_state = 'suppressed' AND detail = 'on the suppression list: bounce')"
)


def upgrade() -> None:
    op.create_table(
        "fallback_run",
        sa.Column("run_id", sa.Uuid(), primary_key=True),
        sa.Column("tenant_id", sa.Integer(), nullable=False),
        sa.Column("causes", JSON, nullable=False),
        sa.Column("within_seconds", sa.Integer(), nullable=False),
        sa.Column("sms_guarantee", sa.String(16), nullable=False),
        sa.Column("sms_seconds", sa.Integer()),
        sa.Column("seen_at", TIME, nullable=False),
        sa.Column("closed_at", TIME),
        sa.Column("created_at", TIME, nullable=False),
    )
    op.create_index(
        "ix_fallback_run_open",
        "fallback_run",
        ["run_id"],
        sqlite_where=_GOES_ON,
        postgresql_where=_GOES_ON,
    )
    op.create_table(
        "fallback_message",
        sa.Column("message_id", sa.Uuid(), primary_key=True),
        sa.Column("tenant_id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("sms_id", sa.Uuid(), nullable=False),
        sa.Column("sms_run_id", sa.Uuid(), nullable=False),
        sa.Column("cause", sa.String(16), nullable=False),
        sa.Column("failure_class", sa.String(20)),
        sa.Column("at", TIME, nullable=False),
    )
    op.create_index("ix_fallback_message_run", "fallback_message", ["run_id"])
    op.create_index("ix_fallback_message_sms", "fallback_message", ["sms_id"])
    op.create_index(
        "ix_message_event_undelivered",
        "message_event",
        ["run_at", "at", "message_id"],
        sqlite_where=_UNDELIVERED,
        postgresql_where=_UNDELIVERED,
    )
    script = (VIEWS / f"0019.{op.get_bind().dialect.name}.sql").read_text()
    for statement in script.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)
