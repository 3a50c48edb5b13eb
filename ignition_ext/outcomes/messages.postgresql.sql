-- Changes of messages that the position has not seen. A row's xmin is the lower half of the number
-- of the transaction that added it; the upper half is that of a number near by. The ledger uses no
-- savepoints: their numbers would not stand in a snapshot.

-- name: read_oldest
-- What had begun before this moment and is still open, as far as this role may see it.
SELECT least(clock_timestamp(), min(xact_start))
  FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid();

-- name: hold_position
SELECT position, moved_at, clock_timestamp(), CAST(pg_current_snapshot() AS text)
  FROM outcome_cursor
 WHERE name = 'messages'
   FOR UPDATE SKIP LOCKED;

-- name: count_changes
WITH numbered AS (
    SELECT e.*, :epoch + CAST(CAST(e.xmin AS text) AS bigint)
                - CASE WHEN CAST(CAST(e.xmin AS text) AS bigint) > :newest THEN 4294967296 ELSE 0
                  END AS number
      FROM message_event e
     WHERE e.at >= :since AND e.new_state NOT IN ('pending', 'claimed', 'sending')
)
SELECT e.tenant_id, t.name, m.run_id, c.name, m.channel, e.new_state, e.failure_class, count(*),
       min(e.at), max(e.at), min(CAST(e.message_id AS text)), max(CAST(e.message_id AS text)),
       r.flow_run_id
  FROM numbered e
  JOIN tenant t ON t.id = e.tenant_id
  JOIN message m ON m.id = e.message_id AND m.run_at = e.run_at
  LEFT JOIN campaign_run r ON r.id = m.run_id
  LEFT JOIN campaign c ON c.id = r.campaign_id
 WHERE (e.number >= :seen_below OR e.number = ANY(CAST(:running AS bigint[])))
 GROUP BY e.tenant_id, t.name, m.run_id, r.flow_run_id, c.name, m.channel, e.new_state,
          e.failure_class
 ORDER BY e.tenant_id, m.run_id, e.new_state, e.failure_class;

-- name: read_changes
WITH numbered AS (
    SELECT e.*, :epoch + CAST(CAST(e.xmin AS text) AS bigint)
                - CASE WHEN CAST(CAST(e.xmin AS text) AS bigint) > :newest THEN 4294967296 ELSE 0
                  END AS number
      FROM message_event e
     WHERE e.at >= :since AND e.new_state NOT IN ('pending', 'claimed', 'sending')
       AND e.tenant_id = ANY(CAST(:tenants AS integer[]))
)
SELECT e.tenant_id, t.name, m.run_id, c.name, m.channel, e.new_state, e.message_id, e.seq, e.at,
       m.address, e.attempt, e.code, e.failure_class, e.detail
  FROM numbered e
  JOIN tenant t ON t.id = e.tenant_id
  JOIN message m ON m.id = e.message_id AND m.run_at = e.run_at
  LEFT JOIN campaign_run r ON r.id = m.run_id
  LEFT JOIN campaign c ON c.id = r.campaign_id
 WHERE (e.number >= :seen_below OR e.number = ANY(CAST(:running AS bigint[])));
