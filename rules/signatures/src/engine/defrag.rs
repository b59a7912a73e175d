//! Puts datagrams together from fragments. Where fragments overlap, the bytes that came first hold.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use model::Timestamp;

use crate::decode::{Fragment, IpLayer};
use crate::limits::Limits;

/// Seconds after which an incomplete datagram is given up (RFC 1122 §3.3.2 asks for 60 to 120).
const TIMEOUT_SECONDS: i64 = 60;
/// Fragments of one datagram. A datagram with more is given up.
const MAX_PIECES: usize = 256;
/// Bytes of a datagram's body. A fragment that reaches farther is ignored.
const MAX_BODY: usize = 65_535;

/// Datagrams that are not complete yet.
#[derive(Debug, Default)]
pub(crate) struct Defragmenter {
    datagrams: HashMap<Key, Datagram>,
    /// Keys from the oldest to the newest; a key may be gone already.
    order: VecDeque<(Key, u64)>,
    next_serial: u64,
    bytes: usize,
    /// Datagrams given up because there was no room or no end.
    pub given_up: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    id: u32,
    protocol: u8,
    vlan: u16,
}

#[derive(Debug)]
struct Datagram {
    serial: u64,
    started: Timestamp,
    /// Start and bytes, sorted, without overlap.
    pieces: Vec<(usize, Vec<u8>)>,
    /// Length of the whole body, once the last fragment was seen.
    length: Option<usize>,
    header: Vec<u8>,
}

/// A datagram put together.
#[derive(Debug)]
pub(crate) struct Whole {
    pub header: Vec<u8>,
    pub body: Vec<u8>,
}

impl Defragmenter {
    /// Adds a fragment; gives the datagram when it is complete.
    pub(crate) fn add(&mut self, now: Timestamp, fragment: &Fragment<'_>, limits: &Limits) -> Option<Whole> {
        self.expire(now);
        let IpLayer { source, destination, protocol, vlan, body, header, .. } = fragment.ip;
        let key = Key { source, destination, id: fragment.id, protocol, vlan };
        let end = fragment.offset.checked_add(body.len()).filter(|end| *end <= MAX_BODY)?;
        if body.is_empty() {
            return None;
        }
        let serial = self.next_serial;
        let datagram = self.datagrams.entry(key).or_insert_with(|| Datagram {
            serial,
            started: now,
            pieces: Vec::new(),
            length: None,
            header: Vec::new(),
        });
        if datagram.serial == serial {
            self.next_serial += 1;
            self.order.push_back((key, serial));
        }
        if fragment.offset == 0 && datagram.header.is_empty() {
            datagram.header = header.to_vec();
        }
        if !fragment.more && datagram.length.is_none() {
            datagram.length = Some(end);
        }
        self.bytes += datagram.insert(fragment.offset, body);
        if datagram.pieces.len() > MAX_PIECES {
            self.give_up(&key);
            return None;
        }
        if let Some(body) = datagram.complete() {
            let header = std::mem::take(&mut datagram.header);
            self.forget(&key);
            return Some(Whole { header, body });
        }
        while self.datagrams.len() > limits.fragmented_datagrams || self.bytes > limits.fragment_bytes {
            let Some((oldest, serial)) = self.order.pop_front() else { break };
            if self.datagrams.get(&oldest).is_some_and(|datagram| datagram.serial == serial) {
                self.give_up(&oldest);
            }
        }
        None
    }

    fn expire(&mut self, now: Timestamp) {
        while let Some((key, serial)) = self.order.front().copied() {
            let current = self.datagrams.get(&key).filter(|datagram| datagram.serial == serial);
            match current {
                Some(datagram) if now.since(datagram.started).as_secs() < TIMEOUT_SECONDS.unsigned_abs() => {
                    return;
                }
                Some(_) => self.give_up(&key),
                None => {}
            }
            self.order.pop_front();
        }
    }

    fn give_up(&mut self, key: &Key) {
        self.given_up += 1;
        self.forget(key);
    }

    fn forget(&mut self, key: &Key) {
        if let Some(datagram) = self.datagrams.remove(key) {
            self.bytes -= datagram.pieces.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        }
    }
}

impl Datagram {
    /// Fills the holes that `body` covers; says how many bytes were new.
    fn insert(&mut self, offset: usize, body: &[u8]) -> usize {
        let (mut at, end, mut added, mut index) = (offset, offset + body.len(), 0, 0);
        while at < end {
            let hole_end = match self.pieces.get(index) {
                Some((start, bytes)) if *start <= at => {
                    at = at.max(start + bytes.len());
                    index += 1;
                    continue;
                }
                Some((start, _)) => end.min(*start),
                None => end,
            };
            self.pieces.insert(index, (at, body[at - offset..hole_end - offset].to_vec()));
            added += hole_end - at;
            at = hole_end;
            index += 1;
        }
        added
    }

    fn complete(&self) -> Option<Vec<u8>> {
        let length = self.length?;
        let mut at = 0;
        for (start, bytes) in &self.pieces {
            if *start != at {
                return None;
            }
            at += bytes.len();
        }
        if at < length || self.header.is_empty() {
            return None;
        }
        let mut body: Vec<u8> = self.pieces.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        body.truncate(length);
        Some(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(id: u32, offset: usize, more: bool, body: &[u8]) -> Fragment<'_> {
        let ip = IpLayer {
            vlan: 0,
            vlan_layers: 0,
            source: [10, 0, 0, 1].into(),
            destination: [10, 0, 0, 2].into(),
            protocol: 17,
            time_to_live: 64,
            type_of_service: 0,
            ip_id: 1,
            header: &[0x45; 20],
            body,
        };
        Fragment { ip, id, offset, more }
    }

    #[test]
    fn any_order_and_the_first_bytes_win() {
        let mut defrag = Defragmenter::default();
        let limits = Limits::default();
        let now = Timestamp::from_seconds(1);
        assert!(defrag.add(now, &fragment(1, 16, false, b"END"), &limits).is_none());
        assert!(defrag.add(now, &fragment(1, 8, true, b"bbbbbbbb"), &limits).is_none());
        assert!(defrag.add(now, &fragment(2, 8, true, b"other"), &limits).is_none());
        let whole = defrag.add(now, &fragment(1, 0, true, b"aaaaaaaaXXXX"), &limits).unwrap();
        assert_eq!(whole.body, b"aaaaaaaabbbbbbbbEND");
        assert_eq!(defrag.datagrams.len(), 1);
        assert_eq!(defrag.bytes, 5);
    }

    #[test]
    fn full_and_old_ones_are_given_up_and_counted() {
        let mut defrag = Defragmenter::default();
        let limits = Limits { fragmented_datagrams: 4, ..Limits::default() };
        for id in 0..10 {
            defrag.add(Timestamp::from_seconds(1), &fragment(id, 0, true, b"aaaaaaaa"), &limits);
        }
        assert_eq!((defrag.datagrams.len(), defrag.given_up, defrag.bytes), (4, 6, 32));
        let later = Timestamp::from_seconds(100);
        defrag.add(later, &fragment(99, 0, true, b"aaaaaaaa"), &limits);
        assert_eq!((defrag.datagrams.len(), defrag.given_up, defrag.bytes), (1, 10, 8));
    }
}
