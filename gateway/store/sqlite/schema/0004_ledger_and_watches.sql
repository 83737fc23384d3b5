-- The ledger: what is known of each service request of a source, and one entry for each message; and what is watched over time.

-- The rules by which messages were routed, once per number, for as long as messages are kept; at most 1,000 that are not in use.
CREATE TABLE rules (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    sha256   BLOB    NOT NULL UNIQUE,           -- of the snapshot
    since_ms INTEGER NOT NULL,                  -- when they were first used
    until_ms INTEGER,                           -- when others replaced them; null: they are in use
    snapshot BLOB    NOT NULL                   -- see core/rules_then.py
);

-- What a message says about its service request, and what its sender signed. Not columns of `messages`: those would stand behind
-- the body, and giving them to old messages would write every body again.
CREATE TABLE entries (
    message   INTEGER PRIMARY KEY REFERENCES messages (seq) ON DELETE CASCADE,
    -- The number of its service request; null: it names none, or it waits to be judged. No foreign key: the row of the request is
    -- written later than its messages, see store/sqlite/judging.py.
    request   INTEGER,
    before    INTEGER,                          -- the request's message before it; null: it was the first. It may be purged by now.
    facts     BLOB,                             -- as judged on arrival, see core/ledger.py; null: not judged
    rules     INTEGER,                          -- the number of the rules that routed it. No foreign key: rules are deleted first.
    key       INTEGER,                          -- the number of the secret that fitted; null: not verified, or not kept
    signed    BLOB,                             -- signature and signed timestamp, see store/sqlite/kept_traces.py
    CHECK (request IS NOT NULL OR (before IS NULL AND facts IS NULL)),
    CHECK ((signed IS NULL) = (key IS NULL))
);

-- The labels of the secrets that signed messages, as the configuration names them. Few, and never deleted.
CREATE TABLE signing_keys (
    number INTEGER PRIMARY KEY,
    label  TEXT    NOT NULL UNIQUE
);

-- What stays as it is of a service request. What changes with its messages is in `standings`, whose pages are all written in
-- each flush: the smaller its rows, the fewer pages.
CREATE TABLE requests (
    number       INTEGER PRIMARY KEY,           -- in the order in which they were first heard of
    source       TEXT    NOT NULL,
    sr_uuid      BLOB    NOT NULL,
    reference_id BLOB,                          -- the first one that a message gave
    reference    BLOB,                          -- the reference id in the form in which all cases of it are equal
    CHECK ((reference_id IS NULL) = (reference IS NULL))
);
CREATE UNIQUE INDEX requests_by_uuid ON requests (sr_uuid, source);
CREATE INDEX requests_by_reference   ON requests (reference) WHERE reference IS NOT NULL;

CREATE TABLE standings (
    request    INTEGER PRIMARY KEY REFERENCES requests (number) ON DELETE CASCADE,
    last       INTEGER NOT NULL,                -- its newest message that the row takes account of
    -- The columns that lists filter by. A milestone is its place in core/events.py, from 1 on; 0: no state is known; null: only
    -- events of the gateway itself.
    milestone  INTEGER CHECK (milestone BETWEEN 0 AND 255),
    entered_ms INTEGER NOT NULL,                -- when its present state began
    flags      INTEGER NOT NULL,                -- bits of core.ledger.Flag
    row        BLOB    NOT NULL                 -- all that is known, see core/ledger.py
);
CREATE INDEX standings_by_milestone ON standings (milestone, entered_ms) WHERE milestone IS NOT NULL;
-- With all that a list of flagged requests may ask for, so that those that do not fit are passed by in the index alone.
CREATE INDEX standings_flagged      ON standings (entered_ms, flags, milestone) WHERE flags <> 0;

-- Reference ids of messages that name no service request, or give another reference id than its first message did. Few: every
-- documented event names a request, whose reference id stays the same.
CREATE TABLE loose_references (
    message   INTEGER PRIMARY KEY REFERENCES messages (seq) ON DELETE CASCADE,
    reference BLOB    NOT NULL                  -- in the form of requests.reference
);
CREATE INDEX loose_references_by_reference ON loose_references (reference);

CREATE TABLE ledger (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    flushed INTEGER NOT NULL,                   -- every message up to it is in the row of its request
    live    INTEGER NOT NULL CHECK (live IN (0, 1))  -- 1: messages are judged as they are accepted; 0: old ones come first
);
INSERT INTO ledger VALUES (1, 0, NOT EXISTS (SELECT 1 FROM messages));

-- When the messages of a block of 32,768 arrived, for every whole block from the first one on: see store/sqlite/arrivals.py.
CREATE TABLE arrivals (
    block       INTEGER PRIMARY KEY,            -- seq >> 15
    earliest_ms INTEGER NOT NULL,
    latest_ms   INTEGER NOT NULL
);

-- When a message came again, the first times; messages.duplicates counts all.
CREATE TABLE repeats (
    message     INTEGER NOT NULL REFERENCES messages (seq) ON DELETE CASCADE,
    number      INTEGER NOT NULL CHECK (number >= 1),  -- as messages.duplicates counts
    received_ms INTEGER NOT NULL,
    sender_id   BLOB,
    PRIMARY KEY (message, number)
) WITHOUT ROWID;

-- What people did to a delivery. Kept as long as its message; in the order in which it happened.
CREATE TABLE acts (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    message INTEGER NOT NULL REFERENCES messages (seq) ON DELETE CASCADE,
    sink    TEXT    NOT NULL,
    at_ms   INTEGER NOT NULL,
    actor   TEXT    NOT NULL,
    claimed TEXT,                               -- the name that the request gave
    act     TEXT    NOT NULL CHECK (act IN ('replay', 'discard')),
    was     TEXT    CHECK (was IN ('queued', 'delivered', 'dead', 'discarded')),  -- null: the act made the delivery
    becomes TEXT    NOT NULL CHECK (becomes IN ('queued', 'discarded'))
);
CREATE INDEX acts_by_message ON acts (message);

-- Requests are found by the ledger now. Both indexes cost four pages a commit.
DROP INDEX messages_by_sr;
DROP INDEX messages_by_reference;

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
CREATE INDEX watch_timers_due  ON watch_timers (rule, told_ms, entered_ms);
CREATE INDEX watch_timers_told ON watch_timers (rule, entered_ms) WHERE told_ms IS NOT NULL;  -- for lists; behind them the key

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
    seen_ms INTEGER NOT NULL,                   -- when it became known, in the store's own time
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
