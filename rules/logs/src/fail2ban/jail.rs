//! `jail.conf`, `jail.local` and `jail.d`: the jails that are enabled, each with its filter.
//!
//! Source: jail.conf(5).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::date::zone::offset;
use super::filter::{Definition, Filter, Names};
use super::limits::MAX_JAILS;
use super::reader::{Settings, Texts, mistake};
use super::tags::name_and_options;
use crate::error::FilterError;

/// What a configuration says of jails.
#[derive(Debug, Default)]
pub struct Jails {
    /// Those that are enabled and right.
    pub jails: Vec<Jail>,
    /// Names of those that are not enabled.
    pub disabled: Vec<String>,
    /// What is wrong; a jail that something is wrong with is not in `jails`.
    pub problems: Vec<FilterError>,
}

/// An enabled jail.
#[derive(Clone, Debug)]
pub struct Jail {
    /// Its name.
    pub name: String,
    /// Where it is enabled, `file:line`.
    pub defined: String,
    /// Its filter's name.
    pub filter: String,
    /// What the filter says, with the jail's own options over it.
    pub definition: Definition,
    /// Where lines come from.
    pub backend: Backend,
    /// Files, with `*` and `?`; and whether only what is written from now on counts.
    pub log_paths: Vec<(String, bool)>,
    /// Failures that lead to a ban …
    pub max_retry: u32,
    /// … within this time.
    pub find_time: Duration,
    /// How long a first ban lasts.
    pub ban_time: BanTime,
    /// How bans grow with their number.
    pub growth: Option<Growth>,
    /// Addresses that are never counted.
    pub ignore: Vec<IpNet>,
    /// Host names that are never counted. They are not looked up here.
    pub ignore_names: Vec<String>,
    /// Own addresses are never counted.
    pub ignore_self: bool,
    /// A command that would be asked whether to ignore an address. It is never run.
    pub ignore_command: Option<String>,
    /// Whether names may stand for hosts.
    pub names: Names,
    /// `logtimezone`, seconds east of UTC.
    pub offset: Option<i64>,
    /// `logencoding`, for information.
    pub encoding: String,
    /// `port`, for information.
    pub ports: String,
    /// `action`, for information: what Fail2ban would run.
    pub actions: Vec<String>,
}

/// Where a jail's lines come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Files, followed.
    Files,
    /// The journal.
    Journal,
}

/// How long a ban lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BanTime {
    /// Until then.
    For(Duration),
    /// A negative `bantime`.
    Forever,
}

/// `bantime.increment`.
#[derive(Clone, Debug, PartialEq)]
pub struct Growth {
    /// `bantime.factor`
    pub factor: f64,
    /// `bantime.multipliers`; where it is empty, bans double up to the 20th.
    pub multipliers: Vec<f64>,
    /// The second formula of jail.conf: bans grow by the power of e.
    pub exponential: bool,
    /// `bantime.maxtime`
    pub most: Option<Duration>,
    /// `bantime.rndtime`: up to so much is added by chance.
    pub chance: Option<Duration>,
    /// `bantime.overalljails`: bans by other jails count, too.
    pub over_all_jails: bool,
}

impl Growth {
    /// How long a ban lasts whose address had `bans` before; `chance` from 0 to 1 is for `rndtime`.
    #[must_use]
    pub fn ban_time(&self, first: BanTime, bans: u32, chance: f64) -> BanTime {
        let BanTime::For(first) = first else { return BanTime::Forever };
        if bans == 0 {
            return BanTime::For(first);
        }
        let base = first.as_secs_f64();
        let place = (bans as usize).min(self.multipliers.len().saturating_sub(1));
        let mut seconds = match self.multipliers.get(place) {
            Some(multiplier) => base * self.factor * multiplier,
            None if self.exponential => (base * (f64::from(bans) * self.factor).exp()).max(base),
            None => (base * f64::from(1_u32 << bans.min(20)) * self.factor).max(base),
        };
        if let Some(most) = self.most {
            seconds = seconds.min(most.as_secs_f64());
        }
        if let Some(add) = self.chance {
            seconds += add.as_secs_f64() * chance.clamp(0.0, 1.0);
        }
        BanTime::For(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
    }
}

impl Jails {
    /// Reads `jail.conf` and what goes with it in `folder` (`""`, or ending in `/`), and the filters in its `filter.d`.
    #[must_use]
    pub fn read(texts: &Texts, folder: &str) -> Self {
        Self::read_only(texts, folder, None)
    }

