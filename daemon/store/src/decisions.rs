//! Decisions: added, replaced, lifted, expired, found. A row is never changed but to say that it ended.

use ipnet::IpNet;
use model::{Change, Decision, DecisionKind, Mode, OriginKind, Target, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, sqlite::SqliteRow};

use crate::{
    Actor, MAX_BATCH, Result, Store, StoreError, audit,
    row::{Row, check_length, evidence_text, word},
};

/// Places below [`crate::MAX_DECISIONS`] that only people's orders may take, so that a flood of bans from logs cannot
/// keep anyone from allowing themselves.
pub const RESERVED_FOR_PEOPLE: u64 = 1_000;

/// A decision and, if it is over, how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The decision; its `id` is its number in the sequence.
    pub decision: Decision,
    /// How it ended; none = in force, or past its `until` and not swept yet.
    pub ended: Option<Ended>,
}

/// The end of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Number in the same sequence as decisions' ids.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// How.
    pub how: EndedHow,
    /// Who lifted it, or the origin of what replaced it; empty where time did.
    pub by: String,
}

/// How a decision ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndedHow {
    /// Lifted by a person.
    Lifted,
    /// Its time was over.
    Expired,
    /// The same origin ordered the same again, with other times or evidence.
    Replaced,
}

/// How often an address or range was banned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Banned {
    /// Which.
    pub target: Target,
    /// How often.
    pub times: u32,
    /// When last.
    pub last: Timestamp,
    /// Until when, at the longest; none = until it is lifted.
    pub until: Option<Timestamp>,
}

/// Which decisions to find.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those that hold for this target: about it, or about what covers it.
    pub touching: Option<Target>,
    /// Those of this kind.
    pub kind: Option<DecisionKind>,
    /// Those ordered by this kind of origin.
    pub origin: Option<OriginKind>,
    /// In force, ended, or all.
    pub state: State,
    /// At most this many; none = [`MAX_BATCH`].
    pub limit: Option<u32>,
}

/// In force, ended, or all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Neither ended nor past `until`.
    #[default]
    InForce,
    /// Ended, or past `until`.
    Ended,
    /// Both.
    All,
}

/// The one row of `sequence`.
#[derive(Clone, Copy, Debug)]
struct Sequence {
    last: i64,
    in_force: i64,
}

impl Store {
    /// Adds a decision and returns its number. When this returns, the decision survives a power cut.
    ///
    /// What the same origin ordered before for the same target, kind and direction ends as replaced, so that a source
    /// that is banned again has one ban, with the newer time.
    ///
    /// # Errors
    /// [`StoreError::TooManyDecisions`], [`StoreError::TooLong`], or if the file cannot be written. Then nothing
    /// changed.
    pub async fn add(&self, decision: &Decision) -> Result<u64> {
        let numbers = self.add_many(std::slice::from_ref(decision)).await?;
        Ok(numbers.first().copied().unwrap_or_default())
    }

    /// Adds decisions in one transaction, all or none; returns their numbers in the same order. The audit log says of each
    /// that its origin ordered it.
    ///
    /// # Errors
    /// As [`Store::add`], and [`StoreError::BatchTooLong`].
    pub async fn add_many(&self, decisions: &[Decision]) -> Result<Vec<u64>> {
        Ok(self.add_all(decisions, None).await?.0)
    }

    /// The same; the audit log says that `actor` did it, in one row, whose number is returned, too. Their numbers follow
    /// each other.
    ///
    /// # Errors
    /// As [`Store::add_many`].
    pub async fn add_together(
        &self,
        decisions: &[Decision],
        actor: &Actor,
        now: Timestamp,
    ) -> Result<(Vec<u64>, Option<u64>)> {
        check_length("the name of who orders", &actor.by.name)?;
        self.add_all(decisions, Some((actor, now))).await
    }

