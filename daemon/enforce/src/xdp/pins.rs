//! The BPF file system: folders, shapes of pinned maps, and what the kernel accounts.
#![expect(unsafe_code, reason = "statfs has no safe wrapper in the standard library")]

use aya::maps::MapInfo;
use std::{ffi::CString, fs, os::unix::ffi::OsStrExt as _, path::Path};

use super::{
    Error,
    object::{Layout, Shape},
};

/// Makes sure that `folder` is on a BPF file system, and exists.
///
/// # Errors
/// It is on none (nothing is mounted by secd: that is the unit's or the person's choice), or cannot be made.
pub fn ensure_bpffs(folder: &Path) -> Result<(), Error> {
    let existing = folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    if !is_bpffs(existing)? {
        return Err(Error::NoBpffs { path: folder.to_owned() });
    }
    make_folder(folder)
}

pub(super) fn make_folder(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(Error::file("make the folder", folder))
}

fn is_bpffs(path: &Path) -> Result<bool, Error> {
    let name = CString::new(path.as_os_str().as_bytes())
        .map_err(|error| Error::file("look at", path)(error.into()))?;
    // SAFETY: all zeros is a valid statfs, and the kernel fills it; the name ends with a zero.
    let (failed, found) = unsafe {
        let mut found: libc::statfs = std::mem::zeroed();
        (libc::statfs(name.as_ptr(), &raw mut found), found)
    };
    if failed != 0 {
        return Err(Error::file("look at", path)(std::io::Error::last_os_error()));
    }
    Ok(found.f_type == libc::BPF_FS_MAGIC)
}

/// Compares every map that is pinned already with what the object wants. `true` if there was one.
pub(super) fn check_shapes(pins: &Path, layout: &Layout) -> Result<bool, Error> {
    let mut any = false;
    for (name, expected) in &layout.maps {
        let path = pins.join(name);
        if !path.exists() {
            continue;
        }
        let info = MapInfo::from_pin(&path).map_err(Error::kernel(format!("read {}", path.display())))?;
        let kind = info.map_type().map_err(Error::kernel(format!("read {}", path.display())))?;
        let found = Shape {
            kind: kind as u32,
            key: info.key_size(),
            value: info.value_size(),
            entries: info.max_entries(),
        };
        if found != *expected {
            return Err(Error::Shape { path, expected: expected.to_string(), found: found.to_string() });
        }
        any = true;
    }
    Ok(any)
}

/// Bytes the kernel accounts to a map or program: `memlock` of its fdinfo.
pub(super) fn accounted(fd: i32) -> Result<u64, Error> {
    let path = Path::new("/proc/self/fdinfo").join(fd.to_string());
    let text = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
    Ok(text.lines().find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok()).unwrap_or(0))
}
