//! MAC addresses as people write them.

use serde::{Deserialize, Serialize};

/// A MAC address. Printed and read as `aa:bb:cc:dd:ee:ff`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Whether it names a group of devices (IEEE 802 §8.2: the lowest bit of the first byte), broadcast included.
    #[must_use]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether the device made it up (IEEE 802c: the second lowest bit of the first byte says that it is administered
    /// locally): phones do, and then have another one in another network, or some time later.
    #[must_use]
    pub const fn is_randomised(self) -> bool {
        self.0[0] & 2 != 0
    }
}

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl std::str::FromStr for Mac {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a MAC address; write it as `aa:bb:cc:dd:ee:ff`");
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(wrong)?;
            if !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(wrong());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        if parts.next().is_some() { Err(wrong()) } else { Ok(Self(bytes)) }
    }
}

impl TryFrom<String> for Mac {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_people_write_them() {
        let mac: Mac = "aa:bb:cc:dd:ee:01".parse().unwrap();
        assert_eq!(mac.0, [0xaa, 0xbb, 0xcc, 0xdd, 0xee, 1]);
        assert_eq!("AA-BB-CC-DD-EE-01".parse(), Ok(mac));
        assert_eq!(mac.to_string(), "aa:bb:cc:dd:ee:01");
        for wrong in
            ["", "aa:bb:cc:dd:ee", "aa:bb:cc:dd:ee:01:02", "aabbccddee01", "a:b:c:d:e:f", "+a:bb:cc:dd:ee:01"]
        {
            assert!(wrong.parse::<Mac>().is_err(), "{wrong}");
        }
        assert!(Mac([0xff; 6]).is_group() && !mac.is_group());
        assert!(mac.is_randomised() && !Mac([0x00, 0x11, 0x22, 0x33, 0x44, 0x55]).is_randomised());
    }
}