    async fn add_all(
        &self,
        decisions: &[Decision],
        together: Option<(&Actor, Timestamp)>,
    ) -> Result<(Vec<u64>, Option<u64>)> {
        let failed = || self.failed("store a decision");
        if decisions.len() > MAX_BATCH {
            return Err(StoreError::BatchTooLong { given: decisions.len(), limit: MAX_BATCH });
        }
        for decision in decisions {
            check_length("the name of an origin", &decision.origin.name)?;
            check_length("the place of an origin", decision.origin.at.as_deref().unwrap_or_default())?;
        }
        let keep = self.limits.max_audit;
        let mut transaction = self.begin().await.map_err(failed())?;
        let mut sequence = Sequence::read(&mut transaction).await.map_err(failed())?;
        let (mut numbers, mut row) = (Vec::with_capacity(decisions.len()), None);
        for decision in decisions {
            sequence.last += 1;
            let replaced = end_replaced(&mut transaction, sequence.last, decision).await.map_err(failed())?;
            sequence.in_force += 1 - i64::try_from(replaced.len()).unwrap_or(0);
            let reserved = match decision.origin.kind {
                OriginKind::Person => 0,
                OriginKind::Scenario | OriginKind::Signature => {
                    RESERVED_FOR_PEOPLE.min(self.limits.max_decisions / 10)
                }
            };
            if replaced.is_empty() && sequence.in_force.cast_unsigned() > self.limits.max_decisions - reserved
            {
                // Dropping the transaction rolls it back.
                return Err(StoreError::TooManyDecisions { limit: self.limits.max_decisions });
            }
            insert(&mut transaction, sequence.last, decision).await.map_err(failed())?;
            numbers.push(sequence.last.cast_unsigned());
            let alone = together.is_none() || decisions.len() == 1;
            if alone {
                let stored = Decision { id: sequence.last.cast_unsigned(), ..audit::bare(decision) };
                let before = audit::few(&self.decisions_of(&replaced)?);
                let (actor, at) = match together {
                    Some((actor, at)) => (actor.clone(), at),
                    None => (Actor::from(&decision.origin), decision.since),
                };
                let change = Change::Ordered { decision: stored, before };
                row =
                    Some(audit::write(&mut transaction, &actor, &change, at, keep).await.map_err(failed())?);
            }
        }
        if let (Some((actor, at)), [first, .., last]) = (together, numbers.as_slice()) {
            let change = Change::OrderedMany { count: numbers.len() as u64, first: *first, last: *last };
            row = Some(audit::write(&mut transaction, actor, &change, at, keep).await.map_err(failed())?);
        }
        sequence.write(&mut transaction).await.map_err(failed())?;
        transaction.commit().await.map_err(failed())?;
        Ok((numbers, row))
    }

