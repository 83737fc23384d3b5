-- Instants are whole milliseconds since 1970, UTC. Texts of the sender are BLOBs: lone surrogates and NUL do not survive TEXT.

CREATE TABLE messages (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order of acceptance; none is used twice, not even after a purge
    id           TEXT    NOT NULL UNIQUE,       -- UUIDv7, hex
    source       TEXT    NOT NULL,
    sender_id    BLOB,                          -- null only where verify = "none" and the sender gave none
    received_ms  INTEGER NOT NULL,
    event_ms     INTEGER NOT NULL,              -- the event's own timestamp, or received_ms where it has none: for ordering = "sr"
    content_type BLOB,
    body_sha256  BLOB,                          -- where there is no sender_id: what is known instead
    identity     BLOB,                          -- a key made of event type and identity fields; null: the sender id alone counts
    event_type   BLOB,
    milestone    TEXT,                          -- null: quarantined
    sr_uuid      BLOB,
    reference_id BLOB,
    status       TEXT    NOT NULL CHECK (status IN ('accepted', 'unrouted', 'quarantined')),
    duplicates   INTEGER NOT NULL DEFAULT 0,
    forgotten    INTEGER NOT NULL DEFAULT 0,    -- 0, or its own seq once retention is over: no longer makes duplicates
    body         BLOB    NOT NULL,              -- last: what stands behind a big one costs a walk over its pages
    CHECK ((sender_id IS NULL) = (body_sha256 IS NOT NULL))
);
CREATE UNIQUE INDEX messages_by_sender_id ON messages (sender_id, source, forgotten) WHERE sender_id IS NOT NULL;
CREATE UNIQUE INDEX messages_by_identity  ON messages (identity, source, forgotten) WHERE identity IS NOT NULL;
CREATE UNIQUE INDEX messages_by_body      ON messages (body_sha256, source, forgotten) WHERE body_sha256 IS NOT NULL;
-- In blocks of 256 messages: service requests come in no order, so in one index over all of them each message would dirty a
-- page of its own, two thirds of all that a commit writes. A person's question looks into each block, some microseconds long.
CREATE INDEX messages_by_sr               ON messages (seq >> 8, sr_uuid) WHERE sr_uuid IS NOT NULL;
CREATE INDEX messages_by_status           ON messages (status, seq) WHERE status <> 'accepted';

-- The body of a duplicate that differs from the first one's; the same differing body is kept once.
CREATE TABLE conflicts (
    message     INTEGER NOT NULL REFERENCES messages (seq) ON DELETE CASCADE,
    body_sha256 BLOB    NOT NULL,
    sender_id   BLOB,
    received_ms INTEGER NOT NULL,
    body        BLOB    NOT NULL,
    PRIMARY KEY (message, body_sha256)
);

CREATE TABLE deliveries (
    message    INTEGER NOT NULL REFERENCES messages (seq) ON DELETE CASCADE,
    sink       TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('queued', 'delivered', 'dead', 'discarded')),
    attempts   INTEGER NOT NULL DEFAULT 0,      -- made in its whole life
    retries    INTEGER NOT NULL DEFAULT 0,      -- Retry outcomes since acceptance or replay
    since_ms   INTEGER NOT NULL,                -- acceptance or replay
    due_ms     INTEGER,                         -- of the next attempt
    ended_ms   INTEGER,
    reason     TEXT,                            -- of the last attempt that failed, or of the end
    replayed   INTEGER NOT NULL DEFAULT 0,      -- stands outside ordering = "sr"
    sr         BLOB,                            -- the service request in whose order it stands; null: in none
    event_ms   INTEGER,                         -- and its place there
    PRIMARY KEY (message, sink),
    CHECK ((state = 'queued') = (due_ms IS NOT NULL)),
    CHECK ((state = 'queued') = (ended_ms IS NULL)),
    CHECK ((sr IS NULL) = (event_ms IS NULL))
) WITHOUT ROWID;
-- With since_ms, so that what is to be given up is found without a look at the table.
CREATE INDEX deliveries_due  ON deliveries (sink, due_ms, message, since_ms) WHERE state = 'queued';
CREATE INDEX deliveries_by_sr ON deliveries (sink, sr, event_ms, message) WHERE state = 'queued' AND sr IS NOT NULL;
CREATE INDEX deliveries_dead ON deliveries (sink, message) WHERE state = 'dead';

CREATE TABLE attempts (
    message     INTEGER NOT NULL REFERENCES messages (seq) ON DELETE CASCADE,
    sink        TEXT    NOT NULL,
    attempt     INTEGER NOT NULL CHECK (attempt >= 1),
    started_ms  INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    outcome     TEXT    NOT NULL CHECK (outcome IN ('delivered', 'retry', 'defer', 'reject')),
    reason      TEXT,
    status      INTEGER,                        -- of HTTP or SMTP
    detail      TEXT    NOT NULL DEFAULT '',
    answer      TEXT    NOT NULL DEFAULT '',    -- the beginning of what the other side said to a failure
    PRIMARY KEY (message, sink, attempt)
) WITHOUT ROWID;

-- How many deliveries of a sink are in each state: changed in the transaction that changes them, so never counted.
CREATE TABLE counters (
    sink      TEXT    PRIMARY KEY,
    queued    INTEGER NOT NULL DEFAULT 0 CHECK (queued >= 0),
    delivered INTEGER NOT NULL DEFAULT 0 CHECK (delivered >= 0),
    dead      INTEGER NOT NULL DEFAULT 0 CHECK (dead >= 0),
    discarded INTEGER NOT NULL DEFAULT 0 CHECK (discarded >= 0)
) WITHOUT ROWID;

-- What a lane has to know again after a restart: whether a person paused it, whether the sink asked for time, and its breaker
-- (closed: probe_ms is null).
CREATE TABLE sinks (
    sink      TEXT    PRIMARY KEY,
    paused_ms INTEGER,
    paused_by TEXT,
    failures  INTEGER NOT NULL DEFAULT 0,       -- Retry outcomes in a row
    opened_ms INTEGER,
    probe_ms  INTEGER,
    wait_ms   INTEGER NOT NULL DEFAULT 0,
    held_ms   INTEGER,                          -- until when a Retry-After holds all of it
    absent_ms INTEGER,                          -- since when it is not in the configuration; null: it is
    in_order  INTEGER NOT NULL DEFAULT 0        -- its open deliveries stand in the order of their service requests
) WITHOUT ROWID;

-- The thread of a service request in a channel of a chat: its next event is a reply there.
CREATE TABLE threads (
    sink     TEXT    NOT NULL,
    channel  TEXT    NOT NULL,                  -- as configured
    sr       BLOB    NOT NULL,
    place    TEXT    NOT NULL,                  -- the channel, by the id that the other side gave
    ts       TEXT    NOT NULL,                  -- the first message, by the other side's id
    shown_ms INTEGER NOT NULL,                  -- the instant of the event that the first message shows
    used_ms  INTEGER NOT NULL,                  -- when the last event came: forgotten `retention` later
    PRIMARY KEY (sink, channel, sr)
) WITHOUT ROWID;
CREATE INDEX threads_by_use ON threads (used_ms);
