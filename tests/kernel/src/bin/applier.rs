//! Puts plans in force as a daemon does, to be killed at any moment. `applier FOLDER swap` switches between two plans
//! for ever; `applier FOLDER trial PORT SECONDS` puts one on trial and waits.

use anyhow::{Context as _, Result, bail};
use enforce::xdp::{Dataplane, boot_now};
use kernel_tests::plans::{list, router};
use std::{env, io::Read as _, path::Path};

/// Prefixes of each list.
const LISTED: u32 = 2000;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [folder, "swap"] => swap(Path::new(folder)),
        [folder, "trial", port, seconds] => trial(Path::new(folder), port.parse()?, seconds.parse()?),
        _ => bail!("applier FOLDER swap | trial PORT SECONDS"),
    }
}

/// Both plans let port 80 in and keep 81 out; they differ in 82 and in a list.
fn swap(folder: &Path) -> Result<()> {
    let plans = [(82, 0x0b00_0000), (83, 0x5000_0000)].map(|(other, first)| {
        let mut plan = router(80);
        plan.rows.splice(0..0, router(other).rows.drain(2..4));
        plan.listed = list(first, LISTED).into();
        plan
    });
    let (mut dataplane, _) = Dataplane::open(folder)?;
    for plan in plans.iter().cycle() {
        let installed = dataplane.install(plan)?;
        println!("{}", installed.plan.generation);
    }
    Ok(())
}

fn trial(folder: &Path, port: u16, seconds: u64) -> Result<()> {
    let (mut dataplane, _) = Dataplane::open(folder)?;
    let deadline = boot_now() + seconds * 1_000_000_000;
    dataplane.install_until(&router(port), deadline)?;
    println!("{deadline}");
    std::io::stdin().read_exact(&mut [0]).context("wait to be killed")
}
