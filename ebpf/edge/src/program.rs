//! The two entry points and what they tell userspace.

use abi::{
    Action, FlowKey, INSPECT_SNAP, InspectRecord, Lost, MAX_LISTS, MAX_RULES, MAX_ZONES, PacketRecord,
    RULE_NONE, Reason, ZoneId, packet_index,
};
use aya_ebpf::{
    EbpfContext as _,
    bindings::{TC_ACT_OK, TC_ACT_SHOT, xdp_action},
    helpers::{bpf_ktime_get_boot_ns, bpf_skb_load_bytes, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use datapath::{Egress, Frame, Input, Verdict, decide, teach};

use crate::maps::{Count, EVENTS, INSPECT, Maps, count, count_lost, leaving, verdict, within_budget};

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// A frame that comes in.
#[xdp(frags)]
fn ingress(context: XdpContext) -> u32 {
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    // SAFETY: the context is the kernel's own.
    let length = unsafe { bpf_xdp_get_buff_len(context.ctx) } as u32;
    let Some(verdict) = verdict() else { return xdp_action::XDP_PASS };
    let input = Input { ifindex: context.ingress_ifindex() as u32, vlan: 0, now, length };
    decide(&Incoming(&context), &input, &Maps, verdict);
    count_packet(verdict, length);
    if is_told(verdict) {
        tell(verdict, &input);
    }
    if verdict.inspect {
        copy_incoming(&context, verdict, &input);
    }
    if verdict.drops() { xdp_action::XDP_DROP } else { xdp_action::XDP_PASS }
}

/// A frame that leaves.
#[classifier]
fn egress(context: TcContext) -> i32 {
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let Some(egress) = leaving() else { return TC_ACT_OK };
    // SAFETY: the context is the kernel's own; both fields are plain words of it.
    let (ifindex, vlan) = unsafe { ((*context.skb.skb).ifindex, (*context.skb.skb).vlan_tci) };
    let input = Input { ifindex, vlan: vlan as u16, now, length: context.len() };
    teach(&Outgoing(&context), &input, &Maps, egress);
    if egress.inspect {
        copy_outgoing(&context, egress, &input);
    }
    if egress.cut { TC_ACT_SHOT } else { TC_ACT_OK }
}

struct Incoming<'a>(&'a XdpContext);

impl Frame for Incoming<'_> {
    #[inline(always)]
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let start = self.0.data();
        if start + at + N > self.0.data_end() {
            return None;
        }
        // SAFETY: the N bytes at `at` were just checked to lie inside the frame.
        Some(unsafe { *((start + at) as *const [u8; N]) })
    }
}

struct Outgoing<'a>(&'a TcContext);

impl Frame for Outgoing<'_> {
    #[inline(always)]
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        // SAFETY: the helper writes N bytes or fails; it reads non-linear frames too.
        let failed =
            unsafe { bpf_skb_load_bytes(self.0.as_ptr(), at as u32, bytes.as_mut_ptr().cast(), N as u32) };
        if failed == 0 { Some(bytes) } else { None }
    }
}

#[inline(always)]
fn count_packet(verdict: &Verdict, length: u32) {
    let zone = verdict.zone_from.min(MAX_ZONES as u8 - 1);
    count(&Count::Packets(packet_index(zone, verdict.reason, verdict.action)), length);
    if verdict.rule == RULE_NONE {
        return;
    }
    let slot = u32::from(verdict.slot());
    match verdict.reason {
        Reason::Established | Reason::RuleAllowed | Reason::RuleDenied if verdict.rule < MAX_RULES => {
            count(&Count::Rule(slot * MAX_RULES + verdict.rule), length);
        }
        Reason::ListedSource | Reason::ListedDestination if verdict.rule < MAX_LISTS => {
            count(&Count::List(slot * MAX_LISTS + verdict.rule), length);
        }
        _ => {}
    }
}

/// What is not the usual pass is told, and what a rule wants told.
#[inline(always)]
fn is_told(verdict: &Verdict) -> bool {
    verdict.log || !matches!(verdict.action, Action::Pass)
}

#[inline(never)]
fn tell(verdict: &Verdict, input: &Input) {
    if !within_budget(input.now) {
        return count_lost(Lost::EventBudget);
    }
    let Some(mut place) = EVENTS.reserve::<PacketRecord>(0) else { return count_lost(Lost::EventRing) };
    place.write(PacketRecord {
        at: input.now,
        source: verdict.flow.source,
        destination: verdict.flow.destination,
        rule: verdict.rule,
        ifindex: input.ifindex,
        length: input.length as u16,
        vlan: verdict.vlan,
        source_port: verdict.flow.source_port,
        destination_port: verdict.flow.destination_port,
        protocol: verdict.flow.protocol,
        action: verdict.action as u8,
        reason: verdict.reason as u8,
        observed: u8::from(verdict.observed),
        zone_from: verdict.zone_from,
        zone_to: verdict.zone_to,
        reserved: [0; 2],
    });
    place.submit(0);
}

#[inline(always)]
fn copy_incoming(context: &XdpContext, verdict: &Verdict, input: &Input) {
    let Some(mut place) = INSPECT.reserve::<InspectRecord>(0) else { return count_lost(Lost::InspectRing) };
    let record = place.as_mut_ptr();
    // SAFETY: the record is ours until it is submitted; `head` writes what is before `frame`, the helper `captured`
    // bytes of `frame`. The rest of `frame` stays what the ring held: earlier frames.
    let failed = unsafe {
        let captured =
            head(record, input, &verdict.flow, [verdict.zone_from, verdict.zone_to], verdict.reply);
        bpf_xdp_load_bytes(context.ctx, 0, (*record).frame.as_mut_ptr().cast(), captured)
    };
    if failed == 0 { place.submit(0) } else { place.discard(0) }
}

#[inline(always)]
fn copy_outgoing(context: &TcContext, egress: &Egress, input: &Input) {
    let Some(mut place) = INSPECT.reserve::<InspectRecord>(0) else { return count_lost(Lost::InspectRing) };
    let record = place.as_mut_ptr();
    // SAFETY: as in `copy_incoming`.
    let failed = unsafe {
        let captured = head(record, input, &egress.flow, [egress.zone_from, egress.zone_to], true);
        bpf_skb_load_bytes(context.as_ptr(), 0, (*record).frame.as_mut_ptr().cast(), captured)
    };
    if failed == 0 { place.submit(0) } else { place.discard(0) }
}

/// Fills everything before the frame, and says how many bytes of the frame belong into the record: read back from it,
/// so that the compiler knows no more than the verifier and the bounds stay in the code.
///
/// # Safety
/// `record` is a reserved record.
#[inline(always)]
unsafe fn head(
    record: *mut InspectRecord,
    input: &Input,
    flow: &FlowKey,
    zones: [ZoneId; 2],
    reply: bool,
) -> u32 {
    const SNAP: u32 = INSPECT_SNAP as u32;
    // SAFETY: the record is ours until it is submitted.
    let captured = unsafe {
        (*record).at = input.now;
        (*record).flow = *flow;
        (*record).length = input.length.min(u32::from(u16::MAX)) as u16;
        (&raw mut (*record).captured).write_volatile(input.length.min(SNAP) as u16);
        (*record).reply = u8::from(reply);
        [(*record).zone_from, (*record).zone_to] = zones;
        (*record).reserved = 0;
        (&raw const (*record).captured).read_volatile()
    };
    u32::from(captured).clamp(1, SNAP)
}

#[panic_handler]
fn on_panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
