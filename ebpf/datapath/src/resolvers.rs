//! Questions to other resolvers than the router's own: dropped, or let through to nftables, which leads them here.

use abi::{
    Action, POLICY_ADDRESSED, RULE_DEFAULT, RULE_NONE, Reason, ZONE_DNS_DROP, ZONE_DNS_REDIRECT, ZONE_IS_WAN,
    ZoneId,
    image::{NOTHING, RuleRow},
};

use crate::{
    Tables, Verdict,
    parse::{TCP, UDP},
};

/// DNS (RFC 1035 §4.2).
const DNS: u16 = 53;
/// DNS over TLS (RFC 7858 §3.1), and over QUIC (RFC 9250 §8.1).
const DNS_ENCRYPTED: u16 = 853;

/// A new flow that a zone with these flags starts towards `to`. `Some`: that is all there is to say, `true` against it.
#[inline(always)]
pub(crate) fn asks_others<T: Tables>(
    tables: &T,
    verdict: &mut Verdict,
    flags: u32,
    to: ZoneId,
    port: u16,
) -> Option<bool> {
    if flags & (ZONE_DNS_DROP | ZONE_DNS_REDIRECT) == 0
        || !matches!(verdict.flow.protocol, TCP | UDP)
        || !matches!(port, DNS | DNS_ENCRYPTED)
        || tables.zone(verdict.work.setting.slot, to).flags & ZONE_IS_WAN == 0
    {
        return None;
    }
    if flags & ZONE_DNS_DROP != 0 {
        return verdict.deny(Action::Drop, Reason::OtherResolver, RULE_NONE).then_some(true);
    }
    if port != DNS {
        return None;
    }
    verdict.work.found = RuleRow {
        action: Action::Pass as u8,
        flags: POLICY_ADDRESSED,
        rule: RULE_DEFAULT,
        rate: NOTHING,
        logged: NOTHING,
    };
    verdict.pass(Reason::RuleAllowed, RULE_NONE);
    Some(false)
}
