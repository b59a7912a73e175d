//! `classification.config`: `config classification: NAME,DESCRIPTION,PRIORITY`.

use std::collections::BTreeMap;

/// Classes by their short names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classification {
    classes: BTreeMap<String, (String, u8)>,
}

/// A line that could not be read; the others hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{file}:{line}: write `config classification: NAME,DESCRIPTION,PRIORITY` with a priority from 1 to 255"
)]
pub struct ClassificationError {
    /// The file.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
}

impl Classification {
    /// Reads a file's text.
    #[must_use]
    pub fn parse(text: &str, file: &str) -> (Self, Vec<ClassificationError>) {
        let (mut classes, mut errors) = (BTreeMap::new(), Vec::new());
        for (line, text) in (1_u32..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            match class(text) {
                Some((name, description, priority)) => {
                    classes.insert(name, (description, priority));
                }
                None => errors.push(ClassificationError { file: file.to_owned(), line }),
            }
        }
        (Self { classes }, errors)
    }

    /// Description and priority of a class.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<(&str, u8)> {
        self.classes.get(name).map(|(description, priority)| (description.as_str(), *priority))
    }
}

fn class(text: &str) -> Option<(String, String, u8)> {
    let fields = text.strip_prefix("config")?.trim_start().strip_prefix("classification:")?;
    let (name, rest) = fields.split_once(',')?;
    let (description, priority) = rest.rsplit_once(',')?;
    let priority = priority.trim().parse().ok().filter(|priority| *priority >= 1)?;
    Some((name.trim().to_ascii_lowercase(), description.trim().to_owned(), priority))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_wrong_lines() {
        let text = "# x\nconfig classification: Web-App,A web attack, really,1\nnonsense\n";
        let (classes, errors) = Classification::parse(text, "c");
        assert_eq!(classes.get("web-app"), Some(("A web attack, really", 1)));
        assert_eq!(errors.len(), 1);
        assert!(errors[0].to_string().starts_with("c:3: write"));
    }
}