    /// As [`Jails::read`]; with names these jails alone, whether they are enabled or not.
    #[must_use]
    pub fn read_only(texts: &Texts, folder: &str, only: Option<&[String]>) -> Self {
        let mut settings = match Settings::read(texts, &format!("{folder}jail")) {
            Ok(settings) => settings,
            Err(problems) => return Self { problems, ..Self::default() },
        };
        settings.set_default("fail2ban_version", "1.1.0");
        settings.set_default("fail2ban_confpath", folder.trim_end_matches('/'));
        let mut jails = Self::default();
        let names: Vec<String> =
            settings.sections().filter(|name| *name != "INCLUDES").map(str::to_owned).collect();
        for unknown in only.into_iter().flatten().filter(|name| !names.contains(name)) {
            let help = format!("the jails are {}", names.join(", "));
            let file = format!("{folder}jail.conf");
            jails.problems.push(mistake(&file, 1, format!("there is no jail `{unknown}`"), &help));
        }
        for name in names {
            if only.is_some_and(|only| !only.contains(&name)) {
                jails.disabled.push(name);
                continue;
            }
            if jails.jails.len() >= MAX_JAILS {
                let (file, line) = settings.place(&name, "enabled");
                let message = format!("more than {MAX_JAILS} jails");
                jails.problems.push(mistake(&file, line, message, "disable some"));
                break;
            }
            let mut read = Reading { settings: &mut settings, name: &name, problems: Vec::new() };
            match read.jail(texts, folder, only.is_some()) {
                Some(Some(jail)) if read.problems.is_empty() => jails.jails.push(jail),
                Some(None) => jails.disabled.push(name.clone()),
                Some(Some(_)) | None => {}
            }
            let problems = std::mem::take(&mut read.problems);
            jails.problems.extend(problems);
        }
        jails
    }
}

impl Jail {
    /// Its filter, compiled.
    ///
    /// # Errors
    /// What is wrong with its regexes.
    pub fn compile(&self) -> Result<Filter, Vec<FilterError>> {
        Filter::new(&self.definition, self.names)
    }

    /// The address is never counted.
    #[must_use]
    pub fn ignores(&self, address: IpAddr) -> bool {
        self.ignore.iter().any(|net| net.contains(&address))
    }
}

struct Reading<'r> {
    settings: &'r mut Settings,
    name: &'r str,
    problems: Vec<FilterError>,
}

