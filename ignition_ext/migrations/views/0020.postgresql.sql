-- The views of costs say also how an estimate was found.

CREATE OR REPLACE VIEW analytics.cost_by_country AS
SELECT
    s.run_id AS run_id,
    t.name AS tenant,
    c.name AS campaign,
    r.started_at,
    s.country,
    coalesce(a.currency, e.currency) AS currency,
    k.version AS rate_card_version,
    e.messages AS estimated_messages,
    e.segments AS estimated_segments,
    (e.micros / 1000000.0)::numeric(20, 6) AS estimated_amount,
    a.messages AS accepted_messages,
    a.segments AS accepted_segments,
    (a.micros / 1000000.0)::numeric(20, 6) AS actual_amount,
    a.unpriced AS unpriced_segments,
    a.computed_at,
    e.basis AS estimate_basis
FROM (SELECT DISTINCT run_id, country FROM ignition.run_cost) AS s
JOIN ignition.campaign_run AS r ON r.id = s.run_id
JOIN ignition.tenant AS t ON t.id = r.tenant_id
JOIN ignition.campaign AS c ON c.id = r.campaign_id
LEFT JOIN ignition.run_cost AS e
    ON e.run_id = s.run_id AND e.country = s.country AND e.kind = 'estimate'
LEFT JOIN ignition.run_cost AS a
    ON a.run_id = s.run_id AND a.country = s.country AND a.kind = 'actual'
LEFT JOIN ignition.run_rate_card AS p ON p.run_id = s.run_id
LEFT JOIN ignition.rate_card AS k ON k.id = p.card_id;

CREATE OR REPLACE VIEW analytics.cost_by_run AS
SELECT
    run_id,
    tenant,
    campaign,
    started_at,
    currency,
    rate_card_version,
    sum(estimated_messages) AS estimated_messages,
    sum(estimated_segments) AS estimated_segments,
    sum(estimated_amount) AS estimated_amount,
    sum(accepted_messages) AS accepted_messages,
    sum(accepted_segments) AS accepted_segments,
    sum(actual_amount) AS actual_amount,
    sum(unpriced_segments) AS unpriced_segments,
    max(computed_at) AS computed_at,
    max(estimate_basis) AS estimate_basis
FROM analytics.cost_by_country
GROUP BY run_id, tenant, campaign, started_at, currency, rate_card_version;

CREATE VIEW analytics.answer_costs AS
SELECT
    (s.charged_at AT TIME ZONE 'UTC')::date AS day,
    t.name AS tenant,
    s.keyword,
    s.currency,
    count(*) AS answers,
    sum(s.segments) AS segments,
    (sum(s.micros) / 1000000.0)::numeric(20, 6) AS amount,
    sum(CASE WHEN s.micros IS NULL THEN s.segments ELSE 0 END) AS unpriced_segments
FROM ignition.sms_reply AS s
JOIN ignition.tenant AS t ON t.id = s.tenant_id
WHERE s.charged_at IS NOT NULL
GROUP BY 1, 2, 3, 4;
