"""Runs that go by two channels

Revision ID: 0018
Revises: 0017
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

VIEWS = Path(__file__).parents[1] / "views"

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    op.add_column(
        "campaign_run", sa.Column("channel", sa.String(8), nullable=False, server_default="")
    )
    if dialect == "postgresql":
        lead = sa.Column("lead_run_id", sa.Uuid(), sa.ForeignKey("campaign_run.id"))
        op.add_column("campaign_run", lead)
    else:
        # SQLite takes a reference with the column, and no other way without copying the table.
        op.execute(
            "ALTER TABLE campaign_run ADD COLUMN lead_run_id CHAR(32) REFERENCES campaign_run (id)"
        )
    # Every run so far went by the one channel of its campaign's version.
    said = {
        "postgresql": "v.definition ->> 'channel'",
        "sqlite": "json_extract(v.definition, '$.channel')",
    }[dialect]
    op.execute(
        "UPDATE campaign_run SET channel = coalesce("
        f"(SELECT {said} FROM campaign_version AS v"
        " WHERE v.campaign_id = campaign_run.campaign_id"
        " AND v.version = campaign_run.campaign_version), 'email')"
    )
    op.create_index("uq_campaign_run_leg", "campaign_run", ["lead_run_id", "channel"], unique=True)
    for statement in (VIEWS / f"0018.{dialect}.sql").read_text().split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)
