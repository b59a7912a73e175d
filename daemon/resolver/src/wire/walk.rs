//! Where things stand in a message: enough to find the TTL of each record.

/// Bytes of a header.
pub(crate) const HEADER: usize = 12;

/// The number at `at`.
pub(crate) fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The place behind the name at `at`, which may end in a pointer; none if there is none.
pub(crate) fn behind_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            192..=255 => return (at + 2 <= bytes.len()).then_some(at + 2),
            64..=191 => return None,
        }
    }
}

/// A record and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    /// Of its owner.
    pub(crate) owner: usize,
    /// Its type.
    pub(crate) kind: u16,
    /// Of the four bytes of its TTL.
    pub(crate) ttl: usize,
    /// Of its data.
    pub(crate) data: usize,
    /// Behind its data.
    pub(crate) end: usize,
}

/// The record whose owner stands at `at`; none if it is cut.
pub(crate) fn record(bytes: &[u8], at: usize) -> Option<At> {
    let fixed = behind_name(bytes, at)?;
    let data = fixed + 10;
    let end = data + usize::from(number(bytes, fixed + 8)?);
    (end <= bytes.len()).then_some(At { owner: at, kind: number(bytes, fixed)?, ttl: fixed + 4, data, end })
}

/// All records behind the one question of a message.
pub(crate) fn records(bytes: &[u8]) -> Option<Vec<At>> {
    let count: usize = [6, 8, 10].iter().map(|&at| number(bytes, at).map_or(0, usize::from)).sum();
    let mut at = behind_name(bytes, HEADER)? + 4;
    // A record has eleven bytes at least, so a message that claims too many ends before much is kept of them.
    let mut all = Vec::with_capacity(count.min(bytes.len() / 11));
    for _ in 0..count {
        let record = record(bytes, at)?;
        at = record.end;
        all.push(record);
    }
    Some(all)
}
