"""Rates, binds and circuits that all senders on all nodes share

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

TIME = sa.DateTime(timezone=True)

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rate_budget",
        sa.Column("key", sa.String(400), primary_key=True),
        sa.Column("tenant_id", sa.Integer()),
        sa.Column("rate", sa.Float(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("share", sa.Float(), nullable=False),
        sa.Column("next_at", TIME, nullable=False),
        sa.CheckConstraint("rate > 0", name="ck_rate_budget_rate"),
    )
    op.create_index("ix_rate_budget_next", "rate_budget", ["next_at"])
    op.create_table(
        "bind_slot",
        sa.Column("account", sa.String(300), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("tenant_id", sa.Integer()),
        sa.Column("holder", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("taken_at", TIME, nullable=False),
        sa.Column("until", TIME, nullable=False),
    )
    op.create_table(
        "circuit",
        sa.Column("server", sa.String(400), primary_key=True),
        sa.Column("tenant_id", sa.Integer()),
        sa.Column("trouble", sa.String(16), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("trips", sa.Integer(), nullable=False),
        sa.Column("open_until", TIME),
        sa.Column("probe", sa.Uuid()),
        sa.Column("probe_until", TIME),
        sa.Column("login", sa.String(200), nullable=False),
        sa.Column("reason", sa.String(1000), nullable=False),
        sa.Column("failing_since", TIME, nullable=False),
        sa.Column("changed_at", TIME, nullable=False),
        sa.CheckConstraint("trouble IN ('connection', 'login')", name="ck_circuit_trouble"),
    )
