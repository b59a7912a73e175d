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

/// Seconds for which an answer holds (RFC 8484 §5.1): the least TTL of what was asked for, else what the SOA says of
/// there being nothing (RFC 2308 §5); 0 for everything else.
pub(crate) fn freshness(bytes: &[u8]) -> u32 {
    const SOA: u16 = 6;
    let long = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
    let (code, answers) =
        (bytes.get(3).map_or(2, |flags| flags & 0x0f), number(bytes, 6).map_or(0, usize::from));
    let Some(all) = records(bytes).filter(|_| matches!(code, 0 | 3)) else { return 0 };
    let (answers, rest) = all.split_at(answers.min(all.len()));
    let nothing = || {
        let soa = rest.iter().find(|record| record.kind == SOA)?;
        Some(long(soa.ttl)?.min(long(soa.end.checked_sub(4)?)?))
    };
    answers.iter().filter_map(|record| long(record.ttl)).min().or_else(nothing).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_hold_as_long_as_their_shortest_record() {
        let message = |code: u8, counts: [u8; 2], records: &[&[u8]]| {
            let header = [0, 0, 0x80, code, 0, 1, 0, counts[0], 0, counts[1], 0, 0];
            [&header[..], b"\x01a\0\0\x01\0\x01", &records.concat()].concat()
        };
        let address =
            |ttl: u8| [&b"\xc0\x0c\0\x01\0\x01\0\0\0"[..], &[ttl], b"\0\x04\x01\x02\x03\x04"].concat();
        let soa = |ttl: u8, least: u8| {
            let fixed = &b"\0\x16\0\0\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0"[..];
            [&b"\xc0\x0c\0\x06\0\x01\0\0\0"[..], &[ttl], fixed, &[least]].concat()
        };
        assert_eq!(freshness(&message(0, [2, 0], &[&address(30), &address(20)])), 20);
        assert_eq!(freshness(&message(0, [1, 1], &[&address(30), &soa(5, 5)])), 30, "what was asked for");
        assert_eq!(freshness(&message(3, [0, 1], &[&soa(60, 40)])), 40);
        assert_eq!(freshness(&message(0, [0, 1], &[&soa(10, 40)])), 10);
        assert_eq!(freshness(&message(0, [0, 0], &[])), 0);
        assert_eq!(freshness(&message(2, [1, 0], &[&address(30)])), 0, "a failure");
        assert_eq!(freshness(&message(0, [2, 0], &[&address(30)])), 0, "cut");
        assert_eq!(freshness(b""), 0);
    }
}
