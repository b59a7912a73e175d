//! `secctl apply`.

use protocol::{Applied, ApplyRequest, Lasting, SettleRequest, Settled, Trial, path};
use std::{
    io::{self, BufRead},
    path::PathBuf,
    sync::mpsc::{RecvTimeoutError, sync_channel},
    time::Duration,
};

use super::{Done, Online};
use crate::{
    failure::Failure,
    output::{Format, Output, Paint},
    text::{escape, left},
};

/// Put a config in force, on trial if asked: unless you confirm that you still get in, it goes back by itself
///
/// With --confirm the new config holds for that time only. Confirm it by pressing Enter, or with `secctl apply
/// --confirmed` from wherever you get in; else the former config comes back, also if secd or this command dies
/// meanwhile. The config file on disk is replaced only when the config is confirmed.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The new config; left out, secd reads its own config file
    #[arg(conflicts_with_all = ["confirmed", "revert"])]
    file: Option<PathBuf>,
    /// Go back after this time (5s to 10m) unless it is confirmed
    #[arg(long, value_name = "TIME", conflicts_with_all = ["confirmed", "revert"])]
    confirm: Option<Lasting>,
    /// Keep the config that is on trial
    #[arg(long, conflicts_with = "revert")]
    confirmed: bool,
    /// Take the config that is on trial back now
    #[arg(long)]
    revert: bool,
    /// With --confirm: do not wait here for an answer
    #[arg(long, requires = "confirm")]
    no_wait: bool,
}

pub(crate) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    let request = SettleRequest { user: online.environment.user.clone() };
    if asked.confirmed || asked.revert {
        return settle(asked.confirmed, &request, online);
    }
    let (file, text) = named(asked.file.as_deref())?;
    let applied: Applied = online.client.post(
        path::APPLY,
        &ApplyRequest {
            text,
            file,
            confirm: asked.confirm.map(|Lasting(time)| time.as_secs()),
            user: online.environment.user.clone(),
        },
    )?;
    online.output.show(&applied, print)?;
    let Some(trial) = applied
        .trial
        .filter(|_| online.environment.asks && !asked.no_wait && online.output.format() == Format::Table)
    else {
        return Ok(());
    };
    let lines = typed_lines();
    let mut hear = |patience| match lines.recv_timeout(patience) {
        Ok(line) => Heard::Line(line),
        Err(RecvTimeoutError::Timeout) => Heard::Nothing,
        Err(RecvTimeoutError::Disconnected) => Heard::Closed,
    };
    match ask(online.output, &trial, &mut hear)? {
        Answer::Keep => settle(true, &request, online),
        Answer::Back => settle(false, &request, online),
        Answer::None => {
            let line = online.output.paint("Nobody confirmed: the former config comes back.", Paint::Warn);
            online.output.line(&line)?;
            Err(Failure::Finding)
        }
    }
}

/// What the daemon is sent of a file: how it is called, and its text. Nothing named is the daemon's own file.
pub(super) fn named(file: Option<&std::path::Path>) -> Result<(Option<String>, Option<String>), Failure> {
    let Some(file) = file else { return Ok((None, None)) };
    let text = super::check::read(file)?;
    let full = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    Ok((Some(full.display().to_string()), Some(text)))
}

fn settle(confirmed: bool, request: &SettleRequest, online: &mut Online<'_, '_>) -> Done {
    let place = if confirmed { path::CONFIRM } else { path::REVERT };
    let settled: Settled = online.client.post(place, request)?;
    Ok(online.output.show(&settled, print_settled)?)
}

