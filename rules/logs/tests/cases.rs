//! Runs `tests/cases/logs/*.toml` against the built-in filters and scenarios. How a case reads stands in `sshd.toml`
//! there; what every injection tries beside its own texts stands in `evil.toml`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;
use logs::{Clock, Engine, Library, Limits, Source, SourceIndex};
use model::{Mode, Timestamp};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    filter: String,
    hits: Vec<[String; 4]>,
    misses: Vec<String>,
    runs: Vec<Run>,
    injection: Injection,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    scenario: String,
    address: IpAddr,
    start: Timestamp,
    every: String,
    count: usize,
    line: String,
    ban_at: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Injection {
    chosen: IpAddr,
    templates: Vec<String>,
    evil: Vec<String>,
    #[serde(default)]
    cut: Vec<String>,
    cut_at: Option<usize>,
}

/// What every attacker writes into names, agents and paths.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Evil {
    evil: Vec<String>,
}

fn engine(library: &Library, filter: &str) -> Engine {
    let source = Source { name: "log".into(), filter: filter.into(), mode: Mode::Enforce };
    Engine::new(library, vec![source], Limits::default(), Clock::new(TimeZone::UTC)).unwrap()
}

impl Run {
    fn line_number(&self, number: usize, at: Timestamp) -> String {
        let zoned = jiff::Timestamp::from_microsecond(at.0).unwrap().to_zoned(TimeZone::UTC);
        self.line
            .replace("{n}", &number.to_string())
            .replace("{time}", &at.to_string())
            .replace("{clf}", &zoned.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string())
            .replace("{haproxy}", &zoned.strftime("%d/%b/%Y:%H:%M:%S.000").to_string())
            .replace("{slash}", &zoned.strftime("%Y/%m/%d %H:%M:%S").to_string())
            .replace("{space}", &zoned.strftime("%Y-%m-%d %H:%M:%S").to_string())
            .replace("{epoch}", &zoned.timestamp().as_second().to_string())
            .replace("{rfc}", &zoned.strftime("%d %b %Y %H:%M:%S").to_string())
    }

    fn check(&self, library: &Library, filter: &str) {
        let every = model::parse_duration(&self.every).unwrap();
        let scenario = library.scenarios().find(|known| known.name == self.scenario).unwrap();
        let mut live = engine(library, filter);
        let mut replayed = engine(library, filter);
        let (mut banned_at, mut bans) = (0, 0);
        for number in 1..=self.count {
            let at = self.start.plus(every * u32::try_from(number - 1).unwrap());
            let line = self.line_number(number, at);
            let outputs = live.line(at.plus(Duration::from_millis(3)), SourceIndex(0), line.as_bytes());
            let from_file = replayed.replay(self.start, SourceIndex(0), line.as_bytes());
            assert_eq!(outputs, from_file, "{}: a replay differs at line {number}", self.scenario);
            for overflow in outputs.overflows.iter().filter(|over| over.scenario == self.scenario) {
                assert!(overflow.target.contains(&self.address), "{}: {}", self.scenario, overflow.target);
                assert_eq!(overflow.ban, scenario.ban);
                assert!(!overflow.evidence.is_empty() && overflow.evidence.len() <= 8);
                assert_eq!(overflow.evidence[0].source, "log");
                let last = overflow.evidence.last().unwrap();
                assert!(
                    line.starts_with(last.text.trim_end_matches('…').split('\\').next().unwrap()),
                    "{last:?}"
                );
                assert_eq!(overflow.sources, [SourceIndex(0)]);
                bans += 1;
                banned_at = if banned_at == 0 { number } else { banned_at };
            }
        }
        assert_eq!(banned_at, self.ban_at, "{}: `{}`", self.scenario, self.line);
        // One attack is one ban.
        assert_eq!(bans, usize::from(self.ban_at > 0), "{}", self.scenario);
    }
}

/// As nginx writes text into the quoted fields of its access log.
fn nginx_escaped(text: &str) -> String {
    let escape = |b: u8| {
        if matches!(b, b'"' | b'\\') || !(b' '..=b'~').contains(&b) {
            format!("\\x{b:02X}")
        } else {
            char::from(b).to_string()
        }
    };
    text.bytes().map(escape).collect()
}

