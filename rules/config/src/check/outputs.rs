//! Paths, signatures, Loki, the store, events and the control socket.

use policy::Zone;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{optional, optional_path};
use crate::{
    checked::{Api, Events, Loki, Signatures, Store},
    draft::{ApiDraft, EventsDraft, LokiDraft, SignaturesDraft, StoreDraft},
    error::{Report, quoted},
    located::Located,
};

/// Signature files; a config with more is refused.
const MOST_FILES: usize = 256;
/// Variables of signatures; a config with more is refused.
const MOST_VARIABLES: usize = 256;

/// An absolute path of one file or folder.
pub(super) fn path(key: &str, text: &Located<String>, report: &mut Report<'_>) -> Option<PathBuf> {
    let path = path_or_pattern(key, text, report)?;
    if text.contains(['*', '?', '[']) {
        report.add(
            text.at,
            format!("{} in `{key}` is a pattern", quoted(text)),
            "write one file by its name; patterns are not expanded",
        );
        return None;
    }
    Some(path)
}

/// An absolute path, or a pattern of such.
pub(super) fn path_or_pattern(key: &str, text: &Located<String>, report: &mut Report<'_>) -> Option<PathBuf> {
    if text.is_empty() {
        return None;
    }
    let path = Path::new(text.as_str());
    if !path.is_absolute() {
        let help = match text.strip_prefix('~') {
            Some(_) => "write the whole path: `~` is not expanded".to_owned(),
            None => format!(
                "write the whole path from `/` on, for example `/etc/secd/{}`",
                text.trim_start_matches("./")
            ),
        };
        report.add(text.at, format!("{} in `{key}` is no absolute path", quoted(text)), help);
        return None;
    }
    Some(path.to_owned())
}

pub(super) fn signatures(draft: &SignaturesDraft, zones: &[Zone], report: &mut Report<'_>) -> Signatures {
    if let Some(first_over) = draft.files.get(MOST_FILES) {
        report.add(
            first_over.at,
            format!("`files` has {} entries", draft.files.len()),
            format!("write at most {MOST_FILES}"),
        );
    }
    let mut files = Vec::new();
    for text in draft.files.iter().take(MOST_FILES) {
        if text.is_empty() {
            report.add(
                text.at,
                "`files` names an empty path",
                "write the path of a file or remove the entry",
            );
        }
        let Some(path) = path("files", text, report) else { continue };
        if files.contains(&path) {
            report.add(text.at, format!("{} stands twice in `files`", quoted(text)), "remove one of the two");
            continue;
        }
        files.push(path);
    }
    if let Some((first_over, _)) = draft.variables.0.get(MOST_VARIABLES) {
        report.add(
            first_over.at,
            format!("`variables` has {} entries", draft.variables.0.len()),
            format!("write at most {MOST_VARIABLES}"),
        );
    }
    let mut variables: BTreeMap<String, String> = draft
        .variables
        .0
        .iter()
        .take(MOST_VARIABLES)
        .filter(|(name, value)| variable_is_valid(name, value, report))
        .map(|(name, value)| (name.value.clone(), value.value.clone()))
        .collect();
    variables.entry("HOME_NET".into()).or_insert_with(|| home_net(zones));
    variables.entry("EXTERNAL_NET".into()).or_insert_with(|| "!$HOME_NET".into());
    Signatures {
        files,
        sources: super::sources::rule_sources(&draft.sources, report),
        mode: draft.mode,
        variables,
    }
}

fn home_net(zones: &[Zone]) -> String {
    let own: Vec<String> = zones.iter().flat_map(|zone| &zone.networks).map(ToString::to_string).collect();
    if own.is_empty() {
        "[10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7]".into()
    } else {
        format!("[{}]", own.join(","))
    }
}

fn variable_is_valid(name: &Located<String>, value: &Located<String>, report: &mut Report<'_>) -> bool {
    let usable = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || !name.chars().all(usable) {
        report.add(
            name.at,
            format!("{} cannot be the name of a variable", quoted(name)),
            "write it without `$`, in capitals, digits and `_`, for example `HOME_NET`",
        );
        return false;
    }
    if value.trim().is_empty() {
        report.add(
            value.at,
            format!("the variable {} is empty", quoted(name)),
            "write for example `\"[10.0.0.0/8]\"` or `\"any\"`",
        );
        return false;
    }
    let mut depth = 0i32;
    let balanced = value.chars().all(|c| {
        depth += i32::from(c == '[') - i32::from(c == ']');
        depth >= 0
    });
    if !balanced || depth != 0 {
        report.add(
            value.at,
            format!("the brackets of the variable {} do not match", quoted(name)),
            "write for example `\"[10.0.0.0/8,!10.9.0.0/16]\"`",
        );
        return false;
    }
    true
}

