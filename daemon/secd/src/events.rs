//! Where events go: the sinks of the config, and the ways in for the engines.

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use config::{Config, Privacy};
use querylog::QueryLog;
use shippers::{FileSettings, LokiSettings, Settings};
use std::{
    collections::HashMap,
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    clock,
    decisions::Tell,
    privacy::{kept, logged},
    resolved::{Answers, Learned},
};

/// Bytes of a password file.
const MAX_PASSWORD: u64 = 4096;

/// The sinks of the config.
///
/// # Errors
/// Loki's address or password file cannot be used.
pub fn settings(config: &Config, state_dir: &Path) -> Result<Settings> {
    let file = FileSettings {
        path: config.events.file.clone().unwrap_or_else(|| state_dir.join("events.jsonl")),
        rotate_bytes: config.events.rotate_bytes,
        keep_files: config.events.keep_files,
    };
    let loki = config.loki.as_ref().map(loki).transpose()?;
    Ok(Settings { file: Some(file), loki, ..Settings::default() })
}

fn loki(loki: &config::Loki) -> Result<LokiSettings> {
    let url = loki.url.parse().map_err(|error| anyhow::anyhow!("[loki] url {}: {error}", loki.url))?;
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut settings = LokiSettings::new(url, host.trim());
    settings.tenant.clone_from(&loki.tenant);
    if let (Some(user), Some(file)) = (&loki.user, &loki.password_file) {
        let shown = file.display();
        let length = fs::metadata(file).with_context(|| format!("[loki] password_file {shown}"))?.len();
        anyhow::ensure!(length <= MAX_PASSWORD, "[loki] password_file {shown} has {length} bytes");
        let password = fs::read_to_string(file).with_context(|| format!("[loki] password_file {shown}"))?;
        settings.credentials = Some((user.clone(), password.trim_end().to_owned()));
    }
    Ok(settings)
}

/// The resolver's way in.
pub struct QuerySink {
    /// Where events go.
    pub tell: Tell,
    /// Where questions are kept.
    pub log: QueryLog,
    /// What of each zone's questions is told; of zones that are not named, everything.
    pub privacy: Arc<ArcSwap<HashMap<String, Privacy>>>,
    /// What was answered to zones that open flows only to that.
    pub resolved: Arc<Mutex<Answers<enforce::xdp::Resolved>>>,
}

impl resolver::Sink for QuerySink {
    fn query(&self, query: &resolver::Query<'_>) {
        let privacy = self.privacy.load().get(&*query.zone).copied().unwrap_or_default();
        self.log.push(&logged(query, privacy));
        (self.tell)(kept(query.event(), privacy));
    }

    fn resolved(&self, resolved: &resolver::Resolved<'_>) {
        let privacy = self.privacy.load().get(resolved.zone).copied().unwrap_or_default();
        let learned = Learned {
            zone: resolved.zone,
            client: resolved.client,
            name: resolved.name,
            is_remembered: match privacy {
                Privacy::Full | Privacy::NoClients => true,
                Privacy::NoNames | Privacy::None => false,
            },
            addresses: resolved.addresses,
            ttl: resolved.ttl,
        };
        let now = clock::now().boot;
        self.resolved.lock().unwrap_or_else(PoisonError::into_inner).answered(&learned, now);
    }
}
