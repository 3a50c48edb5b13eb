-- What analysts read of emails instead of which a text message goes. CREATE OR REPLACE keeps who may
-- read the view; docs/analysts.md describes every column.

CREATE OR REPLACE VIEW analytics.message_timeline AS
SELECT
    e.message_id,
    m.run_id,
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
    -- Partitioned by the run as well, so that a query for one run reads that run only.
    round(extract(epoch FROM e.at - coalesce(e.intended_at, lag(e.at) OVER (
        PARTITION BY e.message_id, m.run_id, t.name ORDER BY e.seq
    ))), 3)::double precision AS seconds_in_old_state,
    e.intended_at,
    r.lead_run_id,
    (SELECT f.message_id FROM ignition.fallback_message AS f
      WHERE f.sms_id = m.id ORDER BY f.message_id LIMIT 1) AS fallback_of
FROM ignition.message AS m
-- LATERAL: a query for one message reads the events of that one.
CROSS JOIN LATERAL (
    SELECT m.id AS message_id, 0 AS seq, m.created_at AS at, ''::varchar(16) AS old_state,
        'pending'::varchar(16) AS new_state, 0 AS attempt, ''::varchar(20) AS code,
        NULL::varchar(20) AS failure_class, NULL::timestamptz AS intended_at
    UNION ALL
    SELECT n.message_id, n.seq, n.at, n.old_state, n.new_state, n.attempt, n.code,
        n.failure_class, n.intended_at
    FROM ignition.message_event AS n
    WHERE n.message_id = m.id AND n.run_at = m.run_at
) AS e
JOIN ignition.tenant AS t ON t.id = m.tenant_id
LEFT JOIN ignition.campaign_run AS r ON r.id = m.run_id
LEFT JOIN ignition.campaign AS c ON c.id = r.campaign_id;

CREATE VIEW analytics.fallbacks AS
SELECT
    f.run_id,
    t.name AS tenant,
    c.name AS campaign,
    f.message_id,
    f.cause,
    f.failure_class,
    f.at,
    f.sms_id AS sms_message_id,
    f.sms_run_id,
    s.state AS sms_state
FROM ignition.fallback_message AS f
JOIN ignition.tenant AS t ON t.id = f.tenant_id
LEFT JOIN ignition.campaign_run AS r ON r.id = f.run_id
LEFT JOIN ignition.campaign AS c ON c.id = r.campaign_id
LEFT JOIN ignition.message AS s ON s.id = f.sms_id;
