-- Messages on PostgreSQL. Each UPDATE names the states that it may start from and writes its events
-- in the same transaction. Times are the server's: statement_timestamp() begins after the locks of
-- an earlier statement. No index knows a column that changes while a message is sent, so that its
-- versions stay on one page.

-- name: read_run
SELECT state, deadline IS NOT NULL AND deadline <= statement_timestamp(),
       snapshot_at IS NOT NULL, max_messages
  FROM campaign_run
 WHERE id = %(run_id)s;

-- name: share_run
-- Claims share the row; pausing and cancelling wait for the claims that are under way. The last
-- column says whether there are terms to read: caps, chosen topics, forgotten addresses.
SELECT r.state, r.deadline IS NOT NULL AND r.deadline <= statement_timestamp(),
       r.snapshot_at IS NOT NULL, r.max_messages,
       EXISTS (SELECT FROM tenant_setting s
                WHERE s.tenant_id = r.tenant_id AND s.key IN ('caps.email', 'caps.sms'))
       OR EXISTS (SELECT FROM preference p WHERE p.tenant_id = r.tenant_id)
       OR EXISTS (SELECT FROM forgotten_key k WHERE k.tenant_id = r.tenant_id)
  FROM campaign_run r
 WHERE r.id = %(run_id)s
   FOR SHARE OF r;

-- name: lock_run
SELECT state, deadline IS NOT NULL AND deadline <= statement_timestamp(),
       snapshot_at IS NOT NULL, max_messages
  FROM campaign_run
 WHERE id = %(run_id)s
   FOR NO KEY UPDATE;

-- name: copy_messages
COPY message (
    id, run_at, tenant_id, run_id, recipient_id, channel, address, domain, locale, timezone,
    data, not_before, state, seq, attempts, resends, code, enhanced, detail, provider_id, parts,
    created_at, updated_at)
FROM STDIN;

-- name: copy_due
COPY message_due (run_id, not_before, id, run_at, tenant_id) FROM STDIN;

-- name: create_stage
-- COPY knows no conflicts. Where there may be some it fills this table, which each transaction
-- finds empty.
CREATE TEMPORARY TABLE IF NOT EXISTS ignition_stage (
    LIKE message INCLUDING DEFAULTS
) ON COMMIT DELETE ROWS;

-- name: copy_stage
COPY ignition_stage (
    id, run_at, tenant_id, run_id, recipient_id, channel, address, domain, locale, timezone,
    data, not_before, state, seq, attempts, resends, code, enhanced, detail, provider_id, parts,
    created_at, updated_at)
FROM STDIN;

-- name: add_staged
-- Keys rise in the order of the audience.
WITH added AS (
    INSERT INTO message (
    id, run_at, tenant_id, run_id, recipient_id, channel, address, domain, locale, timezone,
    data, not_before, state, seq, attempts, resends, code, enhanced, detail, provider_id, parts,
    created_at, updated_at)
    SELECT
    id, run_at, tenant_id, run_id, recipient_id, channel, address, domain, locale, timezone,
    data, not_before, state, seq, attempts, resends, code, enhanced, detail, provider_id, parts,
    created_at, updated_at
      FROM ignition_stage
     ORDER BY id
    ON CONFLICT DO NOTHING
    RETURNING run_id, not_before, id, run_at, tenant_id
), waiting AS (
    INSERT INTO message_due (run_id, not_before, id, run_at, tenant_id)
    SELECT run_id, not_before, id, run_at, tenant_id FROM added
)
SELECT count(*) FROM added;

-- name: cut_stage
-- What the run knows does not count against its limit. IS NULL, not NOT EXISTS: each address is
-- looked up. The planner, which has no statistics of a run that is being filled, would make a hash
-- of the whole run for each batch.
WITH ranked AS (
    SELECT s.id, row_number() OVER (PARTITION BY s.channel, s.address ORDER BY s.id) AS copy,
           (SELECT m.id FROM message m
             WHERE m.run_id = %(run_id)s AND m.channel = s.channel
               AND m.address = s.address AND m.run_at = %(run_at)s) IS NULL AS is_new
      FROM ignition_stage s
), kept AS (
    SELECT id FROM ranked WHERE copy = 1 AND is_new ORDER BY id LIMIT %(room)s
)
DELETE FROM ignition_stage WHERE id NOT IN (SELECT id FROM kept);

-- name: count_run
SELECT count(*) FROM message WHERE run_id = %(run_id)s AND run_at = %(run_at)s;

-- name: lock_ids
SELECT m.id, m.run_at, m.state, m.seq, m.attempts, m.resends, m.lease_id, m.parts,
       coalesce(r.guarantee = 'at-least-once', false), m.tenant_id, m.run_id, m.not_before,
       m.intended_at
  FROM message m LEFT JOIN campaign_run r ON r.id = m.run_id
 WHERE m.id = ANY(%(ids)s)
 ORDER BY m.id
   FOR UPDATE OF m;

-- name: lock_waiting
-- The rows of message_due first, as a claim takes them: a claim under way is waited for.
SELECT d.id
  FROM message_due d
 WHERE d.run_id = %(run_id)s
 ORDER BY d.not_before, d.id
 LIMIT %(limit)s
   FOR UPDATE;

-- name: read_failed
-- One page of those that a redrive may send again; uq_message_address gives the order.
SELECT m.id, m.channel, m.address
  FROM message m
 WHERE m.run_id = %(run_id)s AND (m.channel, m.address) > (%(channel)s, %(address)s)
   AND m.state = 'failed'
   AND (%(failure_class)s::text IS NULL OR m.failure_class = %(failure_class)s)
 ORDER BY m.channel, m.address
 LIMIT %(limit)s;

