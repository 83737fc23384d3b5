-- What commits changed and the audit log may not say yet: one row of a commit, until its lines are written. What is left after a
-- crash is all that the log can lack.
CREATE TABLE unlogged (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order of the commits
    steps BLOB    NOT NULL                    -- MessagePack: a list of steps, see store/unlogged.py
);

-- For people's questions, in blocks as `messages_by_sr`: the partner's own id, and the time of arrival, which is nearly the order
-- of arrival, but not where a clock was set.
CREATE INDEX messages_by_reference ON messages (seq >> 8, reference_id) WHERE reference_id IS NOT NULL;
CREATE INDEX messages_by_time      ON messages (seq >> 8, received_ms);
CREATE INDEX deliveries_discarded  ON deliveries (sink, message) WHERE state = 'discarded';
