//! Questions that need an upstream: asked, kept, and answered; from the cache past the answer's time where nobody
//! answers (RFC 8767); and asked anew ahead of the end.

use hickory_proto::{
    op::{Message, OpCode, Query},
    rr::{Name, RData, Record as WireRecord, rdata::CNAME as WireAlias},
};
use lists::{Record, RecordData};
use model::DecisionKind;
use std::sync::{Arc, atomic::Ordering::Relaxed};
use tokio::{sync::oneshot, time::timeout};

use crate::{
    Engine, Now,
    cache::{Answer, Found},
    engine::{Pending, Refresh, Step, run::Run},
    forwarder::Wanted,
    journal::{Decider, From},
    limits::{MAX_CACHED_ANSWER, MAX_LOCAL_ALIASES, MAX_LOCAL_ANSWER, STALE_AFTER},
    quota::Place,
    stats::count,
    upstream::{Answered, Trouble, Validation},
    wire::{
        question::{Code, Question},
        reply::{Extended, Extras, Reply},
    },
};

/// The type ANY.
const ANY: u16 = 255;

/// The way a rewrite or a local alias leads a question to a name of others.
pub(crate) struct Via {
    /// The aliases, each with its owner; none = the name asked for.
    pub(crate) records: Vec<(Option<Box<str>>, Record)>,
    /// The name that is asked for instead.
    pub(crate) question: Question,
    pub(crate) from: From,
    pub(crate) said: Option<(Decider, DecisionKind)>,
}

/// Records of one's own, followed over their aliases.
pub(crate) struct Chain {
    pub(crate) records: Vec<(Option<Box<str>>, Record)>,
    /// Where the rest is known.
    pub(crate) outside: Option<Box<str>>,
    /// There is something of the type asked for.
    pub(crate) found: bool,
    /// It ends at a name of ours that does not exist.
    pub(crate) absent: bool,
}

impl Chain {
    /// From the records of the name asked for; at most [`MAX_LOCAL_ALIASES`] aliases.
    pub(crate) fn follow(run: &Run<'_>, records: &[Record], ttl: u32) -> Self {
        let mut chain = Self { records: Vec::new(), outside: None, found: false, absent: false };
        let qtype = run.question.qtype;
        let mut owner: Option<Box<str>> = None;
        let mut records = records.to_vec();
        for _ in 0..=MAX_LOCAL_ALIASES {
            let wanted = records.iter().filter(|record| qtype == ANY || record.data.qtype() == qtype);
            let own: Vec<_> =
                wanted.take(MAX_LOCAL_ANSWER).map(|record| (owner.clone(), record.clone())).collect();
            if !own.is_empty() {
                chain.found = true;
                chain.records.extend(own);
                break;
            }
            let alias = records.iter().find_map(|record| match &record.data {
                RecordData::Cname(target) => Some((record.ttl.or(Some(ttl)), target.clone())),
                RecordData::A(_)
                | RecordData::Aaaa(_)
                | RecordData::Ptr(_)
                | RecordData::Txt(_)
                | RecordData::Mx { .. }
                | RecordData::Srv { .. }
                | RecordData::Service { .. } => None,
            });
            let Some((ttl, target)) = alias else { break };
            let record = Record { ttl, data: RecordData::Cname(target.clone()) };
            chain.records.push((owner.replace(target.clone()), record));
            match run.find_local(&target) {
                Some(Ok(next)) => records = next,
                Some(Err(_)) => {
                    chain.absent = true;
                    break;
                }
                None => {
                    chain.outside = Some(target);
                    break;
                }
            }
        }
        chain
    }
}

impl Via {
    /// The aliases, then what the others say.
    pub(crate) fn write(
        &self,
        out: &mut Vec<u8>,
        question: &Question,
        answer: &Answer,
        now: Now,
        extras: Extras<'_>,
    ) {
        let wire = answer.message(now.steady).and_then(|known| {
            let mut message = Message::response(0, OpCode::Query);
            message.metadata.response_code = known.metadata.response_code;
            message.add_query(Query::query(question.name(), question.record_type()));
            for (owner, record) in &self.records {
                let RecordData::Cname(target) = &record.data else { continue };
                let owner = owner.as_deref().map_or_else(|| Some(question.name()), name)?;
                let data = RData::CNAME(WireAlias(name(target)?));
                message.add_answer(WireRecord::from_rdata(owner, record.ttl.unwrap_or_default(), data));
            }
            message.answers.extend(known.answers);
            message.authorities = known.authorities;
            message.to_vec().ok()
        });
        match wire {
            Some(wire) => Reply::kept(out, question, &wire, &[], false, |ttl| ttl).finish(question, extras),
            None => Reply::start(out, question, Code::ServFail).finish(question, extras),
        }
    }
}

fn name(text: &str) -> Option<Name> {
    Name::from_labels(text.split('.').map(str::as_bytes)).ok()
}

/// What came of asking.
pub(crate) type Fetched = Result<(Arc<Answer>, Arc<str>), Trouble>;

impl Engine {
    /// Asks the upstreams, and answers. Says whether there is an answer at all.
    pub(crate) async fn forward(self: &Arc<Self>, pending: Box<Pending>, out: &mut Vec<u8>) -> bool {
        let Pending { question, asker, started, via, stale, place } = &*pending;
        let wanted = via.as_ref().map_or(question, |via| &via.question);
        let fetched = match stale {
            None => Some(self.fetch(wanted).await),
            Some(old) => self.fetch_in_time(wanted.clone(), Arc::clone(old), Arc::clone(place)).await,
        };
        let view = self.view();
        let run = view.run(self, asker, question, *started, self.now());
        let step = match (fetched, stale) {
            (Some(Ok((answer, upstream))), _) => {
                count(&self.counters.forwarded);
                run.finish(out, via.as_ref(), &answer, From::Upstream(upstream))
            }
            (Some(Err(trouble)), _) => run.trouble(out, &trouble),
            (None, Some(old)) => {
                count(&self.counters.stale);
                run.finish(out, via.as_ref(), old, From::Stale)
            }
            (None, None) => run.trouble(out, &Trouble::Overload),
        };
        match step {
            Step::Ignore => false,
            Step::Reply | Step::ReplyAndRefresh(_) | Step::Forward(_) => true,
        }
    }

