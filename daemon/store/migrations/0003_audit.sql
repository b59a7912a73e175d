-- Who changed what. Rows are added, and the oldest are removed; none is ever changed.
CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL, -- microseconds since 1970
    by_kind TEXT    NOT NULL,
    by_name TEXT    NOT NULL,
    by_at   TEXT,
    change  TEXT    NOT NULL, -- JSON, before and after
    undoes  INTEGER           -- the row that this one took back
) STRICT;

CREATE INDEX audit_undoes ON audit (undoes) WHERE undoes IS NOT NULL;

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'rows of the audit log are not changed');
END;
