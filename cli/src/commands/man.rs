//! `secctl man`.

use std::path::PathBuf;

use super::Done;
use crate::{failure::Failure, output::Output};

/// Write the manual pages, one per command
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Folder to write to; it is made if it is not there
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(crate) fn run(asked: &Arguments, output: &mut Output<'_>) -> Done {
    let failed = |error| Failure::file(&asked.folder, "write manual pages to", &error);
    std::fs::create_dir_all(&asked.folder).map_err(failed)?;
    clap_mangen::generate_to(crate::command(), &asked.folder).map_err(failed)?;
    output.line(&format!("The manual pages are in {}.", asked.folder.display()))?;
    Ok(())
}
