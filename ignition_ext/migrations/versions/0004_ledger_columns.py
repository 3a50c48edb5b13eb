"""What exact accounting needs: events numbered within their message, ids found in any spelling

Revision ID: 0004
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0002"
branch_labels = None
depends_on = None

LEASED = sa.text("state IN ('claimed', 'sending')")
COLUMNS = (
    ("message", sa.Column("seq", sa.Integer(), nullable=False, server_default="1")),
    ("message", sa.Column("resends", sa.Integer(), nullable=False, server_default="0")),
    ("message_event", sa.Column("seq", sa.Integer(), nullable=False, server_default="0")),
    (
        "message_part",
        sa.Column("provider_key", sa.String(length=100), nullable=False, server_default=""),
    ),
    (
        "receipt",
        sa.Column("provider_key", sa.String(length=100), nullable=False, server_default=""),
    ),
    (
        "receipt",
        sa.Column("id_format", sa.String(length=16), nullable=False, server_default="auto"),
    ),
    ("receipt", sa.Column("state", sa.String(length=16), nullable=True)),
)


def upgrade() -> None:
    for table, column in COLUMNS:
        op.add_column(table, column)
    op.drop_index("ix_message_lease", table_name="message")
    op.create_index(
        "ix_message_lease",
        "message",
        ["run_id", "lease_until"],
        postgresql_where=LEASED,
        sqlite_where=LEASED,
    )
    for table in ("message_part", "receipt"):
        op.drop_index(f"ix_{table}_provider", table_name=table)
        op.create_index(f"ix_{table}_provider", table, ["bind", "provider_key"])
