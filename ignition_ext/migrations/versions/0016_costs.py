"""What messages cost

Revision ID: 0016
Revises: 0015
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
FOLDER = Path(__file__).parent.parent / "views"

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_cards()
    add_costs()
    add_money()
    script = (FOLDER / f"0016.{op.get_bind().dialect.name}.sql").read_text()
    for statement in script.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)


def add_cards() -> None:
    op.create_table(
        "rate_card",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("tenant_id", sa.Integer(), sa.ForeignKey("tenant.id"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("email_micros", sa.BigInteger()),
        sa.Column("valid_from", TIME, nullable=False),
        sa.Column("valid_to", TIME),
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.UniqueConstraint("tenant_id", "version", name="uq_rate_card_version"),
        sa.CheckConstraint("valid_to IS NULL OR valid_to > valid_from", name="ck_rate_card_valid"),
    )
    op.create_table(
        "rate_card_entry",
        sa.Column("card_id", sa.Integer(), sa.ForeignKey("rate_card.id"), primary_key=True),
        sa.Column("kind", sa.String(8), primary_key=True),
        sa.Column("code", sa.String(15), primary_key=True),
        sa.Column("tenant_id", sa.Integer(), nullable=False),
        sa.Column("micros", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.CheckConstraint("kind IN ('prefix', 'network')", name="ck_rate_card_entry_kind"),
        sa.CheckConstraint("micros >= 0", name="ck_rate_card_entry_micros"),
    )


def add_costs() -> None:
    op.create_table(
        "run_rate_card",
        sa.Column("run_id", sa.Uuid(), primary_key=True),
        sa.Column("tenant_id", sa.Integer(), nullable=False),
        sa.Column("card_id", sa.Integer(), sa.ForeignKey("rate_card.id"), nullable=False),
        sa.Column("pinned_at", TIME, nullable=False),
    )
    op.create_table(
        "run_cost",
        sa.Column("run_id", sa.Uuid(), primary_key=True),
        sa.Column("kind", sa.String(8), primary_key=True),
        sa.Column("country", sa.String(8), primary_key=True),
        sa.Column("tenant_id", sa.Integer(), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("messages", sa.BigInteger(), nullable=False),
        sa.Column("segments", sa.BigInteger(), nullable=False),
        sa.Column("unpriced", sa.BigInteger(), nullable=False),
        sa.Column("micros", sa.BigInteger(), nullable=False),
        sa.Column("computed_at", TIME, nullable=False),
        sa.CheckConstraint("kind IN ('estimate', 'actual')", name="ck_run_cost_kind"),
    )


def add_money() -> None:
    op.create_table(
        "money_account",
        sa.Column("key", sa.String(120), primary_key=True),
        sa.Column("tenant_id", sa.Integer(), nullable=False),
        sa.Column("campaign_id", sa.Integer()),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("budget", sa.BigInteger(), nullable=False),
        sa.Column("spent", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", TIME),
        sa.Column("warned_at", TIME),
        sa.Column("exhausted_at", TIME),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("spent >= 0 AND held >= 0", name="ck_money_account_positive"),
    )
    op.create_table(
        "money_hold",
        sa.Column("message_id", sa.Uuid(), primary_key=True),
        sa.Column("run_at", TIME, nullable=False),
        sa.Column("tenant_id", sa.Integer(), nullable=False),
        sa.Column("holder", sa.Uuid(), nullable=False),
        sa.Column("accounts", JSON, nullable=False),
        sa.Column("segments", sa.Integer(), nullable=False),
        sa.Column("micros", sa.BigInteger(), nullable=False),
        sa.Column("held_at", TIME, nullable=False),
    )
    op.create_index("ix_money_hold_tenant", "money_hold", ["tenant_id", "held_at"])
