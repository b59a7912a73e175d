//! Answers that are made here: special names, names of this network, and the smallest answer to ANY.

use lists::{Record, RecordData};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    engine::{
        Step,
        forward::{Chain, Via},
        judge::Verdict,
        run::{A, AAAA, Behind, Run, Told},
        special::Special,
        write,
    },
    journal::From,
    limits::SPECIAL_TTL,
    local::{LOCAL_TTL, LocalFound},
    stats::count,
    wire::{
        question::{Code, Question},
        reply::{Extended, Reply},
    },
};

const HINFO: u16 = 13;
const SVCB: u16 = 64;

impl Run<'_> {
    pub(super) fn answer_special(&self, out: &mut Vec<u8>, special: Special) -> Step {
        let (code, address, designations) = match (special, self.question.qtype) {
            (Special::Loopback, A) => (Code::NoError, Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), false),
            (Special::Loopback, AAAA) => (Code::NoError, Some(IpAddr::V6(Ipv6Addr::LOCALHOST)), false),
            (Special::Ipv4Only, A) => (Code::NoError, Some(IpAddr::V4(Ipv4Addr::new(192, 0, 0, 170))), false),
            (Special::Discovery, SVCB) => (Code::NoError, None, true),
            (Special::Loopback | Special::Ipv4Only | Special::Discovery | Special::Empty, _) => {
                (Code::NoError, None, false)
            }
            (Special::Nothing | Special::Ours, _) => (Code::NxDomain, None, false),
        };
        let mut reply = Reply::start(out, self.question, code);
        let mut nothing = true;
        if let Some(address) = address {
            reply.address(address, SPECIAL_TTL);
            if special == Special::Ipv4Only {
                reply.address(Ipv4Addr::new(192, 0, 0, 171).into(), SPECIAL_TTL);
            }
            nothing = false;
        }
        if designations && let Some(designated) = &self.active.settings.designated {
            for record in write::designations(designated) {
                reply.answer(record.data.qtype(), SPECIAL_TTL, |out| write::data(out, &record.data));
                nothing = false;
            }
        }
        if nothing {
            reply.nothing_for(SPECIAL_TTL);
        }
        reply.finish(self.question, self.extras(None));
        self.tell(Told::pass(code, From::Here));
        Step::Reply
    }

    /// What this network says about a name; none if it is not its own.
    pub(crate) fn find_local(&self, name: &str) -> Option<Result<Vec<Record>, Code>> {
        match self.local.find(name) {
            LocalFound::Records(records) => return Some(Ok(records.to_vec())),
            // A forward knows more about a part of our domain than a table without it.
            LocalFound::Absent if !self.is_forwarded(name) => {}
            LocalFound::Absent | LocalFound::Unknown => {
                let designated = self.active.settings.designated.as_ref()?;
                return (*designated.name == *name).then(|| {
                    Ok(designated.addresses.iter().map(|&address| RecordData::from(address).into()).collect())
                });
            }
        }
        match &self.active.settings.designated {
            Some(designated) if *designated.name == *name => Some(Ok(designated
                .addresses
                .iter()
                .map(|&address| RecordData::from(address).into())
                .collect())),
            Some(_) | None => Some(Err(Code::NxDomain)),
        }
    }

    pub(super) fn answer_local(&self, out: &mut Vec<u8>, found: Result<Vec<Record>, Code>) -> Step {
        count(&self.engine.counters.local);
        match found {
            Ok(records) => {
                self.answer_records(out, &records, LOCAL_TTL, Told::pass(Code::NoError, From::Local), None)
            }
            Err(code) => {
                let mut reply = Reply::start(out, self.question, code);
                reply.nothing_for(LOCAL_TTL);
                reply.finish(self.question, self.extras(None));
                self.tell(Told::pass(code, From::Local));
                Step::Reply
            }
        }
    }

    /// Answers with records of a rewrite or of this network, following their aliases.
    pub(super) fn answer_records(
        &self,
        out: &mut Vec<u8>,
        records: &[Record],
        ttl: u32,
        told: Told<'_>,
        explained: Option<(Extended, &str)>,
    ) -> Step {
        let chain = Chain::follow(self, records, ttl);
        if let Some(target) = chain.outside {
            // No list is asked about the name itself any more, but where it leads is judged as any alias is.
            if let Verdict::Blocked(said, mode, effect, groups) = self.judges().name(&self.asked(&target))
                && self.is_enforced(mode)
                && self.blocks_alias(effect)
            {
                return self.apply(out, said, effect, groups, Behind::Alias(&target));
            }
            // The rest of the way is known to others.
            let Some(question) = Question::about(
                &target,
                self.question.qtype,
                self.question.dnssec_ok(),
                self.question.checking_disabled,
            ) else {
                return self.refuse(out, Code::ServFail);
            };
            let said = told.by.clone();
            let via = Via { records: chain.records, question, from: told.from, said };
            return self.look_up_via(out, via);
        }
        // The code is that of the last name (RFC 6604 §3).
        let code = if chain.absent { Code::NxDomain } else { Code::NoError };
        let told = Told { code: code as u16, ..told };
        let mut reply = Reply::start(out, self.question, code);
        for (owner, record) in &chain.records {
            let (kind, ttl) = (record.data.qtype(), record.ttl.unwrap_or(ttl));
            match owner {
                None => reply.answer(kind, ttl, |out| write::data(out, &record.data)),
                Some(owner) => reply.answer_of(owner, kind, ttl, |out| write::data(out, &record.data)),
            }
        }
        if !chain.found {
            reply.nothing_for(ttl);
        }
        reply.finish(self.question, self.extras(explained));
        if self.asker.resolved {
            let records = chain.records.iter().map(|(_, record)| record);
            let addresses: Vec<IpAddr> = records.clone().filter_map(|record| record.data.address()).collect();
            let least = records.map(|record| record.ttl.unwrap_or(ttl)).min().unwrap_or(ttl);
            self.learns_addresses(&[], &addresses, least);
        }
        self.tell(told);
        Step::Reply
    }

    pub(super) fn answer_any(&self, out: &mut Vec<u8>) -> Step {
        let mut reply = Reply::start(out, self.question, Code::NoError);
        // RFC 8482 §4.2.
        reply.answer(HINFO, SPECIAL_TTL, |out| {
            out.extend_from_slice(b"\x07RFC8482\0");
            true
        });
        reply.finish(self.question, self.extras(None));
        self.tell(Told::pass(Code::NoError, From::Here));
        Step::Reply
    }
}
