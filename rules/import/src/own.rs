//! Files of own rules: one for each set of groups that they hold for, and for each way of writing them.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    limits::MAX_OWN_FILES,
    names::{Names, comment, plain},
    report::Report,
    settings::OwnList,
    tidy,
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

    /// The files, at most [`MAX_OWN_FILES`]: the rules for the group `default`, then the longest.
    pub(crate) fn finish(mut self, program: &str, names: &mut Names, report: &mut Report) -> Vec<OwnList> {
        let mut sizes: Vec<_> = self
            .texts
            .iter()
            .map(|(key, lines)| ((key.0 != ["default"], std::cmp::Reverse(lines.len())), key.clone()))
            .collect();
        sizes.sort();
        for (_, key) in sizes.into_iter().skip(MAX_OWN_FILES) {
            let mut lines = self.texts.remove(&key).unwrap_or_default();
            lines.retain(|line| !line.starts_with(mark(key.1)));
            lines.iter().for_each(|line| report.give_back(tidy::kind(program, key.1, line)));
            report.leave(
                format!("{} own rules for {}", lines.len(), key.0.join(", ")),
                format!("there are rules for more than {MAX_OWN_FILES} different sets of groups"),
                "write them into `deny` and `allow` of the groups, or give them to fewer sets of groups in the old program",
            );
        }
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
