//! Two curves as pictures: cost over the size of the list, and over the number of rules. Drawn as SVG, both axes in
//! powers of ten.

use std::fmt::Write as _;

use crate::report::Case;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 52.0;
/// Colours that people who see fewer of them can tell apart (Okabe and Ito).
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];
/// Least distance between two labels.
const LABEL: f64 = 15.0;

/// A picture: name of the file, and what is in it.
pub(crate) struct Picture {
    pub(crate) file: &'static str,
    title: &'static str,
    across: &'static str,
    lines: Vec<Line>,
}

struct Line {
    name: &'static str,
    points: Vec<(f64, f64)>,
}

/// A line: its name, and for each place on the axis the case (and the peer in it, or ours).
type Wanted = (&'static str, &'static str, Option<&'static str>);

/// The pictures that these cases make; one of which nothing was measured is left out.
pub(crate) fn of(cases: &[Case]) -> Vec<Picture> {
    let lists = [("1k", 1e3), ("100k", 1e5), ("1M", 1e6)];
    let rules = [("10", 1e1), ("1k", 1e3), ("10k", 1e4)];
    let over_lists: [Wanted; 6] = [
        ("LPM_TRIE, v4", "drop/listed/@-list/10k-rules/v4", Some("lpm-trie")),
        ("first packet, v4", "verdict/first-packet/@-list/10k-rules/v4", None),
        ("listed source, v6", "drop/listed/@-list/10k-rules/v6", None),
        ("listed source, v4", "drop/listed/@-list/10k-rules/v4", None),
        ("known flow, 512k, v4", "verdict/established/512k-flows/@-list/10k-rules/v4", None),
        ("known flow, 1024, v4", "verdict/established/1024-flows/@-list/10k-rules/v4", None),
    ];
    let over_rules: [Wanted; 6] = [
        ("first packet, v6", "verdict/first-packet/1M-list/@-rules/v6", None),
        ("first packet, v4", "verdict/first-packet/1M-list/@-rules/v4", None),
        ("classifier, v6", "classifier/@-rules/v6", None),
        ("classifier, v4", "classifier/@-rules/v4", None),
        ("known flow, 512k, v4", "verdict/established/512k-flows/1M-list/@-rules/v4", None),
        ("known flow, 1024, v4", "verdict/established/1024-flows/1M-list/@-rules/v4", None),
    ];
    let pictures = [
        Picture {
            file: "cost-over-list.svg",
            title: "Nanoseconds a packet over the size of the address list",
            across: "addresses and networks on the list",
            lines: lines(cases, &over_lists, &lists),
        },
        Picture {
            file: "cost-over-rules.svg",
            title: "Nanoseconds a packet over the number of rules",
            across: "rules",
            lines: lines(cases, &over_rules, &rules),
        },
    ];
    pictures.into_iter().filter(|picture| !picture.lines.is_empty()).collect()
}

fn lines(cases: &[Case], wanted: &[Wanted], places: &[(&str, f64)]) -> Vec<Line> {
    let figure = |name: &str, peer: Option<&str>| {
        let case = cases.iter().find(|case| case.name == name && case.failed.is_none())?;
        match peer {
            None => Some(case.ours),
            Some(peer) => case.peers.iter().find(|(name, _)| *name == peer).map(|(_, figure)| *figure),
        }
    };
    wanted
        .iter()
        .map(|(name, pattern, peer)| {
            let points =
                places.iter().filter_map(|(word, x)| Some((*x, figure(&pattern.replace('@', word), *peer)?)));
            Line { name, points: points.filter(|(_, y)| *y >= 1.0).collect() }
        })
        .filter(|line| line.points.len() > 1)
        .collect()
}

impl Picture {
    /// The picture as SVG.
    pub(crate) fn to_svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let (from, to) = decades(points().map(|(x, _)| *x));
        let (low, high) = decades(points().map(|(_, y)| *y));
        let across = |x: f64| LEFT + (x.log10() - from) / (to - from) * (WIDTH - LEFT - RIGHT);
        let up = |y: f64| HEIGHT - BOTTOM - (y.log10() - low) / (high - low) * (HEIGHT - TOP - BOTTOM);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"24\" font-size=\"15\" font-weight=\"bold\">{}</text>\n",
            self.title
        );
        let (end, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for exponent in low as i32..=high as i32 {
            let (value, y) = (10_f64.powi(exponent), up(10_f64.powi(exponent)));
            let _ = writeln!(
                svg,
                "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{end}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value} ns</text>",
                LEFT - 8.0,
                y + 4.0
            );
        }
        for exponent in from as i32..=to as i32 {
            let (value, x) = (10_f64.powi(exponent), across(10_f64.powi(exponent)));
            let _ = writeln!(
                svg,
                "<line x1=\"{x:.1}\" y1=\"{bottom}\" x2=\"{x:.1}\" y2=\"{}\" stroke=\"#888\"/>\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                bottom + 5.0,
                bottom + 20.0,
                thousands(value)
            );
        }
        let middle = f64::midpoint(LEFT, end);
        let _ = writeln!(
            svg,
            "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - 12.0,
            self.across
        );
        let mut labels: Vec<(f64, usize)> = Vec::new();
        for (number, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let path: Vec<String> =
                line.points.iter().map(|(x, y)| format!("{:.1},{:.1}", across(*x), up(*y))).collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                path.join(" ")
            );
            for (x, y) in &line.points {
                let _ = writeln!(
                    svg,
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"{colour}\"/>",
                    across(*x),
                    up(*y)
                );
            }
            labels.extend(line.points.last().map(|(_, y)| (up(*y) + 4.0, number)));
        }
        labels.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut above = f64::NEG_INFINITY;
        for (y, number) in labels {
            above = y.max(above + LABEL);
            let line = &self.lines[number];
            let figure = line.points.last().map_or(0.0, |(_, y)| *y);
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{above:.1}\" fill=\"{}\">{}: {figure:.0} ns</text>",
                end + 10.0,
                COLOURS[number % COLOURS.len()],
                line.name
            );
        }
        svg + "</svg>\n"
    }
}

/// Powers of ten around all figures, as exponents; at least one apart.
fn decades(figures: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = figures.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), figure| {
        (low.min(figure.log10()), high.max(figure.log10()))
    });
    let (low, high) = (low.floor(), high.ceil());
    (low, if high > low { high } else { low + 1.0 })
}

fn thousands(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{}M", v / 1e6),
        v if v >= 1e3 => format!("{}k", v / 1e3),
        v => format!("{v}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Series;

    #[test]
    fn a_line_needs_two_points_and_labels_do_not_touch() {
        let case = |name: &str, ours: f64| {
            let series: Series = [ours].into_iter().collect();
            Case::new(name, "ns", &series)
        };
        let mut cases = vec![case("classifier/10-rules/v4", 100.0)];
        assert!(of(&cases).is_empty());
        for family in ["v4", "v6"] {
            cases.push(case(&format!("classifier/10-rules/{family}"), 100.0));
            cases.push(case(&format!("classifier/10k-rules/{family}"), 200.0));
        }
        let pictures = of(&cases);
        assert_eq!(pictures.iter().map(|picture| picture.file).collect::<Vec<_>>(), ["cost-over-rules.svg"]);
        let svg = pictures[0].to_svg();
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert_eq!(svg.matches(": 200 ns").count(), 2);
        let heights: Vec<f64> = svg
            .lines()
            .filter(|line| line.contains(": 200 ns"))
            .filter_map(|line| line.split("y=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        assert!((heights[1] - heights[0]).abs() >= LABEL);
    }
}
