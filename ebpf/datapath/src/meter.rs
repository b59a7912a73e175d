//! Who starts too much: rates of new flows, and sources that try what is denied them.

use abi::{
    Address, FlowKey, RateKey, SCAN_HOLD_NS, SCAN_PACE_NS, SCAN_TRIES, SCAN_WINDOW_NS, ScanState, ZoneId,
    address_words, image::RateRow, spot, ticks,
};

use crate::{Tables, verdict::Setting};

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
    let now = setting.now;
    // Until when someone of this tag is slowed down. The upper half is the past.
    let until = tables.held(tag(tables, who));
    if until == 0 || setting.ticks.wrapping_sub(until) < 1 << 31 {
        return false;
    }
    let mut state = ScanState::default();
    if !tables.scan(who, &mut state) || state.held <= now {
        return false;
    }
    if state.due > now {
        return true;
    }
    state.due = now + SCAN_PACE_NS;
    tables.note_scan(who, &state);
    false
}

/// A new flow of a source was denied. `true`: that is a scan from here on.
#[inline(always)]
pub(crate) fn is_scan<T: Tables>(tables: &T, who: &Address, flow: &FlowKey, setting: &Setting) -> bool {
    let now = setting.now;
    let mut state = ScanState::default();
    if !tables.scan(who, &mut state) || now.wrapping_sub(state.window) > SCAN_WINDOW_NS {
        state = ScanState { window: now, sketch: 0, ..state };
    }
    let [_, _, high, low, ports] = flow.words();
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
        tables.hold(tag(tables, who), setting.ticks.wrapping_add(ticks(SCAN_HOLD_NS) + 1));
    }
    tables.note_scan(who, &state);
    scans
}

/// Hash of a source, for the table of those that are slowed down.
#[inline(always)]
fn tag<T: Tables>(tables: &T, who: &Address) -> u32 {
    let [high, low] = address_words(who);
    spot(&[high, low, 0, 0, 0], &tables.active().seed, 0).tag
}

/// Bits that are set. BPF has no instruction for it, and the compiler's own way is a table.
#[inline(always)]
const fn ones(word: u64) -> u32 {
    let pairs = word - (word >> 1 & 0x5555_5555_5555_5555);
    let fours = (pairs & 0x3333_3333_3333_3333) + (pairs >> 2 & 0x3333_3333_3333_3333);
    let eights = fours.wrapping_add(fours >> 4) & 0x0f0f_0f0f_0f0f_0f0f;
    (eights.wrapping_mul(0x0101_0101_0101_0101) >> 56) as u32
}
