//! Who changed what, taking it back, and many decisions at once.

use model::{AuditRecord, Change, Decision, Evidence, Name, Severity, Timestamp};
use protocol::{Audit, AuditQuery, ErrorReply, ManyOrder, ManyOrdered, Order, UndoOrder, Undone};
use store::{Actor, AuditFilter, StoreError};

use super::{Appliance, answers::limit};
use crate::{clock, decisions::Failure};

const TROUBLE: &str = "the audit log";

impl Appliance {
    /// Writes down what a person changed.
    pub(super) async fn write_down(&self, user: &str, change: Change) {
        self.write_down_by(&Actor::person(user), change).await;
    }

    /// Writes down what was changed. What was done is done: where it cannot be written, that is told.
    pub(super) async fn write_down_by(&self, actor: &Actor, change: Change) {
        let written = self.store.record(actor, &change, clock::now().wall).await;
        let lost = |error: StoreError| {
            let (what, who) = (change.in_words(), &actor.by.name);
            format!("{what}, by {who}, is not in the audit log: {error}")
        };
        self.trouble(TROUBLE, written.err().map(lost));
    }

    /// Who changed what.
    ///
    /// # Errors
    /// 503 it cannot be read.
    pub async fn audit(&self, query: &AuditQuery) -> Result<Audit, Failure> {
        let rows = u32::try_from(limit(query.limit)).unwrap_or(u32::MAX);
        let filter = AuditFilter { since: query.since, limit: Some(rows), ..AuditFilter::default() };
        Ok(Audit { records: self.store.audit(filter).await.map_err(unreadable)? })
    }

    /// Takes many decisions at once.
    ///
    /// # Errors
    /// 400 there are too many, 503 they could not be stored. Nothing is in force then.
    pub async fn order_many(&self, order: ManyOrder) -> Result<ManyOrdered, Failure> {
        if order.user.is_empty() || order.decisions.len() > ManyOrder::MAX {
            let message = format!("a request has a name and at most {} decisions", ManyOrder::MAX);
            return Err((400, ErrorReply::new(message, None)));
        }
        self.look_at_sessions();
        let now = self.decisions.now().wall;
        let (mut fit, mut refused) = (Vec::with_capacity(order.decisions.len()), Vec::new());
        for (place, decision) in order.decisions.into_iter().enumerate() {
            match taken_over(decision, &order.user, now) {
                Ok(decision) => fit.push((place, decision)),
                Err(why) => refused.push((place, why)),
            }
        }
        let (places, fit): (Vec<usize>, Vec<Decision>) = fit.into_iter().unzip();
        let actor = Actor::person(&order.user);
        let names = names_of(&fit);
        let many = self.decisions.take_many(fit, &actor).await?;
        self.forget_answers(names.iter()).await;
        let of = |place: usize| places.get(place).copied().unwrap_or_default();
        refused.extend(many.refused.iter().map(|(place, refusal)| (of(*place), refusal.to_string())));
        refused.sort_unstable();
        let refused_count = refused.len() as u64;
        let told = refused.into_iter().take(ManyOrdered::MAX_REFUSED);
        Ok(ManyOrdered {
            taken: many.taken as u64,
            refused: told.map(|(place, why)| (place as u64, why)).collect(),
            refused_count,
            audit: many.audit,
        })
    }

