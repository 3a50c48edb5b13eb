-- Binds to SMSC accounts on SQLite. Every statement runs inside BEGIN IMMEDIATE.

-- name: lock
SELECT :account;

-- name: forget_lapsed
DELETE FROM bind_slot
 WHERE account = :account AND until <= strftime('%Y-%m-%d %H:%M:%f000', 'now');

-- name: read
SELECT number, owner FROM bind_slot WHERE account = :account ORDER BY number;

-- name: take
INSERT INTO bind_slot (account, number, tenant_id, holder, owner, taken_at, until)
VALUES (:account, :number, :tenant_id, :holder, :owner,
        strftime('%Y-%m-%d %H:%M:%f000', 'now'),
        strftime('%Y-%m-%d %H:%M:%f000', 'now', printf('+%.3f seconds', :seconds)));

-- name: renew
UPDATE bind_slot
   SET until = strftime('%Y-%m-%d %H:%M:%f000', 'now', printf('+%.3f seconds', :seconds))
 WHERE account = :account AND holder = :holder
   AND until > strftime('%Y-%m-%d %H:%M:%f000', 'now');

-- name: leave
DELETE FROM bind_slot WHERE account = :account AND holder = :holder;
