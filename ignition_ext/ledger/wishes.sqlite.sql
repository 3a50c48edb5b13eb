-- Who is turned away at a claim besides the suppression list: asked only where the tenant has
-- frequency caps, or recipients who chose topics or were forgotten.

-- name: read_terms
SELECT (SELECT value FROM tenant_setting
         WHERE tenant_id = r.tenant_id AND key = 'caps.email'),
       (SELECT value FROM tenant_setting
         WHERE tenant_id = r.tenant_id AND key = 'caps.sms'),
       coalesce(json_extract(v.definition, '$.delivery.ignore_caps'), 0),
       json_extract(v.definition, '$.topic'),
       (SELECT key FROM forgotten_key WHERE tenant_id = r.tenant_id)
  FROM campaign_run r
  LEFT JOIN campaign_version v ON v.campaign_id = r.campaign_id AND v.version = r.campaign_version
 WHERE r.id = :run_id;

-- name: find_forgotten
SELECT digest, reason FROM forgotten_address
 WHERE tenant_id = :tenant_id AND channel = :channel
   AND digest IN (SELECT value FROM json_each(:digests));

-- name: find_unwanted
SELECT p.address FROM preference p
 WHERE p.tenant_id = :tenant_id AND p.channel = :channel
   AND p.address IN (SELECT value FROM json_each(:addresses))
   AND EXISTS (SELECT 1 FROM json_each(p.topics) t WHERE t.key = :topic AND t.value = 0);

-- name: lock_caps
-- Nothing to do: there is one writer at a time.
SELECT :channel, :tenant_id;

-- name: find_capped
-- What is claimed or on the wire counts whenever that was; what ended counts from the wire.
SELECT c.value ->> 1
  FROM json_each(:pairs) c
 WHERE (SELECT count(*)
          FROM capped_message k JOIN message m ON m.id = k.message_id AND m.run_at = k.run_at
         WHERE k.tenant_id = :tenant_id AND k.channel = :channel AND k.address = c.value ->> 0
           AND k.message_id <> c.value ->> 1
           AND (m.state IN ('claimed', 'sending')
                OR m.state IN ('sent', 'delivered', 'bounced', 'complained', 'uncertain')
                   AND coalesce(m.intended_at, m.sent_at, k.claimed_at)
                       > strftime('%Y-%m-%d %H:%M:%f000', 'now', printf('-%d days', :days))))
       >= :messages;

-- name: prune_capped
-- What can count no more, of those addresses that are written to.
DELETE FROM capped_message AS k
 WHERE k.tenant_id = :tenant_id AND k.channel = :channel
   AND k.address IN (SELECT value ->> 0 FROM json_each(:pairs))
   AND NOT EXISTS (SELECT 1 FROM message m
                    WHERE m.id = k.message_id AND m.run_at = k.run_at
                      AND (m.state IN ('claimed', 'sending')
                           OR coalesce(m.intended_at, m.sent_at, k.claimed_at)
                              > strftime('%Y-%m-%d %H:%M:%f000', 'now',
                                         printf('-%d days', :days))));

-- name: add_capped
INSERT INTO capped_message (tenant_id, channel, address, message_id, run_at, claimed_at)
SELECT :tenant_id, :channel, c.value ->> 0, c.value ->> 1, :run_at,
       strftime('%Y-%m-%d %H:%M:%f000', 'now')
  FROM json_each(:pairs) c
 WHERE true
ON CONFLICT (tenant_id, channel, address, message_id)
DO UPDATE SET claimed_at = excluded.claimed_at;

-- name: note_turned_away
-- Runs before the UPDATE that it tells of.
INSERT INTO message_event (message_id, seq, run_at, tenant_id, at, old_state, new_state, attempt,
                           code, detail)
SELECT m.id, m.seq + 1, m.run_at, m.tenant_id, strftime('%Y-%m-%d %H:%M:%f000', 'now'), 'claimed',
       'suppressed', m.attempts, '', c.value ->> 0
  FROM json_each(:pairs) c
 CROSS JOIN message m ON m.id = c.value ->> 1 AND m.run_at = :run_at AND m.lease_id = :lease_id;

-- name: turn_away
UPDATE message AS m
   SET state = 'suppressed', seq = m.seq + 1, lease_id = NULL, detail = c.value ->> 0,
       updated_at = strftime('%Y-%m-%d %H:%M:%f000', 'now')
  FROM json_each(:pairs) c
 WHERE m.id = c.value ->> 1 AND m.run_at = :run_at AND m.lease_id = :lease_id
   AND m.state = 'claimed';
