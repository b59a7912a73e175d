//! How the entries of a file are written, as `secd.toml` names it: `auto`, `plain`, `score`, `csv:2`, `json:cidr`.

use crate::limits::MAX_FIELD_NAME;

/// How the entries of a file are written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// One entry a line, whose language is found line by line: an address, prefix or range with or without a score; a
    /// name, a hosts line, `||name^`, dnsmasq, a zone file, an expression.
    #[default]
    Auto,
    /// The same, and whatever stands behind the first word is no score.
    Plain,
    /// The same, and every line has a score.
    Score,
    /// Names behind an address, or alone; names only.
    Hosts,
    /// Adblock rules (`||name^`) and names alone; names only.
    Adblock,
    /// Lines of dnsmasq's config (`address=/name/`); names only.
    Dnsmasq,
    /// A zone file of response policies; names only.
    Rpz,
    /// An expression a line, as in Pi-hole; names only.
    Regex,
    /// One column of comma-, semicolon-, tab- or bar-separated values (RFC 4180, a record a line).
    Csv {
        /// Where the entries stand.
        column: Column,
        /// Where the scores stand.
        score: Option<Column>,
    },
    /// One field of a JSON document (RFC 8259), or of one JSON object a line.
    Json {
        /// Names of fields from the outside in; arrays are gone through wherever they stand. Empty: the strings of an
        /// array themselves.
        path: Vec<String>,
        /// Name of the field beside the last one that holds the score.
        score: Option<String>,
    },
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Column {
    /// By its place, from 1.
    Number(u16),
    /// By its name in the header line (which may be a comment).
    Name(String),
}

/// Why a text names no format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no format: {why}; write `auto`, `plain`, `hosts`, `adblock`, `dnsmasq`, `rpz`, `regex`, `score`, `csv:COLUMN`, `csv:COLUMN:SCORE`, `json:FIELD` or `json:FIELD:SCORE`"
)]
pub struct FormatError {
    text: String,
    why: &'static str,
}

impl Format {
    /// Whether only lists of names are written so.
    #[must_use]
    pub fn is_of_names(&self) -> bool {
        match self {
            Self::Hosts | Self::Adblock | Self::Dnsmasq | Self::Rpz | Self::Regex => true,
            Self::Auto | Self::Plain | Self::Score | Self::Csv { .. } | Self::Json { .. } => false,
        }
    }

    /// Whether it says where scores stand, so that they must be there.
    #[must_use]
    pub fn has_score(&self) -> bool {
        match self {
            Self::Auto
            | Self::Plain
            | Self::Hosts
            | Self::Adblock
            | Self::Dnsmasq
            | Self::Rpz
            | Self::Regex => false,
            Self::Score => true,
            Self::Csv { score, .. } => score.is_some(),
            Self::Json { score, .. } => score.is_some(),
        }
    }
}

impl std::str::FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let wrong = |why| FormatError { text: text.chars().take(MAX_FIELD_NAME).collect(), why };
        let mut parts = text.split(':');
        let (kind, field, score) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
        if parts.next().is_some() {
            return Err(wrong("it has more than two colons"));
        }
        if [field, score].into_iter().flatten().any(|name| name.len() > MAX_FIELD_NAME || name.is_empty()) {
            return Err(wrong("a column or field has 1 to 64 bytes"));
        }
        match (kind, field, score) {
            ("auto" | "", None, None) => Ok(Self::Auto),
            ("plain", None, None) => Ok(Self::Plain),
            ("score", None, None) => Ok(Self::Score),
            ("hosts", None, None) => Ok(Self::Hosts),
            ("adblock", None, None) => Ok(Self::Adblock),
            ("dnsmasq", None, None) => Ok(Self::Dnsmasq),
            ("rpz", None, None) => Ok(Self::Rpz),
            ("regex", None, None) => Ok(Self::Regex),
            ("csv", Some(field), score) => Ok(Self::Csv {
                column: column(field).ok_or_else(|| wrong("columns count from 1"))?,
                score: score
                    .map(|score| column(score).ok_or_else(|| wrong("columns count from 1")))
                    .transpose()?,
            }),
            ("csv", None, _) => Err(wrong("the column is missing")),
            ("json", None, _) => Ok(Self::Json { path: Vec::new(), score: None }),
            ("json", Some(field), score) => {
                let path: Vec<String> = field.split('.').map(str::to_owned).collect();
                if path.iter().any(String::is_empty) {
                    return Err(wrong("a part of the path is empty"));
                }
                Ok(Self::Json { path, score: score.map(str::to_owned) })
            }
            (_, Some(_), _) => Err(wrong("only csv and json take a column or field")),
            (_, None, _) => Err(wrong("there is none of this name")),
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Plain => f.write_str("plain"),
            Self::Score => f.write_str("score"),
            Self::Hosts => f.write_str("hosts"),
            Self::Adblock => f.write_str("adblock"),
            Self::Dnsmasq => f.write_str("dnsmasq"),
            Self::Rpz => f.write_str("rpz"),
            Self::Regex => f.write_str("regex"),
            Self::Csv { column, score } => {
                write!(f, "csv:{column}")?;
                score.as_ref().map_or(Ok(()), |score| write!(f, ":{score}"))
            }
            Self::Json { path, .. } if path.is_empty() => f.write_str("json"),
            Self::Json { path, score } => {
                write!(f, "json:{}", path.join("."))?;
                score.as_ref().map_or(Ok(()), |score| write!(f, ":{score}"))
            }
        }
    }
}

impl std::fmt::Display for Column {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

fn column(text: &str) -> Option<Column> {
    match text.parse::<u16>() {
        Ok(0) => None,
        Ok(number) => Some(Column::Number(number)),
        Err(_) => Some(Column::Name(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_read_and_written() {
        for text in [
            "auto",
            "plain",
            "score",
            "hosts",
            "adblock",
            "dnsmasq",
            "rpz",
            "regex",
            "csv:2",
            "csv:dst_ip:7",
            "json",
            "json:prefixes.ip_prefix",
            "json:a:b",
        ] {
            assert_eq!(text.parse::<Format>().unwrap().to_string(), text);
        }
        for (text, why) in [
            ("csv", "the column is missing"),
            ("csv:0", "count from 1"),
            ("csv:1:2:3", "more than two colons"),
            ("csv:", "1 to 64 bytes"),
            ("json:a..b", "part of the path is empty"),
            ("plain:2", "only csv and json"),
            ("xml", "none of this name"),
        ] {
            let error = text.parse::<Format>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
