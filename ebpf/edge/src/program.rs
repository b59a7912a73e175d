//! The entry points and what they tell userspace.

use abi::{
    Action, FlowKey, INSPECT_SNAP, InspectRecord, Lost, MAX_LISTS, MAX_RULES, MAX_ZONES, PacketRecord,
    RULE_NONE, Reason, ZoneId, packet_index, ticks,
};
use aya_ebpf::{
    EbpfContext as _,
    bindings::{TC_ACT_OK, TC_ACT_SHOT, xdp_action, xdp_md},
    helpers::{
        bpf_jiffies64, bpf_ktime_get_boot_ns, bpf_ktime_get_coarse_ns, bpf_skb_load_bytes,
        bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
    },
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use datapath::{Frame, Input, Passed, Verdict, View, decide, fast, teach};

use crate::maps::{Count, EVENTS, INSPECT, Maps, count, count_lost, leaving, verdict, within_budget};

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// A frame that comes in.
#[xdp(frags)]
fn ingress(context: XdpContext) -> u32 {
    let (ifindex, ticks) = (context.ingress_ifindex() as u32, now_ticks());
    let input = Input { ifindex, ticks, ..Input::default() };
    if let Some(passed) = fast(&Incoming(&context), &input, &Maps) {
        count_passed(&passed);
        return xdp_action::XDP_PASS;
    }
    ingress_slow(context.ctx, ifindex, ticks)
}

/// Takes words, not references to what would have to lie in memory for it before every fast packet.
#[inline(never)]
fn ingress_slow(context: *mut xdp_md, ifindex: u32, ticks: u32) -> u32 {
    let context = &XdpContext::new(context);
    // SAFETY: the context is the kernel's own.
    let length = unsafe { bpf_xdp_get_buff_len(context.ctx) } as u32;
    let Some(verdict) = verdict() else { return xdp_action::XDP_PASS };
    let input = Input { now: now_boot(), length, ifindex, ticks, ..Input::default() };
    decide(&Incoming(context), &input, &Maps, verdict);
    conclude(verdict, &input);
    if verdict.inspect {
        copy_incoming(context, verdict, &input);
    }
    if verdict.drops() { xdp_action::XDP_DROP } else { xdp_action::XDP_PASS }
}

/// A packet that comes in by a device without Ethernet (PPP, WireGuard, tun).
#[classifier]
fn ingress_l3(context: TcContext) -> i32 {
    let input = Input { layer3: true, ..skb_input(&context) };
    if ingress_l3_fast(&context, &input) { TC_ACT_OK } else { ingress_l3_slow(&context, &input) }
}

// Functions of their own, so that their stacks do not add up.
#[inline(never)]
fn ingress_l3_fast(context: &TcContext, input: &Input) -> bool {
    let passed = fast(&Buffered(context), input, &Maps);
    if let Some(passed) = &passed {
        count_passed(passed);
    }
    passed.is_some()
}

#[inline(never)]
fn ingress_l3_slow(context: &TcContext, input: &Input) -> i32 {
    let Some(verdict) = verdict() else { return TC_ACT_OK };
    let input = Input { now: now_boot(), ..*input };
    decide(&Buffered(context), &input, &Maps, verdict);
    conclude(verdict, &input);
    if verdict.inspect {
        copy_buffered(context, &verdict.flow, [verdict.zone_from, verdict.zone_to], verdict.reply, &input);
    }
    if verdict.drops() { TC_ACT_SHOT } else { TC_ACT_OK }
}

/// A frame that leaves.
#[classifier]
fn egress(context: TcContext) -> i32 {
    leave(&context, false)
}

/// A packet that leaves by a device without Ethernet.
#[classifier]
fn egress_l3(context: TcContext) -> i32 {
    leave(&context, true)
}

#[inline(always)]
fn leave(context: &TcContext, layer3: bool) -> i32 {
    let Some(egress) = leaving() else { return TC_ACT_OK };
    let input = Input { layer3, now: now_boot(), ..skb_input(context) };
    teach(&Buffered(context), &input, &Maps, egress);
    if egress.inspect {
        copy_buffered(context, &egress.flow, [egress.zone_from, egress.zone_to], true, &input);
    }
    if egress.cut { TC_ACT_SHOT } else { TC_ACT_OK }
}

#[inline(always)]
fn skb_input(context: &TcContext) -> Input {
    // SAFETY: the context is the kernel's own; both fields are plain words of it.
    let (ifindex, vlan) = unsafe { ((*context.skb.skb).ifindex, (*context.skb.skb).vlan_tci) };
    Input { ifindex, vlan: vlan as u16, ticks: clock_ticks(), length: context.len(), ..Input::default() }
}

#[inline(always)]
fn now_boot() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// The ticks of now, and the jiffies (upper half) at which they were asked for. Lives in `.bss`.
static mut CLOCK: u64 = 0;

/// The ticks of now.
#[inline(always)]
fn clock_ticks() -> u32 {
    // SAFETY: a helper without arguments.
    ticks(unsafe { bpf_ktime_get_coarse_ns() })
}

/// The same; the clock is asked once a jiffy, and jiffies are read without a call.
#[inline(always)]
fn now_ticks() -> u32 {
    let clock = &raw mut CLOCK;
    // SAFETY: a helper without arguments, and one aligned word, which several CPUs may write: each writes what is right.
    unsafe {
        let jiffies = bpf_jiffies64();
        let known = clock.read_volatile();
        if known >> 32 == jiffies & 0xffff_ffff {
            return known as u32;
        }
        let now = clock_ticks();
        clock.write_volatile(jiffies << 32 | u64::from(now));
        now
    }
}

struct Incoming<'a>(&'a XdpContext);

