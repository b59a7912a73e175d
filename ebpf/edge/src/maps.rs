//! The maps, and [`Tables`] over them. `daemon/enforce` knows them by these names.

use abi::{
    ACTIVE_BANS, ACTIVE_RANGES, Active, Address, AllowValue, BanKey, BanValue, Budget, Counter,
    DEFAULT_FLOWS, EVENT_RING_BYTES, FLOW_WAYS, FORGOTTEN_ROW, FORGOTTEN_TICKS, FlowSet, HELD_TAGS,
    INSPECT_RING_BYTES, Lost, MAX_BANNED_RANGES, MAX_BANS, MAX_LISTS, MAX_METERED, MAX_PROTECTED,
    MAX_RESOLVED, MAX_RULES, MAX_SCANNERS, PACKET_COUNTERS, RateKey, RateState, ResolvedKey, ResolvedValue,
    ZoneId,
    image::{
        AddressClass, Block, CHUNK_BLOCKS, Coordinate, IMAGE_ENTRIES, RateRow, RuleRow, ZoneRow, block_place,
    },
};
use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    btf_maps,
    macros::{btf_map, map},
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf, lpm_trie::Key},
};
use datapath::{
    Egress, Places, Step, Tables, Verdict,
    image::{self, Image, Question},
};

/// The images of both slots, in chunks. Userspace makes these, as many as each image needs.
#[btf_map]
static IMAGES: btf_maps::ArrayOfMaps<Chunk, ENTRIES> = btf_maps::ArrayOfMaps::new();
const ENTRIES: usize = IMAGE_ENTRIES as usize;
type Chunk = btf_maps::Array<Block, { CHUNK_BLOCKS as usize }, { BPF_F_MMAPABLE as usize }>;
/// The ports of each image once more: its block [`abi::image::PORTS_BLOCK`], by slot. The kernel finds it without a call.
#[map]
static PORTS: Array<Block> = Array::with_max_entries(2, BPF_F_MMAPABLE);
#[map]
static ACTIVE: Array<Active> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// The flow table; its size is set when it is loaded.
#[map]
static FLOWS: Array<FlowSet> = Array::with_max_entries(DEFAULT_FLOWS / FLOW_WAYS as u32, BPF_F_MMAPABLE);
#[map]
static FORGOTTEN: Array<[u32; FORGOTTEN_ROW as usize]> =
    Array::with_max_entries(FORGOTTEN_TICKS / FORGOTTEN_ROW, BPF_F_MMAPABLE);
#[map]
static BANS: HashMap<BanKey, BanValue> = HashMap::with_max_entries(MAX_BANS, BPF_F_NO_PREALLOC);
#[map]
static BANNED_RANGES: LpmTrie<Address, BanValue> = LpmTrie::with_max_entries(MAX_BANNED_RANGES, 0);
#[map]
static ALLOWS: LpmTrie<Address, AllowValue> = LpmTrie::with_max_entries(MAX_PROTECTED, 0);
/// What the resolver answered, by zone. Userspace writes it.
#[map]
static RESOLVED: HashMap<ResolvedKey, ResolvedValue> =
    HashMap::with_max_entries(MAX_RESOLVED, BPF_F_NO_PREALLOC);
#[map]
static RATES: LruHashMap<RateKey, RateState> = LruHashMap::with_max_entries(MAX_METERED, 0);
#[map]
static SCANNERS: Array<FlowSet> = Array::with_max_entries(MAX_SCANNERS / FLOW_WAYS as u32, BPF_F_MMAPABLE);
/// Until when sources of a tag are slowed down, in ticks: what says quickly that a source is not.
#[map]
static HELD: Array<[u32; FORGOTTEN_ROW as usize]> = Array::with_max_entries(HELD_TAGS / FORGOTTEN_ROW, 0);
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
/// The verdict about the packet at hand: too large for the stack. XDP does not preempt itself; TC ingress runs where it
/// has ended.
#[map]
static VERDICT: PerCpuArray<Verdict> = PerCpuArray::with_max_entries(1, 0);
/// The same for a packet that leaves.
#[map]
static LEAVING: PerCpuArray<Egress> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(EVENT_RING_BYTES, 0);
#[map]
pub(crate) static INSPECT: RingBuf = RingBuf::with_byte_size(INSPECT_RING_BYTES, 0);