fn print(output: &mut Output<'_>, applied: &Applied) -> io::Result<()> {
    let line = match &applied.trial {
        None => format!(
            "The config is {} (generation {}).",
            output.paint("in force", Paint::Good),
            applied.generation
        ),
        Some(trial) => format!(
            "The config is {} until {} ({}), generation {}.",
            output.paint("on trial", Paint::Warn),
            output.moment(trial.until),
            left(trial.until, output.now()),
            applied.generation
        ),
    };
    output.sentence(&line)?;
    for change in &applied.changes {
        output.line(&format!("  {}", escape(change)))?;
    }
    super::ban::notes(output, &applied.notes)?;
    if applied.trial.is_some() {
        output.sentence("It goes back by itself unless you say `secctl apply --confirmed`.")?;
    }
    Ok(())
}

fn print_settled(output: &mut Output<'_>, settled: &Settled) -> io::Result<()> {
    let config = escape(&settled.config).into_owned();
    let line = if settled.confirmed {
        format!(
            "{}: the config stays (generation {}).",
            output.paint("Confirmed", Paint::Good),
            settled.generation
        )
    } else {
        format!(
            "{}: {config} is in force again (generation {}).",
            output.paint("Taken back", Paint::Warn),
            settled.generation
        )
    };
    output.sentence(&line)?;
    super::ban::notes(output, &settled.notes)
}

/// What came from the keyboard within a second.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Heard {
    Line(String),
    Nothing,
    Closed,
}

/// What the person decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Keep,
    Back,
    /// Said nothing until the end.
    None,
}

/// Counts down and listens: Enter or `yes` keeps it, `no` takes it back.
fn ask(
    output: &mut Output<'_>,
    trial: &Trial,
    hear: &mut dyn FnMut(Duration) -> Heard,
) -> io::Result<Answer> {
    const SECOND: Duration = Duration::from_secs(1);
    let mut seconds = trial.left_ms / 1000;
    loop {
        // Each line begins at the left again; blanks wipe what a longer number left.
        let line = format!("\rPress Enter to keep it, or type no: {seconds} s left  ");
        output.raw(line.as_bytes())?;
        output.flush()?;
        let answer = match hear(SECOND) {
            Heard::Line(line) => match line.trim().to_ascii_lowercase().as_str() {
                "" | "y" | "yes" => Some(Answer::Keep),
                "n" | "no" => Some(Answer::Back),
                _ => None,
            },
            // Who hung up cannot be asked.
            Heard::Closed => Some(Answer::None),
            Heard::Nothing if seconds == 0 => Some(Answer::None),
            Heard::Nothing => {
                seconds -= 1;
                None
            }
        };
        if let Some(answer) = answer {
            output.line("")?;
            return Ok(answer);
        }
    }
}

/// Lines as they are typed. The thread ends with the process.
fn typed_lines() -> std::sync::mpsc::Receiver<String> {
    let (heard, lines) = sync_channel(1);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if heard.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Environment;
    use model::Timestamp;

    fn asked(heard: &[Heard]) -> (Answer, String) {
        let environment = Environment { width: None, ..Environment::of_process() };
        let trial = Trial {
            until: Timestamp::from_seconds(1_790_000_003),
            left_ms: 2500,
            file: "new.toml".into(),
            user: "ada".into(),
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut heard = heard.iter().cloned();
        let mut output = Output::new(&mut out, &mut err, Format::Table, false, &environment);
        let answer = ask(&mut output, &trial, &mut |_| heard.next().unwrap_or(Heard::Nothing)).unwrap();
        (answer, String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_trial_is_kept_taken_back_or_left_to_end() {
        let line = |text: &str| Heard::Line(text.into());
        let (answer, seen) = asked(&[]);
        assert_eq!(answer, Answer::None);
        assert_eq!(seen.matches(" s left").count(), 3, "two seconds are counted down to nothing: {seen:?}");
        assert_eq!(asked(&[Heard::Nothing, line("")]).0, Answer::Keep);
        assert_eq!(asked(&[line("what"), line(" YES ")]).0, Answer::Keep);
        assert_eq!(asked(&[line("no")]).0, Answer::Back);
        assert_eq!(asked(&[Heard::Closed]).0, Answer::None);
    }
}
