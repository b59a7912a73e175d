//! The chain of trust: from the root down to a name, cut by cut. What was found at each name is remembered.

use hickory_proto::{
    dnssec::{
        DigestType, Verifier,
        rdata::{DNSSECRData, DS},
    },
    op::ResponseCode,
    rr::{LowerName, Name, RData, RecordType},
};
use lru::LruCache;
use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

use super::{
    Budget, Fetch, Validator, bogus,
    denial::Delegation,
    ede,
    signature::{Key, Rrset, Zone, rrsets, verify},
};
use crate::upstream::{
    Trouble,
    limits::{BOGUS_LIFETIME, MAX_CUT_LIFETIME, MAX_CUTS, MAX_KEYS_PER_ZONE, MIN_CUT_LIFETIME},
};

/// Whether a name is in a signed zone.
pub(super) enum Status {
    /// In this one.
    Secure(Arc<Zone>),
    /// Not, and its parents prove it; or nothing is demanded of it.
    Insecure,
}

/// What is at a name, seen from the zone above.
#[derive(Clone)]
enum Cut {
    /// A signed zone begins.
    Zone(Arc<Zone>),
    /// An unsigned zone begins.
    Unsigned,
    /// No zone begins here; perhaps below.
    None,
    /// The name does not exist, so nothing is below it.
    Absent,
    /// What should be here cannot be believed.
    Bogus {
        trouble: Trouble,
        /// Nor what others say.
        second_look: bool,
    },
}

/// What was found, bounded; the least recently used goes first.
pub(super) struct Cuts(Mutex<LruCache<LowerName, (Instant, Cut)>>);

impl Default for Cuts {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(NonZeroUsize::new(MAX_CUTS).unwrap_or(NonZeroUsize::MIN))))
    }
}

impl Cuts {
    fn get(&self, name: &Name) -> Option<Cut> {
        let mut cuts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, cut) = cuts.get(&LowerName::from(name))?;
        (Instant::now() < *until).then(|| cut.clone())
    }

    fn put(&self, name: &Name, cut: &Cut, lifetime: Duration) {
        let mut cuts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cuts.put(LowerName::from(name), (Instant::now() + lifetime, cut.clone()));
    }
}

impl Validator {
    /// Walks from the root to the zone that holds `name`.
    pub(super) async fn walk(
        &self,
        name: &Name,
        fetch: &impl Fetch,
        budget: &mut Budget,
    ) -> Result<Status, Trouble> {
        if fetch.is_exempt(name) {
            return Ok(Status::Insecure);
        }
        let mut zone = match self.cut(&Name::root(), None, fetch, budget).await? {
            Cut::Zone(zone) => zone,
            Cut::Bogus { trouble, .. } => return Err(trouble),
            Cut::Unsigned | Cut::None | Cut::Absent => return Ok(Status::Insecure),
        };
        for labels in 1..=name.iter().count() {
            match self.cut(&name.trim_to(labels), Some(&zone), fetch, budget).await? {
                Cut::Zone(below) => zone = below,
                Cut::None => {}
                Cut::Absent => break,
                Cut::Unsigned => return Ok(Status::Insecure),
                Cut::Bogus { trouble, .. } => return Err(trouble),
            }
        }
        Ok(Status::Secure(zone))
    }

