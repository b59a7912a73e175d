//! `secctl dns clients`.

use protocol::DnsClients;
use std::io;

use crate::{
    output::{Column, Output, Paint, painted, plain},
    text::escape,
};

pub(super) fn print(output: &mut Output<'_>, clients: &DnsClients) -> io::Result<()> {
    if clients.clients.is_empty() {
        return output.sentence(
            "The config names no clients: everybody is in the group default. See `[dns.clients]` in `secctl config reference`.",
        );
    }
    let rows = clients.clients.iter().map(|client| {
        let addresses: Vec<String> = client.addresses.iter().map(ToString::to_string).collect();
        vec![
            plain(&client.name),
            plain(client.groups.join(", ")),
            plain(client.who.join(", ")),
            if addresses.is_empty() {
                painted("not seen", Paint::Quiet)
            } else {
                let hosts = if client.hosts.is_empty() {
                    String::new()
                } else {
                    format!(" ({})", client.hosts.join(", "))
                };
                plain(addresses.join(", ") + &hosts)
            },
            plain(client.comment.clone().unwrap_or_default()),
        ]
    });
    let rows = rows.collect();
    output.table(
        &[
            Column::new("CLIENT").whole(),
            Column::new("GROUPS"),
            Column::new("NAMED BY"),
            Column::new("SEEN WITH").wide(70),
            Column::new("COMMENT").wide(120),
        ],
        rows,
    )?;
    for client in clients.clients.iter().filter(|client| client.randomised) {
        let line = format!(
            "{} {} is named by a MAC address that the device made up: it may have another one later. Turn private addresses off there, or name it otherwise.",
            output.paint("note:", Paint::Warn),
            escape(&client.name)
        );
        output.sentence(&line)?;
    }
    Ok(())
}
