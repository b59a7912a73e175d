//! The keys of `[[logs]]`, `[fail2ban]`, `[crowdsec]` and `[bans]`: which lines are read, by what, and how long the bans are
//! that they lead to.

use model::Mode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::located::Located;

/// What stands around the lines of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Nothing.
    #[default]
    Plain,
    /// An object a line, as Docker's `json-file` writes.
    Docker,
    /// Time, stream and a tag, as Kubernetes' container runtimes write.
    Cri,
}

/// A log whose lines lead to bans.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogDraft {
    /// Its name in events.
    #[schemars(length(min = 1), extend("x-required" = true, "examples" = ["sshd"]))]
    pub(crate) name: Located<String>,
    /// A file; rotation and truncation are followed. `*`, `?` and `[…]` make it a pattern: files that appear are read
    /// from their beginning. With `journal` the folder of another journal. A log has one of `path`, `journal`, `syslog`
    /// and `loki`.
    #[schemars(length(min = 1), extend("examples" = ["/var/log/auth.log"], "x-shown" = true))]
    pub(crate) path: Option<Located<String>>,
    /// What stands around the lines of the file: `plain` nothing, `docker` what Docker's `json-file` writes, `cri` what
    /// Kubernetes writes. Left out: `plain`.
    #[schemars(extend("examples" = ["docker"]))]
    pub(crate) format: Option<Located<LogFormat>>,
    /// Read the journal of systemd.
    pub(crate) journal: Located<bool>,
    /// Units whose entries are read; the journal itself vouches for them. Left out: all.
    #[schemars(extend("examples" = [["ssh.service"]]))]
    pub(crate) units: Option<Located<Vec<Located<String>>>>,
    /// Programs whose entries are read, as they call themselves. Left out: all.
    #[schemars(extend("examples" = [["sshd"]]))]
    pub(crate) identifiers: Option<Located<Vec<Located<String>>>>,
    /// Further conditions on entries, as `journalctl` takes them: one of each field has to hold.
    #[schemars(extend("examples" = [["_TRANSPORT=syslog"]]))]
    pub(crate) matches: Option<Located<Vec<Located<String>>>>,
    /// A listener for syslog (RFC 5424 and RFC 3164): `udp://ADDRESS:PORT`, `tcp://ADDRESS:PORT` or `tls://ADDRESS:PORT`.
    #[schemars(length(min = 1), extend("examples" = ["udp://10.1.0.1:5514"]))]
    pub(crate) syslog: Option<Located<String>>,
    /// Certificate of a `tls` listener, PEM; read again when it changes. Left out: that of `[dns]`.
    #[schemars(length(min = 1), extend("examples" = ["/etc/secd/logs.pem"]))]
    pub(crate) certificate: Option<Located<String>>,
    /// Key of the certificate, PEM, readable by secd.
    #[schemars(length(min = 1), extend("examples" = ["/etc/secd/logs.key"]))]
    pub(crate) key: Option<Located<String>>,
    /// Certificate authorities, PEM, one of which has to vouch for who sends by TLS. Left out: senders need no
    /// certificate.
    #[schemars(length(min = 1), extend("examples" = ["/etc/secd/log-senders.pem"]))]
    pub(crate) client_ca: Option<Located<String>>,
    /// A listener for pushes as Loki takes them, for Promtail, Alloy, Telegraf and Docker's `loki` driver: an address
    /// and port, without a port on 3101. Several logs can share one.
    #[schemars(length(min = 1), extend("examples" = ["10.1.0.1:3101"]))]
    pub(crate) loki: Option<Located<String>>,
    /// Labels of the streams that belong to this log, `NAME=VALUE`; the first log all of whose labels a stream has takes
    /// it. Left out: every stream.
    #[schemars(extend("examples" = [["job=nginx"]]))]
    pub(crate) labels: Option<Located<Vec<Located<String>>>>,
    /// File with a token, readable by secd, that who pushes has to show (`Authorization: Bearer …`). Left out: none.
    #[schemars(length(min = 1), extend("examples" = ["/etc/secd/logs.token"]))]
    pub(crate) token_file: Option<Located<String>>,
    /// Who may send to the listener: addresses and networks. Required with `syslog` and `loki`, but not with
    /// `client_ca`.
    #[schemars(extend("examples" = [["10.2.0.0/24"]]))]
    pub(crate) senders: Option<Located<Vec<Located<String>>>>,
    /// A log that has spoken and is silent for so long is told as trouble, `1m` to `365d`, or `never`. So is one whose
    /// lines were understood and for so long are not.
    #[schemars(length(min = 1))]
    pub(crate) silent_after: Located<String>,
    /// The filter that reads the lines: one that is built in (`sshd`, `nginx`, `traefik`, `jellyfin` and so on, see
    /// docs/log-filters.md), or one of `filters_dir`.
    #[schemars(length(min = 1), extend("x-required" = true, "examples" = ["sshd"]))]
    pub(crate) filter: Located<String>,
    /// Mode of the bans from this log.
    pub(crate) mode: Mode,
}

