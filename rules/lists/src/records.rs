//! A file as records: the text of each entry, its line, and its score where the format says where that stands.

use crate::{
    ListError,
    format::{Column, Format},
    json,
    limits::{MAX_COLUMNS, MAX_LINE_BYTES},
    text::{self, Line},
};

/// An entry as the file writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// The line, or the text of the column or field as if it were one.
    pub(crate) line: Line<'a>,
    /// The score's text, where the format is a table or JSON and names its place.
    pub(crate) score: Option<&'a str>,
}

/// Whoever takes what the file gives.
pub(crate) trait Sink {
    /// An entry.
    fn record(&mut self, record: Record<'_>);
    /// A part of the file that holds no entry where one should be.
    fn reject(&mut self, line: u32, text: &[u8], why: String);
    /// Forgets everything: the file is read again in another way.
    fn restart(&mut self);
}

/// Reads all records; returns the number of lines.
pub(crate) fn read(bytes: &[u8], format: &Format, sink: &mut impl Sink) -> Result<u32, ListError> {
    let bytes = text::check(bytes)?;
    match format {
        Format::Auto
        | Format::Plain
        | Format::Score
        | Format::Hosts
        | Format::Adblock
        | Format::Dnsmasq
        | Format::Rpz => {
            text::refuse_documents(bytes)?;
            Ok(lines(bytes, sink))
        }
        // An expression may begin as JSON does.
        Format::Regex => {
            text::refuse_pages(bytes)?;
            Ok(lines(bytes, sink))
        }
        Format::Csv { column, score } => {
            text::refuse_documents(bytes)?;
            table(bytes, column, score.as_ref(), sink)
        }
        Format::Json { path, score } => json::read(bytes, path, score.as_deref(), sink),
    }
}

/// A record for each line.
fn lines(bytes: &[u8], sink: &mut impl Sink) -> u32 {
    let mut count = 0;
    for line in text::lines(bytes) {
        count = line.number;
        sink.record(Record { line, score: None });
    }
    count
}

/// The places of the wanted columns, from 0; none until the header is seen.
struct Places {
    column: Option<usize>,
    score: Option<usize>,
}

fn table(
    bytes: &[u8],
    column: &Column,
    score: Option<&Column>,
    sink: &mut impl Sink,
) -> Result<u32, ListError> {
    let by_number = |column: &Column| match column {
        Column::Number(number) => Some(usize::from(*number) - 1),
        Column::Name(_) => None,
    };
    let mut places = Places { column: by_number(column), score: score.and_then(by_number) };
    let mut row = Row::new();
    let mut is_first = true;
    let mut count = 0;
    for line in text::lines(bytes) {
        count = line.number;
        let waits = places.column.is_none() || (score.is_some() && places.score.is_none());
        if text::is_comment(line.text) {
            // The header of many a table is its last comment.
            if waits && !line.too_long {
                let bare = line.text.iter().position(|byte| !b"#!;/ \t".contains(byte)).unwrap_or(0);
                row.split(&line.text[bare..]);
                row.header(&mut places, column, score);
            }
            continue;
        }
        if line.too_long {
            sink.reject(line.number, line.text, format!("the line is longer than {MAX_LINE_BYTES} bytes"));
            continue;
        }
        row.split(line.text);
        if waits {
            row.header(&mut places, column, score);
            if places.column.is_none() || (score.is_some() && places.score.is_none()) {
                let wanted = if places.column.is_none() { Some(column) } else { score };
                return Err(ListError::NoField { field: wanted.map_or(String::new(), Column::to_string) });
            }
            is_first = false;
            continue;
        }
        let was_first = std::mem::take(&mut is_first);
        match places.column.and_then(|at| row.field(at)) {
            // A header line: the column of addresses or names is headed by a word.
            Some(field) if was_first && !field.iter().any(|byte| b".:".contains(byte)) => {}
            Some(field) => {
                let score =
                    places.score.and_then(|at| row.field(at)).map(|text| str::from_utf8(text).unwrap_or("?"));
                let line =
                    Line { number: line.number, text: field.trim_ascii(), too_long: false, indented: false };
                sink.record(Record { line, score });
            }
            None => {
                let why = format!("the line has {} columns, the wanted one is `{column}`", row.fields);
                sink.reject(line.number, line.text, why);
            }
        }
    }
    Ok(count)
}

/// What may stand between two columns.
const SEPARATORS: [u8; 4] = *b",;\t|";

/// One line of a table, split.
struct Row {
    /// One for each of [`SEPARATORS`]: to make one costs as much as to read a thousand lines.
    readers: [csv_core::Reader; SEPARATORS.len()],
    text: Vec<u8>,
    ends: [usize; MAX_COLUMNS],
    fields: usize,
}

impl Row {
    fn new() -> Self {
        let reader = |separator| csv_core::ReaderBuilder::new().delimiter(separator).build();
        Self {
            readers: SEPARATORS.map(reader),
            text: vec![0; MAX_LINE_BYTES + 1],
            ends: [0; MAX_COLUMNS],
            fields: 0,
        }
    }

    /// Splits a line at the separator it holds most of; columns beyond [`MAX_COLUMNS`] are not seen.
    fn split(&mut self, line: &[u8]) {
        let times = SEPARATORS.map(|separator| memchr::memchr_iter(separator, line).count());
        let best = (0..SEPARATORS.len()).rev().max_by_key(|&at| times[at]).unwrap_or(0);
        let reader = &mut self.readers[best];
        reader.reset();
        let (mut rest, mut at) = (line, 0);
        self.fields = 0;
        while self.fields < MAX_COLUMNS && at <= self.text.len() {
            // No input left: the reader ends the last field.
            let (result, read, written) = reader.read_field(rest, &mut self.text[at..]);
            rest = &rest[read..];
            at += written;
            match result {
                csv_core::ReadFieldResult::Field { record_end } => {
                    self.ends[self.fields] = at;
                    self.fields += 1;
                    if record_end {
                        return;
                    }
                }
                csv_core::ReadFieldResult::InputEmpty => {}
                csv_core::ReadFieldResult::OutputFull | csv_core::ReadFieldResult::End => return,
            }
        }
    }

    fn field(&self, at: usize) -> Option<&[u8]> {
        let end = *self.ends.get(..self.fields)?.get(at)?;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.text.get(start..end)
    }

    /// Looks for the columns that are wanted by name.
    fn header(&self, places: &mut Places, column: &Column, score: Option<&Column>) {
        let find = |wanted: &Column| match wanted {
            Column::Number(_) => None,
            Column::Name(name) => (0..self.fields).find(|&at| {
                self.field(at).is_some_and(|field| field.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
            }),
        };
        places.column = places.column.or_else(|| find(column));
        places.score = places.score.or_else(|| score.and_then(find));
    }
}
