"""The audit log is append-only by the database itself, and its rows are signed

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

POSTGRESQL = (
    """
    CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP
            USING ERRCODE = 'insufficient_privilege';
    END $$
    """,
    # A head only moves on by one row, or is signed anew where it is.
    """
    CREATE FUNCTION audit_head_guard() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.tenant_id = OLD.tenant_id
            AND (NEW.seq = OLD.seq + 1 OR (NEW.seq = OLD.seq AND NEW.hash = OLD.hash)) THEN
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'audit_head only moves forward: UPDATE is refused'
            USING ERRCODE = 'insufficient_privilege';
    END $$
    """,
    """
    CREATE TRIGGER audit_log_refuse BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
        FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()
    """,
    """
    CREATE TRIGGER audit_head_refuse BEFORE DELETE OR TRUNCATE ON audit_head
        FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()
    """,
    """
    CREATE TRIGGER audit_head_forward BEFORE UPDATE ON audit_head
        FOR EACH ROW EXECUTE FUNCTION audit_head_guard()
    """,
    # ALWAYS: also for a session that set session_replication_role to replica.
    "ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_refuse",
    "ALTER TABLE audit_head ENABLE ALWAYS TRIGGER audit_head_refuse",
    "ALTER TABLE audit_head ENABLE ALWAYS TRIGGER audit_head_forward",
)

SQLITE = (
    """
    CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log
    BEGIN SELECT RAISE(ABORT, 'audit_log is append-only: UPDATE is refused'); END
    """,
    """
    CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
    BEGIN SELECT RAISE(ABORT, 'audit_log is append-only: DELETE is refused'); END
    """,
    # INSERT OR REPLACE deletes the old row without firing delete triggers, unless the
    # connection set recursive_triggers; who opens the file with another program has not.
    """
    CREATE TRIGGER audit_log_no_replace BEFORE INSERT ON audit_log
    WHEN EXISTS (
        SELECT 1 FROM audit_log
        WHERE id = NEW.id OR (tenant_id = NEW.tenant_id AND seq = NEW.seq)
    )
    BEGIN SELECT RAISE(ABORT, 'audit_log is append-only: REPLACE is refused'); END
    """,
    """
    CREATE TRIGGER audit_head_forward BEFORE UPDATE ON audit_head
    WHEN NOT (
        NEW.tenant_id = OLD.tenant_id
        AND (NEW.seq = OLD.seq + 1 OR (NEW.seq = OLD.seq AND NEW.hash = OLD.hash))
    )
    BEGIN SELECT RAISE(ABORT, 'audit_head only moves forward: UPDATE is refused'); END
    """,
    """
    CREATE TRIGGER audit_head_no_delete BEFORE DELETE ON audit_head
    BEGIN SELECT RAISE(ABORT, 'audit_head is append-only: DELETE is refused'); END
    """,
    """
    CREATE TRIGGER audit_head_no_replace BEFORE INSERT ON audit_head
    WHEN EXISTS (SELECT 1 FROM audit_head WHERE tenant_id = NEW.tenant_id)
    BEGIN SELECT RAISE(ABORT, 'audit_head is append-only: REPLACE is refused'); END
    """,
)


def upgrade() -> None:
    op.add_column(
        "audit_log", sa.Column("signature", sa.String(200), nullable=False, server_default="")
    )
    op.add_column(
        "audit_log", sa.Column("key_id", sa.String(64), nullable=False, server_default="")
    )
    on_postgres = op.get_bind().dialect.name == "postgresql"
    for statement in POSTGRESQL if on_postgres else SQLITE:
        op.execute(statement)
