//! From files to everything the appliance runs on. Nothing is changed until all of it was read.

use ::logs::Library;
use config::Config;
use folders::Dialects;
use model::Mode;
use protocol::Problem;
use signatures::{Classification, Loader, RuleSet, Variables};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Bytes of one rule file. A larger one is refused by name.
const MAX_RULE_FILE: u64 = 64 * 1024 * 1024;
/// Files of own log filters. With more of them the config is refused.
const MAX_FILTER_FILES: usize = 64;
/// Refused signatures that are told one by one; the rest is counted.
const MAX_TOLD: usize = 20;

/// What was read, checked and compiled.
#[derive(Clone)]
pub struct Loaded {
    /// The config; its mode is the one in force.
    pub config: Config,
    /// The mode the file names.
    pub configured: Mode,
    /// Filters and scenarios.
    pub library: Library,
    /// Files of Fail2ban's jails and CrowdSec's scenarios.
    pub dialects: Arc<Dialects>,
    /// Signatures.
    pub signatures: Arc<RuleSet>,
    /// Rule files that could not be read, each with why.
    pub unread_rules: Vec<String>,
    /// What is odd but no error.
    pub notes: Vec<String>,
    /// How many of the notes are about the config; the others are about signatures.
    told: usize,
    /// The config's text.
    pub text: String,
    /// What messages call it: the file, as a rule.
    pub file: String,
}

impl Loaded {
    /// Reads the config and what it names. `chosen` is the mode a person chose; it wins over the file's.
    ///
    /// # Errors
    /// Every mistake with its place.
    pub fn read(file: &Path, chosen: Option<Mode>) -> Result<Self, Vec<Problem>> {
        let name = file.display().to_string();
        let text = fs::read_to_string(file).map_err(|error| {
            vec![Problem {
                file: name.clone(),
                line: 1,
                column: 1,
                message: format!("cannot be read: {error}"),
                help: Some("write one; `secctl config reference` prints every key".into()),
            }]
        })?;
        Self::of(name, text, chosen)
    }

    /// Checks a config's text and reads what it names. `name` is what messages call it.
    ///
    /// # Errors
    /// As of [`Self::read`].
    pub fn of(name: String, text: String, chosen: Option<Mode>) -> Result<Self, Vec<Problem>> {
        let own_filters = own_filters(&config::filters_dir(&text))?;
        let loaded = config::load(&name, &text, &own_filters);
        let (mut config, library) =
            loaded.map_err(|errors| errors.into_iter().map(problem).collect::<Vec<_>>())?;
        let mut notes: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
        let told = notes.len();
        let (signatures, unread_rules) =
            signatures(&config.signatures.files, &config.signatures.variables, &mut notes);
        let configured = config.mode;
        config.mode = chosen.unwrap_or(configured);
        config.policy.mode = config.mode;
        let dialects = Arc::new(Dialects::read(&config));
        Ok(Self {
            config,
            configured,
            library,
            dialects,
            signatures,
            unread_rules,
            notes,
            told,
            text,
            file: name,
        })
    }
}

impl Loaded {
    /// Reads the signatures again, together with these files that were fetched.
    pub fn read_rules(&mut self, fetched: &[PathBuf]) {
        if fetched.is_empty() {
            return;
        }
        self.notes.truncate(self.told);
        let settings = &self.config.signatures;
        let files: Vec<PathBuf> = settings.files.iter().chain(fetched).cloned().collect();
        (self.signatures, self.unread_rules) = signatures(&files, &settings.variables, &mut self.notes);
    }
}

/// Name and text of each `*.toml` in the folder; no folder is no filters.
fn own_filters(folder: &Path) -> Result<Vec<(String, String)>, Vec<Problem>> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let problem = |file: &Path, message: String, help: &str| Problem {
        file: file.display().to_string(),
        line: 1,
        column: 1,
        message,
        help: Some(help.into()),
    };
    if files.len() > MAX_FILTER_FILES {
        let message = format!("{} filter files, at most {MAX_FILTER_FILES} are read", files.len());
        return Err(vec![problem(folder, message, "put several filters into one file")]);
    }
    let (mut texts, mut problems) = (Vec::new(), Vec::new());
    for path in &files {
        match fs::read_to_string(path) {
            Ok(text) => texts.push((path.display().to_string(), text)),
            Err(error) => {
                problems.push(problem(path, format!("cannot be read: {error}"), "check its permissions"))
            }
        }
    }
    if problems.is_empty() { Ok(texts) } else { Err(problems) }
}

/// Reads rule files, and `classification.config` beside them. What is not supported is a note; what cannot be read is
/// returned. The other rules run.
fn signatures(
    files: &[PathBuf],
    variables: &BTreeMap<String, String>,
    notes: &mut Vec<String>,
) -> (Arc<RuleSet>, Vec<String>) {
    let variables = Variables::with(variables.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let mut classification = Classification::default();
    for folder in files.iter().filter_map(|file| file.parent()) {
        let file = folder.join("classification.config");
        if let Ok(text) = read_rules(&file) {
            classification = Classification::parse(&text, &file.display().to_string()).0;
            break;
        }
    }
    let mut loader = Loader::new(&variables, &classification);
    let mut unread = Vec::new();
    for file in files {
        match read_rules(file) {
            Ok(text) => loader.file(&text, &file.display().to_string()),
            Err(error) => unread.push(format!("{}: {error}", file.display())),
        }
    }
    let (rules, refused) = loader.finish();
    notes.extend(refused.iter().take(MAX_TOLD).map(ToString::to_string));
    if rules.refused() > MAX_TOLD {
        notes.push(format!(
            "{} signatures are not supported; `secctl inspect` lists them all",
            rules.refused()
        ));
    }
    (Arc::new(rules), unread)
}

fn read_rules(file: &Path) -> std::io::Result<String> {
    let length = fs::metadata(file)?.len();
    if length > MAX_RULE_FILE {
        return Err(std::io::Error::other(format!(
            "{length} bytes, more than the {MAX_RULE_FILE} that are read"
        )));
    }
    Ok(String::from_utf8_lossy(&fs::read(file)?).into_owned())
}

fn problem(error: config::ConfigError) -> Problem {
    Problem {
        file: error.file,
        line: error.line,
        column: error.column,
        message: error.message,
        help: Some(error.help),
    }
}
