//! Results: a table for people, JSON, and the page of the documentation.

use anyhow::{Context as _, Result};
use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use serde_json::{Map, Value, json};
use std::{fmt::Write as _, fs, path::Path};

/// Figures of rounds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// The middle one.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// Round by round as many times another.
    pub(crate) fn over(&self, other: &Self) -> Self {
        self.0.iter().zip(&other.0).map(|(ours, other)| ours / other).collect()
    }
}

impl FromIterator<f64> for Series {
    fn from_iter<I: IntoIterator<Item = f64>>(figures: I) -> Self {
        Self(figures.into_iter().collect())
    }
}

/// What is wanted of a case.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// At most this.
    AtMost(f64),
    /// At most this, and less than any peer.
    AtMostAndBelowAll(f64),
}

/// One line of the results.
pub(crate) struct Case {
    name: String,
    unit: &'static str,
    ours: Result<Series, String>,
    peers: Vec<(&'static str, f64)>,
    goal: Option<Goal>,
}

impl Case {
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, ours: &Series) -> Self {
        Self { name: name.into(), unit, ours: Ok(ours.clone()), peers: Vec::new(), goal: None }
    }

    /// A case that has no figures, and why.
    pub(crate) fn failed(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self { ours: Err(why.into()), ..Self::new(name, "", &Series::new()) }
    }

    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    pub(crate) fn peer(mut self, name: &'static str, figure: f64) -> Self {
        self.peers.push((name, figure));
        self
    }

    fn met(&self) -> Option<bool> {
        let Ok(ours) = &self.ours else { return Some(false) };
        let ours = ours.median();
        Some(match self.goal? {
            Goal::AtMost(most) => ours <= most,
            Goal::AtMostAndBelowAll(most) => {
                ours <= most && self.peers.iter().all(|(_, figure)| ours < *figure)
            }
        })
    }

    fn goal_words(&self) -> String {
        match self.goal {
            Some(Goal::AtMost(most)) => format!("≤ {}", shown(most)),
            Some(Goal::AtMostAndBelowAll(most)) => format!("≤ {}, below all", shown(most)),
            None => String::new(),
        }
    }

    fn peer_words(&self) -> Vec<String> {
        let Ok(ours) = &self.ours else { return Vec::new() };
        let words = |(name, figure): &(&str, f64)| {
            format!("{name} {} = {:.2}×", shown(*figure), figure / ours.median())
        };
        self.peers.iter().map(words).collect()
    }

    fn to_json(&self) -> Value {
        let ours = match &self.ours {
            Ok(ours) => ours,
            Err(why) => return json!({ "name": self.name, "failed": why }),
        };
        let peers: Map<String, Value> =
            self.peers.iter().map(|(name, figure)| ((*name).to_owned(), json!(rounded(*figure)))).collect();
        let mut case = json!({
            "name": self.name, "unit": self.unit, "ours": rounded(ours.median()), "ours_min": rounded(ours.min()),
            "rounds": ours.0.len(), "peers": peers,
        });
        match self.goal {
            Some(Goal::AtMost(most)) => case["goal"] = json!(most),
            Some(Goal::AtMostAndBelowAll(most)) => case["goal"] = json!({ "most": most, "below": "peers" }),
            None => {}
        }
        if let Some(met) = self.met() {
            case["met"] = json!(met);
        }
        case
    }
}

fn rounded(figure: f64) -> f64 {
    (figure * 1000.0).round() / 1000.0
}

fn shown(figure: f64) -> String {
    match figure.abs() {
        0.0 => "0".to_owned(),
        below if below < 10.0 => format!("{figure:.2}"),
        below if below < 100.0 => format!("{figure:.1}"),
        _ => format!("{figure:.0}"),
    }
}

/// Where it was measured.
pub(crate) struct Machine {
    cpu: String,
    cpus: usize,
    kernel: String,
    load: String,
}

impl Machine {
    /// This one, now.
    pub(crate) fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let model = |line: &str| Some(line.strip_prefix("model name")?.split_once(": ")?.1.to_owned());
        Self {
            cpu: cpuinfo.lines().find_map(model).unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cpus: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
        }
    }

    pub(crate) fn words(&self) -> String {
        format!("{} ({} processors), Linux {}, load {}", self.cpu, self.cpus, self.kernel, self.load)
    }
}

