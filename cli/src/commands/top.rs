//! `secctl top`.

use crossterm::{
    cursor,
    event::{self, Event, KeyCode, KeyModifiers},
    queue, terminal,
};
use protocol::{FlowRow, Lasting, Top, TopQuery, path};
use std::{
    io::{self, Write},
    time::Duration,
};

use super::{Done, Online, endpoint};
use crate::{
    Environment,
    failure::Failure,
    output::{Column, Field, Format, Output, Paint, painted, plain},
    text::{bytes, json_line, number},
};

/// Show live what is going on: zones, drops by reason, rules and flows; q ends it
///
/// Without a terminal one frame is printed, as with --once; with -o json an object a line until it is stopped.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Print one frame and end
    #[arg(long)]
    once: bool,
    /// How often to look
    #[arg(long, value_name = "TIME", default_value = "2s")]
    every: Lasting,
    /// At most this many flows and rules
    #[arg(long, default_value_t = 10, value_name = "N")]
    limit: u32,
}

/// Fastest pace: each look costs the daemon some milliseconds.
const LEAST: Duration = Duration::from_millis(200);

pub(crate) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    let Lasting(every) = asked.every;
    if every < LEAST {
        return Err(super::usage("look at most five times a second: --every 200ms".into()));
    }
    let query = TopQuery { limit: Some(asked.limit) };
    let look = |online: &Online<'_, '_>| online.client.get::<Top>(path::TOP, &query);
    let live = !asked.once && (online.environment.terminal || online.output.format() == Format::Json);
    if !live {
        let top = look(online)?;
        return Ok(online.output.show(&top, |output, top| frame(output, top, None))?);
    }
    if online.output.format() == Format::Json {
        loop {
            let line = json_line(&look(online)?)?;
            online.output.line(&line)?;
            online.output.flush()?;
            online.client.rest(every);
        }
    }
    let _screen = Screen::open()?;
    let mut former: Option<Top> = None;
    loop {
        let top = look(online)?;
        draw(online.output, online.environment, &top, former.as_ref())?;
        former = Some(top);
        if wait(every)? {
            return Ok(());
        }
    }
}

/// Waits; whether the person has had enough. A change of the terminal's size ends the wait.
fn wait(every: Duration) -> io::Result<bool> {
    if !event::poll(every)? {
        return Ok(false);
    }
    Ok(match event::read()? {
        Event::Key(key) => {
            let interrupted = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            interrupted || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)
        }
        Event::Resize(..) | Event::FocusGained | Event::FocusLost | Event::Mouse(_) => false,
    })
}

/// The terminal while it shows frames; as it was before when dropped.
struct Screen;

impl Screen {
    fn open() -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        let screen = Self;
        queue!(io::stdout(), terminal::EnterAlternateScreen, cursor::Hide)?;
        io::stdout().flush()?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = queue!(io::stdout(), terminal::LeaveAlternateScreen, cursor::Show);
        let _ = io::stdout().flush();
        let _ = terminal::disable_raw_mode();
    }
}

/// Draws a frame over the former one, as much as fits.
fn draw(
    output: &mut Output<'_>,
    environment: &Environment,
    top: &Top,
    former: Option<&Top>,
) -> Result<(), Failure> {
    let (width, height) = terminal::size().unwrap_or((80, 24));
    let environment = Environment { width: Some(width), ..environment.clone() };
    let (mut drawn, mut aside) = (Vec::new(), Vec::new());
    let mut page = Output::new(&mut drawn, &mut aside, Format::Table, output.colored(), &environment);
    frame(&mut page, top, former)?;
    let mut screen = Vec::new();
    queue!(screen, cursor::MoveTo(0, 0))?;
    for line in String::from_utf8_lossy(&drawn).lines().take(usize::from(height).saturating_sub(1)) {
        screen.extend_from_slice(line.as_bytes());
        queue!(screen, terminal::Clear(terminal::ClearType::UntilNewLine))?;
        screen.extend_from_slice(b"\r\n");
    }
    queue!(screen, terminal::Clear(terminal::ClearType::FromCursorDown))?;
    output.raw(&screen)?;
    Ok(output.flush()?)
}

