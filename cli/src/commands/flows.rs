//! `secctl flows`.

use ipnet::IpNet;
use model::Protocol;
use protocol::{FlowOrder, FlowRow, Flows, FlowsQuery, path};
use std::{io, net::IpAddr, time::Duration};

use super::{Done, Online};
use crate::{
    output::{Column, Field, Output, Paint, painted, plain},
    text::{bytes, number},
};

/// Show the flows the packet path knows, those that carried most first
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only flows with this address, or one of this network, on either side
    #[arg(value_parser = net)]
    address: Option<IpNet>,
    /// Only flows that start in this zone or go to it
    #[arg(long)]
    zone: Option<String>,
    /// Only flows with this port on either side
    #[arg(long)]
    port: Option<u16>,
    /// Only flows of this protocol: tcp, udp, icmp, icmpv6 or a number
    #[arg(long, value_name = "PROTOCOL")]
    proto: Option<Protocol>,
    /// Which come first
    #[arg(long, value_enum, default_value_t = Sort::Bytes)]
    sort: Sort,
    /// At most this many
    #[arg(long, default_value_t = protocol::DEFAULT_ROWS, value_name = "N")]
    limit: u32,
}

/// Which flows come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Sort {
    /// Those that carried most
    Bytes,
    /// Those with most packets
    Packets,
    /// Those whose last packet came last
    Recent,
}

impl From<Sort> for FlowOrder {
    fn from(sort: Sort) -> Self {
        match sort {
            Sort::Bytes => Self::Bytes,
            Sort::Packets => Self::Packets,
            Sort::Recent => Self::Recent,
        }
    }
}

/// An address is a network of one.
fn net(text: &str) -> Result<IpNet, String> {
    let net = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    net.map_err(|_| {
        format!("`{text}` is neither an address (10.4.0.9) nor a network (10.4.0.0/24, fd00:4::/64)")
    })
}

pub(crate) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    let query = FlowsQuery {
        zone: asked.zone.clone(),
        address: asked.address,
        port: asked.port,
        proto: asked.proto,
        sort: (asked.sort != Sort::Bytes).then(|| asked.sort.into()),
        limit: Some(asked.limit),
    };
    let flows: Flows = online.client.get(path::FLOWS, &query)?;
    Ok(online.output.show(&flows, print)?)
}

fn print(output: &mut Output<'_>, flows: &Flows) -> io::Result<()> {
    if flows.flows.is_empty() {
        return output.line("No such flows.");
    }
    let rows = flows.flows.iter().map(row).collect();
    output.table(
        &[
            Column::new("FROM").whole().wide(80),
            Column::new("SOURCE"),
            Column::new("TO").whole().wide(100),
            Column::new("DESTINATION"),
            Column::new("PROTO").whole(),
            Column::new("VERDICT").whole(),
            Column::new("REASON").whole().wide(120),
            Column::new("PACKETS").right().wide(140),
            Column::new("BYTES").right().wide(140),
            Column::new("IDLE").right().wide(80),
            Column::new("BY").wide(160),
        ],
        rows,
    )?;
    let line = output.paint(
        &format!(
            "{} of {} that match; {} are open, there is room for {}",
            number(flows.flows.len() as u64),
            number(flows.matching),
            number(flows.total),
            number(flows.capacity)
        ),
        Paint::Quiet,
    );
    output.line(&line)
}

fn row(flow: &FlowRow) -> Vec<Field> {
    vec![
        plain(&flow.zone),
        plain(super::endpoint(flow.src, flow.sport, &flow.proto, true)),
        plain(flow.zone_out.clone().unwrap_or_default()),
        plain(super::endpoint(flow.dst, flow.dport, &flow.proto, false)),
        plain(&flow.proto),
        painted(&flow.verdict, if flow.verdict == "pass" { Paint::Good } else { Paint::Bad }),
        plain(&flow.reason),
        plain(number(flow.packets)),
        plain(bytes(flow.bytes)),
        plain(model::duration_text(Duration::from_millis(flow.idle_ms))),
        plain(flow.by.clone().unwrap_or_default()),
    ]
}
