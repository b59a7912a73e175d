//! The flow table, read and cut from userspace.

use abi::{Action, FLOW_BYPASS, FlowKey, FlowValue, MAX_FLOWS, MAX_ZONES, Reason, ZONE_FIRST, ZoneId};
use aya::maps::{HashMap, MapData};
use datapath::idle_after;
use std::{collections::BTreeMap, path::Path};

use super::{Error, absent_is_fine, boot_now, pinned};

/// Keys of the table that [`Flows::list`] looks at, at most.
const LOOKED_AT: usize = 2 * MAX_FLOWS as usize;

/// One way of a flow, as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownFlow {
    /// The tuple as it comes in at its zone.
    pub key: FlowKey,
    /// What is known of it.
    pub value: FlowValue,
}

/// A handle on the flow table.
pub struct Flows {
    flows: HashMap<MapData, FlowKey, FlowValue>,
}

impl Flows {
    pub(super) fn open(pins: &Path) -> Result<Self, Error> {
        let flows = HashMap::try_from(pinned(&pins.join("FLOWS"))?).map_err(Error::kernel("open FLOWS"))?;
        Ok(Self { flows })
    }

    /// The entry of a tuple, idle or not.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn get(&self, key: &FlowKey) -> Result<Option<FlowValue>, Error> {
        match self.flows.get(key, 0) {
            Ok(value) => Ok(Some(value)),
            Err(aya::maps::MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(Error::kernel("read FLOWS")(error)),
        }
    }

    /// Entries that are not idle, at most `limit`, in no order, each once. Every flow has one for each way.
    ///
    /// The kernel begins anew when the key at hand goes while the table is read, which someone who opens flows fast
    /// enough can have happen again and again: twice [`MAX_FLOWS`] keys are the end, and the list is what was seen by then.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn list(&self, limit: usize) -> Result<Vec<KnownFlow>, Error> {
        let now = boot_now();
        let mut found = BTreeMap::new();
        for key in self.flows.keys().take(LOOKED_AT) {
            if found.len() >= limit {
                break;
            }
            let key = key.map_err(Error::kernel("list FLOWS"))?;
            // An entry that goes while the table is read is no error.
            let Some(value) = self.get(&key)? else { continue };
            if now.saturating_sub(value.last_seen) <= idle_after(&value, key.protocol) {
                found.insert(key, value);
            }
        }
        Ok(found.into_iter().map(|(key, value)| KnownFlow { key, value }).collect())
    }

    /// Cuts a flow both ways: nothing of it passes any more until it is idle, whatever the policy says. The tuple may
    /// be that of either way. Returns how many entries were cut; an unknown flow is entered as cut, so that its next
    /// packet finds it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn cut_flow(&mut self, key: FlowKey, signature: u32) -> Result<usize, Error> {
        let cut = |value: FlowValue| FlowValue {
            action: Action::Drop as u8,
            reason: Reason::Signature as u8,
            rule: signature,
            last_seen: boot_now(),
            ..value
        };
        let mut entries = self.both_ways(&key)?;
        if entries.is_empty() {
            let now = boot_now();
            let value = FlowValue { first_seen: now, zone_from: key.zone, ..FlowValue::default() };
            entries.push(KnownFlow { key, value });
        }
        for known in &entries {
            self.flows.insert(known.key, cut(known.value), 0).map_err(Error::kernel("cut a flow"))?;
        }
        Ok(entries.len())
    }

    /// Ends the inspection of a flow, both ways: nothing more of it is copied. An unknown flow is fine.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn bypass_flow(&mut self, key: FlowKey) -> Result<usize, Error> {
        let entries = self.both_ways(&key)?;
        for known in &entries {
            let value = FlowValue { flags: known.value.flags | FLOW_BYPASS, ..known.value };
            self.flows.insert(known.key, value, 0).map_err(Error::kernel("end an inspection"))?;
        }
        Ok(entries.len())
    }

    /// Takes one entry out; absent is fine.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn forget(&mut self, key: &FlowKey) -> Result<(), Error> {
        absent_is_fine(self.flows.remove(key), "FLOWS")
    }

    /// The entries of a tuple and of its answers. Answers of a translated flow come in under another tuple: what
    /// leaves towards the starter is stopped by the egress program, which looks at the starter's entry.
    fn both_ways(&self, key: &FlowKey) -> Result<Vec<KnownFlow>, Error> {
        let mut entries = Vec::new();
        if let Some(value) = self.get(key)? {
            entries.push(KnownFlow { key: *key, value });
        }
        let mut other = FlowKey {
            source: key.destination,
            destination: key.source,
            source_port: key.destination_port,
            destination_port: key.source_port,
            protocol: key.protocol,
            zone: 0,
            reserved: [0; 2],
        };
        for zone in self.zones_of_answers(entries.first()) {
            other.zone = zone;
            if let Some(value) = self.get(&other)? {
                entries.push(KnownFlow { key: other, value });
            }
        }
        Ok(entries)
    }

    /// The zones in which the other way may come in: the one the entry names, else any.
    fn zones_of_answers(&self, known: Option<&KnownFlow>) -> Vec<ZoneId> {
        match known {
            Some(known) if known.key.zone == known.value.zone_from => vec![known.value.zone_to],
            Some(known) => vec![known.value.zone_from],
            None => (ZONE_FIRST..u8::try_from(MAX_ZONES).unwrap_or(u8::MAX)).collect(),
        }
    }
}
