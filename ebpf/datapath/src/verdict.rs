//! What was decided about one packet, with everything that counters and records need.

use abi::{
    Action, FlowKey, FlowValue, RULE_NONE, Reason, ZONE_NONE, ZONE_OBSERVE, ZoneId,
    image::{AddressClass, NOTHING, RuleRow},
};

use crate::parse::{Link, Packet};
#[cfg(feature = "host")]
use crate::{Frame, Input, Passed, Tables, flow, parse};
#[cfg(feature = "host")]
use abi::FLOW_REPLY;

/// The verdict about one packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The tuple as it came in; zero addresses where there is none.
    pub flow: FlowKey,
    /// The other way of the flow, where one was opened.
    pub reverse: FlowKey,
    /// Rule, list, decision or signature, by `reason`; [`RULE_NONE`] where none stands behind it.
    pub rule: u32,
    /// A rule before it that only logs; [`RULE_NONE`] where there is none.
    pub logged: u32,
    /// VLAN id; 0 = untagged.
    pub vlan: u16,
    /// What the policy says.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// Zone the packet came from.
    pub zone_from: ZoneId,
    /// Zone it goes to; [`ZONE_NONE`] where that was not asked.
    pub zone_to: ZoneId,
    /// Judged only: the packet goes on whatever `action` says.
    pub observed: bool,
    /// A rule wants an event.
    pub log: bool,
    /// The packet opened a flow that is remembered.
    pub opened: bool,
    /// The packet answers a flow that started at the other end.
    pub reply: bool,
    /// The frame is to be copied for inspection.
    pub inspect: bool,
    /// The flow is known: the verdict was found in the flow table.
    pub known: bool,
    /// What the steps hand on to each other.
    pub(crate) work: Work,
}

/// What the steps of a decision hand on to each other.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) setting: Setting,
    pub(crate) packet: Packet,
    /// The entry found, or the one to be made.
    pub(crate) value: FlowValue,
    /// What is known of the source, once it was asked.
    pub(crate) source: AddressClass,
    /// What is known of the destination, once it was asked.
    pub(crate) destination: AddressClass,
    /// MAC address of the sender; zeros on a device without Ethernet.
    pub(crate) mac: [u8; 6],
    /// What the policy says.
    pub(crate) found: RuleRow,
    pub(crate) link: Link,
    pub(crate) quoted: Quoted,
    /// The entry found was judged under another epoch.
    pub(crate) is_stale: bool,
}

/// What an ICMP error quotes.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quoted {
    /// Nothing, or nothing with a tuple.
    Unreadable,
    /// A packet whose tuple is in `reverse`.
    Tuple,
    /// A packet that the receiver of the error has not sent.
    Foreign,
}

/// What holds for the packet at hand.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Boot time in ns.
    pub(crate) now: u64,
    /// Ticks of the flow table.
    pub(crate) ticks: u32,
    pub(crate) epoch: u32,
    /// Bytes of the frame.
    pub(crate) length: u32,
    /// Slot of the image.
    pub(crate) slot: u32,
    /// `ACTIVE_*` bits.
    pub(crate) active: u32,
    /// `ZONE_*` bits of the zone it came from.
    pub(crate) zone: u32,
    /// Number of the zone's rate.
    pub(crate) rate: u16,
}

impl Verdict {
    /// Nothing decided yet: passes, no plan.
    pub const EMPTY: Self = Self {
        flow: NO_TUPLE,
        reverse: NO_TUPLE,
        rule: RULE_NONE,
        logged: RULE_NONE,
        vlan: 0,
        action: Action::Pass,
        reason: Reason::NoPlan,
        zone_from: ZONE_NONE,
        zone_to: ZONE_NONE,
        observed: false,
        log: false,
        opened: false,
        reply: false,
        inspect: false,
        known: false,
        work: Work {
            setting: Setting {
                now: 0,
                ticks: 0,
                epoch: 0,
                length: 0,
                slot: 0,
                active: 0,
                zone: 0,
                rate: NOTHING,
            },
            packet: Packet::EMPTY,
            value: NO_VALUE,
            source: AddressClass::UNKNOWN,
            destination: AddressClass::UNKNOWN,
            mac: [0; 6],
            found: RuleRow::NONE,
            link: Link::EMPTY,
            quoted: Quoted::Unreadable,
            is_stale: false,
        },
    };

    /// Nothing decided yet, as [`Self::EMPTY`], but for what is written before it is read: the work of every packet
    /// before is left where it is.
    #[inline(always)]
    pub(crate) fn begin(&mut self) {
        self.flow = NO_TUPLE;
        self.reverse = NO_TUPLE;
        self.rule = RULE_NONE;
        self.logged = RULE_NONE;
        self.vlan = 0;
        self.action = Action::Pass;
        self.reason = Reason::NoPlan;
        self.zone_from = ZONE_NONE;
        self.zone_to = ZONE_NONE;
        self.observed = false;
        self.log = false;
        self.opened = false;
        self.reply = false;
        self.inspect = false;
        self.known = false;
        self.work.packet = Packet::EMPTY;
        self.work.link = Link::EMPTY;
        self.work.mac = [0; 6];
        self.work.quoted = Quoted::Unreadable;
        self.work.is_stale = false;
    }

