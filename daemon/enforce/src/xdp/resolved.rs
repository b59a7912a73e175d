//! What the resolver answered, as the packet path sees it. One entry comes or goes at a time: a write to memory that the
//! kernel shares with the programs, which waits for nothing.

use abi::{MAX_RESOLVED, ResolvedKey, ResolvedValue};
use aya::maps::{HashMap, MapData};
use std::path::Path;

use super::{Error, absent_is_fine, insertion, pinned};

/// A handle on the table of what the resolver answered. One writer.
pub struct Resolved(HashMap<MapData, ResolvedKey, ResolvedValue>);

impl Resolved {
    pub(super) fn open(pins: &Path) -> Result<Self, Error> {
        let map = pinned(&pins.join("RESOLVED"))?;
        Ok(Self(HashMap::try_from(map).map_err(Error::kernel("open RESOLVED"))?))
    }

    /// Writes an entry. It holds for the next packet that opens a flow.
    ///
    /// # Errors
    /// The table is full ([`Error::Full`]) or the kernel refuses.
    pub fn set(&mut self, key: ResolvedKey, value: ResolvedValue) -> Result<(), Error> {
        self.0.insert(key, value, 0).map_err(insertion("what DNS answered", MAX_RESOLVED))
    }

    /// Removes an entry; absent is fine.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn remove(&mut self, key: &ResolvedKey) -> Result<(), Error> {
        absent_is_fine(self.0.remove(key), "RESOLVED")
    }

    /// Every entry.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn entries(&self) -> Result<Vec<(ResolvedKey, ResolvedValue)>, Error> {
        self.0.iter().collect::<Result<_, _>>().map_err(Error::kernel("list RESOLVED"))
    }
}
