-- Binds to SMSC accounts on PostgreSQL. One transaction an account at a time.

-- name: lock
SELECT pg_advisory_xact_lock(hashtextextended(:account, 8));

-- name: forget_lapsed
DELETE FROM bind_slot WHERE account = :account AND until <= clock_timestamp();

-- name: read
SELECT number, owner FROM bind_slot WHERE account = :account ORDER BY number;

-- name: take
INSERT INTO bind_slot (account, number, tenant_id, holder, owner, taken_at, until)
VALUES (:account, :number, :tenant_id, :holder, :owner, clock_timestamp(),
        clock_timestamp() + CAST(:seconds AS float8) * interval '1 second');

-- name: renew
UPDATE bind_slot
   SET until = clock_timestamp() + CAST(:seconds AS float8) * interval '1 second'
 WHERE account = :account AND holder = :holder AND until > clock_timestamp();

-- name: leave
DELETE FROM bind_slot WHERE account = :account AND holder = :holder;
