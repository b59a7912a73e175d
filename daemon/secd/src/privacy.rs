//! What of a zone's questions is told and kept.

use config::Privacy;
use model::{Body, Event};
use std::net::{IpAddr, Ipv4Addr};

/// Stands for a name that is not told.
pub const HIDDEN: &str = "hidden";

/// The event of a question as its zone's privacy has it. What would name what is hidden goes with it: the line of a list
/// names the name.
#[must_use]
pub fn kept(mut event: Event, privacy: Privacy) -> Event {
    let (names, clients) = match privacy {
        Privacy::Full => return event,
        Privacy::NoNames => (false, true),
        Privacy::NoClients => (true, false),
        Privacy::None => (false, false),
    };
    if let Body::Query { client, name, by, .. } = &mut event.body {
        if !names {
            HIDDEN.clone_into(name);
            *by = None;
        }
        if !clients {
            *client = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        }
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{EventAction, Severity, Timestamp};

    #[test]
    fn what_is_hidden_is_in_no_part_of_the_event() {
        let event = Event {
            ts: Timestamp(1),
            severity: Severity::Info,
            action: EventAction::Sinkhole,
            zone: Some("guest".into()),
            reason: Some("listed".into()),
            body: Body::Query {
                client: [10, 4, 0, 9].into(),
                name: "ads.example".into(),
                qtype: "A".into(),
                rcode: "NOERROR".into(),
                from: "sinkhole".into(),
                by: Some("list ads line 12 (alias ads.example)".into()),
                micros: 41,
            },
        };
        let text = |privacy| serde_json::to_string(&kept(event.clone(), privacy)).unwrap();
        for (privacy, names, clients) in [
            (Privacy::Full, true, true),
            (Privacy::NoNames, false, true),
            (Privacy::NoClients, true, false),
            (Privacy::None, false, false),
        ] {
            let text = text(privacy);
            assert_eq!(text.contains("ads.example"), names, "{text}");
            assert_eq!(text.contains("line 12"), names, "{text}");
            assert_eq!(text.contains("10.4.0.9"), clients, "{text}");
            assert!(text.contains("guest") && text.contains("sinkhole"), "{text}");
        }
    }
}
