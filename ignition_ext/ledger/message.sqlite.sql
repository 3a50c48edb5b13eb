-- Messages on SQLite. Every statement runs inside BEGIN IMMEDIATE, so one writer at a time; each
-- UPDATE still names the states that it may start from. Times are text in UTC with six digits
-- after the second, of which SQLite's clock fills three.

-- name: read_run
SELECT state, deadline IS NOT NULL AND deadline <= strftime('%Y-%m-%d %H:%M:%f000', 'now'),
       snapshot_at IS NOT NULL, max_messages
  FROM campaign_run
 WHERE id = :run_id;

-- name: share_run
SELECT state, deadline IS NOT NULL AND deadline <= strftime('%Y-%m-%d %H:%M:%f000', 'now'),
       snapshot_at IS NOT NULL, max_messages
  FROM campaign_run
 WHERE id = :run_id;

-- name: lock_run
SELECT state, deadline IS NOT NULL AND deadline <= strftime('%Y-%m-%d %H:%M:%f000', 'now'),
       snapshot_at IS NOT NULL, max_messages
  FROM campaign_run
 WHERE id = :run_id;

-- name: find_known
-- CROSS JOIN: the addresses are looked up; the planner would read the whole run for each batch.
SELECT m.channel, m.address
  FROM json_each(:addresses) a
 CROSS JOIN message m ON m.run_id = :run_id AND m.channel = :channel AND m.address = a.value
                      AND m.run_at = :run_at;

-- name: add_message
INSERT INTO message (
    id, run_at, tenant_id, run_id, recipient_id, channel, address, domain, locale, timezone,
    data, state, seq, attempts, resends, not_before, code, enhanced, detail, provider_id,
    parts, created_at, updated_at)
VALUES (
    :id, :run_at, :tenant_id, :run_id, :recipient_id, :channel, :address, :domain, :locale,
    :timezone, :data, 'pending', 1, 0, 0,
    coalesce(:not_before, strftime('%Y-%m-%d %H:%M:%f000', 'now')), '', '', '', '',
    0, strftime('%Y-%m-%d %H:%M:%f000', 'now'), strftime('%Y-%m-%d %H:%M:%f000', 'now'));

-- name: note_added
INSERT INTO message_event (id, run_at, tenant_id, message_id, seq, at, old_state, new_state,
                           attempt, code, detail)
SELECT substr(m.id, 1, 26) || '000001', m.run_at, m.tenant_id, m.id, 1,
       strftime('%Y-%m-%d %H:%M:%f000', 'now'), '', 'pending', 0, '', ''
  FROM json_each(:ids) c JOIN message m ON m.id = c.value AND m.run_at = :run_at;

-- name: count_run
SELECT count(*) FROM message WHERE run_id = :run_id AND run_at = :run_at;

-- name: find_due
SELECT m.id, m.channel, m.address, m.domain, m.locale, m.timezone, m.attempts, m.data,
       EXISTS (SELECT 1 FROM suppression s
                WHERE s.tenant_id = m.tenant_id AND s.channel = m.channel
                  AND s.address = m.address)
  FROM message m INDEXED BY ix_message_claim
 WHERE m.run_id = :run_id AND m.run_at = :run_at AND m.state IN ('pending', 'deferred')
   AND m.not_before <= strftime('%Y-%m-%d %H:%M:%f000', 'now')
 ORDER BY m.not_before, m.id
 LIMIT :limit;

-- name: note_change
-- Runs before the UPDATE that it tells of: the row still holds the old state.
INSERT INTO message_event (id, run_at, tenant_id, message_id, seq, at, old_state, new_state,
                           attempt, code, detail)
SELECT substr(m.id, 1, 26) || printf('%06x', m.seq + 1), m.run_at, m.tenant_id, m.id, m.seq + 1,
       strftime('%Y-%m-%d %H:%M:%f000', 'now'), m.state, :state, m.attempts, '', ''
  FROM json_each(:ids) c JOIN message m ON m.id = c.value AND m.run_at = :run_at;

