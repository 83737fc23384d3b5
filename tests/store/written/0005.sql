PRAGMA application_id = 1280132951;
PRAGMA user_version = 5;
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
CREATE INDEX messages_by_status           ON messages (status, seq) WHERE status <> 'accepted';
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
    event_ms   INTEGER, behind INTEGER NOT NULL DEFAULT 0 CHECK (behind IN (0, 1)),                         -- and its place there
    PRIMARY KEY (message, sink),
    CHECK ((state = 'queued') = (due_ms IS NOT NULL)),
    CHECK ((state = 'queued') = (ended_ms IS NULL)),
    CHECK ((sr IS NULL) = (event_ms IS NULL))
) WITHOUT ROWID;
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
, away_ms INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
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
CREATE TABLE unlogged (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order of the commits
    steps BLOB    NOT NULL                    -- MessagePack: a list of steps, see store/unlogged.py
);
CREATE INDEX messages_by_time      ON messages (seq >> 8, received_ms);
CREATE INDEX deliveries_discarded  ON deliveries (sink, message) WHERE state = 'discarded';
CREATE TABLE "counters" (
    sink      TEXT    PRIMARY KEY,
    queued    INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL DEFAULT 0,
    dead      INTEGER NOT NULL DEFAULT 0,
    discarded INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (sink, behind, due_ms, message) WHERE state = 'queued';
CREATE INDEX deliveries_by_since ON deliveries (sink, since_ms, message) WHERE state = 'queued' AND due_ms > since_ms;
CREATE TABLE timeline (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    jumped_ms INTEGER NOT NULL,
    seen_ms   INTEGER NOT NULL                 -- the last instant of the wall clock that was seen, to notice that it went back
);
CREATE TABLE rules (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    sha256   BLOB    NOT NULL UNIQUE,           -- of the snapshot
    since_ms INTEGER NOT NULL,                  -- when they were first used
    until_ms INTEGER,                           -- when others replaced them; null: they are in use
    snapshot BLOB    NOT NULL                   -- see core/rules_then.py
);
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
CREATE TABLE signing_keys (
    number INTEGER PRIMARY KEY,
    label  TEXT    NOT NULL UNIQUE
);
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
CREATE INDEX standings_flagged      ON standings (entered_ms, flags, milestone) WHERE flags <> 0;
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
CREATE TABLE arrivals (
    block       INTEGER PRIMARY KEY,            -- seq >> 15
    earliest_ms INTEGER NOT NULL,
    latest_ms   INTEGER NOT NULL
);
CREATE TABLE repeats (
    message     INTEGER NOT NULL REFERENCES messages (seq) ON DELETE CASCADE,
    number      INTEGER NOT NULL CHECK (number >= 1),  -- as messages.duplicates counts
    received_ms INTEGER NOT NULL,
    sender_id   BLOB,
    PRIMARY KEY (message, number)
) WITHOUT ROWID;
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
CREATE INDEX watch_timers_told ON watch_timers (rule, entered_ms) WHERE told_ms IS NOT NULL;
CREATE TABLE lasting (
    kind       TEXT    NOT NULL CHECK (kind IN ('source_silent', 'sink_failing')),
    subject    TEXT    NOT NULL,
    elapsed_ms INTEGER NOT NULL,
    told       INTEGER NOT NULL CHECK (told IN (0, 1)),
    PRIMARY KEY (kind, subject)
) WITHOUT ROWID;
CREATE TABLE known_words (
    source  TEXT    NOT NULL,
    kind    TEXT    NOT NULL CHECK (kind IN ('type', 'state', 'field', 'reason')),
    value   BLOB    NOT NULL,
    seen_ms INTEGER NOT NULL,                   -- when it became known, in the store's own time
    PRIMARY KEY (source, kind, value)
) WITHOUT ROWID;
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
CREATE TABLE sink_acts (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order in which it happened
    at_ms   INTEGER NOT NULL,
    actor   TEXT    NOT NULL,
    claimed TEXT,                               -- the name that the request gave
    act     TEXT    NOT NULL CHECK (act IN ('pause', 'resume', 'probe', 'drill', 'sample', 'ask')),
    subject TEXT    NOT NULL,                   -- the sink, the source of the sample, or the uuid of the service request
    detail  TEXT    NOT NULL DEFAULT ''         -- what came of it; of a sample, the id of its message
);
INSERT INTO messages VALUES (1, '616761696e2061667465722072650000', 'legitmark', X'6d73675f616761696e20616674657220726574656e74696f6e00e7bdb2e5908d', 1763360000000, 1763360000000, X'6170706c69636174696f6e2f6a736f6e3b20636861727365743d7574662d38', NULL, NULL, X'73746174655f6368616e6765', 'authentic', X'30663366376130652d356134632d346630652d386233652d316631663166316631663166', X'e99e842d31', 'accepted', 0, 1, X'6f6c64');
INSERT INTO messages VALUES (3, '616761696e2061667465722072650900', 'legitmark', X'6d73675f616761696e20616674657220726574656e74696f6e00e7bdb2e5908d', 1772000000000, 1772000000000, X'6170706c69636174696f6e2f6a736f6e3b20636861727365743d7574662d38', NULL, NULL, X'73746174655f6368616e6765', 'authentic', X'30663366376130652d356134632d346630652d386233652d316631663166316631663166', X'e99e842d31', 'accepted', 0, 0, X'6e6577');
INSERT INTO messages VALUES (4, '706c61696e0000000000000000000000', 'legitmark', X'6d73675f706c61696e00e7bdb2e5908d', 1772000000000, 1772000000000, X'6170706c69636174696f6e2f6a736f6e3b20636861727365743d7574662d38', NULL, X'6964656e74697479206f6620706c61696ede5d86941987133497548260d7a8398f', X'73746174655f6368616e6765', 'authentic', X'30663366376130652d356134632d346630652d386233652d316631663166316631663166', X'e99e842d31', 'accepted', 1, 0, X'7b226576656e745f74797065223a202273746174655f6368616e6765227d');
INSERT INTO messages VALUES (5, '6a6170616e6573650000000000000000', 'legitmark', X'6d73675f6a6170616e65736500e7bdb2e5908d', 1772000001000, 1772000001000, X'6170706c69636174696f6e2f6a736f6e3b20636861727365743d7574662d38', NULL, X'6964656e74697479206f66206a6170616e657365e93e8df4c1138b211e660bfe9bbe905f', X'73746174655f6368616e6765', 'authentic', X'30663366376130652d356134632d346630652d386233652d316631663166316631663166', X'e99e842d31', 'accepted', 1, 0, X'7b226272616e64223a2022e383abe382a4e383bbe383b4e382a3e38388e383b3222c20226e6f7465223a2022e69cace789a9e38080e381a7e38199227d');
INSERT INTO messages VALUES (6, '68756765206e756d6265727300000000', 'legitmark', X'6d73675f68756765206e756d6265727300e7bdb2e5908d', 1772000002000, 1772000002000, X'6170706c69636174696f6e2f6a736f6e3b20636861727365743d7574662d38', NULL, X'6964656e74697479206f662068756765206e756d62657273559bd7bab526de8c1b3988ba75397709', X'73746174655f6368616e6765', 'authentic', X'30663366376130652d356134632d346630652d386233652d316631663166316631663166', X'e99e842d31', 'accepted', 0, 0, X'7b226e223a203132333435363738393031323334353637383930313233343536373839302c202266223a2031653430302c20226e223a20327d');
INSERT INTO messages VALUES (7, '6e756c20616e64206c6f6e6520730000', 'legitmark', X'6d73675f6e756c20616e64206c6f6e6520737572726f6761746500e7bdb2e5908d', 1772000003000, 1772000003000, X'6170706c69636174696f6e2f6a736f6e3b20636861727365743d7574662d38', NULL, X'7479206f66206e756c20616e64206c6f6e6520737572726f676174655a2b82e6f1f1bbff4085ed76c6377d04', X'73746174655f6368616e6765', 'authentic', X'30663366376130652d356134632d346630652d386233652d316631663166316631663166', X'e99e842d31', 'accepted', 0, 0, X'7b2261223a20225c75303030305c7564383030227d00');
INSERT INTO messages VALUES (8, '656d7074790000000000000000000000', 'legitmark', X'6d73675f656d70747900e7bdb2e5908d', 1772000005000, 1772000005000, X'6170706c69636174696f6e2f6a736f6e3b20636861727365743d7574662d38', NULL, X'6964656e74697479206f6620656d707479ae8afe35b8eb8774c771d81e37a12fa6', X'73746174655f6368616e6765', 'authentic', X'30663366376130652d356134632d346630652d386233652d316631663166316631663166', X'e99e842d31', 'accepted', 0, 0, X'');
INSERT INTO messages VALUES (9, '6c6f6e67000000000000000000000000', 'legitmark', X'6d73675f6c6f6e6700e7bdb2e5908d', 1772000006000, 1772000006000, X'6170706c69636174696f6e2f6a736f6e3b20636861727365743d7574662d38', NULL, X'6964656e74697479206f66206c6f6e67b5c16cb3d21d75b3ac5adb5b3744a841', X'73746174655f6368616e6765', 'authentic', X'30663366376130652d356134632d346630652d386233652d316631663166316631663166', X'e99e842d31', 'accepted', 0, 0, X'7b2278223a2022270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d270a3b2d2d227d');
INSERT INTO messages VALUES (10, '6e6f207574662d380000000000000000', 'legitmark', X'6d73675f6e6f207574662d3800e7bdb2e5908d', 1772000000000, 1772000000000, X'6170706c69636174696f6e2f6a736f6e3b20636861727365743d7574662d38', NULL, NULL, NULL, NULL, NULL, NULL, 'quarantined', 0, 0, X'fffe005b');
INSERT INTO messages VALUES (11, '756e726f757465640000000000000000', 'legitmark', X'6d73675f756e726f7574656400e7bdb2e5908d', 1772000000000, 1772000000000, X'6170706c69636174696f6e2f6a736f6e3b20636861727365743d7574662d38', NULL, NULL, X'73746174655f6368616e6765', 'authentic', NULL, X'e99e842d31', 'unrouted', 0, 0, X'7b7d');
INSERT INTO messages VALUES (12, '6e6f6e65000000000000000000000000', 'internal', NULL, 1772000000000, 1772000000000, NULL, X'0fb3536e24a51f4b2304f9d77b86956e5001efd7decdf504edf7d449c13b7837', NULL, X'73746174655f6368616e6765', 'authentic', X'30663366376130652d356134632d346630652d386233652d316631663166316631663166', X'e99e842d31', 'accepted', 0, 0, X'7b226f66223a20226e6f626f6479227d');
INSERT INTO messages VALUES (13, '7475726e203000000000000000000000', 'legitmark', X'6d73675f7475726e203000e7bdb2e5908d', 1772000000000, 1772000000000, X'6170706c69636174696f6e2f6a736f6e3b20636861727365743d7574662d38', NULL, NULL, X'73746174655f6368616e6765', 'authentic', X'30663366376130652d356134632d346630652d386233652d316631663166316631663166', X'e99e842d31', 'accepted', 0, 0, X'30');
INSERT INTO messages VALUES (14, '7475726e203100000000000000000000', 'legitmark', X'6d73675f7475726e203100e7bdb2e5908d', 1772000000000, 1771999999000, X'6170706c69636174696f6e2f6a736f6e3b20636861727365743d7574662d38', NULL, NULL, X'73746174655f6368616e6765', 'authentic', X'30663366376130652d356134632d346630652d386233652d316631663166316631663166', X'e99e842d31', 'accepted', 0, 0, X'31');
INSERT INTO messages VALUES (15, '7475726e203200000000000000000000', 'legitmark', X'6d73675f7475726e203200e7bdb2e5908d', 1772000000000, 1771999998000, X'6170706c69636174696f6e2f6a736f6e3b20636861727365743d7574662d38', NULL, NULL, X'73746174655f6368616e6765', 'authentic', X'30663366376130652d356134632d346630652d386233652d316631663166316631663166', X'e99e842d31', 'accepted', 0, 0, X'32');
INSERT INTO messages VALUES (16, '64656c69766572656400000000000000', 'legitmark', X'6d73675f64656c69766572656400e7bdb2e5908d', 1772000060000, 1772000060000, X'6170706c69636174696f6e2f6a736f6e3b20636861727365743d7574662d38', NULL, NULL, X'73746174655f6368616e6765', 'authentic', X'30663366376130652d356134632d346630652d386233652d316631663166316631663166', X'e99e842d31', 'accepted', 0, 0, X'7b7d');
INSERT INTO messages VALUES (17, '64656164000000000000000000000000', 'legitmark', X'6d73675f6465616400e7bdb2e5908d', 1772000060000, 1772000060000, X'6170706c69636174696f6e2f6a736f6e3b20636861727365743d7574662d38', NULL, NULL, X'73746174655f6368616e6765', 'authentic', X'30663366376130652d356134632d346630652d386233652d316631663166316631663166', X'e99e842d31', 'accepted', 0, 0, X'7b7d');
INSERT INTO messages VALUES (18, '64697363617264656400000000000000', 'legitmark', X'6d73675f64697363617264656400e7bdb2e5908d', 1772000060000, 1772000060000, X'6170706c69636174696f6e2f6a736f6e3b20636861727365743d7574662d38', NULL, NULL, X'73746174655f6368616e6765', 'authentic', X'30663366376130652d356134632d346630652d386233652d316631663166316631663166', X'e99e842d31', 'accepted', 0, 0, X'7b7d');
INSERT INTO messages VALUES (19, '7265706c617965640000000000000000', 'legitmark', X'6d73675f7265706c6179656400e7bdb2e5908d', 1772000060000, 1772000060000, X'6170706c69636174696f6e2f6a736f6e3b20636861727365743d7574662d38', NULL, NULL, X'73746174655f6368616e6765', 'authentic', X'30663366376130652d356134632d346630652d386233652d316631663166316631663166', X'e99e842d31', 'accepted', 0, 0, X'7b7d');
INSERT INTO messages VALUES (20, '68656c64000000000000000000000000', 'legitmark', X'6d73675f68656c6400e7bdb2e5908d', 1772000000000, 1772000000000, X'6170706c69636174696f6e2f6a736f6e3b20636861727365743d7574662d38', NULL, NULL, X'73746174655f6368616e6765', 'authentic', X'30663366376130652d356134632d346630652d386233652d316631663166316631663166', X'e99e842d31', 'accepted', 0, 0, X'7b7d');
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES ('acts', 1);
INSERT INTO sqlite_sequence VALUES ('messages', 23);
INSERT INTO sqlite_sequence VALUES ('rules', 1);
INSERT INTO sqlite_sequence VALUES ('sink_acts', 3);
INSERT INTO sqlite_sequence VALUES ('unlogged', 30);
INSERT INTO conflicts VALUES (4, X'867ad8c10a26b2e9273f73e17e4d0005c77b54c85fdebe168b354dee49477d7e', X'6d73675f706c61696e00e7bdb2e5908d', 1772000000000, X'616e6f7468657220626f6479');
INSERT INTO deliveries VALUES (1, 'erp', 'delivered', 1, 0, 1763360000000, NULL, 1772000010000, NULL, 0, NULL, NULL, 0);
INSERT INTO deliveries VALUES (3, 'erp', 'queued', 0, 0, 1772000000000, 1772000005000, NULL, NULL, 0, NULL, NULL, 0);
INSERT INTO deliveries VALUES (4, 'added', 'queued', 0, 0, 1772000080000, 1772000080000, NULL, NULL, 1, NULL, NULL, 0);
INSERT INTO deliveries VALUES (4, 'erp', 'delivered', 1, 0, 1772000000000, NULL, 1772000010000, NULL, 0, NULL, NULL, 0);
INSERT INTO deliveries VALUES (4, 'slack', 'queued', 0, 0, 1772000000000, 1772000005000, NULL, NULL, 0, NULL, NULL, 0);
INSERT INTO deliveries VALUES (5, 'erp', 'queued', 2, 1, 1772000001000, 1772000140000, NULL, 'rate_limited', 0, NULL, NULL, 0);
INSERT INTO deliveries VALUES (5, 'slack', 'queued', 0, 0, 1772000001000, 1772000006000, NULL, NULL, 0, NULL, NULL, 0);
INSERT INTO deliveries VALUES (6, 'erp', 'dead', 1, 0, 1772000002000, NULL, 1772000010000, 'rejected', 0, NULL, NULL, 0);
INSERT INTO deliveries VALUES (6, 'slack', 'queued', 0, 0, 1772000002000, 1772000007000, NULL, NULL, 0, NULL, NULL, 0);
INSERT INTO deliveries VALUES (7, 'erp', 'queued', 0, 0, 1772000003000, 1772000008000, NULL, NULL, 0, NULL, NULL, 0);
INSERT INTO deliveries VALUES (7, 'slack', 'queued', 0, 0, 1772000003000, 1772000008000, NULL, NULL, 0, NULL, NULL, 0);
INSERT INTO deliveries VALUES (8, 'erp', 'queued', 0, 0, 1772000005000, 1772000010000, NULL, NULL, 0, NULL, NULL, 0);
INSERT INTO deliveries VALUES (8, 'slack', 'queued', 0, 0, 1772000005000, 1772000010000, NULL, NULL, 0, NULL, NULL, 0);
INSERT INTO deliveries VALUES (9, 'erp', 'queued', 0, 0, 1772000006000, 1772000011000, NULL, NULL, 0, NULL, NULL, 0);
INSERT INTO deliveries VALUES (9, 'slack', 'queued', 1, 1, 1772000006000, 1772000015000, NULL, 'timeout', 0, NULL, NULL, 0);
INSERT INTO deliveries VALUES (12, 'erp', 'queued', 0, 0, 1772000000000, 1772000005000, NULL, NULL, 0, NULL, NULL, 0);
INSERT INTO deliveries VALUES (13, 'ordered', 'queued', 0, 0, 1772000000000, 1772000005000, NULL, NULL, 0, X'30663366376130652d356134632d346630652d386233652d316631663166316631663166', 1772000000000, 1);
INSERT INTO deliveries VALUES (14, 'ordered', 'queued', 0, 0, 1772000000000, 1772000005000, NULL, NULL, 0, X'30663366376130652d356134632d346630652d386233652d316631663166316631663166', 1771999999000, 1);
INSERT INTO deliveries VALUES (15, 'ordered', 'queued', 0, 0, 1772000000000, 1772000005000, NULL, NULL, 0, X'30663366376130652d356134632d346630652d386233652d316631663166316631663166', 1771999998000, 0);
INSERT INTO deliveries VALUES (16, 'ends', 'delivered', 1, 0, 1772000060000, NULL, 1772000010000, NULL, 0, NULL, NULL, 0);
INSERT INTO deliveries VALUES (17, 'ends', 'dead', 1, 0, 1772000060000, NULL, 1772000010000, 'rejected', 0, NULL, NULL, 0);
INSERT INTO deliveries VALUES (18, 'ends', 'discarded', 0, 0, 1772000060000, NULL, 1772000070000, NULL, 0, NULL, NULL, 0);
INSERT INTO deliveries VALUES (19, 'ends', 'queued', 1, 0, 1772000080000, 1772000080000, NULL, NULL, 1, NULL, NULL, 0);
INSERT INTO deliveries VALUES (20, 'gone', 'queued', 0, 0, 1772000000000, 1772000005000, NULL, NULL, 0, NULL, NULL, 0);
INSERT INTO attempts VALUES (1, 'erp', 1, 1772000010000, 7, 'delivered', NULL, 200, '', '');
INSERT INTO attempts VALUES (4, 'erp', 1, 1772000010000, 7, 'delivered', NULL, 200, 'OK', '');
INSERT INTO attempts VALUES (5, 'erp', 1, 1772000010000, 7, 'retry', 'http_status', 500, 'HTTP 500', 'エラー: ''もう一度'';
');
INSERT INTO attempts VALUES (5, 'erp', 2, 1772000020000, 7, 'defer', 'rate_limited', 429, 'HTTP 429', '');
INSERT INTO attempts VALUES (6, 'erp', 1, 1772000010000, 7, 'reject', 'rejected', 410, 'HTTP 410', 'gone');
INSERT INTO attempts VALUES (9, 'slack', 1, 1772000010000, 7, 'retry', 'timeout', NULL, 'no answer within 30s', '');
INSERT INTO attempts VALUES (16, 'ends', 1, 1772000010000, 7, 'delivered', NULL, 250, '', '');
INSERT INTO attempts VALUES (17, 'ends', 1, 1772000010000, 7, 'reject', 'smtp_status', 550, '550 no such mailbox', '');
INSERT INTO attempts VALUES (19, 'ends', 1, 1772000010000, 7, 'reject', 'smtp_status', 550, '550 no such mailbox', '');
INSERT INTO sinks VALUES ('gone', NULL, NULL, 0, NULL, NULL, 0, NULL, 1772000090000, 0, 0);
INSERT INTO sinks VALUES ('ordered', NULL, NULL, 0, NULL, NULL, 0, NULL, NULL, 1, 0);
INSERT INTO sinks VALUES ('slack', 1772000000000, '田中', 3, 1772000000000, 1772000030000, 60000, 1772000090000, NULL, 0, 0);
INSERT INTO threads VALUES ('slack', '#fraud', X'30663366376130652d356134632d346630652d386233652d316631663166316631663166', 'C0123', '1772000000.000100', 1772000000000, 1772000000000);
INSERT INTO unlogged VALUES (1, X'919a01a000a0c0c0c0c2c0c0');
INSERT INTO unlogged VALUES (2, X'919a01b264656c69766572792e64656c697665726564cf0000019c936e5f10a365727001c0c0c2c0c0');
INSERT INTO unlogged VALUES (3, X'919a03a000a0c0c0c0c2c0c0');
INSERT INTO unlogged VALUES (4, X'919a04a000a0c0c0c0c2c0c0');
INSERT INTO unlogged VALUES (5, X'919a05a000a0c0c0c0c2c0c0');
INSERT INTO unlogged VALUES (6, X'919a06a000a0c0c0c0c2c0c0');
INSERT INTO unlogged VALUES (7, X'919a07a000a0c0c0c0c2c0c0');
INSERT INTO unlogged VALUES (8, X'919a08a000a0c0c0c0c2c0c0');
INSERT INTO unlogged VALUES (9, X'919a09a000a0c0c0c0c2c0c0');
INSERT INTO unlogged VALUES (10, X'919a0aa000a0c0c0c0c2c0c0');
INSERT INTO unlogged VALUES (11, X'919a0ba000a0c0c0c0c2c0c0');
INSERT INTO unlogged VALUES (12, X'919a0ca000a0c0c0c0c2c0c0');
INSERT INTO unlogged VALUES (13, X'919a0da000a0c0c0c0c2c0c0');
INSERT INTO unlogged VALUES (14, X'919a0ea000a0c0c0c0c2c0c0');
INSERT INTO unlogged VALUES (15, X'919a0fa000a0c0c0c0c2c0c0');
INSERT INTO unlogged VALUES (16, X'919a10a000a0c0c0c0c2c0c0');
INSERT INTO unlogged VALUES (17, X'919a11a000a0c0c0c0c2c0c0');
INSERT INTO unlogged VALUES (18, X'919a12a000a0c0c0c0c2c0c0');
INSERT INTO unlogged VALUES (19, X'919a13a000a0c0c0c0c2c0c0');
INSERT INTO unlogged VALUES (20, X'919a14a000a0c0c0c0c2c0c0');
INSERT INTO unlogged VALUES (21, X'919a04b264656c69766572792e64656c697665726564cf0000019c936e5f10a365727001c0c0c2c0c0');
INSERT INTO unlogged VALUES (22, X'919a05b164656c69766572792e7265747279696e67cf0000019c936e5f10a365727001cf0000019c936e7298ab687474705f737461747573c2c0c0');
INSERT INTO unlogged VALUES (23, X'919a05b164656c69766572792e6465666572726564cf0000019c936e8620a365727002cf0000019c93705ae0ac726174655f6c696d69746564c2c0c0');
INSERT INTO unlogged VALUES (24, X'919a06ad64656c69766572792e64656164cf0000019c936e5f10a365727001c0a872656a6563746564c2c0c0');
INSERT INTO unlogged VALUES (25, X'919a09b164656c69766572792e7265747279696e67cf0000019c936e5f10a5736c61636b01cf0000019c936e7298a774696d656f7574c2c0c0');
INSERT INTO unlogged VALUES (26, X'919a10b264656c69766572792e64656c697665726564cf0000019c936e5f10a4656e647301c0c0c2c0c0');
INSERT INTO unlogged VALUES (27, X'919a11ad64656c69766572792e64656164cf0000019c936e5f10a4656e647301c0a872656a6563746564c2c0c0');
INSERT INTO unlogged VALUES (28, X'919a13ad64656c69766572792e64656164cf0000019c936e5f10a4656e647301c0a872656a6563746564c2c0c0');
INSERT INTO unlogged VALUES (29, X'919a13b164656c69766572792e7265706c61796564cf0000019c936f7080a4656e6473c0c0c0c2a3616e6ea6e794b0e4b8ad');
INSERT INTO unlogged VALUES (30, X'919a17a000a0c0c0c0c2c0c0');
INSERT INTO counters VALUES ('added', 1, 0, 0, 0);
INSERT INTO counters VALUES ('ends', 1, 1, 1, 1);
INSERT INTO counters VALUES ('erp', 6, 2, 1, 0);
INSERT INTO counters VALUES ('gone', 1, 0, 0, 0);
INSERT INTO counters VALUES ('ordered', 3, 0, 0, 0);
INSERT INTO counters VALUES ('slack', 6, 0, 0, 0);
INSERT INTO timeline VALUES (1, 0, 0);
INSERT INTO rules VALUES (1, X'9fc2c48128062d79e6af0fb9be0bed6a796fce0c93c747adf99c07b2739fcd22', 1772000000000, NULL, X'5b7b226e616d65223a20227665726469637473227d5d');
INSERT INTO entries VALUES (1, 1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO entries VALUES (3, 1, 1, NULL, NULL, NULL, NULL);
INSERT INTO entries VALUES (4, 1, 3, NULL, NULL, NULL, NULL);
INSERT INTO entries VALUES (5, 1, 4, NULL, NULL, NULL, NULL);
INSERT INTO entries VALUES (6, 1, 5, NULL, NULL, NULL, NULL);
INSERT INTO entries VALUES (7, 1, 6, NULL, NULL, NULL, NULL);
INSERT INTO entries VALUES (8, 1, 7, NULL, NULL, NULL, NULL);
INSERT INTO entries VALUES (9, 1, 8, NULL, NULL, NULL, NULL);
INSERT INTO entries VALUES (10, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO entries VALUES (11, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO entries VALUES (12, 2, NULL, NULL, NULL, NULL, NULL);
INSERT INTO entries VALUES (13, 1, 9, NULL, NULL, NULL, NULL);
INSERT INTO entries VALUES (14, 1, 13, NULL, NULL, NULL, NULL);
INSERT INTO entries VALUES (15, 1, 14, NULL, NULL, NULL, NULL);
INSERT INTO entries VALUES (16, 1, 15, NULL, NULL, NULL, NULL);
INSERT INTO entries VALUES (17, 1, 16, NULL, NULL, NULL, NULL);
INSERT INTO entries VALUES (18, 1, 17, NULL, NULL, NULL, NULL);
INSERT INTO entries VALUES (19, 1, 18, NULL, NULL, NULL, NULL);
INSERT INTO entries VALUES (20, 1, 19, NULL, NULL, NULL, NULL);
INSERT INTO requests VALUES (1, 'legitmark', X'30663366376130652d356134632d346630652d386233652d316631663166316631663166', X'e99e842d31', X'e99e842d31');
INSERT INTO requests VALUES (2, 'internal', X'30663366376130652d356134632d346630652d386233652d316631663166316631663166', X'e99e842d31', X'e99e842d31');
INSERT INTO standings VALUES (1, 20, 0, 0, 0, X'0197c0000000009300000092c000');
INSERT INTO standings VALUES (2, 12, 0, 0, 0, X'0197c0000000009300000092c000');
INSERT INTO loose_references VALUES (11, X'e99e842d31');
INSERT INTO ledger VALUES (1, 23, 1);
INSERT INTO repeats VALUES (4, 1, 1772000000000, X'6d73675f706c61696e00e7bdb2e5908d');
INSERT INTO repeats VALUES (5, 1, 1772000000000, X'6d73675f6173206a6170616e65736500e7bdb2e5908d');
INSERT INTO acts VALUES (1, 19, 'ends', 1772000080000, 'ann', '田中', 'replay', 'queued', 'queued');
INSERT INTO watch_timers VALUES ('legitmark', X'30663366376130652d356134632d346630652d386233652d316631663166316631663166', 'told', X'4241472de794b0e4b8ad', X'51432f50454e44494e47', 1771999940000, 1772000000000, 1772000090000);
INSERT INTO watch_timers VALUES ('legitmark', X'30663366376130652d356134632d346630652d386233652d316631663166316631663166', 'waits', X'4241472de794b0e4b8ad', X'51432f50454e44494e47', 1771999940000, 1772000000000, NULL);
INSERT INTO lasting VALUES ('sink_failing', 'ends', 90000, 1);
INSERT INTO lasting VALUES ('source_silent', 'legitmark', 90000, 0);
INSERT INTO known_words VALUES ('legitmark', 'reason', X'e692aee3828ae79bb4e38197', 1772000000000);
INSERT INTO sink_acts VALUES (1, 1772000090000, '田中', NULL, 'pause', 'slack', '');
INSERT INTO sink_acts VALUES (2, 1772000091000, 'admin', NULL, 'drill', 'erp', 'HTTP 500');
INSERT INTO sink_acts VALUES (3, 1772000092000, 'admin', NULL, 'ask', '0f3f7a0e-5a4c-4f0e-8b3e-1f1f1f1f1f1f', 'same QC/PENDING');
