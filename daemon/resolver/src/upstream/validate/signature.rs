//! RRsets and their signatures. Pure: bytes, keys and a time go in.

use hickory_proto::{
    dnssec::{
        Verifier,
        rdata::{DNSKEY, DNSSECRData, RRSIG},
    },
    rr::{DNSClass, Name, RData, Record, RecordType, SerialNumber},
};
use std::{borrow::Cow, cmp::Reverse};

use super::{Budget, bogus, ede};
use crate::upstream::{
    Trouble,
    limits::{MAX_SIGNATURES_READ, MAX_VALIDATIONS_PER_RRSET},
};

/// A zone whose keys are trusted.
#[derive(Debug)]
pub(crate) struct Zone {
    pub(crate) name: Name,
    pub(crate) keys: Vec<Key>,
}

/// A key with its tag (RFC 4034 appendix B), which need not be its only one.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) tag: u16,
    pub(crate) key: DNSKEY,
}

/// Records of one name and type with the signatures over them.
#[derive(Debug)]
pub(crate) struct Rrset<'a> {
    pub(crate) owner: &'a Name,
    pub(crate) kind: RecordType,
    pub(crate) records: Vec<&'a Record>,
    signatures: Vec<&'a RRSIG>,
}

/// What a good signature says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verified {
    /// Labels of the wildcard's parent, if the records were made from a wildcard.
    pub(crate) wildcard: Option<usize>,
    /// Seconds that the records may be kept (RFC 4035 §5.3.3).
    pub(crate) lifetime: u32,
}

/// Whether a record is of a type, or signs it.
pub(crate) fn is_part(record: &Record, kind: RecordType) -> bool {
    match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(signature)) => signature.input().type_covered == kind,
        data => data.record_type() == kind,
    }
}

/// Groups records; in the order of their first ones.
pub(crate) fn rrsets(records: &[Record]) -> Vec<Rrset<'_>> {
    let mut sets: Vec<Rrset<'_>> = Vec::new();
    for record in records.iter().filter(|record| record.record_type() != RecordType::RRSIG) {
        let kind = record.record_type();
        match sets.iter_mut().find(|set| set.kind == kind && *set.owner == record.name) {
            // A record twice is a record once (RFC 2181 §5).
            Some(set) if set.records.iter().any(|known| known.data == record.data) => {}
            Some(set) => set.records.push(record),
            None => {
                sets.push(Rrset { owner: &record.name, kind, records: vec![record], signatures: Vec::new() });
            }
        }
    }
    for record in records {
        if let RData::DNSSEC(DNSSECRData::RRSIG(signature)) = &record.data
            && let Some(set) = sets
                .iter_mut()
                .find(|set| set.kind == signature.input().type_covered && *set.owner == record.name)
            && set.signatures.len() < MAX_SIGNATURES_READ
        {
            set.signatures.push(signature);
        }
    }
    sets
}

impl Rrset<'_> {
    /// A name in the zone that holds the set: that of a DS is above its owner.
    pub(crate) fn zone_side(&self) -> Name {
        if self.kind == RecordType::DS { self.owner.base_name() } else { self.owner.clone() }
    }

    /// The zone that claims to have signed the set: the nearest of those that could have.
    pub(crate) fn signer(&self) -> Option<&Name> {
        let side = self.zone_side();
        self.signatures
            .iter()
            .map(|signature| &signature.input().signer_name)
            .filter(|signer| signer.zone_of(&side))
            .max_by_key(|signer| signer.iter().count())
    }
}

