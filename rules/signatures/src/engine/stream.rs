//! Reassembles one direction of a TCP connection into a window of bytes that rules search.
//!
//! Bytes that came first hold; a later copy of the same place changes nothing. Bytes are looked at as soon as they are
//! contiguous, without waiting for their acknowledgement, so that a verdict can still matter. A gap is skipped when too
//! much waits behind it, or when the receiver has acknowledged what is missing (so it was lost on the way to us only).

use std::collections::VecDeque;

use crate::limits::Limits;

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Sequence number of the next contiguous byte; `None` before the first segment.
    next: Option<u32>,
    /// Sequence number of the first byte.
    first: Option<u32>,
    /// Place of that byte from the beginning of the stream (or of what was seen of it).
    next_offset: u64,
    /// The last contiguous bytes.
    window: Vec<u8>,
    /// Bytes that wait for a missing segment: place and bytes, sorted, without overlap.
    waiting: VecDeque<(u64, Vec<u8>)>,
    waiting_bytes: usize,
    /// Place after the last byte, by FIN.
    end: Option<u64>,
}

/// What a segment did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Contiguous bytes that are new.
    pub new_bytes: usize,
    /// The segment was too far off and was ignored.
    pub ignored: bool,
}

impl Stream {
    /// The stream's bytes begin behind this sequence number (that of a SYN).
    pub(crate) fn start(&mut self, next: u32) {
        if self.next.is_none() {
            self.next = Some(next);
            self.first = Some(next);
        }
    }

    /// A SYN before this sequence number is no new beginning: it is that of this stream, or fits its next byte.
    pub(crate) fn expects(&self, sequence: u32) -> bool {
        self.next.is_none_or(|next| next == sequence) || self.first == Some(sequence)
    }

    /// The sequence number is near enough to belong here.
    pub(crate) fn fits(&self, sequence: u32, limits: &Limits) -> bool {
        self.next.is_none_or(|next| self.place(sequence, next, limits).is_some())
    }

    pub(crate) fn is_started(&self) -> bool {
        self.next.is_some()
    }

    /// The searchable bytes and the place of their first one.
    pub(crate) fn window(&self) -> (&[u8], u64) {
        (&self.window, self.next_offset - self.window.len() as u64)
    }

    /// Place of the next byte.
    pub(crate) fn offset(&self) -> u64 {
        self.next_offset
    }

    /// Bytes held.
    pub(crate) fn held(&self) -> usize {
        self.window.capacity() + self.waiting_bytes
    }

    /// Whether bytes wait for a missing segment.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// All bytes up to the FIN were seen.
    #[cfg(test)]
    pub(crate) fn is_finished(&self) -> bool {
        self.end.is_some_and(|end| self.next_offset >= end)
    }

    /// A reset is believed where a receiver would: at the next expected byte, or close by in what waits.
    pub(crate) fn accepts_reset(&self, sequence: u32, limits: &Limits) -> bool {
        self.next.is_none_or(|next| {
            let ahead = sequence.wrapping_sub(next);
            ahead <= limits.ahead_bytes || next.wrapping_sub(sequence) <= 1
        })
    }

    /// Forgets the bytes, keeps the place.
    pub(crate) fn shed(&mut self) {
        self.window = Vec::new();
        self.waiting = VecDeque::new();
        self.waiting_bytes = 0;
    }

    /// Takes a segment's bytes. New contiguous ones are at the end of [`Self::window`] afterwards.
    pub(crate) fn segment(&mut self, sequence: u32, bytes: &[u8], fin: bool, limits: &Limits) -> Progress {
        let mut progress = Progress::default();
        self.start(sequence);
        let next = self.next.unwrap_or(sequence);
        let Some(start) = self.place(sequence, next, limits) else {
            progress.ignored = true;
            return progress;
        };
        let end = start.saturating_add_unsigned(bytes.len() as u64);
        if fin && self.end.is_none() {
            self.end = u64::try_from(end).ok();
        }
        let at = i128::from(self.next_offset);
        if i128::from(end) > at && !bytes.is_empty() {
            if i128::from(start) > at {
                self.wait(u64::try_from(start).unwrap_or(0), bytes);
            } else {
                let known = usize::try_from(at - i128::from(start)).unwrap_or(bytes.len());
                let fresh = &bytes[known.min(bytes.len())..];
                self.trim(limits);
                if self.waiting.is_empty() {
                    self.append(fresh);
                    progress.new_bytes = fresh.len();
                } else {
                    self.wait(self.next_offset, fresh);
                    progress.new_bytes = self.drain();
                }
            }
        }
        progress
    }

    /// Skips one gap if more waits behind it than may; says how many bytes are contiguous and new behind it.
    /// `acknowledged` is what the other side has confirmed: what is missing before that will not come any more.
    pub(crate) fn skip_gap(&mut self, acknowledged: Option<u32>, limits: &Limits) -> Option<usize> {
        let (start, bytes) = self.waiting.front()?;
        let confirmed = acknowledged.zip(self.next).is_some_and(|(acknowledged, next)| {
            let ahead = acknowledged.wrapping_sub(next);
            ahead <= limits.ahead_bytes && start + bytes.len() as u64 <= self.next_offset + u64::from(ahead)
        });
        if !confirmed && self.waiting_bytes <= limits.out_of_order_bytes {
            return None;
        }
        let skipped = u32::try_from(start - self.next_offset).unwrap_or(u32::MAX);
        self.next_offset = *start;
        self.next = self.next.map(|next| next.wrapping_add(skipped));
        // Bytes on both sides of a gap are not neighbours.
        self.window.clear();
        Some(self.drain())
    }

