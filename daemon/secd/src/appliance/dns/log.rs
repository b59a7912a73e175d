//! The log of questions: kept as the config says, read by people.

use anyhow::{Context, Result};
use config::Dns;
use model::{QueryFilter, QueryPage, QueryStats, QueryStatsFilter, Severity};
use protocol::{DnsLogStatus, ErrorReply};
use querylog::{LogError, QueryLog, Settings};
use std::{
    path::Path,
    sync::{Arc, PoisonError},
};

use crate::{appliance::Appliance, clock, decisions::Failure};

/// The file in the state folder.
const FILE: &str = "queries.db";

/// Starts the log of the config.
pub(in crate::appliance) fn start(state_dir: &Path, dns: &Dns) -> Result<QueryLog> {
    QueryLog::start(state_dir.join(FILE), settings(dns), Arc::new(|| clock::now().wall))
        .context("the log of questions cannot be started")
}

fn settings(dns: &Dns) -> Settings {
    Settings::new(dns.log.days, dns.log.bytes)
}

impl Appliance {
    /// Has the log kept as the config says, and tells of its troubles. Called every few seconds. A config on trial
    /// changes nothing: what would be removed does not come back.
    pub(in crate::appliance) fn look_at_query_log(&self) {
        if !self.on_trial() {
            self.dns.log.set(settings(&self.current.load().loaded.config.dns));
        }
        let status = self.dns.log.status();
        self.trouble("the log of questions", status.trouble);
        let mut told = self.dns.set_aside.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(set_aside) = status.set_aside.filter(|set_aside| told.as_ref() != Some(set_aside)) {
            tracing::warn!("{set_aside}");
            self.system(Severity::Warning, set_aside.clone());
            *told = Some(set_aside);
        }
    }

    /// How the log does, for the status.
    pub(in crate::appliance) fn query_log_status(&self) -> DnsLogStatus {
        let status = self.dns.log.status();
        DnsLogStatus {
            bytes: status.bytes,
            written: status.written,
            lost: status.lost + status.dropped,
            folded: status.folded,
            error: status.trouble,
        }
    }

    /// Questions of the log, those of a moment ago too.
    ///
    /// # Errors
    /// 400 the filter makes no sense, 404 there is no log, 503 it cannot be read.
    pub async fn dns_queries(&self, filter: &QueryFilter) -> Result<QueryPage, Failure> {
        self.tell_queries().await;
        self.dns.log.queries(filter).await.map_err(failure)
    }

    /// The log summed up, with the questions of a moment ago.
    ///
    /// # Errors
    /// As [`Appliance::dns_queries`].
    pub async fn dns_stats(&self, filter: &QueryStatsFilter) -> Result<QueryStats, Failure> {
        self.tell_queries().await;
        self.dns.log.stats(filter).await.map_err(failure)
    }

    /// Has what was asked handed to the log.
    async fn tell_queries(&self) {
        if let Some(resolver) = self.resolver.read().await.as_ref() {
            resolver.tell();
        }
    }

    /// Writes what waits, and ends the log.
    pub(in crate::appliance) async fn close_query_log(&self) {
        let log = self.dns.log.clone();
        if tokio::task::spawn_blocking(move || log.close()).await.is_err() {
            tracing::warn!("the log of questions was not closed");
        }
    }
}

fn failure(error: LogError) -> Failure {
    let (status, help) = match &error {
        LogError::Asked(_) => (400, None),
        LogError::TooLong => (400, Some("`--since 1d`")),
        LogError::Off => (404, Some("`[dns.log]` in the config says for how many days they are kept")),
        _ => (503, Some("`secctl status` says how the log does")),
    };
    (status, ErrorReply::new(error.to_string(), help))
}
