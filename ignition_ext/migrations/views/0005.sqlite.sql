-- What analysts read: plain views, from Ignition's tables alone. No addresses, no texts of
-- servers, no names of people; docs/analysts.md describes every column.
-- UUIDs are stored without hyphens; the views write them as Prefect does.

CREATE VIEW run_history AS
SELECT
    substr(r.id, 1, 8) || '-' || substr(r.id, 9, 4) || '-' || substr(r.id, 13, 4)
        || '-' || substr(r.id, 17, 4) || '-' || substr(r.id, 21) AS run_id,
    t.name AS tenant,
    c.name AS campaign,
    r.campaign_version,
    json_extract(v.definition, '$.channel') AS channel,
    p.name AS template,
    pv.version AS template_version,
    substr(r.flow_run_id, 1, 8) || '-' || substr(r.flow_run_id, 9, 4) || '-' || substr(r.flow_run_id, 13, 4)
        || '-' || substr(r.flow_run_id, 17, 4) || '-' || substr(r.flow_run_id, 21) AS flow_run_id,
    r.flow_run_name,
    r.prefect_state,
    r.state,
    r.prefect_attempts AS attempts,
    r.scheduled_at,
    r.started_at,
    r.ended_at,
    round((julianday(r.ended_at) - julianday(r.started_at)) * 86400.0, 3) AS duration_seconds,
    round((julianday(r.started_at) - julianday(r.scheduled_at)) * 86400.0, 3) AS lateness_seconds,
    r.skipped,
    r.rejected,
    r.duplicates,
    -- One look into ix_message_run_state for each count that a query asks for.
    (SELECT count(*) FROM message AS m WHERE m.run_id = r.id) AS total,
    (SELECT count(*) FROM message AS m WHERE m.run_id = r.id AND m.state = 'pending') AS pending,
    (SELECT count(*) FROM message AS m WHERE m.run_id = r.id AND m.state = 'claimed') AS claimed,
    (SELECT count(*) FROM message AS m WHERE m.run_id = r.id AND m.state = 'sending') AS sending,
    (SELECT count(*) FROM message AS m WHERE m.run_id = r.id AND m.state = 'deferred') AS deferred,
    (SELECT count(*) FROM message AS m WHERE m.run_id = r.id AND m.state = 'sent') AS sent,
    (SELECT count(*) FROM message AS m WHERE m.run_id = r.id AND m.state = 'delivered') AS delivered,
    (SELECT count(*) FROM message AS m WHERE m.run_id = r.id AND m.state = 'failed') AS failed,
    (SELECT count(*) FROM message AS m WHERE m.run_id = r.id AND m.state = 'bounced') AS bounced,
    (SELECT count(*) FROM message AS m WHERE m.run_id = r.id AND m.state = 'complained') AS complained,
    (SELECT count(*) FROM message AS m WHERE m.run_id = r.id AND m.state = 'suppressed') AS suppressed,
    (SELECT count(*) FROM message AS m WHERE m.run_id = r.id AND m.state = 'uncertain') AS uncertain,
    (SELECT count(*) FROM message AS m WHERE m.run_id = r.id AND m.state = 'cancelled') AS cancelled,
    (SELECT count(*) FROM message AS m WHERE m.run_id = r.id AND m.state = 'expired') AS expired
FROM campaign_run AS r
JOIN tenant AS t ON t.id = r.tenant_id
JOIN campaign AS c ON c.id = r.campaign_id
LEFT JOIN campaign_version AS v
    ON v.campaign_id = r.campaign_id AND v.version = r.campaign_version
LEFT JOIN template_version AS pv ON pv.id = r.template_version_id
LEFT JOIN template AS p ON p.id = pv.template_id;

CREATE VIEW delivery_funnel AS
SELECT
    substr(m.run_id, 1, 8) || '-' || substr(m.run_id, 9, 4) || '-' || substr(m.run_id, 13, 4)
        || '-' || substr(m.run_id, 17, 4) || '-' || substr(m.run_id, 21) AS run_id,
    t.name AS tenant,
    c.name AS campaign,
    m.channel,
    r.started_at,
    count(*) AS total,
    count(*) FILTER (WHERE m.state IN ('pending', 'claimed', 'sending', 'deferred')) AS waiting,
    count(*) FILTER (WHERE m.attempts > 0 OR m.sent_at IS NOT NULL OR m.state = 'uncertain')
        AS attempted,
    count(*) FILTER (WHERE m.sent_at IS NOT NULL) AS accepted,
    count(*) FILTER (WHERE m.state = 'delivered') AS delivered,
    count(*) FILTER (WHERE m.state = 'bounced') AS bounced,
    count(*) FILTER (WHERE m.state = 'complained') AS complained,
    count(*) FILTER (WHERE m.state = 'failed') AS failed,
    count(*) FILTER (WHERE m.state = 'suppressed') AS suppressed,
    count(*) FILTER (WHERE m.state = 'uncertain') AS uncertain,
    count(*) FILTER (WHERE m.state = 'cancelled') AS cancelled,
    count(*) FILTER (WHERE m.state = 'expired') AS expired,
    round(100.0 * count(m.sent_at) / count(*), 2) AS accepted_percent,
    round(100.0 * count(*) FILTER (WHERE m.state = 'delivered') / nullif(count(m.sent_at), 0), 2) AS delivered_percent
FROM message AS m
JOIN tenant AS t ON t.id = m.tenant_id
LEFT JOIN campaign_run AS r ON r.id = m.run_id
LEFT JOIN campaign AS c ON c.id = r.campaign_id
GROUP BY m.run_id, t.name, c.name, m.channel, r.started_at;

CREATE VIEW failures_by_class AS
SELECT
    substr(m.run_id, 1, 8) || '-' || substr(m.run_id, 9, 4) || '-' || substr(m.run_id, 13, 4)
        || '-' || substr(m.run_id, 17, 4) || '-' || substr(m.run_id, 21) AS run_id,
    t.name AS tenant,
    c.name AS campaign,
    m.channel,
    m.state,
    m.failure_class,
    m.code,
    m.enhanced,
    count(*) AS messages,
    count(DISTINCT m.domain) AS domains,
    min(m.updated_at) AS first_at,
    max(m.updated_at) AS last_at
FROM message AS m
JOIN tenant AS t ON t.id = m.tenant_id
LEFT JOIN campaign_run AS r ON r.id = m.run_id
LEFT JOIN campaign AS c ON c.id = r.campaign_id
WHERE m.failure_class IS NOT NULL
GROUP BY m.run_id, t.name, c.name, m.channel, m.state, m.failure_class, m.code, m.enhanced;

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
    round((julianday(e.at) - julianday(lag(e.at) OVER (
        PARTITION BY e.message_id ORDER BY e.seq, e.at, e.id
    ))) * 86400.0, 3) AS seconds_in_old_state
FROM message_event AS e
JOIN message AS m ON m.id = e.message_id AND m.run_at = e.run_at
JOIN tenant AS t ON t.id = e.tenant_id
LEFT JOIN campaign_run AS r ON r.id = m.run_id
LEFT JOIN campaign AS c ON c.id = r.campaign_id;
