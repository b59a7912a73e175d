-- Every name that a row refers to, once. A name that nothing refers to any more is null, and its place is given to the
-- next one: numbers stay small. 0 is no name (its zone does not want it told); 1 stands for names that are too many.
CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
INSERT INTO names (id, name) VALUES (1, '*');

-- Who asks: an address with its name in the config and its zone. The address is 4 or 16 bytes, or none where its zone
-- does not want it told. 0 is in no row: clients that are too many.
CREATE TABLE clients (
    id INTEGER PRIMARY KEY,
    address BLOB NOT NULL,
    name TEXT NOT NULL,
    zone TEXT NOT NULL,
    UNIQUE (address, name, zone)
);

-- Upstreams and lists. 0 is none.
CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT NOT NULL UNIQUE);

-- The questions. The id is the microsecond since 1970, or one that was free next to it: so the table is in the order of
-- time and needs no index.
CREATE TABLE queries (
    id INTEGER PRIMARY KEY,
    client INTEGER NOT NULL,
    name INTEGER NOT NULL,
    kind INTEGER NOT NULL,      -- see `kind.rs`
    qtype INTEGER NOT NULL,
    micros INTEGER NOT NULL,
    upstream INTEGER NOT NULL,  -- of words
    list INTEGER NOT NULL,      -- of words
    number INTEGER NOT NULL,    -- line of the list, or number of the decision
    alias INTEGER NOT NULL      -- of names
);

-- What outlives the questions: sums of each hour (since 1970) by client ...
CREATE TABLE hours (
    hour INTEGER NOT NULL,
    client INTEGER NOT NULL,
    total INTEGER NOT NULL,
    blocked INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    forwarded INTEGER NOT NULL,
    PRIMARY KEY (hour, client)
) WITHOUT ROWID;

-- ... and the names that led each day (since 1970, UTC), by questions and by what was blocked.
CREATE TABLE days (
    day INTEGER NOT NULL,
    name INTEGER NOT NULL,
    total INTEGER NOT NULL,
    blocked INTEGER NOT NULL,
    PRIMARY KEY (day, name)
) WITHOUT ROWID;

-- `kept_since`: rows from this microsecond on are all there; before it, some are gone.
CREATE TABLE state (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
