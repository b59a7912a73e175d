//! CrowdSec's `acquis.yaml` and `acquis.d`: where lines come from, and how they are labelled.

use std::collections::BTreeMap;
use std::sync::Arc;

use yaml::{Limits, Node};

use super::event::Texts;
use super::scenario::mistake_at;
use crate::FilterError;
use crate::dialect::Feed;

/// Bounds of a file.
const LIMITS: Limits = Limits { bytes: 256 * 1024, nodes: 20_000, repeated: 256 * 1024, depth: 16 };
/// Files and journals of all files together. Further ones are told, and not read.
const MAX_FEEDS: usize = 256;

/// Keys that change nothing here.
const UNHEEDED: [&str; 12] = [
    "name",
    "log_level",
    "unique_id",
    "force_inotify",
    "poll_without_inotify",
    "discovery_poll_enable",
    "discovery_poll_interval",
    "max_buffer_size",
    "use_time_machine",
    "tail_mode",
    "source",
    "mode",
];
/// Keys that say what to read.
const HEEDED: [&str; 4] = ["filename", "filenames", "journalctl_filter", "labels"];

/// Something to read.
#[derive(Clone, Debug)]
pub(super) struct Acquisition {
    pub(super) feed: Feed,
    pub(super) module: Arc<str>,
    pub(super) labels: Texts,
}

/// Reads a file. What is not supported is told; the rest is read.
pub(super) fn read(
    file: &str,
    bytes: &[u8],
    acquisitions: &mut Vec<Acquisition>,
    errors: &mut Vec<FilterError>,
) {
    let documents = match yaml::documents(bytes, &LIMITS) {
        Ok(documents) => documents,
        Err(mistake) => {
            let line = mistake.line.unwrap_or(1);
            errors.push(mistake_at(file, line, &mistake.message, "see that it is YAML of acquisitions"));
            return;
        }
    };
    for node in documents.iter().filter(|node| !node.is_nothing()) {
        match acquisition(node) {
            Ok(found) => {
                for acquisition in found {
                    if acquisitions.len() >= MAX_FEEDS {
                        let message = format!("more than {MAX_FEEDS} files and journals");
                        errors.push(mistake_at(
                            file,
                            node.line,
                            &message,
                            "name several files by one pattern",
                        ));
                        return;
                    }
                    acquisitions.push(acquisition);
                }
            }
            Err((line, message, help)) => errors.push(mistake_at(file, line, &message, help)),
        }
    }
}

fn acquisition(node: &Node) -> Result<Vec<Acquisition>, (usize, String, &'static str)> {
    let wrong = |node: &Node, message: String, help| Err((node.line, message, help));
    for (key, value) in node.entries() {
        if !UNHEEDED.contains(&key.as_str()) && !HEEDED.contains(&key.as_str()) {
            let help = "nothing of this acquisition is read; read it by `[[logs]]`, or take the key out";
            return wrong(value, format!("unsupported: `{key}`"), help);
        }
    }
    let mode = node.at("mode").text().unwrap_or("tail");
    if mode != "tail" {
        return wrong(node.at("mode"), format!("unsupported: `mode: {mode}`"), "write `mode: tail`");
    }
    let labels: BTreeMap<Arc<str>, Arc<str>> = node
        .at("labels")
        .entries()
        .iter()
        .map(|(name, value)| (name.as_str().into(), value.text().unwrap_or("").into()))
        .collect();
    if labels.is_empty() {
        return wrong(node, "an acquisition without `labels`".into(), "write `labels: {type: syslog}`");
    }
    let labels = Arc::new(labels);
    let paths = || {
        let mut paths = node.at("filenames").texts();
        paths.extend(node.at("filename").text());
        paths
    };
    let conditions = node.at("journalctl_filter").texts();
    let source = match node.at("source").text() {
        Some(source) => source,
        None if conditions.is_empty() => "file",
        None => "journalctl",
    };
    let feeds = match source {
        "file" if paths().is_empty() => {
            return wrong(node, "an acquisition without `filenames`".into(), "write the files to read");
        }
        "file" => match paths().into_iter().find(|path| !path.starts_with('/')) {
            Some(path) => {
                return wrong(node, format!("`{path}` is no absolute path"), "write the whole path");
            }
            None => paths().into_iter().map(|path| Feed::File(path.to_owned())).collect(),
        },
        "journalctl" => {
            if let Some(odd) = conditions.iter().find(|one| one.starts_with('-') || !one.contains('=')) {
                let help = "write conditions as `_SYSTEMD_UNIT=ssh.service`";
                return wrong(node, format!("unsupported: `journalctl_filter` with `{odd}`"), help);
            }
            vec![Feed::Journal(conditions.iter().map(|one| (*one).to_owned()).collect())]
        }
        other => {
            let help = "nothing of this acquisition is read; listen or read by `[[logs]]` instead";
            return wrong(node.at("source"), format!("unsupported: `source: {other}`"), help);
        }
    };
    let module: Arc<str> = source.into();
    let labelled = |feed| Acquisition { feed, module: Arc::clone(&module), labels: Arc::clone(&labels) };
    Ok(feeds.into_iter().map(labelled).collect())
}
