//! CrowdSec's scenario files.

use logs::crowdsec::{
    Event, Line, Mode, Pipeline,
    buckets::{BucketLimits, Buckets},
    scenario::Scenario,
};
use logs::expr::Time;
use std::sync::Arc;

/// Small, so that the limits are reached.
const LIMITS: BucketLimits = BucketLimits { buckets: 8, kept: 16, kept_bytes: 64 * 1024 };

/// A scenario file; what it reads as takes events of a few addresses.
pub(crate) fn scenario(data: &[u8]) {
    let scenarios = match Scenario::read("own.yaml", data) {
        Ok(scenarios) => scenarios,
        Err(mistakes) => {
            assert!(!mistakes.is_empty());
            assert!(mistakes.iter().all(|mistake| mistake.line > 0 && !mistake.message.is_empty()));
            return;
        }
    };
    assert!(!scenarios.is_empty());
    let mut buckets = Buckets::new(scenarios, LIMITS);
    let (mut pipeline, _) = Pipeline::new(&logs::crowdsec::Items::default());
    for number in 0..40_i64 {
        let at = Time::utc(jiff::Timestamp::from_second(1_790_000_000 + number * number).unwrap());
        let mut event = Event::line(Line::default(), Mode::Replay, at);
        event.marshaled_time = at.rfc3339().into();
        let meta = Arc::make_mut(&mut event.meta);
        meta.insert("source_ip".into(), format!("192.0.2.{}", number % 12).into());
        meta.insert("log_type".into(), "failed".into());
        meta.insert("user".into(), number.to_string().into());
        let mut seen = event.clone();
        let now = 1_790_000_000_000_000_000 + number;
        for overflow in buckets.pour(&Arc::new(event), &mut pipeline.scope(&mut seen, at), now) {
            let overflow = overflow.overflow.unwrap();
            assert!(!overflow.alerts.is_empty() && overflow.alerts.len() == overflow.sources.len());
            assert!(overflow.alert().is_some_and(|alert| alert.events_count > 0 && !alert.events.is_empty()));
        }
        let stats = buckets.stats();
        assert!(stats.buckets <= LIMITS.buckets && stats.kept_bytes <= LIMITS.kept_bytes, "{stats:?}");
    }
}
