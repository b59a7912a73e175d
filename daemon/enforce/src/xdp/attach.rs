//! Which interfaces the programs hold.
//!
//! Links are pinned as `xdp-driver@eth0` (or `xdp-generic@…`) and `tc@eth0`: names say all, since the kernel tells
//! no mode. `.` and `%` of an interface's name are written as in URLs: a BPF file system takes no dots.
#![expect(unsafe_code, reason = "ethtool has only an ioctl")]

use aya::programs::{
    SchedClassifier, TcAttachType, Xdp, XdpMode,
    links::{FdLink, PinnedLink},
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions},
    xdp::XdpLink,
};
use aya::util::KernelVersion;
use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use super::{Dataplane, EGRESS, Error, INGRESS, program};

/// How an interface is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    /// The driver runs XDP.
    Driver,
    /// The kernel runs it for the driver: slower, the same verdicts.
    Generic,
}

impl Attached {
    const ALL: [Self; 2] = [Self::Driver, Self::Generic];

    /// The word in `status`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Driver => "driver",
            Self::Generic => "generic",
        }
    }

    const fn mode(self) -> XdpMode {
        match self {
            Self::Driver => XdpMode::Driver,
            Self::Generic => XdpMode::Skb,
        }
    }
}

/// An interface and how it is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedInterface {
    /// Its name.
    pub name: String,
    /// How.
    pub how: Attached,
}

impl Dataplane {
    /// Holds an interface: XDP as it comes in (by the driver, else by the kernel), TC as it leaves. Held already is
    /// fine; a link of another layout is taken over atomically. `tagged`: frames of it carry VLAN tags that matter,
    /// so the card must not strip them.
    ///
    /// # Errors
    /// The interface does not exist, strips tags, or is held by another program.
    pub fn attach(&mut self, interface: &str, tagged: bool) -> Result<Attached, Error> {
        interface_index(interface)?;
        if tagged {
            keep_tags(interface)?;
        }
        let how = match self.held(interface) {
            Some(how) => how,
            None => self.attach_ingress(interface)?,
        };
        self.attach_egress(interface)?;
        Ok(how)
    }

    /// Lets an interface go. Not held is fine.
    ///
    /// # Errors
    /// A pin cannot be removed.
    pub fn detach(&mut self, interface: &str) -> Result<(), Error> {
        if interface_index(interface).is_ok_and(|index| self.filters.remove(&index)) || !has_tcx() {
            let _ = tc::qdisc_detach_program(interface, TcAttachType::Egress, EGRESS);
        }
        for how in Attached::ALL {
            remove(&self.pins.join(xdp_pin(how, interface)))?;
        }
        remove(&self.pins.join(tc_pin(interface)))
    }

    /// The interfaces that are held by this layout and exist now.
    ///
    /// # Errors
    /// The folder of pins cannot be read.
    pub fn attached(&self) -> Result<Vec<AttachedInterface>, Error> {
        let mut found = self.pinned_interfaces()?;
        found.retain(|held| interface_index(&held.name).is_ok());
        Ok(found)
    }

