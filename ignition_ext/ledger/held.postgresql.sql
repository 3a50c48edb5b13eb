-- Messages that their step has not come to, on PostgreSQL. Only runs with a ramp have any. Whoever
-- changes them holds the run's row (lock_run).

-- name: hold
-- All that the run has to send so far, in the transaction that added it: nobody has claimed yet.
INSERT INTO message_held (run_id, place, id, run_at, tenant_id)
SELECT run_id, floor(random() * 2147483648)::integer, id, run_at, tenant_id
  FROM message_due
 WHERE run_id = %(run_id)s;

-- name: unqueue
DELETE FROM message_due WHERE run_id = %(run_id)s;

-- name: find_held
SELECT id FROM message_held
 WHERE run_id = %(run_id)s
 ORDER BY place, id
 LIMIT %(limit)s;

-- name: drop_held
DELETE FROM message_held
 WHERE ctid = ANY (ARRAY(
           SELECT ctid FROM message_held
            WHERE run_id = %(run_id)s
            ORDER BY place, id
            LIMIT %(limit)s));

-- name: queue_held
INSERT INTO message_due (run_id, not_before, id, run_at, tenant_id)
SELECT m.run_id, m.not_before, m.id, m.run_at, m.tenant_id
  FROM message m
 WHERE m.id = ANY(%(ids)s::uuid[]) AND m.state = 'pending';

-- name: read_released
SELECT released FROM run_steps WHERE run_id = %(run_id)s FOR UPDATE;

-- name: note_released
UPDATE run_steps SET released = %(released)s WHERE run_id = %(run_id)s;
