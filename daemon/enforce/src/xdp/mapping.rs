//! Kernel maps seen as memory: arrays that the programs and userspace share (`BPF_F_MMAPABLE`).
//!
//! Everything is read and written as atomic words, so that a packet on another CPU sees a whole word or none of it.
#![expect(unsafe_code, reason = "mmap has no safe wrapper in the standard library")]

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64},
};

/// Bytes of a page of this machine: where a mapping may begin.
pub(super) fn page_bytes() -> usize {
    // SAFETY: the call takes a number and touches no memory of ours.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// The values of an array map, mapped readable and writable. Unmapped on drop; the map itself lives on.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<AtomicU64>,
    bytes: usize,
}

// SAFETY: the memory is shared with the kernel anyway and only reached as atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `bytes` bytes of an array's values; `bytes` is a multiple of eight.
    ///
    /// # Errors
    /// The map is not mappable or shorter, or the kernel has no memory for it.
    pub(super) fn of(map: BorrowedFd<'_>, bytes: usize) -> io::Result<Self> {
        Self::part_of(map, 0, bytes)
    }

    /// The same from byte `first` on, a multiple of the size of a page.
    ///
    /// # Errors
    /// As of [`Self::of`].
    pub(super) fn part_of(map: BorrowedFd<'_>, first: usize, bytes: usize) -> io::Result<Self> {
        if bytes == 0 || !bytes.is_multiple_of(size_of::<u64>()) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: a new mapping at a place of the kernel's choice touches nothing that is there.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                i64::try_from(first).map_err(|_| io::ErrorKind::InvalidInput)?,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, bytes })
    }

    /// The memory as words of eight bytes.
    pub(super) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping begins at a page, is that long and lives as long as `self`; atomics may be shared.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes / size_of::<u64>()) }
    }

    /// The memory as words of four bytes.
    pub(super) fn halves(&self) -> &[AtomicU32] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.bytes / size_of::<u32>()) }
    }

    /// Writes words from the start on. Nobody may read the memory meanwhile who minds.
    pub(super) fn fill(&self, words: &[u64]) {
        let count = words.len().min(self.bytes / size_of::<u64>());
        // SAFETY: both are `count` words long and apart from each other; the caller says that nobody reads.
        unsafe { std::ptr::copy_nonoverlapping(words.as_ptr(), self.start.as_ptr().cast(), count) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no borrow of it outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}
