//! `secctl flows`.

use protocol::{FlowRow, Flows, FlowsQuery, path};
use std::{io, net::IpAddr, time::Duration};

use super::{Done, Online};
use crate::{
    output::{Column, Field, Output, Paint, painted, plain},
    text::{bytes, number},
};

/// Show the flows the packet path knows
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only flows with this address on either side
    address: Option<IpAddr>,
    /// Only flows that start in this zone
    #[arg(long)]
    zone: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = protocol::DEFAULT_ROWS, value_name = "N")]
    limit: u32,
}

pub(crate) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    let query = FlowsQuery { zone: asked.zone.clone(), address: asked.address, limit: Some(asked.limit) };
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
            "{} of {} flows; there is room for {}",
            number(flows.flows.len() as u64),
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