    /// Ends what is in force for exactly `target` (of `kind` only, if given) and returns it, oldest first. When this
    /// returns, it is durable. Empty if nothing was in force.
    ///
    /// # Errors
    /// If the file cannot be written. Then nothing changed.
    pub async fn lift(
        &self,
        target: &Target,
        kind: Option<DecisionKind>,
        by: &str,
        now: Timestamp,
    ) -> Result<Vec<Decision>> {
        let actor = Actor::person(by);
        let failed = || self.failed("lift a decision");
        check_length("the name of who lifts", by)?;
        let mut transaction = self.begin().await.map_err(failed())?;
        let sequence = Sequence::read(&mut transaction).await.map_err(failed())?;
        let rows = sqlx::query(
            "UPDATE decisions SET ended_seq = ?1, ended_at = ?2, ended_how = ?3, ended_by = ?4
             WHERE ended_seq IS NULL AND target = ?5 AND (?6 IS NULL OR kind = ?6)
               AND (until IS NULL OR until > ?2)
             RETURNING *",
        )
        .bind(sequence.last + 1)
        .bind(now.0)
        .bind(word(&EndedHow::Lifted))
        .bind(by)
        .bind(target.to_string())
        .bind(kind.map(|kind| word(&kind)))
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed())?;
        let lifted = self.decisions_of(&rows)?;
        let change = Change::Lifted { before: audit::few(&lifted) };
        self.lifted(transaction, sequence, lifted.len(), &actor, &change, now).await?;
        Ok(lifted)
    }

    /// Ends what is in force of the decisions with the numbers from `first` to `last` and returns it, oldest first. When
    /// this returns, it is durable.
    ///
    /// # Errors
    /// If the file cannot be written, and [`StoreError::BatchTooLong`]. Then nothing changed.
    pub async fn lift_numbers(
        &self,
        (first, last): (u64, u64),
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Vec<Decision>> {
        let failed = || self.failed("lift decisions");
        check_length("the name of who lifts", &actor.by.name)?;
        let given = usize::try_from(last.saturating_sub(first)).unwrap_or(usize::MAX);
        if given >= MAX_BATCH {
            return Err(StoreError::BatchTooLong { given, limit: MAX_BATCH });
        }
        let mut transaction = self.begin().await.map_err(failed())?;
        let sequence = Sequence::read(&mut transaction).await.map_err(failed())?;
        let rows = sqlx::query(
            "UPDATE decisions SET ended_seq = ?1, ended_at = ?2, ended_how = ?3, ended_by = ?4
             WHERE ended_seq IS NULL AND seq BETWEEN ?5 AND ?6 AND (until IS NULL OR until > ?2)
             RETURNING *",
        )
        .bind(sequence.last + 1)
        .bind(now.0)
        .bind(word(&EndedHow::Lifted))
        .bind(&actor.by.name)
        .bind(first.cast_signed())
        .bind(last.cast_signed())
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed())?;
        let lifted = self.decisions_of(&rows)?;
        let change = match lifted.as_slice() {
            [_] => Change::Lifted { before: audit::few(&lifted) },
            many => Change::LiftedMany { count: many.len() as u64, first, last },
        };
        self.lifted(transaction, sequence, lifted.len(), actor, &change, now).await?;
        Ok(lifted)
    }

    /// Finishes a transaction that has ended `count` decisions under the next number.
    async fn lifted(
        &self,
        mut transaction: sqlx::Transaction<'_, Sqlite>,
        mut sequence: Sequence,
        count: usize,
        actor: &Actor,
        change: &Change,
        now: Timestamp,
    ) -> Result<()> {
        let failed = || self.failed("lift decisions");
        if count == 0 {
            return Ok(());
        }
        sequence.ended(count);
        sequence.write(&mut transaction).await.map_err(failed())?;
        audit::write(&mut transaction, actor, change, now, self.limits.max_audit).await.map_err(failed())?;
        transaction.commit().await.map_err(failed())
    }

    /// Ends what is past its `until` and returns it, oldest first, at most [`MAX_BATCH`]: call again while it returns
    /// that many. Also removes the oldest history above [`crate::MAX_HISTORY`].
    ///
    /// # Errors
    /// If the file cannot be written. Then nothing changed; what is past its time does not hold any more anyway.
    pub async fn expire(&self, now: Timestamp) -> Result<Vec<Decision>> {
        let failed = || self.failed("expire decisions");
        let due: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM decisions WHERE ended_seq IS NULL AND until <= ?1)",
        )
        .bind(now.0)
        .fetch_one(&self.relaxed)
        .await
        .map_err(failed())?;
        if !due {
            return Ok(Vec::new());
        }
        let mut transaction = self.begin().await.map_err(failed())?;
        let mut sequence = Sequence::read(&mut transaction).await.map_err(failed())?;
        let rows = sqlx::query(
            "UPDATE decisions SET ended_seq = ?1, ended_at = until, ended_how = ?2, ended_by = ''
             WHERE seq IN (SELECT seq FROM decisions WHERE ended_seq IS NULL AND until <= ?3
                           ORDER BY until LIMIT ?4)
             RETURNING *",
        )
        .bind(sequence.last + 1)
        .bind(word(&EndedHow::Expired))
        .bind(now.0)
        .bind(i64::try_from(MAX_BATCH).unwrap_or(i64::MAX))
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed())?;
        sequence.ended(rows.len());
        sequence.write(&mut transaction).await.map_err(failed())?;
        trim_history(&mut transaction, self.limits.max_history).await.map_err(failed())?;
        let expired = self.decisions_of(&rows)?;
        transaction.commit().await.map_err(failed())?;
        Ok(expired)
    }

    /// Every decision in force at `now`, oldest first.
    ///
    /// # Errors
    /// If the file cannot be read, or a row of it.
    pub async fn active(&self, now: Timestamp) -> Result<Vec<Decision>> {
        let rows = sqlx::query(
            "SELECT * FROM decisions WHERE ended_seq IS NULL AND (until IS NULL OR until > ?1) ORDER BY seq",
        )
        .bind(now.0)
        .fetch_all(&self.relaxed)
        .await
        .map_err(self.failed("read decisions"))?;
        self.decisions_of(&rows)
    }

    /// How often engines have banned each address or range since `since`, for bans that grow. What only observed, what a
    /// person lifted and what another ban of the same origin replaced does not count. At most [`crate::MAX_HISTORY`], the
    /// newest.
    ///
    /// # Errors
    /// If the file cannot be read, or a row of it.
    pub async fn banned_since(&self, since: Timestamp) -> Result<Vec<Banned>> {
        let rows: Vec<(String, i64, i64, Option<i64>)> = sqlx::query_as(
            "SELECT target, count(*), max(since), max(min(coalesce(ended_at, until), coalesce(until, ended_at)))
             FROM decisions
             WHERE kind = ?1 AND mode = ?2 AND origin_kind <> ?3 AND since >= ?4
               AND coalesce(ended_how, '') NOT IN (?5, ?6)
             GROUP BY target ORDER BY max(since) DESC LIMIT ?7",
        )
        .bind(word(&DecisionKind::Ban))
        .bind(word(&Mode::Enforce))
        .bind(word(&OriginKind::Person))
        .bind(since.0)
        .bind(word(&EndedHow::Replaced))
        .bind(word(&EndedHow::Lifted))
        .bind(self.limits.max_history.cast_signed())
        .fetch_all(&self.relaxed)
        .await
        .map_err(self.failed("read how often was banned"))?;
        rows.into_iter()
            .map(|(target, times, last, until)| {
                let row = |error: model::TargetError| StoreError::Row {
                    path: self.path.clone(),
                    seq: 0,
                    detail: error.to_string(),
                };
                Ok(Banned {
                    target: target.parse().map_err(row)?,
                    times: u32::try_from(times).unwrap_or(u32::MAX),
                    last: Timestamp(last),
                    until: until.map(Timestamp),
                })
            })
            .collect()
    }

    /// How many decisions are in force. Counts those past their `until` until [`Store::expire`] has swept them.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn count(&self) -> Result<u64> {
        sqlx::query_scalar::<_, i64>("SELECT in_force FROM sequence")
            .fetch_one(&self.relaxed)
            .await
            .map(i64::cast_unsigned)
            .map_err(self.failed("count decisions"))
    }

    /// The decisions that `filter` lets through, newest first.
    ///
    /// # Errors
    /// If the file cannot be read, or a row of it.
    pub async fn find(&self, filter: &Filter, now: Timestamp) -> Result<Vec<Stored>> {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT * FROM decisions WHERE ");
        match filter.state {
            State::InForce => {
                query.push("ended_seq IS NULL AND (until IS NULL OR until > ").push_bind(now.0).push(")");
            }
            State::Ended => {
                query.push("(ended_seq IS NOT NULL OR until <= ").push_bind(now.0).push(")");
            }
            State::All => {
                query.push("1");
            }
        }
        if let Some(kind) = filter.kind {
            query.push(" AND kind = ").push_bind(word(&kind));
        }
        if let Some(origin) = filter.origin {
            query.push(" AND origin_kind = ").push_bind(word(&origin));
        }
        if let Some(target) = &filter.touching {
            let mut targets = query.push(" AND target IN (").separated(", ");
            for covering in covering(target) {
                targets.push_bind(covering);
            }
            targets.push_unseparated(")");
        }
        let limit = filter.limit.map_or(MAX_BATCH, |limit| usize::try_from(limit).unwrap_or(MAX_BATCH));
        query.push(" ORDER BY seq DESC LIMIT ").push_bind(i64::try_from(limit.min(MAX_BATCH)).unwrap_or(0));
        query
            .build()
            .persistent(false)
            .fetch_all(&self.relaxed)
            .await
            .map_err(self.failed("read decisions"))?
            .iter()
            .map(|row| Row::read(&self.path, row))
            .collect()
    }

    /// Removes decisions that ended before `before`, and the oldest history above [`crate::MAX_HISTORY`]; returns how
    /// many. What is in force stays, and numbers are not used again.
    ///
    /// # Errors
    /// If the file cannot be written. Then nothing changed.
    pub async fn prune(&self, before: Timestamp) -> Result<u64> {
        let failed = || self.failed("remove old decisions");
        let mut transaction = self.begin().await.map_err(failed())?;
        let old = sqlx::query("DELETE FROM decisions WHERE ended_seq IS NOT NULL AND ended_at < ?1")
            .bind(before.0)
            .execute(&mut *transaction)
            .await
            .map_err(failed())?
            .rows_affected();
        let above = trim_history(&mut transaction, self.limits.max_history).await.map_err(failed())?;
        transaction.commit().await.map_err(failed())?;
        Ok(old + above)
    }

    fn decisions_of(&self, rows: &[SqliteRow]) -> Result<Vec<Decision>> {
        let mut decisions = rows
            .iter()
            .map(|row| Row::read(&self.path, row).map(|stored| stored.decision))
            .collect::<Result<Vec<_>>>()?;
        decisions.sort_unstable_by_key(|decision| decision.id);
        Ok(decisions)
    }
}

