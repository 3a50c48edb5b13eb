-- What senders do all the time on PostgreSQL: claim, intend, settle, renew. Ids come sorted, so that
-- two that want the same messages mostly meet in one order; where they do not the server ends one
-- of them, and it begins again.
--
-- Where a planner takes the table for nearly empty (all of it was deleted, and not analysed since),
-- it finds it cheaper to go through a whole run by run_at than to look up ids. So claims and releases
-- name no run_at; a turn does, and finish_snapshot has the table analysed (is_unknown).

-- name: claim_due
-- The primary key of message_due gives the due ones in order; rows that another claim holds are
-- passed over. Who is on the suppression list is named by its reason, and is for suppress.
WITH due AS (
    DELETE FROM message_due
     WHERE ctid = ANY (ARRAY(
               SELECT d.ctid
                 FROM message_due d
                WHERE d.run_id = %(run_id)s AND d.not_before <= statement_timestamp()
                ORDER BY d.not_before, d.id
                LIMIT %(limit)s
                  FOR UPDATE SKIP LOCKED))
    RETURNING id, run_at, not_before
), changed AS (
    UPDATE message m
       SET state = 'claimed', lease_id = %(lease_id)s, updated_at = statement_timestamp()
      FROM due
     WHERE m.id = due.id AND m.run_at = due.run_at AND m.state IN ('pending', 'deferred')
    RETURNING m.id, m.tenant_id, m.channel, m.address, m.domain, m.locale, m.timezone, m.attempts,
              m.data::text AS data, due.not_before
)
SELECT c.id, c.channel, c.address, c.domain, c.locale, c.timezone, c.attempts, c.data,
       (SELECT s.reason FROM suppression s
         WHERE s.tenant_id = c.tenant_id AND s.channel = c.channel AND s.address = c.address)
  FROM changed c
 ORDER BY c.not_before, c.id;

-- name: suppress
WITH changed AS (
    UPDATE message m
       SET state = 'suppressed', seq = m.seq + 1, lease_id = NULL,
           detail = 'on the suppression list: ' || c.reason, updated_at = statement_timestamp()
      FROM unnest(%(ids)s::uuid[], %(reasons)s::text[]) AS c (id, reason)
     WHERE m.id = c.id AND m.run_at = %(run_at)s
       AND m.state = 'claimed' AND m.lease_id = %(lease_id)s
    RETURNING m.id, m.seq, m.tenant_id, m.attempts, m.detail
)
INSERT INTO message_event (message_id, seq, run_at, tenant_id, at, old_state, new_state, attempt,
                           code, detail)
SELECT id, seq, %(run_at)s, tenant_id, statement_timestamp(), 'claimed', 'suppressed', attempts, '',
       detail
  FROM changed;

-- name: add_lease
INSERT INTO sender_lease (id, run_at, run_id, tenant_id, until, message_ids)
VALUES (%(lease_id)s, %(run_at)s, %(run_id)s, %(tenant_id)s,
        statement_timestamp() + %(lease)s, %(ids)s);

-- name: read_next
-- What waits beyond the run's deadline expires then.
SELECT (SELECT least(d.not_before, (SELECT deadline FROM campaign_run WHERE id = %(run_id)s))
          FROM message_due d
         WHERE d.run_id = %(run_id)s AND d.not_before > statement_timestamp()
         ORDER BY d.not_before LIMIT 1),
       (SELECT min(l.until) FROM sender_lease l
         WHERE l.run_id = %(run_id)s AND l.id <> %(lease_id)s);

