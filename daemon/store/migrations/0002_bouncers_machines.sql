-- Programs that enforce what is decided here. `pulled_seq` is the number of `sequence` up to which one has been told.
CREATE TABLE bouncers (
    name       TEXT    PRIMARY KEY,
    key_hash   BLOB    NOT NULL UNIQUE, -- SHA-512 of its key
    created    INTEGER NOT NULL,        -- microseconds since 1970
    pulled_seq INTEGER,                 -- NULL = never
    pulled_at  INTEGER,
    withheld   INTEGER NOT NULL,        -- 1 = when it pulled last, bans were observed only and it was told of none
    seen       INTEGER,
    address    TEXT    NOT NULL,
    agent      TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- Programs that order bans here: agents of CrowdSec.
CREATE TABLE machines (
    name      TEXT    PRIMARY KEY,
    salt      BLOB    NOT NULL,
    password  BLOB    NOT NULL, -- PBKDF2-HMAC-SHA256
    validated INTEGER NOT NULL,
    created   INTEGER NOT NULL,
    seen      INTEGER,
    address   TEXT    NOT NULL,
    agent     TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
