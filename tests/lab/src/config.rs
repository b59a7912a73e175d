//! The config of the lab's router, in the language of `secd.toml`.

use crate::lists::Lists;
use crate::network::{CAMERAS, CAMERAS_VLAN, DMZ, UPSTREAMS, WAN, ZONES, Zone};
use anyhow::Result;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Port of the echo servers.
pub(crate) const ECHO_PORT: u16 = 7007;
/// Signature id of the lab's own rule.
pub(crate) const LOG4SHELL_SID: u32 = 9_000_001;

/// What goes into the config besides the network.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Lists to load; a test may leave them out.
    pub lists: Option<Lists>,
    /// Authentication log to follow.
    pub auth_log: PathBuf,
    /// Access log to follow.
    pub access_log: PathBuf,
    /// Where events are pushed to; empty = nowhere.
    pub loki: String,
    /// Files with signatures.
    pub signatures: Vec<PathBuf>,
    /// More text at the end.
    pub more: String,
}

impl Settings {
    /// Writes the config.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        Ok(std::fs::write(path, self.text())?)
    }

    /// The config's text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::from("mode = \"enforce\"\n\n");
        for zone in ZONES {
            zone_text(&mut text, &zone);
        }
        let _ = writeln!(
            text,
            "[services]\necho = [\"udp/{ECHO_PORT}\", \"tcp/{ECHO_PORT}\"]\nping = [\"icmp/8\", \"icmpv6/128\"]\nloki = [\"tcp/3100\"]\n"
        );
        let inner =
            "[\"home\", \"guest\", \"management\", \"services\", \"storage\", \"iot\", \"cameras\", \"dmz\"]";
        for (from, to, services, comment) in [
            (inner, "[\"self\"]", "[\"dns\", \"ping\"]", "Everyone asks the router for names"),
            (
                "[\"management\"]",
                "[\"storage\", \"services\", \"dmz\", \"self\"]",
                "[\"ssh\", \"https\"]",
                "Administration",
            ),
            (
                "[\"home\"]",
                "[\"wan\", \"dmz\", \"services\"]",
                "[]",
                "People go everywhere but to storage and things",
            ),
            ("[\"guest\"]", "[\"wan\"]", "[\"http\", \"https\"]", "Visitors browse"),
            ("[\"iot\"]", "[\"wan\"]", "[\"https\", \"ntp\"]", "Things call home"),
            ("[\"services\"]", "[\"storage\"]", "[\"nfs\", \"smb\"]", "Applications keep files"),
            (
                "[\"wan\"]",
                "[\"dmz\"]",
                "[\"ssh\", \"http\", \"https\", \"echo\", \"ping\"]",
                "What the outside may reach",
            ),
            ("[\"self\"]", "[\"any\"]", "[]", "The router itself"),
        ] {
            let _ = writeln!(
                text,
                "[[rules]]\nfrom = {from}\nto = {to}\nservices = {services}\naction = \"allow\"\ncomment = \"{comment}\"\n"
            );
        }
        let listen: Vec<String> = ZONES
            .iter()
            .filter(|zone| **zone != WAN && **zone != CAMERAS)
            .flat_map(|zone| {
                [
                    format!("\"{}:53\"", crate::network::address(zone.router4)),
                    format!("\"[{}]:53\"", crate::network::address(zone.router6)),
                ]
            })
            .collect();
        let _ = writeln!(
            text,
            "[dns]\nlisten = [{}]\nupstreams = [\"{}:53\", \"{}:53\"]\n# The lab has no root that could sign its names.\ndnssec = false\n",
            listen.join(", "),
            UPSTREAMS[0],
            UPSTREAMS[1]
        );
        if let Some(lists) = &self.lists {
            for (name, path, kind) in [
                ("phishing", &lists.phishing, "domains"),
                ("tracking", &lists.tracking, "domains"),
                ("ipsum", &lists.addresses, "addresses"),
            ] {
                let _ = writeln!(
                    text,
                    "[[lists]]\nname = \"{name}\"\npath = \"{}\"\nkind = \"{kind}\"\n",
                    path.display()
                );
            }
        }
        for (name, path) in [("sshd", &self.auth_log), ("nginx", &self.access_log)] {
            let _ = writeln!(
                text,
                "[[logs]]\nname = \"{name}\"\npath = \"{}\"\nfilter = \"{name}\"\n",
                path.display()
            );
        }
        if !self.signatures.is_empty() {
            let files: Vec<String> =
                self.signatures.iter().map(|file| format!("\"{}\"", file.display())).collect();
            let _ = writeln!(
                text,
                "[signatures]\nfiles = [{}]\n[signatures.variables]\nHOME_NET = \"[198.51.100.0/24,10.0.0.0/8]\"\n",
                files.join(", ")
            );
        }
        if !self.loki.is_empty() {
            let _ = writeln!(text, "[loki]\nurl = \"{}\"\n", self.loki);
        }
        text + &self.more
    }
}

fn zone_text(text: &mut String, zone: &Zone) {
    let _ = writeln!(text, "[zones.{}]\ninterface = \"{}\"", zone.name, zone.interface);
    if *zone == WAN {
        let _ = writeln!(
            text,
            "wan = true\nmasquerade = true\ninspect = true\n# The lab is built of documentation addresses (RFC 5737), which are bogons.\nbogons = false"
        );
    } else {
        let _ = writeln!(text, "networks = [\"{}\", \"{}\"]", network(zone.router4), network(zone.router6));
    }
    if *zone == CAMERAS {
        let _ = writeln!(text, "vlan = {CAMERAS_VLAN}");
    }
    if *zone == DMZ {
        let _ = writeln!(text, "default = \"drop\"");
    }
    text.push('\n');
}

/// `10.1.0.1/24` -> `10.1.0.0/24`, `fd00:1::1/64` -> `fd00:1::/64`.
fn network(router: &str) -> String {
    let (address, length) = router.split_once('/').unwrap_or((router, "32"));
    let cut = if address.contains(':') {
        address.rfind(':').map_or(0, |at| at + 1)
    } else {
        address.rfind('.').map_or(0, |at| at + 1)
    };
    let tail = if address.contains(':') { "" } else { "0" };
    format!("{}{tail}/{length}", &address[..cut])
}

/// The lab's own signature, against a JNDI lookup in a request.
pub(crate) fn log4shell_rule() -> String {
    format!(
        "drop tcp any any -> $HOME_NET any (msg:\"JNDI lookup in a request (Log4Shell)\"; flow:established,to_server; \
         content:\"${{jndi|3a|\"; nocase; classtype:attempted-admin; reference:cve,2021-44228; sid:{LOG4SHELL_SID}; rev:1;)\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_written_without_host_bits() {
        assert_eq!(network("10.1.0.1/24"), "10.1.0.0/24");
        assert_eq!(network("fd00:1::1/64"), "fd00:1::/64");
    }
}
