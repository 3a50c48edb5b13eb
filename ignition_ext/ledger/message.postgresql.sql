-- Messages on PostgreSQL. Each UPDATE names the states that it may start from, writes its events
-- in the same transaction, and locks in the order of ids, so that no two wait for each other.
-- Times are the server's: statement_timestamp() begins after the locks of an earlier statement.

-- name: read_run
SELECT state, deadline IS NOT NULL AND deadline <= statement_timestamp(),
       snapshot_at IS NOT NULL, max_messages
  FROM campaign_run
 WHERE id = %(run_id)s;

-- name: share_run
-- Claims share the row; pausing and cancelling wait for the claims that are under way.
SELECT state, deadline IS NOT NULL AND deadline <= statement_timestamp(),
       snapshot_at IS NOT NULL, max_messages
  FROM campaign_run
 WHERE id = %(run_id)s
   FOR SHARE;

-- name: lock_run
SELECT state, deadline IS NOT NULL AND deadline <= statement_timestamp(),
       snapshot_at IS NOT NULL, max_messages
  FROM campaign_run
 WHERE id = %(run_id)s
   FOR NO KEY UPDATE;

-- name: create_stage
-- COPY knows no conflicts, so it fills this table, which each transaction finds empty.
CREATE TEMPORARY TABLE IF NOT EXISTS ignition_stage (
    place integer, id uuid, recipient_id integer, channel text, address text, domain text,
    locale text, timezone text, data jsonb, not_before timestamptz
) ON COMMIT DELETE ROWS;

-- name: copy_stage
COPY ignition_stage (place, id, recipient_id, channel, address, domain,
                     locale, timezone, data, not_before)
FROM STDIN;

-- name: add_staged
-- IS NULL, not NOT EXISTS: each address is looked up. The planner, which has no statistics of a
-- run that is being filled, would make a hash of the whole run for each batch.
WITH added AS (
    INSERT INTO message (
        id, run_at, tenant_id, run_id, recipient_id, channel, address, domain, locale, timezone,
        data, state, seq, attempts, resends, not_before, code, enhanced, detail, provider_id,
        parts, created_at, updated_at)
    SELECT s.id, %(run_at)s, %(tenant_id)s, %(run_id)s, s.recipient_id, s.channel, s.address,
           s.domain, s.locale, s.timezone, s.data, 'pending', 1, 0, 0,
           coalesce(s.not_before, statement_timestamp()), '', '', '', '', 0,
           statement_timestamp(), statement_timestamp()
      FROM ignition_stage s
     WHERE (SELECT m.id FROM message m
             WHERE m.run_id = %(run_id)s AND m.channel = s.channel
               AND m.address = s.address AND m.run_at = %(run_at)s) IS NULL
     ORDER BY s.place
     LIMIT %(room)s
    ON CONFLICT DO NOTHING
    RETURNING id
), noted AS (
    INSERT INTO message_event (id, run_at, tenant_id, message_id, seq, at, old_state, new_state,
                               attempt, code, detail)
    SELECT overlay(id::text PLACING '000001' FROM 31)::uuid, %(run_at)s, %(tenant_id)s, id, 1,
           statement_timestamp(), '', 'pending', 0, '', ''
      FROM added
)
SELECT count(*) FROM added;

-- name: count_run
SELECT count(*) FROM message WHERE run_id = %(run_id)s AND run_at = %(run_at)s;

