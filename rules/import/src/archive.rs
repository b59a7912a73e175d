//! Teleporter archives: a `.tar.gz` of Pi-hole 5, a `.zip` of Pi-hole 6. Only the files that are looked at are unpacked,
//! and only as far as the limits go.

use std::{
    collections::BTreeMap,
    io::{self, Cursor, Read},
};

use crate::{
    ImportError,
    limits::{MAX_ARCHIVE_BYTES, MAX_DATABASE_BYTES, MAX_MEMBERS, MAX_TEXT_BYTES, MAX_UNPACKED_BYTES},
};

/// Files that are looked at, by their names.
const KNOWN: [&str; 19] = [
    "gravity.db",
    "pihole.toml",
    "hosts",
    "dhcp.leases",
    "setupVars.conf",
    "pihole-FTL.conf",
    "custom.list",
    "adlist.json",
    "adlist_by_group.json",
    "blacklist.exact.json",
    "blacklist.regex.json",
    "whitelist.exact.json",
    "whitelist.regex.json",
    "domainlist_by_group.json",
    "client.json",
    "client_by_group.json",
    "group.json",
    "blacklist.txt",
    "adlists.list",
];
const TAKE_A_NEW_ONE: &str = "export it again in Pi-hole: Settings, Teleporter";

/// The files of an archive or a folder that are looked at, by name; files for dnsmasq as `dnsmasq.d/NAME`.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// What they were found in, as errors name it.
    pub name: String,
    files: BTreeMap<String, Vec<u8>>,
}

impl Files {
    /// No files yet, of the folder `name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), files: BTreeMap::new() }
    }

    /// The name that a file at `path` has here; none for a file that is not looked at.
    #[must_use]
    pub fn known(path: &str) -> Option<String> {
        let mut parts = path.trim_start_matches("./").split('/').rev();
        let name = parts.next()?;
        // Pi-hole keeps what it had before an upgrade beside what it uses.
        if parts.clone().any(|folder| folder.contains("backup")) {
            return None;
        }
        if KNOWN.contains(&name) {
            return Some(name.to_owned());
        }
        let of_dnsmasq = parts.next().is_some_and(|folder| folder.ends_with("dnsmasq.d"));
        let of_pihole = name.as_bytes().first().is_some_and(u8::is_ascii_digit) && name.contains("-pihole");
        (name.ends_with(".conf") && (of_dnsmasq || of_pihole)).then(|| format!("dnsmasq.d/{name}"))
    }

    /// Most bytes that a file may have.
    #[must_use]
    pub fn limit(name: &str) -> usize {
        if name == "gravity.db" { MAX_DATABASE_BYTES } else { MAX_TEXT_BYTES }
    }

    /// Adds a file under its [`known`](Self::known) name.
    pub fn add(&mut self, name: String, bytes: Vec<u8>) {
        self.files.insert(name, bytes);
    }

    /// A file.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }

    /// What there is for dnsmasq, in the order in which it reads it.
    pub(crate) fn dnsmasq(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files
            .iter()
            .filter(|(name, _)| name.starts_with("dnsmasq.d/"))
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
    }

    /// Whether nothing was found that says anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// How errors name a file.
    pub(crate) fn place(&self, name: &str) -> String {
        if self.name.is_empty() { name.to_owned() } else { format!("{}: {name}", self.name) }
    }

    /// Unpacks an archive; `name` is how errors call it.
    ///
    /// # Errors
    /// It is no archive, half of one, damaged, encrypted, or larger than the limits.
    pub fn unpack(name: &str, bytes: &[u8]) -> Result<Self, ImportError> {
        let mut files = Self::new(name);
        if bytes.len() > MAX_ARCHIVE_BYTES {
            return Err(too_big(name, MAX_ARCHIVE_BYTES as u64));
        }
        match bytes {
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => files.unzip(bytes)?,
            [0x1f, 0x8b, ..] => {
                let decoder = flate2::read::GzDecoder::new(bytes);
                files.untar(&mut Bounded { inner: decoder, left: MAX_UNPACKED_BYTES })?;
            }
            _ if bytes.get(257..262) == Some(b"ustar") => {
                files.untar(&mut Bounded { inner: bytes, left: MAX_UNPACKED_BYTES })?;
            }
            _ => {
                return Err(ImportError::new(
                    name,
                    "neither a zip nor a tar.gz archive",
                    "give the Teleporter archive as Pi-hole made it; one that a password protects (.enc) has to be \
                     exported again without",
                ));
            }
        }
        if files.is_empty() {
            return Err(ImportError::new(
                name,
                "nothing of Pi-hole is in this archive",
                "give a Teleporter archive, or the folder with gravity.db and pihole.toml",
            ));
        }
        Ok(files)
    }

    fn unzip(&mut self, bytes: &[u8]) -> Result<(), ImportError> {
        let name = self.name.clone();
        let damaged = |error: zip::result::ZipError| {
            let what = format!("half an archive, or a damaged one: {error}");
            ImportError::new(&name, what, TAKE_A_NEW_ONE)
        };
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
        if archive.len() > MAX_MEMBERS {
            return Err(too_many(&name));
        }
        let mut left = MAX_UNPACKED_BYTES;
        for place in 0..archive.len() {
            let mut member = archive.by_index(place).map_err(damaged)?;
            let Some(known) = Self::known(member.name()).filter(|_| member.is_file()) else { continue };
            let bytes = self.member(&known, &mut member, left)?;
            left = left.checked_sub(bytes.len() as u64).ok_or_else(|| too_big(&name, MAX_UNPACKED_BYTES))?;
            self.only_once(known, bytes)?;
        }
        Ok(())
    }

    fn untar(&mut self, stream: &mut impl Read) -> Result<(), ImportError> {
        let name = self.name.clone();
        let damaged = |error: io::Error| broken(&name, &error);
        let mut members = 0;
        let mut archive = tar::Archive::new(&mut *stream);
        for entry in archive.entries().map_err(damaged)? {
            let mut entry = entry.map_err(damaged)?;
            members += 1;
            if members > MAX_MEMBERS {
                return Err(too_many(&name));
            }
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let Some(known) = Self::known(&path).filter(|_| entry.header().entry_type().is_file()) else {
                continue;
            };
            let says = entry.size();
            // What is left of everything is counted by the stream.
            let bytes = self.member(&known, &mut entry, u64::MAX)?;
            if bytes.len() as u64 != says {
                return Err(ImportError::new(
                    &self.place(&known),
                    "the archive ends within this file",
                    TAKE_A_NEW_ONE,
                ));
            }
            self.only_once(known, bytes)?;
        }
        // The checksum stands at the end.
        io::copy(stream, &mut io::sink()).map_err(damaged)?;
        Ok(())
    }

    /// The bytes of a file in an archive, as many as it may have and are left for all of it.
    fn member(&self, known: &str, reader: &mut impl Read, left: u64) -> Result<Vec<u8>, ImportError> {
        let limit = Self::limit(known) as u64;
        let mut bytes = Vec::new();
        let read = reader.take(limit.min(left) + 1).read_to_end(&mut bytes);
        read.map_err(|error| broken(&self.place(known), &error))?;
        match bytes.len() as u64 {
            length if length > limit => Err(too_big(&self.place(known), limit)),
            length if length > left => Err(too_big(&self.name, MAX_UNPACKED_BYTES)),
            _ => Ok(bytes),
        }
    }

    fn only_once(&mut self, known: String, bytes: Vec<u8>) -> Result<(), ImportError> {
        if self.files.contains_key(&known) {
            return Err(ImportError::new(
                &self.place(&known),
                "stands twice in the archive",
                "give a Teleporter archive of one Pi-hole",
            ));
        }
        self.files.insert(known, bytes);
        Ok(())
    }
}

