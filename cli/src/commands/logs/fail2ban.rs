//! Files of Fail2ban, read for the rules that understand them.

use ::logs::fail2ban::Texts;
use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::failure::Failure;

/// Longest file that is read, in bytes. A longer one is an error.
const MAX_FILE_BYTES: u64 = 32 * 1024 * 1024;
/// Files of a folder that are read.
const MAX_FILES: usize = 10_000;
/// Rounds of looking for files that included files include.
const MAX_ROUNDS: usize = 16;

/// The folder under which filters stand in what is returned by [`filters`].
pub(super) const FILTERS: &str = "filter.d/";

/// Files of a folder of filters, and what they include from elsewhere. Of a folder with a `filter.d`, those in that.
pub(super) fn filters(folder: &Path) -> Result<Texts, Failure> {
    let inside = folder.join(FILTERS);
    let folder = if inside.is_dir() { &inside } else { folder };
    let mut texts = Texts::new();
    for (name, path) in files(folder)? {
        if name.ends_with(".conf") || name.ends_with(".local") {
            texts.add(&format!("{FILTERS}{name}"), read(&path)?);
        }
    }
    let mut looked_for = std::collections::BTreeSet::new();
    for _ in 0..MAX_ROUNDS {
        let missing: Vec<String> =
            texts.missing().into_iter().filter(|name| looked_for.insert(name.clone())).collect();
        if missing.is_empty() {
            break;
        }
        for name in missing {
            let path = match name.strip_prefix(FILTERS) {
                Some(inside) => folder.join(inside),
                // Beside the folder, or absolute.
                None => folder.join("..").join(&name),
            };
            // One that is not there is passed over, as Fail2ban does it.
            if path.is_file() {
                texts.add(&name, read(&path)?);
            }
        }
    }
    Ok(texts)
}

/// Regular files of a folder by name, in order.
pub(super) fn files(folder: &Path) -> Result<Vec<(String, PathBuf)>, Failure> {
    let failed = |error: io::Error| Failure::file(folder, "read", &error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        // Reading a FIFO or a device could take for ever.
        if let Some(name) = name
            && path.is_file()
        {
            found.push((name, path));
        }
        if found.len() > MAX_FILES {
            return Err(Failure::Usage {
                message: format!("{} holds more than {MAX_FILES} files", folder.display()),
                help: Some("name a folder that holds nothing else".into()),
            });
        }
    }
    found.sort();
    Ok(found)
}

/// A file as a whole, bounded.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| Failure::file(path, "read", &error);
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(failed)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Failure::Usage {
            message: format!("{} is longer than {} MiB", path.display(), MAX_FILE_BYTES >> 20),
            help: None,
        });
    }
    Ok(bytes)
}
