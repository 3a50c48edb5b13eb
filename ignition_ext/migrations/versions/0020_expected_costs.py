"""How runs' expected costs were found

Revision ID: 0020
Revises: 0019
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

VIEWS = Path(__file__).parents[1] / "views"

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("run_cost", sa.Column("basis", sa.String(16)))
    # Until now only pre-flight estimated.
    op.execute("UPDATE run_cost SET basis = 'preflight' WHERE kind = 'estimate'")
    script = (VIEWS / f"0020.{op.get_bind().dialect.name}.sql").read_text()
    for statement in script.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)
