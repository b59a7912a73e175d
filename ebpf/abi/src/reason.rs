//! Why a packet was judged as it was.

/// What a packet's verdict does.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Goes on (to the second wall and the host).
    Pass = 0,
    /// Dropped in XDP.
    Drop = 1,
    /// Refused with an answer: handed to the second wall, which has the same policy and rejects.
    Reject = 2,
}

impl Action {
    /// Every action, by number.
    pub const ALL: [Self; 3] = [Self::Pass, Self::Drop, Self::Reject];

    /// The word in metrics, events and `-o json`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Drop => "drop",
            Self::Reject => "reject",
        }
    }
}

/// Number of actions.
pub const ACTIONS: u32 = Action::ALL.len() as u32;
/// Number of reasons.
pub const REASONS: u32 = Reason::ALL.len() as u32;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $name:literal;)+) => {
        /// Why the packet path judged a packet as it did. The metric label, the event field and what
        /// `secctl why` prints. Numbers are part of the kernel line and are never reused.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $($(#[doc = $doc])+ $variant = $number,)+ }

        impl Reason {
            /// Every reason, by number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word in metrics, events and `-o json`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The reason with this number.
            #[must_use]
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

reasons! {
    /// A packet of a flow that is known and passes.
    Established = 0, "established";
    /// A rule allows the new flow.
    RuleAllowed = 1, "rule_allowed";
    /// A rule denies the new flow.
    RuleDenied = 2, "rule_denied";
    /// No rule says anything: the zone's default.
    DefaultDenied = 3, "default_denied";
    /// Neither opens a flow nor belongs to one that is known here: conntrack knows.
    NoState = 4, "no_state";
    /// The source is banned.
    BannedSource = 5, "banned_source";
    /// The destination is banned in the outgoing direction.
    BannedDestination = 6, "banned_destination";
    /// The source is on an address list.
    ListedSource = 7, "listed_source";
    /// The destination is on an address list that also stops what we start.
    ListedDestination = 8, "listed_destination";
    /// A signature cut the flow.
    Signature = 9, "signature";
    /// The source does not belong to the zone it came from.
    Spoofed = 10, "spoofed";
    /// The VLAN tag belongs to no zone of this interface.
    WrongVlan = 11, "wrong_vlan";
    /// Cut short or against the rules of its protocol.
    Malformed = 12, "malformed";
    /// A fragment after the first: the second wall reassembles.
    Fragment = 13, "fragment";
    /// Needed by the link itself: ARP, ND, RA, DHCP, MLD, IGMP.
    LinkEssential = 14, "link_essential";
    /// A protocol without ports (ESP, GRE, …): the second wall decides.
    Portless = 15, "portless";
    /// Not IP and not essential; passed on, since routers do not forward it.
    NotIp = 16, "not_ip";
    /// An ICMP error: conntrack matches it by its inner header.
    IcmpError = 17, "icmp_error";
    /// The datapath has no plan yet.
    NoPlan = 18, "no_plan";
    /// The source starts new flows faster than its rule or zone lets it.
    RateLimited = 19, "rate_limited";
    /// Only one way of a TCP connection is seen here: asymmetric paths, or a host with two ways out.
    HalfSeen = 20, "half_seen";
    /// The source tried many ports or hosts that deny it; its new flows wait for a while.
    PortScan = 21, "port_scan";
    /// A device that nobody has let in yet, in a zone with quarantine.
    NewDevice = 22, "new_device";
    /// Hosts of the zone are kept apart from each other.
    Isolated = 23, "isolated";
    /// A source that cannot exist out there (RFC 6890).
    Bogon = 24, "bogon";
    /// The zone takes only what belongs to known flows (strict), or is under a SYN flood.
    Unsolicited = 25, "unsolicited";
    /// The zone opens flows only to addresses that its DNS answered, and this one it did not.
    Unresolved = 26, "unresolved";
    /// A question to another resolver than the router's own, which the zone does not let out.
    OtherResolver = 27, "other_resolver";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique() {
        for (number, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, number);
            assert_eq!(Reason::from_number(*reason as u8), Some(*reason));
            assert_eq!(Reason::ALL.iter().filter(|other| other.name() == reason.name()).count(), 1);
        }
        assert_eq!(Reason::from_number(Reason::ALL.len() as u8), None);
    }
}
