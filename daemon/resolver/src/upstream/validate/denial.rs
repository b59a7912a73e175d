//! Proofs that something is not there, from NSEC (RFC 4035 §5.4) and NSEC3 records (RFC 5155 §8) that are already
//! verified. Pure.

use data_encoding::BASE32HEX_NOPAD;
use hickory_proto::{
    dnssec::rdata::{DNSSECRData, NSEC, NSEC3},
    rr::{Name, RData, RecordType, RecordTypeSet},
};

use super::{Budget, signature::Rrset};
use crate::upstream::limits::MAX_NSEC3_ITERATIONS;

/// What a zone says is not there.
pub(super) struct Denial<'a> {
    zone: Name,
    plain: Vec<(&'a Name, &'a NSEC)>,
    hashed: Vec<Hashed<'a>>,
    /// A record asks for more hashing than anyone needs: what it proves is not looked at (RFC 9276 §3.2).
    too_many_iterations: bool,
}

struct Hashed<'a> {
    owner: Vec<u8>,
    record: &'a NSEC3,
}

/// Whether absence is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// It is.
    Secure,
    /// It cannot be, and the zone says so itself: it leaves unsigned delegations out (opt-out), or hashes too often.
    Insecure,
    /// It is not.
    Missing,
}

/// What is known of a name in the zone above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delegation {
    /// An unsigned zone begins, or may.
    Unsigned,
    /// The name is there, no zone begins.
    None,
    /// The name is not there.
    Absent,
    /// Nothing is proven.
    Unproven,
}

/// What is known of a name by its closest encloser (RFC 5155 §8.3).
struct Encloser {
    name: Name,
    /// The record that shows that the name below it does not exist leaves unsigned delegations out.
    opt_out: bool,
}

impl<'a> Denial<'a> {
    pub(super) fn new(zone: &Name) -> Self {
        Self { zone: zone.clone(), plain: Vec::new(), hashed: Vec::new(), too_many_iterations: false }
    }

    /// Takes a verified set of the zone.
    pub(super) fn add(&mut self, set: &Rrset<'a>) {
        for record in &set.records {
            match &record.data {
                RData::DNSSEC(DNSSECRData::NSEC(nsec)) if self.zone.zone_of(&record.name) => {
                    self.plain.push((&record.name, nsec));
                }
                RData::DNSSEC(DNSSECRData::NSEC3(nsec3)) if record.name.base_name() == self.zone => {
                    if nsec3.iterations() > MAX_NSEC3_ITERATIONS {
                        self.too_many_iterations = true;
                        continue;
                    }
                    let owner = record.name.iter().next().unwrap_or_default().to_ascii_uppercase();
                    let Ok(owner) = BASE32HEX_NOPAD.decode(&owner) else { continue };
                    // One chain at a time: another has other parameters (RFC 5155 §8.2).
                    let same = self.hashed.first().is_none_or(|first| {
                        first.record.salt() == nsec3.salt() && first.record.iterations() == nsec3.iterations()
                    });
                    if same {
                        self.hashed.push(Hashed { owner, record: nsec3 });
                    }
                }
                _ => {}
            }
        }
    }

    /// The name does not exist, nor a wildcard for it.
    pub(super) fn no_name(&self, name: &Name, budget: &mut Budget) -> Proof {
        if let Some(nsec) = self.covering(name) {
            let encloser = self.encloser(name, nsec);
            let wildcard_absent =
                encloser.prepend_label("*").is_ok_and(|wildcard| self.covering(&wildcard).is_some());
            if !is_above(name, nsec.1.next_domain_name()) && wildcard_absent {
                return Proof::Secure;
            }
        }
        if self.too_many_iterations {
            return Proof::Insecure;
        }
        let Some(encloser) = self.closest_encloser(name, budget) else { return Proof::Missing };
        let wildcard_absent = encloser.name.prepend_label("*").ok().and_then(|name| self.hash(&name, budget));
        match wildcard_absent.and_then(|hash| self.hashed_covering(&hash)) {
            Some(_) if encloser.opt_out => Proof::Insecure,
            Some(_) => Proof::Secure,
            None => Proof::Missing,
        }
    }