impl Frame for Incoming<'_> {
    type View<'a>
        = Bytes
    where
        Self: 'a;

    #[inline(always)]
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let start = self.0.data();
        if start + at + N > self.0.data_end() {
            return None;
        }
        // SAFETY: the N bytes at `at` were just checked to lie inside the frame.
        Some(unsafe { *((start + at) as *const [u8; N]) })
    }

    #[inline(always)]
    fn view<const N: usize>(&self, at: usize) -> Option<Bytes> {
        let start = self.0.data() + at;
        if start + N > self.0.data_end() { None } else { Some(Bytes(start)) }
    }

    #[inline(always)]
    fn seen(&self) -> u32 {
        (self.0.data_end() - self.0.data()) as u32
    }
}

/// A frame in a socket buffer.
struct Buffered<'a>(&'a TcContext);

impl Frame for Buffered<'_> {
    type View<'a>
        = Bytes
    where
        Self: 'a;

    #[inline(always)]
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        // SAFETY: the helper writes N bytes or fails; it reads non-linear frames too.
        let failed =
            unsafe { bpf_skb_load_bytes(self.0.as_ptr(), at as u32, bytes.as_mut_ptr().cast(), N as u32) };
        if failed == 0 { Some(bytes) } else { None }
    }

    #[inline(always)]
    fn view<const N: usize>(&self, at: usize) -> Option<Bytes> {
        let start = self.0.data() + at;
        if start + N > self.0.data_end() { None } else { Some(Bytes(start)) }
    }

    #[inline(always)]
    fn seen(&self) -> u32 {
        self.0.len()
    }
}

/// Bytes of a frame that were checked to be there: the verifier refuses a program that reads beyond them.
#[derive(Clone, Copy)]
struct Bytes(usize);

/// Loads from a frame. By hand: the machine loads at any address, which the language has no word for but byte by byte.
macro_rules! load {
    ($width:literal, $word:ty, $from:expr, $at:expr) => {{
        let value: u64;
        // SAFETY: inside the frame, see above; the machine fills up with zeros.
        unsafe {
            core::arch::asm!(
                concat!("{value} = *(", $width, " *)({from} + {at})"),
                value = out(reg) value,
                from = in(reg) $from,
                at = const $at,
                options(pure, readonly, nostack),
            );
            core::hint::assert_unchecked(value <= <$word>::MAX as u64);
        }
        value as $word
    }};
}

impl View for Bytes {
    #[inline(always)]
    fn byte<const AT: usize>(self) -> u8 {
        load!("u8", u8, self.0, AT)
    }

    #[inline(always)]
    fn two<const AT: usize>(self) -> u16 {
        load!("u16", u16, self.0, AT)
    }

    #[inline(always)]
    fn four<const AT: usize>(self) -> u32 {
        load!("u32", u32, self.0, AT)
    }

    #[inline(always)]
    fn eight<const AT: usize>(self) -> u64 {
        load!("u64", u64, self.0, AT)
    }
}

/// Counts a packet of the fast path.
#[inline(always)]
fn count_passed(passed: &Passed) {
    count(&Count::Packets(packet_index(passed.zone, Reason::Established, Action::Pass)), passed.length);
    if passed.rule < MAX_RULES {
        count(&Count::Rule(passed.slot * MAX_RULES + passed.rule), passed.length);
    }
}

/// Counts a packet and tells of it, where that is due: what is not the usual pass, and what a rule wants told.
#[inline(never)]
fn conclude(verdict: &Verdict, input: &Input) {
    let length = input.length;
    let zone = verdict.zone_from.min(MAX_ZONES as u8 - 1);
    count(&Count::Packets(packet_index(zone, verdict.reason, verdict.action)), length);
    let slot = verdict.slot() & 1;
    if verdict.logged < MAX_RULES {
        count(&Count::Rule(slot * MAX_RULES + verdict.logged), length);
    }
    match verdict.reason {
        Reason::Established
        | Reason::RuleAllowed
        | Reason::RuleDenied
        | Reason::RateLimited
        | Reason::HalfSeen
            if verdict.rule < MAX_RULES =>
        {
            count(&Count::Rule(slot * MAX_RULES + verdict.rule), length);
        }
        Reason::ListedSource | Reason::ListedDestination if verdict.rule < MAX_LISTS => {
            count(&Count::List(slot * MAX_LISTS + verdict.rule), length);
        }
        _ => {}
    }
    if verdict.log || !matches!(verdict.action, Action::Pass) {
        tell(verdict, input);
    }
}

#[inline(always)]
fn tell(verdict: &Verdict, input: &Input) {
    if !within_budget(input.now) {
        return count_lost(Lost::EventBudget);
    }
    // A pass that a rule before it wants told is that rule's record.
    let is_logged = verdict.logged != RULE_NONE && matches!(verdict.reason, Reason::RuleAllowed);
    let rule = if is_logged { verdict.logged } else { verdict.rule };
    let Some(mut place) = EVENTS.reserve::<PacketRecord>(0) else { return count_lost(Lost::EventRing) };
    place.write(PacketRecord {
        at: input.now,
        source: verdict.flow.source,
        destination: verdict.flow.destination,
        rule,
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
fn copy_buffered(context: &TcContext, flow: &FlowKey, zones: [ZoneId; 2], reply: bool, input: &Input) {
    let Some(mut place) = INSPECT.reserve::<InspectRecord>(0) else { return count_lost(Lost::InspectRing) };
    let record = place.as_mut_ptr();
    // SAFETY: as in `copy_incoming`.
    let failed = unsafe {
        let captured = head(record, input, flow, zones, reply);
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
