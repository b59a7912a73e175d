//! Which interfaces the programs hold.
//!
//! A device with an Ethernet header is held by XDP as frames come in and by TC as they leave; one without (PPP,
//! WireGuard, tunnels) by TC both ways, since XDP would take its packets for frames. Links are pinned as
//! `xdp-driver@eth0` (or `xdp-generic@…`) and `tc@eth0`, or `l3-in@ppp0` and `l3-out@ppp0`: names say all, since the
//! kernel tells no mode. `.` and `%` of an interface's name are written as in URLs: a BPF file system takes no dots.

use aya::programs::{
    SchedClassifier, TcAttachType, Xdp, XdpMode,
    links::{FdLink, PinnedLink},
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions},
    xdp::XdpLink,
};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    Dataplane, EGRESS, EGRESS_L3, Error, INGRESS, INGRESS_L3, boot_now,
    drivers::{has_ethernet, interface_index, keep_tags, warning},
    program,
};

/// How an interface is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    /// The driver runs XDP.
    Driver,
    /// The kernel runs it for the driver: slower, the same verdicts.
    Generic,
    /// A device without an Ethernet header: TC runs the same code as packets come in.
    Tc,
}

impl Attached {
    const ALL: [Self; 3] = [Self::Driver, Self::Generic, Self::Tc];

    /// The word in `status`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Driver => "driver",
            Self::Generic => "generic",
            Self::Tc => "tc",
        }
    }

    /// The link by which packets come in; its pin says how the interface is held.
    const fn inwards(self) -> Pin {
        match self {
            Self::Driver => Pin::Driver,
            Self::Generic => Pin::Generic,
            Self::Tc => Pin::Ingress3,
        }
    }

    /// The link by which packets leave.
    const fn outwards(self) -> Pin {
        match self {
            Self::Driver | Self::Generic => Pin::Egress,
            Self::Tc => Pin::Egress3,
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
    /// What a person should know about that: why it is slower than it could be.
    pub warning: Option<String>,
}

impl AttachedInterface {
    fn new(name: String, how: Attached) -> Self {
        let warning = match how {
            Attached::Driver | Attached::Tc => None,
            Attached::Generic => Some(warning(&name)),
        };
        Self { name, how, warning }
    }
}

/// The kinds of links, and what their pins are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pin {
    Driver,
    Generic,
    Egress,
    Ingress3,
    Egress3,
}

impl Pin {
    const ALL: [Self; 5] = [Self::Driver, Self::Generic, Self::Egress, Self::Ingress3, Self::Egress3];

    const fn prefix(self) -> &'static str {
        match self {
            Self::Driver => "xdp-driver@",
            Self::Generic => "xdp-generic@",
            Self::Egress => "tc@",
            Self::Ingress3 => "l3-in@",
            Self::Egress3 => "l3-out@",
        }
    }

    fn of(self, interface: &str) -> String {
        format!("{}{}", self.prefix(), escape(interface))
    }

    /// Kind and interface of a pin's name.
    fn read(name: &str) -> Option<(Self, String)> {
        Self::ALL.into_iter().find_map(|pin| Some((pin, unescape(name.strip_prefix(pin.prefix())?))))
    }

    /// The way of packets and the program's name, where TC holds it.
    const fn by_tc(self) -> Option<(TcAttachType, &'static str)> {
        match self {
            Self::Driver | Self::Generic => None,
            Self::Egress => Some((TcAttachType::Egress, EGRESS)),
            Self::Ingress3 => Some((TcAttachType::Ingress, INGRESS_L3)),
            Self::Egress3 => Some((TcAttachType::Egress, EGRESS_L3)),
        }
    }
}