/// Verifies a set with the keys of its zone. One good signature is enough (RFC 4035 §5.3.3); at most
/// [`MAX_VALIDATIONS_PER_RRSET`] pairs of key and signature are tried, however many fit.
pub(crate) fn verify(
    zone: &Zone,
    set: &Rrset<'_>,
    now: Option<u32>,
    budget: &mut Budget,
) -> Result<Verified, Trouble> {
    let labels = label_count(set.owner);
    let told = format!("{} {}", set.owner, set.kind);
    let mut candidates: Vec<&RRSIG> = set
        .signatures
        .iter()
        .copied()
        .filter(|signature| {
            let input = signature.input();
            input.signer_name == zone.name
                && usize::from(input.num_labels) <= labels
                && input.algorithm.is_supported()
        })
        .collect();
    if candidates.is_empty() {
        let cause = format!("{told} has no signature of {} that can be checked", zone.name);
        return Err(bogus(ede::RRSIGS_MISSING, &zone.name, cause));
    }
    // What came through caches may have other lifetimes; the canonical order must not depend on them.
    let records: Vec<Cow<'_, Record>> = set
        .records
        .iter()
        .map(|&record| match set.records.first() {
            Some(first) if first.ttl != record.ttl => {
                let mut record = record.clone();
                record.ttl = first.ttl;
                Cow::Owned(record)
            }
            _ => Cow::Borrowed(record),
        })
        .collect();
    // The one that is good for longest first.
    candidates.sort_by_key(|signature| Reverse(signature.input().sig_expiration.get()));
    let mut dated = None;
    let mut tried = 0;
    let mut in_date = false;
    for signature in candidates {
        let input = signature.input();
        if let Some(now) = now.map(SerialNumber::new) {
            if now > input.sig_expiration {
                dated = dated.or(Some((ede::EXPIRED, "expired on", input.sig_expiration)));
                continue;
            }
            if now < input.sig_inception {
                dated = dated.or(Some((ede::NOT_YET_VALID, "is not valid before", input.sig_inception)));
                continue;
            }
        }
        in_date = true;
        for Key { key, .. } in
            zone.keys.iter().filter(|key| key.tag == input.key_tag && key.key.algorithm() == input.algorithm)
        {
            if tried == MAX_VALIDATIONS_PER_RRSET || budget.signatures == 0 {
                let cause = format!("{told} has more signatures and keys than a good zone needs");
                return Err(bogus(ede::BOGUS, &zone.name, cause));
            }
            tried += 1;
            budget.signatures -= 1;
            if key.verify_rrsig(set.owner, DNSClass::IN, signature, records.iter().map(AsRef::as_ref)).is_ok()
            {
                let signed = usize::from(input.num_labels);
                let left = now.map_or(u32::MAX, |now| input.sig_expiration.get().wrapping_sub(now));
                let wildcard = (signed < labels).then_some(signed);
                return Ok(Verified { wildcard, lifetime: input.original_ttl.min(left) });
            }
        }
    }
    Err(match dated {
        Some((code, what, when)) if !in_date => {
            bogus(code, &zone.name, format!("the signature of {told} {what} {}", date(when.get(), now)))
        }
        _ if tried == 0 => {
            bogus(ede::BOGUS, &zone.name, format!("no key of {} has made the signature of {told}", zone.name))
        }
        _ => bogus(ede::BOGUS, &zone.name, format!("the signature of {told} is not good")),
    })
}

/// Labels as signatures count them: without the root, and without the asterisk of a wildcard (RFC 4034 §3.1.3).
pub(crate) fn label_count(name: &Name) -> usize {
    name.iter().count() - usize::from(name.iter().next() == Some(b"*"))
}

