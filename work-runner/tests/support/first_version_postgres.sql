CREATE SCHEMA lastout;
CREATE TABLE lastout.meta (key text PRIMARY KEY, value int8 NOT NULL);
INSERT INTO lastout.meta VALUES ('schema', 0);

-- Version 1. The schema is named lastout here; another name is put in its place when it is used.

CREATE SEQUENCE lastout.job_id;

CREATE TABLE lastout.jobs (
    id           int8 PRIMARY KEY,
    rank         int8 NOT NULL,
    fence        int8 NOT NULL DEFAULT 0,
    owner        int8 NOT NULL DEFAULT 0,
    run_at       int8 NOT NULL,
    claimed_at   int8 NOT NULL DEFAULT 0,
    ended_at     int8 NOT NULL DEFAULT 0,
    lease_until  int8 NOT NULL DEFAULT 0,
    started      int8 NOT NULL DEFAULT 0,
    own_lease_ms int8 NOT NULL DEFAULT 0,
    timeout_ms   int8 NOT NULL DEFAULT 0,
    created_at   int8 NOT NULL,
    attempt      int4 NOT NULL DEFAULT 0,
    max_attempts int4 NOT NULL,
    crashes      int4 NOT NULL DEFAULT 0,
    max_crashes  int4 NOT NULL,
    limit_max    int4 NOT NULL DEFAULT 0,
    state        int2 NOT NULL,
    priority     int2 NOT NULL,
    recovery     int2 NOT NULL DEFAULT 0,
    cancel       bool NOT NULL DEFAULT false,
    unique_kept  bool NOT NULL DEFAULT false,
    queue        text NOT NULL,
    kind         text NOT NULL,
    unique_key   text,
    limit_key    text,
    error        text,
    progress     bytea,
    result       bytea,
    payload      bytea NOT NULL
) WITH (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0.2
);

CREATE INDEX jobs_ready ON lastout.jobs (queue, rank, id) WHERE state = 2;
CREATE INDEX jobs_scheduled ON lastout.jobs (run_at) WHERE state = 0;
CREATE INDEX jobs_held ON lastout.jobs (limit_key, rank, id) WHERE state = 1;
CREATE INDEX jobs_running ON lastout.jobs (owner) WHERE state = 3;
CREATE INDEX jobs_unhappy ON lastout.jobs (state, id) WHERE state > 4;
CREATE UNIQUE INDEX jobs_unique ON lastout.jobs (unique_key)
    WHERE unique_key IS NOT NULL AND (state < 4 OR unique_kept);

CREATE TABLE lastout.workers (
    id          int8 PRIMARY KEY,
    host        text NOT NULL,
    boot        text NOT NULL,
    pid         int8 NOT NULL,
    start       int8 NOT NULL,
    lease_until int8 NOT NULL
);

CREATE TABLE lastout.slots (
    key  text PRIMARY KEY,
    used int4 NOT NULL
);

CREATE TABLE lastout.signals (
    owner int8 NOT NULL,
    job   int8 NOT NULL,
    PRIMARY KEY (owner, job)
);

CREATE TABLE lastout.queues (
    name        text PRIMARY KEY,
    max_running int4 NOT NULL
);

CREATE TABLE lastout.periodic (
    name    text PRIMARY KEY,
    cron    text NOT NULL,
    next_at int8 NOT NULL,
    job     text NOT NULL
);
