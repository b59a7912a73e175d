//! `cargo xtask gen`: writes again what is generated from the code and kept in the repository (man pages and
//! completions are not: `cargo xtask deb` makes them). The tests that check these files write them when
//! `SECD_REGENERATE` is set.

use crate::console;
use crate::suite::cargo;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Regenerates everything and says which files are different now.
pub(crate) fn run(root: &Path) -> Result<()> {
    let folder = root.join("docs/reference");
    let before = contents(&folder)?;
    let step = console::Step::begin("generated documents");
    let mut command = cargo(root);
    command.args(["test", "-p", "config", "--test", "shipped"]).env("SECD_REGENERATE", "1");
    let outcome = console::quietly(root, "generate", &mut command);
    step.end(if outcome.is_ok() { "ok" } else { "failed" });
    outcome?;
    let after = contents(&folder)?;
    let changed: Vec<&str> = after
        .iter()
        .filter(|(name, bytes)| before.get(*name) != Some(*bytes))
        .map(|(name, _)| name.as_str())
        .collect();
    if changed.is_empty() {
        println!("{} files, all current", after.len());
    } else {
        println!("different now in docs/reference: {}", changed.join(", "));
    }
    Ok(())
}

/// The files of a folder by name.
fn contents(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .map(|entry| {
            let entry = entry?;
            Ok((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?))
        })
        .collect()
}