impl Default for LogDraft {
    fn default() -> Self {
        Self {
            name: Located::default(),
            path: None,
            format: None,
            journal: Located::default(),
            units: None,
            identifiers: None,
            matches: None,
            syslog: None,
            certificate: None,
            key: None,
            client_ca: None,
            loki: None,
            labels: None,
            token_file: None,
            senders: None,
            silent_after: Located::from("1d".to_owned()),
            filter: Located::default(),
            mode: Mode::default(),
        }
    }
}

/// Fail2ban's filters and jails.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Fail2banDraft {
    /// The folder with `jail.conf`, `jail.local`, `jail.d` and `filter.d`. Left out: no jails.
    #[schemars(length(min = 1), extend("examples" = ["/etc/secd/fail2ban"]))]
    pub(crate) folder: Option<Located<String>>,
    /// These jails alone, whether their files enable them or not. Left out: those that are enabled.
    #[schemars(extend("examples" = [["sshd"]]))]
    pub(crate) jails: Option<Located<Vec<Located<String>>>>,
    /// Mode of the bans by jails.
    pub(crate) mode: Mode,
}

/// CrowdSec's parsers and scenarios.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CrowdsecDraft {
    /// The folder with `parsers`, `scenarios`, `postoverflows`, `patterns`, `data`, `profiles.yaml`, `acquis.yaml` and
    /// `acquis.d`. Left out: no scenarios.
    #[schemars(length(min = 1), extend("examples" = ["/etc/secd/crowdsec"]))]
    pub(crate) folder: Option<Located<String>>,
    /// Mode of the bans by scenarios.
    pub(crate) mode: Mode,
}

/// How long and how many the bans are that logs lead to. What people order is not touched.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BansDraft {
    /// Bans that all scenarios together may order in an hour. Beyond, bans are only observed until there is room, so that a
    /// bad rule cannot ban the world.
    #[schemars(range(min = 1, max = 100_000))]
    pub(crate) per_hour: u32,
    /// The same of each scenario.
    #[schemars(range(min = 1, max = 100_000))]
    pub(crate) per_scenario: u32,
    /// Each further ban of the same address or range is so many times longer than the one before; 1 = they do not grow.
    #[schemars(range(min = 1, max = 100))]
    pub(crate) growth: u32,
    /// What no ban grows beyond, `1m` to `520w`.
    pub(crate) longest: Located<String>,
    /// How long after its end a ban makes the next one longer, `0s` to `520w`.
    pub(crate) remember: Located<String>,
    /// Networks where many people stand behind one address, such as mobile carriers' (100.64.0.0/10 always counts).
    #[schemars(extend("examples" = [["198.51.100.0/24"]]))]
    pub(crate) shared: Vec<Located<String>>,
    /// Longest ban there, `1m` to `520w`.
    pub(crate) shared_longest: Located<String>,
    /// How long logs do not ban an address that somebody has logged in from; an alert says what would have been. `0s`:
    /// not at all.
    pub(crate) after_login: Located<String>,
}

impl Default for BansDraft {
    fn default() -> Self {
        Self {
            per_hour: 5_000,
            per_scenario: 1_000,
            growth: 2,
            longest: Located::from("30d".to_owned()),
            remember: Located::from("30d".to_owned()),
            shared: Vec::new(),
            shared_longest: Located::from("15m".to_owned()),
            after_login: Located::from("1h".to_owned()),
        }
    }
}
