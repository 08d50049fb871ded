-- Events that a replay of history derived. They are on no bill: a replay costs nothing, whatever its rules emit.
ALTER TABLE events ADD COLUMN IF NOT EXISTS replayid String COMMENT 'the replay whose rules derived this event; else empty';
