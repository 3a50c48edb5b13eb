-- Messages that their step has not come to, on SQLite. Only runs with a ramp have any.

-- name: hold
-- All that the run has to send so far, in the transaction that added it: nobody has claimed yet.
INSERT INTO message_held (run_id, place, id, run_at, tenant_id)
SELECT run_id, abs(random() % 2147483648), id, run_at, tenant_id
  FROM message_due
 WHERE run_id = :run_id;

-- name: unqueue
DELETE FROM message_due WHERE run_id = :run_id;

-- name: find_held
SELECT id FROM message_held
 WHERE run_id = :run_id
 ORDER BY place, id
 LIMIT :limit;

-- name: drop_held
DELETE FROM message_held
 WHERE run_id = :run_id
   AND (place, id) IN (SELECT place, id FROM message_held
                        WHERE run_id = :run_id
                        ORDER BY place, id
                        LIMIT :limit);

-- name: queue_held
INSERT INTO message_due (run_id, not_before, id, run_at, tenant_id)
SELECT m.run_id, m.not_before, m.id, m.run_at, m.tenant_id
  FROM json_each(:ids) c CROSS JOIN message m ON m.id = c.value AND m.run_at = :run_at
 WHERE m.state = 'pending';

-- name: read_released
SELECT released FROM run_steps WHERE run_id = :run_id;

-- name: note_released
UPDATE run_steps SET released = :released WHERE run_id = :run_id;
