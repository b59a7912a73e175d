//! What was decided about one packet, with everything that counters and records need.

use abi::{Action, FlowKey, PolicyValue, RULE_NONE, Reason, ZONE_NONE, ZONE_OBSERVE, ZoneId};

use crate::parse::Packet;

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
}

/// What holds for the packet at hand.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Boot time in ns.
    pub(crate) now: u64,
    pub(crate) epoch: u32,
    /// Bytes of the frame.
    pub(crate) length: u32,
    /// `ZONE_*` bits of the zone it came from.
    pub(crate) zone: u32,
    pub(crate) slot: u8,
    /// The appliance only observes.
    pub(crate) watched: bool,
}

impl Verdict {
    /// Nothing decided yet: passes, no plan.
    pub const EMPTY: Self = Self {
        flow: NO_TUPLE,
        reverse: NO_TUPLE,
        rule: RULE_NONE,
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
            setting: Setting { now: 0, epoch: 0, length: 0, zone: 0, slot: 0, watched: false },
            packet: Packet::EMPTY,
        },
    };

    /// The frame is dropped here. A reject is not: it goes up to the second wall, which answers.
    #[inline(always)]
    #[must_use]
    pub const fn drops(&self) -> bool {
        matches!(self.action, Action::Drop) && !self.observed
    }

    /// The slot of the generation under which it was judged.
    #[inline(always)]
    #[must_use]
    pub const fn slot(&self) -> u8 {
        self.work.setting.slot
    }

    /// The verdict without what only the steps among themselves need: what two runs at different times have in common.
    #[cfg(feature = "host")]
    #[must_use]
    pub const fn result(mut self) -> Self {
        self.work = Self::EMPTY.work;
        self
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
        let Setting { zone, watched, .. } = self.work.setting;
        let observed = observed || watched || zone & ZONE_OBSERVE != 0;
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
    pub(crate) fn by_policy(&mut self, found: Option<PolicyValue>) -> bool {
        let Some(found) = found else {
            return self.deny(Action::Drop, Reason::DefaultDenied, RULE_NONE);
        };
        let rule = if found.rule == abi::RULE_DEFAULT { RULE_NONE } else { found.rule as u32 };
        let observed = found.flags & abi::POLICY_OBSERVE != 0;
        self.log |= found.flags & abi::POLICY_LOG != 0;
        if found.action == Action::Pass as u8 {
            self.pass(Reason::RuleAllowed, rule);
            return false;
        }
        let action = if found.action == Action::Reject as u8 { Action::Reject } else { Action::Drop };
        let reason = if rule == RULE_NONE { Reason::DefaultDenied } else { Reason::RuleDenied };
        self.deny_if(action, reason, rule, observed)
    }
}

const NO_TUPLE: FlowKey = FlowKey {
    source: [0; 16],
    destination: [0; 16],
    source_port: [0; 2],
    destination_port: [0; 2],
    protocol: 0,
    zone: ZONE_NONE,
    reserved: [0; 2],
};