/// One look at everything; with a former one, how fast it goes.
fn frame(output: &mut Output<'_>, top: &Top, former: Option<&Top>) -> io::Result<()> {
    let line = format!(
        "{}  {} of {} flows",
        output.paint(&output.moment(top.at), Paint::Title),
        number(top.open),
        number(top.capacity)
    );
    output.line(&line)?;
    output.line("")?;
    zones(output, top, former)?;
    if !top.reasons.is_empty() {
        output.line("")?;
        reasons(output, top, former)?;
    }
    if !top.rules.is_empty() {
        output.line("")?;
        rules(output, top, former)?;
    }
    if !top.flows.is_empty() {
        output.line("")?;
        flows(output, top, former)?;
    }
    Ok(())
}

fn zones(output: &mut Output<'_>, top: &Top, former: Option<&Top>) -> io::Result<()> {
    let rows = top
        .zones
        .iter()
        .map(|zone| {
            let before = former.map(|former| former.zones.iter().find(|before| before.zone == zone.zone));
            let of = |count: fn(&protocol::ZoneTraffic) -> u64| before.map(|before| before.map_or(0, count));
            vec![
                plain(&zone.zone),
                plain(number(zone.flows)),
                plain(number(zone.passed)),
                stopped(zone.stopped),
                plain(bytes(zone.bytes)),
                plain(rate(top, former, zone.passed, of(|zone| zone.passed), number)),
                plain(rate(top, former, zone.stopped, of(|zone| zone.stopped), number)),
                plain(rate(top, former, zone.bytes, of(|zone| zone.bytes), bytes)),
            ]
        })
        .collect();
    output.table(
        &[
            Column::new("ZONE").whole(),
            Column::new("FLOWS").right(),
            Column::new("PASSED").right(),
            Column::new("STOPPED").right(),
            Column::new("BYTES").right().wide(70),
            Column::new("PASSED/s").right(),
            Column::new("STOPPED/s").right().wide(90),
            Column::new("BYTES/s").right(),
        ],
        rows,
    )
}

fn reasons(output: &mut Output<'_>, top: &Top, former: Option<&Top>) -> io::Result<()> {
    let mut reasons: Vec<_> = top.reasons.iter().filter(|(_, count)| **count > 0).collect();
    reasons.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
    let rows = reasons
        .into_iter()
        .map(|(reason, count)| {
            let before = former.map(|former| former.reasons.get(reason).copied().unwrap_or(0));
            vec![plain(reason), plain(number(*count)), plain(rate(top, former, *count, before, number))]
        })
        .collect();
    output.table(
        &[
            Column::new("STOPPED AS").whole(),
            Column::new("PACKETS").right(),
            Column::new("PACKETS/s").right(),
        ],
        rows,
    )
}

fn rules(output: &mut Output<'_>, top: &Top, former: Option<&Top>) -> io::Result<()> {
    let rows = top
        .rules
        .iter()
        .map(|rule| {
            let before = former.map(|former| former.rules.iter().find(|before| before.rule == rule.rule));
            let packets = before.map(|before| before.map_or(0, |before| before.packets));
            let carried = before.map(|before| before.map_or(0, |before| before.bytes));
            vec![
                plain(&rule.rule),
                painted(&rule.action, if rule.action == "allow" { Paint::Good } else { Paint::Bad }),
                plain(number(rule.packets)),
                plain(rate(top, former, rule.packets, packets, number)),
                plain(rate(top, former, rule.bytes, carried, bytes)),
                plain(&rule.comment),
            ]
        })
        .collect();
    output.table(
        &[
            Column::new("RULE").whole(),
            Column::new("ACTION").whole(),
            Column::new("PACKETS").right(),
            Column::new("PACKETS/s").right(),
            Column::new("BYTES/s").right().wide(90),
            Column::new("COMMENT").wide(100),
        ],
        rows,
    )
}

