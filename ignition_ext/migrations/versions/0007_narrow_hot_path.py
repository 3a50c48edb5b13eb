"""What is due and what is leased in small tables of their own; events only where something ends

Revision ID: 0007
Revises: 0006
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

FOLDER = Path(__file__).parent.parent / "views"
TIME = sa.DateTime(timezone=True)
IDS = sa.JSON().with_variant(postgresql.ARRAY(sa.Uuid()), "postgresql")
INDEXES = ("ix_message_address", "ix_message_claim", "ix_message_lease", "ix_message_run_state")
POSTGRESQL = (
    # Room on each page for the new versions of its rows, so that no index hears of them.
    "ALTER TABLE message SET (fillfactor = 50)",
    # Claims delete what they take, and pass over what is dead again and again until a vacuum.
    "ALTER TABLE message_due SET (autovacuum_vacuum_scale_factor = 0.02,"
    " autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0)",
)


def upgrade() -> None:
    on_postgres = op.get_bind().dialect.name == "postgresql"
    add_tables()
    op.add_column("message", sa.Column("intended_at", TIME, nullable=True))
    op.add_column("message_event", sa.Column("intended_at", TIME, nullable=True))
    move_waiting()
    move_leases(on_postgres)
    number_events()
    for name in INDEXES:
        op.drop_index(name, table_name="message")
    op.drop_index("ix_receipt_unmatched", table_name="receipt")
    op.create_index(
        "ix_receipt_unmatched",
        "receipt",
        ["bind", "received_at"],
        postgresql_where=sa.text("message_id IS NULL"),
        sqlite_where=sa.text("message_id IS NULL"),
    )
    if on_postgres:
        run_views("postgresql")
        change_postgres()
    else:
        # SQLite looks through every view when a table changes.
        op.execute("DROP VIEW message_timeline")
        op.execute("DROP VIEW run_history")
        rebuild_events()
        op.drop_column("message", "lease_until")
        run_views("sqlite")


def add_tables() -> None:
    op.create_table(
        "message_due",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("not_before", TIME, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run_at", TIME, nullable=False),
        sa.Column("tenant_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "not_before", "id", "run_at"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sender_lease",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run_at", TIME, nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("tenant_id", sa.Integer(), nullable=False),
        sa.Column("until", TIME, nullable=False),
        sa.Column("message_ids", IDS, nullable=False),
        sa.PrimaryKeyConstraint("id", "run_at"),
    )


def move_waiting() -> None:
    """A message that waits has its time in both places."""
    op.execute(
        "UPDATE message SET not_before = created_at"
        " WHERE state IN ('pending', 'deferred') AND not_before IS NULL"
    )
    op.execute(
        "INSERT INTO message_due (run_id, not_before, id, run_at, tenant_id)"
        " SELECT run_id, not_before, id, run_at, tenant_id FROM message"
        " WHERE state IN ('pending', 'deferred') AND run_id IS NOT NULL"
    )


def move_leases(on_postgres: bool) -> None:
    """A sender that is at work keeps what it holds; what nobody holds lapses at once."""
    new_id = "gen_random_uuid()" if on_postgres else "lower(hex(randomblob(16)))"
    ids = "array_agg(id)" if on_postgres else "json_group_array(id)"
    op.execute(
        f"UPDATE message SET lease_id = {new_id}"
        " WHERE state IN ('claimed', 'sending') AND lease_id IS NULL"
    )
    # A lease is of one run; PostgreSQL has no min() of keys.
    run_id = "(array_agg(run_id))[1]" if on_postgres else "min(run_id)"
    op.execute(
        "INSERT INTO sender_lease (id, run_at, run_id, tenant_id, until, message_ids)"
        f" SELECT lease_id, run_at, {run_id}, min(tenant_id),"
        f" max(coalesce(lease_until, updated_at)), {ids}"
        " FROM message WHERE state IN ('claimed', 'sending') GROUP BY lease_id, run_at"
    )


def number_events() -> None:
    """``created_at`` tells of the beginning; the rest is counted from 1 within its message."""
    op.execute("DELETE FROM message_event WHERE old_state = ''")
    op.execute(
        "UPDATE message_event AS e SET seq = n.number FROM (SELECT id, run_at,"
        " row_number() OVER (PARTITION BY message_id, run_at ORDER BY seq, at, id) AS number"
        " FROM message_event) AS n"
        " WHERE n.id = e.id AND n.run_at = e.run_at AND e.seq <> n.number"
    )
    op.execute("UPDATE message SET seq = 0 WHERE seq <> 0")
    op.execute(
        "UPDATE message AS m SET seq = n.number FROM (SELECT message_id, run_at,"
        " count(*) AS number FROM message_event GROUP BY message_id, run_at) AS n"
        " WHERE n.message_id = m.id AND n.run_at = m.run_at"
    )


def change_postgres() -> None:
    op.drop_index("ix_message_event_message", table_name="message_event")
    op.drop_constraint("message_event_pkey", "message_event", type_="primary")
    op.drop_column("message_event", "id")
    op.create_primary_key("message_event_pkey", "message_event", ["message_id", "seq", "run_at"])
    op.alter_column("message_event", "seq", server_default=None)
    op.alter_column("message", "seq", server_default="0")
    op.drop_column("message", "lease_until")
    for statement in POSTGRESQL:
        op.execute(statement)


def rebuild_events() -> None:
    """SQLite changes no primary key in place."""
    columns = (
        "message_id, seq, run_at, tenant_id, at, old_state, new_state, attempt, code,"
        " failure_class, detail"
    )
    op.create_table(
        "message_event_new",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("run_at", TIME, nullable=False),
        sa.Column("tenant_id", sa.Integer(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("old_state", sa.String(length=16), nullable=False),
        sa.Column("new_state", sa.String(length=16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=20), nullable=False),
        sa.Column("failure_class", sa.String(length=20), nullable=True),
        sa.Column("detail", sa.String(length=500), nullable=False),
        sa.Column("intended_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("message_id", "seq", "run_at"),
        sqlite_with_rowid=False,
    )
    op.execute(f"INSERT INTO message_event_new ({columns}) SELECT {columns} FROM message_event")
    op.drop_table("message_event")
    op.rename_table("message_event_new", "message_event")


def run_views(dialect: str) -> None:
    script = (FOLDER / f"0007.{dialect}.sql").read_text()
    for statement in script.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)