/// A date of a signature, near `now`.
fn date(serial: u32, now: Option<u32>) -> String {
    let now = now.unwrap_or(serial);
    // Serials wrap every 136 years; the nearest is meant.
    let distance = i64::from(serial.wrapping_sub(now).cast_signed());
    let seconds = i64::from(now) + distance;
    match jiff::Timestamp::from_second(seconds) {
        Ok(date) => date.to_string(),
        Err(_) => format!("second {serial}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::{
        dnssec::{Algorithm, SigningKey, TBS, crypto::Ed25519SigningKey, rdata::SigInput},
        rr::rdata::A,
    };

    const NOW: u32 = 1_800_000_000;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn zone(name_of_zone: &str) -> (Ed25519SigningKey, Zone) {
        let signer = Ed25519SigningKey::from_pkcs8(&Ed25519SigningKey::generate_pkcs8().unwrap()).unwrap();
        let key = DNSKEY::from_key(&signer.to_public_key().unwrap());
        let key = Key { tag: key.calculate_key_tag().unwrap(), key };
        (signer, Zone { name: name(name_of_zone), keys: vec![key] })
    }

    fn record(owner: &str, last: u8) -> Record {
        Record::from_rdata(name(owner), 300, RData::A(A::new(192, 0, 2, last)))
    }

    fn input(zone: &Zone, labels: u8, days: (i32, i32)) -> SigInput {
        let date = |days: i32| SerialNumber::new(NOW.wrapping_add_signed(days * 86_400));
        SigInput {
            type_covered: RecordType::A,
            algorithm: Algorithm::ED25519,
            num_labels: labels,
            original_ttl: 300,
            sig_expiration: date(days.1),
            sig_inception: date(days.0),
            key_tag: zone.keys[0].tag,
            signer_name: zone.name.clone(),
        }
    }

    fn signed(signer: &Ed25519SigningKey, input: SigInput, records: &[Record]) -> Record {
        let tbs = TBS::from_input(&records[0].name, DNSClass::IN, &input, records.iter()).unwrap();
        signature(&records[0].name, input, signer.sign(&tbs).unwrap())
    }

    fn signature(owner: &Name, input: SigInput, bytes: Vec<u8>) -> Record {
        let signature = RRSIG::from_sig(input, bytes);
        Record::from_rdata(owner.clone(), 300, RData::DNSSEC(DNSSECRData::RRSIG(signature)))
    }

    fn judged(zone: &Zone, records: &[Record], now: Option<u32>) -> Result<Verified, u16> {
        verify(zone, &rrsets(records)[0], now, &mut Budget::default()).map_err(|trouble| match trouble {
            Trouble::Bogus { ede, anchor, .. } => {
                assert_eq!(anchor, zone.name);
                ede
            }
            other => panic!("{other}"),
        })
    }

    #[test]
    fn signatures_are_good_in_their_time_for_their_records() {
        let (signer, zone) = zone("example.");
        let set = [record("www.example.", 1), record("www.example.", 2)];
        let good = signed(&signer, input(&zone, 2, (-1, 1)), &set);
        let with = |signature: &Record| [&set[..], std::slice::from_ref(signature)].concat();
        assert_eq!(judged(&zone, &with(&good), Some(NOW)), Ok(Verified { wildcard: None, lifetime: 300 }));
        assert_eq!(judged(&zone, &set, Some(NOW)), Err(ede::RRSIGS_MISSING));
        let mut other_order = with(&good);
        other_order.swap(0, 1);
        other_order[0].ttl = 7;
        other_order.push(other_order[0].clone());
        assert!(judged(&zone, &other_order, Some(NOW)).is_ok(), "order, lifetime, twice the same");
        let mut changed = with(&good);
        changed[0] = record("www.example.", 66);
        assert_eq!(judged(&zone, &changed, Some(NOW)), Err(ede::BOGUS));
        let old = signed(&signer, input(&zone, 2, (-9, -1)), &set);
        assert_eq!(judged(&zone, &with(&old), Some(NOW)), Err(ede::EXPIRED));
        let early = signed(&signer, input(&zone, 2, (1, 9)), &set);
        assert_eq!(judged(&zone, &with(&early), Some(NOW)), Err(ede::NOT_YET_VALID));
        for undated in [&old, &early] {
            assert!(judged(&zone, &with(undated), None).is_ok(), "the clock is not set");
        }
        let both = [&with(&old)[..], std::slice::from_ref(&good)].concat();
        assert!(judged(&zone, &both, Some(NOW)).is_ok(), "one good one is enough");
        let ending = signed(
            &signer,
            SigInput { sig_expiration: SerialNumber::new(NOW + 9), ..input(&zone, 2, (-1, 1)) },
            &set,
        );
        assert_eq!(judged(&zone, &with(&ending), Some(NOW)).map(|verified| verified.lifetime), Ok(9));
    }

    #[test]
    fn dates_go_on_after_the_serial_wraps() {
        let (signer, zone) = zone("example.");
        let set = [record("www.example.", 1)];
        let late = u32::MAX - 10;
        let wrapped = SigInput {
            sig_inception: SerialNumber::new(late - 10),
            sig_expiration: SerialNumber::new(late.wrapping_add(100)),
            ..input(&zone, 2, (0, 0))
        };
        let records = [&set[..], &[signed(&signer, wrapped, &set)]].concat();
        assert_eq!(judged(&zone, &records, Some(late)).map(|verified| verified.lifetime), Ok(100));
        assert!(judged(&zone, &records, Some(late.wrapping_add(50))).is_ok());
        assert_eq!(judged(&zone, &records, Some(late.wrapping_add(101))), Err(ede::EXPIRED));
    }

    #[test]
    fn a_wildcard_is_told() {
        let (signer, zone) = zone("example.");
        let set = [record("a.b.wild.example.", 1)];
        let records = [&set[..], &[signed(&signer, input(&zone, 2, (-1, 1)), &set)]].concat();
        assert_eq!(judged(&zone, &records, Some(NOW)).map(|verified| verified.wildcard), Ok(Some(2)));
        let star = [record("*.wild.example.", 1)];
        let records = [&star[..], &[signed(&signer, input(&zone, 2, (-1, 1)), &star)]].concat();
        assert_eq!(
            judged(&zone, &records, Some(NOW)).map(|verified| verified.wildcard),
            Ok(None),
            "asked for itself"
        );
    }

    #[test]
    fn another_zone_cannot_sign() {
        let (signer, mut zone) = zone("other.example.");
        let set = [record("www.example.", 1)];
        let records = [&set[..], &[signed(&signer, input(&zone, 2, (-1, 1)), &set)]].concat();
        assert_eq!(rrsets(&records)[0].signer(), None, "not above the name");
        zone.name = name("example.");
        assert_eq!(judged(&zone, &records, Some(NOW)), Err(ede::RRSIGS_MISSING));
    }

    #[test]
    fn many_keys_and_signatures_cost_eight_validations() {
        let (_, mut zone) = zone("example.");
        let (tag, key) = (zone.keys[0].tag, zone.keys[0].key.clone());
        zone.keys = (0..16).map(|_| Key { tag, key: key.clone() }).collect();
        let mut records = vec![record("www.example.", 1)];
        for number in 0..500_u16 {
            let junk = number.to_be_bytes().repeat(32);
            records.push(signature(&name("www.example."), input(&zone, 2, (-1, 1)), junk));
        }
        let mut budget = Budget::default();
        let before = budget.signatures;
        assert!(verify(&zone, &rrsets(&records)[0], Some(NOW), &mut budget).is_err());
        assert_eq!(before - budget.signatures, MAX_VALIDATIONS_PER_RRSET);
        assert_eq!(rrsets(&records)[0].signatures.len(), MAX_SIGNATURES_READ);
        // And all sets of an answer together no more than its budget.
        for _ in 0..50 {
            assert!(verify(&zone, &rrsets(&records)[0], Some(NOW), &mut budget).is_err());
        }
        assert_eq!(budget.signatures, 0);
    }

    #[test]
    fn dates_are_told() {
        assert_eq!(date(NOW, Some(NOW)), "2027-01-15T08:00:00Z");
        assert_eq!(date(NOW, None), "2027-01-15T08:00:00Z");
    }
}
