//! The feeding programs, the peers and the generator.

use abi::image::{Block, CHUNK_BLOCKS, Coordinate, IMAGE_ENTRIES, RuleRow, block_place};
use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, TC_ACT_SHOT, xdp_action},
    btf_maps,
    helpers::{bpf_ktime_get_coarse_ns, bpf_redirect},
    macros::{btf_map, classifier, map, xdp},
    maps::{Array, LpmTrie, PerCpuArray, ProgramArray, lpm_trie::Key},
    programs::{TcContext, XdpContext},
};
use bench_programs::{Asked, Control, FLOOR_TIMES, KEYS, Key4, Key6, LPM_LARGE, LPM_SMALL, Line, slot};
use datapath::image::{Image, Question, classify};

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[map]
static KEYS4: Array<Key4> = Array::with_max_entries(KEYS, BPF_F_MMAPABLE);
#[map]
static KEYS6: Array<Key6> = Array::with_max_entries(KEYS, BPF_F_MMAPABLE);
#[map]
static QUESTIONS: Array<Asked> = Array::with_max_entries(KEYS, BPF_F_MMAPABLE);
/// Sum over all answers of the classifier.
#[map]
static ANSWERS: Array<u64> = Array::with_max_entries(1, 0);
/// Lines that name each other; as many as are asked for when it is loaded.
#[map]
static LINES: Array<Line> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// secd's own images.
#[btf_map]
static IMAGES: btf_maps::ArrayOfMaps<Chunk, ENTRIES> = btf_maps::ArrayOfMaps::new();
const ENTRIES: usize = IMAGE_ENTRIES as usize;
type Chunk = btf_maps::Array<Block, { CHUNK_BLOCKS as usize }, { BPF_F_MMAPABLE as usize }>;
#[map]
static CONTROL: Array<Control> = Array::with_max_entries(1, 0);
#[map]
static ARRIVING: ProgramArray = ProgramArray::with_max_entries(slot::COUNT, 0);
#[map]
static LEAVING: ProgramArray = ProgramArray::with_max_entries(slot::COUNT, 0);
#[map]
static TRIE_SMALL: LpmTrie<[u8; 4], u32> = LpmTrie::with_max_entries(LPM_SMALL, 0);
#[map]
static TRIE_LARGE: LpmTrie<[u8; 4], u32> = LpmTrie::with_max_entries(LPM_LARGE, 0);
/// Packets that the peers dropped.
#[map]
static DROPPED: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Writes a word to any address, as the processor does.
///
/// # Safety
/// The bytes belong to the packet.
#[inline(always)]
unsafe fn put<T>(at: usize, word: T) {
    // SAFETY: promised by the caller. The verifier and the processor take unaligned words.
    unsafe { core::ptr::write_volatile(at as *mut T, word) };
}

/// Takes the next number, and where the network header begins.
#[inline(always)]
fn next() -> Option<(u32, &'static Control)> {
    let control = CONTROL.get_ptr_mut(0)?;
    // SAFETY: a checked map value; runs are made one at a time.
    unsafe {
        let number = (*control).cursor;
        (*control).cursor = number.wrapping_add(1);
        Some((number, &*control))
    }
}

/// Mixes the number of the pass into the source port, which is the first half of the word.
#[inline(always)]
fn freshened(ports: [[u8; 2]; 2], number: u32, control: &Control) -> u32 {
    // SAFETY: four bytes either way.
    let word: u32 = unsafe { core::mem::transmute(ports) };
    word ^ ((number / KEYS) & control.fresh & 0xffff)
}

/// Writes the next IPv4 key, turned around for packets that leave.
#[inline(always)]
fn write4(data: usize, end: usize, leaves: bool) -> Option<()> {
    let (number, control) = next()?;
    let key = KEYS4.get_ptr(number & (KEYS - 1))?;
    let header = data + (control.at as usize & 31);
    if header + 24 > end {
        return None;
    }
    // SAFETY: a checked map value; the bytes written lie before the end of the packet.
    unsafe {
        let addresses = key.cast::<u64>().read();
        let ports = freshened((*key).ports, number, control);
        put(header + 12, if leaves { addresses.rotate_left(32) } else { addresses });
        put(header + 20, if leaves { ports.rotate_left(16) } else { ports });
    }
    Some(())
}