/// Gives at most so many bytes, and an error instead of more.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::other(format!("unpacked it has more than {MAX_UNPACKED_BYTES} bytes"))
        })?;
        Ok(read)
    }
}

fn broken(file: &str, error: &io::Error) -> ImportError {
    let what = match error.kind() {
        io::ErrorKind::UnexpectedEof => "half an archive: it ends too early".to_owned(),
        _ => format!("a damaged archive: {error}"),
    };
    ImportError::new(file, what, TAKE_A_NEW_ONE)
}

fn too_big(file: &str, limit: u64) -> ImportError {
    ImportError::new(
        file,
        format!("has more than {limit} bytes"),
        "that is no backup of Pi-hole; unpack it, and give the folder if it is one",
    )
}

fn too_many(file: &str) -> ImportError {
    ImportError::new(
        file,
        format!("has more than {MAX_MEMBERS} files"),
        "give the Teleporter archive as Pi-hole made it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_of_a_member_is_read_than_is_left() {
        let files = Files::new("backup.zip");
        let mut reader = io::repeat(0).take(1 << 30);
        let error = files.member("gravity.db", &mut reader, 1000).unwrap_err();
        assert!(error.to_string().contains(&MAX_UNPACKED_BYTES.to_string()), "{error}");
        assert_eq!(reader.limit(), (1 << 30) - 1001, "one byte more than is left, to know that there is one");
        assert_eq!(files.member("gravity.db", &mut io::repeat(0).take(1000), 1000).unwrap().len(), 1000);
    }

    #[test]
    fn files_are_known_by_their_names() {
        for (path, known) in [
            ("etc/pihole/gravity.db", Some("gravity.db")),
            ("./adlist.json", Some("adlist.json")),
            ("etc/hosts", Some("hosts")),
            ("etc/dnsmasq.d/99-my.conf", Some("dnsmasq.d/99-my.conf")),
            ("05-pihole-custom-cname.conf", Some("dnsmasq.d/05-pihole-custom-cname.conf")),
            ("etc/pihole/migration_backup_v6/setupVars.conf", None),
            ("etc/pihole/gravity_backups/gravity.db", None),
            ("etc/pihole/pihole-FTL.db", None),
            ("etc/passwd", None),
            ("", None),
        ] {
            assert_eq!(Files::known(path).as_deref(), known, "{path}");
        }
    }
}
