-- A service request in a state that [[watch]] rules watch: one row per rule, until the request has another state. Due times are
-- computed on reading, so that a reload may change `after` and `again` and no row. entered_ms and arrived_ms are kept in the
-- store's own time, as due_ms of deliveries; told_ms is, too.
CREATE TABLE watch_timers (
    source       TEXT    NOT NULL,
    sr           BLOB    NOT NULL,
    rule         TEXT    NOT NULL,
    reference_id BLOB,
    state        BLOB    NOT NULL,              -- PRIMARY/SUPPLEMENT
    entered_ms   INTEGER NOT NULL,
    arrived_ms   INTEGER NOT NULL,
    told_ms      INTEGER,                       -- null: nobody was told yet
    PRIMARY KEY (source, sr, rule)
) WITHOUT ROWID;
CREATE INDEX watch_timers_due ON watch_timers (rule, told_ms, entered_ms);

-- Troubles that are told once, when they have lasted: for how long the gateway has seen them, and whether people know.
CREATE TABLE lasting (
    kind       TEXT    NOT NULL CHECK (kind IN ('source_silent', 'sink_failing')),
    subject    TEXT    NOT NULL,
    elapsed_ms INTEGER NOT NULL,
    told       INTEGER NOT NULL CHECK (told IN (0, 1)),
    PRIMARY KEY (kind, subject)
) WITHOUT ROWID;

-- What the senders have said that no document lists: at most 1,000 rows of a source and kind.
CREATE TABLE known_words (
    source  TEXT    NOT NULL,
    kind    TEXT    NOT NULL CHECK (kind IN ('type', 'state', 'field', 'reason')),
    value   BLOB    NOT NULL,
    seen_ms INTEGER NOT NULL,
    PRIMARY KEY (source, kind, value)
) WITHOUT ROWID;

-- The two events that tell one rejection, QC/REJECTED and its media_rejected, where they go out as one message: one row of a round
-- of a service request at a sink. The delivery of the first one tells both; the partner's own delivery is discarded.
CREATE TABLE joins (
    request INTEGER NOT NULL,                   -- the number of the service request
    round   INTEGER NOT NULL CHECK (round >= 1),
    sink    TEXT    NOT NULL,
    message INTEGER NOT NULL REFERENCES messages (seq) ON DELETE CASCADE,      -- the first of the two
    partner INTEGER REFERENCES messages (seq) ON DELETE SET NULL,              -- null: it has not come, or went out alone
    open    INTEGER NOT NULL CHECK (open IN (0, 1)),                           -- 1: the partner may still be told with the first
    CHECK (open = 0 OR partner IS NULL),
    PRIMARY KEY (request, round, sink)
) WITHOUT ROWID;
CREATE UNIQUE INDEX joins_by_message ON joins (message, sink);
CREATE INDEX joins_by_partner        ON joins (partner, sink) WHERE partner IS NOT NULL;
