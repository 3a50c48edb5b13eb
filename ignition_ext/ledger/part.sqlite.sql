-- Segments of SMS and their receipts on SQLite. One writer at a time: a bind needs no lock.

-- name: add_parts
-- What was accepted once keeps its id: a second copy never hides the first one's receipts.
INSERT INTO message_part (message_id, part, run_at, tenant_id, parts, bind, provider_id,
                          provider_key, state, code, detail, updated_at)
VALUES (:message_id, :part, :run_at, :tenant_id, :parts, :bind, :provider_id, :provider_key,
        :state, :code, :detail, strftime('%Y-%m-%d %H:%M:%f000', 'now'))
ON CONFLICT (message_id, part, run_at) DO UPDATE
   SET parts = excluded.parts, bind = excluded.bind, provider_id = excluded.provider_id,
       provider_key = excluded.provider_key, state = excluded.state, code = excluded.code,
       detail = excluded.detail, updated_at = excluded.updated_at
 WHERE message_part.state NOT IN ('sent', 'delivered');

-- name: find_parts
SELECT p.message_id, p.run_at, p.tenant_id, p.part, p.parts, p.bind, p.provider_id,
       p.provider_key, p.state, m.address
  FROM message_part p JOIN message m ON m.id = p.message_id AND m.run_at = p.run_at
 WHERE p.bind IN (SELECT value FROM json_each(:binds))
   AND p.provider_key IN (SELECT value FROM json_each(:keys))
 ORDER BY p.updated_at DESC, p.message_id DESC;

-- name: read_parts
SELECT p.message_id, p.part, p.state
  FROM message_part p
 WHERE p.message_id IN (SELECT value FROM json_each(:ids));

-- name: settle_parts
UPDATE message_part
   SET state = :state, code = :code, detail = :detail,
       updated_at = strftime('%Y-%m-%d %H:%M:%f000', 'now')
 WHERE message_id = :message_id AND part = :part AND run_at = :run_at
   AND state IN ('sent', 'uncertain');

-- name: add_receipts
INSERT INTO receipt (id, received_at, channel, bind, provider_id, provider_key, id_format,
                     address, status, code, final, state, raw, message_id, part, run_at, tenant_id)
VALUES (:id, strftime('%Y-%m-%d %H:%M:%f000', 'now'), 'sms', :bind, :provider_id, :provider_key,
        :id_format, :destination, :status, :code, :state IS NOT NULL, :state, :raw, :message_id,
        :part, :run_at, :tenant_id);

-- name: find_receipts
-- Older ones than three days cannot be of a message that is being sent now: ids come again.
SELECT id, bind, provider_id, id_format, address, state, status, code
  FROM receipt INDEXED BY ix_receipt_provider
 WHERE bind IN (SELECT value FROM json_each(:binds))
   AND provider_key IN (SELECT value FROM json_each(:keys)) AND message_id IS NULL
   AND received_at > strftime('%Y-%m-%d %H:%M:%f000', 'now', '-3 days')
 ORDER BY received_at, id;

-- name: waiting_receipts
SELECT id, bind, provider_id, id_format, address, state, status, code
  FROM receipt
 WHERE bind = :bind AND message_id IS NULL AND provider_id <> '' AND id > :after
   AND received_at > strftime('%Y-%m-%d %H:%M:%f000', 'now', '-3 days')
 ORDER BY id
 LIMIT :limit;

-- name: match_receipts
UPDATE receipt
   SET message_id = :message_id, part = :part, run_at = :run_at, tenant_id = :tenant_id
 WHERE id = :id AND message_id IS NULL;

-- name: add_accepted_part
INSERT INTO message_part (message_id, part, run_at, tenant_id, parts, bind, provider_id,
                          provider_key, state, code, detail, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'sent', ?, ?, strftime('%Y-%m-%d %H:%M:%f000', 'now'))
ON CONFLICT (message_id, part, run_at) DO UPDATE
   SET parts = excluded.parts, bind = excluded.bind, provider_id = excluded.provider_id,
       provider_key = excluded.provider_key, state = excluded.state, code = excluded.code,
       detail = excluded.detail, updated_at = excluded.updated_at
 WHERE message_part.state NOT IN ('sent', 'delivered');

-- name: has_receipts
-- Whether any receipt of the bind waits for its segment: mostly none does.
SELECT EXISTS (SELECT 1 FROM receipt
                WHERE bind = :bind AND message_id IS NULL
                  AND received_at > strftime('%Y-%m-%d %H:%M:%f000', 'now', '-3 days'));
