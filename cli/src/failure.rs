//! Why a command did not do what it was asked, what it says about it, and the exit code.

use protocol::{ErrorBody, ErrorReply};
use std::io;

use crate::{
    output::{Format, Output, Paint},
    text,
};

/// A finding, or the daemon refused.
pub(crate) const FINDING: u8 = 1;
/// The command line, or a file it names, is wrong.
pub(crate) const USAGE: u8 = 2;
/// The daemon cannot be reached or understood.
pub(crate) const UNREACHABLE: u8 = 3;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is a finding, and it has been printed.
    Finding,
    /// The daemon answered that it will not.
    Refused(ErrorBody),
    /// The command line, or a file it names, is wrong.
    Usage { message: String, help: Option<String> },
    /// The daemon cannot be reached or understood.
    Unreachable { message: String, help: String },
    /// The output cannot be written.
    Output(io::Error),
}

impl Failure {
    /// A file that cannot be used.
    pub(crate) fn file(path: &std::path::Path, doing: &str, error: &io::Error) -> Self {
        Self::Usage { message: format!("cannot {doing} {}: {error}", path.display()), help: None }
    }

    /// Prints the failure and returns the exit code.
    pub(crate) fn tell(self, output: &mut Output<'_>) -> u8 {
        let (code, body) = match self {
            Self::Finding => return FINDING,
            // Whoever read our output has had enough.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return 0,
            Self::Output(error) => {
                (FINDING, ErrorReply::new(format!("cannot write the output: {error}"), None).error)
            }
            Self::Refused(body) => (FINDING, body),
            Self::Usage { message, help } => (USAGE, ErrorReply::new(message, help.as_deref()).error),
            Self::Unreachable { message, help } => (UNREACHABLE, ErrorReply::new(message, Some(&help)).error),
        };
        // Nothing is left to do where even this cannot be written.
        let _ = print(body, output);
        code
    }
}

fn print(body: ErrorBody, output: &mut Output<'_>) -> io::Result<()> {
    if output.format() == Format::Json {
        return output.aside(&text::json_line(&ErrorReply { error: body })?);
    }
    let line = format!("{} {}", output.paint("error:", Paint::Bad), text::escape(&body.message));
    output.aside(&line)?;
    for problem in &body.problems {
        let (file, message) = (text::escape(&problem.file), text::escape(&problem.message));
        output.aside(&format!("  {file}:{}:{}: {message}", problem.line, problem.column))?;
        if let Some(help) = &problem.help {
            output.aside(&format!("      {}", text::escape(help)))?;
        }
    }
    if let Some(help) = &body.help {
        let line = format!("  {} {}", output.paint("help:", Paint::Title), text::escape(help));
        output.aside(&line)?;
    }
    Ok(())
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}