    /// The place of a sequence number; negative where it lies before what was seen. `None`: too far off.
    fn place(&self, sequence: u32, next: u32, limits: &Limits) -> Option<i64> {
        let ahead = sequence.wrapping_sub(next);
        let behind = next.wrapping_sub(sequence);
        let at = i64::try_from(self.next_offset).ok()?;
        if ahead <= limits.ahead_bytes {
            at.checked_add(i64::from(ahead))
        } else if behind <= limits.ahead_bytes {
            at.checked_sub(i64::from(behind))
        } else {
            None
        }
    }

    /// Keeps the window's tail. New bytes come behind it, whatever their number.
    fn trim(&mut self, limits: &Limits) {
        if self.window.len() > limits.window_bytes {
            self.window.drain(..self.window.len() - limits.window_bytes);
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        self.window.extend_from_slice(bytes);
        self.next_offset += bytes.len() as u64;
        let advance = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.next = self.next.map(|next| next.wrapping_add(advance));
    }

    /// Appends what has waited and is contiguous now.
    fn drain(&mut self) -> usize {
        let mut added = 0;
        while let Some((start, bytes)) = self.waiting.pop_front_if(|(start, _)| *start <= self.next_offset) {
            self.waiting_bytes -= bytes.len();
            let known = usize::try_from(self.next_offset - start).unwrap_or(usize::MAX).min(bytes.len());
            self.append(&bytes[known..]);
            added += bytes.len() - known;
        }
        added
    }

    /// Fills the holes that `bytes` cover.
    fn wait(&mut self, start: u64, bytes: &[u8]) {
        let (mut at, end) = (start, start + bytes.len() as u64);
        let mut index = self.waiting.partition_point(|(place, held)| place + held.len() as u64 <= at);
        while at < end {
            let hole_end = match self.waiting.get(index) {
                Some((place, held)) if *place <= at => {
                    at = at.max(place + held.len() as u64);
                    index += 1;
                    continue;
                }
                Some((place, _)) => end.min(*place),
                None => end,
            };
            let from = usize::try_from(at - start).unwrap_or(0);
            let to = usize::try_from(hole_end - start).unwrap_or(0);
            self.waiting.insert(index, (at, bytes[from..to].to_vec()));
            self.waiting_bytes += to - from;
            at = hole_end;
            index += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits() -> Limits {
        Limits { window_bytes: 1024, out_of_order_bytes: 256, ..Limits::default() }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn any_cut_and_order_gives_the_same_bytes(
            isn in any::<u32>(),
            cuts in proptest::collection::vec((0_usize..200, 1_usize..60), 0..40),
            order in any::<u64>(),
        ) {
            let text: Vec<u8> = (0..200_u8).collect();
            // Overlapping pieces in a scrambled order, then all of it: whatever is missing comes last.
            let mut pieces: Vec<(usize, usize)> = cuts.into_iter().map(|(a, n)| (a, (a + n).min(200))).collect();
            if !pieces.is_empty() {
                let turn = usize::try_from(order % pieces.len() as u64).unwrap();
                pieces.rotate_left(turn);
            }
            pieces.push((0, 200));
            let mut stream = Stream::default();
            stream.start(isn);
            let mut seen = Vec::new();
            for (a, b) in pieces {
                let sequence = isn.wrapping_add(u32::try_from(a).unwrap());
                let progress = stream.segment(sequence, &text[a..b], b == 200, &limits());
                let (window, _) = stream.window();
                seen.extend_from_slice(&window[window.len() - progress.new_bytes..]);
                prop_assert!(!progress.ignored);
            }
            prop_assert_eq!(seen, text);
            prop_assert!(stream.is_finished() && !stream.is_waiting());
        }
    }

    #[test]
    fn the_first_copy_wins() {
        let mut stream = Stream::default();
        stream.start(10);
        stream.segment(13, b"DEF", false, &limits());
        stream.segment(14, b"xxxx", false, &limits());
        stream.segment(10, b"abcXXX", false, &limits());
        assert_eq!(stream.window().0, b"abcDEFxx");
    }

    #[test]
    fn gaps_are_skipped_when_full_or_acknowledged() {
        let mut stream = Stream::default();
        stream.start(0);
        stream.segment(0, b"start", false, &limits());
        stream.segment(100, &[b'a'; 300], false, &limits());
        assert_eq!(stream.skip_gap(None, &limits()), Some(300));
        assert_eq!(stream.window(), ([b'a'; 300].as_slice(), 100));
        stream.segment(500, b"later", false, &limits());
        assert_eq!(stream.skip_gap(Some(450), &limits()), None);
        assert_eq!(stream.skip_gap(Some(505), &limits()), Some(5));
        assert!(stream.segment(500_000_000, b"far", false, &limits()).ignored);
        assert!(!stream.accepts_reset(500_000_000, &limits()) && stream.accepts_reset(505, &limits()));
    }
}
