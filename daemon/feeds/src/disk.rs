//! The last good file of each subscription, and one that is held, each with what is known of it. Files are written
//! whole or not at all; what is known is beside the file and is believed only if it fits it.

use lists::Dangers;
use model::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::{
    fetch::Validators,
    judge::Judged,
    limits::MAX_DATABASE,
    subscription::{Kind, Subscription},
};

/// Bytes of what is known of a file. More is not read.
const MAX_NOTE: u64 = 64 * 1024;

/// What is known of a file on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// [`Subscription::identity`] when it was fetched.
    pub(crate) identity: String,
    /// How it is read: a file that is read in another way is no last good one.
    pub(crate) reading: String,
    #[serde(default)]
    pub(crate) validators: Validators,
    /// When its bytes were fetched.
    pub(crate) fetched: Timestamp,
    /// When the server last said that it is still the newest.
    pub(crate) checked: Timestamp,
    pub(crate) bytes: u64,
    /// CRC-32 of the bytes: against accidents, not enemies.
    pub(crate) crc: u32,
    pub(crate) entries: u64,
    pub(crate) rejected: u64,
    #[serde(default)]
    pub(crate) rejects: Vec<String>,
    /// Entries that would have done great harm, as [`Dangers`] counts them.
    pub(crate) dangers: [u64; 3],
    /// Why it is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) held: Option<String>,
}

impl Note {
    pub(crate) fn new(
        subscription: &Subscription,
        bytes: &[u8],
        validators: Validators,
        judged: &Judged,
        now: Timestamp,
    ) -> Self {
        Self {
            identity: identity(subscription),
            reading: reading(&subscription.kind),
            validators,
            fetched: now,
            checked: now,
            bytes: bytes.len() as u64,
            crc: crc32fast::hash(bytes),
            entries: judged.entries,
            rejected: judged.rejected,
            rejects: judged.rejects.clone(),
            dangers: [judged.dangers.everything, judged.dangers.own, judged.dangers.suffixes],
            held: None,
        }
    }

    pub(crate) fn dangers(&self) -> Dangers {
        let [everything, own, suffixes] = self.dangers;
        Dangers { everything, own, suffixes }
    }

    /// The file is not the one it is about: it still stands in, but it is no file to ask about or to compare with.
    pub(crate) fn forget(&mut self) {
        self.identity = String::new();
    }

    /// Whether it is about these bytes.
    pub(crate) fn fits(&self, bytes: &[u8]) -> bool {
        self.bytes == bytes.len() as u64 && self.crc == crc32fast::hash(bytes)
    }

    /// Whether the server can be asked by its validators, and the guard can compare with it.
    pub(crate) fn is_of(&self, subscription: &Subscription) -> bool {
        self.identity == identity(subscription)
    }
}

/// What makes a file on disk this subscription's. The public key belongs to it, so that a file that was fetched before
/// there was a key is not taken for a verified one; a fingerprint of it, as a location may hold a key in its query.
fn identity(subscription: &Subscription) -> String {
    let key = subscription.public_key.as_deref().unwrap_or_default();
    let text = format!("{} {key}", subscription.identity());
    format!("{:08x}-{:x}", crc32fast::hash(text.as_bytes()), text.len())
}

fn reading(kind: &Kind) -> String {
    match kind {
        Kind::Domains { format, .. } | Kind::Addresses { format, .. } => format!("{kind} {format}"),
        Kind::Rules | Kind::GeoIp => kind.to_string(),
    }
}

/// Which of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// The last good one.
    Good,
    /// The one that the guard holds.
    Held,
}

/// The folder of the files.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// The file of a subscription.
    pub(crate) fn file(&self, subscription: &Subscription, which: Which) -> PathBuf {
        let name = &subscription.name;
        let safe: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' })
            .take(100)
            .collect();
        let mut file = safe;
        if file != *name {
            // Two names that look alike on disk are told apart.
            file = format!("{file}-{:08x}", crc32fast::hash(name.as_bytes()));
        }
        let held = match which {
            Which::Good => "",
            Which::Held => ".held",
        };
        self.0.join(format!("{file}.{}{held}", subscription.kind))
    }

    /// What is known of a file, if it is there and is read as the subscription says. A file of which nothing is known
    /// any more stands in all the same: stale beats empty.
    pub(crate) fn note(&self, subscription: &Subscription, which: Which) -> Option<Note> {
        let file = self.file(subscription, which);
        let metadata = fs::metadata(&file).ok().filter(fs::Metadata::is_file)?;
        let reading = reading(&subscription.kind);
        let mut note = read_note(&note_of(&file)).unwrap_or_else(|| Note {
            reading: reading.clone(),
            fetched: Timestamp::from_seconds(metadata.mtime()),
            bytes: metadata.len(),
            ..Note::default()
        });
        if note.bytes != metadata.len() {
            note.forget();
        }
        (note.reading == reading).then_some(note)
    }

    /// The bytes of a file; none if it is not there.
    pub(crate) fn read(&self, subscription: &Subscription, which: Which) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.file(subscription, which)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(MAX_DATABASE as u64).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Writes a file and what is known of it. The file comes first: what is known is believed only if it fits.
    pub(crate) fn write(
        &self,
        subscription: &Subscription,
        which: Which,
        bytes: &[u8],
        note: &Note,
    ) -> io::Result<()> {
        self.replace(&self.file(subscription, which), bytes)?;
        self.write_note(subscription, which, note)
    }

    pub(crate) fn write_note(
        &self,
        subscription: &Subscription,
        which: Which,
        note: &Note,
    ) -> io::Result<()> {
        let text = serde_json::to_vec(note).map_err(io::Error::other)?;
        self.replace(&note_of(&self.file(subscription, which)), &text)
    }

    /// Removes a held file.
    pub(crate) fn drop_held(&self, subscription: &Subscription) {
        let file = self.file(subscription, Which::Held);
        for path in [note_of(&file), file] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(file = %path.display(), %error, "a held file cannot be removed");
                }
                Ok(()) | Err(_) => {}
            }
        }
    }

    /// Write, fsync, rename, fsync of the folder.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        let mut file = File::create(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        File::open(&self.0)?.sync_all()
    }
}

fn read_note(path: &Path) -> Option<Note> {
    let mut text = Vec::new();
    File::open(path).ok()?.take(MAX_NOTE).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

fn note_of(file: &Path) -> PathBuf {
    let mut note = file.as_os_str().to_owned();
    note.push(".json");
    note.into()
}
