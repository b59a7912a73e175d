//! The audit log: who changed what. What changes a decision writes its row in the same transaction, so that there is
//! no change without its row and no row without its change.

use model::{AuditRecord, Change, Decision, Origin, OriginKind, Timestamp};
use sqlx::{FromRow, SqliteConnection};

use crate::{
    Result, Store, StoreError,
    row::{check_length, from_word, word},
};

/// Most rows about what people changed, and most about what engines did: a flood of bans does not push out what people
/// did. The oldest go first, [`AUDIT_SLACK`] at a time.
pub const MAX_AUDIT: u64 = 50_000;

/// Rows that may stand above [`MAX_AUDIT`] for a while: counting them each time would cost more than they do.
pub const AUDIT_SLACK: u64 = 256;

/// Most rows of one [`Store::audit`].
pub const MAX_AUDIT_ROWS: u32 = 10_000;

/// What secd does by itself is written down under this name, as a person's: lifting the ban of what became protected.
/// Nobody else has it, since users of the control socket have their number behind their name.
pub const BY_ITSELF: &str = "secd";

/// Who changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Who.
    pub by: Origin,
    /// The row of the audit log that this takes back.
    pub undoes: Option<u64>,
}

impl Actor {
    /// A person, or a program that a person uses.
    #[must_use]
    pub fn person(name: &str) -> Self {
        let by = Origin { kind: OriginKind::Person, name: name.to_owned(), at: None };
        Self { by, undoes: None }
    }
}

impl From<&Origin> for Actor {
    fn from(by: &Origin) -> Self {
        Self { by: by.clone(), undoes: None }
    }
}

/// Which rows to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// From then on.
    pub since: Option<Timestamp>,
    /// This row alone.
    pub id: Option<u64>,
    /// At most this many, at most [`MAX_AUDIT_ROWS`].
    pub limit: Option<u32>,
}

#[derive(FromRow)]
struct AuditRow {
    id: i64,
    at: i64,
    by_kind: String,
    by_name: String,
    by_at: Option<String>,
    change: String,
    undoes: Option<i64>,
    undone_by: Option<i64>,
}

const COLUMNS: &str = "a.id, a.at, a.by_kind, a.by_name, a.by_at, a.change, a.undoes,
    (SELECT max(u.id) FROM audit u WHERE u.undoes = a.id) AS undone_by";

impl Store {
    /// Writes down what was changed elsewhere; durable when this returns.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub async fn record(&self, actor: &Actor, change: &Change, at: Timestamp) -> Result<u64> {
        let failed = || self.failed("write the audit log");
        check_length("the name of who changes something", &actor.by.name)?;
        let mut transaction = self.begin().await.map_err(failed())?;
        let id = write(&mut transaction, actor, change, at, self.limits.max_audit).await.map_err(failed())?;
        transaction.commit().await.map_err(failed())?;
        Ok(id)
    }

    /// Rows of the audit log, newest first.
    ///
    /// # Errors
    /// If the file cannot be read, or a row of it.
    pub async fn audit(&self, filter: AuditFilter) -> Result<Vec<AuditRecord>> {
        let text = format!(
            "SELECT {COLUMNS} FROM audit a WHERE a.at >= ?1 AND (?2 IS NULL OR a.id = ?2)
             ORDER BY a.id DESC LIMIT ?3"
        );
        let rows: Vec<AuditRow> = sqlx::query_as(sqlx::AssertSqlSafe(text))
            .bind(filter.since.map_or(i64::MIN, |since| since.0))
            .bind(filter.id.map(u64::cast_signed))
            .bind(filter.limit.unwrap_or(MAX_AUDIT_ROWS).min(MAX_AUDIT_ROWS))
            .fetch_all(&self.relaxed)
            .await
            .map_err(self.failed("read the audit log"))?;
        rows.into_iter().map(|row| self.audit_record(row)).collect()
    }

    /// The last change that a person made, that took nothing back and was not taken back itself.
    ///
    /// # Errors
    /// If the file cannot be read, or the row.
    pub async fn last_change(&self) -> Result<Option<AuditRecord>> {
        let text = format!(
            "SELECT {COLUMNS} FROM audit a
             WHERE a.by_kind = ?1 AND a.by_name <> ?2 AND a.undoes IS NULL
               AND NOT EXISTS (SELECT 1 FROM audit u WHERE u.undoes = a.id)
             ORDER BY a.id DESC LIMIT 1"
        );
        let row: Option<AuditRow> = sqlx::query_as(sqlx::AssertSqlSafe(text))
            .bind(word(&OriginKind::Person))
            .bind(BY_ITSELF)
            .fetch_optional(&self.relaxed)
            .await
            .map_err(self.failed("read the audit log"))?;
        row.map(|row| self.audit_record(row)).transpose()
    }

    /// Removes rows from before `before`; returns how many.
    ///
    /// # Errors
    /// If the file cannot be written. Then nothing changed.
    pub async fn prune_audit(&self, before: Timestamp) -> Result<u64> {
        sqlx::query("DELETE FROM audit WHERE at < ?1")
            .bind(before.0)
            .execute(&self.durable)
            .await
            .map(|done| done.rows_affected())
            .map_err(self.failed("remove old rows of the audit log"))
    }

    fn audit_record(&self, row: AuditRow) -> Result<AuditRecord> {
        let seq = row.id;
        let read = || -> std::result::Result<AuditRecord, String> {
            Ok(AuditRecord {
                id: row.id.cast_unsigned(),
                at: Timestamp(row.at),
                by: Origin { kind: from_word(&row.by_kind)?, name: row.by_name, at: row.by_at },
                change: serde_json::from_str(&row.change).map_err(|error| error.to_string())?,
                undoes: row.undoes.map(i64::cast_unsigned),
                undone_by: row.undone_by.map(i64::cast_unsigned),
            })
        };
        read().map_err(|detail| StoreError::Row { path: self.path.clone(), seq, detail })
    }
}

/// Writes a row; now and then removes the oldest of its kind above `keep`.
pub(crate) async fn write(
    connection: &mut SqliteConnection,
    actor: &Actor,
    change: &Change,
    at: Timestamp,
    keep: u64,
) -> sqlx::Result<u64> {
    let change = serde_json::to_string(change).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let id = sqlx::query(
        "INSERT INTO audit (at, by_kind, by_name, by_at, change, undoes) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )
    .bind(at.0)
    .bind(word(&actor.by.kind))
    .bind(&actor.by.name)
    .bind(&actor.by.at)
    .bind(change)
    .bind(actor.undoes.map(u64::cast_signed))
    .execute(&mut *connection)
    .await?
    .last_insert_rowid();
    if id.cast_unsigned().is_multiple_of(AUDIT_SLACK) {
        let person = word(&OriginKind::Person);
        for of_people in [true, false] {
            sqlx::query(
                "DELETE FROM audit WHERE (by_kind = ?1) = ?2 AND id <= coalesce(
                     (SELECT id FROM audit WHERE (by_kind = ?1) = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3), 0)",
            )
            .bind(&person)
            .bind(of_people)
            .bind(keep.cast_signed())
            .execute(&mut *connection)
            .await?;
        }
    }
    Ok(id.cast_unsigned())
}

/// A decision without what was seen, which its own row has.
pub(crate) fn bare(decision: &Decision) -> Decision {
    Decision { evidence: Vec::new(), ..decision.clone() }
}

/// As many as a row holds.
pub(crate) fn few(decisions: &[Decision]) -> Vec<Decision> {
    decisions.iter().take(Change::MAX_DECISIONS).map(bare).collect()
}
