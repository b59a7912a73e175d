//! `secctl explain`.

use model::Flow;
use policy::Explanation;
use std::{io, net::IpAddr, path::PathBuf};

use super::{DEFAULT_CONFIG, Done};
use crate::{
    failure::Failure,
    output::{Output, Paint},
};

/// Explain what the config says about a flow, without the daemon
///
/// Bans, lists and flows that are known already are no part of a config: `secctl why` asks the running daemon. Exits
/// with 0 whatever the verdict is, unless --exit-code is given.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The flow: "zone=iot src=10.4.0.9 dst=10.3.0.2 proto=tcp dport=445"; for ICMP, dport is type * 256 + code
    #[arg(value_name = "FLOW", required = true, num_args = 1..)]
    flow: Vec<String>,
    /// The config
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// An address of the router itself, beside those that it answers DNS on; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    own: Vec<IpAddr>,
    /// Exit with 1 if it does not pass
    #[arg(long)]
    exit_code: bool,
}

pub(crate) fn run(asked: &Arguments, output: &mut Output<'_>) -> Done {
    // The words of a flow need no quotes.
    let flow: Flow = asked
        .flow
        .join(" ")
        .parse()
        .map_err(|error: model::FlowParseError| super::usage(error.to_string()))?;
    let config = super::check::parsed(&asked.config)?;
    let answers =
        config.dns.listen.iter().map(std::net::SocketAddr::ip).filter(|address| !address.is_unspecified());
    let own: Vec<IpAddr> = asked.own.iter().copied().chain(answers).collect();
    let explanation = config.policy.explain(&own, &flow).map_err(|error| super::usage(error.to_string()))?;
    output.show(&explanation, |output, explanation| print(output, &flow, explanation))?;
    let passes = explanation.action == model::Action::Pass || explanation.observed;
    if asked.exit_code && !passes { Err(Failure::Finding) } else { Ok(()) }
}

fn print(output: &mut Output<'_>, flow: &Flow, explanation: &Explanation) -> io::Result<()> {
    let (says, paint) = match (explanation.action, explanation.observed) {
        (model::Action::Pass, _) => ("passes", Paint::Good),
        (model::Action::Drop, false) => ("is dropped", Paint::Bad),
        (model::Action::Reject, false) => ("is rejected", Paint::Bad),
        (model::Action::Drop, true) => ("would be dropped, but this is only observed", Paint::Warn),
        (model::Action::Reject, true) => ("would be rejected, but this is only observed", Paint::Warn),
    };
    let line = format!(
        "{} {}: {}.",
        output.paint(&flow.to_string(), Paint::Title),
        output.paint(says, paint),
        super::why::reason(explanation.reason.name())
    );
    output.sentence(&line)?;
    for step in &explanation.steps {
        output.paragraph(2, step, Paint::Plain)?;
    }
    Ok(())
}
