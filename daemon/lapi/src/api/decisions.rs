//! `/v1/decisions`: what stands for an address, and the stream of what begins and ends.

use hyper::Method;
use ipnet::IpNet;
use model::{Bouncer, Decision, Timestamp};
use serde_json::json;
use std::collections::BTreeSet;

use super::Api;
use crate::{
    filter::Filter,
    ledger::{Change, Ledger, Refusal},
    limits::TOLD_AGAIN,
    reply::{Reply, Writer},
    request::Request,
    shown::{Shown, net},
};

/// One list of the answer while it is written.
struct List<'a> {
    writer: &'a mut Writer,
    filter: &'a Filter,
    now: Timestamp,
    written: usize,
}

impl List<'_> {
    fn put(&mut self, change: &Change) -> Result<(), Refusal> {
        let (Some(shown), Some(about)) = (Shown::of_change(change, self.now), net(&change.decision)) else {
            return Ok(());
        };
        if !self.filter.passes(&shown, about) || self.is_full() {
            return Ok(());
        }
        self.raw(if self.written == 0 { b"[" } else { b"," })?;
        let json = serde_json::to_vec(&shown).map_err(|error| broken(&error))?;
        self.raw(&json)?;
        self.written += 1;
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.filter.limit.is_some_and(|limit| self.written >= limit)
    }

    /// A list of nothing is `null`.
    fn end(mut self) -> Result<(), Refusal> {
        self.raw(if self.written == 0 { b"null" } else { b"]" })
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.writer.write(bytes).map_err(|error| broken(&error))
    }
}

fn broken(error: &dyn std::error::Error) -> Refusal {
    Refusal { status: 500, message: error.to_string() }
}

fn in_force(decision: Decision) -> Change {
    Change { decision, ended: None }
}

impl<L: Ledger> Api<L> {
    /// `GET /v1/decisions`. About an address it is answered from memory: a bouncer may ask for each connection.
    pub(super) async fn decisions(&self, request: &Request) -> Reply {
        if let Err(reply) = self.bouncer(request) {
            return reply;
        }
        let filter = match Filter::read(request) {
            Ok(filter) => filter,
            Err(reply) => return reply,
        };
        if request.method == Method::HEAD {
            return Reply::empty(200);
        }
        if !self.ledger.enforces() {
            return Reply::list::<Shown>(200, &[]);
        }
        match filter.about() {
            Some(about) if !filter.inside => {
                let now = self.now();
                let standing = self.ledger.standing(about);
                let bans = standing.bans.iter().filter(|_| !standing.allowed);
                let shown: Vec<Shown> = bans
                    .filter_map(|ban| Some((Shown::of(ban, None, now)?, net(ban)?)))
                    .filter(|(shown, about)| filter.passes(shown, *about))
                    .map(|(shown, _)| shown)
                    .take(filter.limit.unwrap_or(usize::MAX))
                    .collect();
                Reply::list(200, &shown)
            }
            Some(_) | None => self.all(&filter, request).await.unwrap_or_else(Into::into),
        }
    }

    /// Every decision in force that passes.
    async fn all(&self, filter: &Filter, request: &Request) -> Result<Reply, Refusal> {
        let _turn = self.pulls.acquire().await.map_err(|error| broken(&error))?;
        let mut writer = Writer::new(request.takes_gzip());
        let mut list = List { writer: &mut writer, filter, now: self.now(), written: 0 };
        self.put_begun(0, true, &mut list).await?;
        list.end()?;
        writer.reply().map_err(|error| broken(&error))
    }

    /// `GET /v1/decisions/stream`: with `startup=true` everything in force, else the difference to what this bouncer was
    /// told before. `HEAD` changes nothing.
    pub(super) async fn stream(&self, request: &Request) -> Reply {
        let bouncer = match self.bouncer(request) {
            Ok(bouncer) => bouncer,
            Err(reply) => return reply,
        };
        if request.method == Method::HEAD {
            return Reply::empty(200);
        }
        let read = Filter::read(request).and_then(|filter| Ok((filter.of_all(), request.flag("startup")?)));
        match read {
            Ok((filter, startup)) => {
                let told = self.tell(&bouncer, &filter, startup == Some(true), request.takes_gzip());
                told.await.unwrap_or_else(Into::into)
            }
            Err(reply) => reply,
        }
    }

