//! Images in the kernel: each a row of chunks of blocks, in one of the two slots of `IMAGES`.
//!
//! An image has as many chunks as its plan needs; the last is filled up. All chunks are arrays of one size, which the
//! programs look into without a call (of arrays whose sizes differ the kernel has to be asked). Their bytes are written
//! before anyone can see them, and they go from memory with their slot. The library has no such calls, so this speaks
//! bpf(2) itself.
#![expect(unsafe_code, reason = "bpf(2) has no safe wrapper for inner maps")]

use abi::image::{Block, CHUNK_BLOCKS, MAX_CHUNKS, PORTS_BLOCK, chunk_entry};
use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    path::Path,
    sync::atomic::Ordering,
};

use super::{Error, mapping::Mapping, pins};

/// Bytes of a block.
pub(super) const BLOCK: usize = size_of::<Block>();
/// Words of eight bytes in a block.
const BLOCK_WORDS: usize = BLOCK / size_of::<u64>();
/// Blocks of a chunk.
const CHUNK: usize = CHUNK_BLOCKS as usize;
pub(super) use abi::image::SLOTS;

/// The outer array.
pub(super) struct Images {
    outer: OwnedFd,
    /// A chunk of zeros: what an empty slot is made of.
    empty: OwnedFd,
    /// The ports of each slot once more, where the programs find them quicker.
    ports: Mapping,
}

impl Images {
    pub(super) fn open(pins: &Path) -> Result<Self, Error> {
        let path = pins.join("IMAGES");
        let outer =
            call::get_pinned(&path).map_err(Error::kernel(format!("open the map {}", path.display())))?;
        let path = pins.join("PORTS");
        let ports =
            call::get_pinned(&path).map_err(Error::kernel(format!("open the map {}", path.display())))?;
        let ports = Mapping::of(ports.as_fd(), SLOTS as usize * BLOCK)
            .map_err(Error::kernel("map the memory of PORTS"))?;
        // That of an earlier run, where there is one.
        let last = chunk_entry(0, MAX_CHUNKS - 1);
        let empty = match call::inner(outer.as_fd(), last) {
            Ok((_, empty)) => empty,
            Err(_) => {
                let empty = call::create_chunk().map_err(Error::kernel("make an empty chunk"))?;
                call::set_inners(outer.as_fd(), &[last], &[empty.as_raw_fd() as u32])
                    .map_err(Error::kernel("put an empty chunk into its place"))?;
                empty
            }
        };
        Ok(Self { outer, empty, ports })
    }

    /// Makes chunks of these blocks and puts them into a slot, which lets go of what was there. When this returns, every
    /// packet that looks there finds the new ones: the kernel waits for those that may not. Gives the bytes of kernel
    /// memory that they take.
    pub(super) fn put(&self, slot: u32, blocks: &[Block]) -> Result<u64, Error> {
        let doing = || format!("make an image of {} bytes", blocks.len() * BLOCK);
        let mut chunks = Vec::with_capacity(blocks.len().div_ceil(CHUNK));
        let mut bytes = 0;
        for blocks in blocks.chunks(CHUNK) {
            let chunk = call::create_chunk().map_err(Error::kernel(doing()))?;
            let memory = Mapping::of(chunk.as_fd(), blocks.len() * BLOCK)
                .map_err(Error::kernel("write an image (map its memory)"))?;
            memory.fill(call::words(blocks));
            bytes += pins::accounted(chunk.as_raw_fd())?;
            chunks.push(chunk);
        }
        self.set(slot, &chunks).map_err(Error::kernel(format!("put an image into slot {slot}")))?;
        // The kernel has waited: no packet reads this slot's ports any more.
        let ports = blocks.get(PORTS_BLOCK as usize).map_or(&[][..], std::slice::from_ref);
        for (place, word) in self.ports.words()[slot as usize * BLOCK_WORDS..].iter().zip(call::words(ports))
        {
            place.store(*word, Ordering::Relaxed);
        }
        Ok(bytes)
    }

    /// Empties a slot and with that frees its memory. Empty already is fine.
    pub(super) fn clear(&self, slot: u32) -> Result<(), Error> {
        self.set(slot, &[]).map_err(Error::kernel(format!("empty slot {slot}")))
    }

