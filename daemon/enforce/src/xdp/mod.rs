//! The packet programs: loaded, pinned, attached, and their tables kept as the plan says.
//!
//! Everything lives in a BPF file system, so a daemon that ends or crashes changes no verdict and the next one goes
//! on from there. `<bpffs>/<layout hash>/` holds the maps and the links; the hash is over the shapes of the maps, so
//! a version with other tables never reads them wrong: it starts with its own, and takes the interfaces over when
//! its plan is in place.
//!
//! [`Dataplane`] belongs to the reconciler. [`Orders`], [`Flows`], [`Counters`] and the rings are handles on the same
//! maps for other tasks; open them before privileges are dropped.

mod active;
mod attach;
mod clock;
mod counters;
mod drivers;
mod error;
mod flows;
mod images;
mod mapping;
mod object;
mod orders;
mod pins;
mod plan;
mod resolved;
mod rings;
mod trial;

use abi::{Active, Address, DEFAULT_FLOWS, FLOW_WAYS, MAX_FLOWS, MIN_FLOWS};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Map, MapData, MapError, lpm_trie::Key},
    programs::{SchedClassifier, Xdp},
    util::KernelVersion,
};
use ipnet::IpNet;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
    path::{Path, PathBuf},
};

use active::ActiveWord;
use images::{Images, SLOTS};
use object::Layout;

pub use attach::{Attached, AttachedInterface, detach_all};
pub use clock::boot_now;
pub use counters::{Counters, PacketCount};
pub use error::Error;
pub use flows::{FlowCounts, Flows, KnownFlow, Openings};
pub use object::object;
pub use orders::Orders;
pub use pins::ensure_bpffs;
pub use plan::{AppliedPlan, Installed, Staged};
pub use resolved::Resolved;
pub use rings::{InspectRing, PacketRing, Receiver, Ring};
pub use trial::Trial;

/// The XDP program's name.
const INGRESS: &str = "ingress";
/// The TC program's name.
const EGRESS: &str = "egress";
/// The TC program of what comes in at devices without Ethernet.
const INGRESS_L3: &str = "ingress_l3";
/// The TC program of what leaves them.
const EGRESS_L3: &str = "egress_l3";

/// What is chosen when the programs are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Entries of the flow table, two a flow: a power of two from [`MIN_FLOWS`] to [`MAX_FLOWS`]. Each takes 128 bytes.
    /// Another size is another layout: the known flows are not taken along, nftables still knows them.
    pub flows: u32,
    /// Hold what TC holds by TCX, which came with Linux 6.6, rather than by filters of the clsact queue.
    pub tcx: bool,
}

impl Default for Options {
    fn default() -> Self {
        let tcx = KernelVersion::current().is_ok_and(|kernel| kernel >= KernelVersion::new(6, 6, 0));
        Self { flows: DEFAULT_FLOWS, tcx }
    }
}

/// The loaded programs and the tables that come from the plan.
pub struct Dataplane {
    bpf: Ebpf,
    /// The BPF file system's folder of this appliance.
    root: PathBuf,
    /// The folder of this layout inside it.
    pins: PathBuf,
    active: ActiveWord,
    images: Images,
    tables: plan::PlanTables,
    /// TC filters of the old kind: index of the interface, program, name of the interface.
    filters: BTreeSet<(u32, &'static str, String)>,
    /// As in [`Options`].
    tcx: bool,
}

/// What was there already when the programs were loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// The maps of an earlier run were taken over.
    pub maps: bool,
    /// The plan's generation; 0 = none.
    pub generation: u32,
    /// The epoch of flows.
    pub epoch: u32,
    /// Bans in force.
    pub bans: usize,
    /// Interfaces whose programs were replaced, atomically, by this version's.
    pub interfaces: Vec<String>,
    /// A plan was on trial.
    pub trial: Option<Trial>,
}

impl Dataplane {
    /// Loads the programs as [`Self::open_with`] does, with what is chosen by default.
    ///
    /// # Errors
    /// As of [`Self::open_with`].
    pub fn open(bpffs: &Path) -> Result<(Self, Adopted), Error> {
        Self::open_with(bpffs, &Options::default())
    }