/// The tables in the kernel.
pub(crate) struct Maps;

/// The image of a slot.
struct Generation(u32);

impl Image for Generation {
    #[inline(always)]
    fn block(&self, index: u32) -> Option<&Block> {
        let (entry, at) = block_place(self.0, index);
        IMAGES.get_value(entry, &at)
    }
}

/// As much of an image as a known flow needs.
struct Ports(u32);

impl Image for Ports {
    #[inline(always)]
    fn block(&self, _: u32) -> Option<&Block> {
        PORTS.get(self.0)
    }
}

/// A set of `FLOWS`. The kernel keeps its memory until the program ends.
pub(crate) struct Set(*mut FlowSet);

impl Set {
    #[inline(always)]
    fn word(&self, way: u32, word: u32) -> *mut u64 {
        // SAFETY: the set comes from a map lookup and was checked; the place is within its 64 words.
        unsafe { self.0.cast::<u64>().add(FlowSet::word_at(way, word) as usize) }
    }
}

impl Places for Set {
    #[inline(always)]
    fn load(&self, way: u32, word: u32) -> u64 {
        // SAFETY: a word of the set. Volatile: others write it meanwhile.
        unsafe { self.word(way, word).read_volatile() }
    }

    #[inline(always)]
    fn store(&self, way: u32, word: u32, value: u64) {
        // SAFETY: as above.
        unsafe { self.word(way, word).write_volatile(value) }
    }

    #[inline(always)]
    fn mark(&self, way: u32, ticks: u32) {
        // SAFETY: as above; the lower half lies first.
        unsafe { self.word(way, 6).cast::<u32>().write_volatile(ticks) }
    }

    #[inline(always)]
    fn opaque(word: u64) -> u64 {
        let mut word = word;
        // SAFETY: the register stays what it was. (No instruction at all would be none to tell a line of source about.)
        unsafe { core::arch::asm!("{0} = {0}", inout(reg) word, options(pure, nomem, nostack)) };
        word
    }

    #[inline(always)]
    fn take(&self, way: u32, version: u32) -> bool {
        version & 1 == 0 && compare_exchange(self.word(way, 0).cast(), version, version | 1) == version
    }
}

/// Writes `new` if `old` is there; returns what was. The target's own atomics know no such thing, its processor does.
#[inline(always)]
fn compare_exchange(place: *mut u32, old: u32, new: u32) -> u32 {
    let mut was = old;
    // SAFETY: `place` is an aligned word of a set; the instruction reads and writes it and nothing else.
    unsafe {
        core::arch::asm!(
            "w0 = cmpxchg32_32({place} + 0, w0, {new})",
            place = in(reg) place,
            new = in(wreg) new,
            inout("w0") was,
        );
    }
    was
}

impl Tables for Maps {
    type Set<'a> = Set;

    #[inline(always)]
    fn active(&self) -> Active {
        let Some(active) = ACTIVE.get_ptr(0) else { return Active::default() };
        // SAFETY: a checked map value, eight bytes aligned. Generation and epoch are its first eight bytes: one load
        // reads both, so they belong together.
        let word = unsafe { active.cast::<u64>().read_volatile() };
        // SAFETY: the same value.
        let rest = unsafe { &*active };
        Active { generation: word as u32, epoch: (word >> 32) as u32, ..*rest }
    }

    #[inline(always)]
    fn port(&self, slot: u32, ifindex: u32, vlan: u16) -> ZoneId {
        image::port(&Generation(slot), ifindex, vlan)
    }

    #[inline(always)]
    fn near_port(&self, slot: u32, ifindex: u32, vlan: u16) -> ZoneId {
        image::port(&Ports(slot), ifindex, vlan)
    }

    #[inline(always)]
    fn zone(&self, slot: u32, zone: ZoneId) -> ZoneRow {
        image::zone(&Generation(slot), zone)
    }

    #[inline(always)]
    fn address(&self, slot: u32, address: &Address) -> AddressClass {
        image::address(&Generation(slot), address)
    }

    #[inline(always)]
    fn device(&self, slot: u32, mac: &[u8; 6]) -> u16 {
        image::device(&Generation(slot), mac)
    }

