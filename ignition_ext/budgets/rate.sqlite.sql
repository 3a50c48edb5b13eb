-- The lines of rates on SQLite. Every statement runs inside BEGIN IMMEDIATE: one writer at a time.
-- Times are text in UTC with six digits after the second, of which SQLite's clock fills three.

-- name: enter
INSERT INTO rate_budget AS line (key, tenant_id, rate, revision, share, next_at)
SELECT want.value ->> 'key', want.value ->> 'tenant_id', want.value ->> 'rate',
       want.value ->> 'revision', :share, strftime('%Y-%m-%d %H:%M:%f000', 'now', '-1 hour')
  FROM json_each(:wants) want
 WHERE true
    ON CONFLICT (key) DO UPDATE
   SET revision = line.revision;

-- name: read
SELECT line.key, line.rate, line.revision, line.share, line.next_at,
       strftime('%Y-%m-%d %H:%M:%f000', 'now') AS now
  FROM json_each(:wants) want
  JOIN rate_budget line ON line.key = want.value ->> 'key';

-- name: write
UPDATE rate_budget AS line
   SET rate = after.value ->> 'rate', revision = after.value ->> 'revision',
       share = after.value ->> 'share', next_at = after.value ->> 'next_at'
  FROM json_each(:lines) after
 WHERE line.key = after.value ->> 'key';

-- name: sweep
DELETE FROM rate_budget
 WHERE key IN (SELECT key FROM rate_budget
                WHERE next_at < strftime('%Y-%m-%d %H:%M:%f000', 'now',
                                         printf('-%.3f seconds', :idle))
                LIMIT :limit);