pub(super) fn loki(draft: &LokiDraft, report: &mut Report<'_>) -> Option<Loki> {
    let others = [&draft.tenant, &draft.user, &draft.password_file];
    if draft.url.is_empty() && report.is_misfit("loki.url") {
        return None;
    }
    if draft.url.is_empty() {
        if let Some(other) = others.into_iter().find(|text| !text.is_empty()) {
            report.add(
                other.at,
                "`[loki]` has no `url`: nothing is sent",
                "add for example `url = \"http://10.1.0.9:3100\"`",
            );
        }
        return None;
    }
    url_is_valid(&draft.url, report);
    if let Some(tenant) = optional(&draft.tenant)
        && (tenant.len() > 150
            || !tenant.chars().all(|c| c.is_ascii_alphanumeric() || "!-_.*'()".contains(c)))
    {
        report.add(
            draft.tenant.at,
            format!("{} cannot be a tenant", quoted(&tenant)),
            "write letters, digits and any of `!-_.*'()`, at most 150",
        );
    }
    match (draft.user.is_empty(), draft.password_file.is_empty()) {
        (false, true) => report.add(
            draft.user.at,
            "`user` has no `password_file`",
            "add for example `password_file = \"/etc/secd/loki.password\"`",
        ),
        (true, false) => {
            report.add(draft.password_file.at, "`password_file` has no `user`", "add `user = \"…\"`");
        }
        (true, true) | (false, false) => {}
    }
    if draft.user.contains(':') {
        report.add(
            draft.user.at,
            "`user` holds a colon",
            "write the name alone; the password stands in `password_file`",
        );
    }
    Some(Loki {
        url: draft.url.trim_end_matches('/').to_owned(),
        tenant: optional(&draft.tenant),
        user: optional(&draft.user),
        password_file: optional_path("password_file", &draft.password_file, report),
    })
}

fn url_is_valid(url: &Located<String>, report: &mut Report<'_>) {
    let example = "write for example `http://10.1.0.9:3100`";
    let wrong = |what: &str| format!("{} {what}", quoted(url));
    let Some((scheme, rest)) = url.split_once("://") else {
        let help = format!("write `http://{}`", url.value);
        return report.add(
            url.at,
            wrong("has no scheme"),
            if url.contains(' ') { example.into() } else { help },
        );
    };
    if !matches!(scheme, "http" | "https") {
        return report.add(url.at, wrong("is neither http nor https"), example);
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.contains('@') {
        return report.add(url.at, wrong("holds a password"), "write `user` and `password_file` instead");
    }
    if !path.is_empty() {
        let help = format!("write `{scheme}://{authority}`; the path of the push interface is added");
        return report.add(url.at, wrong("has a path"), help);
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let host_is_valid = !host.is_empty()
        && (host.starts_with('[') == host.ends_with(']'))
        && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._[]:".contains(c))
        && (host.starts_with('[') || !host.contains(':'));
    if !host_is_valid {
        return report.add(url.at, wrong("has no host"), example);
    }
    if port.is_some_and(|port| port.parse::<u16>().ok().is_none_or(|port| port == 0)) {
        report.add(url.at, wrong("has a port that is no number from 1 to 65535"), example);
    }
}

pub(super) fn store(draft: &StoreDraft, report: &mut Report<'_>) -> Store {
    Store { path: optional_path("path", &draft.path, report) }
}

pub(super) fn events(draft: &EventsDraft, report: &mut Report<'_>) -> Events {
    Events {
        file: optional_path("file", &draft.file, report),
        rotate_bytes: u64::from(draft.rotate_megabytes) * 1_000_000,
        keep_files: draft.keep_files,
    }
}

pub(super) fn api(draft: &ApiDraft, report: &mut Report<'_>) -> Api {
    let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if draft.group.len() > 32 || !draft.group.chars().all(usable) {
        report.add(
            draft.group.at,
            format!("{} cannot be the name of a group", quoted(&draft.group)),
            "write the name of a group of this machine, for example `secd`",
        );
    }
    Api { group: optional(&draft.group) }
}
