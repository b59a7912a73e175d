//! Printing: JSON for programs, or lines and tables that fit the width and are coloured on a terminal only.

use comfy_table::{Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Table, Width, presets};
use jiff::tz::TimeZone;
use model::Timestamp;
use serde::Serialize;
use std::io::{self, Write};

use crate::{Environment, text};

/// Longest text of a column that is never broken, unless it is less than a third of the width.
const WHOLE: usize = 24;

/// Longest word that is not broken: an IPv4 address with its port.
const UNBROKEN: usize = 21;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Lines and tables for people
    #[default]
    Table,
    /// JSON with a stable schema
    Json,
}

/// What a piece of text says, for its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Title,
    Quiet,
    Good,
    Warn,
    Bad,
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    title: &'static str,
    right: bool,
    least_width: u16,
    whole: bool,
}

/// A cell: text from anywhere, escaped when it is printed.
pub(crate) type Field = (String, Paint);

/// Where results go.
pub(crate) struct Output<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    format: Format,
    color: bool,
    width: Option<u16>,
    now: Timestamp,
    zone: TimeZone,
}

impl Column {
    /// A column of text.
    pub(crate) const fn new(title: &'static str) -> Self {
        Self { title, right: false, least_width: 0, whole: false }
    }

    /// Numbers: to the right, never broken.
    pub(crate) const fn right(mut self) -> Self {
        self.right = true;
        self.whole = true;
        self
    }

    /// Never broken over lines: what people copy.
    pub(crate) const fn whole(mut self) -> Self {
        self.whole = true;
        self
    }

    /// Left out on narrower terminals; JSON has it always.
    pub(crate) const fn wide(mut self, least: u16) -> Self {
        self.least_width = least;
        self
    }
}

impl<'a> Output<'a> {
    pub(crate) fn new(
        out: &'a mut dyn Write,
        err: &'a mut dyn Write,
        format: Format,
        color: bool,
        environment: &Environment,
    ) -> Self {
        Self {
            out,
            err,
            format,
            color,
            width: environment.width,
            now: environment.now,
            zone: environment.zone.clone(),
        }
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    pub(crate) fn colored(&self) -> bool {
        self.color
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// `2026-11-23 04:59:58 CET`.
    pub(crate) fn moment(&self, at: Timestamp) -> String {
        text::moment(at, &self.zone)
    }

    /// `04:59:58`.
    pub(crate) fn clock(&self, at: Timestamp) -> String {
        text::clock(at, &self.zone)
    }

    /// Prints `value` as JSON, or as `people` does.
    pub(crate) fn show<T: Serialize>(
        &mut self,
        value: &T,
        people: impl FnOnce(&mut Self, &T) -> io::Result<()>,
    ) -> io::Result<()> {
        match self.format {
            Format::Json => {
                let json = text::json(value)?;
                writeln!(self.out, "{json}")
            }
            Format::Table => people(self, value),
        }?;
        self.out.flush()
    }

    /// Prints one line. `line` is our own words: data in it has been escaped.
    pub(crate) fn line(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.out, "{line}")
    }

    /// Prints text that was made for a file: completions, schema, reference.
    pub(crate) fn raw(&mut self, text: &[u8]) -> io::Result<()> {
        self.out.write_all(text)
    }

    /// Prints a line beside the results, on standard error.
    pub(crate) fn aside(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.err, "{line}")
    }

    /// Whatever has been printed is seen now.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// `text`, escaped and coloured if colours are wanted.
    pub(crate) fn paint(&self, text: &str, paint: Paint) -> String {
        let escaped = text::escape(text);
        let code = match paint {
            Paint::Plain => return escaped.into_owned(),
            Paint::Title => "1",
            Paint::Quiet => "2",
            Paint::Good => "32",
            Paint::Warn => "33",
            Paint::Bad => "31;1",
        };
        if self.color { format!("\u{1b}[{code}m{escaped}\u{1b}[0m") } else { escaped.into_owned() }
    }

