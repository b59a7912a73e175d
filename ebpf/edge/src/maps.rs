//! The maps, and [`Tables`] over them. `daemon/enforce` knows them by these names.

use abi::{
    ACTIVE_OBSERVE, Active, Address, AllowValue, BanValue, Budget, Counter, EVENT_RING_BYTES, FLOW_ANSWERED,
    FlowKey, FlowValue, INSPECT_RING_BYTES, ListValue, Lost, MAX_BANS, MAX_FLOWS, MAX_LISTED, MAX_LISTS,
    MAX_NETWORKS, MAX_POLICY, MAX_PORTS, MAX_PROTECTED, MAX_RULES, MAX_ZONES, PACKET_COUNTERS, PolicyKey,
    PolicyValue, PortKey, SlotAddress, ZoneFlags, ZoneId,
};
use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf, lpm_trie::Key},
};
use datapath::{Egress, Flow, Tables, Touch, Verdict};

#[map]
static ACTIVE: Array<Active> = Array::with_max_entries(1, 0);
#[map]
static PORTS: HashMap<PortKey, ZoneId> = HashMap::with_max_entries(MAX_PORTS * 2, 0);
#[map]
static ZONES: Array<ZoneFlags> = Array::with_max_entries(MAX_ZONES * 2, 0);
#[map]
static NETWORKS: LpmTrie<SlotAddress, ZoneId> = LpmTrie::with_max_entries(MAX_NETWORKS, 0);
#[map]
static PROTECTED: LpmTrie<SlotAddress, u8> = LpmTrie::with_max_entries(MAX_PROTECTED, 0);
#[map]
static POLICY: LpmTrie<PolicyKey, PolicyValue> = LpmTrie::with_max_entries(MAX_POLICY, 0);
#[map]
static LISTED: LpmTrie<SlotAddress, ListValue> = LpmTrie::with_max_entries(MAX_LISTED, 0);
#[map]
static BANS: LpmTrie<Address, BanValue> = LpmTrie::with_max_entries(MAX_BANS, 0);
#[map]
static ALLOWS: LpmTrie<Address, AllowValue> = LpmTrie::with_max_entries(MAX_PROTECTED, 0);
#[map]
static FLOWS: LruHashMap<FlowKey, FlowValue> = LruHashMap::with_max_entries(MAX_FLOWS, 0);
#[map]
static PACKETS: PerCpuArray<Counter> = PerCpuArray::with_max_entries(PACKET_COUNTERS, 0);
#[map]
static RULES: PerCpuArray<Counter> = PerCpuArray::with_max_entries(MAX_RULES * 2, 0);
#[map]
static LISTS: PerCpuArray<Counter> = PerCpuArray::with_max_entries(MAX_LISTS * 2, 0);
#[map]
static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(Lost::ALL.len() as u32, 0);
#[map]
static BUDGET: PerCpuArray<Budget> = PerCpuArray::with_max_entries(1, 0);
/// The verdict about the packet at hand: too large for the stack. XDP does not preempt itself.
#[map]
static VERDICT: PerCpuArray<Verdict> = PerCpuArray::with_max_entries(1, 0);
/// The same for a packet that leaves.
#[map]
static LEAVING: PerCpuArray<Egress> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(EVENT_RING_BYTES, 0);
#[map]
pub(crate) static INSPECT: RingBuf = RingBuf::with_byte_size(INSPECT_RING_BYTES, 0);

const SLOT_AND_ADDRESS_BITS: u32 = 8 + 128;
const POLICY_BITS: u32 = 32 + 16;

/// The tables in the kernel.
pub(crate) struct Maps;

/// An entry of `FLOWS`. The kernel keeps its memory until the program ends.
pub(crate) struct Entry(*mut FlowValue);

impl Flow for Entry {
    #[inline(always)]
    fn value(&self) -> FlowValue {
        // SAFETY: the pointer comes from a map lookup and was checked; the value is integers only.
        unsafe { *self.0 }
    }

    #[inline(always)]
    fn touch(&self, touch: &Touch) {
        // SAFETY: as above. Two CPUs may lose a count to each other, never more.
        let value = unsafe { &mut *self.0 };
        value.last_seen = touch.now;
        value.packets += 1;
        value.bytes += u64::from(touch.length);
        value.tcp_flags |= touch.tcp_flags;
        value.copied += touch.copied;
        if value.epoch != touch.epoch {
            value.epoch = touch.epoch;
            value.rule = touch.rule;
        }
    }

    #[inline(always)]
    fn answer(&self, now: u64, copied: u32) {
        // SAFETY: as above.
        let value = unsafe { &mut *self.0 };
        value.last_seen = now;
        value.flags |= FLOW_ANSWERED;
        value.copied_reply += copied;
    }
}

impl Tables for Maps {
    type Flow<'a> = Entry;

