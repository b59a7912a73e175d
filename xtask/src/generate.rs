//! `cargo xtask gen`: writes again what is generated from the code. The tests that check these files write them
//! when `SECD_REGENERATE` is set.

use crate::console;
use crate::suite::cargo;
use anyhow::Result;
use std::path::Path;

/// Regenerates everything and says which files are different now.
pub(crate) fn run(root: &Path) -> Result<()> {
    let step = console::Step::begin("generated documents");
    let mut command = cargo(root);
    command.args(["test", "-p", "config", "-p", "secctl"]).env("SECD_REGENERATE", "1");
    let outcome = console::quietly(root, "generate", &mut command);
    step.end(if outcome.is_ok() { "ok" } else { "failed" });
    outcome
}