-- name: note_suppressed
INSERT INTO message_event (id, run_at, tenant_id, message_id, seq, at, old_state, new_state,
                           attempt, code, detail)
SELECT substr(m.id, 1, 26) || printf('%06x', m.seq + 1), m.run_at, m.tenant_id, m.id, m.seq + 1,
       strftime('%Y-%m-%d %H:%M:%f000', 'now'), m.state, 'suppressed', m.attempts, '',
       'on the suppression list: ' || s.reason
  FROM json_each(:ids) c
  JOIN message m ON m.id = c.value AND m.run_at = :run_at
  JOIN suppression s ON s.tenant_id = m.tenant_id AND s.channel = m.channel
                    AND s.address = m.address;

-- name: claim
UPDATE message
   SET state = 'claimed', seq = seq + 1, lease_id = :lease_id,
       lease_until = strftime('%Y-%m-%d %H:%M:%f000', 'now', printf('+%.3f seconds', :lease)),
       updated_at = strftime('%Y-%m-%d %H:%M:%f000', 'now')
 WHERE id IN (SELECT value FROM json_each(:ids)) AND run_at = :run_at
   AND state IN ('pending', 'deferred');

-- name: suppress
UPDATE message AS m
   SET state = 'suppressed', seq = m.seq + 1,
       detail = 'on the suppression list: ' || s.reason,
       updated_at = strftime('%Y-%m-%d %H:%M:%f000', 'now')
  FROM suppression s
 WHERE m.id IN (SELECT value FROM json_each(:ids)) AND m.run_at = :run_at
   AND m.state IN ('pending', 'deferred')
   AND s.tenant_id = m.tenant_id AND s.channel = m.channel AND s.address = m.address;

-- name: read_next
SELECT (SELECT min(not_before) FROM message
         WHERE run_id = :run_id AND state IN ('pending', 'deferred')
           AND not_before > strftime('%Y-%m-%d %H:%M:%f000', 'now')),
       (SELECT min(lease_until) FROM message
         WHERE run_id = :run_id AND state IN ('claimed', 'sending')
           AND lease_id <> :lease_id);

-- name: find_intendable
SELECT m.id
  FROM json_each(:ids) c JOIN message m ON m.id = c.value AND m.run_at = :run_at
 WHERE m.state = 'claimed' AND m.lease_id = :lease_id
   AND m.lease_until > strftime('%Y-%m-%d %H:%M:%f000', 'now')
   AND EXISTS (SELECT 1 FROM campaign_run r WHERE r.id = :run_id AND r.state = 'open');

-- name: intend
UPDATE message
   SET state = 'sending', seq = seq + 1, updated_at = strftime('%Y-%m-%d %H:%M:%f000', 'now')
 WHERE id IN (SELECT value FROM json_each(:ids)) AND run_at = :run_at
   AND state = 'claimed' AND lease_id = :lease_id;

-- name: renew
UPDATE message
   SET lease_until = max(lease_until, strftime('%Y-%m-%d %H:%M:%f000', 'now',
                                               printf('+%.3f seconds', :lease)))
 WHERE run_id = :run_id AND run_at = :run_at AND lease_id = :lease_id
   AND state IN ('claimed', 'sending');

-- name: lock_ids
SELECT m.id, m.run_at, m.state, m.seq, m.attempts, m.resends, m.lease_id, m.parts,
       coalesce(r.guarantee = 'at-least-once', 0)
  FROM json_each(:ids) c JOIN message m ON m.id = c.value
  LEFT JOIN campaign_run r ON r.id = m.run_id
 ORDER BY m.id;

-- name: lock_lapsed
SELECT m.id, m.run_at, m.state, m.seq, m.attempts, m.resends, m.lease_id, m.parts,
       r.guarantee = 'at-least-once'
  FROM message m INDEXED BY ix_message_lease JOIN campaign_run r ON r.id = m.run_id
 WHERE m.run_id = :run_id AND m.state IN ('claimed', 'sending')
   AND m.lease_until <= strftime('%Y-%m-%d %H:%M:%f000', 'now')
 LIMIT :limit;