impl Reading<'_> {
    fn problem(&mut self, key: &str, message: String, help: &str) {
        let (file, line) = self.settings.place(self.name, key);
        self.problems.push(mistake(&file, line, format!("jail `{}`: {message}", self.name), help));
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.settings.get(self.name, key, &BTreeMap::new()) {
            Ok(value) => value,
            Err(message) => {
                self.problem(key, message, "set what it asks for, or remove it");
                None
            }
        }
    }

    fn filled(&mut self, key: &str) -> Option<String> {
        self.text(key).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn switch(&mut self, key: &str, otherwise: bool) -> bool {
        let Some(text) = self.filled(key) else { return otherwise };
        match text.to_lowercase().as_str() {
            "1" | "yes" | "true" | "on" => true,
            "0" | "no" | "false" | "off" => false,
            _ => {
                self.problem(key, format!("`{key}` is neither true nor false"), "write `true` or `false`");
                otherwise
            }
        }
    }

    fn seconds(&mut self, key: &str) -> Option<f64> {
        let text = self.filled(key)?;
        let seconds = duration(&text);
        if seconds.is_none() {
            self.problem(key, format!("`{key} = {text}` is no time"), "write it as in `1h 30m` or `600`");
        }
        seconds
    }

    /// The jail, or nothing if it is not enabled.
    fn jail(&mut self, texts: &Texts, folder: &str, chosen: bool) -> Option<Option<Jail>> {
        if !chosen && !self.switch("enabled", false) {
            return Some(None);
        }
        let backend = self.filled("backend").unwrap_or_else(|| "auto".into());
        let backend = if backend.starts_with("systemd") { Backend::Journal } else { Backend::Files };
        let Some(filter) = self.filled("filter") else {
            self.problem("filter", "it has no filter".into(), "set `filter` to a name of filter.d");
            return None;
        };
        let (filter, mut options) = match name_and_options(&filter) {
            Ok(parts) => parts,
            Err(message) => {
                self.problem(
                    "filter",
                    format!("`filter = {filter}`: {message}"),
                    "write `name[option=value]`",
                );
                return None;
            }
        };
        let of_filter = match Settings::read(texts, &format!("{folder}filter.d/{filter}")) {
            Ok(settings) => settings,
            Err(problems) => {
                self.problem("filter", format!("its filter `{filter}` cannot be read"), "correct the filter");
                self.problems.extend(problems);
                return None;
            }
        };
        let own = of_filter.own_keys("Definition").any(|key| key == "logtype");
        if !own {
            let kind = if backend == Backend::Journal { "journal" } else { "file" };
            options.entry("logtype".into()).or_insert_with(|| kind.into());
        }
        let mut definition = match Definition::of(&of_filter, &options) {
            Ok(definition) => definition,
            Err(problems) => {
                self.problems.extend(problems);
                return None;
            }
        };
        for (key, value) in &definition.options {
            self.settings.set_known(self.name, key, value);
        }
        for key in
            ["usedns", "prefregex", "failregex", "ignoreregex", "maxlines", "datepattern", "journalmatch"]
        {
            if let Some(value) = self.text(key) {
                let (file, line) = self.settings.place(self.name, key);
                definition.set(key, &value, &file, line);
            }
        }
        let names = match definition.options.get("usedns").map(|value| value.trim().to_lowercase()).as_deref()
        {
            Some("no" | "false") => Names::Refused,
            _ => Names::Taken,
        };
        let log_paths = self
            .filled("logpath")
            .unwrap_or_default()
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(|line| match line.rsplit_once(' ') {
                Some((path, "tail")) => (path.trim().to_owned(), true),
                Some((path, "head")) => (path.trim().to_owned(), false),
                Some(_) | None => (line.to_owned(), false),
            })
            .collect::<Vec<_>>();
        if log_paths.is_empty() && backend == Backend::Files {
            self.problem("logpath", "it has no log".into(), "set `logpath`, or `backend = systemd`");
        }
        let (ignore, ignore_names) = self.ignored();
        let offset = self.filled("logtimezone").and_then(|text| {
            let found = offset(&text);
            if found.is_none() {
                self.problem(
                    "logtimezone",
                    format!("`{text}` is no zone"),
                    "write it as in `UTC+0100` or `CET`",
                );
            }
            found
        });
        let max_retry = match self.filled("maxretry").map(|text| text.parse::<u32>()) {
            None => 5,
            Some(Ok(count)) if count > 0 => count,
            Some(_) => {
                self.problem("maxretry", "`maxretry` is not a number from 1 on".into(), "write a number");
                5
            }
        };
        let find_time = self.seconds("findtime").unwrap_or(600.0);
        let ban_time = self.seconds("bantime").unwrap_or(600.0);
        let growth = if self.switch("bantime.increment", false) { self.growth() } else { None };
        // What is only for information may be wrong.
        let information = |reading: &Self, key: &str| {
            reading.settings.get(reading.name, key, &BTreeMap::new()).ok().flatten().unwrap_or_default()
        };
        let actions = information(self, "action");
        let (file, line) = self.settings.place(self.name, "enabled");
        Some(Some(Jail {
            name: self.name.to_owned(),
            defined: format!("{file}:{line}"),
            filter,
            definition,
            backend,
            log_paths,
            max_retry,
            find_time: Duration::try_from_secs_f64(find_time).unwrap_or(Duration::from_secs(600)),
            ban_time: match Duration::try_from_secs_f64(ban_time) {
                Ok(time) => BanTime::For(time),
                Err(_) => BanTime::Forever,
            },
            growth,
            ignore,
            ignore_names,
            ignore_self: self.switch("ignoreself", true),
            ignore_command: self.filled("ignorecommand"),
            names,
            offset,
            encoding: information(self, "logencoding"),
            ports: information(self, "port"),
            actions: actions
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .map(str::to_owned)
                .collect(),
        }))
    }

    fn ignored(&mut self) -> (Vec<IpNet>, Vec<String>) {
        let text = self.filled("ignoreip").unwrap_or_default();
        let (mut nets, mut names) = (Vec::new(), Vec::new());
        for word in text.split([' ', ',', '\n', '\t']).filter(|word| !word.is_empty()) {
            let net = match word.split_once('/') {
                None => word.parse::<IpAddr>().ok().map(IpNet::from),
                Some((address, mask)) => address.parse::<IpAddr>().ok().and_then(|address| {
                    let by_length = mask.parse::<u8>().ok();
                    let by_mask = || ipnet::ip_mask_to_prefix(mask.parse().ok()?).ok();
                    Some(IpNet::new(address, by_length.or_else(by_mask)?).ok()?.trunc())
                }),
            };
            match net {
                Some(net) => nets.push(net),
                None if word.contains('/') || word.contains(':') => {
                    self.problem(
                        "ignoreip",
                        format!("`{word}` is neither an address, nor a network, nor a name"),
                        "write it as in `192.0.2.0/24`",
                    );
                }
                None => names.push(word.to_owned()),
            }
        }
        (nets, names)
    }

    fn growth(&mut self) -> Option<Growth> {
        let factor = match self.filled("bantime.factor") {
            None => 1.0,
            Some(text) => match arithmetic(&text) {
                Some(factor) => factor,
                None => {
                    self.problem("bantime.factor", format!("`{text}` is no number"), "write a number");
                    return None;
                }
            },
        };
        let mut multipliers = Vec::new();
        for word in self.filled("bantime.multipliers").unwrap_or_default().split_whitespace() {
            match word.parse::<f64>() {
                Ok(multiplier) if multiplier.is_finite() => multipliers.push(multiplier),
                Ok(_) | Err(_) => {
                    self.problem("bantime.multipliers", format!("`{word}` is no number"), "write numbers");
                    return None;
                }
            }
        }
        let formula: String = self
            .filled("bantime.formula")
            .unwrap_or_else(|| DOUBLING.into())
            .chars()
            .filter(|c| !c.is_whitespace())
            .collect();
        let exponential = formula == EXPONENTIAL;
        if !exponential && formula != DOUBLING {
            self.problem(
                "bantime.formula",
                "a formula that is not one of the two in jail.conf".into(),
                "say it with `bantime.multipliers`",
            );
            return None;
        }
        let time = |seconds: f64| Duration::try_from_secs_f64(seconds).ok();
        Some(Growth {
            factor,
            multipliers,
            exponential,
            most: self.seconds("bantime.maxtime").and_then(time),
            chance: self.seconds("bantime.rndtime").and_then(time),
            over_all_jails: self.switch("bantime.overalljails", false),
        })
    }
}

