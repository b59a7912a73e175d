//! `/api/groups`, `/api/lists`, `/api/clients`: what the config says. It is the person's, so nothing of it is changed
//! from here.

use model::Timestamp;
use serde_json::{Value, json};

use super::Api;
use crate::{
    hole::{Hole, ListState, Refusal},
    reply::Reply,
    request::Request,
};

impl<H: Hole> Api<H> {
    /// `GET /api/groups[/{name}]`.
    pub(super) fn groups(&self, rest: &[&str]) -> Reply {
        let groups = self.hole.groups().into_iter().filter(|group| picks(rest, &group.name));
        let rows = groups.map(|group| {
            json!({
                "name": group.name,
                "comment": group.comment,
                "enabled": group.enabled,
                "id": group.id,
                "date_added": group.since.seconds(),
                "date_modified": group.since.seconds(),
            })
        });
        Reply::ok(json!({ "groups": rows.collect::<Vec<Value>>() }))
    }

    /// `GET /api/lists[/{list}]?type=…`. A list that holds exceptions too is one that blocks.
    pub(super) fn lists(&self, request: &Request, rest: &[&str]) -> Reply {
        let wanted = match request.parameter("type") {
            None => None,
            Some("block") => Some(false),
            Some("allow") => Some(true),
            Some(other) => {
                let message =
                    "Invalid request: Invalid type parameter (should be either \"allow\" or \"block\")";
                return Reply::bad_request(message, Some(other));
            }
        };
        let lists =
            self.hole.lists().into_iter().filter(|list| {
                wanted.is_none_or(|allows| allows == list.allows) && picks(rest, &list.address)
            });
        let rows = lists.map(|list| {
            let status = match list.state {
                ListState::Current => 2,
                ListState::OldCopy => 3,
                ListState::Unavailable => 4,
            };
            json!({
                "address": list.address,
                "type": if list.allows { "allow" } else { "block" },
                "comment": list.name,
                "groups": list.groups,
                "enabled": list.enabled,
                "id": list.id,
                "date_added": list.since.seconds(),
                "date_modified": list.since.seconds(),
                "date_updated": list.loaded.map_or(0, Timestamp::seconds),
                "number": list.entries,
                "invalid_domains": list.rejected,
                "abp_entries": 0,
                "status": status,
            })
        });
        Reply::ok(json!({ "lists": rows.collect::<Vec<Value>>() }))
    }

    /// `GET /api/clients[/{client}]`.
    pub(super) fn clients(&self, rest: &[&str]) -> Reply {
        let clients = self.hole.clients().into_iter().filter(|client| picks(rest, &client.text));
        let rows = clients.map(|client| {
            json!({
                "client": client.text,
                "name": client.name,
                "comment": client.comment,
                "groups": client.groups,
                "id": client.id,
                "date_added": client.since.seconds(),
                "date_modified": client.since.seconds(),
            })
        });
        Reply::ok(json!({ "clients": rows.collect::<Vec<Value>>() }))
    }

    /// `GET /api/clients/_suggestions`.
    pub(super) fn devices(&self) -> Reply {
        let devices = self.hole.devices().into_iter().map(|device| {
            let addresses: Vec<_> = device.addresses.iter().map(ToString::to_string).collect();
            json!({
                "hwaddr": device.mac,
                "macVendor": null,
                "lastQuery": device.seen.map_or(0, Timestamp::seconds),
                "addresses": addresses.join(","),
                "names": null,
            })
        });
        Reply::ok(json!({ "clients": devices.collect::<Vec<Value>>() }))
    }
}

/// No name picks all.
fn picks(rest: &[&str], name: &str) -> bool {
    rest.is_empty() || rest.join("/").eq_ignore_ascii_case(name)
}

pub(super) fn not_from_here(what: &str) -> Reply {
    let hint = match what {
        "lists" => "write [[lists]] in secd.toml, then `secctl reload`",
        "groups" => "write [dns.groups.NAME] in secd.toml, then `secctl reload`",
        _ => "write [dns.clients.NAME] in secd.toml, then `secctl reload`",
    };
    Refusal::forbidden(format!("The {what} stand in the config and are not changed from here"), hint).into()
}
