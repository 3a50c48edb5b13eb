-- Text messages instead of emails that did not get through, on SQLite.

-- name: hold_fallback
SELECT seen_at FROM fallback_run WHERE run_id = :run_id;

-- name: read_horizon
-- Read with the only write lock in hand: all changes of earlier times are there.
SELECT strftime('%Y-%m-%d %H:%M:%f000', 'now');

-- name: find_fallbacks
-- The run's emails that ended so, and stand so still, by the time of that; the words of the index
-- ix_message_event_undelivered. Who was forgotten has no row on the suppression list. CROSS JOIN: the index first, whatever the statistics say.
SELECT e.at, e.message_id, e.seq, m.state, m.failure_class, m.detail, m.resends
  FROM message_event e
 CROSS JOIN message m ON m.id = e.message_id AND m.run_at = e.run_at
 WHERE e.run_at = :run_at
   AND e.new_state <> 'sent'
   AND (e.new_state IN ('failed', 'bounced', 'expired', 'uncertain')
        OR e.new_state = 'suppressed' AND e.detail = 'on the suppression list: bounce')
   AND (e.at, e.message_id) > (:at, :after)
   AND (:until IS NULL OR e.at <= :until)
   AND m.run_id = :run_id AND m.seq = e.seq
   AND json_type(m.data, '$."fallback.sms"') IS NOT NULL
   AND (m.state <> 'suppressed'
        OR (SELECT s.reason FROM suppression s
             WHERE s.tenant_id = m.tenant_id AND s.channel = m.channel AND s.address = m.address)
           = 'bounce')
   AND (SELECT f.message_id FROM fallback_message f WHERE f.message_id = e.message_id) IS NULL
 ORDER BY e.at, e.message_id
 LIMIT :limit;

-- name: add_fallbacks
-- A number that the run knows gets no second text message.
INSERT INTO message (
    id, run_at, tenant_id, run_id, recipient_id, channel, address, domain, locale, timezone,
    data, state, seq, attempts, resends, not_before, code, enhanced, detail, provider_id,
    parts, created_at, updated_at)
SELECT :id, m.run_at, m.tenant_id, :sms_run_id, m.recipient_id, 'sms',
       json_extract(m.data, '$."fallback.sms".address'),
       json_extract(m.data, '$."fallback.sms".domain'), m.locale, m.timezone,
       json_remove(m.data, '$."fallback.sms"'), 'pending', 0, 0, 0,
       strftime('%Y-%m-%d %H:%M:%f000', 'now'), '', '', '', '', 0,
       strftime('%Y-%m-%d %H:%M:%f000', 'now'), strftime('%Y-%m-%d %H:%M:%f000', 'now')
  FROM message m
 WHERE m.id = :email_id AND m.run_at = :run_at
ON CONFLICT DO NOTHING;

-- name: queue_fallbacks
INSERT INTO message_due (run_id, not_before, id, run_at, tenant_id)
SELECT m.run_id, m.not_before, m.id, m.run_at, m.tenant_id
  FROM json_each(:ids) c CROSS JOIN message m ON m.id = c.value AND m.run_at = :run_at;

-- name: note_fallbacks
-- The text message may be one that the run had already.
INSERT INTO fallback_message (message_id, tenant_id, run_id, sms_id, sms_run_id, cause,
                              failure_class, at)
SELECT m.id, m.tenant_id, m.run_id, s.id, s.run_id, :cause, m.failure_class,
       strftime('%Y-%m-%d %H:%M:%f000', 'now')
  FROM message m
 CROSS JOIN message s ON s.run_id = :sms_run_id AND s.channel = 'sms'
                     AND s.address = json_extract(m.data, '$."fallback.sms".address')
                     AND s.run_at = :run_at
 WHERE m.id = :email_id AND m.run_at = :run_at
ON CONFLICT DO NOTHING;

-- name: move_fallback
UPDATE fallback_run
   SET seen_at = max(seen_at, strftime('%Y-%m-%d %H:%M:%f000', :seen_at,
                                       printf('-%.3f seconds', :margin))),
       closed_at = CASE WHEN :closes THEN strftime('%Y-%m-%d %H:%M:%f000', 'now')
                        ELSE closed_at END
 WHERE run_id = :run_id;