-- name: claim_due
-- ix_message_claim gives the due ones in order; rows that another claim holds are passed over.
WITH due AS MATERIALIZED (
    SELECT m.id, m.state AS old_state, m.not_before,
           (SELECT s.reason FROM suppression s
             WHERE s.tenant_id = m.tenant_id AND s.channel = m.channel
               AND s.address = m.address) AS barred
      FROM message m
     WHERE m.run_id = %(run_id)s AND m.run_at = %(run_at)s
       AND m.state IN ('pending', 'deferred') AND m.not_before <= statement_timestamp()
     ORDER BY m.not_before, m.id
     LIMIT %(limit)s
       FOR UPDATE OF m SKIP LOCKED
), changed AS (
    UPDATE message m
       SET state = CASE WHEN due.barred IS NULL THEN 'claimed' ELSE 'suppressed' END,
           lease_id = CASE WHEN due.barred IS NULL THEN %(lease_id)s END,
           lease_until = CASE WHEN due.barred IS NULL
                              THEN statement_timestamp() + %(lease)s END,
           detail = CASE WHEN due.barred IS NULL THEN m.detail
                         ELSE 'on the suppression list: ' || due.barred END,
           seq = m.seq + 1,
           updated_at = statement_timestamp()
      FROM due
     WHERE m.id = due.id AND m.run_at = %(run_at)s AND m.state IN ('pending', 'deferred')
    RETURNING m.id, m.tenant_id, m.channel, m.address, m.domain, m.locale, m.timezone,
              m.attempts, m.data, m.seq, m.state, due.old_state, due.barred, due.not_before
), noted AS (
    INSERT INTO message_event (id, run_at, tenant_id, message_id, seq, at, old_state, new_state,
                               attempt, code, detail)
    SELECT overlay(id::text PLACING lpad(to_hex(seq), 6, '0') FROM 31)::uuid, %(run_at)s,
           tenant_id, id, seq, statement_timestamp(), old_state, state, attempts, '',
           coalesce('on the suppression list: ' || barred, '')
      FROM changed
)
SELECT id, channel, address, domain, locale, timezone, attempts, data, state
  FROM changed
 ORDER BY not_before, id;

-- name: read_next
SELECT (SELECT min(not_before) FROM message
         WHERE run_id = %(run_id)s AND state IN ('pending', 'deferred')
           AND not_before > statement_timestamp()),
       (SELECT min(lease_until) FROM message
         WHERE run_id = %(run_id)s AND state IN ('claimed', 'sending')
           AND lease_id <> %(lease_id)s);

-- name: intend
WITH held AS (
    SELECT m.id
      FROM message m
     WHERE m.id = ANY(%(ids)s) AND m.run_at = %(run_at)s
       AND m.state = 'claimed' AND m.lease_id = %(lease_id)s
       AND m.lease_until > statement_timestamp()
       AND EXISTS (SELECT 1 FROM campaign_run r WHERE r.id = %(run_id)s AND r.state = 'open')
     ORDER BY m.id
       FOR UPDATE OF m
), changed AS (
    UPDATE message m
       SET state = 'sending', seq = m.seq + 1, updated_at = statement_timestamp()
      FROM held
     WHERE m.id = held.id AND m.run_at = %(run_at)s
       AND m.state = 'claimed' AND m.lease_id = %(lease_id)s
    RETURNING m.id, m.tenant_id, m.seq, m.attempts
), noted AS (
    INSERT INTO message_event (id, run_at, tenant_id, message_id, seq, at, old_state, new_state,
                               attempt, code, detail)
    SELECT overlay(id::text PLACING lpad(to_hex(seq), 6, '0') FROM 31)::uuid, %(run_at)s,
           tenant_id, id, seq, statement_timestamp(), 'claimed', 'sending', attempts, '', ''
      FROM changed
)
SELECT id FROM changed;

-- name: renew
WITH held AS (
    SELECT m.id
      FROM message m
     WHERE m.run_id = %(run_id)s AND m.lease_id = %(lease_id)s
       AND m.state IN ('claimed', 'sending')
     ORDER BY m.id
       FOR UPDATE
)
UPDATE message m
   SET lease_until = greatest(m.lease_until, statement_timestamp() + %(lease)s)
  FROM held
 WHERE m.id = held.id AND m.run_at = %(run_at)s
   AND m.state IN ('claimed', 'sending') AND m.lease_id = %(lease_id)s;

-- name: lock_ids
SELECT m.id, m.run_at, m.state, m.seq, m.attempts, m.resends, m.lease_id, m.parts,
       coalesce(r.guarantee = 'at-least-once', false)
  FROM message m LEFT JOIN campaign_run r ON r.id = m.run_id
 WHERE m.id = ANY(%(ids)s)
 ORDER BY m.id
   FOR UPDATE OF m;

