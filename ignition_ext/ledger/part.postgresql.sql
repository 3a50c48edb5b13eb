-- Segments of SMS and their receipts on PostgreSQL.

-- name: share_bind
-- Storing segments and storing receipts exclude each other on a bind: either the receipt finds
-- the segment, or the segment finds the receipt; never do both miss.
SELECT pg_advisory_xact_lock_shared(hashtextextended(%(bind)s, 0));

-- name: lock_bind
SELECT pg_advisory_xact_lock(hashtextextended(%(bind)s, 0));

-- name: add_parts
-- What was accepted once keeps its id: a second copy never hides the first one's receipts.
INSERT INTO message_part AS p (message_id, part, run_at, tenant_id, parts, bind, provider_id,
                               provider_key, state, code, detail, updated_at)
SELECT c.message_id, c.part, c.run_at, c.tenant_id, c.parts, c.bind, c.provider_id,
       c.provider_key, c.state, c.code, c.detail, statement_timestamp()
  FROM unnest(%(message_id)s::uuid[], %(part)s::integer[], %(run_at)s::timestamptz[],
              %(tenant_id)s::integer[], %(parts)s::integer[], %(bind)s::text[],
              %(provider_id)s::text[], %(provider_key)s::text[], %(state)s::text[],
              %(code)s::text[], %(detail)s::text[])
       AS c (message_id, part, run_at, tenant_id, parts, bind, provider_id, provider_key, state,
             code, detail)
ON CONFLICT (message_id, part, run_at) DO UPDATE
   SET parts = excluded.parts, bind = excluded.bind, provider_id = excluded.provider_id,
       provider_key = excluded.provider_key, state = excluded.state, code = excluded.code,
       detail = excluded.detail, updated_at = excluded.updated_at
 WHERE p.state NOT IN ('sent', 'delivered');

-- name: find_parts
-- OFFSET 0: each key is looked up, whatever the planner knows of the tables. Compared with an array
-- of thousands, each segment of the bind would be looked at, thousands of times.
SELECT p.message_id, p.run_at, p.tenant_id, p.part, p.parts, p.bind, p.provider_id,
       p.provider_key, p.state, m.address
  FROM unnest(%(keys)s::text[]) AS k (key)
 CROSS JOIN LATERAL (SELECT * FROM message_part s
                      WHERE s.bind = ANY(%(binds)s) AND s.provider_key = k.key OFFSET 0) AS p
 CROSS JOIN LATERAL (SELECT address FROM message o
                      WHERE o.id = p.message_id AND o.run_at = p.run_at OFFSET 0) AS m
 ORDER BY p.updated_at DESC, p.message_id DESC;

-- name: read_parts
SELECT p.message_id, p.part, p.state
  FROM message_part p
 WHERE p.message_id = ANY(%(ids)s);

-- name: settle_parts
UPDATE message_part p
   SET state = c.state, code = c.code, detail = c.detail, updated_at = statement_timestamp()
  FROM unnest(%(message_id)s::uuid[], %(part)s::integer[], %(run_at)s::timestamptz[],
              %(state)s::text[], %(code)s::text[], %(detail)s::text[])
       AS c (message_id, part, run_at, state, code, detail)
 WHERE p.message_id = c.message_id AND p.part = c.part AND p.run_at = c.run_at
   AND p.state IN ('sent', 'uncertain');

-- name: add_receipts
INSERT INTO receipt (id, received_at, channel, bind, provider_id, provider_key, id_format,
                     address, status, code, final, state, raw, message_id, part, run_at, tenant_id)
SELECT c.id, statement_timestamp(), 'sms', c.bind, c.provider_id, c.provider_key, c.id_format,
       c.destination, c.status, c.code, c.state IS NOT NULL, c.state, c.raw, c.message_id, c.part,
       c.run_at, c.tenant_id
  FROM unnest(%(id)s::uuid[], %(bind)s::text[], %(provider_id)s::text[],
              %(provider_key)s::text[], %(id_format)s::text[], %(destination)s::text[],
              %(status)s::text[], %(code)s::text[], %(state)s::text[], %(raw)s::text[],
              %(message_id)s::uuid[], %(part)s::integer[], %(run_at)s::timestamptz[],
              %(tenant_id)s::integer[])
       AS c (id, bind, provider_id, provider_key, id_format, destination, status, code, state,
             raw, message_id, part, run_at, tenant_id);

-- name: find_receipts
-- Older ones than three days cannot be of a message that is being sent now: ids come again.
SELECT r.id, r.bind, r.provider_id, r.id_format, r.address, r.state, r.status, r.code
  FROM unnest(%(keys)s::text[]) AS k (key)
 CROSS JOIN LATERAL (SELECT * FROM receipt s
                      WHERE s.bind = ANY(%(binds)s) AND s.provider_key = k.key OFFSET 0) AS r
 WHERE r.message_id IS NULL AND r.received_at > statement_timestamp() - interval '3 days'
 ORDER BY r.received_at, r.id;

-- name: waiting_receipts
SELECT id, bind, provider_id, id_format, address, state, status, code
  FROM receipt
 WHERE bind = %(bind)s AND message_id IS NULL AND provider_id <> '' AND id > %(after)s
   AND received_at > statement_timestamp() - interval '3 days'
 ORDER BY id
 LIMIT %(limit)s;

-- name: match_receipts
-- IS TRUE keeps the planner from walking through all that wait: it is to look up each key.
UPDATE receipt r
   SET message_id = c.message_id, part = c.part, run_at = c.run_at, tenant_id = c.tenant_id
  FROM unnest(%(id)s::uuid[], %(message_id)s::uuid[], %(part)s::integer[],
              %(run_at)s::timestamptz[], %(tenant_id)s::integer[])
       AS c (id, message_id, part, run_at, tenant_id)
 WHERE r.id = c.id AND (r.message_id IS NULL) IS TRUE;

-- name: add_accepted_parts
-- As add_parts, for segments that the SMSC took; words that are the same for all come once.
INSERT INTO message_part AS p (message_id, part, run_at, tenant_id, parts, bind, provider_id,
                               provider_key, state, code, detail, updated_at)
SELECT c.message_id, c.part, %(run_at)s, %(tenant_id)s, c.parts, %(bind)s,
       coalesce(c.provider_id, ''), coalesce(c.provider_key, ''), 'sent', coalesce(c.code, %(code)s), coalesce(c.detail, %(detail)s),
       statement_timestamp()
  FROM unnest(%(message_ids)s::uuid[], %(numbers)s::integer[], %(totals)s::integer[],
              string_to_array(%(provider_ids)s, E'\x1f'),
              string_to_array(%(provider_keys)s, E'\x1f'),
              string_to_array(%(codes)s, E'\x1f'), string_to_array(%(details)s, E'\x1f'))
       AS c (message_id, part, parts, provider_id, provider_key, code, detail)
ON CONFLICT (message_id, part, run_at) DO UPDATE
   SET parts = excluded.parts, bind = excluded.bind, provider_id = excluded.provider_id,
       provider_key = excluded.provider_key, state = excluded.state, code = excluded.code,
       detail = excluded.detail, updated_at = excluded.updated_at
 WHERE p.state NOT IN ('sent', 'delivered');

-- name: has_receipts
-- Whether any receipt of the bind waits for its segment: mostly none does.
SELECT EXISTS (SELECT FROM receipt
                WHERE bind = %(bind)s AND message_id IS NULL
                  AND received_at > statement_timestamp() - interval '3 days');
