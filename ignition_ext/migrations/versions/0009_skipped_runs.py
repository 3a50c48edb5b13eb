"""Runs that had a reason not to send end as skipped

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

NAME = "ck_campaign_run_state"
STATES = "state IN ('open', 'paused', 'cancelled', 'completed', 'failed', 'skipped')"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint(NAME, "campaign_run", type_="check")
        op.create_check_constraint(NAME, "campaign_run", STATES)
    else:
        rebuild_runs()


def rebuild_runs() -> None:
    """SQLite changes no check in place, and looks through every view when a table changes."""
    connection = op.get_bind()
    found = connection.execute(
        sa.text("SELECT name, sql FROM sqlite_master WHERE type = 'view' ORDER BY rowid")
    )
    views = [(name, sql) for name, sql in found if "campaign_run" in sql]
    for name, _ in views:
        connection.exec_driver_sql(f'DROP VIEW "{name}"')
    with op.batch_alter_table("campaign_run") as table:
        table.drop_constraint(NAME, type_="check")
        table.create_check_constraint(NAME, STATES)
    for _, sql in views:
        connection.exec_driver_sql(sql)
