//! Results: what was measured, whether it is what was wanted, as a table and as JSON.

use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use serde_json::{Value, json};
use std::fs;

/// Characters of a line of an error that are kept.
const MESSAGE: usize = 200;

/// Figures of one side, one a round.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    /// Adds that of a round.
    pub(crate) fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// The middle one.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            odd if odd % 2 == 1 => sorted[odd / 2],
            even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
        }
    }

    /// The least.
    pub(crate) fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The same above a floor: the median above its median, the least above its least.
    pub(crate) fn above(&self, median: f64, least: f64) -> Self {
        let (middle, lowest) = (self.median(), self.min());
        // Kept as figures of rounds, so that later medians and minima are those of the differences.
        let shifted = self.0.iter().map(|figure| {
            if *figure == lowest && lowest < middle { figure - least } else { figure - median }
        });
        Self(shifted.collect())
    }

    /// How many.
    pub(crate) fn rounds(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<f64> for Series {
    fn from_iter<I: IntoIterator<Item = f64>>(figures: I) -> Self {
        Self(figures.into_iter().collect())
    }
}

/// What is wanted of a case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// At most this, in the unit of the case.
    AtMost(f64),
    /// This peer takes at least so many times as much.
    Times(&'static str, f64),
}

/// One line of the results.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    /// Median and least of ours.
    pub(crate) ours: f64,
    pub(crate) ours_min: f64,
    pub(crate) rounds: usize,
    /// Medians of the others, in the same run.
    pub(crate) peers: Vec<(&'static str, f64)>,
    pub(crate) goal: Option<Goal>,
    /// Why there are no figures.
    pub(crate) failed: Option<String>,
}

impl Case {
    /// A case with figures.
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, ours: &Series) -> Self {
        Self {
            name: name.into(),
            unit,
            ours: ours.median(),
            ours_min: ours.min(),
            rounds: ours.rounds(),
            peers: Vec::new(),
            goal: None,
            failed: None,
        }
    }

    /// A case whose sides did not do the same work.
    pub(crate) fn failed(name: impl Into<String>, why: impl Into<String>) -> Self {
        let why = why.into();
        // A verifier's log is long.
        let first = why.lines().next().unwrap_or_default();
        let last = why.lines().next_back().filter(|last| *last != first).unwrap_or_default();
        let short = format!("{} {}", cut(first), cut(last));
        Self { failed: Some(short.trim().to_owned()), ..Self::new(name, "ns", &Series::default()) }
    }

    /// The same with a goal.
    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    /// The same with a peer.
    pub(crate) fn peer(mut self, name: &'static str, figure: f64) -> Self {
        self.peers.push((name, figure));
        self
    }

    /// Whether the goal is met; nothing where there is none.
    pub(crate) fn met(&self) -> Option<bool> {
        match (self.failed.is_some(), self.goal?) {
            (true, _) => Some(false),
            (false, Goal::AtMost(most)) => Some(self.ours <= most),
            (false, Goal::Times(peer, least)) => {
                let (_, figure) = self.peers.iter().find(|(name, _)| *name == peer)?;
                Some(figure / self.ours >= least)
            }
        }
    }

    /// One line for people.
    pub(crate) fn words(&self) -> String {
        match &self.failed {
            Some(why) => format!("{}: failed: {why}", self.name),
            None => {
                format!("{}: {} {} (least {})", self.name, shown(self.ours), self.unit, shown(self.ours_min))
            }
        }
    }

    fn to_json(&self) -> Value {
        if let Some(why) = &self.failed {
            return json!({ "name": self.name, "failed": why });
        }
        let peers: serde_json::Map<String, Value> =
            self.peers.iter().map(|(name, figure)| ((*name).to_owned(), json!(rounded(*figure)))).collect();
        let mut case = json!({
            "name": self.name,
            "unit": self.unit,
            "ours": rounded(self.ours),
            "ours_min": rounded(self.ours_min),
            "rounds": self.rounds,
            "peers": peers,
        });
        match self.goal {
            Some(Goal::AtMost(most)) => case["goal"] = json!(most),
            Some(Goal::Times(peer, times)) => case["goal"] = json!({ "peer": peer, "times": times }),
            None => {}
        }
        if let Some(met) = self.met() {
            case["met"] = json!(met);
        }
        case
    }
}

