"""What is told to others

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

BEGIN_POSTGRESQL = """
    INSERT INTO outcome_cursor (name, position, moved_at)
    SELECT 'messages',
           jsonb_build_object('snapshot', pg_current_snapshot()::text, 'marks', '[]'::jsonb),
           clock_timestamp()
"""
BEGIN_SQLITE = """
    INSERT INTO outcome_cursor (name, position, moved_at)
    SELECT 'messages', '{}', strftime('%Y-%m-%d %H:%M:%f000', 'now')
"""


def upgrade() -> None:
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    _outbox()
    _webhooks()
    op.create_index(
        "ix_message_event_at",
        "message_event",
        ["at"],
        postgresql_using="brin",
        postgresql_with={"pages_per_range": 32, "autosummarize": True},
        sqlite_where=sa.text("new_state <> 'sent' OR old_state <> 'sending'"),
    )
    op.add_column(
        "campaign_run",
        sa.Column("announced_as", sa.String(16), nullable=False, server_default=""),
    )
    # What happened under earlier releases is not told any more.
    op.execute("UPDATE campaign_run SET announced_as = state")
    op.create_index(
        "ix_campaign_run_announced",
        "campaign_run",
        ["id"],
        sqlite_where=sa.text("announced_as <> state"),
        postgresql_where=sa.text("announced_as <> state"),
    )
    op.execute(BEGIN_POSTGRESQL if is_postgresql else BEGIN_SQLITE)
    # Whoever tells Prefect holds this row's time.
    op.execute(
        "INSERT INTO outcome_cursor (name, position, moved_at)"
        " VALUES ('prefect', '{}', '2000-01-01 00:00:00.000000')"
    )
    value = "jsonb_build_object('seq', seq)" if is_postgresql else "json_object('seq', seq)"
    op.execute(
        "INSERT INTO outcome_cursor (name, position, moved_at)"
        f" SELECT 'audit:' || tenant_id, {value}, CURRENT_TIMESTAMP FROM audit_head"
    )


def _outbox() -> None:
    op.create_table(
        "outbox_event",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tenant_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(300), nullable=False),
        sa.Column("payload", JSON, nullable=False),
        sa.Column("private", JSON, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("routed_at", TIME),
        sa.Column("told_at", TIME),
    )
    for name, column in (("unrouted", "routed_at"), ("untold", "told_at")):
        op.create_index(
            f"ix_outbox_event_{name}",
            "outbox_event",
            ["id"],
            sqlite_where=sa.text(f"{column} IS NULL"),
            postgresql_where=sa.text(f"{column} IS NULL"),
        )
    op.create_table(
        "outcome_cursor",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("position", JSON, nullable=False),
        sa.Column("moved_at", TIME, nullable=False),
    )


def _webhooks() -> None:
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tenant_id", sa.Integer(), sa.ForeignKey("tenant.id"), nullable=False),
        sa.Column("url", sa.String(2000), nullable=False),
        sa.Column("events", JSON, nullable=False),
        sa.Column("secret", sa.String(500), nullable=False),
        sa.Column("old_secret", sa.String(500), nullable=False),
        sa.Column("old_secret_until", TIME),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", TIME),
        sa.Column("wait_until", TIME),
        sa.Column("lease_id", sa.Uuid()),
        sa.Column("lease_until", TIME),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("deleted_at", TIME),
        sa.CheckConstraint("state IN ('enabled', 'disabled')", name="ck_webhook_endpoint_state"),
    )
    op.create_index("ix_webhook_endpoint_tenant", "webhook_endpoint", ["tenant_id"])
    op.create_table(
        "webhook_delivery",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("endpoint_id", sa.Uuid(), sa.ForeignKey("webhook_endpoint.id"), nullable=False),
        sa.Column("tenant_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("outcomes", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", TIME, nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("detail", sa.String(500), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("ended_at", TIME),
        sa.CheckConstraint(
            "state IN ('pending', 'delivered', 'failed')", name="ck_webhook_delivery_state"
        ),
    )
    op.create_index(
        "ix_webhook_delivery_due",
        "webhook_delivery",
        ["endpoint_id", "next_at"],
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
