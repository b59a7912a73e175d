//! `secctl logs test`.

use ::logs::{
    Clock, Engine, Library, Limits, Outcome, Source, SourceIndex,
    fail2ban::{Filter, Matcher, Options, name_and_options},
};
use model::Mode;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Done, fail2ban};
use crate::{
    Environment,
    failure::Failure,
    output::{Column, Output, plain},
    text::{count, escape, number},
};

/// Bytes of a line that are read. What stands behind is passed over, and the line counts as too long.
const MAX_LINE_BYTES: u64 = ::logs::limits::MAX_LINE as u64 + 2;
/// Missed lines shown unless all are asked for.
const MISSED_SHOWN: usize = 20;
/// Missed lines shown at most.
const MAX_MISSED: usize = 100_000;
/// Addresses that are told apart; lines of others are counted, too.
const MAX_HOSTS: usize = 100_000;
/// Addresses shown to people.
const HOSTS_SHOWN: usize = 20;

/// Judge a log by a filter: how many lines match, which do not, which date pattern is theirs
///
/// Each regex is tried on each line, so that counts of regexes may add up to more than the lines that match.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The log; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A built-in filter (`sshd`), or a file of Fail2ban's with its options (`filter.d/sshd.conf[mode=aggressive]`)
    #[arg(long, value_name = "FILTER")]
    filter: String,
    /// Show all lines that do not match, not the first few
    #[arg(long)]
    print_all_missed: bool,
}

/// What `-o json` prints.
#[derive(Debug, Default, Serialize)]
struct Tested {
    filter: String,
    lines: u64,
    matched: u64,
    /// Lines of an ignoreregex, helpers of other lines, and lines that a built-in filter knows to mean nothing.
    ignored: u64,
    missed: u64,
    /// Lines too long to judge.
    too_long: u64,
    /// Lines where a search ended at its limit of steps.
    gave_up: u64,
    regexes: Vec<Hits>,
    ignore_regexes: Vec<Hits>,
    dates: Vec<Hits>,
    hosts: Vec<Hits>,
    missed_lines: Vec<String>,
}

/// How often something was found.
#[derive(Debug, Serialize)]
struct Hits {
    hits: u64,
    name: String,
}

pub(crate) fn run(asked: &Arguments, environment: &Environment, output: &mut Output<'_>) -> Done {
    let (name, options) = name_and_options(&asked.filter).map_err(|message| Failure::Usage {
        message: format!("`--filter {}`: {message}", asked.filter),
        help: Some("write it as in `filter.d/sshd.conf[mode=aggressive]`".into()),
    })?;
    let path = Path::new(&name);
    let library = Library::builtin();
    let mut test: Box<dyn Judge> = if library.filter(&name).is_some() && options.is_empty() {
        Box::new(BuiltIn::new(&library, &name, environment)?)
    } else if path.is_file() {
        Box::new(OfFail2ban::new(path, &options, environment)?)
    } else {
        let known = library.filters().map(|filter| filter.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(Failure::Usage {
            message: format!("`{name}` is neither a built-in filter nor a file"),
            help: Some(format!("built-in are {known}")),
        });
    };
    let mut tested = Tested { filter: asked.filter.clone(), ..Tested::default() };
    let most = if asked.print_all_missed { MAX_MISSED } else { MISSED_SHOWN };
    let mut hosts = BTreeMap::new();
    let reader = open(&asked.file)?;
    for_each_line(reader, |line| {
        tested.lines += 1;
        match line.map_or(Verdict::TooLong, |line| test.judge(line, &mut hosts)) {
            Verdict::Matched => tested.matched += 1,
            Verdict::Ignored => tested.ignored += 1,
            Verdict::TooLong => tested.too_long += 1,
            Verdict::Missed => {
                tested.missed += 1;
                if tested.missed_lines.len() < most {
                    tested.missed_lines.push(String::from_utf8_lossy(line.unwrap_or_default()).into_owned());
                }
            }
        }
    })
    .map_err(|error| Failure::file(&asked.file, "read", &error))?;
    test.finish(&mut tested);
    tested.hosts = hosts.into_iter().map(|(name, hits)| Hits { hits, name }).collect();
    tested.hosts.sort_by(|one, other| other.hits.cmp(&one.hits).then_with(|| one.name.cmp(&other.name)));
    output.show(&tested, print)?;
    Ok(())
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let failed = |error: io::Error| Failure::file(path, "read", &error);
    let file = File::open(path).map_err(failed)?;
    Ok(Box::new(BufReader::with_capacity(1 << 16, file)))
}

/// Each line without its end; nothing for one that is too long.
fn for_each_line(mut reader: Box<dyn BufRead>, mut each: impl FnMut(Option<&[u8]>)) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.last() == Some(&b'\n') {
            line.pop();
            each(Some(&line));
        } else if (line.len() as u64) < MAX_LINE_BYTES {
            each(Some(&line));
        } else {
            while !reader.fill_buf()?.is_empty() {
                let buffer = reader.fill_buf()?;
                let end = buffer.iter().position(|byte| *byte == b'\n');
                let used = end.map_or(buffer.len(), |at| at + 1);
                reader.consume(used);
                if end.is_some() {
                    break;
                }
            }
            each(None);
        }
    }
}

