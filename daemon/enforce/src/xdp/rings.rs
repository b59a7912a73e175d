//! The rings by which the programs talk to userspace.
#![expect(unsafe_code, reason = "records are plain bytes of the kernel's memory")]

use abi::{InspectRecord, PacketRecord};
use aya::maps::{MapData, RingBuf};
use std::{
    io,
    marker::PhantomData,
    os::fd::{AsRawFd, RawFd},
    path::Path,
};
use tokio::io::{Interest, unix::AsyncFd};

use super::{Error, pinned};

/// Verdicts, as far as the budget goes.
pub type PacketRing = Ring<PacketRecord>;
/// Copied frames.
pub type InspectRing = Ring<InspectRecord>;

mod sealed {
    /// A record that is valid for any bytes.
    pub trait Record: Copy {}
    impl Record for super::PacketRecord {}
    impl Record for super::InspectRecord {}
}

/// A ring of one kind of record. Its descriptor is readable when there is something to read.
pub struct Ring<R> {
    ring: RingBuf<MapData>,
    records: PhantomData<fn() -> R>,
}

impl<R: sealed::Record> Ring<R> {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let ring =
            RingBuf::try_from(pinned(path)?).map_err(Error::kernel(format!("open {}", path.display())))?;
        Ok(Self { ring, records: PhantomData })
    }

    /// The next record, if there is one. What is not of the record's size is left out.
    pub fn next_record(&mut self) -> Option<R> {
        loop {
            let item = self.ring.next()?;
            if item.len() >= size_of::<R>() {
                // SAFETY: the item is at least as long as the record, and records (sealed) are integers only, valid
                // for any bytes.
                return Some(unsafe { item.as_ptr().cast::<R>().read_unaligned() });
            }
        }
    }

    /// For a task that waits. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The runtime cannot watch the descriptor.
    pub fn into_receiver(self) -> io::Result<Receiver<R>> {
        // SAFETY: the ring owns its descriptor, keeps it open and never changes it while it lives.
        let ring = unsafe { AsyncFd::register_with_interest(self, Interest::READABLE) };
        Ok(Receiver { ring: ring? })
    }
}

impl<R> AsRawFd for Ring<R> {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

/// A ring that a task waits on.
pub struct Receiver<R> {
    ring: AsyncFd<Ring<R>>,
}

impl<R: sealed::Record> Receiver<R> {
    /// The next record; waits for one. Nothing is lost when the wait is given up.
    ///
    /// # Errors
    /// The runtime cannot watch the descriptor.
    pub async fn receive(&mut self) -> io::Result<R> {
        loop {
            let mut ready = self.ring.readable_mut().await?;
            if let Some(record) = ready.get_inner_mut().next_record() {
                return Ok(record);
            }
            ready.clear_ready();
        }
    }
}
