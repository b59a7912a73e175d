//! What is blocked or rewritten, carried out.

use lists::{Blocking, Effect, GroupSet};
use model::{DecisionKind, EventAction};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    engine::{
        Step,
        judge::Said,
        run::{A, AAAA, Behind, Run, Told, set_truncated},
    },
    journal::From,
    limits::MAX_EXTRA_TEXT,
    stats::count,
    wire::{
        question::Code,
        reply::{Extended, Reply},
        text::Text,
    },
};

impl Run<'_> {
    /// Carries out what was decided.
    pub(super) fn apply(
        &self,
        out: &mut Vec<u8>,
        said: Said<'_>,
        effect: Effect<'_>,
        groups: GroupSet,
        behind: Behind<'_>,
    ) -> Step {
        let ttl = self.active.settings.policy.block_ttl;
        let told = |code: Code, from, action| Told {
            action,
            by: Some((said.decider(), DecisionKind::Ban)),
            ..Told::pass(code, from)
        };
        // The text is made for those who get it.
        let text = match self.question.edns {
            Some(_) => Text::<MAX_EXTRA_TEXT>::of(format_args!(
                "{} by {said}{behind}",
                if matches!(effect, Effect::Answer(_)) { "rewritten" } else { "blocked" }
            )),
            None => Text::of(format_args!("")),
        };
        let blocked = Some((Extended::Blocked, text.as_str()));
        let nowhere = Blocking::Address { v4: None, v6: None };
        let way = match effect {
            Effect::Block | Effect::Allow => self.blocking(groups),
            Effect::NxDomain => Blocking::NxDomain,
            Effect::NoData => nowhere,
            Effect::Refused => Blocking::Refused,
            Effect::Drop => {
                count(&self.engine.counters.sinkholed);
                self.tell_behind(told(Code::NoError, From::Sinkhole, EventAction::Drop), behind);
                return Step::Ignore;
            }
            Effect::TcpOnly => {
                let reply = Reply::start(out, self.question, Code::NoError);
                reply.finish(self.question, self.extras(None));
                set_truncated(out);
                self.tell_behind(told(Code::NoError, From::Sinkhole, EventAction::Sinkhole), behind);
                return Step::Reply;
            }
            Effect::Answer(records) => {
                count(&self.engine.counters.rewritten);
                let told = told(Code::NoError, From::Rewrite, EventAction::Sinkhole);
                let forged = Some((Extended::Forged, text.as_str()));
                return self.answer_records(out, &records.to_vec(), ttl, told, forged);
            }
        };
        count(&self.engine.counters.sinkholed);
        let code = match way {
            Blocking::NxDomain => Code::NxDomain,
            Blocking::Refused => Code::Refused,
            Blocking::Null | Blocking::NoData | Blocking::Address { .. } => Code::NoError,
        };
        let mut reply = Reply::start(out, self.question, code);
        match address(way, self.question.qtype) {
            Some(address) => reply.address(address, ttl),
            None if code == Code::Refused => {}
            None => reply.nothing_for(ttl),
        }
        reply.finish(self.question, self.extras(blocked));
        self.tell_behind(told(code, From::Sinkhole, EventAction::Sinkhole), behind);
        Step::Reply
    }

    /// How the last of the groups blocks.
    pub(crate) fn blocking(&self, groups: GroupSet) -> Blocking {
        let groups_of = &self.active.settings.policy.groups;
        // What is denied to everybody is answered as `default` says where no group of the client is in force.
        let last = groups.and(self.groups()).last().unwrap_or(0);
        groups_of.get(last).map_or(Blocking::Null, |group| group.blocking)
    }
}

/// The address that a blocked name gets.
fn address(way: Blocking, qtype: u16) -> Option<IpAddr> {
    match (way, qtype) {
        (Blocking::Null, A) => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        (Blocking::Null, AAAA) => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        (Blocking::Address { v4, .. }, A) => v4.map(IpAddr::V4),
        (Blocking::Address { v6, .. }, AAAA) => v6.map(IpAddr::V6),
        (
            Blocking::Null
            | Blocking::NxDomain
            | Blocking::NoData
            | Blocking::Refused
            | Blocking::Address { .. },
            _,
        ) => None,
    }
}
