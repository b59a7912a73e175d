//! The bytes that cross the kernel line: map keys and values, ring records, limits and [`Reason`].
//!
//! Addresses are always 16 bytes; IPv4 is written v4-mapped (`::ffff:a.b.c.d`, RFC 4291 §2.5.5.2), so one table
//! and one code path serve both families. Ports are big-endian bytes as on the wire. Times are nanoseconds of
//! `CLOCK_BOOTTIME`, but for the ticks of the flow table. Every struct is `repr(C)` without implicit padding.
#![no_std]

mod flows;
pub mod image;
mod limits;
mod plan;
mod reason;
mod records;
mod resolved;
mod tables;

pub use flows::*;
pub use limits::*;
pub use plan::*;
pub use reason::{ACTIONS, Action, REASONS, Reason};
pub use records::{InspectRecord, PacketRecord};
pub use resolved::*;
pub use tables::*;

/// An IPv6 address, or an IPv4 address in its v4-mapped form.
pub type Address = [u8; 16];

/// Writes an IPv4 address in its v4-mapped form.
#[inline(always)]
#[must_use]
pub const fn mapped(v4: [u8; 4]) -> Address {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, v4[0], v4[1], v4[2], v4[3]]
}
