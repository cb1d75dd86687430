WITH clock AS MATERIALIZED (
    SELECT (extract(epoch FROM now()) * 1000)::int8 AS now_ms
)
SELECT clock.now_ms,
       EXISTS (SELECT 1 FROM lastout.workers WHERE id = $1 AND lease_until > clock.now_ms),
       EXISTS (SELECT 1 FROM unnest($2::text[]) AS wanted (queue)
               WHERE NOT EXISTS (SELECT 1 FROM lastout.pauses p WHERE p.queue = wanted.queue)
                 AND EXISTS (SELECT 1 FROM lastout.jobs j WHERE j.state = {ready} AND j.queue = wanted.queue
                             AND ($3::text[] IS NULL OR j.kind = ANY($3))
                             AND (j.limit_key IS NULL OR NOT EXISTS (
                                 SELECT 1 FROM lastout.rates r WHERE r.scope = 1 AND r.name = j.limit_key
                                 AND r.free_at > clock.now_ms AND r.free_at <= clock.now_ms + r.span_ms)))
                 AND NOT EXISTS (SELECT 1 FROM lastout.rates r WHERE r.scope = 0 AND r.name = wanted.queue
                                 AND r.free_at > clock.now_ms AND r.free_at <= clock.now_ms + r.span_ms)),
       (SELECT run_at FROM lastout.jobs WHERE state = {scheduled} ORDER BY run_at LIMIT 1),
       (SELECT run_at FROM lastout.jobs WHERE state = {scheduled} AND run_at > clock.now_ms ORDER BY run_at LIMIT 1),
       (SELECT json_agg(json_build_array(id, host, boot, pid, start, lease_until - clock.now_ms))::text
        FROM lastout.workers),
       ARRAY(SELECT job FROM lastout.signals WHERE owner = $1),
       (SELECT json_agg(json_build_array(name, cron, next_at, greatest(catch_up, 0)))::text FROM lastout.periodic
        WHERE error IS NULL AND paused_at IS NULL),
       (SELECT min(free_at) FROM lastout.rates WHERE (scope = 1 OR name = ANY($2::text[]))
        AND free_at > clock.now_ms AND free_at <= clock.now_ms + span_ms)
FROM clock