    /// Takes a change back.
    ///
    /// # Errors
    /// 404 there is none, 409 it cannot be taken back, 503 it could not be stored.
    pub async fn undo(&self, order: UndoOrder) -> Result<Undone, Failure> {
        let record = match order.id {
            Some(id) => {
                let filter = AuditFilter { id: Some(id), limit: Some(1), ..AuditFilter::default() };
                self.store.audit(filter).await.map_err(unreadable)?.pop()
            }
            None => self.store.last_change().await.map_err(unreadable)?,
        };
        let Some(record) = record else {
            let message = match order.id {
                Some(id) => format!("the audit log has no row {id}"),
                None => "nobody has changed anything that could be taken back".to_owned(),
            };
            return Err((404, ErrorReply::new(message, Some("see `secctl audit`"))));
        };
        if let Some(by) = record.undone_by {
            return Err(no(&record, &format!("it was taken back already, by row {by}")));
        }
        let mut actor = Actor::person(&order.user);
        actor.undoes = Some(record.id);
        let (mut done, mut notes) = (Vec::new(), Vec::new());
        match &record.change {
            Change::Ordered { decision, before } => {
                let lifted = self.decisions.lift_numbers((decision.id, decision.id), &actor).await?;
                self.forget_answers(names_of(&lifted).iter()).await;
                if lifted.is_empty() {
                    return Err(no(&record, "that decision has ended already"));
                }
                done.push(format!("{} is lifted", change_of(decision)));
                self.put_back(before, &actor, &mut done, &mut notes).await?;
            }
            Change::Lifted { before } => {
                self.put_back(before, &actor, &mut done, &mut notes).await?;
                if done.is_empty() {
                    let why = notes.first().map_or("its time is over", String::as_str);
                    return Err(no(&record, why));
                }
            }
            Change::OrderedMany { first, last, .. } => {
                let lifted = self.decisions.lift_numbers((*first, *last), &actor).await?;
                self.forget_answers(names_of(&lifted).iter()).await;
                if lifted.is_empty() {
                    return Err(no(&record, "all of them have ended already"));
                }
                done.push(format!("{} decisions are lifted", lifted.len()));
            }
            Change::LiftedMany { .. } => {
                return Err(no(&record, "order them again: `secctl ban --file`, `secctl decisions import`"));
            }
            Change::Mode { before, after } => {
                if self.mode().mode != *after {
                    return Err(no(&record, "the mode was changed again since"));
                }
                self.change_mode(*before, &actor).await?;
                done.push(format!("the mode is {before}"));
            }
            Change::Pause { group, before, after } => {
                let now = clock::now().wall;
                let held = self.pauses().into_iter().find(|pause| pause.group == *group);
                if held.map(|pause| pause.until) != after.filter(|until| *until > now) {
                    return Err(no(&record, "it was paused or resumed again since"));
                }
                let until = before.filter(|until| *until > now);
                if until.is_none() && after.is_none_or(|until| until <= now) {
                    return Err(no(&record, "the time of that pause is over"));
                }
                let paused = self.pause_until(group.clone(), until, &actor).await?;
                let what = group.as_deref().map(|group| format!(" for {group}")).unwrap_or_default();
                done.push(match until {
                    Some(until) => format!("blocking is paused{what} until {until}"),
                    None => format!("blocking goes on{what}"),
                });
                notes.extend(paused.notes);
            }
            Change::Config { .. } => {
                let why = "a config is a file: put the former text back, then `secctl apply --confirm 60s` \
                           (`secctl apply --revert` while one is on trial)";
                return Err(no(&record, why));
            }
            Change::Device { mac, .. } => {
                return Err(no(&record, &format!("use `secctl device` for {mac}")));
            }
        }
        let told = format!("{} taken back, by {}", record.change.in_words(), order.user);
        self.system(Severity::Notice, told);
        Ok(Undone { record, done, notes })
    }

    /// Puts decisions in force again whose time is not over; says what was done and what could not be.
    async fn put_back(
        &self,
        before: &[Decision],
        actor: &Actor,
        done: &mut Vec<String>,
        notes: &mut Vec<String>,
    ) -> Result<(), Failure> {
        self.look_at_sessions();
        let now = self.decisions.now().wall;
        let live: Vec<Decision> =
            before.iter().filter(|held| held.until.is_none_or(|until| until > now)).cloned().collect();
        let many = self.decisions.take_many(live.clone(), actor).await?;
        self.forget_answers(names_of(&live).iter()).await;
        let refused = |place: usize| many.refused.iter().find(|(at, _)| *at == place);
        for (place, decision) in live.iter().enumerate() {
            match refused(place) {
                Some((_, why)) => notes.push(why.to_string()),
                None => done.push(format!("{} is in force again", change_of(decision))),
            }
        }
        Ok(())
    }
}

/// A decision of a file as it can stand here; or why it cannot.
fn taken_over(decision: Decision, user: &str, now: Timestamp) -> Result<Decision, String> {
    if decision.until.is_some_and(|until| until <= now) {
        return Err(format!("{}: its time is over", decision.target));
    }
    if decision.until.is_some_and(|until| until.since(now) > Order::MAX_LASTING) {
        return Err(format!("{}: it would last for more than ten years", decision.target));
    }
    if decision.origin.name.len() > Order::MAX_COMMENT
        || decision.origin.at.as_ref().is_some_and(|at| at.len() > Order::MAX_COMMENT)
    {
        return Err(format!("{}: the name of its origin is too long", decision.target));
    }
    let mut origin = decision.origin;
    if origin.name.is_empty() {
        user.clone_into(&mut origin.name);
    }
    let newest = decision.evidence.len().saturating_sub(Evidence::MAX_PIECES);
    let pieces = decision.evidence.iter().skip(newest);
    let short = |text: &str| text[..text.floor_char_boundary(Order::MAX_COMMENT)].to_owned();
    let evidence = pieces.map(|piece| Evidence::new(piece.at, short(&piece.source), &piece.text)).collect();
    Ok(Decision { id: 0, since: decision.since.min(now), origin, evidence, ..decision })
}

/// The names that decisions are about.
fn names_of(decisions: &[Decision]) -> Vec<Name> {
    decisions.iter().filter_map(|decision| Some(decision.target.domain()?.0.clone())).collect()
}

fn change_of(decision: &Decision) -> String {
    Change::Ordered { decision: decision.clone(), before: Vec::new() }.in_words()
}

fn no(record: &AuditRecord, why: &str) -> Failure {
    let message = format!("row {} ({}) cannot be taken back: {why}", record.id, record.change.in_words());
    (409, ErrorReply::new(message, Some("see `secctl audit`")))
}

fn unreadable(error: StoreError) -> Failure {
    (503, ErrorReply::new(error.to_string(), Some("see `secctl status`")))
}