fn flows(output: &mut Output<'_>, top: &Top, former: Option<&Top>) -> io::Result<()> {
    let rows = top
        .flows
        .iter()
        .map(|flow| {
            let same = |before: &&FlowRow| {
                (before.src, before.dst, before.sport, before.dport, &before.proto)
                    == (flow.src, flow.dst, flow.sport, flow.dport, &flow.proto)
            };
            // A flow that was not among the top ones before has no rate yet.
            let before = former.and_then(|former| former.flows.iter().find(same)).map(|flow| flow.bytes);
            vec![
                plain(endpoint(flow.src, flow.sport, &flow.proto, true)),
                plain(endpoint(flow.dst, flow.dport, &flow.proto, false)),
                plain(&flow.proto),
                painted(&flow.verdict, if flow.verdict == "pass" { Paint::Good } else { Paint::Bad }),
                plain(bytes(flow.bytes)),
                plain(rate(top, former, flow.bytes, before, bytes)),
            ]
        })
        .collect();
    output.table(
        &[
            Column::new("SOURCE"),
            Column::new("DESTINATION"),
            Column::new("PROTO").whole().wide(70),
            Column::new("VERDICT").whole().wide(70),
            Column::new("BYTES").right(),
            Column::new("BYTES/s").right(),
        ],
        rows,
    )
}

fn stopped(packets: u64) -> Field {
    if packets == 0 { plain("0") } else { painted(number(packets), Paint::Bad) }
}

/// So much a second between two looks; `-` where there was none before, or counting began again.
fn rate(top: &Top, former: Option<&Top>, now: u64, before: Option<u64>, shown: fn(u64) -> String) -> String {
    let millis = former.map_or(0, |former| top.at.since(former.at).as_millis());
    match before.and_then(|before| now.checked_sub(before)) {
        Some(more) if millis > 0 => {
            shown(u64::try_from(u128::from(more) * 1000 / millis).unwrap_or(u64::MAX))
        }
        Some(_) | None => "-".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Timestamp;

    fn top(seconds: i64, packets: u64) -> Top {
        Top {
            at: Timestamp::from_seconds(1_790_000_000 + seconds),
            flows: Vec::new(),
            open: 1,
            capacity: 65_536,
            zones: vec![protocol::ZoneTraffic {
                zone: "iot".into(),
                flows: 1,
                passed: packets,
                stopped: 0,
                bytes: packets * 2048,
            }],
            rules: Vec::new(),
            reasons: [("spoofed".to_owned(), packets / 10)].into(),
        }
    }

    #[test]
    fn two_looks_make_a_rate() {
        let environment = Environment { width: Some(80), ..Environment::of_process() };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = Output::new(&mut out, &mut err, Format::Table, false, &environment);
        frame(&mut output, &top(2, 1000), Some(&top(0, 600))).unwrap();
        let seen = String::from_utf8(out).unwrap();
        let row = |name: &str| -> Vec<String> {
            let line = seen.lines().find(|line| line.starts_with(name)).unwrap();
            line.split("  ").map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
        };
        assert_eq!(row("iot"), ["iot", "1", "1 000", "0", "1.9 MiB", "200", "400.0 KiB"]);
        assert_eq!(row("spoofed"), ["spoofed", "100", "20"]);
    }

    #[test]
    fn what_counts_anew_has_no_rate() {
        assert_eq!(rate(&top(2, 0), Some(&top(0, 0)), 5, Some(9), number), "-");
        assert_eq!(rate(&top(0, 0), Some(&top(0, 0)), 9, Some(5), number), "-");
        assert_eq!(rate(&top(2, 0), None, 9, None, number), "-");
    }
}
