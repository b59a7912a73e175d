//! Services: `tcp/80`, `udp/7000-7100`, `icmp/8`, and names of these.

use policy::{Service, ServiceMatch};

use super::name_is_valid;
use crate::{
    error::{Report, nearest, quoted},
    located::Located,
};

/// Services of one's own; a config with more is refused.
const MOST_SERVICES: usize = 1024;
/// Matches of one service; a config with more is refused.
const MOST_MATCHES: usize = 64;
const PROTOCOLS: [&str; 4] = ["tcp", "udp", "icmp", "icmpv6"];

pub(super) fn check(
    drafts: &[(Located<String>, Vec<Located<String>>)],
    report: &mut Report<'_>,
) -> Vec<Service> {
    if let Some((first_over, _)) = drafts.get(MOST_SERVICES) {
        report.add(
            first_over.at,
            format!("`services` has {} entries", drafts.len()),
            format!("write at most {MOST_SERVICES}"),
        );
    }
    drafts.iter().take(MOST_SERVICES).map(|(name, texts)| service(name, texts, report)).collect()
}

fn service(name: &Located<String>, texts: &[Located<String>], report: &mut Report<'_>) -> Service {
    name_is_valid("service", name, name.at, report);
    if texts.is_empty() {
        report.add(
            name.at,
            format!("the service {} matches nothing", quoted(name)),
            format!("write for example `{} = [\"tcp/8080\"]`", name.value),
        );
    }
    if let Some(first_over) = texts.get(MOST_MATCHES) {
        report.add(
            first_over.at,
            format!("the service {} has {} matches", quoted(name), texts.len()),
            format!("write at most {MOST_MATCHES}; ports in a row can be written as a range"),
        );
    }
    let mut matches = Vec::new();
    for text in texts.iter().take(MOST_MATCHES) {
        match policy::services::built_in(text) {
            Some(service) => matches.extend(service.service().matches),
            None => matches.extend(in_place(text, &[], report)),
        }
    }
    matches.sort_unstable();
    matches.dedup();
    Service { name: name.value.clone(), matches }
}

/// The service that a rule names: one's own, a built-in one, or a match written in place.
pub(super) fn resolve(text: &Located<String>, own: &[Service], report: &mut Report<'_>) -> Option<Service> {
    if let Some(service) = own.iter().find(|service| service.name == text.value) {
        return Some(service.clone());
    }
    if let Some(service) = policy::services::built_in(text) {
        return Some(service.service());
    }
    in_place(text, own, report).map(|found| Service { name: text.value.clone(), matches: vec![found] })
}

/// Every service that can be named.
fn known(own: &[Service]) -> impl Iterator<Item = &str> + Clone {
    own.iter()
        .map(|service| service.name.as_str())
        .chain(policy::services::BUILT_IN.iter().map(|service| service.name))
}

/// A match written in place: `tcp/8080`. What is wrong with it is told here.
fn in_place(text: &Located<String>, own: &[Service], report: &mut Report<'_>) -> Option<ServiceMatch> {
    let error = match policy::services::parse_match(text) {
        Ok(found) => return Some(found),
        Err(error) => error,
    };
    let first = text.split('/').next().unwrap_or_default();
    let is_port = text.chars().all(|c| c.is_ascii_digit() || c == '-') && !text.is_empty();
    let (message, help) = if is_port {
        let help =
            format!("write the port with its protocol: `tcp/{text}` or `udp/{text}`", text = text.value);
        (format!("{} is no service", quoted(text)), help)
    } else if text.contains('/') {
        let help = match (nearest(first, PROTOCOLS), text.split_once('/')) {
            (Some(near), Some((_, ports))) if near != first => format!("did you mean `{near}/{ports}`?"),
            (_, Some((ports, protocol))) if PROTOCOLS.contains(&protocol) => {
                format!("write the protocol first: `{protocol}/{ports}`")
            }
            _ => "write for example `tcp/80`, `tcp/8000-8100`, `udp/53`, `icmp` or `icmp/8`".to_owned(),
        };
        (format!("{} is no service: {}", quoted(text), error.why), help)
    } else {
        let help = match nearest(text, known(own)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                "define it under `[services]`, for example `NAME = [\"tcp/8080\"]`, or write the port in place: \
                 `\"tcp/8080\"`"
                    .to_owned()
            }
        };
        (format!("there is no service {}", quoted(text)), help)
    };
    report.add(text.at, message, help);
    None
}
