-- A group role that reads Ignition's views and nothing else. Run it in Ignition's database as a
-- user who may create roles; it may be run again. Then give people logins that belong to it:
--   CREATE ROLE jane LOGIN PASSWORD '…' IN ROLE ignition_analyst;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ignition_analyst') THEN
        CREATE ROLE ignition_analyst NOLOGIN;
    END IF;
END
$$;

GRANT USAGE ON SCHEMA analytics TO ignition_analyst;
GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO ignition_analyst;

-- Views of later releases as well: they belong to whoever runs `ignition db upgrade`, so run this
-- script as that user, or add FOR ROLE with his name here.
ALTER DEFAULT PRIVILEGES IN SCHEMA analytics GRANT SELECT ON TABLES TO ignition_analyst;
