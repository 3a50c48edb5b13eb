-- The lines of rates on PostgreSQL. Rows are locked in the order of keys, so that no two wait for
-- each other; the time is read after the locks.

-- name: enter
-- Adds what is not there and locks the rest. The first place of a new line is free at once.
INSERT INTO rate_budget AS line (key, tenant_id, rate, revision, share, next_at)
SELECT want.key, want.tenant_id, want.rate, want.revision, :share,
       statement_timestamp() - interval '1 hour'
  FROM jsonb_to_recordset(CAST(:wants AS jsonb))
       AS want (key text, tenant_id integer, rate float8, revision bigint)
 ORDER BY want.key
    ON CONFLICT (key) DO UPDATE
   SET revision = line.revision;

-- name: read
SELECT line.key, line.rate, line.revision, line.share, line.next_at,
       statement_timestamp() AS now
  FROM jsonb_to_recordset(CAST(:wants AS jsonb)) AS want (key text)
  JOIN rate_budget line ON line.key = want.key;

-- name: write
UPDATE rate_budget line
   SET rate = after.rate, revision = after.revision, share = after.share,
       next_at = after.next_at
  FROM jsonb_to_recordset(CAST(:lines AS jsonb))
       AS after (key text, rate float8, revision bigint, share float8,
                 next_at timestamptz)
 WHERE line.key = after.key;

-- name: sweep
DELETE FROM rate_budget
 WHERE key IN (SELECT key FROM rate_budget
                WHERE next_at < statement_timestamp() - CAST(:idle AS float8) * interval '1 second'
                ORDER BY key LIMIT :limit
                  FOR UPDATE SKIP LOCKED);
