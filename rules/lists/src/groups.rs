//! Groups: which lists, entries and services hold for whom.
//!
//! A group is one bit. Lists and entries belong to groups, clients are in groups, and what holds for a question is the
//! intersection of both with the groups that are in force: a schedule or a pause only takes a bit away. The way of a
//! question through the lists costs the same however many groups there are.

use model::Mode;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

/// Groups of one config, `default` included. A config with more is refused.
pub const MAX_GROUPS: usize = 63;
/// The name of the group that everything and everyone is in that names no other.
pub const DEFAULT_GROUP: &str = "default";

/// A set of groups, by their places in the config: bit 0 is `default`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct GroupSet(pub u64);

impl GroupSet {
    /// No group.
    pub const NONE: Self = Self(0);
    /// The group `default` alone.
    pub const DEFAULT: Self = Self(1);
    /// The bit behind all groups. Every client has it, so that what is denied to everybody holds also for those of whom
    /// no group is in force; only a pause of everything takes it away.
    pub const EVERYBODY: Self = Self(1 << MAX_GROUPS);
    /// Every group, and everybody.
    pub const ALL: Self = Self(u64::MAX);

    /// The group at `place` alone; none beyond [`MAX_GROUPS`].
    #[must_use]
    pub const fn one(place: usize) -> Self {
        if place < MAX_GROUPS { Self(1 << place) } else { Self::NONE }
    }

    /// Whether the group at `place` is in the set.
    #[must_use]
    pub const fn contains(self, place: usize) -> bool {
        self.0 & Self::one(place).0 != 0
    }

    /// Adds the group at `place`.
    pub const fn insert(&mut self, place: usize) {
        self.0 |= Self::one(place).0;
    }

    /// Takes the group at `place` out.
    pub const fn remove(&mut self, place: usize) {
        self.0 &= !Self::one(place).0;
    }

    /// What is in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in one of the two.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in this set and not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether one group is in both.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether no group is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The places of its groups, ascending.
    pub fn places(self) -> impl Iterator<Item = usize> {
        (0..MAX_GROUPS).filter(move |&place| self.contains(place))
    }

    /// The last of its groups: of several groups that say how to block, the last in the config decides, so each one
    /// of your own goes before `default`.
    #[must_use]
    pub const fn last(self) -> Option<usize> {
        match self.without(Self::EVERYBODY).0.checked_ilog2() {
            Some(place) => Some(place as usize),
            None => None,
        }
    }
}

/// How a blocked name is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Blocking {
    /// `0.0.0.0` and `::`; no data for other types.
    #[default]
    Null,
    /// The name does not exist.
    NxDomain,
    /// The name exists, without data.
    NoData,
    /// The question is refused.
    Refused,
    /// An address of one's own; no data in a family that has none.
    Address {
        /// For A.
        v4: Option<Ipv4Addr>,
        /// For AAAA.
        v6: Option<Ipv6Addr>,
    },
}

impl std::str::FromStr for Blocking {
    type Err = String;

    /// `null`, `nxdomain`, `nodata`, `refused`, or one address of each family at most: `192.0.2.1,2001:db8::1`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "null" => return Ok(Self::Null),
            "nxdomain" => return Ok(Self::NxDomain),
            "nodata" => return Ok(Self::NoData),
            "refused" => return Ok(Self::Refused),
            _ => {}
        }
        let (mut v4, mut v6) = (None, None);
        for part in text.split(',').map(str::trim) {
            match part.parse() {
                Ok(IpAddr::V4(address)) if v4.is_none() => v4 = Some(address),
                Ok(IpAddr::V6(address)) if v6.is_none() => v6 = Some(address),
                Ok(_) => return Err("more than one address of a family".into()),
                Err(_) => return Err(format!("`{part}` is neither a way to block nor an address")),
            }
        }
        Ok(Self::Address { v4, v6 })
    }
}

