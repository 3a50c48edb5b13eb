-- What analysts read of opens and clicks, by run and by link. docs/analysts.md describes every column.

CREATE VIEW analytics.email_engagement AS
SELECT
    r.id AS run_id,
    t.name AS tenant,
    c.name AS campaign,
    r.started_at,
    e.opens,
    e.opened,
    e.opened_directly,
    e.clicks,
    e.clicked,
    e.clicked_directly
FROM (
    SELECT
        m.run_id,
        count(*) FILTER (WHERE s.kind = 'open') AS opens,
        count(DISTINCT CASE WHEN s.kind = 'open' THEN s.message_id END) AS opened,
        count(DISTINCT CASE WHEN s.kind = 'open' AND NOT s.is_proxy THEN s.message_id END)
            AS opened_directly,
        count(*) FILTER (WHERE s.kind = 'click') AS clicks,
        count(DISTINCT CASE WHEN s.kind = 'click' THEN s.message_id END) AS clicked,
        count(DISTINCT CASE WHEN s.kind = 'click' AND NOT s.is_proxy THEN s.message_id END)
            AS clicked_directly
    FROM ignition.tracking_event AS s
    JOIN ignition.message AS m ON m.id = s.message_id
    GROUP BY m.run_id
) AS e
JOIN ignition.campaign_run AS r ON r.id = e.run_id
JOIN ignition.tenant AS t ON t.id = r.tenant_id
JOIN ignition.campaign AS c ON c.id = r.campaign_id;

CREATE VIEW analytics.clicks_by_url AS
SELECT
    r.id AS run_id,
    t.name AS tenant,
    c.name AS campaign,
    e.url,
    e.clicks,
    e.clicked,
    e.clicked_directly
FROM (
    SELECT
        m.run_id,
        u.url,
        count(*) AS clicks,
        count(DISTINCT s.message_id) AS clicked,
        count(DISTINCT CASE WHEN NOT s.is_proxy THEN s.message_id END) AS clicked_directly
    FROM ignition.tracking_event AS s
    JOIN ignition.message AS m ON m.id = s.message_id
    JOIN ignition.tracked_url AS u ON u.id = s.url_id
    GROUP BY m.run_id, u.url
) AS e
JOIN ignition.campaign_run AS r ON r.id = e.run_id
JOIN ignition.tenant AS t ON t.id = r.tenant_id
JOIN ignition.campaign AS c ON c.id = r.campaign_id;
