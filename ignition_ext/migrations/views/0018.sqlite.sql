-- What analysts read of runs, each channel of a campaign with two a run of its own.
-- docs/analysts.md describes every column; UUIDs are written as Prefect does.

DROP VIEW run_history;

CREATE VIEW run_history AS
SELECT
    substr(r.id, 1, 8) || '-' || substr(r.id, 9, 4) || '-' || substr(r.id, 13, 4)
        || '-' || substr(r.id, 17, 4) || '-' || substr(r.id, 21) AS run_id,
    t.name AS tenant,
    c.name AS campaign,
    r.campaign_version,
    coalesce(nullif(r.channel, ''), json_extract(v.definition, '$.channel')) AS channel,
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
    coalesce(m.total, 0) AS total,
    coalesce(m.pending, 0) AS pending,
    coalesce(m.claimed, 0) AS claimed,
    coalesce(m.sending, 0) AS sending,
    coalesce(m.deferred, 0) AS deferred,
    coalesce(m.sent, 0) AS sent,
    coalesce(m.delivered, 0) AS delivered,
    coalesce(m.failed, 0) AS failed,
    coalesce(m.bounced, 0) AS bounced,
    coalesce(m.complained, 0) AS complained,
    coalesce(m.suppressed, 0) AS suppressed,
    coalesce(m.uncertain, 0) AS uncertain,
    coalesce(m.cancelled, 0) AS cancelled,
    coalesce(m.expired, 0) AS expired,
    substr(r.lead_run_id, 1, 8) || '-' || substr(r.lead_run_id, 9, 4) || '-' || substr(r.lead_run_id, 13, 4)
        || '-' || substr(r.lead_run_id, 17, 4) || '-' || substr(r.lead_run_id, 21) AS lead_run_id
FROM campaign_run AS r
JOIN tenant AS t ON t.id = r.tenant_id
JOIN campaign AS c ON c.id = r.campaign_id
LEFT JOIN campaign_version AS v
    ON v.campaign_id = r.campaign_id AND v.version = r.campaign_version
LEFT JOIN template_version AS pv ON pv.id = r.template_version_id
LEFT JOIN template AS p ON p.id = pv.template_id
-- One pass over the messages, whatever is asked for.
LEFT JOIN (
    SELECT
        run_id,
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
    FROM message
    GROUP BY run_id
) AS m ON m.run_id = r.id;