impl std::fmt::Display for Blocking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::NxDomain => f.write_str("nxdomain"),
            Self::NoData => f.write_str("nodata"),
            Self::Refused => f.write_str("refused"),
            Self::Address { v4: Some(v4), v6: Some(v6) } => write!(f, "{v4},{v6}"),
            Self::Address { v4: Some(v4), v6: None } => write!(f, "{v4}"),
            Self::Address { v4: None, v6: Some(v6) } => write!(f, "{v6}"),
            Self::Address { v4: None, v6: None } => f.write_str("nodata"),
        }
    }
}

/// What is decided once for a group. Its place in the slice of all groups is its bit; the first is `default`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name in the config.
    pub name: Arc<str>,
    /// How what is blocked for it is answered.
    pub blocking: Blocking,
    /// Whether what its lists and entries say is carried out.
    pub mode: Mode,
    /// Names of the services that are blocked for it.
    pub services: Arc<[Arc<str>]>,
    /// Search engines and video sites are asked for their safe versions.
    pub safe_search: bool,
}

impl Group {
    /// A group that says nothing of its own.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.into(),
            blocking: Blocking::Null,
            mode: Mode::Enforce,
            services: Arc::new([]),
            safe_search: false,
        }
    }

    /// Those of `groups` of which `wanted` is true.
    #[must_use]
    pub fn all_where(groups: &[Self], wanted: impl Fn(&Self) -> bool) -> GroupSet {
        let mut set = GroupSet::NONE;
        for (place, _) in groups.iter().enumerate().filter(|(_, group)| wanted(group)) {
            set.insert(place);
        }
        set
    }

    /// The groups of `set` that carry out what they say; everybody does.
    #[must_use]
    pub fn enforcing(groups: &[Self], set: GroupSet) -> GroupSet {
        set.without(Self::all_where(groups, |group| group.mode == Mode::Observe))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_bits() {
        let mut set = GroupSet::DEFAULT;
        set.insert(62);
        assert!(set.contains(0) && set.contains(62) && !set.contains(1) && !set.contains(63));
        assert_eq!(set.places().collect::<Vec<_>>(), [0, 62]);
        assert_eq!((set.last(), GroupSet::EVERYBODY.last()), (Some(62), None));
        set.insert(63);
        assert_eq!(set.places().count(), 2, "beyond the limit there is nothing");
        set.remove(62);
        assert_eq!(set, GroupSet::DEFAULT);
        assert!(GroupSet::ALL.intersects(set) && !GroupSet::one(1).intersects(set));
        assert_eq!(GroupSet(0b110).without(GroupSet(0b100)).or(GroupSet::DEFAULT), GroupSet(0b011));
    }

    #[test]
    fn ways_to_block_as_people_write_them() {
        for text in
            ["null", "nxdomain", "nodata", "refused", "192.0.2.1", "2001:db8::1", "192.0.2.1,2001:db8::1"]
        {
            assert_eq!(text.parse::<Blocking>().unwrap().to_string(), text);
        }
        assert_eq!(
            "2001:db8::1, 192.0.2.1".parse::<Blocking>().unwrap().to_string(),
            "192.0.2.1,2001:db8::1"
        );
        for wrong in ["", "NULL", "zero", "192.0.2.1,", "192.0.2.1,192.0.2.2", "::1,::2"] {
            assert!(wrong.parse::<Blocking>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn groups_that_enforce() {
        let watched = Group { mode: Mode::Observe, ..Group::named("watched") };
        let groups = [Group::named(DEFAULT_GROUP), watched, Group::named("kids")];
        assert_eq!(Group::enforcing(&groups, GroupSet(0b011)), GroupSet(0b001));
        assert_eq!(Group::enforcing(&groups, GroupSet(0b111)), GroupSet(0b101));
        assert!(Group::enforcing(&groups, GroupSet::ALL).intersects(GroupSet::EVERYBODY));
    }
}
