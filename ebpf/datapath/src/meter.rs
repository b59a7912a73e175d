//! Who starts too much: rates of new flows, and sources that try what is denied them.

use abi::{
    Address, FLOW_WAYS, FlowKey, Lost, MAX_SCANNERS, RateKey, SCAN_HOLD_NS, SCAN_PACE_NS, SCAN_TRIES,
    SCAN_WINDOW_NS, Spot, ZoneId, address_words, image::RateRow, spot, ticks,
};

use crate::{Tables, flow::Places, verdict::Setting};

/// Who is metered: an IPv4 address, or the IPv6 network of 64 bits that one host may have for itself.
#[inline(always)]
pub(crate) fn who(source: &Address, v6: bool) -> Address {
    let mut who = *source;
    if v6 {
        let [.., a, b, c, d, e, f, g, h] = &mut who;
        [*a, *b, *c, *d, *e, *f, *g, *h] = [0; 8];
    }
    who
}

/// One more new flow of a source goes into the bucket of a rate. `false`: it is full (GCRA, ITU-T I.371).
///
/// `zone`: the rate is that zone's; [`abi::ZONE_NONE`]: a rule's.
#[inline(always)]
pub(crate) fn admits<T: Tables>(
    tables: &T,
    rate: RateRow,
    number: u16,
    zone: ZoneId,
    who: &Address,
    now: u64,
) -> bool {
    let RateRow { interval, burst } = rate;
    if interval == 0 {
        return true;
    }
    let key = RateKey { address: *who, rate: number as u32 | (zone as u32) << 16 };
    let due = tables.bucket(&key);
    let due = if due < now { now } else { due };
    let room = interval.wrapping_mul((if burst == 0 { 1 } else { burst } - 1) as u64);
    if due - now > room {
        return false;
    }
    tables.fill(&key, due.wrapping_add(interval));
    true
}

/// A source that scans is slowed down: whether this new flow of it waits.
#[inline(always)]
pub(crate) fn is_held<T: Tables>(tables: &T, who: &Address, setting: &Setting) -> bool {
    let (now, home) = (setting.now, home(tables, who));
    // Until when someone of this tag is slowed down. The upper half is the past.
    let until = tables.held(home.tag);
    if until == 0 || setting.ticks.wrapping_sub(until) < 1 << 31 {
        return false;
    }
    let Some(set) = tables.scanners(home.set) else { return false };
    let source = address_words(who);
    let place = place_of(&set, home.way, &source, now);
    let mut state = Scanner::of(&set, &place, &source);
    if state.held <= now {
        return false;
    }
    if state.due > now {
        return true;
    }
    state.due = now + SCAN_PACE_NS;
    state.note(tables, &set, &place, &source);
    false
}

/// A new flow of a source was denied. `true`: that is a scan from here on.
#[inline(always)]
pub(crate) fn is_scan<T: Tables>(tables: &T, who: &Address, flow: &FlowKey, setting: &Setting) -> bool {
    let (now, home) = (setting.now, home(tables, who));
    let Some(set) = tables.scanners(home.set) else { return false };
    let source = address_words(who);
    let place = place_of(&set, home.way, &source, now);
    let mut state = Scanner::of(&set, &place, &source);
    if now.wrapping_sub(state.window) > SCAN_WINDOW_NS {
        state.window = now;
        state.sketch = 0;
    }
    let [high, low] = address_words(&flow.destination);
    let ports = flow.words()[4];
    let tried = (high ^ low.rotate_left(17) ^ (ports >> 16 & 0xffff).wrapping_mul(0x9e37_79b9))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let sketch = state.sketch | 1 << (tried >> 58);
    if sketch == state.sketch && state.window != now {
        return false;
    }
    state.sketch = sketch;
    let scans = ones(sketch) > SCAN_TRIES && state.held <= now;
    if scans {
        state.held = now + SCAN_HOLD_NS;
        state.due = now;
        // One more, so that it does not end before the other clock says so.
        tables.hold(home.tag, setting.ticks.wrapping_add(ticks(SCAN_HOLD_NS) + 1));
    }
    state.note(tables, &set, &place, &source);
    scans
}

