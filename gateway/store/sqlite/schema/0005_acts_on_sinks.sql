-- What people did to sinks, to the gateway with a sample, and to a service request with a question to Legitmark's API: what is done
-- to deliveries is in `acts`. The newest 10,000.
CREATE TABLE sink_acts (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order in which it happened
    at_ms   INTEGER NOT NULL,
    actor   TEXT    NOT NULL,
    claimed TEXT,                               -- the name that the request gave
    act     TEXT    NOT NULL CHECK (act IN ('pause', 'resume', 'probe', 'drill', 'sample', 'ask')),
    subject TEXT    NOT NULL,                   -- the sink, the source of the sample, or the uuid of the service request
    detail  TEXT    NOT NULL DEFAULT ''         -- what came of it; of a sample, the id of its message
);