    async fn cut(
        &self,
        name: &Name,
        parent: Option<&Arc<Zone>>,
        fetch: &impl Fetch,
        budget: &mut Budget,
    ) -> Result<Cut, Trouble> {
        match self.cuts.get(name) {
            Some(Cut::Bogus { second_look: false, .. }) if fetch.is_second_look() => {}
            Some(cut) => return Ok(cut),
            None => {}
        }
        let found = match parent {
            None => self.keys(name, None, fetch, budget).await,
            Some(parent) => self.delegation(name, parent, fetch, budget).await,
        };
        match found {
            Ok((cut, seconds)) => {
                let lifetime = Duration::from_secs(seconds.into()).clamp(MIN_CUT_LIFETIME, MAX_CUT_LIFETIME);
                self.cuts.put(name, &cut, lifetime);
                Ok(cut)
            }
            Err(trouble @ Trouble::Bogus { .. }) => {
                let cut = Cut::Bogus { trouble, second_look: fetch.is_second_look() };
                // Where only the budget of this answer ran out, another may get further.
                if budget.signatures > 0 && budget.hashes > 0 && budget.questions > 0 {
                    self.cuts.put(name, &cut, BOGUS_LIFETIME);
                }
                Ok(cut)
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Asks the zone above whether another begins at `name`.
    async fn delegation(
        &self,
        name: &Name,
        parent: &Zone,
        fetch: &impl Fetch,
        budget: &mut Budget,
    ) -> Result<(Cut, u32), Trouble> {
        spend_question(name, budget)?;
        let answered = fetch.fetch(name, RecordType::DS).await?;
        let answer = &answered.message;
        let code = answer.metadata.response_code;
        if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
            return Err(Trouble::Unreachable(format!("upstreams answer {name} DS with {code}")));
        }
        for set in rrsets(&answer.answers).iter().filter(|set| set.owner == name) {
            match set.kind {
                RecordType::DS => {
                    let lifetime = verify(parent, set, self.now(), budget)?.lifetime.min(ttl(set));
                    let trusted = trusted_digests(set);
                    if trusted.is_empty() {
                        // Of algorithms nobody here knows (RFC 4035 §5.2).
                        return Ok((Cut::Unsigned, lifetime));
                    }
                    let (cut, of_keys) = self.keys(name, Some(&trusted), fetch, budget).await?;
                    return Ok((cut, lifetime.min(of_keys)));
                }
                // An alias is no zone.
                RecordType::CNAME => {
                    let lifetime = verify(parent, set, self.now(), budget)?.lifetime.min(ttl(set));
                    return Ok((Cut::None, lifetime));
                }
                _ => {}
            }
        }
        let denial = self.denial_of(parent, &answer.authorities, budget)?;
        let lifetime = answer.authorities.iter().map(|record| record.ttl).min().unwrap_or(0);
        let cut = match denial.delegation(name, budget) {
            Delegation::Unsigned => Cut::Unsigned,
            Delegation::None => Cut::None,
            Delegation::Absent => Cut::Absent,
            Delegation::Unproven => {
                let cause = format!("{} is signed, and nothing proves that {name} is not", parent.name);
                return Err(bogus(ede::NSEC_MISSING, &parent.name, cause));
            }
        };
        Ok((cut, lifetime))
    }

    /// The keys of a zone, trusted by the digests in the zone above, or as those of the root.
    async fn keys(
        &self,
        name: &Name,
        digests: Option<&[&DS]>,
        fetch: &impl Fetch,
        budget: &mut Budget,
    ) -> Result<(Cut, u32), Trouble> {
        spend_question(name, budget)?;
        let answered = fetch.fetch(name, RecordType::DNSKEY).await?;
        let answer = &answered.message;
        let code = answer.metadata.response_code;
        if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
            return Err(Trouble::Unreachable(format!("upstreams answer {name} DNSKEY with {code}")));
        }
        let sets = rrsets(&answer.answers);
        let set = sets
            .iter()
            .find(|set| set.kind == RecordType::DNSKEY && set.owner == name)
            .ok_or_else(|| bogus(ede::DNSKEY_MISSING, name, format!("{name} is signed, but has no keys")))?;
        if set.records.len() > MAX_KEYS_PER_ZONE {
            return Err(bogus(ede::BOGUS, name, format!("{name} has more than {MAX_KEYS_PER_ZONE} keys")));
        }
        let all = set.records.iter().filter_map(|record| match &record.data {
            RData::DNSSEC(DNSSECRData::DNSKEY(key)) if key.zone_key() && !key.revoke() => {
                Some(Key { tag: key.calculate_key_tag().ok()?, key: key.clone() })
            }
            _ => None,
        });
        let (trusted, others): (Vec<Key>, Vec<Key>) = all.partition(|key| match digests {
            Some(digests) => digests.iter().any(|digest| is_meant(digest, name, key)),
            None => self.anchors.contains_with_name(key.key.public_key(), &LowerName::from(name)),
        });
        if trusted.is_empty() {
            let cause = format!("no key of {name} is one that the zone above vouches for");
            return Err(bogus(ede::DNSKEY_MISSING, name, cause));
        }
        let mut zone = Zone { name: name.to_lowercase(), keys: trusted };
        let lifetime = verify(&zone, set, self.now(), budget)?.lifetime.min(ttl(set));
        zone.keys.extend(others);
        Ok((Cut::Zone(Arc::new(zone)), lifetime))
    }
}

fn spend_question(name: &Name, budget: &mut Budget) -> Result<(), Trouble> {
    match budget.questions.checked_sub(1) {
        Some(left) => {
            budget.questions = left;
            Ok(())
        }
        None => Err(bogus(ede::BOGUS, name, format!("the chain of trust to {name} is too long"))),
    }
}

/// The digests that can be checked; without those of SHA-1 where there are better ones (RFC 4509 §3).
fn trusted_digests<'a>(set: &Rrset<'a>) -> Vec<&'a DS> {
    let mut digests: Vec<&DS> = set
        .records
        .iter()
        .filter_map(|record| match &record.data {
            RData::DNSSEC(DNSSECRData::DS(digest))
                if digest.algorithm().is_supported() && digest.digest_type().is_supported() =>
            {
                Some(digest)
            }
            _ => None,
        })
        .take(MAX_KEYS_PER_ZONE)
        .collect();
    if digests.iter().any(|digest| digest.digest_type() != DigestType::SHA1) {
        digests.retain(|digest| digest.digest_type() != DigestType::SHA1);
    }
    digests
}

fn is_meant(digest: &DS, name: &Name, Key { tag, key }: &Key) -> bool {
    digest.key_tag() == *tag
        && digest.algorithm() == key.algorithm()
        && digest.covers(name, key).unwrap_or(false)
}

fn ttl(set: &Rrset<'_>) -> u32 {
    set.records.iter().map(|record| record.ttl).min().unwrap_or(0)
}
