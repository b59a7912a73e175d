//! Reads captures: pcap (both byte orders, micro- and nanoseconds) and pcapng (several interfaces and sections).
//!
//! A capture that ends in the middle of a record gives what is whole, and says that it was cut.

use std::io::Read;

use model::Timestamp;
use pcap_parser::{Block, PcapBlockOwned, PcapError, PcapHeader, create_reader};

use crate::decode::LinkType;

/// Bytes of one record or block that are read at most; a larger one ends the reading with an error.
pub const MAX_RECORD_BYTES: usize = 1024 * 1024;
/// Interfaces of one pcapng section. Packets of further ones are left out and counted.
pub const MAX_INTERFACES: usize = 4096;

/// A packet of a capture.
#[derive(Clone, Copy, Debug)]
pub struct CapturedPacket<'c> {
    /// When it was captured.
    pub at: Timestamp,
    /// What it starts with; `None` where rules cannot read that kind.
    pub link: Option<LinkType>,
    /// Its bytes, as many as were captured.
    pub frame: &'c [u8],
}

/// What a capture held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureSummary {
    /// Packets read.
    pub packets: u64,
    /// Packets of a link type that is not supported.
    pub unsupported: u64,
    /// A link type that is not supported, for the message.
    pub unsupported_link: Option<u32>,
    /// The capture ends in the middle of a record.
    pub cut: bool,
}

/// Why a capture cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// It is no capture.
    #[error("{name}: neither pcap nor pcapng; write it with `tcpdump -w FILE`")]
    NotACapture {
        /// File name.
        name: String,
    },
    /// A record is wrong.
    #[error("{name}: record {record}: {why}; what stands before it was read")]
    Record {
        /// File name.
        name: String,
        /// Number of the record, from 1.
        record: u64,
        /// What is wrong.
        why: String,
    },
    /// The source of the bytes failed.
    #[error("{name}: {source}")]
    Read {
        /// File name.
        name: String,
        /// The cause.
        source: std::io::Error,
    },
}

#[derive(Clone, Copy)]
struct Interface {
    link: u32,
    /// Ticks in one second.
    ticks: u64,
    /// Seconds to add.
    offset: i64,
}

/// Reads a capture and calls `each` for each packet in order. `name` is for messages.
///
/// # Errors
/// If it is no capture, a record is wrong, or `source` fails. Packets before that were given to `each`.
pub fn read(
    source: impl Read + Send,
    name: &str,
    mut each: impl FnMut(CapturedPacket<'_>),
) -> Result<CaptureSummary, CaptureError> {
    let mut summary = CaptureSummary::default();
    let mut source = Source { inner: source, error: None };
    let result = read_blocks(&mut source, name, &mut summary, &mut each);
    match source.error.take() {
        Some(source) => Err(CaptureError::Read { name: name.to_owned(), source }),
        None => result.map(|()| summary),
    }
}

/// Keeps the cause of a failed read, which the parser does not, and reads on where a pipe gives a few bytes at a time, which
/// the parser takes for the end.
struct Source<R> {
    inner: R,
    error: Option<std::io::Error>,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.inner.read(rest) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                // What came before it is given first.
                Err(_) if filled > 0 => break,
                Err(error) => {
                    self.error = Some(std::io::Error::new(error.kind(), error.to_string()));
                    return Err(error);
                }
            }
        }
        Ok(filled)
    }
}