/// The two formulas of jail.conf, without spaces.
const DOUBLING: &str = "ban.Time*(1<<(ban.Countifban.Count<20else20))*banFactor";
const EXPONENTIAL: &str = "ban.Time*math.exp(float(ban.Count+1)*banFactor)/math.exp(1*banFactor)";

/// Seconds of `10m`, `1d12h`, `1 week - 2 days`, `60*60`, `-1`.
fn duration(text: &str) -> Option<f64> {
    const DAY: f64 = 86_400.0;
    const YEAR: f64 = 365.25 * DAY;
    let mut sum = String::new();
    let mut rest = text.trim();
    let mut after_value = false;
    while let Some(c) = rest.chars().next() {
        if c.is_whitespace() {
            rest = rest.trim_start();
        } else if c.is_ascii_digit() || c == '.' {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            if after_value {
                sum.push('+');
            }
            sum.push_str(&rest[..end]);
            rest = rest[end..].trim_start();
            let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            let unit = match rest[..end].to_ascii_lowercase().as_str() {
                "" => 1.0,
                "s" | "ss" | "se" | "sec" | "second" | "seconds" => 1.0,
                "m" | "mm" | "mi" | "min" | "minute" | "minutes" => 60.0,
                "h" | "hh" | "ho" | "hou" | "hour" | "hours" => 3_600.0,
                "d" | "dd" | "da" | "day" | "days" => DAY,
                "w" | "ww" | "we" | "wee" | "week" | "weeks" => 7.0 * DAY,
                "mo" | "mon" | "month" | "months" => YEAR / 12.0,
                "y" | "yy" | "ye" | "yea" | "year" | "years" => YEAR,
                _ => return None,
            };
            sum.push_str(&format!("*{unit}"));
            rest = &rest[end..];
            after_value = true;
        } else if matches!(c, '+' | '-' | '*' | '/') {
            sum.push(c);
            rest = &rest[1..];
            after_value = false;
        } else {
            return None;
        }
    }
    arithmetic(&sum)
}