    /// The frame is dropped here. A reject is not: it goes up to the second wall, which answers.
    #[inline(always)]
    #[must_use]
    pub const fn drops(&self) -> bool {
        matches!(self.action, Action::Drop) && !self.observed
    }

    /// The slot of the generation under which it was judged.
    #[inline(always)]
    #[must_use]
    pub const fn slot(&self) -> u32 {
        self.work.setting.slot
    }

    /// The verdict without what only the steps among themselves need: what two runs at different times have in common.
    #[cfg(feature = "host")]
    #[must_use]
    pub const fn result(mut self) -> Self {
        self.work = Self::EMPTY.work;
        self
    }

    /// What [`crate::decide`] would have said of a packet that [`crate::fast`] has passed.
    #[cfg(feature = "host")]
    #[must_use]
    pub fn passed<T: Tables>(frame: &impl Frame, input: &Input, tables: &T, passed: &Passed) -> Self {
        let mut verdict = Self { zone_from: passed.zone, rule: passed.rule, known: true, ..Self::EMPTY };
        verdict.reason = Reason::Established;
        verdict.work.setting.slot = passed.slot;
        verdict.flow.zone = passed.zone;
        if let Ok(link) = parse::link(frame, input) {
            verdict.vlan = link.vlan;
            let (flow, packet) = (&mut verdict.flow, &mut verdict.work.packet);
            let _ = match link.ethertype {
                parse::Ethertype::V6 => parse::v6(frame, link.end, usize::from(link.at), flow, packet),
                _ => parse::v4(frame, link.end, usize::from(link.at), flow, packet),
            };
        }
        let mut value = NO_VALUE;
        if flow::find(tables, &verdict.flow, input.ticks, &mut value).is_some() {
            verdict.reply = value.flags & FLOW_REPLY != 0;
            verdict.zone_to = if verdict.reply { value.zone_from } else { value.zone_to };
        }
        verdict
    }

    /// The packet passes, unless something that only observes has spoken already: that stays the verdict.
    #[inline(always)]
    pub(crate) fn pass(&mut self, reason: Reason, rule: u32) {
        if !self.observed {
            self.action = Action::Pass;
            self.reason = reason;
            self.rule = rule;
        }
    }

    /// Something is against the packet. `true`: that is the verdict. `false`: appliance or zone only observe, go on
    /// judging; the first that was observed is kept.
    #[inline(always)]
    pub(crate) fn deny(&mut self, action: Action, reason: Reason, rule: u32) -> bool {
        self.deny_if(action, reason, rule, false)
    }

    /// The same for a part that may observe only.
    #[inline(always)]
    pub(crate) fn deny_if(&mut self, action: Action, reason: Reason, rule: u32, observed: bool) -> bool {
        let observed = observed || self.work.setting.zone & ZONE_OBSERVE != 0;
        if !(observed && self.observed) {
            self.action = action;
            self.reason = reason;
            self.rule = rule;
            self.observed = observed;
        }
        !observed
    }

    /// What the policy says to a new flow. `true` if that ends the matter.
    #[inline(always)]
    pub(crate) fn by_policy(&mut self, found: RuleRow) -> bool {
        let rule = if found.rule == abi::RULE_DEFAULT { RULE_NONE } else { found.rule as u32 };
        let observed = found.flags & abi::POLICY_OBSERVE != 0;
        if found.logged != NOTHING {
            self.logged = found.logged as u32;
        }
        self.log |= found.flags & abi::POLICY_LOG != 0 || found.logged != NOTHING;
        if found.action == Action::Pass as u8 {
            self.pass(Reason::RuleAllowed, rule);
            return false;
        }
        let action = if found.action == Action::Reject as u8 { Action::Reject } else { Action::Drop };
        let reason = if rule == RULE_NONE { Reason::DefaultDenied } else { Reason::RuleDenied };
        self.deny_if(action, reason, rule, observed)
    }
}

pub(crate) const NO_VALUE: FlowValue = FlowValue {
    epoch: 0,
    last_seen: 0,
    idle: 0,
    state: 0,
    flags: 0,
    rule: RULE_NONE,
    action: 0,
    reason: 0,
    zone_from: ZONE_NONE,
    zone_to: ZONE_NONE,
    packets: 0,
    bytes: 0,
    first_seen: 0,
    copied: 0,
    copied_reply: 0,
    isn: 0,
    tcp_flags: 0,
    device: 0,
};

const NO_TUPLE: FlowKey = FlowKey {
    source: [0; 16],
    destination: [0; 16],
    source_port: [0; 2],
    destination_port: [0; 2],
    protocol: 0,
    zone: ZONE_NONE,
    reserved: [0; 2],
};