impl Sequence {
    async fn read(connection: &mut SqliteConnection) -> sqlx::Result<Self> {
        let (last, in_force) =
            sqlx::query_as("SELECT last, in_force FROM sequence").fetch_one(connection).await?;
        Ok(Self { last, in_force })
    }

    /// `count` decisions ended, under one number.
    fn ended(&mut self, count: usize) {
        self.last += 1;
        self.in_force -= i64::try_from(count).unwrap_or(self.in_force);
    }

    async fn write(self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        sqlx::query("UPDATE sequence SET last = ?1, in_force = ?2")
            .bind(self.last)
            .bind(self.in_force)
            .execute(connection)
            .await
            .map(|_| ())
    }
}

/// Ends what the same origin ordered before for the same thing; returns its rows.
async fn end_replaced(
    connection: &mut SqliteConnection,
    seq: i64,
    decision: &Decision,
) -> sqlx::Result<Vec<SqliteRow>> {
    sqlx::query(
        "UPDATE decisions SET ended_seq = ?1, ended_at = ?2, ended_how = ?3, ended_by = ?4
         WHERE ended_seq IS NULL AND target = ?5 AND kind = ?6 AND direction = ?7
           AND origin_kind = ?8 AND origin_name = ?4
         RETURNING *",
    )
    .bind(seq)
    .bind(decision.since.0)
    .bind(word(&EndedHow::Replaced))
    .bind(&decision.origin.name)
    .bind(decision.target.to_string())
    .bind(word(&decision.kind))
    .bind(word(&decision.direction))
    .bind(word(&decision.origin.kind))
    .fetch_all(connection)
    .await
}

