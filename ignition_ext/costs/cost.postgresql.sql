-- What the servers accepted of a run, in as few groups as its card has prices.

-- name: read_accepted
-- Each acceptance is charged: a message that was accepted, failed by its receipt and was redriven
-- counts twice. Its events tell; where there are few, it can have been accepted only once.
-- Of a message that was refused in part the SMSC charges the segments that it gave an id.
SELECT one.country, one.prefix, one.network, count(*) AS messages, sum(one.segments) AS segments
  FROM (SELECT CASE WHEN m.channel = 'sms' THEN m.domain ELSE '' END AS country,
               CASE WHEN m.channel = 'sms' THEN substr(m.address, 1, :digits) ELSE '' END AS prefix,
               CASE WHEN :has_networks THEN coalesce(m.data ->> 'network', '') ELSE '' END AS network,
               CASE WHEN m.sent_at IS NOT NULL
                    THEN greatest(m.parts, 1) * CASE WHEN m.seq > 3
                         THEN greatest(1, (SELECT count(*) FROM message_event e
                                      WHERE e.message_id = m.id AND e.run_at = m.run_at
                                        AND e.new_state = 'sent'))
                         ELSE 1 END
                    ELSE (SELECT count(*) FROM message_part p
                           WHERE p.message_id = m.id AND p.run_at = m.run_at
                             AND p.provider_id <> '')
               END AS segments
          FROM message m
         WHERE m.run_id = :run_id AND m.run_at = :run_at
           AND (m.sent_at IS NOT NULL OR m.channel = 'sms')) one
 WHERE one.segments > 0
 GROUP BY one.country, one.prefix, one.network;

-- name: read_recipients
-- To whom a run is to go, in as few groups as its card has prices.
SELECT one.country, one.prefix, one.network, count(*) AS messages
  FROM (SELECT CASE WHEN m.channel = 'sms' THEN m.domain ELSE '' END AS country,
               CASE WHEN m.channel = 'sms' THEN substr(m.address, 1, :digits) ELSE '' END AS prefix,
               CASE WHEN :has_networks THEN coalesce(m.data ->> 'network', '') ELSE '' END AS network
          FROM message m
         WHERE m.run_id = :run_id AND m.run_at = :run_at) one
 GROUP BY one.country, one.prefix, one.network;
