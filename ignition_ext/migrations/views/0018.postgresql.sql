-- What analysts read of runs, each channel of a campaign with two a run of its own. CREATE OR
-- REPLACE keeps who may read the view; docs/analysts.md describes every column.

CREATE OR REPLACE VIEW analytics.run_history AS
SELECT
    r.id AS run_id,
    t.name AS tenant,
    c.name AS campaign,
    r.campaign_version,
    coalesce(nullif(r.channel, '')::text, v.definition ->> 'channel') AS channel,
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
    m.expired,
    r.lead_run_id
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
