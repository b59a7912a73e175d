//! The fast path: a plain packet of a known flow that changes nothing. It says nothing that [`crate::decide`] would not
//! say of the same packet; where it is not sure it says nothing at all.

use abi::{KEY_IS_V4, RULE_NONE, ZONE_NONE, ZoneId, is_idle, spot};

use crate::{
    Frame, Input, Tables, View, flow,
    parse::{ACK, FIN, RST, SYN, TCP, UDP},
};

/// A packet passed as one of a known flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Zone it came from.
    pub zone: ZoneId,
    /// Slot of the image under which that was found.
    pub slot: u32,
    /// Rule that let the flow in; [`RULE_NONE`] = none.
    pub rule: u32,
    /// Bytes of the frame.
    pub length: u32,
}

impl Passed {
    /// A rule let the flow in.
    #[inline(always)]
    #[must_use]
    pub const fn is_by_rule(&self) -> bool {
        self.rule != RULE_NONE
    }
}

// As the machine reads them: little-endian.
const V4: u16 = 0x0008;
const V6: u16 = 0xdd86;
const TAG: u16 = 0x0081;
const SERVICE_TAG: u16 = 0xa888;

/// Passes a packet of a known flow, and counts it there. Of `input` the boot time is not looked at, nor the length.
///
/// Ethernet with at most two tags of which at most one has an id; IPv4 without options and fragments, or IPv6 without
/// extension headers; UDP, or TCP with ACK and without SYN, FIN and RST; the flow judged under the epoch of now.
#[inline(always)]
pub fn fast<F: Frame, T: Tables>(frame: &F, input: &Input, tables: &T) -> Option<Passed> {
    let (vlan, is_v6, at) = link(frame, input)?;
    let length = frame.seen();
    if is_v6 {
        let header = frame.view::<48>(at)?;
        let protocol = header.byte::<6>();
        let payload = u32::from(header.two::<4>().swap_bytes());
        if header.byte::<0>() >> 4 != 6 || at as u32 + 40 + payload > length {
            return None;
        }
        carries(frame, at + 40, protocol, payload)?;
        let last = u64::from(header.four::<40>()) | u64::from(protocol) << 32;
        // Mapped addresses, which are nobody's on the wire, are not found by this key.
        let [a, b] = [header.eight::<8>(), header.eight::<16>()];
        let [c, d] = [header.eight::<24>(), header.eight::<32>()];
        known(input, tables, vlan, length, [a, b, c, d, last])
    } else {
        let header = frame.view::<28>(at)?;
        let protocol = header.byte::<9>();
        let total = u32::from(header.two::<2>().swap_bytes());
        // Version 4, five words; neither more fragments nor an offset.
        if header.byte::<0>() != 0x45
            || header.two::<6>() & 0xff3f != 0
            || total < 20
            || at as u32 + total > length
        {
            return None;
        }
        carries(frame, at + 20, protocol, total - 20)?;
        let last = u64::from(header.four::<20>()) | u64::from(protocol) << 32 | KEY_IS_V4;
        known(input, tables, vlan, length, [0, header.eight::<12>(), 0, 0, last])
    }
}

/// Passes the packet if its tuple is known. `words` are those of its key without the zone. Once for each family, so that
/// IPv4 does not carry what it does not have.
#[inline(always)]
fn known<T: Tables>(
    input: &Input,
    tables: &T,
    vlan: u16,
    length: u32,
    mut words: [u64; 5],
) -> Option<Passed> {
    let active = tables.active();
    if active.generation == 0 || active.is_trial() {
        return None;
    }
    let slot = active.generation & 1;
    let zone = tables.near_port(slot, input.ifindex, vlan);
    if zone == ZONE_NONE {
        return None;
    }
    words[4] |= u64::from(zone) << 40;
    let place = spot(&words, &active.seed, active.flow_mask);
    let set = tables.set(place.set)?;
    let hot = flow::hot(&set, place.way, &words)?;
    if hot.epoch != active.epoch
        || !flow::is_fast(hot.standing)
        || is_idle(hot.standing as u32, (hot.standing >> 32) as u16, input.ticks)
    {
        return None;
    }
    flow::count(&set, hot.way, input.ticks, length);
    Some(Passed { zone, slot, rule: hot.verdict as u32, length })
}

/// VLAN, whether it is IPv6, and where its header begins.
#[inline(always)]
fn link<F: Frame>(frame: &F, input: &Input) -> Option<(u16, bool, usize)> {
    let mut vlan = input.vlan & 0x0fff;
    if input.layer3 {
        let version = frame.view::<20>(0)?.byte::<0>() >> 4;
        return if version == 6 || version == 4 { Some((vlan, version == 6, 0)) } else { None };
    }
    let mut ethertype = frame.view::<14>(0)?.two::<12>();
    let mut at = 14;
    if is_tag(ethertype) {
        let tag = frame.view::<18>(0)?;
        vlan = one_id(vlan, tag.two::<14>())?;
        ethertype = tag.two::<16>();
        at = 18;
        if is_tag(ethertype) {
            let tag = frame.view::<22>(0)?;
            vlan = one_id(vlan, tag.two::<18>())?;
            ethertype = tag.two::<20>();
            at = 22;
        }
    }
    match ethertype {
        V4 => Some((vlan, false, at)),
        V6 => Some((vlan, true, at)),
        _ => None,
    }
}

#[inline(always)]
const fn is_tag(ethertype: u16) -> bool {
    ethertype == TAG || ethertype == SERVICE_TAG
}

#[inline(always)]
const fn one_id(vlan: u16, tag: u16) -> Option<u16> {
    let id = tag.swap_bytes() & 0x0fff;
    if id == 0 {
        Some(vlan)
    } else if vlan == 0 {
        Some(id)
    } else {
        None
    }
}

/// UDP or TCP that follows, whole and not malformed.
#[inline(always)]
fn carries<F: Frame>(frame: &F, at: usize, protocol: u8, available: u32) -> Option<()> {
    match protocol {
        TCP => {
            let offset_and_flags = frame.view::<14>(at)?.two::<12>();
            let offset = u32::from(offset_and_flags & 0xf0) >> 2;
            // ACK alone or with URG: what is possible without SYN, FIN and RST.
            let flags = (offset_and_flags >> 8) as u8 & (FIN | SYN | RST | ACK);
            if flags != ACK || offset < 20 || offset > available {
                return None;
            }
        }
        UDP => {
            let length = u32::from(frame.view::<8>(at)?.two::<4>().swap_bytes());
            if length < 8 || length > available {
                return None;
            }
        }
        _ => return None,
    }
    Some(())
}
