//! The YAML file of AdGuard Home as a tree, within the limits of an import.

use crate::{
    ImportError,
    limits::{MAX_DEPTH, MAX_NODES, MAX_REPEATED_BYTES, MAX_TEXT_BYTES},
};
use ::yaml::{Kind, Limits};

pub(crate) use ::yaml::{NOTHING, Node, Value};

const LIMITS: Limits =
    Limits { bytes: MAX_TEXT_BYTES, nodes: MAX_NODES, repeated: MAX_REPEATED_BYTES, depth: MAX_DEPTH };

/// Reads a file.
///
/// # Errors
/// It is no YAML, has several documents, or more than the limits.
pub(crate) fn read(file: &str, bytes: &[u8]) -> Result<Node, ImportError> {
    ::yaml::read(bytes, &LIMITS).map_err(|mistake| {
        let help = match mistake.kind {
            Kind::TooLong => "put long rules into lists of their own and subscribe to them",
            Kind::NoText => "save the file as UTF-8, or take a new backup",
            Kind::Syntax | Kind::Documents | Kind::Key => "give AdGuardHome.yaml as AdGuard Home wrote it",
            Kind::Alias => "take the alias out",
            Kind::TooMuch => "take aliases out, and put long rules into a list of their own",
        };
        ImportError { line: mistake.line, ..ImportError::new(file, mistake.message, help) }
    })
}
