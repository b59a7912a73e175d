//! Files of own rules: one for each set of groups that they hold for, and for each way of writing them.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    names::{Names, comment, plain},
    settings::OwnList,
};

/// Own rules by their groups and format.
#[derive(Debug, Default)]
pub(crate) struct Own {
    texts: BTreeMap<(Vec<String>, &'static str), Vec<String>>,
}

impl Own {
    /// Adds a rule, under its comment.
    pub(crate) fn add(&mut self, groups: &[String], format: &'static str, rule: &str, said: &str) {
        let lines = self.texts.entry((groups.to_vec(), format)).or_default();
        let said = comment(said);
        if !said.is_empty() {
            lines.push(format!("{} {said}", mark(format)));
        }
        lines.push(rule.to_owned());
    }

    /// The files.
    pub(crate) fn finish(self, program: &str, names: &mut Names) -> Vec<OwnList> {
        let files = self.texts.into_iter().map(|((groups, format), lines)| {
            let kind = if format == "regex" { "regex" } else { "own" };
            let of = if groups == ["default"] { String::new() } else { format!("-{}", groups.join("-")) };
            let name = names.give(&plain(&format!("{program}-{kind}{of}")), "own");
            let mut text = String::new();
            // Writing to a string does not fail.
            let _ = writeln!(text, "{} {}", mark(format), first_line(program));
            for line in lines {
                text.push_str(&line);
                text.push('\n');
            }
            OwnList { name, text, format, groups }
        });
        files.collect()
    }
}

/// What begins a comment.
fn mark(format: &str) -> char {
    if format == "regex" { '#' } else { '!' }
}

/// What every file of ours says first; what does not say it is not written over.
pub(crate) fn first_line(program: &str) -> String {
    format!(
        "Own rules, written by `secctl import {program}`. Yours to edit; another import writes them anew."
    )
}

impl OwnList {
    /// Whether `text` is a file that an import wrote.
    #[must_use]
    pub fn is_ours(text: &[u8]) -> bool {
        let first = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let first = first.strip_prefix(b"! ").or_else(|| first.strip_prefix(b"# ")).unwrap_or_default();
        ["pihole", "adguard"].iter().any(|program| first == first_line(program).as_bytes())
    }
}