enum Verdict {
    Matched,
    Ignored,
    Missed,
    TooLong,
}

/// Either kind of filter at work.
trait Judge {
    fn judge(&mut self, line: &[u8], hosts: &mut BTreeMap<String, u64>) -> Verdict;
    fn finish(&mut self, tested: &mut Tested);
}

fn met(hosts: &mut BTreeMap<String, u64>, host: &str) {
    let name = if hosts.len() < MAX_HOSTS || hosts.contains_key(host) { host } else { "others" };
    *hosts.entry(name.to_owned()).or_default() += 1;
}

struct OfFail2ban {
    filter: Arc<Filter>,
    matcher: Matcher,
    regexes: Vec<u64>,
    ignores: Vec<u64>,
    gave_up: u64,
    now: model::Timestamp,
}

impl OfFail2ban {
    fn new(
        path: &Path,
        options: &BTreeMap<String, String>,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let texts = fail2ban::filters(folder)?;
        let name = path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let filter = Filter::read(&texts, &format!("{}{name}", fail2ban::FILTERS), options);
        let filter = Arc::new(filter.map_err(|errors| Failure::Usage {
            message: errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
            help: None,
        })?);
        let zone = environment.zone.clone();
        let matcher =
            Matcher::new(Arc::clone(&filter), Options { zone, offset: None, all: true, live: false });
        Ok(Self {
            regexes: vec![0; filter.fail_regexes().count()],
            ignores: vec![0; filter.ignore_regexes().count()],
            gave_up: 0,
            filter,
            matcher,
            now: environment.now,
        })
    }
}

impl Judge for OfFail2ban {
    fn judge(&mut self, line: &[u8], hosts: &mut BTreeMap<String, u64>) -> Verdict {
        let judged = self.matcher.line(self.now, line);
        self.gave_up += u64::from(judged.gave_up);
        if let Some(hits) = judged.ignored.and_then(|number| self.ignores.get_mut(number)) {
            *hits += 1;
        }
        let mut matched = false;
        for failure in &judged.failures {
            if let Some(hits) = self.regexes.get_mut(failure.regex) {
                *hits += 1;
            }
            if !failure.no_failure {
                // Also while nobody is known to blame, as fail2ban-regex counts.
                matched = true;
                if let Some(who) = &failure.who {
                    met(hosts, who);
                }
            }
        }
        match (judged.too_long, matched, judged.ignored.is_some() || !judged.failures.is_empty()) {
            (true, _, _) => Verdict::TooLong,
            (_, true, _) => Verdict::Matched,
            (_, _, true) => Verdict::Ignored,
            (_, _, false) => Verdict::Missed,
        }
    }