    async fn tell(
        &self,
        bouncer: &Bouncer,
        filter: &Filter,
        startup: bool,
        gzip: bool,
    ) -> Result<Reply, Refusal> {
        let _turn = self.pulls.acquire().await.map_err(|error| broken(&error))?;
        // First of all: whatever changes from here on is told next time, too.
        let mark = self.ledger.mark().await?;
        let (now, enforces) = (self.now(), self.ledger.enforces());
        let told = bouncer.pulled.map(|(told, _)| told);
        // It may hold what it was told before: what ended since then, and what ended lately if it forgot that.
        let gone_since = if startup {
            let lately = self.ledger.mark_before_ends(Timestamp(now.0 - micros(TOLD_AGAIN))).await?;
            lately.into_iter().chain(told).min().unwrap_or(mark)
        } else {
            told.unwrap_or(mark)
        };
        let new_since = if startup || bouncer.withheld { 0 } else { told.unwrap_or(0) };
        let mut writer = Writer::new(gzip);
        writer.write(b"{\"deleted\":").map_err(|error| broken(&error))?;
        let (mut gone, mut back) = (BTreeSet::new(), BTreeSet::new());
        for allow in self.ledger.allows_changed(told.unwrap_or(mark)).await? {
            for ban in self.ledger.within(allow).into_iter().filter_map(|ban| net(&ban)) {
                if self.ledger.standing(ban).allowed {
                    gone.insert(ban)
                } else {
                    back.insert(ban)
                };
            }
        }
        let mut list = List { writer: &mut writer, filter, now, written: 0 };
        let mut after = (gone_since, u64::MAX >> 1);
        loop {
            let page = self.ledger.ended(after).await?;
            let Some(last) = page.last() else { break };
            after = (last.ended.map_or(u64::MAX >> 1, |(number, _)| number), last.decision.id);
            page.iter().try_for_each(|change| list.put(change))?;
        }
        self.put_of(&gone, Some((mark, now)), &mut list)?;
        if !enforces && told.is_some() && !bouncer.withheld {
            self.put_withdrawn((mark, now), &mut list).await?;
        }
        list.end()?;
        writer.write(b",\"new\":").map_err(|error| broken(&error))?;
        let mut list = List { writer: &mut writer, filter, now, written: 0 };
        if enforces {
            self.put_begun(new_since, false, &mut list).await?;
            if new_since > 0 {
                self.put_of(&back, None, &mut list)?;
            }
        }
        list.end()?;
        writer.write(b"}").map_err(|error| broken(&error))?;
        let reply = writer.reply().map_err(|error| broken(&error))?;
        let pulled = self.registry().pulled(&bouncer.name, mark, now, !enforces).cloned();
        if let Some(pulled) = pulled {
            self.ledger.keep_bouncer(pulled).await;
        }
        Ok(reply)
    }

    /// Bans with numbers above `after` for which no allow holds.
    async fn put_begun(&self, mut after: u64, all: bool, list: &mut List<'_>) -> Result<(), Refusal> {
        while !list.is_full() {
            let page = self.ledger.begun(after, all).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            for decision in page {
                if net(&decision).is_some_and(|net| !self.ledger.standing(net).allowed) {
                    list.put(&in_force(decision))?;
                }
            }
        }
        Ok(())
    }

    /// Bans in force, as ended: from now on they are only observed.
    async fn put_withdrawn(&self, end: (u64, Timestamp), list: &mut List<'_>) -> Result<(), Refusal> {
        let mut after = 0;
        loop {
            let page = self.ledger.begun(after, false).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id;
            page.into_iter().try_for_each(|decision| list.put(&Change { decision, ended: Some(end) }))?;
        }
    }

    /// The longest ban of each of these.
    fn put_of(
        &self,
        nets: &BTreeSet<IpNet>,
        ended: Option<(u64, Timestamp)>,
        list: &mut List<'_>,
    ) -> Result<(), Refusal> {
        for about in nets {
            let bans = self.ledger.standing(*about).bans.into_iter().filter(|ban| net(ban) == Some(*about));
            let longest = bans.max_by_key(|ban| (ban.until.is_none(), ban.until, ban.id));
            longest.map_or(Ok(()), |decision| list.put(&Change { decision, ended }))?;
        }
        Ok(())
    }

    /// `DELETE /v1/decisions` and `/v1/decisions/{id}`, of a machine. All bans of a target end together.
    pub(super) async fn delete_decisions(&self, request: &Request, id: Option<&str>) -> Reply {
        let machine = match self.machine(request) {
            Ok(machine) => machine,
            Err(reply) => return reply,
        };
        let found = match id {
            Some(id) => {
                let Ok(id) = id.parse::<u64>() else {
                    return Reply::message(400, "decision_id must be valid integer");
                };
                self.targets(&Filter::default(), |ban| ban.id == id).await
            }
            None => match Filter::read(request) {
                Ok(_) if !request.body.is_empty() => return in_the_body(),
                Ok(filter) => self.targets(&filter, |_| true).await,
                Err(reply) => return reply,
            },
        };
        let found = match found {
            Ok(found) => found,
            Err(refusal) => return refusal.into(),
        };
        if let (Some(id), true) = (id, found.is_empty()) {
            return Reply::message(404, &format!("decision with id '{id}' doesn't exist"));
        }
        self.lift(found, machine.as_str()).await
    }

    /// Targets of bans in force that pass.
    async fn targets(
        &self,
        filter: &Filter,
        passes: impl Fn(&Decision) -> bool,
    ) -> Result<BTreeSet<model::Target>, Refusal> {
        let _turn = self.pulls.acquire().await.map_err(|error| broken(&error))?;
        let (now, mut after, mut found) = (self.now(), 0, BTreeSet::new());
        loop {
            let page = self.ledger.begun(after, true).await?;
            let Some(last) = page.last() else { return Ok(found) };
            after = last.id;
            for ban in page {
                let (Some(shown), Some(about)) = (Shown::of(&ban, None, now), net(&ban)) else { continue };
                if passes(&ban) && filter.passes(&shown, about) {
                    found.insert(ban.target);
                }
            }
        }
    }

    /// Ends bans; says how many there were.
    pub(super) async fn lift(&self, targets: BTreeSet<model::Target>, machine: &str) -> Reply {
        let mut lifted = 0;
        for target in targets {
            match self.ledger.lift(target, &format!("machine {machine}")).await {
                Ok(count) => lifted += count,
                Err(refusal) => return refusal.into(),
            }
        }
        Reply::json(200, &json!({ "nbDeleted": lifted.to_string() }))
    }
}

/// A client that puts into the body which ones it means would delete all of them.
pub(super) fn in_the_body() -> Reply {
    Reply::message(400, "what is to be deleted stands in the parameters, not in the body")
}

fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
