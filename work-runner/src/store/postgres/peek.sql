WITH clock AS MATERIALIZED (
    SELECT (extract(epoch FROM now()) * 1000)::int8 AS now_ms
)
SELECT clock.now_ms,
       EXISTS (SELECT 1 FROM lastout.workers WHERE id = $1 AND lease_until > clock.now_ms),
       EXISTS (SELECT 1 FROM unnest($2::text[]) AS wanted (queue)
               WHERE NOT EXISTS (SELECT 1 FROM lastout.pauses p WHERE p.queue = wanted.queue)
                 AND EXISTS (SELECT 1 FROM lastout.jobs j WHERE j.state = {ready} AND j.queue = wanted.queue
                             AND ($3::text[] IS NULL OR j.kind = ANY($3)))),
       (SELECT run_at FROM lastout.jobs WHERE state = {scheduled} ORDER BY run_at LIMIT 1),
       (SELECT run_at FROM lastout.jobs WHERE state = {scheduled} AND run_at > clock.now_ms ORDER BY run_at LIMIT 1),
       (SELECT json_agg(json_build_array(id, host, boot, pid, start, lease_until - clock.now_ms))::text
        FROM lastout.workers),
       ARRAY(SELECT job FROM lastout.signals WHERE owner = $1),
       (SELECT json_agg(json_build_array(name, cron, next_at, greatest(catch_up, 0)))::text FROM lastout.periodic
        WHERE error IS NULL AND paused_at IS NULL)
FROM clock