    /// The name has no records of the type, nor has a wildcard for it.
    pub(super) fn no_data(&self, name: &Name, qtype: RecordType, budget: &mut Budget) -> Proof {
        // Nothing is above the root that could know its DS.
        let above = qtype == RecordType::DS && !name.is_root();
        let lacks = |types: &RecordTypeSet| lacks(types, qtype, above);
        if let Some((_, nsec)) = self.plain.iter().find(|(owner, _)| *owner == name) {
            return if lacks(nsec.type_set()) { Proof::Secure } else { Proof::Missing };
        }
        if let Some(nsec) = self.covering(name) {
            // It is there because something below it is.
            if is_above(name, nsec.1.next_domain_name()) {
                return Proof::Secure;
            }
            let wildcard = self.encloser(name, nsec).prepend_label("*");
            if let Ok(wildcard) = wildcard
                && let Some((_, nsec)) = self.plain.iter().find(|(owner, _)| **owner == wildcard)
                && lacks(nsec.type_set())
            {
                return Proof::Secure;
            }
        }
        if self.too_many_iterations {
            return Proof::Insecure;
        }
        let Some(hash) = self.hash(name, budget) else { return Proof::Missing };
        if let Some(nsec3) = self.hashed_matching(&hash) {
            return if lacks(nsec3.type_set()) { Proof::Secure } else { Proof::Missing };
        }
        let Some(encloser) = self.closest_encloser(name, budget) else { return Proof::Missing };
        if encloser.opt_out {
            return Proof::Insecure;
        }
        let wildcard = encloser.name.prepend_label("*").ok().and_then(|name| self.hash(&name, budget));
        match wildcard.and_then(|hash| self.hashed_matching(&hash)) {
            Some(nsec3) if lacks(nsec3.type_set()) => Proof::Secure,
            Some(_) | None => Proof::Missing,
        }
    }

    /// The name itself does not exist, so that the wildcard with this many labels behind the asterisk fits.
    pub(super) fn wildcard(&self, name: &Name, labels: usize, budget: &mut Budget) -> Proof {
        if let Some(nsec) = self.covering(name)
            && !is_above(name, nsec.1.next_domain_name())
            && self.encloser(name, nsec).iter().count() == labels
        {
            return Proof::Secure;
        }
        if self.too_many_iterations {
            return Proof::Insecure;
        }
        match self.hash(&name.trim_to(labels + 1), budget).and_then(|hash| self.hashed_covering(&hash)) {
            Some(nsec3) if nsec3.opt_out() => Proof::Insecure,
            Some(_) => Proof::Secure,
            None => Proof::Missing,
        }
    }

    /// Whether another zone begins at a name that has no DS.
    pub(super) fn delegation(&self, name: &Name, budget: &mut Budget) -> Delegation {
        if let Some((_, nsec)) = self.plain.iter().find(|(owner, _)| *owner == name) {
            return delegation(nsec.type_set());
        }
        if let Some(nsec) = self.covering(name) {
            return if is_above(name, nsec.1.next_domain_name()) {
                Delegation::None
            } else {
                Delegation::Absent
            };
        }
        if self.too_many_iterations {
            return Delegation::Unsigned;
        }
        let Some(hash) = self.hash(name, budget) else { return Delegation::Unproven };
        if let Some(nsec3) = self.hashed_matching(&hash) {
            return delegation(nsec3.type_set());
        }
        match self.closest_encloser(name, budget) {
            Some(encloser) if encloser.opt_out => Delegation::Unsigned,
            Some(_) => Delegation::Absent,
            None => Delegation::Unproven,
        }
    }

    /// The record between whose names a name would be.
    fn covering(&self, name: &Name) -> Option<(&'a Name, &'a NSEC)> {
        self.plain.iter().copied().find(|(owner, nsec)| {
            let next = nsec.next_domain_name();
            // What is below a delegation or a DNAME is not this zone's to deny (RFC 6840 §4.1).
            let elsewhere = is_above(owner, name) && leads_away(nsec.type_set());
            let last = next <= *owner;
            self.zone.zone_of(name) && !elsewhere && name > *owner && (name < next || last)
        })
    }

    /// The longest name above `name` that exists: both names of the record that covers it do.
    fn encloser(&self, name: &Name, (owner, nsec): (&Name, &NSEC)) -> Name {
        let common = |other: &Name| {
            name.iter().rev().zip(other.iter().rev()).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count()
        };
        let labels = common(owner).max(common(nsec.next_domain_name())).max(self.zone.iter().count());
        name.trim_to(labels)
    }

    fn closest_encloser(&self, name: &Name, budget: &mut Budget) -> Option<Encloser> {
        let mut closer = self.hash(name, budget)?;
        let mut labels = name.iter().count();
        while labels > self.zone.iter().count() {
            labels -= 1;
            let candidate = name.trim_to(labels);
            let hash = self.hash(&candidate, budget)?;
            if let Some(nsec3) = self.hashed_matching(&hash) {
                if leads_away(nsec3.type_set()) {
                    return None;
                }
                let opt_out = self.hashed_covering(&closer)?.opt_out();
                return Some(Encloser { name: candidate, opt_out });
            }
            closer = hash;
        }
        None
    }

    fn hash(&self, name: &Name, budget: &mut Budget) -> Option<Vec<u8>> {
        let first = self.hashed.first()?.record;
        budget.hashes = budget.hashes.checked_sub(1)?;
        let hash = first.hash_algorithm().hash(first.salt(), name, first.iterations()).ok()?;
        Some(hash.as_ref().to_vec())
    }

