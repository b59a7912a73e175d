//! One run of the `nft` program, bounded in time and output.

use std::{
    io::{self, Read, Write},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::{Duration, Instant},
};

/// Bytes of output that are read; a table of secd's largest policy is a few megabytes. What comes after is an error.
pub const MAX_OUTPUT: u64 = 64 * 1024 * 1024;
/// Bytes of an error text that are kept.
const MAX_MESSAGE: usize = 2000;

/// Why a run of nft failed.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// The program is not there.
    #[error("`{program}` is not installed; install nftables (Debian: `apt-get install nftables`)")]
    Missing {
        /// What was started.
        program: String,
    },
    /// The program could not be started or spoken to.
    #[error("cannot {doing} `{program}`")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What was started.
        program: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// It did not end in time and was killed.
    #[error("`{program}` did not end within {deadline:?} and was killed; the ruleset is as it was before")]
    Late {
        /// What was started.
        program: String,
        /// How long it had.
        deadline: Duration,
    },
    /// It refused.
    #[error("nft refused: {message}")]
    Refused {
        /// What it said, cut.
        message: String,
    },
    /// The policy is too large for it.
    #[error("{count} {what}, and nft takes {limit} in time; {help}")]
    TooMany {
        /// What is counted, in the plural.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
        /// What to do about it.
        help: &'static str,
    },
    /// There is nothing on trial, any more or at all.
    #[error("no policy is on trial in nftables; its time is over, or it was taken back")]
    NoTrial,
    /// There is nothing a trial could go back to.
    #[error(
        "nftables holds no policy of this process that a trial could go back to; apply one for good first"
    )]
    NothingBefore,
    /// It printed something that cannot be read.
    #[error("nft printed what cannot be read: {message}")]
    Unreadable {
        /// What is wrong with it.
        message: String,
    },
}

/// Runs `program` with `arguments` and `input`, returns what it printed.
///
/// # Errors
/// [`NftError`]: missing, refused, late, or more output than [`MAX_OUTPUT`].
pub(super) fn run(
    program: &Path,
    arguments: &[&str],
    input: Vec<u8>,
    deadline: Duration,
) -> Result<Vec<u8>, NftError> {
    let name = program.display().to_string();
    let io_error = |doing| {
        let program = name.clone();
        move |source| NftError::Io { doing, program, source }
    };
    let started = Instant::now();
    let left = || deadline.saturating_sub(started.elapsed());
    let mut child = start(program, arguments).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => NftError::Missing { program: name.clone() },
        _ => io_error("start")(source),
    })?;
    let mut stdin = child.stdin.take();
    // Nobody waits for the writer: it ends when nft has read everything, or with a broken pipe when nft is gone.
    thread::spawn(move || stdin.as_mut().map(|pipe| pipe.write_all(&input)));
    let output = read_all(child.stdout.take());
    let message = read_all(child.stderr.take());
    let collected = receive(&output, left()).and_then(|out| receive(&message, left()).map(|err| (out, err)));
    let late = || NftError::Late { program: name.clone(), deadline };
    let Some((output, message)) = collected else {
        end(&mut child);
        return Err(late());
    };
    let Some(status) = wait(&mut child, left) else {
        end(&mut child);
        return Err(late());
    };
    let output = output.map_err(io_error("read from"))?;
    if !status.success() {
        let message = message.map_err(io_error("read from"))?;
        let message: String = String::from_utf8_lossy(&message).trim().chars().take(MAX_MESSAGE).collect();
        return Err(NftError::Refused {
            message: if message.is_empty() { status.to_string() } else { message },
        });
    }
    if output.len() as u64 > MAX_OUTPUT {
        return Err(NftError::Unreadable { message: format!("more than {MAX_OUTPUT} bytes") });
    }
    Ok(output)
}

/// Starts the program. A bare name is looked for in the system's own folders as well, which the PATH of a person who
/// became root does not always have.
fn start(program: &Path, arguments: &[&str]) -> io::Result<Child> {
    let mut places = vec![program.to_owned()];
    if program.components().count() == 1 {
        places.extend(["/usr/sbin", "/sbin"].map(|folder| Path::new(folder).join(program)));
    }
    let mut missing = io::Error::from(io::ErrorKind::NotFound);
    for place in places {
        let mut command = Command::new(place);
        command.args(arguments).env("LC_ALL", "C");
        match command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing = error,
            started => return started,
        }
    }
    Err(missing)
}

type Collected = Receiver<io::Result<Vec<u8>>>;

/// Reads a pipe to its end, or to one byte past the limit, on a thread of its own.
fn read_all(pipe: Option<impl Read + Send + 'static>) -> Collected {
    let (sender, receiver) = sync_channel(1);
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let result = pipe.map_or(Ok(0), |pipe| pipe.take(MAX_OUTPUT + 1).read_to_end(&mut bytes));
        // The receiver may have given up already.
        let _ = sender.send(result.map(|_| bytes));
    });
    receiver
}

fn receive(collected: &Collected, left: Duration) -> Option<io::Result<Vec<u8>>> {
    match collected.recv_timeout(left) {
        Ok(result) => Some(result),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => Some(Ok(Vec::new())),
    }
}

/// Waits for a child whose pipes are closed, so at its end but for its exit.
fn wait(child: &mut Child, left: impl Fn() -> Duration) -> Option<ExitStatus> {
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if left().is_zero() {
            return None;
        }
        thread::park_timeout(Duration::from_millis(1));
    }
}

fn end(child: &mut Child) {
    // It may have ended in between; then there is nothing to kill, and waiting only takes its status.
    let _ = child.kill();
    let _ = child.wait();
}
