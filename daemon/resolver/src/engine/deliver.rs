//! Answers of cache and upstreams on their way to the client: what is behind the question is judged as the question is.

use model::{DecisionKind, EventAction, Mode};
use std::net::IpAddr;

use crate::{
    cache::Answer,
    engine::{
        Step,
        forward::Via,
        judge::{Judge, Said, Verdict},
        rebinding::{MEANT, is_mail_list, is_private},
        run::{Behind, Run, Told},
    },
    journal::{Decider, From, Resolved},
    limits::MAX_EXTRA_TEXT,
    stats::count,
    wire::{
        name::is_within,
        question::Code,
        reply::{Extended, Reply},
        text::Text,
    },
};

impl Run<'_> {
    /// Hands an answer of cache or upstream on, unless it goes over a name that is blocked or leads inside.
    pub(crate) fn deliver(
        &self,
        out: &mut Vec<u8>,
        verdict: &Verdict<'_>,
        answer: &Answer,
        from: From,
    ) -> Step {
        let mut told = Told { code: answer.code, secure: answer.secure, ..Told::pass(Code::NoError, from) };
        let observed = |said: Said<'_>| {
            count(&self.engine.counters.observed);
            Some((said.decider(), DecisionKind::Ban))
        };
        match *verdict {
            Verdict::Allowed(said) => told.by = Some((said.decider(), DecisionKind::Allow)),
            Verdict::Blocked(said, mode, effect, groups) => {
                if self.is_enforced(mode) && !self.passes(effect) {
                    return self.apply(out, said, effect, groups, Behind::Itself);
                }
                told.action = EventAction::Observe;
                told.by = observed(said);
            }
            Verdict::Clean => match self.behind(answer) {
                Some((behind, Verdict::Blocked(said, mode, effect, groups))) => {
                    if self.is_enforced(mode) {
                        return self.apply(out, said, effect, groups, behind);
                    }
                    told.action = EventAction::Observe;
                    told.by = observed(said);
                    if let Behind::Alias(alias) = behind {
                        told.alias = alias;
                    }
                }
                Some((_, Verdict::Clean | Verdict::Allowed(_))) | None => {}
            },
        }
        if let Some(address) = self.rebinding(answer) {
            count(&self.engine.counters.rebinding);
            let by = Some((Decider::Rebinding(address), DecisionKind::Ban));
            if self.is_enforced(Mode::Enforce) {
                return self.refuse_rebinding(out, address, by);
            }
            (told.action, told.by) = (EventAction::Observe, by);
        }
        let stale = stale(&told.from, answer);
        let explained = answer.explained.as_ref().map(|(code, text)| (Extended::Number(*code), &**text));
        answer
            .reply(out, self.question, self.now.steady)
            .finish(self.question, self.extras(stale.or(explained)));
        self.learns(answer);
        self.tell(told);
        Step::Reply
    }

    /// Tells which addresses the client is about to learn, where its network asks for that.
    fn learns(&self, answer: &Answer) {
        if self.asker.resolved {
            self.learns_addresses(
                &answer.targets,
                &answer.addresses,
                answer.left(self.now.steady)(answer.ttl()),
            );
        }
    }

    /// The same of addresses that are known here.
    pub(super) fn learns_addresses(&self, aliases: &[Box<str>], addresses: &[IpAddr], ttl: u32) {
        if self.asker.resolved && !addresses.is_empty() {
            self.engine.sink.resolved(&Resolved {
                client: self.asker.address,
                zone: &self.asker.zone,
                name: self.question.text(),
                aliases,
                addresses,
                ttl,
            });
        }
    }

    /// The first name or address behind the question that is blocked. An enforced block goes before an observed one.
    pub(crate) fn behind<'b>(&'b self, answer: &'b Answer) -> Option<(Behind<'b>, Verdict<'b>)> {
        let judge: Judge<'b> = self.judges();
        let aliases = answer.targets.iter().map(|target| {
            let target: &'b str = target;
            (Behind::Alias(target), judge.name(&self.asked(target)))
        });
        let addresses = answer.addresses.iter().filter(|_| self.lists.knows_addresses()).map(|&address| {
            (Behind::Address(address), judge.address(address, &self.asked(self.question.text())))
        });
        let mut seen = None;
        for (behind, verdict) in aliases.chain(addresses) {
            let Verdict::Blocked(_, mode, effect, _) = verdict else { continue };
            match mode {
                _ if self.passes(effect) => {}
                Mode::Enforce => return Some((behind, verdict)),
                Mode::Observe => seen = seen.or(Some((behind, verdict))),
            }
        }
        seen
    }

    /// The private address that a public name leads to.
    pub(crate) fn rebinding(&self, answer: &Answer) -> Option<IpAddr> {
        self.rebinding_of(self.question.text(), answer)
    }

    fn rebinding_of(&self, name: &str, answer: &Answer) -> Option<IpAddr> {
        let settings = &self.active.settings;
        if !settings.rebinding.protect {
            return None;
        }
        let address = answer.addresses.iter().copied().find(|&address| is_private(address))?;
        let within = |domains: &[Box<str>]| domains.iter().any(|domain| is_within(name, domain));
        let meant = MEANT.iter().any(|domain| is_within(name, domain))
            || within(&settings.rebinding.allow)
            || within(&self.active.forwarded)
            || within(self.local.domains())
            || (answer.targets.is_empty()
                && answer.addresses.iter().all(|&address| is_mail_list(name, address)));
        (!meant).then_some(address)
    }

    pub(super) fn refuse_rebinding(
        &self,
        out: &mut Vec<u8>,
        address: IpAddr,
        by: Option<(Decider, DecisionKind)>,
    ) -> Step {
        let text = Text::<MAX_EXTRA_TEXT>::of(format_args!(
            "rebinding protection: {address} for a public name; if it is meant, add the name to rebind_allow"
        ));
        let mut reply = Reply::start(out, self.question, Code::NoError);
        reply.nothing_for(self.active.settings.policy.block_ttl);
        reply.finish(self.question, self.extras(Some((Extended::Blocked, text.as_str()))));
        self.tell(Told { action: EventAction::Sinkhole, by, ..Told::pass(Code::NoError, From::Sinkhole) });
        Step::Reply
    }

    /// The answer to a question that was led elsewhere by a rewrite.
    pub(crate) fn deliver_via(&self, out: &mut Vec<u8>, via: &Via, answer: &Answer, from: &From) -> Step {
        let target = via.question.text();
        let judged = match self.judges().name(&self.asked(target)) {
            verdict @ Verdict::Blocked(..) => Some((Behind::Alias(target), verdict)),
            Verdict::Clean => self.behind(answer),
            Verdict::Allowed(_) => None,
        };
        if let Some((behind, Verdict::Blocked(said, mode, effect, groups))) = judged
            && self.is_enforced(mode)
            && self.blocks_alias(effect)
        {
            return self.apply(out, said, effect, groups, behind);
        }
        // A record of ours may lead where it likes; a list, not inside.
        if via.said.is_some()
            && let Some(address) = self.rebinding_of(target, answer)
        {
            count(&self.engine.counters.rebinding);
            if self.is_enforced(Mode::Enforce) {
                let by = Some((Decider::Rebinding(address), DecisionKind::Ban));
                return self.refuse_rebinding(out, address, by);
            }
        }
        let text =
            via.said.as_ref().map(|(by, _)| Text::<MAX_EXTRA_TEXT>::of(format_args!("rewritten by {by}")));
        let explained = text.as_ref().map(|text| (Extended::Forged, text.as_str()));
        let extras = self.extras(explained.or_else(|| stale(from, answer)));
        via.write(out, self.question, answer, self.now, extras);
        self.learns(answer);
        let action = if via.said.is_some() { EventAction::Sinkhole } else { EventAction::Pass };
        self.tell(Told {
            code: answer.code,
            action,
            by: via.said.clone(),
            ..Told::pass(Code::NoError, via.from.clone())
        });
        Step::Reply
    }
}

/// The word that an answer is past its time.
fn stale(from: &From, answer: &Answer) -> Option<(Extended, &'static str)> {
    matches!(from, From::Stale).then(|| (answer.stale(), "no upstream answered"))
}