    #[inline(always)]
    fn active(&self) -> Active {
        let Some(active) = ACTIVE.get_ptr(0) else { return Active::default() };
        // SAFETY: a checked map value, eight bytes aligned. Generation and epoch are its first eight bytes: one load
        // reads both, so they belong together.
        let word = unsafe { active.cast::<u64>().read_volatile() };
        // SAFETY: the same value, its third field.
        let flags = unsafe { (*active).flags } & ACTIVE_OBSERVE;
        Active { generation: word as u32, epoch: (word >> 32) as u32, flags, reserved: 0 }
    }

    #[inline(always)]
    fn port(&self, key: &PortKey) -> Option<ZoneId> {
        // SAFETY: the byte is read at once.
        unsafe { PORTS.get(key) }.copied()
    }

    #[inline(always)]
    fn zone(&self, slot: u8, zone: ZoneId) -> u32 {
        ZONES.get(u32::from(slot) * MAX_ZONES + u32::from(zone)).map_or(0, |zone| zone.flags)
    }

    #[inline(always)]
    fn network(&self, slot: u8, address: &Address) -> Option<ZoneId> {
        NETWORKS.get(slot_address(slot, address)).copied()
    }

    #[inline(always)]
    fn protected(&self, slot: u8, address: &Address) -> bool {
        PROTECTED.get(slot_address(slot, address)).is_some()
    }

    #[inline(always)]
    fn allowed(&self, address: &Address) -> Option<u64> {
        ALLOWS.get(Key::new(128, *address)).map(|allow| allow.until)
    }

    #[inline(always)]
    fn ban(&self, address: &Address) -> Option<BanValue> {
        BANS.get(Key::new(128, *address)).copied()
    }

    #[inline(always)]
    fn listed(&self, slot: u8, address: &Address) -> Option<ListValue> {
        LISTED.get(slot_address(slot, address)).copied()
    }

    #[inline(always)]
    fn policy(&self, key: &PolicyKey) -> Option<PolicyValue> {
        POLICY.get(Key::new(POLICY_BITS, *key)).copied()
    }

    #[inline(always)]
    fn flow(&self, key: &FlowKey) -> Option<Entry> {
        FLOWS.get_ptr_mut(key).map(Entry)
    }

    #[inline(always)]
    fn remember(&self, key: &FlowKey, value: &FlowValue) {
        if FLOWS.insert(key, value, 0).is_err() {
            count_lost(Lost::Flow);
        }
    }
}

#[inline(always)]
fn slot_address(slot: u8, address: &Address) -> Key<SlotAddress> {
    Key::new(SLOT_AND_ADDRESS_BITS, SlotAddress { slot, address: *address })
}

/// The place for this CPU's verdict.
#[inline(always)]
pub(crate) fn verdict() -> Option<&'static mut Verdict> {
    // SAFETY: this CPU's own memory, and one packet at a time holds it; zeros are a valid verdict.
    VERDICT.get_ptr_mut(0).map(|verdict| unsafe { &mut *verdict })
}

/// The place for what this CPU sees leave.
#[inline(always)]
pub(crate) fn leaving() -> Option<&'static mut Egress> {
    // SAFETY: as above.
    LEAVING.get_ptr_mut(0).map(|egress| unsafe { &mut *egress })
}

/// Which counter.
pub(crate) enum Count {
    /// By zone, reason and action.
    Packets(u32),
    /// By rule of the slot.
    Rule(u32),
    /// By list of the slot.
    List(u32),
}

/// Adds a packet to a counter.
#[inline(always)]
pub(crate) fn count(which: &Count, length: u32) {
    let counter = match *which {
        Count::Packets(index) => PACKETS.get_ptr_mut(index),
        Count::Rule(index) => RULES.get_ptr_mut(index),
        Count::List(index) => LISTS.get_ptr_mut(index),
    };
    if let Some(counter) = counter {
        // SAFETY: this CPU's own counter.
        let counter = unsafe { &mut *counter };
        counter.packets += 1;
        counter.bytes += u64::from(length);
    }
}

/// Counts a loss.
#[inline(always)]
pub(crate) fn count_lost(what: Lost) {
    if let Some(count) = LOST.get_ptr_mut(what as u32) {
        // SAFETY: this CPU's own counter.
        unsafe { *count += 1 };
    }
}

/// Takes one record from this CPU's budget of the second.
#[inline(always)]
pub(crate) fn within_budget(now: u64) -> bool {
    let Some(budget) = BUDGET.get_ptr_mut(0) else { return false };
    // SAFETY: this CPU's own memory.
    let budget = unsafe { &mut *budget };
    let second = now / 1_000_000_000;
    if budget.second != second {
        *budget = Budget { second, used: 0 };
    }
    budget.used += 1;
    budget.used <= u64::from(abi::EVENT_BUDGET)
}