/// Writes the next IPv6 key, turned around for packets that leave.
#[inline(always)]
fn write6(data: usize, end: usize, leaves: bool) -> Option<()> {
    let (number, control) = next()?;
    let key = KEYS6.get_ptr(number & (KEYS - 1))?;
    let header = data + (control.at as usize & 31);
    if header + 44 > end {
        return None;
    }
    let (source, destination) = if leaves { (24, 8) } else { (8, 24) };
    // SAFETY: as above.
    unsafe {
        let words = key.cast::<u64>();
        let ports = freshened((*key).ports, number, control);
        put(header + source, words.read());
        put(header + source + 8, words.add(1).read());
        put(header + destination, words.add(2).read());
        put(header + destination + 8, words.add(3).read());
        put(header + 40, if leaves { ports.rotate_left(16) } else { ports });
    }
    Some(())
}

#[inline(always)]
fn arrive(context: &XdpContext, written: Option<()>, slot: u32) -> u32 {
    if written.is_some() {
        // SAFETY: the programs of the table are complete in themselves.
        unsafe { ARRIVING.tail_call(context, slot) };
    }
    xdp_action::XDP_ABORTED
}

/// Programs that feed IPv4 and IPv6 packets to one slot.
macro_rules! feeding {
    ($($v4:ident, $v6:ident => $slot:expr;)+) => {$(
        #[xdp(frags)]
        fn $v4(context: XdpContext) -> u32 {
            let written = write4(context.data(), context.data_end(), false);
            arrive(&context, written, $slot)
        }

        #[xdp(frags)]
        fn $v6(context: XdpContext) -> u32 {
            let written = write6(context.data(), context.data_end(), false);
            arrive(&context, written, $slot)
        }
    )+};
}

feeding! {
    feed4_bare, feed6_bare => slot::BARE;
    feed4_secd, feed6_secd => slot::SECD;
    feed4_small, feed6_small => slot::LPM_SMALL;
    feed4_large, feed6_large => slot::LPM_LARGE;
}

/// Feeds answers to secd's program for packets that leave.
#[classifier]
fn answer4(context: TcContext) -> i32 {
    if write4(context.data(), context.data_end(), true).is_some() {
        // SAFETY: as above.
        unsafe { LEAVING.tail_call(&context, slot::SECD) };
    }
    TC_ACT_SHOT
}

/// The same for IPv6.
#[classifier]
fn answer6(context: TcContext) -> i32 {
    if write6(context.data(), context.data_end(), true).is_some() {
        // SAFETY: as above.
        unsafe { LEAVING.tail_call(&context, slot::SECD) };
    }
    TC_ACT_SHOT
}

/// The floor: what the driver and the kernel take for themselves.
#[xdp(frags)]
fn bare(_context: XdpContext) -> u32 {
    xdp_action::XDP_DROP
}

/// The floor with a count, to be sure that all came.
#[xdp(frags)]
fn bare_counted(_context: XdpContext) -> u32 {
    count_drop();
    xdp_action::XDP_DROP
}

#[xdp(frags)]
fn lpm_small(context: XdpContext) -> u32 {
    listed(&context, &TRIE_SMALL)
}

#[xdp(frags)]
fn lpm_large(context: XdpContext) -> u32 {
    listed(&context, &TRIE_LARGE)
}

/// A list of addresses as the kernel's own table does it: untagged IPv4, source looked up.
#[inline(always)]
fn listed(context: &XdpContext, trie: &LpmTrie<[u8; 4], u32>) -> u32 {
    let (data, end) = (context.data(), context.data_end());
    if data + 34 > end {
        return xdp_action::XDP_PASS;
    }
    // SAFETY: the bytes read were just checked to lie inside the packet.
    let (kind, version, source) = unsafe {
        (
            ((data + 12) as *const u16).read_volatile(),
            ((data + 14) as *const u8).read_volatile(),
            ((data + 26) as *const u32).read_volatile(),
        )
    };
    if kind != 0x0800_u16.to_be()
        || version >> 4 != 4
        || trie.get(Key::new(32, source.to_ne_bytes())).is_none()
    {
        return xdp_action::XDP_PASS;
    }
    count_drop();
    xdp_action::XDP_DROP
}

#[inline(always)]
fn count_drop() {
    if let Some(count) = DROPPED.get_ptr_mut(0) {
        // SAFETY: this CPU's own counter.
        unsafe { *count += 1 };
    }
}

/// The image of a slot.
struct Generation(u32);

impl Image for Generation {
    #[inline(always)]
    fn block(&self, index: u32) -> Option<&Block> {
        let (entry, at) = block_place(self.0, index);
        IMAGES.get_value(entry, &at)
    }
}