    #[inline(always)]
    fn classify(&self, slot: u32, question: &Question) -> RuleRow {
        RuleRow::from_word(secd_classify(slot, question))
    }

    #[inline(always)]
    fn rate(&self, slot: u32, number: u16) -> RateRow {
        image::rate(&Generation(slot), number)
    }

    #[inline(always)]
    fn helped(&self, slot: u32, from: ZoneId, to: ZoneId, protocol: u8) -> bool {
        image::helped(&Generation(slot), from, to, protocol)
    }

    #[inline(always)]
    fn ban(&self, active: u32, address: &Address) -> Option<BanValue> {
        let is_v4 = matches!(address, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ..]);
        let mut found = BanValue::default();
        let mut is_found = false;
        if active & ACTIVE_BANS != 0 {
            let mut key = BanKey { address: *address, bits: 128 };
            is_found = read(BANS.get_ptr(key), &mut found);
            if !is_found && !is_v4 {
                let [.., a, b, c, d, e, f, g, h] = &mut key.address;
                [*a, *b, *c, *d, *e, *f, *g, *h] = [0; 8];
                key.bits = 64;
                is_found = read(BANS.get_ptr(key), &mut found);
            }
        }
        if active & ACTIVE_RANGES != 0
            && (!is_found || found.bits < 128)
            && let Some(range) = BANNED_RANGES.get(Key::new(128, *address))
            && (!is_found || found.bits < range.bits)
        {
            found = *range;
            is_found = true;
        }
        if is_found { Some(found) } else { None }
    }

    #[inline(always)]
    fn allowed(&self, address: &Address) -> Option<u64> {
        ALLOWS.get(Key::new(128, *address)).map(|allow| allow.until)
    }

    #[inline(always)]
    fn resolved(&self, slot: u32, zone: ZoneId, address: &Address) -> Option<ResolvedValue> {
        let key = ResolvedKey { address: *address, zone: image::resolver_zone(&Generation(slot), zone) };
        // SAFETY: the value is read at once.
        unsafe { RESOLVED.get(key) }.copied()
    }

    #[inline(always)]
    fn patterns(&self, slot: u32) -> u64 {
        image::patterns(&Generation(slot))
    }

    #[inline(always)]
    fn pattern(&self, slot: u32, pattern: u32) -> Coordinate {
        image::pattern(&Generation(slot), pattern)
    }

    #[inline(always)]
    fn set(&self, index: u32) -> Option<Set> {
        FLOWS.get_ptr_mut(index).map(Set)
    }

    #[inline(always)]
    fn forgotten(&self, tag: u32) -> u32 {
        let (row, at) = row_place(tag & (FORGOTTEN_TICKS - 1));
        // SAFETY: a checked map value; the place is within it.
        FORGOTTEN.get_ptr(row).map_or(0, |row| unsafe { (*row)[at] })
    }

    #[inline(always)]
    fn forget(&self, tag: u32, ticks: u32) {
        let (row, at) = row_place(tag & (FORGOTTEN_TICKS - 1));
        if let Some(row) = FORGOTTEN.get_ptr_mut(row) {
            // SAFETY: as above. 0 says "never".
            unsafe { (*row)[at] = ticks | u32::from(ticks == 0) };
        }
    }

    #[inline(always)]
    fn bucket(&self, key: &RateKey) -> u64 {
        // SAFETY: the word is read at once.
        unsafe { RATES.get(key) }.map_or(0, |state| state.due)
    }

    #[inline(always)]
    fn fill(&self, key: &RateKey, due: u64) {
        if let Some(state) = RATES.get_ptr_mut(key) {
            // SAFETY: a checked map value. Two CPUs may lose a count to each other.
            unsafe { (*state).due = due };
        } else if RATES.insert(key, RateState { due }, 0).is_err() {
            count_lost(Lost::Meter);
        }
    }

    #[inline(always)]
    fn held(&self, tag: u32) -> u32 {
        let (row, at) = row_place(tag & (HELD_TAGS - 1));
        // SAFETY: a checked map value; the place is within it.
        HELD.get_ptr(row).map_or(0, |row| unsafe { (*row)[at] })
    }

    #[inline(always)]
    fn hold(&self, tag: u32, until: u32) {
        let (row, at) = row_place(tag & (HELD_TAGS - 1));
        if let Some(row) = HELD.get_ptr_mut(row) {
            // SAFETY: as above. 0 says "none".
            unsafe { (*row)[at] = until | u32::from(until == 0) };
        }
    }

    #[inline(always)]
    fn scanners(&self, index: u32) -> Option<Set> {
        SCANNERS.get_ptr_mut(index).map(Set)
    }

    #[inline(always)]
    fn lost(&self, what: Lost) {
        count_lost(what);
    }

    #[inline(always)]
    fn step(&self, step: Step, verdict: &mut Verdict) -> bool {
        let verdict: *mut Verdict = verdict;
        let ends = match step {
            Step::Judge => secd_judge(verdict),
            Step::Known => secd_known(verdict),
            Step::Review => secd_review(verdict),
            Step::Source => secd_source(verdict),
            Step::Destination => secd_destination(verdict),
            Step::LookUpSource => secd_look_up_source(verdict),
            Step::LookUpDestination => secd_look_up_destination(verdict),
            Step::SourceStarts => secd_source_starts(verdict),
            Step::SourceIsTarget => secd_source_is_target(verdict),
            Step::DestinationStarts => secd_destination_starts(verdict),
            Step::DestinationIsTarget => secd_destination_is_target(verdict),
            Step::Held => secd_held(verdict),
            Step::Open => secd_open(verdict),
            Step::KeptIn => secd_kept_in(verdict),
            Step::Unresolved => secd_unresolved(verdict),
            Step::Metered => secd_metered(verdict),
            Step::Forgotten => secd_forgotten(verdict),
            Step::WasForgotten => secd_was_forgotten(verdict),
            Step::Scanned => secd_scanned(verdict),
            Step::About => secd_about(verdict),
            Step::Renew => secd_renew(verdict),
            Step::Loosen => secd_loosen(verdict),
            Step::EnterPacket => secd_enter_packet(verdict),
            Step::Enter => secd_enter(verdict),
        };
        ends != 0
    }
}

