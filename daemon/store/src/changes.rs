//! What has begun and ended since a number of the sequence, by pages: for bouncers, which are told the difference.
//!
//! Whoever reads [`Store::mark`] first and then the pages has missed nothing: what changes meanwhile has a higher number
//! and comes again next time.

use model::{Decision, Target, Timestamp};

use crate::{Result, Store, StoreError, Stored, row::Row};

/// Decisions on one page: bounds how long other readers wait.
pub const MAX_PAGE: usize = 1_000;

/// Bans that are carried out and concern what an address starts, without what was seen: nobody is told that here.
const BEGUN: &str = "
    SELECT d.seq, d.kind, d.target, d.direction, d.mode, d.since, d.until, d.origin_kind, d.origin_name, d.origin_at,
           '[]' AS evidence, d.ended_seq, d.ended_at, d.ended_how, d.ended_by
    FROM decisions d
    WHERE d.seq > ?1 AND d.ended_seq IS NULL AND (d.until IS NULL OR d.until > ?2)
      AND d.kind = 'ban' AND d.mode = 'enforce' AND d.direction <> 'out'
      AND (?4 OR NOT EXISTS (
          SELECT 1 FROM decisions o
          WHERE o.ended_seq IS NULL AND o.target = d.target AND o.seq <> d.seq
            AND o.kind = 'ban' AND o.mode = 'enforce' AND o.direction <> 'out'
            AND CASE WHEN o.until IS NULL THEN d.until IS NOT NULL OR o.seq > d.seq
                     ELSE o.until > d.until OR (o.until = d.until AND o.seq > d.seq) END))
    ORDER BY d.seq LIMIT ?3";

/// The same, ended, where nothing that is carried out stands for the target any more.
const ENDED: &str = "
    SELECT d.seq, d.kind, d.target, d.direction, d.mode, d.since, d.until, d.origin_kind, d.origin_name, d.origin_at,
           '[]' AS evidence, d.ended_seq, d.ended_at, d.ended_how, d.ended_by
    FROM decisions d
    WHERE d.ended_seq IS NOT NULL AND d.ended_seq >= ?1 AND (d.ended_seq > ?1 OR d.seq > ?2)
      AND d.kind = 'ban' AND d.mode = 'enforce' AND d.direction <> 'out'
      AND NOT EXISTS (
          SELECT 1 FROM decisions o
          WHERE o.ended_seq IS NULL AND o.target = d.target AND (o.until IS NULL OR o.until > ?3)
            AND o.kind = 'ban' AND o.mode = 'enforce' AND o.direction <> 'out')
    ORDER BY d.ended_seq, d.seq LIMIT ?4";

impl Store {
    /// The last number of the sequence.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn mark(&self) -> Result<u64> {
        sqlx::query_scalar::<_, i64>("SELECT last FROM sequence")
            .fetch_one(&self.relaxed)
            .await
            .map(i64::cast_unsigned)
            .map_err(self.failed("read the sequence"))
    }

    /// The last number before anything that is kept had ended at `since` or later; none if nothing has.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn mark_before_ends(&self, since: Timestamp) -> Result<Option<u64>> {
        sqlx::query_scalar::<_, Option<i64>>(
            "SELECT min(ended_seq) FROM decisions WHERE ended_seq IS NOT NULL AND ended_at >= ?1",
        )
        .bind(since.0)
        .fetch_one(&self.relaxed)
        .await
        .map(|first| first.map(|first| first.cast_unsigned().saturating_sub(1)))
        .map_err(self.failed("read what has ended"))
    }

    /// Bans with numbers above `after` that are in force and carried out, by number, at most [`MAX_PAGE`], without their
    /// evidence. Where several stand for one target, only the one that lasts longest, unless `all` are asked for.
    ///
    /// # Errors
    /// If the file cannot be read, or a row of it.
    pub async fn begun(&self, after: u64, all: bool, now: Timestamp) -> Result<Vec<Decision>> {
        let rows = sqlx::query(BEGUN)
            .bind(after.cast_signed())
            .bind(now.0)
            .bind(i64::try_from(MAX_PAGE).unwrap_or(i64::MAX))
            .bind(all)
            .fetch_all(&self.relaxed)
            .await
            .map_err(self.failed("read what has begun"))?;
        rows.iter().map(|row| Ok(Row::read(&self.path, row)?.decision)).collect()
    }

    /// Bans that were carried out and have ended, where none stands for their target any more, by the numbers of their
    /// end and their own, both of them above `after`; at most [`MAX_PAGE`], without their evidence.
    ///
    /// # Errors
    /// If the file cannot be read, or a row of it.
    pub async fn ended(&self, after: (u64, u64), now: Timestamp) -> Result<Vec<Stored>> {
        let rows = sqlx::query(ENDED)
            .bind(after.0.cast_signed())
            .bind(after.1.cast_signed())
            .bind(now.0)
            .bind(i64::try_from(MAX_PAGE).unwrap_or(i64::MAX))
            .fetch_all(&self.relaxed)
            .await
            .map_err(self.failed("read what has ended"))?;
        rows.iter().map(|row| Row::read(&self.path, row)).collect()
    }

    /// Targets of allows that have begun or ended since a number, at most [`MAX_PAGE`].
    ///
    /// # Errors
    /// If the file cannot be read, or a row of it.
    pub async fn allows_changed(&self, after: u64) -> Result<Vec<Target>> {
        let texts: Vec<String> = sqlx::query_scalar(
            "SELECT target FROM decisions WHERE seq > ?1 AND kind = 'allow'
             UNION SELECT target FROM decisions WHERE ended_seq > ?1 AND kind = 'allow' LIMIT ?2",
        )
        .bind(after.cast_signed())
        .bind(i64::try_from(MAX_PAGE).unwrap_or(i64::MAX))
        .fetch_all(&self.relaxed)
        .await
        .map_err(self.failed("read which allows have changed"))?;
        texts
            .iter()
            .map(|text| {
                text.parse().map_err(|error: model::TargetError| StoreError::Row {
                    path: self.path.clone(),
                    seq: 0,
                    detail: error.to_string(),
                })
            })
            .collect()
    }
}