/// The next question, and the slot of the image that is asked.
#[inline(always)]
fn question() -> Option<(Question, u32)> {
    let (number, control) = next()?;
    let asked = QUESTIONS.get_ptr(number & (KEYS - 1))?;
    // SAFETY: a checked map value.
    let asked = unsafe { asked.read_volatile() };
    let question = Question {
        from: asked.from,
        to: asked.to,
        device: asked.device,
        protocol: asked.protocol,
        port: asked.port,
        source: Coordinate::from_half(asked.source),
        destination: Coordinate::from_half(asked.destination),
    };
    Some((question, control.slot & 1))
}

#[inline(always)]
fn answer(word: u64) -> u32 {
    if let Some(sum) = ANSWERS.get_ptr_mut(0) {
        // SAFETY: a checked map value; runs are made one at a time.
        unsafe { *sum = (*sum).wrapping_add(word) };
    }
    xdp_action::XDP_DROP
}

/// Asks the classifier, without a packet.
#[xdp(frags)]
fn ask(_context: XdpContext) -> u32 {
    let Some((question, slot)) = question() else { return xdp_action::XDP_ABORTED };
    answer(bench_classify(slot, &question))
}

/// The same without asking: what is subtracted.
#[xdp(frags)]
fn ask_nothing(_context: XdpContext) -> u32 {
    let Some((question, slot)) = question() else { return xdp_action::XDP_ABORTED };
    answer(bench_pass_by(slot, &question))
}

// Calls of functions with external linkage on both sides, as secd's own program makes one.

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn bench_classify(slot: u32, question: *const Question) -> u64 {
    // SAFETY: the verifier makes sure that it is a question or null.
    match unsafe { question.as_ref() } {
        Some(question) => classify(&Generation(slot), question).word(),
        None => RuleRow::NONE.word(),
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn bench_pass_by(slot: u32, question: *const Question) -> u64 {
    // SAFETY: as above.
    match unsafe { question.as_ref() } {
        Some(question) => u64::from(slot) + u64::from(question.port),
        None => 0,
    }
}

/// What the programs that show floors take for themselves.
#[xdp(frags)]
fn floor_nothing(_context: XdpContext) -> u32 {
    answer(1)
}

/// Calls of a helper that does next to nothing.
#[xdp(frags)]
fn floor_helpers(_context: XdpContext) -> u32 {
    let mut sum = 0_u64;
    for _ in 0..FLOOR_TIMES {
        // SAFETY: a helper without arguments.
        sum = sum.wrapping_add(unsafe { bpf_ktime_get_coarse_ns() });
    }
    answer(sum)
}

/// Calls of a function that does next to nothing.
#[xdp(frags)]
fn floor_calls(_context: XdpContext) -> u32 {
    let mut sum = 1_u32;
    for _ in 0..FLOOR_TIMES {
        sum = bench_next(sum);
    }
    answer(u64::from(sum))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn bench_next(number: u32) -> u32 {
    number.wrapping_mul(0x9e37_79b1).rotate_left(7)
}

/// Loads from lines that lie in no order, of which each says where the next is.
#[xdp(frags)]
fn floor_loads(_context: XdpContext) -> u32 {
    let Some(control) = CONTROL.get_ptr_mut(0) else { return xdp_action::XDP_ABORTED };
    // SAFETY: checked map values; runs are made one at a time.
    unsafe {
        let mut at = (*control).cursor;
        for _ in 0..FLOOR_TIMES {
            let Some(line) = LINES.get_ptr(at) else { return xdp_action::XDP_ABORTED };
            at = line.cast::<u32>().read_volatile();
        }
        (*control).cursor = at;
        answer(u64::from(at))
    }
}

/// Makes the next frame of a flood and sends it out of an interface: live frames.
#[xdp]
fn generate(context: XdpContext) -> u32 {
    let Some((number, control)) = next() else { return xdp_action::XDP_ABORTED };
    let Some(key) = KEYS4.get_ptr(number & (KEYS - 1)) else { return xdp_action::XDP_ABORTED };
    let header = context.data() + 14;
    if header + 24 > context.data_end() {
        return xdp_action::XDP_ABORTED;
    }
    // SAFETY: a checked map value; the bytes written lie before the end of the packet; the redirection takes numbers.
    unsafe {
        let source = key.cast::<u32>().read();
        let mut sum = control.sum + (source & 0xffff) + (source >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        put(header + 12, source);
        put(header + 10, !(sum as u16));
        bpf_redirect(control.ifindex, 0) as u32
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
