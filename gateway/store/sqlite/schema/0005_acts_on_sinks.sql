-- What people did to sinks, and to the gateway with a sample: what is done to deliveries is in `acts`. The newest 10,000.
CREATE TABLE sink_acts (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order in which it happened
    at_ms   INTEGER NOT NULL,
    actor   TEXT    NOT NULL,
    claimed TEXT,                               -- the name that the request gave
    act     TEXT    NOT NULL CHECK (act IN ('pause', 'resume', 'probe', 'drill', 'sample')),
    subject TEXT    NOT NULL,                   -- the sink, or the source of the sample
    detail  TEXT    NOT NULL DEFAULT ''         -- what came of it; of a sample, the id of its message
);
