//! Patterns of names that rules name: one name, or all below one. Each has a bit in the kernel's table, and keeps it from
//! one config to the next.

use abi::image::MAX_PATTERNS;

/// The patterns by their bits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns(Vec<Option<Box<str>>>);

impl Patterns {
    /// As they were kept; what is beyond the last bit is left out.
    #[must_use]
    pub fn kept(patterns: Vec<Option<String>>) -> Self {
        Self(patterns.into_iter().take(MAX_PATTERNS as usize).map(|text| text.map(Into::into)).collect())
    }

    /// As they are kept.
    #[must_use]
    pub fn to_keep(&self) -> Vec<Option<String>> {
        self.0.iter().map(|text| text.as_ref().map(ToString::to_string)).collect()
    }

    /// The bits of the patterns that hold a name.
    #[must_use]
    pub fn of(&self, name: &str) -> u64 {
        let held = |text: &Option<Box<str>>| text.as_ref().is_some_and(|text| holds(text, name));
        self.0.iter().zip(0..).filter(|(text, _)| held(text)).fold(0, |bits, (_, bit)| bits | 1 << bit)
    }

    /// Gives each of `wanted` a bit: those that have one keep it, the others get one that none of `in_force` has. Returns
    /// the bits that mean something else than before. `None`: there are not enough.
    pub fn assign(&mut self, wanted: &[&str], in_force: &[&str]) -> Option<u64> {
        let mut slots = self.0.clone();
        slots.resize(MAX_PATTERNS as usize, None);
        for slot in &mut slots {
            if slot.as_deref().is_some_and(|text| !wanted.contains(&text) && !in_force.contains(&text)) {
                *slot = None;
            }
        }
        let mut changed = 0;
        for text in wanted {
            if slots.iter().flatten().any(|known| **known == **text) {
                continue;
            }
            let free = slots.iter().position(Option::is_none)?;
            slots[free] = Some((*text).into());
            changed |= 1 << free;
        }
        self.0 = slots;
        Some(changed)
    }

    /// Of those that have a bit, as many as leave room for all of `wanted`: what to hold where nobody knows which of them
    /// are in force.
    #[must_use]
    pub fn beside(&self, wanted: &[&str]) -> Vec<String> {
        let room = (MAX_PATTERNS as usize).saturating_sub(wanted.len());
        let others = self.0.iter().flatten().filter(|text| !wanted.contains(&&***text));
        others.take(room).map(ToString::to_string).collect()
    }

    /// Only these keep their bits. Whether another lost one.
    pub fn retain(&mut self, in_force: &[&str]) -> bool {
        let mut lost = false;
        for slot in &mut self.0 {
            lost |= slot.take_if(|text| !in_force.contains(&&**text)).is_some();
        }
        lost
    }

    /// Bits that mean something.
    #[must_use]
    pub fn bits(&self) -> u64 {
        let used = self.0.iter().zip(0..).filter(|(text, _)| text.is_some());
        used.fold(0, |bits, (_, bit)| bits | 1 << bit)
    }

    /// The bit of a pattern.
    #[must_use]
    pub fn bit(&self, pattern: &str) -> Option<u8> {
        self.0.iter().zip(0..).find(|(text, _)| text.as_deref() == Some(pattern)).map(|(_, bit)| bit)
    }
}

/// Whether a pattern holds a name, both as lists write names: `*.docker.io` holds what is below `docker.io`.
fn holds(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        None => pattern == name,
        Some(above) => name.strip_suffix(above).is_some_and(|front| front.len() > 1 && front.ends_with('.')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_holds_one_name_or_all_below_one() {
        for (pattern, name, expected) in [
            ("a.example", "a.example", true),
            ("a.example", "b.a.example", false),
            ("*.a.example", "b.a.example", true),
            ("*.a.example", "c.b.a.example", true),
            ("*.a.example", "a.example", false),
            ("*.a.example", "ba.example", false),
            ("*.a.example", ".a.example", false),
        ] {
            assert_eq!(holds(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn bits_stay_and_those_in_force_are_not_taken() {
        let mut patterns = Patterns::default();
        assert_eq!(patterns.assign(&["a.example", "*.b.example"], &[]), Some(0b11));
        assert_eq!(
            (patterns.of("x.b.example"), patterns.of("a.example"), patterns.of("c.example")),
            (2, 1, 0)
        );
        assert_eq!(
            patterns.assign(&["*.b.example", "c.example"], &["a.example", "*.b.example"]),
            Some(0b100)
        );
        assert_eq!(patterns.of("a.example"), 1, "in force until the next is");
        let in_force = ["*.b.example", "c.example"];
        assert_eq!(patterns.assign(&["d.example"], &in_force), Some(0b1), "the first is free");
        assert_eq!((patterns.bit("d.example"), patterns.bit("a.example")), (Some(0), None));
        assert_eq!(Patterns::kept(patterns.to_keep()), patterns);
        // As many as two configs may have.
        let names =
            |letter: &str| (0..32).map(|number| format!("{letter}{number}.example")).collect::<Vec<_>>();
        let (one, other) = (names("x"), names("y"));
        let (one, other): (Vec<&str>, Vec<&str>) =
            (one.iter().map(String::as_str).collect(), other.iter().map(String::as_str).collect());
        let mut patterns = Patterns::default();
        assert!(patterns.assign(&one, &[]).is_some() && patterns.assign(&other, &one).is_some());
        assert!(patterns.assign(&["z.example"], &[one.clone(), other.clone()].concat()).is_none());
        // Those of a third do not fit beside both, and a start must not fail for that.
        let third = names("z");
        let third: Vec<&str> = third.iter().map(String::as_str).collect();
        let held = patterns.beside(&third);
        assert_eq!(held, one, "as many as fit");
        let mut started = patterns.clone();
        assert_eq!(
            started.assign(&third, &held.iter().map(String::as_str).collect::<Vec<_>>()),
            Some(!0 << 32)
        );
        assert_eq!(patterns.beside(&one), other, "what is wanted has its bits already");
        assert!(patterns.retain(&other) && !patterns.retain(&other));
        assert_eq!(patterns.bits(), !0 << 32, "once the others are out of force");
        assert!(patterns.assign(&one, &other).is_some());
    }
}
