//! The compiled programs, and the layout of their maps.

use abi::{FLOW_WAYS, image::IMAGE_MAGIC};
use std::{collections::BTreeMap, fmt};

use super::Error;

/// Bytes with the alignment an ELF reader wants.
#[repr(C, align(32))]
struct Aligned<T: ?Sized>(T);

static OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/edge.o")));

/// Maps that hold nothing between two packets: neither pinned nor part of the layout.
const SCRATCH: [&str; 3] = ["VERDICT", "LEAVING", "BUDGET"];

/// The compiled programs as an ELF object.
#[must_use]
pub fn object() -> &'static [u8] {
    &OBJECT.0
}

/// What makes two maps exchangeable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) kind: u32,
    pub(crate) key: u32,
    pub(crate) value: u32,
    pub(crate) entries: u32,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, key, value, entries } = self;
        write!(f, "type {kind} with keys of {key} and values of {value} bytes, {entries} entries")
    }
}

/// The maps that are pinned, by name, and a hash over their shapes that names the folder of their pins.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) maps: BTreeMap<String, Shape>,
    pub(crate) hash: String,
}

impl Layout {
    /// Reads the layout of the compiled object, with a flow table of so many entries.
    pub(crate) fn of_object(flows: u32) -> Result<Self, Error> {
        let parsed = aya_obj::Object::parse(object()).map_err(Error::kernel("read the BPF object"))?;
        let mut maps: BTreeMap<String, Shape> = parsed
            .maps
            .iter()
            .filter(|(name, _)| !SCRATCH.contains(&name.as_str()) && !name.starts_with('.'))
            .map(|(name, map)| {
                let shape = Shape {
                    kind: map.map_type(),
                    key: map.key_size(),
                    value: map.value_size(),
                    entries: map.max_entries(),
                };
                (name.clone(), shape)
            })
            .collect();
        if let Some(shape) = maps.get_mut("FLOWS") {
            shape.entries = flows / FLOW_WAYS as u32;
        }
        let hash = hash(&maps);
        Ok(Self { maps, hash })
    }
}

/// What entries mean, where their sizes do not tell. To be raised with any change of that kind.
const REVISION: u32 = 2;

/// FNV-1a (draft-eastlake-fnv) over names and shapes and the format of images: equal layouts meet in one folder,
/// whatever the version.
fn hash(maps: &BTreeMap<String, Shape>) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in format!("{REVISION} {IMAGE_MAGIC:016x}\n").bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    for (name, shape) in maps {
        for byte in format!("{name} {shape}\n").bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_names_every_table_and_changes_with_any_shape() {
        let layout = Layout::of_object(abi::DEFAULT_FLOWS).unwrap();
        for name in ["ACTIVE", "IMAGES", "FLOWS", "BANS", "BANNED_RANGES", "ALLOWS", "EVENTS", "INSPECT"] {
            assert!(layout.maps.contains_key(name), "{name} is missing");
        }
        assert!(SCRATCH.iter().all(|name| !layout.maps.contains_key(*name)));
        let mut other = layout.maps.clone();
        other.get_mut("FLOWS").unwrap().value += 8;
        assert_ne!(hash(&other), layout.hash);
        other.insert("FLOWS".into(), layout.maps["FLOWS"]);
        assert_eq!(hash(&other), layout.hash);
        let larger = Layout::of_object(2 * abi::DEFAULT_FLOWS).unwrap();
        assert_ne!(larger.hash, layout.hash);
        assert_eq!(larger.maps["FLOWS"].entries, 2 * layout.maps["FLOWS"].entries);
    }
}
