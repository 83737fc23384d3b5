-- One more act of people: to ask Legitmark's API about a service request. A CHECK can only be changed with its table.
CREATE TABLE new_sink_acts (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order in which it happened
    at_ms   INTEGER NOT NULL,
    actor   TEXT    NOT NULL,
    claimed TEXT,                               -- the name that the request gave
    act     TEXT    NOT NULL CHECK (act IN ('pause', 'resume', 'probe', 'drill', 'sample', 'ask')),
    subject TEXT    NOT NULL,                   -- the sink, the source of the sample, or the uuid of the service request
    detail  TEXT    NOT NULL DEFAULT ''         -- what came of it; of a sample, the id of its message
);
INSERT INTO new_sink_acts (id, at_ms, actor, claimed, act, subject, detail)
    SELECT id, at_ms, actor, claimed, act, subject, detail FROM sink_acts ORDER BY id;
DROP TABLE sink_acts;
ALTER TABLE new_sink_acts RENAME TO sink_acts;
DELETE FROM sqlite_sequence WHERE name = 'sink_acts' AND seq = 0;  -- copying an empty table leaves this row
