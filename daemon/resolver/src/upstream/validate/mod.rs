//! DNSSEC validation (RFC 4033–4035, RFC 5155, RFC 6840) of what upstreams answer: the chain of trust is walked from
//! the root by asking the same upstreams for DS and DNSKEY, and remembered zone by zone.
//!
//! Hashes and signatures are hickory-proto's. Its ready-made handle is not used, for what is needed here it cannot
//! do: say the cause of a failure (RFC 8914), take the time as an input and do without it, judge negative answers at
//! the end of aliases, as a forwarder gets them, and bound the work of an answer.

mod chain;
mod denial;
mod signature;

use hickory_proto::{
    dnssec::TrustAnchors,
    op::{Message, ResponseCode},
    rr::{Name, RData, Record, RecordType},
};
use std::sync::Arc;

use super::{
    Answered, Clock, Trouble, Validation,
    limits::{MAX_CHAIN_QUESTIONS, MAX_NSEC3_HASHES, MAX_SIGNATURES_PER_ANSWER},
    scrub::End,
};

use self::{
    chain::{Cuts, Status},
    denial::{Denial, Proof},
    signature::{Rrset, Verified, Zone, rrsets},
};

/// Extended error codes of validation (RFC 8914 §4).
pub(crate) mod ede {
    pub(crate) const BOGUS: u16 = 6;
    pub(crate) const EXPIRED: u16 = 7;
    pub(crate) const NOT_YET_VALID: u16 = 8;
    pub(crate) const DNSKEY_MISSING: u16 = 9;
    pub(crate) const RRSIGS_MISSING: u16 = 10;
    pub(crate) const NSEC_MISSING: u16 = 12;
}

/// Who asks the upstreams for the chain of trust.
pub(crate) trait Fetch: Sync {
    /// The answer as it came, scrubbed, not validated.
    fn fetch(
        &self,
        name: &Name,
        qtype: RecordType,
    ) -> impl Future<Output = Result<Arc<Answered>, Trouble>> + Send;

    /// Others are asked than those whose answer was not believed.
    fn is_second_look(&self) -> bool;

    /// Nothing is demanded of this name and what is below it.
    fn is_exempt(&self, name: &Name) -> bool;
}

/// Judges answers, and remembers the zones it went through.
pub(crate) struct Validator {
    anchors: TrustAnchors,
    clock: Clock,
    cuts: Cuts,
}

/// What may still be spent on one answer. Who answers so that it runs out gets a failure, not more of our time.
pub(crate) struct Budget {
    pub(crate) signatures: usize,
    pub(crate) hashes: usize,
    pub(crate) questions: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            signatures: MAX_SIGNATURES_PER_ANSWER,
            hashes: MAX_NSEC3_HASHES,
            questions: MAX_CHAIN_QUESTIONS,
        }
    }
}

/// A failure of validation.
pub(crate) fn bogus(ede: u16, anchor: &Name, cause: String) -> Trouble {
    Trouble::Bogus { ede, cause, anchor: anchor.to_lowercase() }
}

impl Validator {
    pub(crate) fn new(anchors: TrustAnchors, clock: Clock) -> Self {
        Self { anchors, clock, cuts: Cuts::default() }
    }

    /// Seconds since 1970 modulo 2³² (RFC 4034 §3.1.5); none while the clock is not set: then dates are not enforced.
    fn now(&self) -> Option<u32> {
        #[expect(clippy::cast_possible_truncation, reason = "dates of signatures are modulo 2^32")]
        (self.clock)().map(|seconds| seconds as u32)
    }

