//! The lab's own program: `lab demo` plays the steps, prints the table, and stays up to be tried.

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use lab::{Goals, Lab, Own, Step, Waiter, cannot_run, play};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "lab", about = "secd in network namespaces with real programs")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Play the steps, print what was expected and seen, stay up until Ctrl-C
    Demo(Demo),
}

#[derive(Args)]
struct Demo {
    /// End after the table; fails if any step failed
    #[arg(long)]
    once: bool,
    /// Also write {steps:[{name,expected,seen,ok}]}
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Inspect this capture
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Judge this sshd log
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Load this list of domains or addresses
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Load these Suricata rules
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
}

fn main() -> ExitCode {
    let Command::Demo(demo) = Arguments::parse().command;
    match run(demo) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(demo: Demo) -> Result<()> {
    if let Some(why) = cannot_run() {
        bail!("{why}");
    }
    let waiter = Waiter::that_stops_at_signals()?;
    let own = Own {
        pcap: absolute(demo.pcap)?,
        log: absolute(demo.log)?,
        list: absolute(demo.list)?,
        rules: absolute(demo.rules)?,
    };
    println!("starting: namespaces, sshd, nginx, nsd, the Loki receiver, secd …");
    let mut lab = Lab::start(waiter.clone(), true, own)?;
    // Unoptimised programs are not what the goals are for.
    lab.goals = if cfg!(debug_assertions) { Goals::Told } else { Goals::Binding };
    let steps = play(&mut lab, |step| {
        println!(
            "  {} {} ({:.1} s)",
            if step.ok { "ok    " } else { "FAILED" },
            step.name,
            step.took.as_secs_f64()
        )
    });
    println!("{}", table(&steps));
    if let Some(path) = demo.json {
        let report = json!({ "steps": steps.iter().map(Step::json).collect::<Vec<_>>() });
        std::fs::write(&path, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let failed: Vec<&str> = steps.iter().filter(|step| !step.ok).map(|step| step.name.as_str()).collect();
    if !demo.once && !waiter.stopped() {
        print_commands(&lab)?;
        waiter.until_stopped();
        println!("taking everything down");
    }
    if !failed.is_empty() {
        keep_what_was_said(&lab);
        bail!("{} of {} steps did not hold: {}", failed.len(), steps.len(), failed.join(", "));
    }
    Ok(())
}

fn absolute(path: Option<PathBuf>) -> Result<Option<PathBuf>> {
    path.map(|path| path.canonicalize().with_context(|| format!("cannot read {}", path.display())))
        .transpose()
}

fn table(steps: &[Step]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    if !table.is_tty() {
        table.set_width(150);
    }
    table.set_header(["step", "expected", "seen", ""]);
    for step in steps {
        table.add_row([
            step.name.as_str(),
            step.expected.as_str(),
            step.seen.as_str(),
            if step.ok { "ok" } else { "FAILED" },
        ]);
    }
    table
}

fn print_commands(lab: &Lab) -> Result<()> {
    let secctl = lab.appliance.command_line();
    let outside = lab.network.host(lab::WAN)?.name();
    let home = lab.network.host(lab::HOME)?.name();
    println!("everything stays up until Ctrl-C. To try, in another terminal:");
    println!("  alias secctl='{secctl}'");
    println!("  secctl status; secctl decisions; secctl tail");
    if let Some(lists) = &lab.settings.lists {
        println!(
            "  ip netns exec {home} kdig @10.1.0.1 {} +edns; secctl why {}",
            lists.phishing_name.0, lists.phishing_name.0
        );
    }
    println!("  secctl why 'zone=iot src=10.40.0.9 dst=10.30.0.9 proto=tcp dport=445'");
    println!(
        "  secctl ban 203.0.113.80; ip netns exec {outside} curl -m 2 --interface 203.0.113.80 http://198.51.100.10/"
    );
    println!("  secctl unban 203.0.113.80");
    Ok(())
}

/// Puts the daemon's log where it stays after the lab is gone.
fn keep_what_was_said(lab: &Lab) {
    let kept = std::env::temp_dir().join("secd-demo.log");
    if std::fs::copy(lab.directory().join("secd.log"), &kept).is_ok() {
        eprintln!("what secd said: {}", kept.display());
    }
}
