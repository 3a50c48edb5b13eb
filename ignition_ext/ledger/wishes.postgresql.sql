-- Who is turned away at a claim besides the suppression list: asked only where the tenant has
-- frequency caps, or recipients who chose topics or were forgotten.

-- name: read_terms
SELECT (SELECT value::text FROM tenant_setting
         WHERE tenant_id = r.tenant_id AND key = 'caps.email'),
       (SELECT value::text FROM tenant_setting
         WHERE tenant_id = r.tenant_id AND key = 'caps.sms'),
       coalesce((v.definition #>> '{delivery,ignore_caps}')::boolean, false),
       v.definition ->> 'topic',
       (SELECT key FROM forgotten_key WHERE tenant_id = r.tenant_id)
  FROM campaign_run r
  LEFT JOIN campaign_version v ON v.campaign_id = r.campaign_id AND v.version = r.campaign_version
 WHERE r.id = %(run_id)s;

-- Below, each address is looked up by itself: without statistics of a table that is being filled, the
-- planner would read all of the tenant's rows for "= ANY".

-- name: find_forgotten
SELECT digest, reason
  FROM (SELECT d.digest,
               (SELECT f.reason FROM forgotten_address f
                 WHERE f.tenant_id = %(tenant_id)s AND f.channel = %(channel)s
                   AND f.digest = d.digest) AS reason
          FROM unnest(%(digests)s::text[]) AS d (digest)) AS found
 WHERE reason IS NOT NULL;

-- name: find_unwanted
SELECT a.address
  FROM unnest(%(addresses)s::text[]) AS a (address)
 WHERE (SELECT p.topics ->> %(topic)s FROM preference p
         WHERE p.tenant_id = %(tenant_id)s AND p.channel = %(channel)s
           AND p.address = a.address) = 'false';

-- name: lock_caps
-- One claim of a tenant's at a time counts and notes: two would both find room for the last one.
SELECT pg_advisory_xact_lock(hashtextextended('cap ' || %(channel)s || ' ' || %(tenant_id)s, 0));

-- name: find_capped
-- What is claimed or on the wire counts whenever that was; what ended counts from the wire.
SELECT c.id
  FROM unnest(%(ids)s::uuid[], %(addresses)s::text[]) AS c (id, address)
 WHERE (SELECT count(*)
          FROM capped_message k JOIN message m ON m.id = k.message_id AND m.run_at = k.run_at
         WHERE k.tenant_id = %(tenant_id)s AND k.channel = %(channel)s AND k.address = c.address
           AND k.message_id <> c.id
           AND (m.state IN ('claimed', 'sending')
                OR m.state IN ('sent', 'delivered', 'bounced', 'complained', 'uncertain')
                   AND coalesce(m.intended_at, m.sent_at, k.claimed_at)
                       > statement_timestamp() - make_interval(days => %(days)s)))
       >= %(messages)s;

-- name: prune_capped
-- What can count no more, of those addresses that are written to.
DELETE FROM capped_message
 WHERE ctid = ANY (ARRAY(
           SELECT old.ctid
             FROM unnest(%(addresses)s::text[]) AS a (address)
            CROSS JOIN LATERAL (
                  SELECT k.ctid
                    FROM capped_message k
                   WHERE k.tenant_id = %(tenant_id)s AND k.channel = %(channel)s
                     AND k.address = a.address
                     AND NOT EXISTS (
                         SELECT FROM message m
                          WHERE m.id = k.message_id AND m.run_at = k.run_at
                            AND (m.state IN ('claimed', 'sending')
                                 OR coalesce(m.intended_at, m.sent_at, k.claimed_at)
                                    > statement_timestamp() - make_interval(days => %(days)s)))
                  OFFSET 0) AS old));

-- name: add_capped
INSERT INTO capped_message (tenant_id, channel, address, message_id, run_at, claimed_at)
SELECT %(tenant_id)s, %(channel)s, c.address, c.id, %(run_at)s, statement_timestamp()
  FROM unnest(%(ids)s::uuid[], %(addresses)s::text[]) AS c (id, address)
ON CONFLICT (tenant_id, channel, address, message_id)
DO UPDATE SET claimed_at = excluded.claimed_at;

-- name: note_turned_away
-- Runs before the UPDATE that it tells of.
INSERT INTO message_event (message_id, seq, run_at, tenant_id, at, old_state, new_state, attempt,
                           code, detail)
SELECT m.id, m.seq + 1, m.run_at, m.tenant_id, statement_timestamp(), 'claimed', 'suppressed',
       m.attempts, '', c.reason
  FROM unnest(%(ids)s::uuid[], %(reasons)s::text[]) AS c (id, reason)
  JOIN message m ON m.id = c.id AND m.run_at = %(run_at)s AND m.lease_id = %(lease_id)s;

-- name: turn_away
UPDATE message m
   SET state = 'suppressed', seq = m.seq + 1, lease_id = NULL, detail = c.reason,
       updated_at = statement_timestamp()
  FROM unnest(%(ids)s::uuid[], %(reasons)s::text[]) AS c (id, reason)
 WHERE m.id = c.id AND m.run_at = %(run_at)s AND m.lease_id = %(lease_id)s
   AND m.state = 'claimed';