/// The whole as JSON.
pub(crate) fn to_json(machine: &Machine, cases: &[Case]) -> Value {
    json!({
        "bench": "dns",
        "machine": { "cpu": machine.cpu, "cpus": machine.cpus, "kernel": machine.kernel, "load": machine.load },
        "cases": cases.iter().map(Case::to_json).collect::<Vec<_>>(),
    })
}

/// The whole as a table that fits the terminal.
pub(crate) fn table(cases: &[Case]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["case", "ours", "peers, and how many times ours", "goal", "met"]);
    for case in cases {
        let ours = match &case.ours {
            Ok(ours) => Cell::new(format!("{} {}", shown(ours.median()), case.unit)),
            Err(why) => {
                table.add_row([Cell::new(&case.name), Cell::new("failed").fg(Color::Red), Cell::new(why)]);
                continue;
            }
        };
        let met = match case.met() {
            Some(true) => Cell::new("yes").fg(Color::Green),
            Some(false) => Cell::new("no").fg(Color::Red),
            None => Cell::new(""),
        };
        let peers = Cell::new(case.peer_words().join("\n"));
        let ours = ours.set_alignment(CellAlignment::Right);
        table.add_row([Cell::new(&case.name), ours, peers, Cell::new(case.goal_words()), met]);
    }
    table.to_string()
}

/// The line of the page behind which the figures stand.
const FIGURES: &str = "## Figures as seen\n";

/// Replaces the figures of a page.
pub(crate) fn write_page(path: &Path, machine: &Machine, cases: &[Case]) -> Result<()> {
    let page = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let (text, _) = page
        .split_once(FIGURES)
        .with_context(|| format!("{} has no line `{}`", path.display(), FIGURES.trim()))?;
    let mut page = format!("{text}{FIGURES}\n{}\n\n", machine.words());
    page.push_str("| case | secd | peers, and how many times secd's | goal | met |\n|---|---|---|---|---|\n");
    for case in cases {
        let ours = match &case.ours {
            Ok(ours) => format!("{} {} (least {})", shown(ours.median()), case.unit, shown(ours.min())),
            Err(why) => format!("failed: {why}"),
        };
        let met = case.met().map_or("", |met| if met { "yes" } else { "no" });
        let peers = case.peer_words().join(" · ");
        let _ = writeln!(page, "| `{}` | {ours} | {peers} | {} | {met} |", case.name, case.goal_words());
    }
    fs::write(path, page).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(figures: &[f64]) -> Series {
        figures.iter().copied().collect()
    }

    #[test]
    fn goals_are_met_or_not_and_a_failed_case_meets_none() {
        let case = || Case::new("a", "µs", &series(&[9.0, 5.0, 4.0])).peer("other", 4.5);
        assert_eq!(case().met(), None);
        assert_eq!(case().goal(Goal::AtMost(5.0)).met(), Some(true));
        assert_eq!(case().goal(Goal::AtMost(4.9)).met(), Some(false));
        assert_eq!(case().goal(Goal::AtMostAndBelowAll(5.0)).met(), Some(false));
        assert_eq!(Case::failed("a", "why").goal(Goal::AtMost(5.0)).met(), Some(false));
    }

    #[test]
    fn the_figures_of_a_page_are_replaced_and_its_text_stays() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), format!("# Title\n\ntext\n\n{FIGURES}old\n")).unwrap();
        let machine = Machine::here();
        let case = Case::new("a", "µs", &series(&[5.0])).peer("other", 10.0).goal(Goal::AtMost(6.0));
        write_page(file.path(), &machine, &[case]).unwrap();
        let page = fs::read_to_string(file.path()).unwrap();
        assert!(page.starts_with("# Title\n\ntext\n") && !page.contains("old"));
        assert!(
            page.contains("| `a` | 5.00 µs (least 5.00) | other 10.0 = 2.00× | ≤ 6.00 | yes |"),
            "{page}"
        );
    }
}
