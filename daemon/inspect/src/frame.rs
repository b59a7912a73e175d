//! One copied frame, out of the bytes of a [`abi::InspectRecord`].

use abi::{FlowKey, INSPECT_SNAP, InspectRecord, ZoneId};

/// Bytes of a record before its frame.
const HEADER: usize = size_of::<InspectRecord>() - INSPECT_SNAP;

/// A frame that the kernel has copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedFrame {
    /// Boot time in ns.
    pub at: u64,
    /// The tuple under which it was judged; a verdict goes back under it.
    pub flow: FlowKey,
    /// It answers a flow that started at the other end.
    pub reply: bool,
    /// Zone in which the flow started.
    pub zone_from: ZoneId,
    /// Zone to which it goes.
    pub zone_to: ZoneId,
    /// Bytes on the wire; more than `frame` holds where the copy was cut.
    pub length: u16,
    /// The bytes, from the Ethernet header on.
    pub frame: Box<[u8]>,
}

/// The bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an inspection record of {length} bytes says it holds {captured} bytes of a frame; is the program of another version?"
)]
pub struct FrameError {
    /// Bytes given.
    pub length: usize,
    /// Bytes of the frame by its own account.
    pub captured: usize,
}

impl CopiedFrame {
    /// Reads the bytes of a record, which may end behind the captured part of the frame.
    ///
    /// # Errors
    /// If they are fewer than a record and its frame have.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut reader = Reader { rest: bytes };
        let read = |reader: &mut Reader<'_>| {
            let at = u64::from_ne_bytes(reader.array()?);
            let flow = FlowKey {
                source: reader.array()?,
                destination: reader.array()?,
                source_port: reader.array()?,
                destination_port: reader.array()?,
                protocol: reader.byte()?,
                zone: reader.byte()?,
                reserved: reader.array()?,
            };
            let length = u16::from_ne_bytes(reader.array()?);
            let captured = u16::from_ne_bytes(reader.array()?);
            let reply = reader.byte()? != 0;
            let (zone_from, zone_to) = (reader.byte()?, reader.byte()?);
            reader.byte()?;
            Some((
                Self { at, flow, reply, zone_from, zone_to, length, frame: Box::default() },
                usize::from(captured),
            ))
        };
        let (mut frame, captured) =
            read(&mut reader).ok_or(FrameError { length: bytes.len(), captured: 0 })?;
        debug_assert_eq!(bytes.len() - reader.rest.len(), HEADER, "the fields above are those of the record");
        let held = reader.rest.get(..captured).filter(|_| captured <= INSPECT_SNAP);
        frame.frame = held.ok_or(FrameError { length: bytes.len(), captured })?.into();
        Ok(frame)
    }

    /// Copies a record.
    #[must_use]
    pub fn from_record(record: &InspectRecord) -> Self {
        let captured = usize::from(record.captured).min(INSPECT_SNAP);
        Self {
            at: record.at,
            flow: record.flow,
            reply: record.reply != 0,
            zone_from: record.zone_from,
            zone_to: record.zone_to,
            length: record.length,
            frame: record.frame[..captured].into(),
        }
    }
}

struct Reader<'b> {
    rest: &'b [u8],
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*array)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn bytes_are_read_as_the_record_has_them() {
        assert_eq!(
            [
                offset_of!(InspectRecord, at),
                offset_of!(InspectRecord, flow),
                offset_of!(InspectRecord, length),
                offset_of!(InspectRecord, captured),
                offset_of!(InspectRecord, reply),
                offset_of!(InspectRecord, zone_from),
                offset_of!(InspectRecord, zone_to),
                offset_of!(InspectRecord, frame),
            ],
            [0, 8, 48, 50, 52, 53, 54, HEADER]
        );
        let mut bytes = vec![0; HEADER];
        bytes[..8].copy_from_slice(&77_u64.to_ne_bytes());
        bytes[8..24].copy_from_slice(&abi::mapped([10, 4, 0, 9]));
        bytes[40..44].copy_from_slice(&[0x9c, 0x40, 0, 80]);
        bytes[44..46].copy_from_slice(&[6, 4]);
        bytes[48..50].copy_from_slice(&1500_u16.to_ne_bytes());
        bytes[50..52].copy_from_slice(&3_u16.to_ne_bytes());
        bytes[52..55].copy_from_slice(&[1, 4, 3]);
        bytes.extend_from_slice(b"abcREST");
        let frame = CopiedFrame::from_bytes(&bytes).unwrap();
        assert_eq!((frame.at, frame.flow.protocol, frame.flow.zone, frame.reply), (77, 6, 4, true));
        assert_eq!((frame.flow.destination_port, frame.zone_from, frame.zone_to), ([0, 80], 4, 3));
        assert_eq!((frame.length, &frame.frame[..]), (1500, &b"abc"[..]));
    }

    #[test]
    fn short_and_lying_records_are_errors() {
        let mut bytes = vec![0; HEADER];
        for end in 0..HEADER {
            assert!(CopiedFrame::from_bytes(&bytes[..end]).is_err());
        }
        bytes[50..52].copy_from_slice(&9_u16.to_ne_bytes());
        let error = CopiedFrame::from_bytes(&bytes).unwrap_err();
        assert!(error.to_string().contains("says it holds 9 bytes"), "{error}");
    }
}