    /// Writes the entries of a slot that change, in one call, so that the kernel waits for packets once (Linux 6.8).
    fn set(&self, slot: u32, chunks: &[OwnedFd]) -> io::Result<()> {
        let empty = self.empty_id();
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for number in 0..MAX_CHUNKS {
            let entry = chunk_entry(slot, number);
            let chunk = match chunks.get(number as usize) {
                Some(chunk) => chunk,
                None if is_empty(call::id(self.outer.as_fd(), entry), empty) => continue,
                None => &self.empty,
            };
            keys.push(entry);
            values.push(chunk.as_raw_fd() as u32);
        }
        if keys.is_empty() {
            return Ok(());
        }
        call::set_inners(self.outer.as_fd(), &keys, &values)
    }

    /// The number of the empty chunk: no image is so long that the last entry were one of its chunks.
    fn empty_id(&self) -> Option<u32> {
        call::id(self.outer.as_fd(), chunk_entry(0, MAX_CHUNKS - 1)).ok()
    }

    /// Whether a slot holds exactly these blocks. Where that cannot be told, it does not.
    pub(super) fn holds(&self, slot: u32, blocks: &[Block]) -> bool {
        (0..).zip(blocks.chunks(CHUNK)).all(|(number, blocks)| {
            let Ok((_, chunk)) = call::inner(self.outer.as_fd(), chunk_entry(slot, number)) else {
                return false;
            };
            let Ok(memory) = Mapping::of(chunk.as_fd(), blocks.len() * BLOCK) else { return false };
            let words = memory.words().iter().map(|word| word.load(Ordering::Relaxed));
            words.eq(call::words(blocks).iter().copied())
        })
    }

    /// Kernel memory of the image in a slot; none where the slot is empty, or after privileges were dropped (only
    /// `CAP_SYS_ADMIN` opens a map by its number).
    pub(super) fn bytes(&self, slot: u32) -> Result<Option<u64>, Error> {
        let (mut bytes, empty) = (0, self.empty_id());
        for entry in (0..MAX_CHUNKS).map(|number| chunk_entry(slot, number)) {
            if is_empty(call::id(self.outer.as_fd(), entry), empty) {
                continue;
            }
            match call::inner(self.outer.as_fd(), entry) {
                Ok((_, chunk)) => bytes += pins::accounted(chunk.as_raw_fd())?,
                Err(error) if error.raw_os_error() == Some(libc::EPERM) => return Ok(None),
                Err(error) => return Err(Error::kernel(format!("look into slot {slot}"))(error)),
            }
        }
        Ok((bytes > 0).then_some(bytes))
    }

    /// Kernel memory of what empty slots are made of.
    pub(super) fn overhead(&self) -> Result<u64, Error> {
        pins::accounted(self.empty.as_raw_fd())
    }
}

/// Nothing is in an entry, or the empty chunk. Where that cannot be told, something is.
fn is_empty(found: io::Result<u32>, empty: Option<u32>) -> bool {
    match found {
        Ok(id) => Some(id) == empty,
        Err(error) => error.raw_os_error() == Some(libc::ENOENT),
    }
}

/// bpf(2), as far as it is needed. Field by field as in linux/bpf.h.
mod call {
    use super::*;
    use std::{ffi::CString, os::unix::ffi::OsStrExt as _};

    const MAP_CREATE: libc::c_int = 0;
    const MAP_LOOKUP_ELEM: libc::c_int = 1;
    const OBJ_GET: libc::c_int = 7;
    const MAP_GET_FD_BY_ID: libc::c_int = 14;
    const MAP_UPDATE_BATCH: libc::c_int = 26;

    const TYPE_ARRAY: u32 = 2;
    const F_MMAPABLE: u32 = 1 << 10;

    #[repr(C)]
    #[derive(Default)]
    struct Create {
        map_type: u32,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
        map_flags: u32,
        inner_map_fd: u32,
        numa_node: u32,
        map_name: [u8; 16],
    }

    #[repr(C)]
    struct Element {
        map_fd: u32,
        zero: u32,
        key: u64,
        value: u64,
        flags: u64,
    }