fn read_blocks<R: Read + Send>(
    source: &mut Source<R>,
    name: &str,
    summary: &mut CaptureSummary,
    each: &mut impl FnMut(CapturedPacket<'_>),
) -> Result<(), CaptureError> {
    let not_a_capture = || CaptureError::NotACapture { name: name.to_owned() };
    let mut reader = create_reader(MAX_RECORD_BYTES, source).map_err(|_| not_a_capture())?;
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut records = 0_u64;
    let mut stalled = false;
    loop {
        let failed = match reader.next() {
            Ok((offset, block)) => {
                records += 1;
                stalled = false;
                one_block(block, &mut interfaces, summary, each);
                reader.consume(offset);
                continue;
            }
            Err(PcapError::Eof) => return Ok(()),
            Err(PcapError::UnexpectedEof) => Failure::Short,
            Err(PcapError::Incomplete(_)) => Failure::Short,
            Err(PcapError::BufferTooSmall) => Failure::TooLong,
            Err(_) => Failure::Wrong,
        };
        let why = match failed {
            Failure::Short if reader.reader_exhausted() => {
                summary.cut = true;
                return Ok(());
            }
            Failure::Short if !stalled => {
                stalled = true;
                if reader.refill().is_ok() {
                    continue;
                }
                "it cannot be read".to_owned()
            }
            Failure::Short | Failure::TooLong => format!("it is longer than {MAX_RECORD_BYTES} bytes"),
            Failure::Wrong => "its lengths contradict each other".to_owned(),
        };
        if records == 0 {
            return Err(not_a_capture());
        }
        return Err(CaptureError::Record { name: name.to_owned(), record: records + 1, why });
    }
}

/// Why the next record is not there.
enum Failure {
    /// More bytes are needed.
    Short,
    TooLong,
    Wrong,
}

fn one_block(
    block: PcapBlockOwned<'_>,
    interfaces: &mut Vec<Interface>,
    summary: &mut CaptureSummary,
    each: &mut impl FnMut(CapturedPacket<'_>),
) {
    match block {
        PcapBlockOwned::LegacyHeader(PcapHeader { network, magic_number, .. }) => {
            let nanoseconds = magic_number == 0xa1b2_3c4d || magic_number == 0x4d3c_b2a1;
            let ticks = if nanoseconds { 1_000_000_000 } else { 1_000_000 };
            // The upper bits may hold the length of a frame check sequence.
            let link = u32::try_from(network.0 & 0x0fff_ffff).unwrap_or(u32::MAX);
            interfaces.push(Interface { link, ticks, offset: 0 });
        }
        PcapBlockOwned::Legacy(record) => {
            let Some(interface) = interfaces.first().copied() else { return };
            let micros = u64::from(record.ts_usec) * 1_000_000 / interface.ticks;
            let at = i64::from(record.ts_sec) * 1_000_000 + i64::try_from(micros).unwrap_or(0);
            let length = usize::try_from(record.caplen).unwrap_or(usize::MAX).min(record.data.len());
            give(interface, Timestamp(at), &record.data[..length], summary, each);
        }
        PcapBlockOwned::NG(Block::SectionHeader(_)) => interfaces.clear(),
        PcapBlockOwned::NG(Block::InterfaceDescription(description)) => {
            if interfaces.len() < MAX_INTERFACES {
                let ticks = description.ts_resolution().filter(|ticks| *ticks > 0).unwrap_or(1_000_000);
                let link = u32::try_from(description.linktype.0).unwrap_or(u32::MAX);
                interfaces.push(Interface { link, ticks, offset: description.ts_offset() });
            }
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            let interface = usize::try_from(packet.if_id).ok().and_then(|id| interfaces.get(id).copied());
            let Some(interface) = interface else {
                summary.packets += 1;
                summary.unsupported += 1;
                return;
            };
            let ticks = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
            let micros = u128::from(ticks) * 1_000_000 / u128::from(interface.ticks);
            let micros = i64::try_from(micros).unwrap_or(i64::MAX);
            let at = micros.saturating_add(interface.offset.saturating_mul(1_000_000));
            let length = usize::try_from(packet.caplen).unwrap_or(usize::MAX).min(packet.data.len());
            give(interface, Timestamp(at), &packet.data[..length], summary, each);
        }
        PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
            let Some(interface) = interfaces.first().copied() else { return };
            let length = usize::try_from(packet.origlen).unwrap_or(usize::MAX).min(packet.data.len());
            give(interface, Timestamp(0), &packet.data[..length], summary, each);
        }
        PcapBlockOwned::NG(_) => {}
    }
}

fn give(
    interface: Interface,
    at: Timestamp,
    frame: &[u8],
    summary: &mut CaptureSummary,
    each: &mut impl FnMut(CapturedPacket<'_>),
) {
    let link = LinkType::from_number(interface.link);
    summary.packets += 1;
    if link.is_none() {
        summary.unsupported += 1;
        summary.unsupported_link = Some(interface.link);
    }
    each(CapturedPacket { at, link, frame });
}
