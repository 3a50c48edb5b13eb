-- What analysts read of emails instead of which a text message goes. docs/analysts.md describes every
-- column.

DROP VIEW message_timeline;

CREATE VIEW message_timeline AS
SELECT
    substr(e.message_id, 1, 8) || '-' || substr(e.message_id, 9, 4) || '-' || substr(e.message_id, 13, 4)
        || '-' || substr(e.message_id, 17, 4) || '-' || substr(e.message_id, 21) AS message_id,
    substr(m.run_id, 1, 8) || '-' || substr(m.run_id, 9, 4) || '-' || substr(m.run_id, 13, 4)
        || '-' || substr(m.run_id, 17, 4) || '-' || substr(m.run_id, 21) AS run_id,
    t.name AS tenant,
    c.name AS campaign,
    m.channel,
    m.domain,
    e.seq,
    e.at,
    e.old_state,
    e.new_state,
    e.attempt,
    e.code,
    e.failure_class,
    -- On the wire counts from the intent, anything else from the change before.
    round((julianday(e.at) - julianday(coalesce(e.intended_at, lag(e.at) OVER (
        PARTITION BY e.message_id ORDER BY e.seq
    )))) * 86400.0, 3) AS seconds_in_old_state,
    e.intended_at,
    substr(r.lead_run_id, 1, 8) || '-' || substr(r.lead_run_id, 9, 4) || '-' || substr(r.lead_run_id, 13, 4)
        || '-' || substr(r.lead_run_id, 17, 4) || '-' || substr(r.lead_run_id, 21) AS lead_run_id,
    (SELECT substr(f.message_id, 1, 8) || '-' || substr(f.message_id, 9, 4) || '-' || substr(f.message_id, 13, 4)
        || '-' || substr(f.message_id, 17, 4) || '-' || substr(f.message_id, 21)
       FROM fallback_message AS f
      WHERE f.sms_id = m.id ORDER BY f.message_id LIMIT 1) AS fallback_of
FROM (
    SELECT id AS message_id, run_at, 0 AS seq, created_at AS at, '' AS old_state,
        'pending' AS new_state, 0 AS attempt, '' AS code, NULL AS failure_class,
        NULL AS intended_at
    FROM message
    UNION ALL
    SELECT message_id, run_at, seq, at, old_state, new_state, attempt, code, failure_class,
        intended_at
    FROM message_event
) AS e
JOIN message AS m ON m.id = e.message_id AND m.run_at = e.run_at
JOIN tenant AS t ON t.id = m.tenant_id
LEFT JOIN campaign_run AS r ON r.id = m.run_id
LEFT JOIN campaign AS c ON c.id = r.campaign_id;

CREATE VIEW fallbacks AS
SELECT
    substr(f.run_id, 1, 8) || '-' || substr(f.run_id, 9, 4) || '-' || substr(f.run_id, 13, 4)
        || '-' || substr(f.run_id, 17, 4) || '-' || substr(f.run_id, 21) AS run_id,
    t.name AS tenant,
    c.name AS campaign,
    substr(f.message_id, 1, 8) || '-' || substr(f.message_id, 9, 4) || '-' || substr(f.message_id, 13, 4)
        || '-' || substr(f.message_id, 17, 4) || '-' || substr(f.message_id, 21) AS message_id,
    f.cause,
    f.failure_class,
    f.at,
    substr(f.sms_id, 1, 8) || '-' || substr(f.sms_id, 9, 4) || '-' || substr(f.sms_id, 13, 4)
        || '-' || substr(f.sms_id, 17, 4) || '-' || substr(f.sms_id, 21) AS sms_message_id,
    substr(f.sms_run_id, 1, 8) || '-' || substr(f.sms_run_id, 9, 4) || '-' || substr(f.sms_run_id, 13, 4)
        || '-' || substr(f.sms_run_id, 17, 4) || '-' || substr(f.sms_run_id, 21) AS sms_run_id,
    s.state AS sms_state
FROM fallback_message AS f
JOIN tenant AS t ON t.id = f.tenant_id
LEFT JOIN campaign_run AS r ON r.id = f.run_id
LEFT JOIN campaign AS c ON c.id = r.campaign_id
LEFT JOIN message AS s ON s.id = f.sms_id;