    fn hashed_matching(&self, hash: &[u8]) -> Option<&'a NSEC3> {
        self.hashed.iter().find(|hashed| hashed.owner == hash).map(|hashed| hashed.record)
    }

    fn hashed_covering(&self, hash: &[u8]) -> Option<&'a NSEC3> {
        let covers = |hashed: &&Hashed<'_>| {
            let (owner, next) = (hashed.owner.as_slice(), hashed.record.next_hashed_owner_name());
            if owner < next { owner < hash && hash < next } else { hash > owner || hash < next }
        };
        self.hashed.iter().find(covers).map(|hashed| hashed.record)
    }
}

fn is_above(name: &Name, other: &Name) -> bool {
    name != other && name.zone_of(other)
}

/// What is below a name with these types is not in the zone.
fn leads_away(types: &RecordTypeSet) -> bool {
    types.contains(RecordType::DNAME) || types.contains(RecordType::NS) && !types.contains(RecordType::SOA)
}

/// Whether a name with these types has none of the type asked for, and the record is of the side of the zone cut that
/// knows (RFC 6840 §4.1, RFC 5155 §8.6): `above` it or not.
fn lacks(types: &RecordTypeSet, qtype: RecordType, above: bool) -> bool {
    let delegates = types.contains(RecordType::NS) && !types.contains(RecordType::SOA);
    let right_side = if above { !types.contains(RecordType::SOA) } else { !delegates };
    right_side && !types.contains(qtype) && !types.contains(RecordType::CNAME)
}