-- name: apply_changes
-- A message that will wait gets its row in message_due; drop_due takes that of one that waited.
WITH changed AS (
    UPDATE message m
       SET state = c.state, seq = c.seq, attempts = c.attempts, resends = c.resends,
           lease_id = NULL,
           not_before = CASE WHEN c.delay IS NULL THEN m.not_before
                             ELSE statement_timestamp() + make_interval(secs => c.delay) END,
           code = coalesce(c.code, m.code),
           enhanced = coalesce(c.enhanced, m.enhanced),
           detail = coalesce(c.detail, m.detail),
           failure_class = CASE WHEN c.code IS NULL THEN m.failure_class ELSE c.failure_class END,
           provider_id = CASE WHEN c.provider_id = '' THEN m.provider_id ELSE c.provider_id END,
           parts = CASE WHEN c.parts = 0 THEN m.parts ELSE c.parts END,
           sent_at = CASE WHEN c.state IN ('sent', 'delivered')
                          THEN coalesce(m.sent_at, statement_timestamp()) ELSE m.sent_at END,
           updated_at = statement_timestamp()
      FROM unnest(%(id)s::uuid[], %(run_at)s::timestamptz[], %(old_state)s::text[],
                  %(old_seq)s::integer[], %(state)s::text[], %(seq)s::integer[],
                  %(attempts)s::integer[], %(resends)s::integer[], %(delay)s::float8[],
                  %(code)s::text[], %(enhanced)s::text[], %(detail)s::text[],
                  %(failure_class)s::text[], %(provider_id)s::text[], %(parts)s::integer[])
           AS c (id, run_at, old_state, old_seq, state, seq, attempts, resends, delay, code,
                 enhanced, detail, failure_class, provider_id, parts)
     WHERE m.id = c.id AND m.run_at = c.run_at AND m.state = c.old_state AND m.seq = c.old_seq
    RETURNING m.id, m.run_at, m.tenant_id, m.run_id, m.not_before, m.state
), waiting AS (
    INSERT INTO message_due (run_id, not_before, id, run_at, tenant_id)
    SELECT run_id, not_before, id, run_at, tenant_id
      FROM changed
     WHERE state IN ('pending', 'deferred') AND run_id IS NOT NULL
)
SELECT count(*) FROM changed;

-- name: drop_due
DELETE FROM message_due d
 USING unnest(%(run_id)s::uuid[], %(not_before)s::timestamptz[], %(id)s::uuid[]) 
       AS c (run_id, not_before, id)
 WHERE d.run_id = c.run_id AND d.not_before = c.not_before AND d.id = c.id;

-- name: add_events
INSERT INTO message_event (message_id, seq, run_at, tenant_id, at, old_state, new_state, attempt,
                           code, failure_class, detail, intended_at)
SELECT c.id, c.seq, c.run_at, c.tenant_id, statement_timestamp(), c.old_state, c.state, c.attempts,
       c.code, c.failure_class, c.detail, c.intended_at
  FROM unnest(%(id)s::uuid[], %(run_at)s::timestamptz[], %(tenant_id)s::integer[],
              %(seq)s::integer[], %(old_state)s::text[], %(state)s::text[],
              %(attempts)s::integer[], %(code)s::text[], %(failure_class)s::text[],
              %(detail)s::text[], %(intended_at)s::timestamptz[])
       AS c (id, run_at, tenant_id, seq, old_state, state, attempts, code, failure_class, detail,
             intended_at);

-- name: count_states
SELECT state, count(*) FROM message
 WHERE run_id = %(run_id)s
 GROUP BY state;

-- name: count_failures
SELECT coalesce(failure_class, 'unknown'), count(*) FROM message
 WHERE run_id = %(run_id)s AND state IN ('failed', 'bounced', 'deferred')
 GROUP BY 1;

-- name: is_open
SELECT EXISTS (SELECT FROM message_due WHERE run_id = %(run_id)s)
       OR EXISTS (SELECT FROM sender_lease WHERE run_id = %(run_id)s)
       OR EXISTS (SELECT FROM message_held WHERE run_id = %(run_id)s);

-- name: list_messages
-- One page, after the last address of the page before; uq_message_address gives the order.
SELECT id, channel, address, state, attempts, code, enhanced, failure_class, detail, provider_id,
       parts, sent_at, updated_at
  FROM message
 WHERE run_id = %(run_id)s AND (channel, address) > (%(channel)s, %(address)s)
   AND (cardinality(%(states)s::text[]) = 0 OR state = ANY(%(states)s::text[]))
 ORDER BY channel, address
 LIMIT %(limit)s;

-- name: is_unknown
-- Whether the planner believes in less than a message a page: nearly all was deleted since it looked.
SELECT relpages > 0 AND reltuples < relpages FROM pg_class WHERE oid = 'message'::regclass;

-- name: wait_little
SET LOCAL lock_timeout = '3s';

-- name: analyze
ANALYZE message;

-- name: finish_snapshot
UPDATE campaign_run
   SET snapshot_at = statement_timestamp(), skipped = %(skipped)s, rejected = %(rejected)s,
       duplicates = %(duplicates)s
 WHERE id = %(run_id)s AND snapshot_at IS NULL AND state IN ('open', 'paused');