fn cut(line: &str) -> String {
    line.chars().take(MESSAGE).collect()
}

fn rounded(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}

/// Where it was measured.
#[derive(Clone, Debug)]
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
        let cpu = cpuinfo
            .lines()
            .find_map(|line| Some(line.strip_prefix("model name")?.split_once(": ")?.1.to_owned()));
        Self {
            cpu: cpu.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cpus: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
        }
    }

    /// For people.
    pub(crate) fn words(&self) -> String {
        format!("{} ({} processors), Linux {}, load {}", self.cpu, self.cpus, self.kernel, self.load)
    }
}

/// The whole as JSON.
pub(crate) fn to_json(bench: &str, machine: &Machine, cases: &[Case]) -> Value {
    json!({
        "bench": bench,
        "machine": {
            "cpu": machine.cpu, "cpus": machine.cpus, "kernel": machine.kernel, "load": machine.load,
        },
        "cases": cases.iter().map(Case::to_json).collect::<Vec<_>>(),
    })
}

/// The whole as a table that fits the terminal.
pub(crate) fn table(cases: &[Case]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["case", "ours", "peers, and how many times ours", "goal", "met"]);
    for case in cases {
        if let Some(why) = &case.failed {
            let cells = [Cell::new(&case.name), Cell::new("failed").fg(Color::Red), Cell::new(why)];
            table.add_row(cells);
            continue;
        }
        let peers: Vec<String> = case
            .peers
            .iter()
            .map(|(name, figure)| format!("{name} {} = {:.1}×", shown(*figure), figure / case.ours))
            .collect();
        let goal = match case.goal {
            Some(Goal::AtMost(most)) => format!("≤ {}", shown(most)),
            Some(Goal::Times(peer, times)) => format!("{peer} ≥ {times}×"),
            None => String::new(),
        };
        let met = match case.met() {
            Some(true) => Cell::new("yes").fg(Color::Green),
            Some(false) => Cell::new("no").fg(Color::Red),
            None => Cell::new(""),
        };
        let ours =
            Cell::new(format!("{} {}", shown(case.ours), case.unit)).set_alignment(CellAlignment::Right);
        table.add_row([Cell::new(&case.name), ours, Cell::new(peers.join("\n")), Cell::new(goal), met]);
    }
    table.to_string()
}

fn shown(figure: f64) -> String {
    if figure.abs() < 100.0 { format!("{figure:.1}") } else { format!("{figure:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(figures: &[f64]) -> Series {
        figures.iter().copied().collect()
    }

    #[test]
    fn medians_are_of_the_middle() {
        assert_eq!(series(&[9.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(series(&[4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert_eq!(series(&[9.0, 1.0, 2.0]).min(), 1.0);
    }

    #[test]
    fn goals_are_met_or_not_and_a_failed_case_meets_none() {
        let case = Case::new("a", "ns", &series(&[10.0])).peer("nft", 60.0);
        assert_eq!(case.met(), None);
        assert_eq!(case.clone().goal(Goal::AtMost(10.0)).met(), Some(true));
        assert_eq!(case.clone().goal(Goal::AtMost(9.0)).met(), Some(false));
        assert_eq!(case.clone().goal(Goal::Times("nft", 5.0)).met(), Some(true));
        assert_eq!(case.goal(Goal::Times("nft", 7.0)).met(), Some(false));
        assert_eq!(Case::failed("a", "why").goal(Goal::AtMost(1.0)).met(), Some(false));
    }

    #[test]
    fn the_json_is_of_the_agreed_shape() {
        let cases = [
            Case::new("a", "ns", &series(&[10.0])).peer("nft", 60.0).goal(Goal::AtMost(30.0)),
            Case::failed("b", "lost packets"),
        ];
        let json = to_json("packets", &Machine::here(), &cases);
        assert_eq!(
            json["cases"],
            json!([
                {"name": "a", "unit": "ns", "ours": 10.0, "ours_min": 10.0, "rounds": 1, "peers": {"nft": 60.0},
                 "goal": 30.0, "met": true},
                {"name": "b", "failed": "lost packets"},
            ])
        );
    }
}