    fn finish(&mut self, tested: &mut Tested) {
        let named = |names: Vec<&str>, hits: &[u64]| -> Vec<Hits> {
            names
                .into_iter()
                .zip(hits)
                .map(|(name, hits)| Hits { hits: *hits, name: name.to_owned() })
                .collect()
        };
        tested.gave_up = self.gave_up;
        tested.regexes = named(self.filter.fail_regexes().collect(), &self.regexes);
        tested.ignore_regexes = named(self.filter.ignore_regexes().collect(), &self.ignores);
        tested.dates = named(self.filter.date_patterns().collect(), &self.matcher.date_hits());
        tested.dates.retain(|date| date.hits > 0);
    }
}

struct BuiltIn {
    engine: Engine,
    events: BTreeMap<String, u64>,
    library: Library,
    name: String,
    now: model::Timestamp,
}

impl BuiltIn {
    fn new(library: &Library, name: &str, environment: &Environment) -> Result<Self, Failure> {
        let source = Source { name: name.to_owned(), filter: name.to_owned(), mode: Mode::Observe };
        let clock = Clock::new(environment.zone.clone());
        let engine = Engine::new(library, vec![source], Limits::default(), clock)
            .map_err(|error| Failure::Usage { message: error.to_string(), help: None })?;
        Ok(Self {
            engine,
            events: BTreeMap::new(),
            library: library.clone(),
            name: name.to_owned(),
            now: environment.now,
        })
    }
}

impl Judge for BuiltIn {
    fn judge(&mut self, line: &[u8], hosts: &mut BTreeMap<String, u64>) -> Verdict {
        match self.engine.line(self.now, SourceIndex(0), line).outcome {
            Outcome::Event | Outcome::Poured | Outcome::Stale => {
                if let Some(found) = self.library.filter(&self.name).and_then(|filter| filter.parse(line)) {
                    *self.events.entry(found.event).or_default() += 1;
                    met(hosts, &found.ip.to_string());
                }
                Verdict::Matched
            }
            Outcome::Ignored | Outcome::Cut | Outcome::Forwarded => Verdict::Ignored,
            Outcome::Miss | Outcome::BadAddress => Verdict::Missed,
            Outcome::Oversized => Verdict::TooLong,
        }
    }

    fn finish(&mut self, tested: &mut Tested) {
        let events = std::mem::take(&mut self.events);
        tested.regexes = events.into_iter().map(|(name, hits)| Hits { hits, name }).collect();
    }
}

fn print(output: &mut Output<'_>, tested: &Tested) -> io::Result<()> {
    let table = |output: &mut Output<'_>,
                 title: &'static str,
                 rows: &[Hits],
                 most: usize|
     -> io::Result<()> {
        if rows.iter().all(|row| row.hits == 0) {
            return Ok(());
        }
        let columns = [Column::new("HITS").right(), Column::new(title)];
        let shown = rows.iter().filter(|row| row.hits > 0).take(most);
        output.table(&columns, shown.map(|row| vec![plain(number(row.hits)), plain(&row.name)]).collect())?;
        output.line("")
    };
    table(output, "WHAT MATCHED", &tested.regexes, usize::MAX)?;
    table(output, "WHAT IS IGNORED", &tested.ignore_regexes, usize::MAX)?;
    table(output, "DATES", &tested.dates, usize::MAX)?;
    table(output, "WHO", &tested.hosts, HOSTS_SHOWN)?;
    if !tested.missed_lines.is_empty() {
        output.line("Lines that do not match:")?;
        for line in &tested.missed_lines {
            output.line(&format!("  {}", escape(line)))?;
        }
        let more = tested.missed - tested.missed_lines.len() as u64;
        if more > 0 {
            output.line(&format!("  … and {} more", number(more)))?;
        }
        output.line("")?;
    }
    let mut odd = String::new();
    if tested.too_long > 0 {
        odd.push_str(&format!(", {} too long", number(tested.too_long)));
    }
    if tested.gave_up > 0 {
        odd.push_str(&format!(", {} not searched to the end", number(tested.gave_up)));
    }
    output.sentence(&format!(
        "{}: {} matched, {} ignored, {} missed{odd}.",
        count(tested.lines, "line", "lines"),
        number(tested.matched),
        number(tested.ignored),
        number(tested.missed)
    ))
}