fn delegation(types: &RecordTypeSet) -> Delegation {
    let has = |kind| types.contains(kind);
    match (has(RecordType::NS), has(RecordType::SOA) || has(RecordType::DS)) {
        (_, true) => Delegation::Unproven,
        (true, false) => Delegation::Unsigned,
        (false, false) => Delegation::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{limits::MAX_NSEC3_HASHES, validate::signature::rrsets};
    use hickory_proto::{dnssec::Nsec3HashAlgorithm, rr::Record};

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn nsec(owner: &str, next: &str, types: &[RecordType]) -> Record {
        let nsec = NSEC::new(name(next), types.iter().copied());
        Record::from_rdata(name(owner), 60, RData::DNSSEC(DNSSECRData::NSEC(nsec)))
    }

    fn nsec3(
        owner_of: &str,
        zone: &str,
        next: [u8; 20],
        iterations: u16,
        opt_out: bool,
        types: &[RecordType],
    ) -> Record {
        let salt = vec![1, 2];
        let hash = Nsec3HashAlgorithm::SHA1.hash(&salt, &name(owner_of), iterations).unwrap();
        let label = BASE32HEX_NOPAD.encode(hash.as_ref()).to_ascii_lowercase();
        let owner = name(zone).prepend_label(label).unwrap();
        let data = NSEC3::new(
            Nsec3HashAlgorithm::SHA1,
            opt_out,
            iterations,
            salt,
            next.to_vec(),
            types.iter().copied(),
        );
        Record::from_rdata(owner, 60, RData::DNSSEC(DNSSECRData::NSEC3(data)))
    }

    fn hash_of(text: &str, iterations: u16) -> [u8; 20] {
        Nsec3HashAlgorithm::SHA1.hash(&[1, 2], &name(text), iterations).unwrap().as_ref().try_into().unwrap()
    }

    fn denial<'a>(zone: &str, records: &'a [Record]) -> Denial<'a> {
        let mut denial = Denial::new(&name(zone));
        rrsets(records).iter().for_each(|set| denial.add(set));
        denial
    }

    use RecordType as T;

    #[test]
    fn a_zone_of_four_names() {
        // The apex, a delegation, a DNAME, a wildcard.
        let records = [
            nsec("example.", "cut.example.", &[T::SOA, T::NS, T::DNSKEY]),
            nsec("cut.example.", "moved.example.", &[T::NS]),
            nsec("moved.example.", "*.w.example.", &[T::DNAME]),
            nsec("*.w.example.", "example.", &[T::A]),
        ];
        let denial = denial("example.", &records);
        let budget = &mut Budget::default();
        let mut no_name = |text: &str| denial.no_name(&name(text), budget);
        assert_eq!(no_name("zzz.example."), Proof::Secure);
        assert_eq!(no_name("a.example."), Proof::Secure);
        assert_eq!(no_name("w.example."), Proof::Missing, "is there: *.w is below it");
        assert_eq!(no_name("x.w.example."), Proof::Missing, "the wildcard fits");
        assert_eq!(no_name("x.cut.example."), Proof::Missing, "of another zone");
        assert_eq!(no_name("x.moved.example."), Proof::Missing, "is elsewhere");
        assert_eq!(no_name("www.other."), Proof::Missing, "not in the zone");
        let budget = &mut Budget::default();
        let mut no_data = |text: &str, kind| denial.no_data(&name(text), kind, budget);
        assert_eq!(no_data("example.", T::A), Proof::Secure);
        assert_eq!(no_data("example.", T::SOA), Proof::Missing);
        assert_eq!(no_data("w.example.", T::A), Proof::Secure, "an empty name between");
        assert_eq!(no_data("x.w.example.", T::TXT), Proof::Secure, "the wildcard has none");
        assert_eq!(no_data("x.w.example.", T::A), Proof::Missing);
        assert_eq!(no_data("cut.example.", T::DS), Proof::Secure);
        assert_eq!(no_data("cut.example.", T::A), Proof::Missing, "for the zone below to say");
        assert_eq!(no_data("example.", T::DS), Proof::Missing, "for the zone above to say");
        let budget = &mut Budget::default();
        let mut cut = |text: &str| denial.delegation(&name(text), budget);
        assert_eq!(cut("cut.example."), Delegation::Unsigned);
        assert_eq!(cut("moved.example."), Delegation::None);
        assert_eq!(cut("w.example."), Delegation::None);
        assert_eq!(cut("nothing.example."), Delegation::Absent);
        assert_eq!(cut("example."), Delegation::Unproven);
        let budget = &mut Budget::default();
        assert_eq!(denial.wildcard(&name("x.w.example."), 2, budget), Proof::Secure);
        assert_eq!(
            denial.wildcard(&name("x.w.example."), 1, budget),
            Proof::Missing,
            "there is a closer one"
        );
    }

    #[test]
    fn hashes_prove_the_same() {
        // One record that covers everything but the apex, which is what it is for.
        let apex = hash_of("example.", 3);
        let records = [nsec3("example.", "example.", apex, 3, false, &[T::SOA, T::NS])];
        let whole = denial("example.", &records);
        let budget = &mut Budget::default();
        assert_eq!(whole.no_name(&name("a.b.example."), budget), Proof::Secure);
        assert_eq!(whole.no_name(&name("www.other."), budget), Proof::Missing);
        assert_eq!(whole.no_data(&name("example."), T::A, budget), Proof::Secure);
        assert_eq!(whole.no_data(&name("example."), T::SOA, budget), Proof::Missing);
        assert_eq!(whole.no_data(&name("www.example."), T::A, budget), Proof::Missing);
        assert_eq!(whole.delegation(&name("www.example."), budget), Delegation::Absent);
        assert_eq!(whole.wildcard(&name("x.example."), 1, budget), Proof::Secure);
        let records = [nsec3("example.", "example.", apex, 3, true, &[T::SOA, T::NS])];
        let opted = denial("example.", &records);
        assert_eq!(opted.no_name(&name("a.b.example."), budget), Proof::Insecure);
        assert_eq!(opted.delegation(&name("www.example."), budget), Delegation::Unsigned);
        let records = [
            nsec3("example.", "example.", apex, 3, false, &[T::SOA, T::NS]),
            nsec3("cut.example.", "example.", apex, 3, false, &[T::NS]),
        ];
        let cut = denial("example.", &records);
        assert_eq!(cut.delegation(&name("cut.example."), budget), Delegation::Unsigned);
        assert_eq!(cut.no_name(&name("x.cut.example."), budget), Proof::Missing, "of another zone");
        let foreign = [nsec3("example.", "other.", apex, 3, false, &[T::SOA])];
        assert_eq!(denial("example.", &foreign).no_name(&name("a.example."), budget), Proof::Missing);
    }

    #[test]
    fn iterations_and_hashes_are_bounded() {
        let most = MAX_NSEC3_ITERATIONS;
        for (iterations, hashed) in [(most, true), (most + 1, false), (u16::MAX, false)] {
            let records = [nsec3(
                "example.",
                "example.",
                hash_of("example.", iterations),
                iterations,
                false,
                &[T::SOA],
            )];
            let denial = denial("example.", &records);
            let mut budget = Budget::default();
            let proof = denial.no_name(&name("www.example."), &mut budget);
            assert_eq!(proof, if hashed { Proof::Secure } else { Proof::Insecure });
            assert_eq!(budget.hashes < MAX_NSEC3_HASHES, hashed, "{iterations}: nothing is hashed in vain");
        }
        // As many labels as fit, none of which is there.
        let records = [
            nsec3("example.", "other.", [0; 20], most, false, &[T::SOA]),
            nsec3("x.", "example.", [0; 20], most, false, &[T::A]),
        ];
        let denial = denial("example.", &records);
        let long = name(&("a.".repeat(120) + "example."));
        let mut budget = Budget::default();
        assert_eq!(denial.no_data(&long, T::A, &mut budget), Proof::Missing);
        assert_eq!(budget.hashes, 0);
    }
}
