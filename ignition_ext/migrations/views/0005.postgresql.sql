-- What analysts read: schema analytics, from Ignition's tables alone. No addresses, no texts of
-- servers, no names of people; docs/analysts.md describes every column.

-- IF NOT EXISTS would want the right to create a schema even where somebody has made it for us.
DO $$ BEGIN IF to_regnamespace('analytics') IS NULL THEN CREATE SCHEMA analytics; END IF; END $$;

CREATE VIEW analytics.run_history AS
SELECT
    r.id AS run_id,
    t.name AS tenant,
    c.name AS campaign,
    r.campaign_version,
    v.definition ->> 'channel' AS channel,
    p.name AS template,
    pv.version AS template_version,
    r.flow_run_id,
    r.flow_run_name,
    r.prefect_state,
    r.state,
    r.prefect_attempts AS attempts,
    r.scheduled_at,
    r.started_at,
    r.ended_at,
    round(extract(epoch FROM r.ended_at - r.started_at), 3)::double precision AS duration_seconds,
    round(extract(epoch FROM r.started_at - r.scheduled_at), 3)::double precision
        AS lateness_seconds,
    r.skipped,
    r.rejected,
    r.duplicates,
    m.total,
    m.pending,
    m.claimed,
    m.sending,
    m.deferred,
    m.sent,
    m.delivered,
    m.failed,
    m.bounced,
    m.complained,
    m.suppressed,
    m.uncertain,
    m.cancelled,
    m.expired
FROM ignition.campaign_run AS r
JOIN ignition.tenant AS t ON t.id = r.tenant_id
JOIN ignition.campaign AS c ON c.id = r.campaign_id
LEFT JOIN ignition.campaign_version AS v
    ON v.campaign_id = r.campaign_id AND v.version = r.campaign_version
LEFT JOIN ignition.template_version AS pv ON pv.id = r.template_version_id
LEFT JOIN ignition.template AS p ON p.id = pv.template_id
-- LATERAL: a query for some runs counts the messages of those only, by ix_message_run_state.
CROSS JOIN LATERAL (
    SELECT
        count(*) AS total,
        count(*) FILTER (WHERE state = 'pending') AS pending,
        count(*) FILTER (WHERE state = 'claimed') AS claimed,
        count(*) FILTER (WHERE state = 'sending') AS sending,
        count(*) FILTER (WHERE state = 'deferred') AS deferred,
        count(*) FILTER (WHERE state = 'sent') AS sent,
        count(*) FILTER (WHERE state = 'delivered') AS delivered,
        count(*) FILTER (WHERE state = 'failed') AS failed,
        count(*) FILTER (WHERE state = 'bounced') AS bounced,
        count(*) FILTER (WHERE state = 'complained') AS complained,
        count(*) FILTER (WHERE state = 'suppressed') AS suppressed,
        count(*) FILTER (WHERE state = 'uncertain') AS uncertain,
        count(*) FILTER (WHERE state = 'cancelled') AS cancelled,
        count(*) FILTER (WHERE state = 'expired') AS expired
    FROM ignition.message WHERE run_id = r.id
) AS m;

CREATE VIEW analytics.delivery_funnel AS
SELECT
    m.run_id,
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
    round(100.0 * count(m.sent_at) / count(*), 2)::double precision AS accepted_percent,
    round(100.0 * count(*) FILTER (WHERE m.state = 'delivered') / nullif(count(m.sent_at), 0), 2)
        ::double precision AS delivered_percent
FROM ignition.message AS m
JOIN ignition.tenant AS t ON t.id = m.tenant_id
LEFT JOIN ignition.campaign_run AS r ON r.id = m.run_id
LEFT JOIN ignition.campaign AS c ON c.id = r.campaign_id
GROUP BY m.run_id, t.name, c.name, m.channel, r.started_at;

CREATE VIEW analytics.failures_by_class AS
SELECT
    m.run_id,
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
FROM ignition.message AS m
JOIN ignition.tenant AS t ON t.id = m.tenant_id
LEFT JOIN ignition.campaign_run AS r ON r.id = m.run_id
LEFT JOIN ignition.campaign AS c ON c.id = r.campaign_id
WHERE m.failure_class IS NOT NULL
GROUP BY m.run_id, t.name, c.name, m.channel, m.state, m.failure_class, m.code, m.enhanced;

CREATE VIEW analytics.message_timeline AS
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
    -- Partitioned by the run as well, so that a query for one run reads that run only.
    round(extract(epoch FROM e.at - lag(e.at) OVER (
        PARTITION BY e.message_id, m.run_id, t.name ORDER BY e.seq, e.at, e.id
    )), 3)::double precision AS seconds_in_old_state
FROM ignition.message_event AS e
JOIN ignition.message AS m ON m.id = e.message_id AND m.run_at = e.run_at
JOIN ignition.tenant AS t ON t.id = e.tenant_id
LEFT JOIN ignition.campaign_run AS r ON r.id = m.run_id
LEFT JOIN ignition.campaign AS c ON c.id = r.campaign_id;