-- name: read_lapsed_runs
SELECT DISTINCT m.run_id, m.run_at, m.tenant_id
  FROM message m INDEXED BY ix_message_lease
 WHERE m.state IN ('claimed', 'sending')
   AND m.lease_until <= strftime('%Y-%m-%d %H:%M:%f000', 'now');

-- name: lock_open
SELECT m.id, m.run_at, m.state, m.seq, m.attempts, m.resends, m.lease_id, m.parts, 0
  FROM message m
 WHERE m.run_id = :run_id AND m.state IN ('pending', 'claimed', 'deferred')
 LIMIT :limit;

-- name: lock_leased
SELECT m.id, m.run_at, m.state, m.seq, m.attempts, m.resends, m.lease_id, m.parts, 0
  FROM message m
 WHERE m.run_id = :run_id AND m.lease_id = :lease_id AND m.state = 'claimed';

-- name: apply_changes
UPDATE message
   SET state = :state, seq = :seq, attempts = :attempts, resends = :resends,
       lease_id = NULL, lease_until = NULL,
       not_before = CASE WHEN :delay IS NULL THEN not_before
                         ELSE strftime('%Y-%m-%d %H:%M:%f000', 'now',
                                       printf('+%.3f seconds', :delay)) END,
       code = coalesce(:code, code),
       enhanced = coalesce(:enhanced, enhanced),
       detail = coalesce(:detail, detail),
       failure_class = CASE WHEN :code IS NULL THEN failure_class ELSE :failure_class END,
       provider_id = CASE WHEN :provider_id = '' THEN provider_id ELSE :provider_id END,
       parts = CASE WHEN :parts = 0 THEN parts ELSE :parts END,
       sent_at = CASE WHEN :state IN ('sent', 'delivered')
                      THEN coalesce(sent_at, strftime('%Y-%m-%d %H:%M:%f000', 'now'))
                      ELSE sent_at END,
       updated_at = strftime('%Y-%m-%d %H:%M:%f000', 'now')
 WHERE id = :id AND run_at = :run_at AND state = :old_state AND seq = :old_seq;

-- name: add_events
INSERT INTO message_event (id, run_at, tenant_id, message_id, seq, at, old_state, new_state,
                           attempt, code, failure_class, detail)
SELECT substr(m.id, 1, 26) || printf('%06x', :seq), m.run_at, m.tenant_id, m.id, :seq,
       strftime('%Y-%m-%d %H:%M:%f000', 'now'), :old_state, :state, :attempts, :code,
       :failure_class, :detail
  FROM message m
 WHERE m.id = :id AND m.run_at = :run_at;

-- name: count_states
SELECT state, count(*) FROM message
 WHERE run_id = :run_id
 GROUP BY state;

-- name: count_failures
SELECT coalesce(failure_class, 'unknown'), count(*) FROM message
 WHERE run_id = :run_id AND state IN ('failed', 'bounced', 'deferred')
 GROUP BY 1;

-- name: list_messages
-- One page, after the last address of the page before; uq_message_address gives the order.
SELECT id, channel, address, state, attempts, code, enhanced, failure_class, detail, provider_id,
       parts, sent_at, updated_at
  FROM message
 WHERE run_id = :run_id AND (channel, address) > (:channel, :address)
   AND (json_array_length(:states) = 0 OR state IN (SELECT value FROM json_each(:states)))
 ORDER BY channel, address
 LIMIT :limit;

-- name: finish_snapshot
UPDATE campaign_run
   SET snapshot_at = strftime('%Y-%m-%d %H:%M:%f000', 'now'), skipped = :skipped,
       rejected = :rejected, duplicates = :duplicates
 WHERE id = :run_id AND snapshot_at IS NULL AND state IN ('open', 'paused');
