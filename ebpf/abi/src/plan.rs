//! What plans say before they become an image: parts of `policy::Plan` that have numbers of the kernel line in them.

/// What holds for a whole zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZoneFlags {
    /// `ZONE_*` bits.
    pub flags: u32,
}

/// What a row of the policy says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyValue {
    /// [`crate::Action`] as number.
    pub action: u8,
    /// `POLICY_*` bits.
    pub flags: u8,
    /// Place of the rule in the file; [`crate::RULE_DEFAULT`] where none matched.
    pub rule: u16,
}

/// What an entry of an address list says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListValue {
    /// Place of the list in the file.
    pub list: u16,
    /// `DIRECTION_*` bits.
    pub directions: u8,
    /// 1: judge and count only.
    pub observe: u8,
}
