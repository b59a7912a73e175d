//! Bans and timed allows: they come and go one by one, beside the plan.
//!
//! Bans of one IPv4 or IPv6 address or of one /64 are found by a hash, others by their longest prefix. What is empty is
//! not looked at: bits in the active word say so, set before the first entry and cleared after the last.

use abi::{
    ACTIVE_ALLOWS, ACTIVE_BANS, ACTIVE_RANGES, Address, AllowValue, BanKey, BanValue, MAX_BANNED_RANGES,
    MAX_BANS, MAX_PROTECTED,
};
use aya::{
    Pod,
    maps::{HashMap, LpmTrie, MapData},
};
use ipnet::IpNet;
use std::path::Path;

use super::{
    Error, absent_is_fine, active::ActiveWord, address_key, from_kernel, insertion, kernel_form, pinned,
};

/// Lengths of prefixes that the hash of bans holds, in bits of the kernel's form.
const EXACT: [u32; 2] = [64, 128];

/// A handle on the bans and allows in force. One writer: the keeper of decisions.
pub struct Orders {
    bans: HashMap<MapData, BanKey, BanValue>,
    ranges: LpmTrie<MapData, Address, BanValue>,
    allows: LpmTrie<MapData, Address, AllowValue>,
    active: ActiveWord,
}

impl Orders {
    pub(super) fn open(pins: &Path, active: ActiveWord) -> Result<Self, Error> {
        let open = |name: &str| pinned(&pins.join(name));
        Ok(Self {
            bans: HashMap::try_from(open("BANS")?).map_err(Error::kernel("open BANS"))?,
            ranges: LpmTrie::try_from(open("BANNED_RANGES")?).map_err(Error::kernel("open BANNED_RANGES"))?,
            allows: LpmTrie::try_from(open("ALLOWS")?).map_err(Error::kernel("open ALLOWS"))?,
            active,
        })
    }

    /// Writes the ban of exactly this prefix. It holds for flows that are known after [`Self::bump_epoch`], for new
    /// ones at once. The longest prefix that holds an address speaks alone: covering bans must be folded in.
    ///
    /// # Errors
    /// The table is full ([`Error::Full`]) or the kernel refuses.
    pub fn set_ban(&mut self, net: IpNet, ban: BanValue) -> Result<(), Error> {
        let mut active = self.active.lock();
        match place(net) {
            Place::Exact(key) => {
                active.set_flag(ACTIVE_BANS, true);
                self.bans.insert(key, with_bits(net, ban), 0).map_err(insertion("bans", MAX_BANS))
            }
            Place::Range => {
                active.set_flag(ACTIVE_RANGES, true);
                let key = address_key(net);
                self.ranges
                    .insert(&key, with_bits(net, ban), 0)
                    .map_err(insertion("banned ranges", MAX_BANNED_RANGES))
            }
        }
    }

