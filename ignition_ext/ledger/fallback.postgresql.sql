-- Text messages instead of emails that did not get through, on PostgreSQL.

-- name: hold_fallback
-- One at a time looks through a run; whoever forgets a recipient waits for it too.
SELECT seen_at FROM fallback_run WHERE run_id = %(run_id)s FOR UPDATE;

-- name: read_horizon
-- All changes of earlier times can be seen from now on: their transactions are over, as far as this
-- role may know of others.
SELECT least(clock_timestamp(), min(xact_start))
  FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid();

-- name: find_fallbacks
-- The run's emails that ended so, and stand so still, by the time of that; the words of the index
-- ix_message_event_undelivered. Who was forgotten has no row on the suppression list.
SELECT e.at, e.message_id, e.seq, m.state, m.failure_class, m.detail, m.resends
  FROM message_event e
  JOIN message m ON m.id = e.message_id AND m.run_at = e.run_at
 WHERE e.run_at = %(run_at)s
   AND e.new_state <> 'sent'
   AND (e.new_state IN ('failed', 'bounced', 'expired', 'uncertain')
        OR e.new_state = 'suppressed' AND e.detail = 'on the suppression list: bounce')
   AND (e.at, e.message_id) > (%(at)s, %(after)s)
   AND (%(until)s::timestamptz IS NULL OR e.at <= %(until)s)
   AND m.run_id = %(run_id)s AND m.seq = e.seq AND m.data ? 'fallback.sms'
   AND (m.state <> 'suppressed'
        OR (SELECT s.reason FROM suppression s
             WHERE s.tenant_id = m.tenant_id AND s.channel = m.channel AND s.address = m.address)
           = 'bounce')
   AND (SELECT f.message_id FROM fallback_message f WHERE f.message_id = e.message_id) IS NULL
 ORDER BY e.at, e.message_id
 LIMIT %(limit)s;

-- name: add_fallbacks
-- A number that the run knows gets no second text message.
INSERT INTO message (
    id, run_at, tenant_id, run_id, recipient_id, channel, address, domain, locale, timezone,
    data, state, seq, attempts, resends, not_before, code, enhanced, detail, provider_id,
    parts, created_at, updated_at)
SELECT g.id, m.run_at, m.tenant_id, g.sms_run_id, m.recipient_id, 'sms',
       m.data #>> '{fallback.sms,address}', m.data #>> '{fallback.sms,domain}', m.locale,
       m.timezone, m.data - 'fallback.sms', 'pending', 0, 0, 0, statement_timestamp(), '', '', '',
       '', 0, statement_timestamp(), statement_timestamp()
  FROM unnest(%(id)s::uuid[], %(email_id)s::uuid[], %(sms_run_id)s::uuid[],
              %(run_at)s::timestamptz[]) AS g (id, email_id, sms_run_id, run_at)
  JOIN message m ON m.id = g.email_id AND m.run_at = g.run_at
 ORDER BY g.id
ON CONFLICT DO NOTHING;

-- name: queue_fallbacks
INSERT INTO message_due (run_id, not_before, id, run_at, tenant_id)
SELECT m.run_id, m.not_before, m.id, m.run_at, m.tenant_id
  FROM message m
 WHERE m.id = ANY(%(ids)s);

-- name: note_fallbacks
-- The text message may be one that the run had already. LIMIT: each number is looked up by itself;
-- without statistics of a run that is being filled the planner would go through all of them for each.
INSERT INTO fallback_message (message_id, tenant_id, run_id, sms_id, sms_run_id, cause,
                              failure_class, at)
SELECT m.id, m.tenant_id, m.run_id, s.id, g.sms_run_id, g.cause, m.failure_class,
       statement_timestamp()
  FROM unnest(%(email_id)s::uuid[], %(sms_run_id)s::uuid[], %(run_at)s::timestamptz[],
              %(cause)s::text[]) AS g (email_id, sms_run_id, run_at, cause)
  JOIN message m ON m.id = g.email_id AND m.run_at = g.run_at
 CROSS JOIN LATERAL (
       SELECT t.id FROM message t
        WHERE t.run_id = g.sms_run_id AND t.channel = 'sms'
          AND t.address = m.data #>> '{fallback.sms,address}' AND t.run_at = g.run_at
        LIMIT 1) AS s
ON CONFLICT DO NOTHING;

-- name: move_fallback
UPDATE fallback_run
   SET seen_at = greatest(seen_at, %(seen_at)s - make_interval(secs => %(margin)s)),
       closed_at = CASE WHEN %(closes)s THEN statement_timestamp() ELSE closed_at END
 WHERE run_id = %(run_id)s;
