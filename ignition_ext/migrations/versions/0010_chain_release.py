"""Campaigns that come after others, and the time that a run may take

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

TIME = sa.DateTime(timezone=True)

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "chain_release",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tenant_id", sa.Integer(), sa.ForeignKey("tenant.id"), nullable=False),
        sa.Column("campaign_id", sa.Integer(), sa.ForeignKey("campaign.id"), nullable=False),
        sa.Column("root", sa.Uuid(), nullable=False),
        sa.Column("root_campaign_id", sa.Integer(), sa.ForeignKey("campaign.id"), nullable=False),
        sa.Column("gathering", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(2000), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("due_at", TIME),
        sa.Column("flow_run_id", sa.Uuid()),
        sa.Column("decided_at", TIME),
        sa.Column("created_at", TIME, nullable=False),
        sa.UniqueConstraint("root", "campaign_id", name="uq_chain_release_root"),
        sa.CheckConstraint(
            "state IN ('waiting', 'released', 'skipped')", name="ck_chain_release_state"
        ),
    )
    op.create_index(
        "uq_chain_release_gathering",
        "chain_release",
        ["campaign_id"],
        unique=True,
        sqlite_where=sa.text("gathering"),
        postgresql_where=sa.text("gathering"),
    )
    op.create_index("ix_chain_release_flow_run", "chain_release", ["flow_run_id"])
    op.create_index(
        "ix_chain_release_untold",
        "chain_release",
        ["decided_at"],
        sqlite_where=sa.text("flow_run_id IS NULL"),
        postgresql_where=sa.text("flow_run_id IS NULL"),
    )
    op.create_table(
        "chain_arrival",
        sa.Column("campaign_id", sa.Integer(), sa.ForeignKey("campaign.id"), primary_key=True),
        sa.Column("parent_flow_run_id", sa.Uuid(), primary_key=True),
        sa.Column("tenant_id", sa.Integer(), sa.ForeignKey("tenant.id"), nullable=False),
        sa.Column("parent_id", sa.Integer(), sa.ForeignKey("campaign.id"), nullable=False),
        sa.Column("release_id", sa.Uuid(), sa.ForeignKey("chain_release.id")),
        sa.Column("ended", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(2000), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.UniqueConstraint("release_id", "parent_id", name="uq_chain_arrival_release_parent"),
    )
    op.add_column(
        "campaign_run",
        sa.Column("let_go_as", sa.String(16), nullable=False, server_default=""),
    )
    op.add_column("campaign_run", sa.Column("ends_by", sa.DateTime(timezone=True)))
    # Runs of earlier releases had nothing come after them.
    op.execute("UPDATE campaign_run SET let_go_as = state")
    op.create_index(
        "ix_campaign_run_let_go",
        "campaign_run",
        ["ended_at"],
        sqlite_where=sa.text("let_go_as <> state"),
        postgresql_where=sa.text("let_go_as <> state"),
    )