    /// Writes many bans, as [`Self::set_ban`] writes one: what a start has to put back in force.
    ///
    /// # Errors
    /// As of [`Self::set_ban`]; those before are written.
    pub fn set_bans<'a>(
        &mut self,
        bans: impl IntoIterator<Item = &'a (IpNet, BanValue)>,
    ) -> Result<(), Error> {
        bans.into_iter().try_for_each(|(net, ban)| self.set_ban(*net, *ban))
    }

    /// Removes the ban of exactly this prefix; absent is fine.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn clear_ban(&mut self, net: IpNet) -> Result<(), Error> {
        let mut active = self.active.lock();
        match place(net) {
            Place::Exact(key) => {
                absent_is_fine(self.bans.remove(&key), "BANS")?;
                active.set_flag(ACTIVE_BANS, self.bans.keys().next().is_some());
            }
            Place::Range => {
                absent_is_fine(self.ranges.remove(&address_key(net)), "BANNED_RANGES")?;
                active.set_flag(ACTIVE_RANGES, self.ranges.keys().next().is_some());
            }
        }
        Ok(())
    }

    /// Every ban in the kernel, those whose time is over included.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn bans(&self) -> Result<Vec<(IpNet, BanValue)>, Error> {
        let mut bans = list(&self.ranges, "BANNED_RANGES")?;
        for entry in self.bans.iter() {
            let (key, value) = entry.map_err(Error::kernel("list BANS"))?;
            if let Some(net) = from_kernel(key.address, key.bits) {
                bans.push((net, value));
            }
        }
        Ok(bans)
    }

    /// Lets no ban or list hold against this prefix until a boot time in ns (`u64::MAX` = never ends).
    ///
    /// # Errors
    /// The table is full ([`Error::Full`]) or the kernel refuses.
    pub fn set_allow(&mut self, net: IpNet, until: u64) -> Result<(), Error> {
        let mut active = self.active.lock();
        active.set_flag(ACTIVE_ALLOWS, true);
        let allow = AllowValue { until, ..AllowValue::default() };
        self.allows.insert(&address_key(net), allow, 0).map_err(insertion("allows", MAX_PROTECTED))
    }

    /// Removes the allow of exactly this prefix; absent is fine.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn clear_allow(&mut self, net: IpNet) -> Result<(), Error> {
        let mut active = self.active.lock();
        absent_is_fine(self.allows.remove(&address_key(net)), "ALLOWS")?;
        active.set_flag(ACTIVE_ALLOWS, self.allows.keys().next().is_some());
        Ok(())
    }

    /// Every timed allow in the kernel.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn allows(&self) -> Result<Vec<(IpNet, AllowValue)>, Error> {
        list(&self.allows, "ALLOWS")
    }

    /// Takes over what an earlier version, or another size of the flow table, left in a folder of pins. Gives the number
    /// of bans.
    ///
    /// # Errors
    /// Its tables cannot be read, or this one is full: those before are written.
    pub(super) fn take_over(&mut self, pins: &Path) -> Result<usize, Error> {
        let other = Self::open(pins, self.active.clone())?;
        let (bans, allows) = (other.bans()?, other.allows()?);
        self.set_bans(&bans)?;
        allows.iter().try_for_each(|(net, allow)| self.set_allow(*net, allow.until))?;
        Ok(bans.len())
    }

    /// Has every flow judged again at its next packet. Returns the new epoch.
    ///
    /// # Errors
    /// None since the word is shared memory; kept for callers.
    pub fn bump_epoch(&mut self) -> Result<u32, Error> {
        Ok(self.active.lock().next_epoch())
    }

    /// Sets the bits that say what is empty, after an earlier run may have died between a table and its bit.
    pub(super) fn mend_flags(&self) {
        let mut active = self.active.lock();
        active.set_flag(ACTIVE_BANS, self.bans.keys().next().is_some());
        active.set_flag(ACTIVE_RANGES, self.ranges.keys().next().is_some());
        active.set_flag(ACTIVE_ALLOWS, self.allows.keys().next().is_some());
    }
}

/// Where a ban goes.
enum Place {
    Exact(BanKey),
    Range,
}

fn place(net: IpNet) -> Place {
    let (address, bits) = kernel_form(net);
    if EXACT.contains(&bits) { Place::Exact(BanKey { address, bits }) } else { Place::Range }
}

/// The value says how long its prefix is: of what the programs find the longest speaks.
fn with_bits(net: IpNet, ban: BanValue) -> BanValue {
    let (_, bits) = kernel_form(net);
    BanValue { bits: u8::try_from(bits).unwrap_or(u8::MAX), ..ban }
}

fn list<V: Pod>(table: &LpmTrie<MapData, Address, V>, name: &str) -> Result<Vec<(IpNet, V)>, Error> {
    let mut entries = Vec::new();
    for entry in table.iter() {
        let (key, value) = entry.map_err(Error::kernel(format!("list {name}")))?;
        if let Some(net) = from_kernel(key.data(), key.prefix_len()) {
            entries.push((net, value));
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_addresses_and_subnets_of_64_are_found_by_hash() {
        let exact = |text: &str| match place(text.parse().unwrap()) {
            Place::Exact(key) => Some(key.bits),
            Place::Range => None,
        };
        assert_eq!(exact("192.0.2.1/32"), Some(128));
        assert_eq!(exact("2001:db8::1/128"), Some(128));
        assert_eq!(exact("2001:db8::/64"), Some(64));
        for range in ["192.0.2.0/24", "0.0.0.0/0", "2001:db8::/32", "2001:db8::/65", "::/0"] {
            assert_eq!(exact(range), None, "{range}");
        }
        let ban = with_bits("192.0.2.0/24".parse().unwrap(), BanValue::default());
        assert_eq!(ban.bits, 120);
    }
}