/// A sum of products of numbers.
fn arithmetic(text: &str) -> Option<f64> {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let mut total = 0.0;
    let (mut term, mut sign) = (1.0, 1.0);
    let mut divide = false;
    let mut wants_number = true;
    let mut rest = text.as_str();
    while let Some(c) = rest.chars().next() {
        if wants_number {
            if c == '-' || c == '+' {
                sign *= if c == '-' { -1.0 } else { 1.0 };
                rest = &rest[1..];
                continue;
            }
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let number: f64 = rest[..end].parse().ok()?;
            term = if divide { term / number } else { term * number };
            rest = &rest[end..];
            wants_number = false;
        } else {
            match c {
                '*' | '/' => divide = c == '/',
                '+' | '-' => {
                    total += sign * term;
                    (term, divide) = (1.0, false);
                    sign = if c == '-' { -1.0 } else { 1.0 };
                }
                _ => return None,
            }
            rest = &rest[1..];
            wants_number = true;
        }
    }
    total += sign * term;
    (!wants_number && total.is_finite()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILTER: &str = "[Definition]\nfailregex = ^no <HOST>$\nmode = normal\n";

    fn read(jail: &str) -> Jails {
        let mut texts = Texts::new();
        texts.add("f/jail.conf", jail.as_bytes().to_vec());
        texts.add("f/filter.d/door.conf", FILTER.as_bytes().to_vec());
        Jails::read(&texts, "f/")
    }

    #[test]
    fn a_jail_with_everything() {
        let jails = read(
            "[DEFAULT]\nbantime = 10m\nfindtime = 1h 30m\nfilter = %(__name__)s[mode=%(mode)s]\nmode = normal\n\
             ignoreip = 127.0.0.1/8, ::1 192.0.2.0/255.255.255.0 home.example\n\
             [door]\nenabled = true\nmode = hard\nmaxretry = 2\nlogpath = /var/log/a.log tail\n          /var/log/b*.log\n\
             failregex = %(known/failregex)s\n            ^also <HOST>\n\
             bantime.increment = true\nbantime.factor = 2\nbantime.maxtime = 1d\n\
             [other]\nlogpath = x\n",
        );
        assert_eq!(jails.problems, []);
        assert_eq!(jails.disabled, ["other"]);
        let jail = &jails.jails[0];
        assert_eq!((jail.name.as_str(), jail.max_retry, jail.find_time.as_secs()), ("door", 2, 5_400));
        assert_eq!(
            jail.log_paths,
            [("/var/log/a.log".to_owned(), true), ("/var/log/b*.log".to_owned(), false)]
        );
        assert_eq!(jail.definition.options["mode"], "hard");
        assert_eq!(jail.definition.options["logtype"], "file");
        assert_eq!(
            jail.compile().unwrap().fail_regexes().collect::<Vec<_>>(),
            ["^no <HOST>$", "^also <HOST>"]
        );
        assert!(jail.ignores("127.9.9.9".parse().unwrap()) && jail.ignores("192.0.2.7".parse().unwrap()));
        assert!(!jail.ignores("192.0.3.7".parse().unwrap()));
        assert_eq!(jail.ignore_names, ["home.example"]);
        let growth = jail.growth.as_ref().unwrap();
        let seconds = |bans: u32| match growth.ban_time(jail.ban_time, bans, 0.5) {
            BanTime::For(time) => time.as_secs(),
            BanTime::Forever => 0,
        };
        assert_eq!([seconds(0), seconds(1), seconds(2), seconds(9)], [600, 2_400, 4_800, 86_400]);
    }

    #[test]
    fn what_is_wrong_is_said_and_the_rest_goes_on() {
        let jails = read(
            "[DEFAULT]\nlogpath = /a\n[a]\nenabled = true\nfilter = nothing\n[b]\nenabled = true\nfilter = door\n\
             findtime = soon\nmaxretry = 0\nignoreip = 300.1.1.1/8\n[c]\nenabled = true\nfilter = door\nport = %(x)s\n\
             [d]\nenabled = true\nfilter = door\nbantime = -1\nbantime.increment = true\nbantime.formula = 1/0\n",
        );
        assert_eq!(jails.jails.iter().map(|jail| jail.name.as_str()).collect::<Vec<_>>(), ["c"]);
        let said: Vec<String> = jails.problems.iter().map(ToString::to_string).collect();
        for part in ["f/jail.conf:5: jail `a`", "soon", "maxretry", "300.1.1.1/8", "formula", "no such file"]
        {
            assert!(said.iter().any(|said| said.contains(part)), "{part}: {said:#?}");
        }
    }

    #[test]
    fn times() {
        for (text, seconds) in [
            ("600", Some(600.0)),
            ("10m", Some(600.0)),
            ("1h30min", Some(5_400.0)),
            ("0d 1h 30m", Some(5_400.0)),
            ("1year-6mo", Some(15_778_800.0)),
            ("60*60*24", Some(86_400.0)),
            ("2.5h", Some(9_000.0)),
            ("-1", Some(-1.0)),
            ("soon", None),
            ("1x", None),
            ("1 +", None),
            ("", None),
        ] {
            assert_eq!(duration(text), seconds, "{text}");
        }
    }

    #[test]
    fn growth_by_multipliers_and_by_chance() {
        let growth = Growth {
            factor: 1.0,
            multipliers: vec![1.0, 5.0, 30.0],
            exponential: false,
            most: None,
            chance: Some(Duration::from_secs(10)),
            over_all_jails: false,
        };
        let first = BanTime::For(Duration::from_secs(60));
        assert_eq!(growth.ban_time(first, 0, 1.0), first);
        assert_eq!(growth.ban_time(first, 1, 0.0), BanTime::For(Duration::from_secs(300)));
        assert_eq!(growth.ban_time(first, 99, 1.0), BanTime::For(Duration::from_secs(1_810)));
        assert_eq!(growth.ban_time(BanTime::Forever, 3, 0.0), BanTime::Forever);
    }
}
