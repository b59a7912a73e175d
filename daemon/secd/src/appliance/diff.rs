//! `secctl diff`: what another config would change, for the policy and for the flows that are open now.

use model::Flow;
use policy::{Comparison, RulePlace};
use protocol::{DiffRequest, Difference, ErrorReply, FlowChange, FlowRow, MAX_FLOWS_COMPARED, PolicyChange};
use std::{cmp::Reverse, net::IpAddr};

use super::Appliance;
use crate::{clock, decisions::Failure, loading::Loaded};

impl Appliance {
    /// Compares the policy in force with another one. Nothing is changed.
    ///
    /// # Errors
    /// 422 the config is bad, 503 the flows cannot be read.
    pub async fn diff(&self, request: DiffRequest) -> Result<Difference, Failure> {
        let current = self.current.load_full();
        let chosen = self.chosen_mode(&current).await;
        let file = request.file.unwrap_or_else(|| self.flags.config.display().to_string());
        // All of this may take seconds for large policies, and the other tasks go on meanwhile.
        let loaded = tokio::task::block_in_place(|| match request.text {
            Some(text) => Loaded::of(file, text, chosen),
            None => Loaded::read(&self.flags.config, chosen),
        });
        let loaded = loaded.map_err(|problems| {
            let reply = ErrorReply::new("the config is bad: nothing to compare", Some("see `secctl check`"));
            (422, reply.with_problems(problems))
        })?;
        let mut rows = self.flow_rows()?;
        let open = rows.len() as u64;
        rows.sort_by_key(|row| Reverse(row.bytes));
        rows.truncate(MAX_FLOWS_COMPARED);
        let old = &current.loaded.config.policy;
        let changes = tokio::task::block_in_place(|| policy::diff(old, &loaded.config.policy));
        // Lists and databases as they are in force: what the new config would fetch first is not there yet.
        let now = clock::now().wall;
        let (standing, _, odd) = self.standing(&loaded.config.policy, &current.feeds, now);
        let own: Vec<IpAddr> = current.machine.addresses.iter().copied().collect();
        let comparison = Comparison::new(&current.standing.now, &standing.now, &own);
        let compared = rows.len() as u64;
        let flows = tokio::task::block_in_place(|| {
            rows.iter().filter_map(|row| changed(&comparison, row)).collect::<Vec<_>>()
        });
        let changes = changes
            .into_iter()
            .map(|change| PolicyChange {
                kind: change.kind.name().into(),
                subject: change.subject.name().into(),
                name: change.name,
                before: change.before,
                after: change.after,
                old_place: change.old_place.map(place),
                new_place: change.new_place.map(place),
            })
            .collect();
        Ok(Difference { changes, flows, compared, open, notes: odd.into_iter().collect() })
    }
}

fn place(place: RulePlace) -> String {
    format!("{}:{}", place.file, place.line)
}

/// What becomes of a flow, where that is something else.
fn changed(comparison: &Comparison<'_>, row: &FlowRow) -> Option<FlowChange> {
    let flow = Flow {
        zone: Some(row.zone.clone()),
        mac: None,
        src: row.src,
        dst: row.dst,
        proto: row.proto.parse().ok()?,
        sport: row.sport,
        dport: row.dport,
    };
    // A zone that is no longer there takes its flows with it.
    let (before, after) = match comparison.change(&flow) {
        Ok(None) => return None,
        Ok(Some((before, after))) => {
            ((before.action.name(), by(before.rule)), (after.action.name(), by(after.rule)))
        }
        Err(error) => {
            ((row.verdict.as_str(), row.by.clone().unwrap_or_default()), ("drop", error.to_string()))
        }
    };
    Some(FlowChange {
        flow: Flow { sport: 0, ..flow }.to_string(),
        before: before.0.into(),
        before_by: before.1,
        after: after.0.into(),
        after_by: after.1,
        bytes: row.bytes,
    })
}

fn by(rule: Option<String>) -> String {
    rule.unwrap_or_else(|| "the zone's default".into())
}