impl Dataplane {
    /// Holds an interface: as packets come in and as they leave. Held already is fine; a link of another layout is
    /// taken over atomically. `tagged`: frames of it carry VLAN tags that matter, so the card must not strip them.
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
            None => {
                // What has state in conntrack alone goes on by that while the programs learn.
                self.active.lock().note_attached(boot_now());
                self.attach_inwards(interface)?
            }
        };
        self.attach_by_tc(interface, how.outwards())?;
        Ok(how)
    }

    /// Lets an interface go. Not held is fine.
    ///
    /// # Errors
    /// A pin cannot be removed.
    pub fn detach(&mut self, interface: &str) -> Result<(), Error> {
        let count = self.filters.len();
        self.filters.retain(|(_, _, name)| name != interface);
        if self.filters.len() < count || !self.tcx {
            detach_filters(interface);
        }
        Pin::ALL.into_iter().try_for_each(|pin| remove(&self.pins.join(pin.of(interface))))
    }

    /// The interfaces that are held by this layout and exist now.
    ///
    /// # Errors
    /// The folder of pins cannot be read.
    pub fn attached(&self) -> Result<Vec<AttachedInterface>, Error> {
        let mut found = self.pinned_interfaces()?;
        found.retain(|(name, _)| interface_index(name).is_ok());
        Ok(found.into_iter().map(|(name, how)| AttachedInterface::new(name, how)).collect())
    }

    /// The interfaces whose links are pinned: the pin outlives its interface.
    pub(super) fn pinned_interfaces(&self) -> Result<Vec<(String, Attached)>, Error> {
        let mut found = Vec::new();
        for name in names_in(&self.pins)? {
            let Some((pin, interface)) = Pin::read(&name) else { continue };
            if let Some(how) = Attached::ALL.into_iter().find(|how| how.inwards() == pin) {
                found.push((interface, how));
            }
        }
        // Filters of the old kind have no pins.
        for (_, program, interface) in &self.filters {
            if *program == INGRESS_L3 {
                found.push((interface.clone(), Attached::Tc));
            }
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
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
            let Some((pin, interface)) = Pin::read(&name) else { continue };
            match self.renew(&path, pin) {
                Ok(()) if Attached::ALL.into_iter().any(|how| how.inwards() == pin) => {
                    renewed.push(interface)
                }
                Ok(()) => {}
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
        let index = interface_index(interface).ok()?;
        if self.filters.contains(&(index, INGRESS_L3, interface.to_owned())) {
            return Some(Attached::Tc);
        }
        Attached::ALL.into_iter().find(|how| {
            let path = self.pins.join(how.inwards().of(interface));
            if !path.exists() {
                return false;
            }
            // An interface that was made anew under its old name is not held any more.
            let lives = PinnedLink::from_pin(&path)
                .is_ok_and(|link| link_interface(&FdLink::from(link)) == Some(index));
            if !lives {
                let _ = fs::remove_file(&path);
                let _ = fs::remove_file(self.pins.join(how.outwards().of(interface)));
            }
            lives
        })
    }

    fn attach_inwards(&mut self, interface: &str) -> Result<Attached, Error> {
        if !has_ethernet(interface)? {
            self.attach_by_tc(interface, Pin::Ingress3)?;
            return Ok(Attached::Tc);
        }
        for how in [Attached::Driver, Attached::Generic] {
            if self.take_over(interface, how.inwards())? {
                return Ok(how);
            }
        }
        match self.attach_xdp(interface, Attached::Driver) {
            Ok(()) => Ok(Attached::Driver),
            Err(error) => {
                tracing::info!(interface, %error, "the driver runs no XDP, the kernel does");
                self.attach_xdp(interface, Attached::Generic)?;
                Ok(Attached::Generic)
            }
        }
    }

    /// Gives a link that another layout holds this version's program, without a gap. `false` if there is none.
    fn take_over(&mut self, interface: &str, pin: Pin) -> Result<bool, Error> {
        for folder in self.other_layouts()? {
            let old = folder.join(pin.of(interface));
            if old.exists() && self.renew(&old, pin).is_ok() {
                move_link(&old, &self.pins.join(pin.of(interface)))?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn attach_xdp(&mut self, interface: &str, how: Attached) -> Result<(), Error> {
        let doing = || format!("attach XDP to {interface} ({})", how.name());
        let mode = if how == Attached::Driver { XdpMode::Driver } else { XdpMode::Skb };
        let ingress: &mut Xdp = program(&mut self.bpf, INGRESS)?;
        let id = ingress.attach(interface, mode).map_err(Error::kernel(doing()))?;
        let link = ingress.take_link(id).map_err(Error::kernel(doing()))?;
        let link = FdLink::try_from(link).map_err(Error::kernel(doing()))?;
        link.pin(self.pins.join(how.inwards().of(interface))).map_err(Error::kernel(doing()))?;
        Ok(())
    }

    fn attach_by_tc(&mut self, interface: &str, pin: Pin) -> Result<(), Error> {
        let doing = || format!("attach TC to {interface}");
        let Some((way, name)) = pin.by_tc() else { return Ok(()) };
        let path = self.pins.join(pin.of(interface));
        if path.exists() || self.take_over(interface, pin)? {
            return Ok(());
        }
        if !self.tcx {
            return self.attach_filter(interface, way, name);
        }
        let classifier: &mut SchedClassifier = program(&mut self.bpf, name)?;
        let id = classifier.attach(interface, way).map_err(Error::kernel(doing()))?;
        let link = classifier.take_link(id).map_err(Error::kernel(doing()))?;
        let link = FdLink::try_from(link).map_err(Error::kernel(doing()))?;
        link.pin(path).map_err(Error::kernel(doing()))?;
        Ok(())
    }

    /// For kernels before TCX (Linux 6.6): a filter of the clsact queue. It has no link that could be pinned; it stays
    /// by itself and is found by its name.
    fn attach_filter(&mut self, interface: &str, way: TcAttachType, name: &'static str) -> Result<(), Error> {
        let doing = || format!("attach a TC filter to {interface}");
        if !self.filters.insert((interface_index(interface)?, name, interface.to_owned())) {
            return Ok(());
        }
        // One of an earlier run is replaced; a queue that is there already is fine.
        let _ = tc::qdisc_add_clsact(interface);
        let _ = tc::qdisc_detach_program(interface, way, name);
        let classifier: &mut SchedClassifier = program(&mut self.bpf, name)?;
        let id = classifier
            .attach_with_options(interface, way, TcAttachOptions::Netlink(NlOptions::default()))
            .map_err(Error::kernel(doing()))?;
        let link = classifier.take_link(id).map_err(Error::kernel(doing()))?;
        // Dropping the link would take the filter away.
        std::mem::forget(link);
        Ok(())
    }

    /// Replaces the program of a pinned link, atomically.
    fn renew(&mut self, path: &Path, pin: Pin) -> Result<(), Error> {
        let doing = || format!("replace the program of {}", path.display());
        let link = PinnedLink::from_pin(path).map_err(Error::kernel(doing()))?;
        match pin.by_tc() {
            None => {
                let link = XdpLink::try_from(FdLink::from(link)).map_err(Error::kernel(doing()))?;
                let ingress: &mut Xdp = program(&mut self.bpf, INGRESS)?;
                let id = ingress.attach_to_link(link).map_err(Error::kernel(doing()))?;
                ingress.take_link(id).map_err(Error::kernel(doing()))?;
            }
            Some((_, name)) => {
                let link =
                    SchedClassifierLink::try_from(FdLink::from(link)).map_err(Error::kernel(doing()))?;
                let classifier: &mut SchedClassifier = program(&mut self.bpf, name)?;
                let id = classifier.attach_to_link(link).map_err(Error::kernel(doing()))?;
                classifier.take_link(id).map_err(Error::kernel(doing()))?;
            }
        }
        Ok(())
    }

    pub(super) fn other_layouts(&self) -> Result<Vec<PathBuf>, Error> {
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
                if let Some((_, interface)) = Pin::read(&link) {
                    detach_filters(&interface);
                }
            }
            removed += remove_folder(&folder)?;
        }
    }
    Ok(removed)
}
/// The folder is one of ours: named by a layout's hash. Other people's pins are left alone.
fn is_layout(name: &str) -> bool {
    name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Takes away our filters of the old kind. None there is fine.
fn detach_filters(interface: &str) {
    for (way, name) in Pin::ALL.into_iter().filter_map(Pin::by_tc) {
        let _ = tc::qdisc_detach_program(interface, way, name);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_named_by_a_layout_are_ours() {
        let layout = super::super::object::Layout::of_object(abi::DEFAULT_FLOWS).unwrap();
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

    #[test]
    fn pins_say_what_they_hold() {
        for pin in Pin::ALL {
            assert_eq!(Pin::read(&pin.of("eth0.4")), Some((pin, "eth0.4".to_owned())));
            assert_eq!(pin.by_tc().is_none(), matches!(pin, Pin::Driver | Pin::Generic));
        }
        assert_eq!(Pin::read("ACTIVE"), None);
    }
}
