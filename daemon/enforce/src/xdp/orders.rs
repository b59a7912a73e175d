//! Bans and timed allows: they come and go one by one, beside the plan.

use abi::{Active, Address, AllowValue, BanValue, MAX_BANS, MAX_PROTECTED};
use aya::maps::{LpmTrie, MapData};
use ipnet::IpNet;
use std::path::Path;

use super::{ActiveWord, Error, absent_is_fine, address_key, from_kernel, insertion, pinned};

/// A handle on the bans and allows in force. One writer: the keeper of decisions.
pub struct Orders {
    bans: LpmTrie<MapData, Address, BanValue>,
    allows: LpmTrie<MapData, Address, AllowValue>,
    active: ActiveWord,
}

impl Orders {
    pub(super) fn open(pins: &Path, active: ActiveWord) -> Result<Self, Error> {
        Ok(Self {
            bans: LpmTrie::try_from(pinned(&pins.join("BANS"))?).map_err(Error::kernel("open BANS"))?,
            allows: LpmTrie::try_from(pinned(&pins.join("ALLOWS"))?).map_err(Error::kernel("open ALLOWS"))?,
            active,
        })
    }

    /// Writes the ban of exactly this prefix. It holds for flows that are known after [`Self::bump_epoch`], for new
    /// ones at once. The longest prefix that holds an address speaks alone: covering bans must be folded in.
    ///
    /// # Errors
    /// The table is full ([`Error::Full`]) or the kernel refuses.
    pub fn set_ban(&mut self, net: IpNet, ban: BanValue) -> Result<(), Error> {
        self.bans.insert(&address_key(net), ban, 0).map_err(insertion("bans", MAX_BANS))
    }

    /// Removes the ban of exactly this prefix; absent is fine.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn clear_ban(&mut self, net: IpNet) -> Result<(), Error> {
        absent_is_fine(self.bans.remove(&address_key(net)), "BANS")
    }

    /// Every ban in the kernel, those whose time is over included.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn bans(&self) -> Result<Vec<(IpNet, BanValue)>, Error> {
        list(&self.bans, "BANS")
    }

    /// Lets no ban or list hold against this prefix until a boot time in ns (`u64::MAX` = never ends).
    ///
    /// # Errors
    /// The table is full ([`Error::Full`]) or the kernel refuses.
    pub fn set_allow(&mut self, net: IpNet, until: u64) -> Result<(), Error> {
        let allow = AllowValue { until, ..AllowValue::default() };
        self.allows.insert(&address_key(net), allow, 0).map_err(insertion("allows", MAX_PROTECTED))
    }

    /// Removes the allow of exactly this prefix; absent is fine.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn clear_allow(&mut self, net: IpNet) -> Result<(), Error> {
        absent_is_fine(self.allows.remove(&address_key(net)), "ALLOWS")
    }

    /// Every timed allow in the kernel.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn allows(&self) -> Result<Vec<(IpNet, AllowValue)>, Error> {
        list(&self.allows, "ALLOWS")
    }

    /// Has every flow judged again at its next packet. Returns the new epoch.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn bump_epoch(&mut self) -> Result<u32, Error> {
        let mut word = self.active.lock();
        let before = word.get()?;
        let epoch = before.epoch.wrapping_add(1);
        word.set(Active { epoch, ..before })?;
        Ok(epoch)
    }
}

fn list<V: aya::Pod>(table: &LpmTrie<MapData, Address, V>, name: &str) -> Result<Vec<(IpNet, V)>, Error> {
    let mut entries = Vec::new();
    for entry in table.iter() {
        let (key, value) = entry.map_err(Error::kernel(format!("list {name}")))?;
        if let Some(net) = from_kernel(key.data(), key.prefix_len()) {
            entries.push((net, value));
        }
    }
    Ok(entries)
}
