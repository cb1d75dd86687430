WITH ended AS MATERIALIZED (
    SELECT * FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::bytea[]) AS ended (id, fence, owner, result)
), clock AS MATERIALIZED (
    SELECT (extract(epoch FROM now()) * 1000)::int8 AS now_ms
), done AS (
    -- The state is hidden in an expression: otherwise the planner may read the whole index of running
    -- jobs, with every entry that died since the last vacuum.
    UPDATE lastout.jobs j
    SET state = {succeeded}, ended_at = clock.now_ms, result = ended.result, error = NULL, lease_until = 0
    FROM ended, clock
    WHERE j.id = ended.id AND j.state + 0 = {running} AND j.fence = ended.fence AND j.owner = ended.owner
      AND j.limit_key IS NULL AND NOT j.cancel
    RETURNING j.id
), self AS MATERIALIZED (
    SELECT EXISTS (SELECT 1 FROM lastout.workers w, clock WHERE w.id = $5 AND w.lease_until > clock.now_ms) AS live,
           $10::bool AND (EXISTS (SELECT 1 FROM lastout.queues q WHERE q.name = $6)
           OR EXISTS (SELECT 1 FROM lastout.pauses p WHERE p.queue = $6)
           OR EXISTS (SELECT 1 FROM lastout.rates r WHERE r.scope = 0 AND r.name = $6)
           OR EXISTS (SELECT 1 FROM lastout.rates r WHERE r.scope = 1)) AS limited
), pick AS MATERIALIZED (
    SELECT id, rank FROM lastout.jobs
    WHERE state = {ready} AND queue = $6 AND (rank, id) > ($7::int8, $8::int8)
      AND ($11::text[] IS NULL OR kind = ANY($11))
      -- One job that has had every fence there is does not keep the others from being claimed.
      AND fence < 9223372036854775807
      AND (SELECT live AND NOT limited FROM self)
    ORDER BY rank, id LIMIT $9::int8
    FOR UPDATE SKIP LOCKED
), got AS (
    UPDATE lastout.jobs j
    SET state = {running}, fence = j.fence + 1, attempt = LEAST(j.attempt::int8 + 1, 2147483647)::int4, owner = $5, claimed_at = clock.now_ms,
        lease_until = CASE WHEN j.own_lease_ms > 0
                            THEN clock.now_ms + LEAST(j.own_lease_ms, 4611686018427387904) ELSE 0 END
    FROM pick, clock
    WHERE j.id = pick.id
    RETURNING j.id, j.fence, j.kind, j.attempt, j.max_attempts, j.crashes, j.recovery, j.timeout_ms,
              j.own_lease_ms, j.payload, j.progress, j.rank, j.max_crashes
)
SELECT id, fence, kind, attempt, max_attempts, crashes, recovery, timeout_ms, own_lease_ms, payload,
       progress, NULL::bool, NULL::bool, NULL::int8[], rank, max_crashes
FROM got
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, self.live, self.limited,
       (SELECT array_agg(id) FROM done), NULL, NULL
FROM self
