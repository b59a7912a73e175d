//! Images in the kernel: each an array of blocks of its own, in one of the two slots of `IMAGES`.
//!
//! An image is as large as its plan: inner arrays of different lengths need `BPF_F_INNER_MAP` (Linux 5.10). Its bytes
//! are written before anyone can see it, and it goes from memory with its slot. The library has no such calls, so
//! this speaks bpf(2) itself.
#![expect(unsafe_code, reason = "bpf(2) has no safe wrapper for inner maps")]

use abi::image::{Block, PORTS_BLOCK};
use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    path::Path,
    sync::atomic::Ordering,
};

use super::{Error, mapping::Mapping, pins};

/// Blocks that are mapped at a time: a megabyte. What a process has mapped of the kernel's memory counts as its own.
const PART: usize = 256;
/// Bytes of a block.
pub(super) const BLOCK: usize = size_of::<Block>();
/// Words of eight bytes in a block.
const BLOCK_WORDS: usize = BLOCK / size_of::<u64>();
/// Slots of `IMAGES`: the generation in force, and the one before or after it.
pub(super) const SLOTS: u32 = 2;

/// The outer array.
pub(super) struct Images {
    outer: OwnedFd,
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
        Ok(Self { outer, ports })
    }

    /// Makes an inner array of these blocks and puts it into a slot, which lets go of what was there. When this
    /// returns, every packet that looks there finds the new one: the kernel waits for those that may not. Gives the
    /// bytes of kernel memory that it takes.
    pub(super) fn put(&self, slot: u32, blocks: &[Block]) -> Result<u64, Error> {
        let count = u32::try_from(blocks.len()).unwrap_or(u32::MAX);
        let inner = call::create_blocks(count)
            .map_err(Error::kernel(format!("make an image of {} bytes", blocks.len() * BLOCK)))?;
        for (part, blocks) in blocks.chunks(PART).enumerate() {
            let memory = Mapping::part_of(inner.as_fd(), part * PART * BLOCK, blocks.len() * BLOCK)
                .map_err(Error::kernel("write an image (map its memory)"))?;
            memory.fill(call::words(blocks));
        }
        call::set_inner(self.outer.as_fd(), slot, inner.as_fd())
            .map_err(Error::kernel(format!("put an image into slot {slot}")))?;
        // The kernel has waited: no packet reads this slot's ports any more.
        let ports = blocks.get(PORTS_BLOCK as usize).map_or(&[][..], std::slice::from_ref);
        for (place, word) in self.ports.words()[slot as usize * BLOCK_WORDS..].iter().zip(call::words(ports))
        {
            place.store(*word, Ordering::Relaxed);
        }
        pins::accounted(inner.as_raw_fd())
    }

    /// Empties a slot and with that frees its memory. Empty already is fine.
    pub(super) fn clear(&self, slot: u32) -> Result<(), Error> {
        match call::remove_inner(self.outer.as_fd(), slot) {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => {
                Err(Error::kernel(format!("empty slot {slot}"))(error))
            }
            _ => Ok(()),
        }
    }

    /// Whether a slot holds exactly these blocks. Where that cannot be told, it does not.
    pub(super) fn holds(&self, slot: u32, blocks: &[Block]) -> bool {
        let Ok(inner) = call::inner(self.outer.as_fd(), slot) else { return false };
        let Ok(count) = call::entries(inner.as_fd()) else { return false };
        if count as usize != blocks.len() {
            return false;
        }
        blocks.chunks(PART).enumerate().all(|(part, blocks)| {
            let bytes = blocks.len() * BLOCK;
            let Ok(memory) = Mapping::part_of(inner.as_fd(), part * PART * BLOCK, bytes) else {
                return false;
            };
            let words = memory.words().iter().map(|word| word.load(Ordering::Relaxed));
            words.eq(call::words(blocks).iter().copied())
        })
    }

    /// Kernel memory of the image in a slot; none where the slot is empty, or after privileges were dropped (only
    /// `CAP_SYS_ADMIN` opens a map by its number).
    pub(super) fn bytes(&self, slot: u32) -> Result<Option<u64>, Error> {
        match call::inner(self.outer.as_fd(), slot) {
            Ok(inner) => pins::accounted(inner.as_raw_fd()).map(Some),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EPERM)) => Ok(None),
            Err(error) => Err(Error::kernel(format!("look into slot {slot}"))(error)),
        }
    }
}