    /// Prints a table as wide as the terminal allows: columns that need more are left out, text is wrapped.
    pub(crate) fn table(&mut self, columns: &[Column], rows: Vec<Vec<Field>>) -> io::Result<()> {
        let width = self.width.unwrap_or(u16::MAX);
        let shown: Vec<bool> = columns.iter().map(|column| column.least_width <= width).collect();
        let pick = |cells: Vec<Cell>| -> Vec<Cell> {
            cells.into_iter().zip(&shown).filter_map(|(cell, shown)| shown.then_some(cell)).collect()
        };
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        match self.width {
            Some(width) => {
                table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
            }
            None => {
                table.set_content_arrangement(ContentArrangement::Disabled);
            }
        }
        if self.color {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_header(pick(columns.iter().map(|column| self.cell(column.title, Paint::Title)).collect()));
        for row in &rows {
            table.add_row(pick(row.iter().map(|(text, paint)| self.cell(text, *paint)).collect()));
        }
        let kept = (0..columns.len()).filter(|place| shown[*place]);
        for (place, number) in kept.enumerate() {
            let column = columns[number];
            let content =
                || rows.iter().filter_map(|row| row.get(number)).map(|(text, _)| text::escape(text));
            if let Some(cells) = table.column_mut(place) {
                cells.set_padding(if place == 0 { (0, 1) } else { (1, 1) });
                if column.right {
                    cells.set_cell_alignment(CellAlignment::Right);
                }
                let longest = content().map(|text| text.chars().count()).max().unwrap_or(0);
                if column.whole && longest <= WHOLE.max(usize::from(width) / 3) {
                    cells.set_constraint(ColumnConstraint::ContentWidth);
                } else {
                    let word = content()
                        .flat_map(|text| text.split(' ').map(|word| word.chars().count()).max())
                        .max();
                    let least = word.unwrap_or(0).max(column.title.len()).min(UNBROKEN);
                    // The constraint counts the padding.
                    let padding = if place == 0 { 1 } else { 2 };
                    let least = u16::try_from(least + padding).unwrap_or(u16::MAX);
                    cells.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least)));
                }
            }
        }
        for line in table.lines() {
            writeln!(self.out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    /// Prints facts under each other, `indent` from the left: a name, and what is to say about it.
    pub(crate) fn facts(&mut self, indent: usize, facts: &[(&str, Field)]) -> io::Result<()> {
        let longest = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let before = indent + longest + 2;
        for (name, (text, paint)) in facts {
            let mut name = self.paint(&format!("{name:<longest$}"), Paint::Title);
            for line in self.wrap(text, before) {
                writeln!(self.out, "{:indent$}{name}  {}", "", self.paint(&line, *paint))?;
                name = format!("{:longest$}", "");
            }
        }
        Ok(())
    }

    /// Prints our own words, which may hold painted data, over as many lines as it takes.
    pub(crate) fn sentence(&mut self, text: &str) -> io::Result<()> {
        for line in text::wrap(text, self.width.map_or(usize::MAX, usize::from)) {
            writeln!(self.out, "{line}")?;
        }
        Ok(())
    }

    /// Prints a paragraph, `indent` from the left. `text` may hold anything.
    pub(crate) fn paragraph(&mut self, indent: usize, text: &str, paint: Paint) -> io::Result<()> {
        for line in self.wrap(text, indent) {
            writeln!(self.out, "{:indent$}{}", "", self.paint(&line, paint))?;
        }
        Ok(())
    }

    /// Escaped lines that fit when `before` stands before them.
    fn wrap(&self, text: &str, before: usize) -> Vec<String> {
        let width =
            self.width.map_or(usize::MAX, |width| usize::from(width).saturating_sub(before).max(UNBROKEN));
        text::wrap(&text::escape(text), width)
    }

    fn cell(&self, text: &str, paint: Paint) -> Cell {
        let cell = Cell::new(text::escape(text));
        if !self.color {
            return cell;
        }
        match paint {
            Paint::Plain => cell,
            Paint::Title => cell.add_attribute(comfy_table::Attribute::Bold),
            Paint::Quiet => cell.add_attribute(comfy_table::Attribute::Dim),
            Paint::Good => cell.fg(Color::DarkGreen),
            Paint::Warn => cell.fg(Color::DarkYellow),
            Paint::Bad => cell.fg(Color::DarkRed).add_attribute(comfy_table::Attribute::Bold),
        }
    }
}

/// A plain cell.
pub(crate) fn plain(text: impl Into<String>) -> Field {
    (text.into(), Paint::Plain)
}

/// A cell that says something by its colour.
pub(crate) fn painted(text: impl Into<String>, paint: Paint) -> Field {
    (text.into(), paint)
}
