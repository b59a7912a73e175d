//! CrowdSec's profiles: which decisions they make of an alert.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use logs::crowdsec::overflow::{Alert, Source};
use logs::crowdsec::profile::{Profile, ProfileDecision, decide};
use logs::expr::{Problem, Scope, Time, Value};

const HOUR: i64 = 3_600 * 1_000_000_000;

/// Profiles as people have them.
const USUAL: &str = r#"
name: captcha_remediation
filters:
  - Alert.Remediation == true && Alert.GetScope() == "Ip" && Alert.GetScenario() contains "http"
decisions:
  - type: captcha
    duration: 4h
on_success: break
---
name: default_ip_remediation
filters:
  - Alert.Remediation == true && Alert.GetScope() == "Ip"
decisions:
  - type: ban
    duration: 4h
duration_expr: Sprintf('%dh', (GetDecisionsCount(Alert.GetValue()) + 1) * 4)
notifications: [slack]
on_success: break
---
name: default_range_remediation
filters:
  - Alert.Remediation == true && Alert.GetScope() == "Range"
decisions:
  - type: ban
    duration: 1d
    scope: Range
on_success: break
"#;

/// An address that was banned twice before.
struct Known;

impl Scope for Known {
    fn path(&self, _: &[Arc<str>]) -> Option<(Value, usize)> {
        None
    }

    fn call(&mut self, function: &str, arguments: &[Value]) -> Option<Result<Value, Problem>> {
        (function == "GetDecisionsCount")
            .then(|| Ok(Value::Int(if arguments[0].as_text() == Some("192.0.2.2") { 2 } else { 0 })))
    }

    fn now(&self) -> Time {
        Time::zero()
    }
}

fn alert(scenario: &str, scope: &str, value: &str) -> Alert {
    Alert {
        scenario: scenario.into(),
        remediation: true,
        source: Source { scope: scope.into(), value: value.into(), ..Source::default() },
        ..Alert::default()
    }
}

fn read(text: &str) -> Vec<Profile> {
    Profile::read("profiles.yaml", text.as_bytes()).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

fn short(decisions: &[ProfileDecision]) -> Vec<String> {
    let line = |made: &ProfileDecision| {
        format!("{} {} {} {} {}", made.profile, made.kind, made.scope, made.value, made.duration / HOUR)
    };
    decisions.iter().map(line).collect()
}

#[test]
fn the_first_that_fits_decides() {
    let profiles = read(USUAL);
    assert_eq!(profiles[1].notifications, ["slack"]);
    for (alert, expected) in [
        (alert("test/http-probing", "Ip", "192.0.2.1"), "captcha_remediation captcha Ip 192.0.2.1 4"),
        (alert("test/ssh", "Ip", "192.0.2.1"), "default_ip_remediation ban Ip 192.0.2.1 4"),
        (alert("test/ssh", "Ip", "192.0.2.2"), "default_ip_remediation ban Ip 192.0.2.2 12"),
        (alert("test/ssh", "Range", "192.0.2.0/24"), "default_range_remediation ban Range 192.0.2.0/24 24"),
    ] {
        let made = decide(&profiles, &alert, &mut Known).unwrap();
        assert_eq!(short(&made), [expected]);
        assert_eq!((&made[0].scenario, made[0].simulated), (&alert.scenario, false));
    }
    let without = Alert { remediation: false, ..alert("test/ssh", "Ip", "192.0.2.1") };
    assert!(decide(&profiles, &without, &mut Known).unwrap().is_empty());
    let tried = Alert { simulated: true, ..alert("test/ssh", "Ip", "192.0.2.1") };
    assert!(decide(&profiles, &tried, &mut Known).unwrap()[0].simulated);
}

#[test]
fn without_a_break_later_ones_only_notify() {
    let profiles = read(&USUAL.replace("on_success: break", "on_success: continue"));
    let made = decide(&profiles, &alert("test/http-probing", "Ip", "192.0.2.1"), &mut Known).unwrap();
    assert_eq!(short(&made), ["captcha_remediation captcha Ip 192.0.2.1 4"]);
}

#[test]
fn what_cannot_be_computed() {
    let odd =
        USUAL.replace("Sprintf('%dh', (GetDecisionsCount(Alert.GetValue()) + 1) * 4)", "\"'for ever'\"");
    let made = decide(&read(&odd), &alert("test/ssh", "Ip", "192.0.2.2"), &mut Known).unwrap();
    assert_eq!(made[0].duration, 4 * HOUR, "a duration that is none is the one that is written");
    let broken = USUAL.replace("contains \"http\"", "contains Alert.Source");
    let made = decide(&read(&broken), &alert("test/ssh", "Ip", "192.0.2.1"), &mut Known).unwrap();
    assert_eq!(made[0].profile, "default_ip_remediation", "the next profile is asked");
    let stop = broken.replacen("on_success: break", "on_error: break", 1);
    let (profile, _) = decide(&read(&stop), &alert("test/ssh", "Ip", "192.0.2.1"), &mut Known).unwrap_err();
    assert_eq!(profile, "captcha_remediation");
}

#[test]
fn mistakes_are_told_with_their_line() {
    for (replace, with, line, says) in [
        ("  - type: captcha", "  - typ: captcha", 6, "without `type`"),
        ("duration: 4h\non_success: break\n---", "duration: soon\n---", 6, "`duration: soon`"),
        ("name: captcha_remediation", "nmae: captcha_remediation", 2, "`nmae` is not supported"),
        (
            "on_success: break\n---\nname: default_ip",
            "on_success: stop\n---\nname: default_ip",
            8,
            "`on_success: stop`",
        ),
        ("contains \"http\"", "contains", 4, "contains"),
        ("Alert.GetScenario()", "evt.Meta.x", 4, "there is no `evt`"),
        ("GetDecisionsCount", "AskSomebody", 16, "AskSomebody"),
    ] {
        assert!(USUAL.contains(replace), "{replace}");
        let mistakes =
            Profile::read("profiles.yaml", USUAL.replacen(replace, with, 1).as_bytes()).unwrap_err();
        assert!(
            mistakes.iter().any(|it| it.line == line && it.message.contains(says)),
            "{with}: {mistakes:#?}"
        );
    }
    assert!(Profile::read("profiles.yaml", b"name: [").is_err());
}