async fn insert(connection: &mut SqliteConnection, seq: i64, decision: &Decision) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO decisions (seq, kind, target, direction, mode, since, until,
                                origin_kind, origin_name, origin_at, evidence)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )
    .bind(seq)
    .bind(word(&decision.kind))
    .bind(decision.target.to_string())
    .bind(word(&decision.direction))
    .bind(word(&decision.mode))
    .bind(decision.since.0)
    .bind(decision.until.map(|until| until.0))
    .bind(word(&decision.origin.kind))
    .bind(&decision.origin.name)
    .bind(&decision.origin.at)
    .bind(evidence_text(&decision.evidence))
    .execute(connection)
    .await
    .map(|_| ())
}

/// Removes the history that ended first until `keep` are left; returns how many.
async fn trim_history(connection: &mut SqliteConnection, keep: u64) -> sqlx::Result<u64> {
    let ended: i64 = sqlx::query_scalar("SELECT count(*) FROM decisions WHERE ended_seq IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    let above = ended.cast_unsigned().saturating_sub(keep);
    if above == 0 {
        return Ok(0);
    }
    sqlx::query(
        "DELETE FROM decisions WHERE seq IN (SELECT seq FROM decisions WHERE ended_seq IS NOT NULL
                                             ORDER BY ended_seq, seq LIMIT ?1)",
    )
    .bind(above.cast_signed())
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
}

/// Every text a decision that holds for `target` can have as its own: at most 254.
fn covering(target: &Target) -> Vec<String> {
    match target {
        Target::Net(net) => std::iter::successors(Some(*net), IpNet::supernet)
            .map(|net| Target::Net(net).to_string())
            .collect(),
        Target::Domain(name) => name.suffixes().map(str::to_owned).collect(),
        Target::DomainFor { name, client } => {
            let suffixes = || name.suffixes().map(str::to_owned);
            suffixes().map(|name| format!("{name}@{client}")).chain(suffixes()).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covering_targets_are_all_prefixes_or_suffixes() {
        let of = |text: &str| covering(&text.parse().unwrap());
        assert_eq!(of("ads.example.com"), ["ads.example.com", "example.com", "com"]);
        assert_eq!(of("ads.com@tablet"), ["ads.com@tablet", "com@tablet", "ads.com", "com"]);
        let v4 = of("192.0.2.7");
        assert_eq!((v4.len(), v4[0].as_str(), v4[8].as_str()), (33, "192.0.2.7", "192.0.2.0/24"));
        assert_eq!(v4[32], "0.0.0.0/0");
        assert_eq!(of("2001:db8::1").len(), 129);
        assert_eq!(of("10.0.0.0/8").len(), 9);
    }
}