impl Injection {
    /// Every line of an attacker, as many times as would ban somebody.
    fn check(&self, library: &Library, filter: &str, common: &[String]) -> usize {
        let now: Timestamp = "2026-11-23T02:45:01Z".parse().unwrap();
        let mut lines = Vec::new();
        for template in &self.templates {
            for evil in self.evil.iter().chain(common) {
                let json = serde_json::to_string(evil).unwrap();
                lines.push(
                    template
                        .replace("{evil}", evil)
                        .replace("{escaped}", &nginx_escaped(evil))
                        .replace("{quoted}", &json[1..json.len() - 1])
                        .replace("{json}", &json),
                );
            }
        }
        for template in &self.cut {
            let length = self.cut_at.unwrap();
            let header = template.find(": ").filter(|_| template.starts_with("Nov")).map_or(0, |at| at + 2);
            for pad in ['x', ' '] {
                let with = length - (template.len() - "{pad}".len() - header);
                lines.push(template.replace("{pad}", &pad.to_string().repeat(with)));
            }
        }
        let mut still_found = 0;
        for line in &lines {
            let mut engine = engine(library, filter);
            for _ in 0..60 {
                for overflow in engine.line(now, SourceIndex(0), line.as_bytes()).overflows {
                    let chosen = overflow.target.contains(&self.chosen);
                    assert!(!chosen, "{}: the attacker chose whom to ban: {line}", overflow.scenario);
                }
            }
            // Nor without a ban.
            if let Some(found) = library.filter(filter).unwrap().parse(line.as_bytes()) {
                assert_ne!(found.ip, self.chosen, "{line}");
                still_found += 1;
            }
        }
        // Seeing nothing at all would be no defence.
        println!("{filter}: the attacker is still found in {still_found} of {} lines", lines.len());
        assert!(still_found * 2 >= lines.len());
        lines.len()
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/logs")
}

fn run(file: &str) {
    let text = |file: &str| std::fs::read_to_string(folder().join(file)).unwrap();
    let cases: Cases = toml::from_str(&text(file)).unwrap();
    let common: Evil = toml::from_str(&text("evil.toml")).unwrap();
    let library = Library::builtin();
    let filter = library.filter(&cases.filter).unwrap();
    for [event, address, user, line] in &cases.hits {
        let found = filter.parse(line.as_bytes()).unwrap_or_else(|| panic!("no event: {line}"));
        let found_user = found.fields.iter().find(|(name, _)| name == "user").map_or("-", |(_, user)| user);
        let shown = (found.event.as_str(), found.ip.to_string(), found_user);
        assert_eq!(shown, (event.as_str(), address.clone(), user.as_str()), "{line}");
    }
    for line in &cases.misses {
        assert_eq!(filter.parse(line.as_bytes()), None, "{line}");
    }
    for case in &cases.runs {
        case.check(&library, &cases.filter);
    }
    let injections = cases.injection.check(&library, &cases.filter, &common.evil);
    println!(
        "{file}: {} hits, {} misses, {} runs, {injections} injections",
        cases.hits.len(),
        cases.misses.len(),
        cases.runs.len()
    );
    assert!(injections >= 50);
}

#[test]
fn every_built_in_filter_has_cases() {
    let library = Library::builtin();
    for filter in library.filters() {
        let file = folder().join(format!("{}.toml", filter.name));
        assert!(file.is_file(), "{} is missing", file.display());
    }
    let mut scenarios: Vec<&str> = library.scenarios().map(|scenario| scenario.name.as_str()).collect();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        scenarios.retain(|name| !text.contains(&format!("scenario = \"{name}\"")));
    }
    assert!(scenarios.is_empty(), "no run for {scenarios:?}");
}

macro_rules! files {
    ($($test:ident $file:literal)+) => {
        $(#[test]
        fn $test() {
            run($file);
        })+
    };
}

files! {
    sshd "sshd.toml"
    nginx "nginx.toml"
    traefik "traefik.toml"
    haproxy "haproxy.toml"
    harbor "harbor.toml"
    authentik "authentik.toml"
    gitlab "gitlab.toml"
    grafana "grafana.toml"
    home_assistant "home-assistant.toml"
    jellyfin "jellyfin.toml"
    nextcloud "nextcloud.toml"
    overseerr "overseerr.toml"
    servarr "servarr.toml"
    syncthing "syncthing.toml"
    vaultwarden "vaultwarden.toml"
    postfix "postfix.toml"
    dovecot "dovecot.toml"
    mosquitto "mosquitto.toml"
    postgresql "postgresql.toml"
    samba "samba.toml"
    secd "secd.toml"
}
