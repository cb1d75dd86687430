-- Version 1. All names begin with lastout_, so the tables can live beside those of a program.

CREATE TABLE lastout_meta (
    key   TEXT PRIMARY KEY,
    value INTEGER,
    text  TEXT
) STRICT, WITHOUT ROWID;

-- last_id is the greatest id of a job that was deleted.
INSERT INTO lastout_meta (key, value, text) VALUES ('schema', 0, NULL), ('last_id', 0, NULL), ('boot', NULL, NULL);

CREATE TABLE lastout_jobs (
    id           INTEGER PRIMARY KEY,
    state        INTEGER NOT NULL,
    fence        INTEGER NOT NULL,
    owner        INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    rank         INTEGER NOT NULL,
    run_at       INTEGER NOT NULL,
    claimed_at   INTEGER NOT NULL,
    ended_at     INTEGER NOT NULL,
    lease_until  INTEGER NOT NULL,
    crashes      INTEGER NOT NULL,
    started      INTEGER NOT NULL,
    cancel       INTEGER NOT NULL,
    priority     INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    max_crashes  INTEGER NOT NULL,
    recovery     INTEGER NOT NULL,
    own_lease_ms INTEGER NOT NULL,
    timeout_ms   INTEGER NOT NULL,
    unique_kept  INTEGER NOT NULL,
    limit_max    INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    unique_key   TEXT,
    limit_key    TEXT,
    queue        TEXT NOT NULL,
    kind         TEXT NOT NULL,
    error        TEXT,
    progress     BLOB,
    result       BLOB,
    -- Each of the next four is NULL except in the states that its index is for. The indexes do not
    -- mention the state itself: claiming and completing, which change it, would open each of them.
    due_at       INTEGER, -- run_at while scheduled
    held_key     TEXT,    -- limit_key while held
    open_key     TEXT,    -- unique_key while it is taken
    unhappy      INTEGER, -- the state once it ended otherwise than well
    -- NULL when it is in lastout_payloads, so that a change of state does not rewrite it.
    payload      BLOB
) STRICT;

CREATE INDEX lastout_ready ON lastout_jobs (queue, rank) WHERE state = 2;
CREATE INDEX lastout_running ON lastout_jobs (owner) WHERE state = 3;
CREATE INDEX lastout_scheduled ON lastout_jobs (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX lastout_held ON lastout_jobs (held_key, rank) WHERE held_key IS NOT NULL;
CREATE INDEX lastout_unhappy ON lastout_jobs (unhappy) WHERE unhappy IS NOT NULL;
CREATE UNIQUE INDEX lastout_unique ON lastout_jobs (open_key) WHERE open_key IS NOT NULL;

-- Whoever deletes: an id is never given to another job.
CREATE TRIGGER lastout_gone AFTER DELETE ON lastout_jobs BEGIN
    UPDATE lastout_meta SET value = OLD.id WHERE key = 'last_id' AND value < OLD.id;
END;

CREATE TABLE lastout_payloads (
    id      INTEGER PRIMARY KEY,
    payload BLOB NOT NULL
) STRICT;

CREATE TABLE lastout_workers (
    id            INTEGER PRIMARY KEY,
    host          TEXT NOT NULL,
    boot          TEXT NOT NULL,
    pid           INTEGER NOT NULL,
    start         INTEGER NOT NULL,
    -- On the boot clock of boot_of_lease.
    lease_until   INTEGER NOT NULL,
    boot_of_lease TEXT NOT NULL
) STRICT;

CREATE TABLE lastout_slots (
    key  TEXT PRIMARY KEY,
    used INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE lastout_signals (
    owner INTEGER NOT NULL,
    job   INTEGER NOT NULL,
    PRIMARY KEY (owner, job)
) STRICT, WITHOUT ROWID;

CREATE TABLE lastout_queues (
    name        TEXT PRIMARY KEY,
    max_running INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE lastout_periodic (
    name    TEXT PRIMARY KEY,
    cron    TEXT NOT NULL,
    next_at INTEGER NOT NULL,
    job     BLOB NOT NULL
) STRICT, WITHOUT ROWID;