    #[repr(C)]
    struct Get {
        pathname: u64,
        bpf_fd: u32,
        file_flags: u32,
    }

    #[repr(C)]
    struct GetById {
        id: u32,
        next_id: u32,
        open_flags: u32,
    }

    #[repr(C)]
    #[derive(Default)]
    struct Batch {
        in_batch: u64,
        out_batch: u64,
        keys: u64,
        values: u64,
        count: u32,
        map_fd: u32,
        elem_flags: u64,
        flags: u64,
    }

    /// A chunk of zeros.
    pub(super) fn create_chunk() -> io::Result<OwnedFd> {
        let mut map_name = [0; 16];
        map_name[..5].copy_from_slice(b"IMAGE");
        let attributes = Create {
            map_type: TYPE_ARRAY,
            key_size: size_of::<u32>() as u32,
            value_size: BLOCK as u32,
            max_entries: CHUNK_BLOCKS,
            map_flags: F_MMAPABLE,
            map_name,
            ..Create::default()
        };
        // SAFETY: the attributes are of this command and hold no pointer.
        unsafe { descriptor(MAP_CREATE, &attributes) }
    }

    pub(super) fn get_pinned(path: &Path) -> io::Result<OwnedFd> {
        let name = CString::new(path.as_os_str().as_bytes())?;
        let attributes = Get { pathname: name.as_ptr() as u64, bpf_fd: 0, file_flags: 0 };
        // SAFETY: the path ends with a zero and lives through the call.
        unsafe { descriptor(OBJ_GET, &attributes) }
    }

    /// Puts inner maps into entries.
    pub(super) fn set_inners(outer: BorrowedFd<'_>, entries: &[u32], inners: &[u32]) -> io::Result<()> {
        let attributes = Batch {
            keys: entries.as_ptr() as u64,
            values: inners.as_ptr() as u64,
            count: entries.len().min(inners.len()) as u32,
            map_fd: outer.as_raw_fd() as u32,
            ..Batch::default()
        };
        // SAFETY: keys and values are as many words as are said, as the outer array wants them.
        unsafe { bpf(MAP_UPDATE_BATCH, &attributes) }.map(drop)
    }

    /// The number of the inner map of an entry.
    pub(super) fn id(outer: BorrowedFd<'_>, entry: u32) -> io::Result<u32> {
        let mut id = 0_u32;
        let attributes = Element {
            map_fd: outer.as_raw_fd() as u32,
            zero: 0,
            key: (&raw const entry) as u64,
            value: (&raw mut id) as u64,
            flags: 0,
        };
        // SAFETY: the key is a word of this frame, and the kernel writes the id, a word, into another.
        unsafe { bpf(MAP_LOOKUP_ELEM, &attributes) }?;
        Ok(id)
    }

    /// The inner map of an entry, with its number.
    pub(super) fn inner(outer: BorrowedFd<'_>, entry: u32) -> io::Result<(u32, OwnedFd)> {
        let id = id(outer, entry)?;
        // SAFETY: the attributes are of this command and hold no pointer.
        let inner = unsafe { descriptor(MAP_GET_FD_BY_ID, &GetById { id, next_id: 0, open_flags: 0 }) }?;
        Ok((id, inner))
    }

    /// Blocks as words.
    pub(super) fn words(blocks: &[Block]) -> &[u64] {
        const _: () = assert!(BLOCK.is_multiple_of(size_of::<u64>()));
        // SAFETY: a block is an array of words without padding, and blocks lie end to end.
        unsafe { std::slice::from_raw_parts(blocks.as_ptr().cast(), blocks.len() * BLOCK_WORDS) }
    }

    /// # Safety
    /// As of [`bpf`]; the command gives a descriptor.
    unsafe fn descriptor<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
        // SAFETY: as the caller says; a descriptor that was just given is nobody else's.
        unsafe { bpf(command, attributes).map(|fd| OwnedFd::from_raw_fd(fd)) }
    }

    /// # Safety
    /// `attributes` belong to `command`, and pointers in them are valid for what the command does with them.
    unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
        // SAFETY: as the caller says.
        let result =
            unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as libc::c_int) }
    }
}