    /// Loads the programs, over the maps that are pinned under `bpffs` or new ones; new ones get the bans and allows of
    /// those of other layouts. Interfaces that an earlier run
    /// with the same layout holds get this version's programs at once, without a gap. A plan that was on trial and
    /// whose time is over goes.
    ///
    /// Needs `CAP_SYS_ADMIN`, or `CAP_BPF` with `CAP_NET_ADMIN` and `CAP_PERFMON`.
    ///
    /// # Errors
    /// `bpffs` is on no BPF file system, the size of the flow table is none, a pinned map has another shape, or the
    /// kernel refuses the programs.
    pub fn open_with(bpffs: &Path, options: &Options) -> Result<(Self, Adopted), Error> {
        let Options { flows, tcx } = *options;
        if !flows.is_power_of_two() || !(MIN_FLOWS..=MAX_FLOWS).contains(&flows) {
            return Err(Error::FlowTable { flows });
        }
        ensure_bpffs(bpffs)?;
        let layout = Layout::of_object(flows)?;
        let pins = bpffs.join(&layout.hash);
        pins::make_folder(&pins)?;
        let maps_were_there = pins::check_shapes(&pins, &layout)?;
        let mut loader = EbpfLoader::new();
        loader.map_max_entries("FLOWS", flows / FLOW_WAYS as u32);
        for name in layout.maps.keys() {
            loader.map_pin_path(name, pins.join(name));
        }
        let mut bpf = loader.load(object()).map_err(Error::kernel("load the BPF object"))?;
        program::<Xdp>(&mut bpf, INGRESS)?.load().map_err(Error::kernel("load the XDP program"))?;
        for name in [EGRESS, INGRESS_L3, EGRESS_L3] {
            let doing = format!("load the TC program {name}");
            program::<SchedClassifier>(&mut bpf, name)?.load().map_err(Error::kernel(doing))?;
        }
        let active = ActiveWord::open(&pins)?;
        active.lock().prepare_flows(flows / FLOW_WAYS as u32 - 1, random()?);
        let images = Images::open(&pins)?;
        let tables = plan::PlanTables::open(&pins)?;
        let mut dataplane =
            Self { bpf, root: bpffs.to_owned(), pins, active, images, tables, filters: BTreeSet::new(), tcx };
        dataplane.end_trial()?;
        if maps_were_there {
            dataplane.flows()?.free_abandoned()?;
        }
        let mut orders = dataplane.orders()?;
        if !maps_were_there {
            for folder in dataplane.other_layouts()? {
                match orders.take_over(&folder) {
                    Ok(bans) => tracing::info!(bans, folder = %folder.display(), "took over what holds"),
                    Err(error) => {
                        tracing::warn!(%error, folder = %folder.display(), "bans are not taken over");
                    }
                }
            }
        }
        orders.mend_flags();
        let Active { generation, epoch, .. } = dataplane.active()?;
        let adopted = Adopted {
            maps: maps_were_there,
            generation,
            epoch,
            bans: orders.bans()?.len(),
            interfaces: dataplane.renew_links()?,
            trial: dataplane.trial(),
        };
        Ok((dataplane, adopted))
    }

    /// A handle on bans, timed allows and the epoch.
    ///
    /// # Errors
    /// The maps cannot be opened.
    pub fn orders(&self) -> Result<Orders, Error> {
        Orders::open(&self.pins, self.active.clone())
    }

    /// A handle on what the resolver answered.
    ///
    /// # Errors
    /// The map cannot be opened.
    pub fn resolved(&self) -> Result<Resolved, Error> {
        Resolved::open(&self.pins)
    }

    /// A handle on the flow table.
    ///
    /// # Errors
    /// The map cannot be opened.
    pub fn flows(&self) -> Result<Flows, Error> {
        Flows::open(&self.pins, &self.active)
    }

    /// A handle on the counters.
    ///
    /// # Errors
    /// The maps cannot be opened.
    pub fn counters(&self) -> Result<Counters, Error> {
        Counters::open(&self.pins, self.active.clone())
    }

    /// The ring of packet records. One reader at a time.
    ///
    /// # Errors
    /// The map cannot be opened.
    pub fn packet_ring(&self) -> Result<PacketRing, Error> {
        Ring::open(&self.pins.join("EVENTS"))
    }

    /// The ring of copied frames. One reader at a time.
    ///
    /// # Errors
    /// The map cannot be opened.
    pub fn inspect_ring(&self) -> Result<InspectRing, Error> {
        Ring::open(&self.pins.join("INSPECT"))
    }

    /// Generation and epoch as the kernel has them.
    ///
    /// # Errors
    /// None since the word is shared memory; kept for callers.
    pub fn active(&self) -> Result<Active, Error> {
        Ok(self.active.lock().get())
    }

    /// Bytes of kernel memory that maps and programs hold, as the kernel accounts them.
    ///
    /// # Errors
    /// A map or program cannot be asked.
    pub fn memory(&self) -> Result<u64, Error> {
        use std::os::fd::{AsFd as _, AsRawFd as _};
        let mut bytes = 0;
        for (name, map) in self.bpf.maps() {
            bytes += match map_data(map) {
                Some(data) => pins::accounted(data.fd().as_fd().as_raw_fd())?,
                None => {
                    tracing::debug!(map = name, "not of a kind that is accounted");
                    0
                }
            };
        }
        bytes += self.images.overhead()?;
        for slot in 0..SLOTS {
            bytes += self.images.bytes(slot)?.unwrap_or(0);
        }
        for (_, program) in self.bpf.programs() {
            let fd = program.fd().map_err(Error::kernel("ask for a program"))?;
            bytes += pins::accounted(fd.as_fd().as_raw_fd())?;
        }
        Ok(bytes)
    }

