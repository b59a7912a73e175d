//! What is known of a device before it is held: whether it has an Ethernet header, and what its driver can do.
#![expect(unsafe_code, reason = "interfaces are asked by ioctl")]

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use super::Error;

/// Drivers of common cards and devices that run no XDP by themselves (Linux 6.12, `grep ndo_bpf drivers/net`), and
/// what they are, for people.
const WITHOUT_XDP: [(&str, &str); 24] = [
    ("r8169", "Realtek 1 and 2.5 Gbit/s"),
    ("r8125", "Realtek 2.5 Gbit/s, the vendor's driver"),
    ("r8168", "Realtek 1 Gbit/s, the vendor's driver"),
    ("r8152", "Realtek USB"),
    ("e1000e", "Intel 1 Gbit/s (I217, I218, I219, 82574)"),
    ("e1000", "Intel 1 Gbit/s, as virtual machines have it"),
    ("alx", "Qualcomm Atheros"),
    ("tg3", "Broadcom 1 Gbit/s"),
    ("bnx2", "Broadcom 1 Gbit/s"),
    ("bcmgenet", "Raspberry Pi 4"),
    ("macb", "Cadence, Raspberry Pi 5"),
    ("lan78xx", "Microchip USB, Raspberry Pi 3B+"),
    ("smsc95xx", "Microchip USB"),
    ("ax88179_178a", "ASIX USB"),
    ("asix", "ASIX USB"),
    ("aqc111", "Aquantia USB"),
    ("cdc_ether", "USB"),
    ("cdc_ncm", "USB"),
    ("sky2", "Marvell Yukon"),
    ("forcedeth", "NVIDIA nForce"),
    ("jme", "JMicron"),
    ("bridge", "a bridge"),
    ("802.1Q VLAN Support", "a VLAN device"),
    ("dummy", "a dummy device"),
];

/// Cards that are a good choice, for the end of a warning.
const GOOD: &str = "igb, igc, ixgbe, i40e, ice and mlx5 cards have it";

/// Why an interface is held by the kernel and not by its driver, in words for the one who chose the card.
pub(super) fn warning(interface: &str) -> String {
    let Some(driver) = driver(interface) else {
        return format!(
            "the driver of {interface} runs no XDP, so the kernel does: same verdicts, more CPU time per packet; {GOOD}"
        );
    };
    match WITHOUT_XDP.iter().find(|(name, _)| *name == driver) {
        Some((_, what)) => format!(
            "the driver {driver} ({what}) of {interface} has no native XDP, so the kernel runs it: same verdicts, more CPU time per packet; {GOOD}"
        ),
        None => format!(
            "the driver {driver} of {interface} refused native XDP, so the kernel runs it: same verdicts, more CPU time per packet; a smaller MTU, more queues (virtio: as many as CPUs) or LRO off may help"
        ),
    }
}

/// The name of an interface's driver; none where it has none or does not tell.
pub(super) fn driver(interface: &str) -> Option<String> {
    /// linux/ethtool.h
    const ETHTOOL_GDRVINFO: u32 = 3;
    #[repr(C)]
    struct DriverInfo {
        command: u32,
        driver: [u8; 32],
        rest: [u8; 160],
    }
    let mut info = DriverInfo { command: ETHTOOL_GDRVINFO, driver: [0; 32], rest: [0; 160] };
    // SAFETY: the kernel fills 196 bytes, as long as the struct is (linux/ethtool.h, `ethtool_drvinfo`).
    unsafe { ethtool(interface, (&raw mut info).cast()) }.ok()?;
    let name = info.driver.split(|byte| *byte == 0).next()?;
    (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
}

/// Whether frames of an interface begin with an Ethernet header. Those of tunnels, PPP and WireGuard do not.
pub(super) fn has_ethernet(interface: &str) -> Result<bool, Error> {
    let mut request = request_for(interface);
    // SAFETY: the kernel fills the request's address, and its family says the kind of device.
    let kind = unsafe {
        ioctl(libc::SIOCGIFHWADDR, &mut request)
            .map_err(Error::kernel(format!("ask for the kind of {interface}")))?;
        request.ifr_ifru.ifru_hwaddr.sa_family
    };
    Ok(matches!(kind, libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK))
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
pub(super) fn keep_tags(interface: &str) -> Result<(), Error> {
    /// linux/ethtool.h
    const ETHTOOL_GFLAGS: u32 = 0x25;
    const ETHTOOL_SFLAGS: u32 = 0x26;
    const ETH_FLAG_RXVLAN: u32 = 1 << 8;
    let refused = |source| Error::StripsTags { interface: interface.to_owned(), source };
    let flags = match ethtool_word(interface, ETHTOOL_GFLAGS, 0) {
        Ok(flags) => flags,
        // A device without such flags has no such offload.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(()),
        Err(error) => return Err(refused(error)),
    };
    if flags & ETH_FLAG_RXVLAN == 0 {
        return Ok(());
    }
    ethtool_word(interface, ETHTOOL_SFLAGS, flags & !ETH_FLAG_RXVLAN).map_err(refused)?;
    let flags = ethtool_word(interface, ETHTOOL_GFLAGS, 0).map_err(refused)?;
    if flags & ETH_FLAG_RXVLAN != 0 {
        return Err(refused(io::Error::other("the flag stays on")));
    }
    Ok(())
}

/// One ethtool command that carries a word both ways.
fn ethtool_word(interface: &str, command: u32, data: u32) -> io::Result<u32> {
    #[repr(C)]
    struct EthtoolValue {
        command: u32,
        data: u32,
    }
    let mut value = EthtoolValue { command, data };
    // SAFETY: the commands take and fill these two words.
    unsafe { ethtool(interface, (&raw mut value).cast()) }?;
    Ok(value.data)
}

/// # Safety
/// `data` points to what its command, the first word, wants, and lives through the call.
unsafe fn ethtool(interface: &str, data: *mut libc::c_char) -> io::Result<()> {
    let mut request = request_for(interface);
    request.ifr_ifru.ifru_data = data;
    // SAFETY: as the caller says.
    unsafe { ioctl(libc::SIOCETHTOOL, &mut request) }
}

fn request_for(interface: &str) -> libc::ifreq {
    // SAFETY: all zeros is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The name is cut to leave its last byte zero.
    for (place, byte) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(interface.bytes()) {
        *place = byte as libc::c_char;
    }
    request
}

/// # Safety
/// `command` takes an `ifreq`, and pointers in it are valid for what it does with them.
unsafe fn ioctl(command: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: as the caller says; the descriptor is owned from its making on.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = OwnedFd::from_raw_fd(socket);
        if libc::ioctl(socket.as_raw_fd(), command as _, std::ptr::from_mut(request)) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_device_is_known() {
        assert!(has_ethernet("lo").unwrap());
        assert!(interface_index("lo").is_ok());
        assert!(matches!(interface_index("no-such-device"), Err(Error::NoInterface(_))));
        assert!(has_ethernet("no-such-device").is_err());
        assert!(warning("lo").contains("same verdicts"));
    }
}
