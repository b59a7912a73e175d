//! `secctl logs explain`.

use ::logs::{
    crowdsec::{Event, Line, Mode, Parsed},
    expr::Time,
};
use serde::Serialize;
use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc};

use super::{Done, hubtest};
use crate::{
    Environment,
    failure::Failure,
    output::{Output, Paint},
    text::escape,
};

/// Explain what CrowdSec's parsers make of a line: which take it at each stage, and what they find out
///
/// Exits with 1 if the line does not pass all stages. Files that cannot be used are told, and left out.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The parsers: a hub or `/etc/crowdsec`, a folder with `parsers` and `patterns`
    #[arg(long, value_name = "DIR")]
    hub: PathBuf,
    /// The line
    #[arg(long, value_name = "LINE")]
    line: String,
    /// What the source of the line is labelled with (`syslog`, `nginx`); parsers go by it
    #[arg(long = "type", value_name = "TYPE", default_value = "syslog")]
    kind: String,
}

/// What `-o json` prints.
#[derive(Debug, Serialize)]
struct Explained {
    passes: bool,
    whitelisted: Option<String>,
    steps: Vec<Step>,
    errors: Vec<String>,
}

/// A parser that took the line, or that found something out before it did not.
#[derive(Debug, Serialize)]
struct Step {
    stage: String,
    parser: String,
    success: bool,
    set: BTreeMap<String, String>,
}

pub(crate) fn run(asked: &Arguments, environment: &Environment, output: &mut Output<'_>) -> Done {
    let (mut parsers, errors) = hubtest::hub(&asked.hub)?.parsers();
    let now = jiff::Timestamp::from_microsecond(environment.now.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let now = Time::utc(now);
    let labels = BTreeMap::from([(Arc::from("type"), Arc::from(asked.kind.as_str()))]);
    let line = Line { raw: asked.line.as_str().into(), labels: Arc::new(labels), ..Line::default() };
    let event = Event::line(line, Mode::Replay, now);
    let parsed = parsers.parse_told(event.clone(), now);
    let explained = Explained {
        passes: parsed.event.process,
        whitelisted: parsed.event.whitelisted.then(|| parsed.event.whitelist_reason.to_string()),
        steps: steps(event, parsed),
        errors: errors.iter().map(ToString::to_string).collect(),
    };
    output.show(&explained, print)?;
    if explained.passes { Ok(()) } else { Err(Failure::Finding) }
}

fn steps(mut before: Event, parsed: Parsed) -> Vec<Step> {
    let mut steps = Vec::new();
    for step in parsed.steps {
        let set: BTreeMap<String, String> = step.event.changes(&before).into_iter().collect();
        if step.success || !set.is_empty() {
            let (stage, parser) = (step.stage.to_string(), step.name.to_string());
            steps.push(Step { stage, parser, success: step.success, set });
        }
        before = step.event;
    }
    steps
}

fn print(output: &mut Output<'_>, explained: &Explained) -> io::Result<()> {
    for error in &explained.errors {
        output.aside(error)?;
    }
    let mut stage = "";
    for step in &explained.steps {
        if step.stage != stage {
            stage = &step.stage;
            let title = output.paint(stage, Paint::Title);
            output.line(&title)?;
        }
        let (says, paint) =
            if step.success { ("takes it", Paint::Good) } else { ("does not take it", Paint::Warn) };
        let parser = output.paint(&escape(&step.parser), paint);
        output.line(&format!("  {parser} {says}"))?;
        for (name, value) in &step.set {
            output.line(&format!("    {} = {}", escape(name), escape(value)))?;
        }
    }
    output.line("")?;
    output.sentence(&match (&explained.whitelisted, explained.passes) {
        (Some(reason), true) => format!("It passes, and is forgiven: {}.", escape(reason)),
        (None, true) => "It passes all stages.".to_owned(),
        (_, false) => "It does not pass: no parser takes it at the next stage.".to_owned(),
    })
}
