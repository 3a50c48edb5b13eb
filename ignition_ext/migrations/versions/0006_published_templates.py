"""A published template version never changes: the database itself refuses it

Revision ID: 0006
Revises: 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

POSTGRESQL = (
    # Only the state may move on, between published and archived.
    """
    CREATE FUNCTION template_version_guard() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'UPDATE' AND NEW.state <> 'draft'
            AND to_jsonb(NEW) - 'state' = to_jsonb(OLD) - 'state' THEN
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'a published template_version never changes: % is refused', TG_OP
            USING ERRCODE = 'insufficient_privilege';
    END $$
    """,
    """
    CREATE TRIGGER template_version_fixed BEFORE UPDATE OR DELETE ON template_version
        FOR EACH ROW WHEN (OLD.published_at IS NOT NULL)
        EXECUTE FUNCTION template_version_guard()
    """,
)

SQLITE = (
    """
    CREATE TRIGGER template_version_fixed BEFORE UPDATE ON template_version
    WHEN OLD.published_at IS NOT NULL AND (
        NEW.state = 'draft'
        OR NEW.id IS NOT OLD.id
        OR NEW.tenant_id IS NOT OLD.tenant_id
        OR NEW.template_id IS NOT OLD.template_id
        OR NEW.version IS NOT OLD.version
        OR NEW.digest IS NOT OLD.digest
        OR NEW.files IS NOT OLD.files
        OR NEW.compiled IS NOT OLD.compiled
        OR NEW.variables IS NOT OLD.variables
        OR NEW.settings IS NOT OLD.settings
        OR NEW.created_at IS NOT OLD.created_at
        OR NEW.published_at IS NOT OLD.published_at
    )
    BEGIN SELECT RAISE(ABORT, 'a published template_version never changes: UPDATE is refused'); END
    """,
    """
    CREATE TRIGGER template_version_kept BEFORE DELETE ON template_version
    WHEN OLD.published_at IS NOT NULL
    BEGIN SELECT RAISE(ABORT, 'a published template_version never changes: DELETE is refused'); END
    """,
)


def upgrade() -> None:
    on_postgres = op.get_bind().dialect.name == "postgresql"
    for statement in POSTGRESQL if on_postgres else SQLITE:
        op.execute(statement)
