-- What senders do all the time on SQLite: claim, intend, settle, renew.

-- name: find_due
-- The primary key of message_due gives the due ones in order.
SELECT m.id, m.channel, m.address, m.domain, m.locale, m.timezone, m.attempts, m.data,
       EXISTS (SELECT 1 FROM suppression s
                WHERE s.tenant_id = m.tenant_id AND s.channel = m.channel
                  AND s.address = m.address),
       d.not_before
  FROM message_due d CROSS JOIN message m ON m.id = d.id AND m.run_at = d.run_at
 WHERE d.run_id = :run_id AND d.not_before <= strftime('%Y-%m-%d %H:%M:%f000', 'now')
 ORDER BY d.not_before, d.id
 LIMIT :limit;

-- name: take_due
DELETE FROM message_due
 WHERE run_id = :run_id AND (not_before, id) <= (:not_before, :id);

-- name: claim
UPDATE message
   SET state = 'claimed', lease_id = :lease_id,
       updated_at = strftime('%Y-%m-%d %H:%M:%f000', 'now')
 WHERE id IN (SELECT value FROM json_each(:ids)) AND run_at = :run_at
   AND state IN ('pending', 'deferred');

-- name: note_suppressed
-- Runs before the UPDATE that it tells of: the row still holds the old state.
INSERT INTO message_event (message_id, seq, run_at, tenant_id, at, old_state, new_state, attempt,
                           code, detail)
SELECT m.id, m.seq + 1, m.run_at, m.tenant_id, strftime('%Y-%m-%d %H:%M:%f000', 'now'),
       m.state, 'suppressed', m.attempts, '', 'on the suppression list: ' || s.reason
  FROM json_each(:ids) c
 CROSS JOIN message m ON m.id = c.value AND m.run_at = :run_at
  JOIN suppression s ON s.tenant_id = m.tenant_id AND s.channel = m.channel
                    AND s.address = m.address;

-- name: suppress
UPDATE message AS m
   SET state = 'suppressed', seq = m.seq + 1,
       detail = 'on the suppression list: ' || s.reason,
       updated_at = strftime('%Y-%m-%d %H:%M:%f000', 'now')
  FROM suppression s
 WHERE m.id IN (SELECT value FROM json_each(:ids)) AND m.run_at = :run_at
   AND m.state IN ('pending', 'deferred')
   AND s.tenant_id = m.tenant_id AND s.channel = m.channel AND s.address = m.address;

-- name: add_lease
INSERT INTO sender_lease (id, run_at, run_id, tenant_id, until, message_ids)
VALUES (:lease_id, :run_at, :run_id, :tenant_id,
        strftime('%Y-%m-%d %H:%M:%f000', 'now', printf('+%.3f seconds', :lease)), :ids);

-- name: read_next
-- What waits beyond the run's deadline expires then; min() of a NULL is NULL.
SELECT (SELECT coalesce(min(d.not_before, (SELECT deadline FROM campaign_run WHERE id = :run_id)),
                        d.not_before)
          FROM message_due d
         WHERE d.run_id = :run_id AND d.not_before > strftime('%Y-%m-%d %H:%M:%f000', 'now')
         ORDER BY d.not_before LIMIT 1),
       (SELECT min(l.until) FROM sender_lease l
         WHERE l.run_id = :run_id AND l.id <> :lease_id);

-- name: settle_accepted
-- One statement for all: each one that ends lets go of the interpreter and has to wait for it.
-- The words of each stand by its key, those that are the same for all come once.
UPDATE message AS m
   SET state = 'sent', seq = m.seq + 1, attempts = m.attempts + 1, lease_id = NULL,
       detail = c.value ->> 0,
       provider_id = coalesce(nullif(c.value ->> 1, ''), m.provider_id),
       code = coalesce(:code, c.value ->> 2), enhanced = coalesce(:enhanced, c.value ->> 3),
       failure_class = NULL,
       parts = CASE WHEN :counted THEN coalesce(nullif(c.value ->> 4, 0), m.parts)
                    ELSE m.parts END,
       sent_at = coalesce(m.sent_at, strftime('%Y-%m-%d %H:%M:%f000', 'now')),
       updated_at = strftime('%Y-%m-%d %H:%M:%f000', 'now')
  FROM json_each(:told) c
 WHERE m.id = c.key AND m.run_at = :run_at
   AND m.state = 'sending' AND m.lease_id = :lease_id;

-- name: note_accepted
-- Runs after the UPDATE that it tells of.
INSERT INTO message_event (message_id, seq, run_at, tenant_id, at, old_state, new_state, attempt,
                           code, detail, intended_at)
SELECT m.id, m.seq, m.run_at, m.tenant_id, m.updated_at, 'sending', 'sent', m.attempts, m.code,
       m.detail, m.intended_at
  FROM json_each(:ids) c CROSS JOIN message m ON m.id = c.value AND m.run_at = :run_at;

-- name: find_claimed
-- Those that may be intended, in one row: none when the lease or the run is over.
SELECT group_concat(m.id, ' ')
  FROM json_each(:ids) c CROSS JOIN message m ON m.id = c.value AND m.run_at = :run_at
 WHERE m.state = 'claimed' AND m.lease_id = :lease_id
   AND EXISTS (SELECT 1
                 FROM sender_lease l JOIN campaign_run r ON r.id = l.run_id
                WHERE l.id = :lease_id AND l.run_at = :run_at AND l.run_id = :run_id
                  AND l.until > strftime('%Y-%m-%d %H:%M:%f000', 'now') AND r.state = 'open'
                  AND (r.deadline IS NULL
                       OR r.deadline > strftime('%Y-%m-%d %H:%M:%f000', 'now')));

-- name: intend
-- Those that find_claimed named, in the same transaction.
UPDATE message
   SET state = 'sending', intended_at = strftime('%Y-%m-%d %H:%M:%f000', 'now'),
       updated_at = strftime('%Y-%m-%d %H:%M:%f000', 'now')
 WHERE id IN (SELECT value FROM json_each(:ids)) AND run_at = :run_at
   AND state = 'claimed' AND lease_id = :lease_id;

-- name: renew
UPDATE sender_lease
   SET until = max(until, strftime('%Y-%m-%d %H:%M:%f000', 'now', printf('+%.3f seconds', :lease)))
 WHERE id = :lease_id AND run_at = :run_at;

-- name: lock_lease
SELECT id, run_at, message_ids FROM sender_lease
 WHERE id = :lease_id AND run_at = :run_at;

-- name: lock_lapsed_lease
-- Leases are few: the table is read whole.
SELECT id, run_at, message_ids FROM sender_lease
 WHERE until <= strftime('%Y-%m-%d %H:%M:%f000', 'now')
   AND (:run_id IS NULL OR run_id = :run_id)
 ORDER BY until, id
 LIMIT 1;

-- name: read_leases
SELECT id FROM sender_lease WHERE run_id = :run_id ORDER BY id;

-- name: drop_lease
DELETE FROM sender_lease WHERE id = :lease_id AND run_at = :run_at;

-- name: lock_held
SELECT m.id, m.run_at, m.state, m.seq, m.attempts, m.resends, m.lease_id, m.parts,
       coalesce(r.guarantee = 'at-least-once', 0), m.tenant_id, m.run_id, m.not_before,
       m.intended_at
  FROM json_each(:ids) c CROSS JOIN message m ON m.id = c.value AND m.run_at = :run_at
  LEFT JOIN campaign_run r ON r.id = m.run_id
 WHERE m.lease_id = :lease_id AND m.state IN ('claimed', 'sending')
 ORDER BY m.id;
