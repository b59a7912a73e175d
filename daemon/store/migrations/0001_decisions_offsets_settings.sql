-- Decisions are a sequence that only grows: a row is added, and later ended by a number of the same sequence. Who reads
-- everything above the last number they saw has missed nothing.
CREATE TABLE decisions (
    seq         INTEGER PRIMARY KEY,
    kind        TEXT    NOT NULL,
    target      TEXT    NOT NULL,
    direction   TEXT    NOT NULL,
    mode        TEXT    NOT NULL,
    since       INTEGER NOT NULL, -- microseconds since 1970
    until       INTEGER,          -- the same; NULL = until it is lifted
    origin_kind TEXT    NOT NULL,
    origin_name TEXT    NOT NULL,
    origin_at   TEXT,
    evidence    TEXT    NOT NULL, -- JSON
    ended_seq   INTEGER,
    ended_at    INTEGER,
    ended_how   TEXT,
    ended_by    TEXT
) STRICT;

CREATE INDEX decisions_in_force ON decisions (target) WHERE ended_seq IS NULL;
CREATE INDEX decisions_by_until ON decisions (until) WHERE ended_seq IS NULL AND until IS NOT NULL;
CREATE INDEX decisions_ended ON decisions (ended_seq) WHERE ended_seq IS NOT NULL;

-- One row: the last number given out (numbers are never used again, also after pruning) and how many are in force.
CREATE TABLE sequence (
    only     INTEGER PRIMARY KEY CHECK (only = 1),
    last     INTEGER NOT NULL,
    in_force INTEGER NOT NULL
) STRICT;
INSERT INTO sequence (only, last, in_force) VALUES (1, 0, 0);

-- How far a log file was read. The head is a hash of the first bytes of the file: inode numbers are used again.
CREATE TABLE offsets (
    source      TEXT    PRIMARY KEY,
    device      INTEGER NOT NULL,
    inode       INTEGER NOT NULL,
    head_length INTEGER NOT NULL,
    head        INTEGER NOT NULL,
    position    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
