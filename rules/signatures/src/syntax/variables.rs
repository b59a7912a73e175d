//! Address and port variables of rules.

use std::collections::BTreeMap;

/// Values of `$NAME` in rule headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    values: BTreeMap<String, String>,
}

/// Names and values that rule sets expect (the same names as in Suricata's shipped configuration).
const USUAL: &[(&str, &str)] = &[
    ("HOME_NET", "[192.168.0.0/16,10.0.0.0/8,172.16.0.0/12,fc00::/7]"),
    ("EXTERNAL_NET", "!$HOME_NET"),
    ("HTTP_SERVERS", "$HOME_NET"),
    ("SMTP_SERVERS", "$HOME_NET"),
    ("SQL_SERVERS", "$HOME_NET"),
    ("DNS_SERVERS", "$HOME_NET"),
    ("TELNET_SERVERS", "$HOME_NET"),
    ("AIM_SERVERS", "$EXTERNAL_NET"),
    ("DC_SERVERS", "$HOME_NET"),
    ("DNP3_SERVER", "$HOME_NET"),
    ("DNP3_CLIENT", "$HOME_NET"),
    ("MODBUS_CLIENT", "$HOME_NET"),
    ("MODBUS_SERVER", "$HOME_NET"),
    ("ENIP_CLIENT", "$HOME_NET"),
    ("ENIP_SERVER", "$HOME_NET"),
    ("HTTP_PORTS", "80"),
    ("SHELLCODE_PORTS", "!80"),
    ("ORACLE_PORTS", "1521"),
    ("SSH_PORTS", "22"),
    ("DNP3_PORTS", "20000"),
    ("MODBUS_PORTS", "502"),
    ("FILE_DATA_PORTS", "[$HTTP_PORTS,110,143]"),
    ("FTP_PORTS", "21"),
    ("GENEVE_PORTS", "6081"),
    ("VXLAN_PORTS", "4789"),
    ("TEREDO_PORTS", "3544"),
];

impl Variables {
    /// The names that rule sets expect, with their usual values.
    #[must_use]
    pub fn usual() -> Self {
        Self { values: USUAL.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect() }
    }

    /// The usual ones, overridden and extended by `own`.
    #[must_use]
    pub fn with<'a>(own: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut variables = Self::usual();
        for (name, value) in own {
            variables.set(name, value);
        }
        variables
    }

    /// Sets one; a leading `$` of the name is ignored.
    pub fn set(&mut self, name: &str, value: &str) {
        self.values.insert(name.trim_start_matches('$').to_owned(), value.to_owned());
    }

    pub(crate) fn address(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    pub(crate) fn port(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }
}