/// bpf(2), as far as it is needed. Field by field as in linux/bpf.h.
mod call {
    use super::*;
    use std::{ffi::CString, os::unix::ffi::OsStrExt as _};

    const MAP_CREATE: libc::c_int = 0;
    const MAP_LOOKUP_ELEM: libc::c_int = 1;
    const MAP_UPDATE_ELEM: libc::c_int = 2;
    const MAP_DELETE_ELEM: libc::c_int = 3;
    const OBJ_GET: libc::c_int = 7;
    const MAP_GET_FD_BY_ID: libc::c_int = 14;
    const OBJ_GET_INFO_BY_FD: libc::c_int = 15;

    const TYPE_ARRAY: u32 = 2;
    const F_MMAPABLE: u32 = 1 << 10;
    const F_INNER_MAP: u32 = 1 << 12;

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
    struct GetInfo {
        bpf_fd: u32,
        length: u32,
        info: u64,
    }

    /// The beginning of `bpf_map_info`.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        map_type: u32,
        id: u32,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
        map_flags: u32,
    }

    /// An array of `count` blocks that may be longer or shorter than others in the same outer array.
    pub(super) fn create_blocks(count: u32) -> io::Result<OwnedFd> {
        let mut map_name = [0; 16];
        map_name[..5].copy_from_slice(b"IMAGE");
        let attributes = Create {
            map_type: TYPE_ARRAY,
            key_size: size_of::<u32>() as u32,
            value_size: BLOCK as u32,
            max_entries: count,
            map_flags: F_MMAPABLE | F_INNER_MAP,
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

    pub(super) fn set_inner(outer: BorrowedFd<'_>, slot: u32, inner: BorrowedFd<'_>) -> io::Result<()> {
        let value = inner.as_raw_fd() as u32;
        let attributes = element(outer, &slot, (&raw const value) as u64);
        // SAFETY: key and value are words of this frame, as the outer array wants them.
        unsafe { bpf(MAP_UPDATE_ELEM, &attributes) }.map(drop)
    }

    pub(super) fn remove_inner(outer: BorrowedFd<'_>, slot: u32) -> io::Result<()> {
        let attributes = element(outer, &slot, 0);
        // SAFETY: the key is a word of this frame.
        unsafe { bpf(MAP_DELETE_ELEM, &attributes) }.map(drop)
    }

    pub(super) fn inner(outer: BorrowedFd<'_>, slot: u32) -> io::Result<OwnedFd> {
        let mut id = 0_u32;
        let attributes = element(outer, &slot, (&raw mut id) as u64);
        // SAFETY: the key is a word of this frame, and the kernel writes the id, a word, into another.
        unsafe { bpf(MAP_LOOKUP_ELEM, &attributes) }?;
        // SAFETY: the attributes are of this command and hold no pointer.
        unsafe { descriptor(MAP_GET_FD_BY_ID, &GetById { id, next_id: 0, open_flags: 0 }) }
    }

    /// How many entries a map has.
    pub(super) fn entries(map: BorrowedFd<'_>) -> io::Result<u32> {
        let mut info = Info::default();
        let attributes = GetInfo {
            bpf_fd: map.as_raw_fd() as u32,
            length: size_of::<Info>() as u32,
            info: (&raw mut info) as u64,
        };
        // SAFETY: the kernel writes at most as many bytes as are said.
        unsafe { bpf(OBJ_GET_INFO_BY_FD, &attributes) }?;
        Ok(info.max_entries)
    }

    /// Blocks as words.
    pub(super) fn words(blocks: &[Block]) -> &[u64] {
        const _: () = assert!(BLOCK.is_multiple_of(size_of::<u64>()));
        // SAFETY: a block is an array of words without padding, and blocks lie end to end.
        unsafe { std::slice::from_raw_parts(blocks.as_ptr().cast(), blocks.len() * BLOCK_WORDS) }
    }

    fn element(map: BorrowedFd<'_>, key: &u32, value: u64) -> Element {
        Element { map_fd: map.as_raw_fd() as u32, zero: 0, key: (&raw const *key) as u64, value, flags: 0 }
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
