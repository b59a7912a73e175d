//! A file per command.

pub(crate) mod allow;
pub(crate) mod apply;
pub(crate) mod audit;
pub(crate) mod ban;
pub(crate) mod bouncers;
pub(crate) mod capture;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod decisions;
pub(crate) mod detach;
pub(crate) mod device;
pub(crate) mod diff;
pub(crate) mod dns;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod flows;
pub(crate) mod import;
pub(crate) mod inspect;
pub(crate) mod lists;
pub(crate) mod logs;
pub(crate) mod machines;
pub(crate) mod man;
mod many;
pub(crate) mod mode;
pub(crate) mod reload;
pub(crate) mod rules;
pub(crate) mod status;
pub(crate) mod tail;
pub(crate) mod top;
pub(crate) mod unban;
pub(crate) mod undo;
pub(crate) mod why;

use crate::{
    Environment,
    arguments::{Arguments, Command},
    client::Client,
    failure::Failure,
    output::{Field, Output, Paint, painted},
};
use model::{ClientName, Mode, Target};
use std::net::{IpAddr, SocketAddr};

/// Where the config is unless a command is told otherwise.
pub(crate) const DEFAULT_CONFIG: &str = "/etc/secd/secd.toml";

/// What most commands return.
pub(crate) type Done = Result<(), Failure>;

/// What a command that asks the daemon has at hand.
pub(crate) struct Online<'a, 'b> {
    pub(crate) client: Client,
    pub(crate) environment: &'a Environment,
    pub(crate) output: &'a mut Output<'b>,
}

/// Runs the command.
pub(crate) fn run(arguments: Arguments, environment: &Environment, output: &mut Output<'_>) -> Done {
    let mut online = |command: &dyn Fn(&mut Online<'_, '_>) -> Done| {
        let client = Client::new(&arguments.socket, environment.patience)?;
        command(&mut Online { client, environment, output })
    };
    match arguments.command {
        Command::Status => online(&status::run),
        Command::Why(asked) => online(&|online| why::run(&asked, online)),
        Command::Ban(asked) => online(&|online| ban::run(&asked, online)),
        Command::Unban(asked) => online(&|online| unban::run(&asked, online)),
        Command::Allow(asked) => online(&|online| allow::run(&asked, online)),
        Command::Decisions(asked) => online(&|online| decisions::run(&asked, online)),
        Command::Bouncers(asked) => online(&|online| bouncers::run(&asked, online)),
        Command::Machines(asked) => online(&|online| machines::run(&asked, online)),
        Command::Audit(asked) => online(&|online| audit::run(&asked, online)),
        Command::Undo(asked) => online(&|online| undo::run(&asked, online)),
        Command::Lists(asked) => online(&|online| lists::run(&asked, online)),
        Command::Device(asked) => online(&|online| device::run(&asked, online)),
        Command::Dns(asked) => {
            if asked.is_offline() {
                dns::services::run(output)
            } else {
                online(&|online| dns::run(&asked, online))
            }
        }
        Command::Rules(asked) => online(&|online| rules::run(&asked, online)),
        Command::Top(asked) => online(&|online| top::run(&asked, online)),
        Command::Flows(asked) => online(&|online| flows::run(&asked, online)),
        Command::Capture(asked) => online(&|online| capture::run(&asked, online)),
        Command::Doctor(asked) => online(&|online| doctor::run(&asked, online)),
        Command::Tail(asked) => online(&|online| tail::run(&asked, online)),
        Command::Mode(asked) => online(&|online| mode::run(&asked, online)),
        Command::Reload => online(&reload::run),
        Command::Apply(asked) => online(&|online| apply::run(&asked, online)),
        Command::Diff(asked) => online(&|online| diff::run(&asked, online)),
        Command::Detach(asked) => online(&|online| detach::run(&asked, online)),
        Command::Explain(asked) => explain::run(&asked, output),
        Command::Check(asked) => check::run(&asked, output),
        Command::Config(asked) => config::run(&asked, output),
        Command::Import(asked) => import::run(&asked, output),
        Command::Inspect(asked) => inspect::run(&asked, output),
        Command::Logs(asked) => {
            if asked.is_offline() {
                logs::run(&asked, environment, output)
            } else {
                online(&|online| logs::online(&asked, online))
            }
        }
        Command::Completions(asked) => completions::run(&asked, output),
        Command::Man(asked) => man::run(&asked, output),
    }
}

/// A target, for one client of the resolver alone where one is named.
fn target(target: &Target, client: Option<&ClientName>) -> Result<Target, Failure> {
    match client {
        None => Ok(target.clone()),
        Some(client) => target
            .clone()
            .for_client(client.clone())
            .ok_or_else(|| usage("`--client` is for names: an address is the same for everybody".into())),
    }
}

/// A wrong command line, with what is wrong.
fn usage(message: String) -> Failure {
    Failure::Usage { message, help: None }
}

/// A mode as a cell.
fn mode_field(mode: Mode) -> Field {
    match mode {
        Mode::Enforce => painted("enforce", Paint::Good),
        Mode::Observe => painted("observe", Paint::Warn),
    }
}

/// `ok`, or what is wrong.
fn state(error: Option<&str>) -> Field {
    match error {
        None => painted("ok", Paint::Good),
        Some(error) => painted(error, Paint::Bad),
    }
}

/// `10.3.0.2:445`, `[2001:db8::1]:443`; for ICMP, whose destination port is type * 256 + code, `10.3.0.2 8/0`.
fn endpoint(address: IpAddr, port: u16, protocol: &str, source: bool) -> String {
    match protocol {
        "icmp" | "icmpv6" if source => address.to_string(),
        "icmp" | "icmpv6" => format!("{address} {}/{}", port >> 8, port & 0xff),
        _ if port == 0 => address.to_string(),
        _ => SocketAddr::new(address, port).to_string(),
    }
}
