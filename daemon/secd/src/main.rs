//! `secd`: starts the appliance, follows signals and tells systemd how it is.

use anyhow::{Context, Result};
use clap::Parser;
use enforce::nft::{TABLE, Wall, WallState};
use sd_notify::NotifyState;
use secd::{api, appliance::Appliance, flags::Flags, sandbox, trial::ConfigFiles};
use std::{
    os::unix::net::{UnixListener, UnixStream},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Threads of the runtime: one more than a packet's way needs, so that a slow list never stops the answers.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    let flags = Flags::parse();
    if flags.detach {
        return detach(&flags);
    }
    if flags.early {
        return early(&flags);
    }
    let from_systemd = std::env::var_os("JOURNAL_STREAM").is_some();
    let filter = EnvFilter::try_from_env("SECD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    if from_systemd {
        log.without_time().with_ansi(false).init();
    } else {
        log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
    }
    match start(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(flags: Flags) -> Result<()> {
    let listener = api::listen(&flags.socket, socket_group(&flags))
        .with_context(|| format!("the control socket {} cannot be made", flags.socket.display()))?;
    // Loading needs what is kept, and nothing else does: so the rest goes before the first thread.
    sandbox::drop_capabilities().context("capabilities could not be dropped")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    runtime.block_on(run(flags, listener))
}

async fn run(flags: Flags, listener: UnixListener) -> Result<()> {
    let (mut hangup, mut terminate, mut interrupt) =
        (signal(SignalKind::hangup())?, signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let socket = flags.socket.clone();
    let appliance = Appliance::start(flags).await?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(api::serve(listener, Arc::clone(&appliance), async {
        stopped.await.ok();
    }));
    notify(&[NotifyState::Ready]);
    tokio::spawn(watchdog(Arc::clone(&appliance)));
    loop {
        tokio::select! {
            _ = hangup.recv() => {
                notify(&[NotifyState::Reloading, NotifyState::monotonic_usec_now()?]);
                match appliance.reload("SIGHUP").await {
                    Ok(reloaded) => tracing::info!("reloaded: {}", reloaded.changes.join(", ")),
                    Err((_, reply)) => {
                        tracing::error!("{}", reply.error.message);
                        for problem in &reply.error.problems {
                            tracing::error!("{}", secd::appliance::problem_line(problem));
                        }
                    }
                }
                notify(&[NotifyState::Ready]);
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    notify(&[NotifyState::Stopping]);
    stop.send(()).ok();
    // Readers that follow the events would keep the socket open for ever.
    tokio::time::timeout(Duration::from_secs(1), served).await.ok();
    appliance.stop().await;
    std::fs::remove_file(&socket).ok();
    Ok(())
}

/// Closes what is to be closed until the daemon is up.
fn early(flags: &Flags) -> ExitCode {
    let file = ConfigFiles::new(&flags.config, &flags.state_dir).early();
    let transaction = match std::fs::read(&file) {
        Ok(transaction) => transaction,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("secd has put no policy in force yet: nothing is closed");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("error: {}: {error}", file.display());
            return ExitCode::FAILURE;
        }
    };
    match Wall::default().raise_early(transaction) {
        Ok(true) => println!("made the nftables table inet {TABLE} from {}", file.display()),
        Ok(false) => println!("the nftables table inet {TABLE} is there already"),
        Err(error) => {
            eprintln!("error: {}: {error}", file.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Takes away what a daemon left in the kernel, without its config and even where it cannot start. Both walls are
/// tried, whatever becomes of the other.
fn detach(flags: &Flags) -> ExitCode {
    if UnixStream::connect(&flags.socket).is_ok() {
        eprintln!(
            "error: secd runs and holds what it attached: use `secctl detach --yes`, or stop secd first"
        );
        return ExitCode::FAILURE;
    }
    let mut code = ExitCode::SUCCESS;
    match enforce::xdp::detach_all(&flags.bpffs) {
        Ok(0) => println!("nothing was pinned in {}", flags.bpffs.display()),
        Ok(removed) => {
            println!("removed {removed} pinned programs, links and maps from {}", flags.bpffs.display());
        }
        Err(error) => {
            eprintln!("error: {error}");
            code = ExitCode::FAILURE;
        }
    }
    let mut wall = Wall::default();
    // Only to say what was there: it is removed also where that cannot be found out.
    let missing = matches!(wall.check(), Ok(WallState::Missing));
    match wall.remove() {
        Ok(()) if missing => println!("there was no nftables table inet {TABLE}"),
        Ok(()) => println!("removed the nftables table inet {TABLE}"),
        Err(error) => {
            eprintln!("error: {error}");
            code = ExitCode::FAILURE;
        }
    }
    code
}

/// Tells systemd that the daemon lives, as long as it can look into its own state.
async fn watchdog(appliance: Arc<Appliance>) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let mut tick = tokio::time::interval(limit / 3);
    loop {
        tick.tick().await;
        if tokio::time::timeout(limit / 3, appliance.status()).await.is_ok() {
            notify(&[NotifyState::Watchdog]);
        }
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}

/// The group that the config names for the control socket. One that is not there must not keep the router from starting.
fn socket_group(flags: &Flags) -> Option<u32> {
    let text = std::fs::read_to_string(&flags.config).ok()?;
    let name = config::parse("", &text).ok()?.api.group?;
    let group = nix::unistd::Group::from_name(&name).ok().flatten();
    if group.is_none() {
        tracing::error!(
            "[api] group: there is no group {name} on this machine; only root may use the control socket"
        );
    }
    Some(group?.gid.as_raw())
}