    /// The interfaces whose links are pinned: the pin outlives its interface.
    pub(super) fn pinned_interfaces(&self) -> Result<Vec<AttachedInterface>, Error> {
        let mut found = Vec::new();
        for name in names_in(&self.pins)? {
            for how in Attached::ALL {
                if let Some(interface) = name.strip_prefix(&xdp_prefix(how)) {
                    found.push(AttachedInterface { name: unescape(interface), how });
                }
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Removes what layouts other than this one have pinned; their links with it. Call it when every interface of the
    /// plan is attached.
    ///
    /// # Errors
    /// A pin cannot be removed.
    pub fn retire_other_layouts(&self) -> Result<usize, Error> {
        let mut retired = 0;
        for folder in self.other_layouts()? {
            remove_folder(&folder)?;
            retired += 1;
        }
        Ok(retired)
    }

    /// Gives the links that are pinned this version's programs. A link whose interface is gone is removed.
    pub(super) fn renew_links(&mut self) -> Result<Vec<String>, Error> {
        let mut renewed = Vec::new();
        for name in names_in(&self.pins)? {
            let path = self.pins.join(&name);
            let result = if name.starts_with("xdp-") {
                self.renew_ingress(&path)
            } else if name.starts_with("tc@") {
                self.renew_egress(&path)
            } else {
                continue;
            };
            match result {
                Ok(()) => {
                    if let Some(interface) =
                        Attached::ALL.iter().find_map(|how| name.strip_prefix(&xdp_prefix(*how)))
                    {
                        renewed.push(unescape(interface));
                    }
                }
                Err(error) => {
                    tracing::warn!(pin = name, %error, "a link of an earlier run is gone with its interface");
                    remove(&path)?;
                }
            }
        }
        renewed.sort();
        Ok(renewed)
    }

    fn held(&self, interface: &str) -> Option<Attached> {
        Attached::ALL.into_iter().find(|how| {
            let path = self.pins.join(xdp_pin(*how, interface));
            if !path.exists() {
                return false;
            }
            // An interface that was made anew under its old name is not held any more.
            let lives = PinnedLink::from_pin(&path)
                .is_ok_and(|link| link_interface(&FdLink::from(link)) == interface_index(interface).ok());
            if !lives {
                let _ = fs::remove_file(&path);
                let _ = fs::remove_file(self.pins.join(tc_pin(interface)));
            }
            lives
        })
    }

    fn attach_ingress(&mut self, interface: &str) -> Result<Attached, Error> {
        for folder in self.other_layouts()? {
            for how in Attached::ALL {
                let old = folder.join(xdp_pin(how, interface));
                if old.exists() && self.renew_ingress(&old).is_ok() {
                    move_link(&old, &self.pins.join(xdp_pin(how, interface)))?;
                    return Ok(how);
                }
            }
        }
        match self.attach_ingress_as(interface, Attached::Driver) {
            Ok(()) => Ok(Attached::Driver),
            Err(error) => {
                tracing::info!(interface, %error, "the driver runs no XDP, the kernel does");
                self.attach_ingress_as(interface, Attached::Generic)?;
                Ok(Attached::Generic)
            }
        }
    }

    fn attach_ingress_as(&mut self, interface: &str, how: Attached) -> Result<(), Error> {
        let doing = || format!("attach XDP to {interface} ({})", how.name());
        let ingress: &mut Xdp = program(&mut self.bpf, INGRESS)?;
        let id = ingress.attach(interface, how.mode()).map_err(Error::kernel(doing()))?;
        let link = ingress.take_link(id).map_err(Error::kernel(doing()))?;
        let link = FdLink::try_from(link).map_err(Error::kernel(doing()))?;
        link.pin(self.pins.join(xdp_pin(how, interface))).map_err(Error::kernel(doing()))?;
        Ok(())
    }

    fn attach_egress(&mut self, interface: &str) -> Result<(), Error> {
        let doing = || format!("attach TC to {interface}");
        let pin = self.pins.join(tc_pin(interface));
        if pin.exists() {
            return Ok(());
        }
        for folder in self.other_layouts()? {
            let old = folder.join(tc_pin(interface));
            if old.exists() && self.renew_egress(&old).is_ok() {
                return move_link(&old, &pin);
            }
        }
        if !has_tcx() {
            return self.attach_egress_filter(interface);
        }
        let egress: &mut SchedClassifier = program(&mut self.bpf, EGRESS)?;
        let id = egress.attach(interface, TcAttachType::Egress).map_err(Error::kernel(doing()))?;
        let link = egress.take_link(id).map_err(Error::kernel(doing()))?;
        let link = FdLink::try_from(link).map_err(Error::kernel(doing()))?;
        link.pin(pin).map_err(Error::kernel(doing()))?;
        Ok(())
    }

    /// For kernels before TCX (Linux 6.6): a filter of the clsact queue. It has no link that could be pinned; it stays
    /// by itself and is found by its name.
    fn attach_egress_filter(&mut self, interface: &str) -> Result<(), Error> {
        let doing = || format!("attach a TC filter to {interface}");
        if !self.filters.insert(interface_index(interface)?) {
            return Ok(());
        }
        // There already is fine; an attachment that fails for want of it says so.
        let _ = tc::qdisc_add_clsact(interface);
        let _ = tc::qdisc_detach_program(interface, TcAttachType::Egress, EGRESS);
        let egress: &mut SchedClassifier = program(&mut self.bpf, EGRESS)?;
        let id = egress
            .attach_with_options(
                interface,
                TcAttachType::Egress,
                TcAttachOptions::Netlink(NlOptions::default()),
            )
            .map_err(Error::kernel(doing()))?;
        let link = egress.take_link(id).map_err(Error::kernel(doing()))?;
        // Dropping the link would take the filter away.
        std::mem::forget(link);
        Ok(())
    }

    fn renew_ingress(&mut self, pin: &Path) -> Result<(), Error> {
        let doing = || format!("replace the program of {}", pin.display());
        let link = PinnedLink::from_pin(pin).map_err(Error::kernel(doing()))?;
        let link = XdpLink::try_from(FdLink::from(link)).map_err(Error::kernel(doing()))?;
        let ingress: &mut Xdp = program(&mut self.bpf, INGRESS)?;
        let id = ingress.attach_to_link(link).map_err(Error::kernel(doing()))?;
        ingress.take_link(id).map_err(Error::kernel(doing()))?;
        Ok(())
    }

    fn renew_egress(&mut self, pin: &Path) -> Result<(), Error> {
        let doing = || format!("replace the program of {}", pin.display());
        let link = PinnedLink::from_pin(pin).map_err(Error::kernel(doing()))?;
        let link = SchedClassifierLink::try_from(FdLink::from(link)).map_err(Error::kernel(doing()))?;
        let egress: &mut SchedClassifier = program(&mut self.bpf, EGRESS)?;
        let id = egress.attach_to_link(link).map_err(Error::kernel(doing()))?;
        egress.take_link(id).map_err(Error::kernel(doing()))?;
        Ok(())
    }

    fn other_layouts(&self) -> Result<Vec<PathBuf>, Error> {
        let names = names_in(&self.root)?.into_iter().filter(|name| is_layout(name));
        let folders = names.map(|name| self.root.join(name));
        Ok(folders.filter(|path| *path != self.pins && path.is_dir()).collect())
    }
}

/// Lets every interface go and removes all maps of all layouts under `bpffs`. Nothing there is fine.
///
/// # Errors
/// A pin cannot be removed.
pub fn detach_all(bpffs: &Path) -> Result<usize, Error> {
    if !bpffs.exists() {
        return Ok(0);
    }
    let mut removed = 0;
    for name in names_in(bpffs)?.into_iter().filter(|name| is_layout(name)) {
        let folder = bpffs.join(name);
        if folder.is_dir() {
            for link in names_in(&folder)? {
                if let Some(interface) =
                    Attached::ALL.iter().find_map(|how| link.strip_prefix(&xdp_prefix(*how)))
                {
                    let _ = tc::qdisc_detach_program(&unescape(interface), TcAttachType::Egress, EGRESS);
                }
            }
            removed += remove_folder(&folder)?;
        }
    }
    Ok(removed)
}

/// TCX came with Linux 6.6.
fn has_tcx() -> bool {
    KernelVersion::current().is_ok_and(|kernel| kernel >= KernelVersion::new(6, 6, 0))
}

/// The folder is one of ours: named by a layout's hash. Other people's pins are left alone.
fn is_layout(name: &str) -> bool {
    name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn xdp_prefix(how: Attached) -> String {
    format!("xdp-{}@", how.name())
}

fn xdp_pin(how: Attached, interface: &str) -> String {
    xdp_prefix(how) + &escape(interface)
}

fn tc_pin(interface: &str) -> String {
    format!("tc@{}", escape(interface))
}

fn escape(interface: &str) -> String {
    interface.replace('%', "%25").replace('.', "%2E")
}

fn unescape(name: &str) -> String {
    name.replace("%2E", ".").replace("%25", "%")
}

fn names_in(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = fs::read_dir(folder).map_err(Error::file("read the folder", folder))?;
    Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", path)(error)),
        _ => Ok(()),
    }
}

fn remove_folder(folder: &Path) -> Result<usize, Error> {
    let names = names_in(folder)?;
    // Links first: an interface is free before its tables go.
    let (links, maps): (Vec<_>, Vec<_>) = names.iter().partition(|name| name.contains('@'));
    for name in links.iter().chain(&maps) {
        remove(&folder.join(name))?;
    }
    fs::remove_dir(folder).map_err(Error::file("remove the folder", folder))?;
    Ok(names.len())
}

fn move_link(old: &Path, new: &Path) -> Result<(), Error> {
    let link = PinnedLink::from_pin(old).map_err(Error::kernel(format!("open {}", old.display())))?;
    FdLink::from(link).pin(new).map_err(Error::kernel(format!("pin {}", new.display())))?;
    remove(old)
}

/// The interface a link holds, from its fdinfo; 0 when the interface is gone.
fn link_interface(link: &FdLink) -> Option<u32> {
    // aya's link has no public descriptor; its id is the descriptor's number.
    let id = link.info().ok()?.id();
    let fields = fdinfo_of_link(id)?;
    fields.get("ifindex")?.parse().ok()
}

fn fdinfo_of_link(id: u32) -> Option<BTreeMap<String, String>> {
    fs::read_dir("/proc/self/fdinfo").ok()?.flatten().find_map(|entry| {
        let text = fs::read_to_string(entry.path()).ok()?;
        let fields: BTreeMap<String, String> = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
            .collect();
        (fields.get("link_id")? == &id.to_string()).then_some(fields)
    })
}

/// The index of an interface in this network namespace.
pub(super) fn interface_index(interface: &str) -> Result<u32, Error> {
    let missing = || Error::NoInterface(interface.to_owned());
    let name = std::ffi::CString::new(interface).map_err(|_| missing())?;
    // SAFETY: the name ends with a zero.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(missing()),
        index => Ok(index),
    }
}

/// Has the card leave VLAN tags in the frames (`ethtool -K IF rxvlan off`), and checks that it does.
fn keep_tags(interface: &str) -> Result<(), Error> {
    /// linux/ethtool.h
    const ETHTOOL_GFLAGS: u32 = 0x25;
    const ETHTOOL_SFLAGS: u32 = 0x26;
    const ETH_FLAG_RXVLAN: u32 = 1 << 8;
    let refused = |source| Error::StripsTags { interface: interface.to_owned(), source };
    let flags = match ethtool(interface, ETHTOOL_GFLAGS, 0) {
        Ok(flags) => flags,
        // A device without such flags has no such offload.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(()),
        Err(error) => return Err(refused(error)),
    };
    if flags & ETH_FLAG_RXVLAN == 0 {
        return Ok(());
    }
    ethtool(interface, ETHTOOL_SFLAGS, flags & !ETH_FLAG_RXVLAN).map_err(refused)?;
    let flags = ethtool(interface, ETHTOOL_GFLAGS, 0).map_err(refused)?;
    if flags & ETH_FLAG_RXVLAN != 0 {
        return Err(refused(io::Error::other("the flag stays on")));
    }
    Ok(())
}

/// One ethtool command that carries a word both ways.
fn ethtool(interface: &str, command: u32, data: u32) -> io::Result<u32> {
    #[repr(C)]
    struct EthtoolValue {
        command: u32,
        data: u32,
    }
    let mut value = EthtoolValue { command, data };
    // SAFETY: all zeros is a valid ifreq; the name is cut to leave its last byte zero; the pointer to `value` lives
    // through the call; the descriptor is owned from its making on.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (place, byte) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(interface.bytes()) {
            *place = byte as libc::c_char;
        }
        request.ifr_ifru.ifru_data = (&raw mut value).cast();
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = OwnedFd::from_raw_fd(socket);
        if libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(value.data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_named_by_a_layout_are_ours() {
        let layout = super::super::object::Layout::of_object().unwrap();
        assert!(is_layout(&layout.hash));
        for foreign in ["", "cilium", "xdp", "maps.debug", "0123456789abcdeg", "0123456789abcdef0"] {
            assert!(!is_layout(foreign), "{foreign}");
        }
    }

    #[test]
    fn names_of_interfaces_round_trip_without_dots() {
        for name in ["eth0", "eth0.400", "a%b", "a%2Eb", "br-lan"] {
            assert!(!escape(name).contains('.'));
            assert_eq!(unescape(&escape(name)), name);
        }
    }
}
