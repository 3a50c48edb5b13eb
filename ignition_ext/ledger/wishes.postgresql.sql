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

-- name: find_forgotten
SELECT digest, reason FROM forgotten_address
 WHERE tenant_id = %(tenant_id)s AND channel = %(channel)s AND digest = ANY(%(digests)s);

-- name: find_unwanted
SELECT address FROM preference
 WHERE tenant_id = %(tenant_id)s AND channel = %(channel)s AND address = ANY(%(addresses)s)
   AND topics ->> %(topic)s = 'false';

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
DELETE FROM capped_message k
 WHERE k.tenant_id = %(tenant_id)s AND k.channel = %(channel)s AND k.address = ANY(%(addresses)s)
   AND NOT EXISTS (SELECT FROM message m
                    WHERE m.id = k.message_id AND m.run_at = k.run_at
                      AND (m.state IN ('claimed', 'sending')
                           OR coalesce(m.intended_at, m.sent_at, k.claimed_at)
                              > statement_timestamp() - make_interval(days => %(days)s)));

-- name: add_capped
INSERT INTO capped_message (tenant_id, channel, address, message_id, run_at, claimed_at)
SELECT %(tenant_id)s, %(channel)s, c.address, c.id, %(run_at)s, statement_timestamp()
  FROM unnest(%(ids)s::uuid[], %(addresses)s::text[]) AS c (id, address)
ON CONFLICT (tenant_id, channel, address, message_id)
DO UPDATE SET claimed_at = excluded.claimed_at;