/// What was noted of a source that was denied. All times are boot times in ns.
///
/// It lies in the first line of a place of a table of sets ([`Places`]): the version, the source, and these four.
#[derive(Clone, Copy, Default)]
struct Scanner {
    /// When the window began.
    window: u64,
    /// A bit for each hash of a destination and port that denied the source in the window.
    sketch: u64,
    /// Until when new flows of the source are slowed down.
    held: u64,
    /// When the next of them may pass.
    due: u64,
}

/// Sets of the table of sources less one.
const SETS_MASK: u32 = MAX_SCANNERS / FLOW_WAYS as u32 - 1;
const WORD_SOURCE: u32 = 1;
const WORD_WINDOW: u32 = 3;
const WORD_SKETCH: u32 = 4;
const WORD_HELD: u32 = 5;
const WORD_DUE: u32 = 6;

/// The place of a source, or the one that it takes: of its set that of which least is lost.
struct Place {
    way: u32,
    version: u32,
    is_its_own: bool,
}

/// Where a source belongs.
#[inline(always)]
fn home<T: Tables>(tables: &T, who: &Address) -> Spot {
    let [high, low] = address_words(who);
    spot(&[high, low, 0, 0, 0], &tables.active().seed, SETS_MASK)
}

#[inline(always)]
fn place_of<S: Places>(set: &S, first_way: u32, source: &[u64; 2], now: u64) -> Place {
    let mut found = Place { way: first_way, version: 0, is_its_own: false };
    let (mut least, mut tried) = (u64::MAX, 0);
    while tried < FLOW_WAYS as u32 {
        let way = (first_way + tried) & (FLOW_WAYS as u32 - 1);
        let is_its_own =
            (set.load(way, WORD_SOURCE) ^ source[0]) | (set.load(way, WORD_SOURCE + 1) ^ source[1]) == 0;
        // The time at which it may be forgotten: as long as it is slowed down, or its window goes on.
        let (window, held) = (set.load(way, WORD_WINDOW), set.load(way, WORD_HELD));
        let kept = if is_its_own {
            0
        } else if held > now {
            held
        } else {
            window | 1
        };
        if kept < least {
            least = kept;
            found = Place { way, version: set.load(way, 0) as u32, is_its_own };
        }
        tried += 1;
    }
    found
}

impl Scanner {
    #[inline(always)]
    fn of<S: Places>(set: &S, place: &Place, source: &[u64; 2]) -> Self {
        let &Place { way, version, is_its_own } = place;
        let found = Self {
            window: set.load(way, WORD_WINDOW),
            sketch: set.load(way, WORD_SKETCH),
            held: set.load(way, WORD_HELD),
            due: set.load(way, WORD_DUE),
        };
        // Another may have written meanwhile.
        let stands = is_its_own
            && version & 1 == 0
            && set.load(way, 0) as u32 == version
            && set.load(way, WORD_SOURCE) == source[0];
        if stands { found } else { Self::default() }
    }

    /// Notes it. Left out and counted if another has written meanwhile.
    #[inline(always)]
    fn note<T: Tables>(&self, tables: &T, set: &T::Set<'_>, place: &Place, source: &[u64; 2]) {
        let &Place { way, version, .. } = place;
        if !set.take(way, version) {
            return tables.lost(Lost::Meter);
        }
        set.store(way, WORD_SOURCE, source[0]);
        set.store(way, WORD_SOURCE + 1, source[1]);
        set.store(way, WORD_WINDOW, self.window);
        set.store(way, WORD_SKETCH, self.sketch);
        set.store(way, WORD_HELD, self.held);
        set.store(way, WORD_DUE, self.due);
        set.store(way, 0, version.wrapping_add(2) as u64);
    }
}

/// Bits that are set. BPF has no instruction for it, and the compiler's own way is a table.
#[inline(always)]
const fn ones(word: u64) -> u32 {
    let pairs = word - (word >> 1 & 0x5555_5555_5555_5555);
    let fours = (pairs & 0x3333_3333_3333_3333) + (pairs >> 2 & 0x3333_3333_3333_3333);
    let eights = fours.wrapping_add(fours >> 4) & 0x0f0f_0f0f_0f0f_0f0f;
    (eights.wrapping_mul(0x0101_0101_0101_0101) >> 56) as u32
}