    /// Instructions the verifier walked, by program (Linux ≥ 5.16).
    #[must_use]
    pub fn verified_instructions(&self) -> BTreeMap<String, u32> {
        self.bpf
            .programs()
            .filter_map(|(name, program)| {
                Some((name.to_owned(), program.info().ok()?.verified_instruction_count()?))
            })
            .collect()
    }

    /// The loaded XDP program, for test runs.
    ///
    /// # Errors
    /// The object has no such program.
    pub fn ingress_program(&mut self) -> Result<&mut Xdp, Error> {
        program(&mut self.bpf, INGRESS)
    }

    /// The loaded TC program, for test runs.
    ///
    /// # Errors
    /// The object has no such program.
    pub fn egress_program(&mut self) -> Result<&mut SchedClassifier, Error> {
        program(&mut self.bpf, EGRESS)
    }

    /// A TC program by name (`ingress_l3`, `egress_l3`), for test runs.
    ///
    /// # Errors
    /// The object has no such program.
    pub fn classifier(&mut self, name: &str) -> Result<&mut SchedClassifier, Error> {
        program(&mut self.bpf, name)
    }

    /// A map of the loaded object by name, for test runs.
    #[must_use]
    pub fn map(&self, name: &str) -> Option<&Map> {
        self.bpf.map(name)
    }
}

/// The program `name` of the object.
fn program<'a, P>(bpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, Error>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = aya::programs::ProgramError>,
{
    let found = bpf.program_mut(name).ok_or_else(|| Error::Kernel {
        doing: format!("find the program {name}"),
        source: "the object does not have it".into(),
    })?;
    found.try_into().map_err(Error::kernel(format!("use the program {name}")))
}

/// Opens a pinned map.
fn pinned(path: &Path) -> Result<Map, Error> {
    let doing = || format!("open the map {}", path.display());
    let data = MapData::from_pin(path).map_err(Error::kernel(doing()))?;
    Map::from_map_data(data).map_err(Error::kernel(doing()))
}

/// The data of the kinds of maps that the object has.
fn map_data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data)
        | Map::ArrayOfMaps(data)
        | Map::HashMap(data)
        | Map::LpmTrie(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::RingBuf(data) => Some(data),
        _ => None,
    }
}

/// The kernel's form of a network: the address, v4-mapped where it is IPv4, and its significant bits.
fn kernel_form(net: IpNet) -> (Address, u32) {
    match net {
        IpNet::V4(net) => (abi::mapped(net.network().octets()), 96 + u32::from(net.prefix_len())),
        IpNet::V6(net) => (net.network().octets(), u32::from(net.prefix_len())),
    }
}

/// The network a kernel key stands for.
fn from_kernel(address: Address, bits: u32) -> Option<IpNet> {
    let bits = u8::try_from(bits).ok()?;
    let address = std::net::Ipv6Addr::from(address);
    match (address.to_ipv4_mapped(), bits.checked_sub(96)) {
        (Some(v4), Some(bits)) => IpNet::new(v4.into(), bits).ok(),
        _ => IpNet::new(address.into(), bits).ok(),
    }
}

/// A key of an address table.
fn address_key(net: IpNet) -> Key<Address> {
    let (address, bits) = kernel_form(net);
    Key::new(bits, address)
}

/// The error of an insertion: a full table is told apart.
fn insertion(table: &'static str, limit: u32) -> impl Fn(MapError) -> Error {
    move |error| match &error {
        MapError::SyscallError(call)
            if matches!(call.io_error.raw_os_error(), Some(libc::ENOSPC | libc::E2BIG | libc::ENOMEM)) =>
        {
            Error::Full { table, limit }
        }
        _ => Error::kernel(format!("write {table}"))(error),
    }
}

/// Removal of what is not there is fine.
fn absent_is_fine(result: Result<(), MapError>, table: &str) -> Result<(), Error> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(call)) if call.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other.map_err(Error::kernel(format!("clear an entry of {table}"))),
    }
}

/// Numbers that nobody can guess.
fn random() -> Result<[u64; 4], Error> {
    const SOURCE: &str = "/dev/urandom";
    let mut bytes = [[0; 8]; 4];
    let read = std::fs::File::open(SOURCE).and_then(|mut file| file.read_exact(bytes.as_flattened_mut()));
    read.map_err(Error::file("read", SOURCE))?;
    Ok(bytes.map(u64::from_ne_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_go_to_other_tasks() {
        fn goes<T: Send>() {}
        goes::<Dataplane>();
        goes::<Orders>();
        goes::<Resolved>();
        goes::<Flows>();
        goes::<Counters>();
        goes::<Receiver<abi::PacketRecord>>();
        goes::<Receiver<abi::InspectRecord>>();
    }

    #[test]
    fn networks_round_trip_through_the_kernel_form() {
        for text in ["0.0.0.0/0", "10.4.0.0/24", "192.0.2.1/32", "::/0", "fd00:4::/64", "2001:db8::1/128"] {
            let net: IpNet = text.parse().unwrap();
            let (address, bits) = kernel_form(net);
            assert_eq!(from_kernel(address, bits), Some(net), "{text}");
        }
    }
}
