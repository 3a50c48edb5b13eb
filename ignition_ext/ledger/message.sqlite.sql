-- Messages on SQLite. Every statement that writes runs inside BEGIN IMMEDIATE, so one writer at a
-- time; each UPDATE still names the states that it may start from. Times are text in UTC with six
-- digits after the second, of which SQLite's clock fills three.

-- name: read_run
SELECT state, deadline IS NOT NULL AND deadline <= strftime('%Y-%m-%d %H:%M:%f000', 'now'),
       snapshot_at IS NOT NULL, max_messages
  FROM campaign_run
 WHERE id = :run_id;

-- name: share_run
-- The last column says whether there are terms to read: caps, chosen topics, forgotten addresses.
SELECT r.state, r.deadline IS NOT NULL
                AND r.deadline <= strftime('%Y-%m-%d %H:%M:%f000', 'now'),
       r.snapshot_at IS NOT NULL, r.max_messages,
       EXISTS (SELECT 1 FROM tenant_setting s
                WHERE s.tenant_id = r.tenant_id AND s.key IN ('caps.email', 'caps.sms'))
       OR EXISTS (SELECT 1 FROM preference p WHERE p.tenant_id = r.tenant_id)
       OR EXISTS (SELECT 1 FROM forgotten_key k WHERE k.tenant_id = r.tenant_id)
  FROM campaign_run r
 WHERE r.id = :run_id;

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
    ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending', 0, 0, 0,
    coalesce(?, strftime('%Y-%m-%d %H:%M:%f000', 'now')), '', '', '', '', 0,
    strftime('%Y-%m-%d %H:%M:%f000', 'now'), strftime('%Y-%m-%d %H:%M:%f000', 'now'))
ON CONFLICT DO NOTHING;

-- name: add_due
-- Those that were added just now; what the run knew before has another id.
INSERT INTO message_due (run_id, not_before, id, run_at, tenant_id)
SELECT m.run_id, m.not_before, m.id, m.run_at, m.tenant_id
  FROM json_each(:ids) c CROSS JOIN message m ON m.id = c.value;

-- name: count_run
SELECT count(*) FROM message WHERE run_id = :run_id AND run_at = :run_at;

-- name: lock_ids
SELECT m.id, m.run_at, m.state, m.seq, m.attempts, m.resends, m.lease_id, m.parts,
       coalesce(r.guarantee = 'at-least-once', 0), m.tenant_id, m.run_id, m.not_before,
       m.intended_at
  FROM json_each(:ids) c CROSS JOIN message m ON m.id = c.value
  LEFT JOIN campaign_run r ON r.id = m.run_id
 ORDER BY m.id;

-- name: lock_waiting
SELECT d.id FROM message_due d
 WHERE d.run_id = :run_id
 ORDER BY d.not_before, d.id
 LIMIT :limit;

-- name: read_failed
-- One page of those that a redrive may send again; uq_message_address gives the order.
SELECT m.id, m.channel, m.address
  FROM message m
 WHERE m.run_id = :run_id AND (m.channel, m.address) > (:channel, :address)
   AND m.state = 'failed'
   AND (:failure_class IS NULL OR m.failure_class = :failure_class)
 ORDER BY m.channel, m.address
 LIMIT :limit;

-- name: apply_changes
UPDATE message
   SET state = :state, seq = :seq, attempts = :attempts, resends = :resends,
       lease_id = NULL,
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

-- name: drop_due
DELETE FROM message_due
 WHERE run_id = :run_id AND not_before = :not_before AND id = :id;

-- name: add_events
INSERT INTO message_event (message_id, seq, run_at, tenant_id, at, old_state, new_state, attempt,
                           code, failure_class, detail, intended_at)
VALUES (:id, :seq, :run_at, :tenant_id, strftime('%Y-%m-%d %H:%M:%f000', 'now'), :old_state, :state,
        :attempts, :code, :failure_class, :detail, :intended_at);

-- name: count_states
SELECT state, count(*) FROM message
 WHERE run_id = :run_id
 GROUP BY state;

-- name: count_failures
SELECT coalesce(failure_class, 'unknown'), count(*) FROM message
 WHERE run_id = :run_id AND state IN ('failed', 'bounced', 'deferred')
 GROUP BY 1;

-- name: is_open
SELECT EXISTS (SELECT 1 FROM message_due WHERE run_id = :run_id)
       OR EXISTS (SELECT 1 FROM sender_lease WHERE run_id = :run_id)
       OR EXISTS (SELECT 1 FROM message_held WHERE run_id = :run_id);

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
