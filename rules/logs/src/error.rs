//! What is wrong with a definition file, and what to write instead.

/// One mistake in a filter or scenario file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}; {help}")]
pub struct FilterError {
    /// The file as it was named.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1, where it is known.
    pub column: Option<u32>,
    /// What is wrong.
    pub message: String,
    /// What to write.
    pub help: String,
}

/// Turns byte offsets of one file into places, and collects mistakes.
pub(crate) struct Reporter<'t> {
    file: &'t str,
    text: &'t str,
    pub(crate) errors: Vec<FilterError>,
}

impl<'t> Reporter<'t> {
    pub(crate) fn new(file: &'t str, text: &'t str) -> Self {
        Self { file, text, errors: Vec::new() }
    }

    /// Line and column of a byte offset, both from 1.
    pub(crate) fn place(&self, offset: usize) -> (u32, u32) {
        let before = self.text.get(..offset.min(self.text.len())).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }

    pub(crate) fn report(&mut self, offset: usize, message: impl Into<String>, help: impl Into<String>) {
        let (line, column) = self.place(offset);
        self.errors.push(FilterError {
            file: self.file.to_owned(),
            line,
            column: Some(column),
            message: message.into(),
            help: help.into(),
        });
    }
}
