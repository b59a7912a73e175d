//! Writes small GeoIP databases (<https://maxmind.github.io/MaxMind-DB/>), to read them back.

use ipnet::IpNet;

/// A value of a record.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Number(u32),
    Map(Vec<(&'static str, Value)>),
}

pub(crate) fn text(text: &str) -> Value {
    Value::Text(text.into())
}

/// `country.iso_code`, as GeoLite2 writes it.
pub(crate) fn nested(country: &str) -> Value {
    Value::Map(vec![
        ("continent", Value::Map(vec![("code", text("XX"))])),
        ("country", Value::Map(vec![("geoname_id", Value::Number(1)), ("iso_code", text(country))])),
    ])
}

/// `country_code`, as ip-location-db writes it.
pub(crate) fn flat(country: &str) -> Value {
    Value::Map(vec![("country_code", text(country))])
}

pub(crate) fn system(number: u32, name: &str) -> Value {
    Value::Map(vec![
        ("autonomous_system_number", Value::Number(number)),
        ("autonomous_system_organization", text(name)),
    ])
}

/// A child of a node.
#[derive(Clone, Copy)]
enum Child {
    Nothing,
    Node(usize),
    Data(usize),
}

/// A database of these networks; the last of two that overlap wins where they do.
pub(crate) fn write(networks: &[(IpNet, Value)]) -> Vec<u8> {
    let mut nodes = vec![[Child::Nothing; 2]];
    let mut data = Vec::new();
    let mut sorted: Vec<&(IpNet, Value)> = networks.iter().collect();
    sorted.sort_by_key(|(net, _)| net.prefix_len());
    for (net, value) in sorted {
        let at = data.len();
        put(&mut data, value);
        let (bits, length) = match net {
            IpNet::V4(net) => (u128::from(net.network().to_bits()), 96 + net.prefix_len()),
            IpNet::V6(net) => (net.network().to_bits(), net.prefix_len()),
        };
        let mut node = 0;
        for depth in 0..length {
            let side = usize::from(bits >> (127 - depth) & 1 == 1);
            if depth + 1 == length {
                nodes[node][side] = Child::Data(at);
                break;
            }
            node = match nodes[node][side] {
                Child::Node(next) => next,
                child => {
                    // What held for the whole holds for both halves.
                    nodes.push([child, child]);
                    let next = nodes.len() - 1;
                    nodes[node][side] = Child::Node(next);
                    next
                }
            };
        }
    }
    let mut bytes = Vec::new();
    for child in nodes.iter().flatten() {
        let record = match child {
            Child::Nothing => nodes.len(),
            Child::Node(node) => *node,
            Child::Data(at) => nodes.len() + 16 + at,
        };
        bytes.extend_from_slice(&u32::try_from(record).unwrap().to_be_bytes());
    }
    bytes.extend_from_slice(&[0; 16]);
    bytes.extend_from_slice(&data);
    bytes.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    control(&mut bytes, 7, 9);
    for (key, number) in [
        ("binary_format_major_version", 2),
        ("binary_format_minor_version", 0),
        ("ip_version", 6),
        ("record_size", 32),
    ] {
        put_text(&mut bytes, key);
        control(&mut bytes, 5, 2);
        bytes.extend_from_slice(&u16::to_be_bytes(number));
    }
    put_text(&mut bytes, "build_epoch");
    control(&mut bytes, 9, 8);
    bytes.extend_from_slice(&1_800_000_000_u64.to_be_bytes());
    put_text(&mut bytes, "database_type");
    put_text(&mut bytes, "Test");
    put_text(&mut bytes, "description");
    // Some publishers have one, some have none.
    let description = if nodes.len() % 2 == 0 { vec![("en", text("for tests"))] } else { Vec::new() };
    put(&mut bytes, &Value::Map(description));
    put_text(&mut bytes, "languages");
    control(&mut bytes, 11, 0);
    put_text(&mut bytes, "node_count");
    put(&mut bytes, &Value::Number(u32::try_from(nodes.len()).unwrap()));
    bytes
}

fn put(bytes: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Text(text) => put_text(bytes, text),
        Value::Number(number) => {
            control(bytes, 6, 4);
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        Value::Map(fields) => {
            control(bytes, 7, fields.len());
            for (key, value) in fields {
                put_text(bytes, key);
                put(bytes, value);
            }
        }
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    control(bytes, 2, text.len());
    bytes.extend_from_slice(text.as_bytes());
}

/// The control byte of a type and size below 29 + 256.
fn control(bytes: &mut Vec<u8>, kind: u8, size: usize) {
    let (low, more) = if size < 29 { (size, None) } else { (29, Some(size - 29)) };
    let low = u8::try_from(low).unwrap();
    if kind > 7 {
        bytes.extend_from_slice(&[low, kind - 7]);
    } else {
        bytes.push(kind << 5 | low);
    }
    bytes.extend(more.map(|more| u8::try_from(more).unwrap()));
}