-- name: lock_lapsed
SELECT m.id, m.run_at, m.state, m.seq, m.attempts, m.resends, m.lease_id, m.parts,
       r.guarantee = 'at-least-once'
  FROM message m JOIN campaign_run r ON r.id = m.run_id
 WHERE m.run_id = %(run_id)s AND m.state IN ('claimed', 'sending')
   AND m.lease_until <= statement_timestamp()
 ORDER BY m.id
 LIMIT %(limit)s
   FOR UPDATE OF m SKIP LOCKED;

-- name: read_lapsed_runs
-- The partial index holds only what is leased now, so it is read whole.
SELECT DISTINCT m.run_id, m.run_at, m.tenant_id
  FROM message m
 WHERE m.state IN ('claimed', 'sending') AND m.lease_until <= statement_timestamp();

-- name: lock_open
SELECT m.id, m.run_at, m.state, m.seq, m.attempts, m.resends, m.lease_id, m.parts, false
  FROM message m
 WHERE m.run_id = %(run_id)s AND m.state IN ('pending', 'claimed', 'deferred')
 ORDER BY m.id
 LIMIT %(limit)s
   FOR UPDATE OF m;

-- name: lock_leased
SELECT m.id, m.run_at, m.state, m.seq, m.attempts, m.resends, m.lease_id, m.parts, false
  FROM message m
 WHERE m.run_id = %(run_id)s AND m.lease_id = %(lease_id)s AND m.state = 'claimed'
 ORDER BY m.id
   FOR UPDATE OF m;

-- name: apply_changes
UPDATE message m
   SET state = c.state, seq = c.seq, attempts = c.attempts, resends = c.resends,
       lease_id = NULL, lease_until = NULL,
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
       AS c (id, run_at, old_state, old_seq, state, seq, attempts, resends, delay, code, enhanced,
             detail, failure_class, provider_id, parts)
 WHERE m.id = c.id AND m.run_at = c.run_at AND m.state = c.old_state AND m.seq = c.old_seq;

-- name: add_events
INSERT INTO message_event (id, run_at, tenant_id, message_id, seq, at, old_state, new_state,
                           attempt, code, failure_class, detail)
SELECT overlay(c.id::text PLACING lpad(to_hex(c.seq), 6, '0') FROM 31)::uuid, c.run_at,
       m.tenant_id, c.id, c.seq, statement_timestamp(), c.old_state, c.state, c.attempts, c.code,
       c.failure_class, c.detail
  FROM unnest(%(id)s::uuid[], %(run_at)s::timestamptz[], %(seq)s::integer[],
              %(old_state)s::text[], %(state)s::text[], %(attempts)s::integer[],
              %(code)s::text[], %(failure_class)s::text[], %(detail)s::text[])
       AS c (id, run_at, seq, old_state, state, attempts, code, failure_class, detail)
  JOIN message m ON m.id = c.id AND m.run_at = c.run_at;

-- name: count_states
SELECT state, count(*) FROM message
 WHERE run_id = %(run_id)s
 GROUP BY state;

-- name: count_failures
SELECT coalesce(failure_class, 'unknown'), count(*) FROM message
 WHERE run_id = %(run_id)s AND state IN ('failed', 'bounced', 'deferred')
 GROUP BY 1;

-- name: list_messages
-- One page, after the last address of the page before; uq_message_address gives the order.
SELECT id, channel, address, state, attempts, code, enhanced, failure_class, detail, provider_id,
       parts, sent_at, updated_at
  FROM message
 WHERE run_id = %(run_id)s AND (channel, address) > (%(channel)s, %(address)s)
   AND (cardinality(%(states)s::text[]) = 0 OR state = ANY(%(states)s::text[]))
 ORDER BY channel, address
 LIMIT %(limit)s;

-- name: finish_snapshot
UPDATE campaign_run
   SET snapshot_at = statement_timestamp(), skipped = %(skipped)s, rejected = %(rejected)s,
       duplicates = %(duplicates)s
 WHERE id = %(run_id)s AND snapshot_at IS NULL AND state IN ('open', 'paused');
