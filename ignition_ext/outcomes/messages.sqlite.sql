-- Changes of messages in a span of time. What is not the usual way has an index; what was sent is
-- found among the messages of the runs that may be sending.

-- name: read_position
SELECT position, moved_at FROM outcome_cursor WHERE name = 'messages';

-- name: read_clock
SELECT strftime('%Y-%m-%d %H:%M:%f000', 'now');

-- name: read_oldest_run
-- The first of the runs that could have sent something since.
SELECT min(created_at) FROM campaign_run
 WHERE state IN ('open', 'paused') OR ended_at IS NULL OR ended_at >= :since;

-- name: find_end
-- The time of the first change that is one too many.
WITH changes AS (
    SELECT at FROM message_event
     WHERE at >= :since AND at < :until AND (new_state <> 'sent' OR old_state <> 'sending')
    UNION ALL
    SELECT at FROM message_event
     WHERE message_id >= :first_id AND at >= :since AND at < :until
       AND new_state = 'sent' AND old_state = 'sending'
)
SELECT at FROM changes ORDER BY at LIMIT 1 OFFSET :most;

-- name: count_changes
WITH changes AS (
    SELECT * FROM message_event
     WHERE at >= :since AND at < :until AND (new_state <> 'sent' OR old_state <> 'sending')
       AND new_state NOT IN ('pending', 'claimed', 'sending')
    UNION ALL
    SELECT * FROM message_event
     WHERE message_id >= :first_id AND at >= :since AND at < :until
       AND new_state = 'sent' AND old_state = 'sending'
)
SELECT e.tenant_id, t.name, m.run_id, c.name, m.channel, e.new_state, e.failure_class, count(*),
       min(e.at), max(e.at), min(e.message_id), max(e.message_id), r.flow_run_id
  FROM changes e
  JOIN tenant t ON t.id = e.tenant_id
  CROSS JOIN message m ON m.id = e.message_id AND m.run_at = e.run_at
  LEFT JOIN campaign_run r ON r.id = m.run_id
  LEFT JOIN campaign c ON c.id = r.campaign_id
 GROUP BY e.tenant_id, t.name, m.run_id, r.flow_run_id, c.name, m.channel, e.new_state,
          e.failure_class
 ORDER BY e.tenant_id, m.run_id, e.new_state, e.failure_class;

-- name: read_changes
WITH changes AS (
    SELECT * FROM message_event
     WHERE at >= :since AND at < :until AND (new_state <> 'sent' OR old_state <> 'sending')
       AND new_state NOT IN ('pending', 'claimed', 'sending')
    UNION ALL
    SELECT * FROM message_event
     WHERE message_id >= :first_id AND at >= :since AND at < :until
       AND new_state = 'sent' AND old_state = 'sending'
)
SELECT e.tenant_id, t.name, m.run_id, c.name, m.channel, e.new_state, e.message_id, e.seq, e.at,
       m.address, e.attempt, e.code, e.failure_class, e.detail
  FROM changes e
  JOIN tenant t ON t.id = e.tenant_id
  CROSS JOIN message m ON m.id = e.message_id AND m.run_at = e.run_at
  LEFT JOIN campaign_run r ON r.id = m.run_id
  LEFT JOIN campaign c ON c.id = r.campaign_id
 WHERE e.tenant_id IN (SELECT value FROM json_each(:tenants));
