//! Patterns of paths as shells have them: `*`, `?` and `[…]` within a name, never over a `/`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::limits;

/// What ends in one of these is a rotated file that was packed.
const PACKED: [&str; 5] = ["gz", "bz2", "xz", "zst", "lz4"];

/// The files of a pattern.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Sorted.
    pub(crate) files: Vec<PathBuf>,
    /// There are more than could be looked at.
    pub(crate) more: bool,
}

/// Whether a path is a pattern.
pub(crate) fn is_pattern(path: &Path) -> bool {
    has_wildcard(path.as_os_str())
}

/// Looks for the files of a pattern, packed ones left out. A name that begins with a dot is found only by one that does.
pub(crate) fn expand(pattern: &Path) -> Found {
    let mut found = Found::default();
    let mut left = limits::MAX_NAMES;
    let mut places = vec![PathBuf::new()];
    for component in pattern.components() {
        let name = match component {
            Component::Normal(name) => name,
            other => {
                places.iter_mut().for_each(|place| place.push(other));
                continue;
            }
        };
        if !has_wildcard(name) {
            places.iter_mut().for_each(|place| place.push(name));
            continue;
        }
        let mut next = Vec::new();
        for place in places {
            let Ok(entries) = std::fs::read_dir(&place) else { continue };
            for entry in entries.filter_map(Result::ok) {
                if left == 0 {
                    found.more = true;
                    break;
                }
                left -= 1;
                let other = entry.file_name();
                let hidden = other.as_bytes().starts_with(b".") && !name.as_bytes().starts_with(b".");
                if !hidden && matches(name.as_bytes(), other.as_bytes()) {
                    next.push(place.join(other));
                }
            }
        }
        places = next;
    }
    let is_packed =
        |path: &Path| path.extension().is_some_and(|end| PACKED.iter().any(|packed| end == *packed));
    found.files = places.into_iter().filter(|path| !is_packed(path) && path.exists()).collect();
    found.files.sort_unstable();
    found.more |= found.files.len() > limits::MAX_FILES;
    found.files.truncate(limits::MAX_FILES);
    found
}

fn has_wildcard(name: &OsStr) -> bool {
    name.as_bytes().iter().any(|b| matches!(b, b'*' | b'?' | b'['))
}

/// Whether a name fits. At most as many steps as the product of the lengths.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Behind the last star, and how much of the name it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some(b'?') => Some(p + 1),
            Some(b'[') => match class(&pattern[p..], name[n]) {
                Some((true, length)) => Some(p + length),
                Some((false, _)) => None,
                // Without an end it means itself.
                None => (name[n] == b'[').then_some(p + 1),
            },
            Some(byte) => (*byte == name[n]).then_some(p + 1),
            None => None,
        };
        match (step, star) {
            (Some(next), _) => (p, n) = (next, n + 1),
            (None, Some((behind, taken))) => {
                (p, n) = (behind, taken + 1);
                star = Some((behind, taken + 1));
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

/// Whether a byte is in the class in front, and how long that is; none if it has no end.
fn class(pattern: &[u8], byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let start = if negated { 2 } else { 1 };
    // The first character is in it, also where it is a bracket.
    let end = start + 1 + pattern.get(start + 1..)?.iter().position(|b| *b == b']')?;
    let (mut at, mut holds) = (start, false);
    while at < end {
        if at + 2 < end && pattern[at + 1] == b'-' {
            holds |= (pattern[at]..=pattern[at + 2]).contains(&byte);
            at += 3;
        } else {
            holds |= pattern[at] == byte;
            at += 1;
        }
    }
    Some((holds != negated, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*-json.log", "4f1c-json.log", true),
            ("*-json.log", "4f1c-json.log.1", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("log[0-9]", "log7", true),
            ("log[!0-9]", "log7", false),
            ("log[]x]", "log]", true),
            ("log[", "log[", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("**", "", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
        let many = "a".repeat(255);
        assert!(!matches(format!("{}b", "*a".repeat(100)).as_bytes(), many.as_bytes()), "and that at once");
    }

    #[test]
    fn files_are_found_in_many_folders_packed_and_hidden_ones_left_out() {
        let folder = tempfile::tempdir().unwrap();
        for name in
            ["b/b-json.log", "a/a-json.log", "a/a-json.log.gz", "a/.x-json.log", ".c/c-json.log", "d/other"]
        {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let names = |pattern: &str| -> Vec<String> {
            let found = expand(&folder.path().join(pattern));
            assert!(!found.more);
            let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
            found.files.iter().map(name).collect()
        };
        assert_eq!(names("*/*-json.log*"), ["a-json.log", "b-json.log"]);
        assert_eq!(names("*/.*"), [".x-json.log"]);
        assert_eq!(names("nothing/*"), Vec::<String>::new());
        assert_eq!(names("*/other"), ["other"]);
        for number in 0..=limits::MAX_FILES {
            std::fs::write(folder.path().join(format!("d/{number:04}.log")), "").unwrap();
        }
        let found = expand(&folder.path().join("d/*.log"));
        assert_eq!((found.files.len(), found.more), (limits::MAX_FILES, true));
    }
}