-- name: turn
-- Settles what was accepted and intends others; all that is told must be sending under this lease,
-- else the division ends the statement, and the rules look at each message. Words that are the
-- same for all come once.
WITH told AS (
    UPDATE message m
       SET state = 'sent', seq = m.seq + 1, attempts = m.attempts + 1, lease_id = NULL,
           code = coalesce(c.code, %(code)s),
           enhanced = coalesce(c.enhanced, %(enhanced)s),
           detail = coalesce(c.detail, %(detail)s),
           provider_id = coalesce(nullif(c.provider_id, ''), m.provider_id),
           failure_class = NULL,
           parts = CASE WHEN c.parts > 0 THEN c.parts ELSE m.parts END,
           sent_at = coalesce(m.sent_at, statement_timestamp()),
           updated_at = statement_timestamp()
      FROM unnest(%(told)s::uuid[],
                  string_to_array(%(codes)s, E'\x1f'), string_to_array(%(enhanceds)s, E'\x1f'),
                  string_to_array(%(details)s, E'\x1f'),
                  string_to_array(%(provider_ids)s, E'\x1f'), %(parts)s::integer[])
           AS c (id, code, enhanced, detail, provider_id, parts)
     WHERE m.id = c.id AND m.run_at = %(run_at)s
       AND m.state = 'sending' AND m.lease_id = %(lease_id)s
    RETURNING m.id, m.tenant_id, m.seq, m.attempts, m.code, m.detail, m.intended_at
), noted AS (
    INSERT INTO message_event (message_id, seq, run_at, tenant_id, at, old_state, new_state,
                               attempt, code, detail, intended_at)
    SELECT id, seq, %(run_at)s, tenant_id, statement_timestamp(), 'sending', 'sent', attempts,
           code, detail, intended_at
      FROM told
), intended AS (
    UPDATE message m
       SET state = 'sending', intended_at = statement_timestamp(),
           updated_at = statement_timestamp()
      FROM unnest(%(ids)s::uuid[]) AS c (id)
     WHERE m.id = c.id AND m.run_at = %(run_at)s
       AND m.state = 'claimed' AND m.lease_id = %(lease_id)s
       AND EXISTS (SELECT FROM sender_lease l JOIN campaign_run r ON r.id = l.run_id
                    WHERE l.id = %(lease_id)s AND l.run_at = %(run_at)s
                      AND l.run_id = %(run_id)s AND l.until > statement_timestamp()
                      AND r.state = 'open'
                      AND (r.deadline IS NULL OR r.deadline > statement_timestamp()))
    RETURNING m.id
), counted AS (
    SELECT (SELECT count(*) FROM told) = cardinality(%(told)s::uuid[]) AS is_whole,
           (SELECT count(*) FROM intended) = cardinality(%(ids)s::uuid[]) AS is_granted
)
SELECT 1 / is_whole::integer,
       CASE WHEN is_granted THEN NULL ELSE ARRAY(SELECT id FROM intended) END
  FROM counted;

-- name: renew
UPDATE sender_lease
   SET until = greatest(until, statement_timestamp() + %(lease)s)
 WHERE id = %(lease_id)s AND run_at = %(run_at)s;

-- name: lock_lease
SELECT id, run_at, message_ids FROM sender_lease
 WHERE id = %(lease_id)s AND run_at = %(run_at)s
   FOR UPDATE;

-- name: lock_lapsed_lease
-- Leases are few: the table is read whole.
SELECT id, run_at, message_ids FROM sender_lease
 WHERE until <= statement_timestamp()
   AND (%(run_id)s::uuid IS NULL OR run_id = %(run_id)s)
 ORDER BY until, id
 LIMIT 1
   FOR UPDATE SKIP LOCKED;

-- name: read_leases
SELECT id FROM sender_lease WHERE run_id = %(run_id)s ORDER BY id;

-- name: drop_lease
DELETE FROM sender_lease WHERE id = %(lease_id)s AND run_at = %(run_at)s;

-- name: lock_held
SELECT m.id, m.run_at, m.state, m.seq, m.attempts, m.resends, m.lease_id, m.parts,
       coalesce(r.guarantee = 'at-least-once', false), m.tenant_id, m.run_id, m.not_before,
       m.intended_at
  FROM message m LEFT JOIN campaign_run r ON r.id = m.run_id
 WHERE m.id = ANY(%(ids)s) AND m.lease_id = %(lease_id)s
   AND m.state IN ('claimed', 'sending')
 ORDER BY m.id
   FOR UPDATE OF m;