    /// Asks anew for what runs out soon.
    pub(crate) async fn refresh(self: &Arc<Self>, refresh: Refresh) {
        let fetched = self.fetch(&refresh.question).await;
        // What failed is tried again by the next question.
        if !matches!(&fetched, Ok((answer, _)) if answer.ttl() > 0) {
            refresh.answer.refresh_ended(self.now().steady);
        }
        self.prefetches.fetch_sub(1, Relaxed);
    }

    /// Asks, and keeps what is said; not for what nobody could answer a moment ago.
    async fn fetch(&self, question: &Question) -> Fetched {
        if let Some(failed) = self.failures.get(question.key(), self.now().steady) {
            return failed;
        }
        let fetched = self.fetch_anew(question).await;
        match &fetched {
            // That is our own failure.
            Err(Trouble::Overload) => {}
            Ok((answer, _)) if matches!(answer.code, 0 | 3) => self.failures.forget(question.key()),
            Ok((answer, _)) if answer.wire_length() > MAX_CACHED_ANSWER => {}
            Ok(_) | Err(Trouble::Unreachable(_) | Trouble::Bogus { .. }) => {
                self.failures.note(question.key(), &fetched, self.now().steady);
            }
        }
        fetched
    }

    async fn fetch_anew(&self, question: &Question) -> Fetched {
        let active = self.active.load_full();
        let name = question.name();
        let wanted = Wanted {
            name: &name,
            qtype: question.record_type(),
            dnssec_ok: question.dnssec_ok(),
            checking_disabled: question.checking_disabled,
        };
        let Answered { message, upstream, validated } = active.forwarder.ask(wanted).await?;
        let secure = validated == Validation::Secure;
        let answer = Answer::new(question, message, secure, active.lifetimes(), self.now().steady);
        let answer =
            answer.ok_or_else(|| Trouble::Unreachable(format!("{upstream}: the answer cannot be used")))?;
        let answer = Arc::new(answer);
        self.cache.load().put(question, &answer);
        if self.active.load().truth != active.truth {
            // Who is asked, or what is believed, has changed meanwhile, and all that was kept has gone.
            self.cache.load().flush(Some(question.text()));
        }
        Ok((answer, upstream))
    }

    /// Asks, but waits no longer than a client should; the asking goes on, counted as under way, and its answer is kept.
    /// None: not in time, or what came is no better than the old answer, which then stands in for a while.
    async fn fetch_in_time(
        self: &Arc<Self>,
        question: Question,
        old: Arc<Answer>,
        place: Arc<Place>,
    ) -> Option<Fetched> {
        let (tell, told) = oneshot::channel();
        let engine = Arc::clone(self);
        tokio::spawn(async move {
            let _place = place;
            let fetched = engine.fetch(&question).await;
            let helps = match &fetched {
                Ok((answer, _)) => matches!(answer.code, 0 | 3),
                Err(Trouble::Bogus { .. }) => true,
                Err(Trouble::Unreachable(_) | Trouble::Overload) => false,
            };
            if !helps {
                old.excuse(engine.now().steady);
            }
            // Nobody may be waiting any more.
            let _ = tell.send(helps.then_some(fetched));
        });
        timeout(STALE_AFTER, told).await.ok()?.ok()?
    }
}

impl Run<'_> {
    /// What is at the end of aliases, from the cache, or from upstreams.
    pub(super) fn look_up_via(&self, out: &mut Vec<u8>, via: Via) -> Step {
        let counters = &self.engine.counters;
        match self.engine.cache.load().get(&via.question, self.now.steady) {
            Found::Fresh(answer) => {
                count(&counters.from_cache);
                let step = self.finish(out, Some(&via), &answer, From::Cache);
                self.refresh(step, &via.question, &answer)
            }
            Found::Stale(answer) if answer.is_excused(self.now.steady) => {
                count(&counters.stale);
                self.finish(out, Some(&via), &answer, From::Stale)
            }
            Found::Stale(answer) => self.start_forward(out, Some(via), Some(answer)),
            Found::Nothing => self.start_forward(out, Some(via), None),
        }
    }

    pub(super) fn finish(&self, out: &mut Vec<u8>, via: Option<&Via>, answer: &Answer, from: From) -> Step {
        match via {
            None => {
                // Lists may have changed in the meantime.
                let verdict = self.judge(self.question.text());
                self.deliver(out, &verdict, answer, from)
            }
            Some(via) => self.deliver_via(out, via, answer, &from),
        }
    }

    fn trouble(&self, out: &mut Vec<u8>, trouble: &Trouble) -> Step {
        count(&self.engine.counters.failed);
        let text = trouble.to_string();
        match trouble {
            Trouble::Unreachable(_) => self.fail(out, From::Nobody, Extended::NoReachableAuthority, &text),
            Trouble::Bogus { ede, anchor, .. } => {
                let anchor = anchor.to_ascii();
                let anchor = anchor.trim_end_matches('.');
                let text = format!("{text}; to trust it anyway: negative_trust_anchors = [\"{anchor}\"]");
                self.fail(out, From::Nobody, Extended::Number(*ede), &text);
            }
            Trouble::Overload => self.fail(out, From::Overload, Extended::Other, &text),
        }
        Step::Reply
    }
}
