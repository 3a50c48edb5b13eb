"""Runs that go out in steps

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "run_steps",
        sa.Column("run_id", sa.Uuid(), sa.ForeignKey("campaign_run.id"), primary_key=True),
        sa.Column("tenant_id", sa.Integer(), sa.ForeignKey("tenant.id"), nullable=False),
        sa.Column("ramp", JSON, nullable=False),
        sa.Column("wait_seconds", sa.Float(), nullable=False),
        sa.Column("stop_if", JSON, nullable=False),
        sa.Column("targets", JSON, nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("released", sa.Integer(), nullable=False),
        sa.Column("next_at", TIME),
        sa.Column("base", JSON, nullable=False),
        sa.Column("is_watched", sa.Boolean(), nullable=False),
        sa.Column("stops", sa.Integer(), nullable=False),
        sa.Column("stopped_at", TIME),
        sa.Column("stop", JSON, nullable=False),
    )
    op.create_index(
        "ix_run_steps_stopped",
        "run_steps",
        ["stopped_at"],
        sqlite_where=sa.text("stopped_at IS NOT NULL"),
        postgresql_where=sa.text("stopped_at IS NOT NULL"),
    )
    op.create_table(
        "message_held",
        sa.Column("run_id", sa.Uuid(), primary_key=True),
        sa.Column("place", sa.Integer(), primary_key=True),
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("run_at", TIME, primary_key=True),
        sa.Column("tenant_id", sa.Integer(), nullable=False),
        sqlite_with_rowid=False,
    )
