//! The kernel's neighbour table (ARP and neighbour discovery), both families, by rtnetlink.

use anyhow::{Context, Result};
use futures_util::StreamExt as _;
use model::Mac;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use std::net::IpAddr;

/// Entries that are read at one time; the kernel itself keeps 1,024 of each family (`gc_thresh3`) unless told otherwise.
pub const MAX_NEIGHBOURS: usize = 16_384;

/// A device on a link, under one of its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbour {
    /// Index of the interface it was seen on.
    pub interface: u32,
    /// Its MAC address.
    pub mac: Mac,
    /// The address.
    pub address: IpAddr,
}

/// A connection to rtnetlink.
pub struct Neighbours(rtnetlink::Handle);

impl Neighbours {
    /// Connects, in the network namespace of this process. Must be called inside a runtime.
    ///
    /// # Errors
    /// The kernel refuses a netlink socket.
    pub fn connect() -> Result<Self> {
        let (connection, handle, _) =
            rtnetlink::new_connection().context("no netlink socket for the neighbour table")?;
        tokio::spawn(connection);
        Ok(Self(handle))
    }

    /// The table as it is now, at most [`MAX_NEIGHBOURS`] entries.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub async fn read(&self) -> Result<Vec<Neighbour>> {
        let mut entries = std::pin::pin!(self.0.neighbours().get().execute());
        let mut found = Vec::new();
        while let Some(entry) = entries.next().await {
            let entry = entry.context("the neighbour table cannot be read")?;
            if found.len() < MAX_NEIGHBOURS {
                found.extend(neighbour(&entry));
            }
        }
        Ok(found)
    }
}

/// The device of an entry; none where nobody answered, or it is not on an Ethernet.
fn neighbour(entry: &NeighbourMessage) -> Option<Neighbour> {
    let answered = !matches!(
        entry.header.state,
        NeighbourState::Incomplete | NeighbourState::Failed | NeighbourState::Noarp | NeighbourState::None
    );
    let (mut mac, mut address) = (None, None);
    for attribute in &entry.attributes {
        match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = <[u8; 6]>::try_from(bytes.as_slice()).ok(),
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => address = Some(IpAddr::V4(*v4)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => address = Some(IpAddr::V6(*v6)),
            _ => {}
        }
    }
    let mac = mac.map(Mac).filter(|mac| !mac.is_group() && mac.0 != [0; 6])?;
    answered.then_some(Neighbour { interface: entry.header.ifindex, mac, address: address? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_devices_that_answered_count() {
        let mut entry = NeighbourMessage::default();
        entry.header.ifindex = 4;
        entry.header.state = NeighbourState::Reachable;
        entry.attributes = vec![
            NeighbourAttribute::Destination(NeighbourAddress::Inet([10, 4, 0, 9].into())),
            NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, 9]),
        ];
        let device = Neighbour { interface: 4, mac: Mac([2, 0, 0, 0, 0, 9]), address: [10, 4, 0, 9].into() };
        assert_eq!(neighbour(&entry), Some(device));
        entry.header.state = NeighbourState::Failed;
        assert_eq!(neighbour(&entry), None);
        entry.header.state = NeighbourState::Stale;
        entry.attributes[1] = NeighbourAttribute::LinkLayerAddress(vec![0xff; 6]);
        assert_eq!(neighbour(&entry), None, "broadcast is no device");
        entry.attributes[1] = NeighbourAttribute::LinkLayerAddress(vec![1, 2, 3, 4]);
        assert_eq!(neighbour(&entry), None, "tunnels have no MAC address");
    }

    #[tokio::test]
    async fn the_table_of_this_machine_can_be_read() {
        Neighbours::connect().unwrap().read().await.unwrap();
    }
}
