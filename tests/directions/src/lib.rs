//! Files of the project as tests look at them. Which crate may use which is checked by `cargo xtask test` over
//! `cargo metadata`; here is what stands in the files.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// The folder of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Files of the project, relative to `root`: what git tracks or would, and without git everything but build output.
///
/// # Errors
/// A folder cannot be read.
pub fn files(root: &Path) -> io::Result<Vec<PathBuf>> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output();
    if let Ok(listed) = listed
        && listed.status.success()
    {
        let names = String::from_utf8_lossy(&listed.stdout).into_owned();
        let exist = |path: &PathBuf| root.join(path).is_file();
        return Ok(names.split_terminator('\0').map(PathBuf::from).filter(exist).collect());
    }
    let (mut found, mut open) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let name = entry.file_name();
            if entry.file_type()?.is_dir() {
                if name != "target" && name != ".git" {
                    open.push(path);
                }
            } else {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// A line of Rust without its comment and without what stands in quotes. Good for looking for keywords; raw strings
/// and strings over several lines are not understood.
#[must_use]
pub fn code_of(line: &str) -> String {
    let (mut code, mut quoted, mut escaped) = (String::new(), false, false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '/' if !quoted && chars.peek() == Some(&'/') => break,
            // A quote as a character.
            '\'' if !quoted && chars.peek() == Some(&'"') => {
                chars.next();
            }
            _ if !quoted => code.push(c),
            _ => {}
        }
    }
    code
}

/// The code has this word, not as a part of a longer one.
#[must_use]
pub fn has_word(code: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}
