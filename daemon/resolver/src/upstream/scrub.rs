//! What of an answer is about the question. The rest, however well meant, is not used: a forwarder has no need of
//! addresses of name servers or of names nobody asked about, and they are how caches are poisoned.

use hickory_proto::{
    dnssec::rdata::DNSSECRData,
    op::Message,
    rr::{DNSClass, Name, RData, Record, RecordType},
};
use std::mem;

use super::limits::MAX_DENIAL_RECORDS;
use crate::limits::MAX_ALIASES;

/// Where the chain of aliases of an answer ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// The last name.
    pub(crate) name: Name,
    /// There are records of the type asked for at it.
    pub(crate) found: bool,
}

/// The chain does not end, or after more than [`MAX_ALIASES`] hops.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Endless;

/// Keeps of `message` the chain of aliases from `name` to records of type `qtype`, and behind a negative answer the SOA
/// and the records that prove it. Owners are written as asked.
pub(crate) fn scrub(name: &Name, qtype: RecordType, message: &mut Message) -> Result<End, Endless> {
    message.additionals.clear();
    let mut rest = mem::take(&mut message.answers);
    rest.retain(|record| record.dns_class == DNSClass::IN);
    let kept = &mut message.answers;
    let mut end = End { name: name.clone(), found: false };
    let mut seen: Vec<Name> = Vec::new();
    loop {
        let at = kept.len();
        move_all(&mut rest, kept, |record| {
            record.name == end.name && is_or_covers(record, |kind| kind == qtype || qtype == RecordType::ANY)
        });
        if let Some(found) = kept.get_mut(at..)
            && found.iter().any(|record| record.record_type() == qtype || qtype == RecordType::ANY)
        {
            found.iter_mut().for_each(|record| record.name.clone_from(&end.name));
            end.found = true;
            break;
        }
        kept.truncate(at);
        let Some(target) = alias(&end.name, &mut rest, kept) else { break };
        seen.push(mem::replace(&mut end.name, target));
        if seen.len() > MAX_ALIASES || seen.contains(&end.name) {
            return Err(Endless);
        }
    }
    let mut soa = false;
    let mut denials = 0;
    message.authorities.retain(|record| {
        let proof = |kind| matches!(kind, RecordType::NSEC | RecordType::NSEC3);
        record.dns_class == DNSClass::IN
            && match record.record_type() {
                RecordType::SOA => {
                    !end.found && record.name.zone_of(&end.name) && !mem::replace(&mut soa, true)
                }
                RecordType::RRSIG => is_or_covers(record, |kind| {
                    proof(kind) || kind == RecordType::SOA && !end.found && record.name.zone_of(&end.name)
                }),
                kind => {
                    proof(kind) && {
                        denials += 1;
                        denials <= MAX_DENIAL_RECORDS
                    }
                }
            }
    });
    Ok(end)
}

/// Follows one alias of `name`, moving its records; also one made from a DNAME above (RFC 6672 §3).
fn alias(name: &Name, rest: &mut Vec<Record>, kept: &mut Vec<Record>) -> Option<Name> {
    let above = rest.iter().find(|record| {
        record.record_type() == RecordType::DNAME && record.name != *name && record.name.zone_of(name)
    });
    if let Some(above) = above.map(|record| record.name.clone()) {
        move_all(rest, kept, |record| {
            record.name == above && is_or_covers(record, |kind| kind == RecordType::DNAME)
        });
    }
    let target = rest.iter().find_map(|record| match &record.data {
        RData::CNAME(target) if record.name == *name => Some(target.0.clone()),
        _ => None,
    })?;
    let at = kept.len();
    let mut one = false;
    move_all(rest, kept, |record| {
        record.name == *name
            && is_or_covers(record, |kind| kind == RecordType::CNAME)
            && (record.record_type() != RecordType::CNAME || !mem::replace(&mut one, true))
    });
    kept.iter_mut().skip(at).for_each(|record| record.name.clone_from(name));
    Some(target)
}

/// Whether a record is of such a type, or a signature over one.
pub(crate) fn is_or_covers(record: &Record, wanted: impl Fn(RecordType) -> bool) -> bool {
    match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(signature)) => {
            wanted(signature.input().type_covered) || wanted(RecordType::RRSIG)
        }
        data => wanted(data.record_type()),
    }
}

fn move_all(from: &mut Vec<Record>, to: &mut Vec<Record>, mut which: impl FnMut(&Record) -> bool) {
    to.extend(from.extract_if(.., |record| which(record)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::{A, CNAME, NS, SOA};

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn record(owner: &str, data: RData) -> Record {
        Record::from_rdata(name(owner), 60, data)
    }

    fn address(owner: &str) -> Record {
        record(owner, RData::A(A::new(192, 0, 2, 1)))
    }

    fn alias_to(owner: &str, target: &str) -> Record {
        record(owner, RData::CNAME(CNAME(name(target))))
    }

    fn soa(owner: &str) -> Record {
        record(owner, RData::SOA(SOA::new(name("ns."), name("root."), 1, 2, 3, 4, 5)))
    }

    fn scrubbed(
        answers: Vec<Record>,
        authorities: Vec<Record>,
    ) -> (Result<End, Endless>, Vec<String>, Vec<String>) {
        let mut message = Message::query();
        message.answers = answers;
        message.authorities = authorities;
        message.additionals = vec![address("ns.example.")];
        let end = scrub(&name("wWw.example."), RecordType::A, &mut message);
        assert!(message.additionals.is_empty());
        let told = |records: &[Record]| {
            records.iter().map(|record| format!("{} {}", record.name, record.record_type())).collect()
        };
        (end, told(&message.answers), told(&message.authorities))
    }

    #[test]
    fn only_what_was_asked_stays() {
        let (end, answers, authorities) = scrubbed(
            vec![
                address("bank.example."),
                address("b.example."),
                alias_to("www.example.", "b.example."),
                address("evil."),
            ],
            vec![soa("example."), record("example.", RData::NS(NS(name("ns.evil."))))],
        );
        assert_eq!(end, Ok(End { name: name("b.example."), found: true }));
        assert_eq!(answers, ["wWw.example. CNAME", "b.example. A"], "in the order of the chain, as asked");
        assert!(authorities.is_empty());
    }

    #[test]
    fn a_negative_answer_keeps_the_soa_of_its_own_zone() {
        let (end, answers, authorities) =
            scrubbed(vec![address("other.example.")], vec![soa("evil."), soa("example."), soa(".")]);
        assert_eq!(end, Ok(End { name: name("www.example."), found: false }));
        assert!(answers.is_empty());
        assert_eq!(authorities, ["example. SOA"]);
    }

    #[test]
    fn loops_and_long_chains_end() {
        let looped = vec![alias_to("www.example.", "b.example."), alias_to("b.example.", "www.example.")];
        assert_eq!(scrubbed(looped, Vec::new()).0, Err(Endless));
        assert_eq!(scrubbed(vec![alias_to("www.example.", "www.example.")], Vec::new()).0, Err(Endless));
        let chain = |hops: usize| {
            let mut chain = vec![alias_to("www.example.", "1.example.")];
            chain.extend(
                (1..hops).map(|hop| alias_to(&format!("{hop}.example."), &format!("{}.example.", hop + 1))),
            );
            chain.push(address(&format!("{hops}.example.")));
            scrubbed(chain, Vec::new())
        };
        assert_eq!(chain(MAX_ALIASES).1.len(), MAX_ALIASES + 1);
        assert_eq!(chain(64).0, Err(Endless));
    }
}