/// Copies a ban that was found.
#[inline(always)]
fn read(ban: Option<*const BanValue>, into: &mut BanValue) -> bool {
    let Some(ban) = ban else { return false };
    // SAFETY: a checked map value; its memory stays while the program runs.
    *into = unsafe { *ban };
    true
}

// Functions with external linkage: the verifier judges them once, not on every path that leads to them.

/// What the policy says, as a word.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn secd_classify(slot: u32, question: *const Question) -> u64 {
    // SAFETY: the verifier makes sure that it is a question or null.
    match unsafe { question.as_ref() } {
        Some(question) => image::classify(&Generation(slot), question).word(),
        None => RuleRow::NONE.word(),
    }
}

macro_rules! steps {
    ($($name:ident = $step:ident;)+) => { $(
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $name(verdict: *mut Verdict) -> u32 {
            // SAFETY: the verifier makes sure that it is a verdict or null; nobody else holds it meanwhile.
            match unsafe { verdict.as_mut() } {
                Some(verdict) => u32::from(Step::$step.take(&Maps, verdict)),
                None => 1,
            }
        }
    )+ };
}

steps! {
    secd_judge = Judge;
    secd_known = Known;
    secd_review = Review;
    secd_source = Source;
    secd_destination = Destination;
    secd_look_up_source = LookUpSource;
    secd_look_up_destination = LookUpDestination;
    secd_source_starts = SourceStarts;
    secd_source_is_target = SourceIsTarget;
    secd_destination_starts = DestinationStarts;
    secd_destination_is_target = DestinationIsTarget;
    secd_held = Held;
    secd_open = Open;
    secd_kept_in = KeptIn;
    secd_unresolved = Unresolved;
    secd_metered = Metered;
    secd_forgotten = Forgotten;
    secd_was_forgotten = WasForgotten;
    secd_scanned = Scanned;
    secd_about = About;
    secd_renew = Renew;
    secd_loosen = Loosen;
    secd_enter_packet = EnterPacket;
    secd_enter = Enter;
}

#[inline(always)]
const fn row_place(at: u32) -> (u32, usize) {
    (at / FORGOTTEN_ROW, (at & (FORGOTTEN_ROW - 1)) as usize)
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
