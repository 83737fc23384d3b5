-- Counters repair themselves: without a CHECK, one that is wrong ends no transaction.
CREATE TABLE counters_now (
    sink      TEXT    PRIMARY KEY,
    queued    INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL DEFAULT 0,
    dead      INTEGER NOT NULL DEFAULT 0,
    discarded INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
INSERT INTO counters_now SELECT sink, queued, delivered, dead, discarded FROM counters;
DROP TABLE counters;
ALTER TABLE counters_now RENAME TO counters;

-- 1: an open delivery of the same service request stands before it, so ordering = "sr" does not let it go yet.
ALTER TABLE deliveries ADD COLUMN behind INTEGER NOT NULL DEFAULT 0 CHECK (behind IN (0, 1));
UPDATE deliveries SET behind = 1 WHERE state = 'queued' AND sr IS NOT NULL AND EXISTS (
    SELECT 1 FROM deliveries open WHERE open.sink = deliveries.sink AND open.sr = deliveries.sr AND open.state = 'queued'
      AND open.sr IS NOT NULL AND (open.event_ms, open.message) < (deliveries.event_ms, deliveries.message));
DROP INDEX deliveries_due;
CREATE INDEX deliveries_due ON deliveries (sink, behind, due_ms, message) WHERE state = 'queued';
-- What is to be given up next, of those that are due later than they were accepted. The others stand in `deliveries_due` by the
-- same instant, so that a message on its way in and out costs one index less.
CREATE INDEX deliveries_by_since ON deliveries (sink, since_ms, message) WHERE state = 'queued' AND due_ms > since_ms;

-- Milliseconds that a sink was not in the configuration in all: its deliveries count as accepted so much later.
ALTER TABLE sinks ADD COLUMN away_ms INTEGER NOT NULL DEFAULT 0;

-- How far the wall clock has jumped, in milliseconds. due_ms and since_ms of deliveries are kept in the store's own time, which
-- never jumps: the wall clock less `jumped_ms`.
CREATE TABLE timeline (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    jumped_ms INTEGER NOT NULL,
    seen_ms   INTEGER NOT NULL                 -- the last instant of the wall clock that was seen, to notice that it went back
);
INSERT INTO timeline VALUES (1, 0, 0);
