//! What happens to a frame, and why. The same source runs in the kernel, behind `secctl explain` and under tests.
//!
//! The invariant: this drops early only what the second wall (nftables) would drop too, plus lists, bans, spoofing,
//! rates, cut flows and what DNS did not answer. What it has no state for and what does not open a flow goes on to nftables, whose conntrack is
//! the truth. So a gap here costs speed, never a connection.
//!
//! First the [`fast`] path: a plain packet of a known flow that changes nothing. Everything else goes through
//! [`decide`]: link layer → zone → network and transport headers → flow table → essentials of the link → spoofing and
//! bogons → bans and lists (not against protected addresses) → does it open a flow? → isolation, quarantine, policy,
//! what DNS answered, scans, rates → remember. What cannot be an answer (a SYN, an echo request) is looked for in the
//! flow table only when nothing is against its addresses.
//!
//! **Which tag names the zone**: the only one whose id is not 0 (802.1Q §6.9: 0 is a priority, not a VLAN). Two tags
//! with an id (QinQ) belong to no zone: [`Reason::WrongVlan`].
#![no_std]

#[cfg(feature = "host")]
extern crate alloc;

mod against;
mod egress;
mod fast;
mod flow;
#[cfg(feature = "host")]
pub mod host;
pub mod image;
mod ingress;
mod meter;
mod names;
mod opening;
mod parse;
mod resolved;
mod resolvers;
mod source;
mod tables;
mod verdict;

#[cfg(doc)]
use abi::Reason;

pub use egress::{Egress, teach};
pub use fast::{Passed, fast};
pub use flow::Places;
pub use ingress::decide;
pub use tables::{Step, Tables};
pub use verdict::Verdict;

/// Bounds-checked reads from a frame.
pub trait Frame {
    /// Bytes of a frame, of which at least so many as were asked for are there.
    type View<'a>: View
    where
        Self: 'a;
    /// The `N` bytes at `at`, if the frame has them.
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]>;
    /// The bytes from `at` on, if there are `N`. May say no where `read` would not.
    fn view<const N: usize>(&self, at: usize) -> Option<Self::View<'_>>;
    /// Bytes that `view` may see.
    fn seen(&self) -> u32;
}

/// Bytes that were checked to be there, read as the machine does: little-endian. Beyond them there are zeros.
pub trait View: Copy {
    /// One byte.
    fn byte<const AT: usize>(self) -> u8;
    /// Two.
    fn two<const AT: usize>(self) -> u16;
    /// Four.
    fn four<const AT: usize>(self) -> u32;
    /// Eight.
    fn eight<const AT: usize>(self) -> u64;
}

impl Frame for &[u8] {
    type View<'a>
        = &'a [u8]
    where
        Self: 'a;

    #[inline(always)]
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.get(at..at.checked_add(N)?)?.try_into().ok()
    }

    #[inline(always)]
    fn view<const N: usize>(&self, at: usize) -> Option<&[u8]> {
        self.get(at..at.checked_add(N)?)
    }

    #[inline(always)]
    fn seen(&self) -> u32 {
        u32::try_from(self.len()).unwrap_or(u32::MAX)
    }
}

impl View for &[u8] {
    #[inline(always)]
    fn byte<const AT: usize>(self) -> u8 {
        self.get(AT).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn two<const AT: usize>(self) -> u16 {
        u16::from_le_bytes(at(self, AT))
    }

    #[inline(always)]
    fn four<const AT: usize>(self) -> u32 {
        u32::from_le_bytes(at(self, AT))
    }

    #[inline(always)]
    fn eight<const AT: usize>(self) -> u64 {
        u64::from_le_bytes(at(self, AT))
    }
}

#[inline(always)]
fn at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

/// What is known of a frame beside its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// Boot time in ns: bans, rates, events.
    pub now: u64,
    /// Ticks of the flow table: see [`abi::ticks`].
    pub ticks: u32,
    /// Interface index.
    pub ifindex: u32,
    /// Bytes of the frame, its Ethernet header included.
    pub length: u32,
    /// VLAN id that the device took out of the frame; 0 = none.
    pub vlan: u16,
    /// The device has no Ethernet: the frame begins with its IP header.
    pub layer3: bool,
}
