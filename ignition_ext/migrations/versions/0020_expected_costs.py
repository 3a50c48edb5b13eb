"""How runs' expected costs were found, what answers cost, which texts are acknowledged

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
    op.add_column(
        "sms_reply", sa.Column("segments", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column("sms_reply", sa.Column("card_id", sa.Integer()))
    op.add_column(
        "sms_reply", sa.Column("currency", sa.String(3), nullable=False, server_default="")
    )
    op.add_column("sms_reply", sa.Column("micros", sa.BigInteger()))
    op.add_column("sms_reply", sa.Column("charged_at", sa.DateTime(timezone=True)))
    op.add_column("inbound_message", sa.Column("acknowledged_at", sa.DateTime(timezone=True)))
    script = (VIEWS / f"0020.{op.get_bind().dialect.name}.sql").read_text()
    for statement in script.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)