    /// Judges a scrubbed answer to a question; `end` is where its aliases lead. Lowers lifetimes to what was signed.
    pub(crate) async fn validate(
        &self,
        qtype: RecordType,
        end: &End,
        message: &mut Message,
        fetch: &impl Fetch,
    ) -> Result<Validation, Trouble> {
        let code = message.metadata.response_code;
        if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
            return Ok(Validation::Unchecked);
        }
        let mut budget = Budget::default();
        let mut secure = true;
        let mut lifetimes = Vec::new();
        let mut proving = Vec::new();
        let sets = rrsets(&message.answers);
        for (at, set) in sets.iter().enumerate() {
            if is_made_from(set, sets.get(at.wrapping_sub(1))) {
                continue;
            }
            match self.judge(set, fetch, &mut budget).await? {
                None => secure = false,
                Some((verified, zone)) => {
                    lifetimes.push((set.owner.clone(), set.kind, verified.lifetime));
                    if let Some(labels) = verified.wildcard {
                        let denial = self.denial_of(&zone, &message.authorities, &mut budget)?;
                        match denial.wildcard(set.owner, labels, &mut budget) {
                            Proof::Secure => proving.push(zone),
                            Proof::Insecure => secure = false,
                            Proof::Missing => {
                                return Err(bogus(
                                    ede::NSEC_MISSING,
                                    &zone.name,
                                    format!(
                                        "nothing proves that {} is not in {}, but only its wildcard",
                                        set.owner, zone.name
                                    ),
                                ));
                            }
                        }
                    }
                }
            }
        }
        drop(sets);
        if !end.found || code == ResponseCode::NXDomain {
            match self.absence(qtype, end, message, fetch, &mut budget).await? {
                Some(zone) => proving.push(zone),
                None => secure = false,
            }
        }
        if secure {
            keep_proofs(&proving, &mut message.authorities);
        }
        for (owner, kind, lifetime) in lifetimes {
            let of_it = |record: &&mut Record| record.name == owner && signature::is_part(record, kind);
            message.answers.iter_mut().filter(of_it).for_each(|record| record.ttl = record.ttl.min(lifetime));
        }
        Ok(if secure { Validation::Secure } else { Validation::Insecure })
    }

    /// Whether an RRset is signed as its zone promises: none if its zone is not signed.
    async fn judge(
        &self,
        set: &Rrset<'_>,
        fetch: &impl Fetch,
        budget: &mut Budget,
    ) -> Result<Option<(Verified, Arc<Zone>)>, Trouble> {
        if fetch.is_exempt(set.owner) {
            return Ok(None);
        }
        let Some(signer) = set.signer() else {
            return match self.walk(&set.zone_side(), fetch, budget).await? {
                Status::Insecure => Ok(None),
                Status::Secure(zone) => Err(bogus(
                    ede::RRSIGS_MISSING,
                    &zone.name,
                    format!("{} {} has no signature, though {} is signed", set.owner, set.kind, zone.name),
                )),
            };
        };
        match self.walk(signer, fetch, budget).await? {
            Status::Insecure => Ok(None),
            Status::Secure(zone) => {
                let verified = signature::verify(&zone, set, self.now(), budget)?;
                Ok(Some((verified, zone)))
            }
        }
    }

    /// Judges that there is nothing at the end of an answer, and gives the zone that proves it; none if it is not signed.
    async fn absence(
        &self,
        qtype: RecordType,
        end: &End,
        message: &Message,
        fetch: &impl Fetch,
        budget: &mut Budget,
    ) -> Result<Option<Arc<Zone>>, Trouble> {
        if fetch.is_exempt(&end.name) {
            return Ok(None);
        }
        let sets = rrsets(&message.authorities);
        let side = if qtype == RecordType::DS { end.name.base_name() } else { end.name.clone() };
        // The nearest: proofs of a zone further up are there too, where a wildcard of it leads here.
        let signer = sets
            .iter()
            .filter_map(Rrset::signer)
            .filter(|signer| signer.zone_of(&side))
            .max_by_key(|signer| signer.iter().count());
        let zone = match signer {
            Some(signer) => self.walk(signer, fetch, budget).await?,
            None => self.walk(&side, fetch, budget).await?,
        };
        let Status::Secure(zone) = zone else { return Ok(None) };
        let denial = self.denial_of(&zone, &message.authorities, budget)?;
        if let Some(soa) = sets.iter().find(|set| set.kind == RecordType::SOA) {
            self.judge(soa, fetch, budget).await?;
        }
        let proof = if message.metadata.response_code == ResponseCode::NXDomain {
            denial.no_name(&end.name, budget)
        } else {
            denial.no_data(&end.name, qtype, budget)
        };
        match proof {
            Proof::Secure => Ok(Some(zone)),
            Proof::Insecure => Ok(None),
            Proof::Missing => {
                // The proof may be missing because the zone ends above the name.
                match self.walk(&side, fetch, budget).await? {
                    Status::Insecure => Ok(None),
                    Status::Secure(zone) => Err(bogus(
                        ede::NSEC_MISSING,
                        &zone.name,
                        format!(
                            "nothing proves that {} has no {qtype}, though {} is signed",
                            end.name, zone.name
                        ),
                    )),
                }
            }
        }
    }

    /// The records of a zone that prove absence, each verified.
    fn denial_of<'a>(
        &self,
        zone: &Zone,
        authorities: &'a [Record],
        budget: &mut Budget,
    ) -> Result<Denial<'a>, Trouble> {
        let mut denial = Denial::new(&zone.name);
        for set in rrsets(authorities) {
            if !matches!(set.kind, RecordType::NSEC | RecordType::NSEC3) || set.signer() != Some(&zone.name) {
                continue;
            }
            // One made from a wildcard would prove something about another name.
            if signature::verify(zone, &set, self.now(), budget)?.wildcard.is_none() {
                denial.add(&set);
            }
        }
        Ok(denial)
    }
}

/// Leaves of the authority section what was verified: what one of these zones has signed itself.
fn keep_proofs(zones: &[Arc<Zone>], authorities: &mut Vec<Record>) {
    let verified: Vec<(Name, RecordType)> = rrsets(authorities)
        .iter()
        .filter(|set| zones.iter().any(|zone| set.signer() == Some(&zone.name)))
        .map(|set| (set.owner.clone(), set.kind))
        .collect();
    authorities.retain(|record| {
        verified.iter().any(|(owner, kind)| record.name == *owner && signature::is_part(record, *kind))
    });
}

/// An alias that was made from the DNAME before it needs no signature of its own (RFC 6672 §5.3.1).
fn is_made_from(alias: &Rrset<'_>, above: Option<&Rrset<'_>>) -> bool {
    let Some(above) =
        above.filter(|above| above.kind == RecordType::DNAME && alias.kind == RecordType::CNAME)
    else {
        return false;
    };
    let (Some(RData::CNAME(target)), Some(RData::Unknown { rdata, .. })) =
        (alias.records.first().map(|record| &record.data), above.records.first().map(|record| &record.data))
    else {
        return false;
    };
    if !above.owner.zone_of(alias.owner) || above.owner == alias.owner {
        return false;
    }
    // The labels below the DNAME, then its target.
    let labels = alias.owner.iter().count() - above.owner.iter().count();
    let mut made = Vec::new();
    for label in alias.owner.iter().take(labels) {
        let Ok(length) = u8::try_from(label.len()) else { return false };
        made.push(length);
        made.extend_from_slice(label);
    }
    made.extend_from_slice(&rdata.anything);
    hickory_proto::serialize::binary::BinEncodable::to_bytes(&target.0)
        .is_ok_and(|target| target.eq_ignore_ascii_case(&made))
}
