//! What of a zone's questions is told and kept.

use config::Privacy;
use model::{AnswerCode, AnswerFrom, Body, DecisionKind, Event, QueryType};
use querylog::{By, Entry};
use resolver::{Decider, From, Query};
use std::net::{IpAddr, Ipv4Addr};

/// Stands for a name that is not told.
pub const HIDDEN: &str = "hidden";

/// The event of a question as its zone's privacy has it. What would name what is hidden goes with it: the line of a list
/// names the name.
#[must_use]
pub fn kept(mut event: Event, privacy: Privacy) -> Event {
    let (names, clients) = told(privacy);
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

/// The same of a question for the log.
#[must_use]
pub fn logged<'a>(query: &'a Query<'_>, privacy: Privacy) -> Entry<'a> {
    let (names, clients) = told(privacy);
    let (from, upstream) = match &query.from {
        From::Sinkhole => (AnswerFrom::Sinkhole, ""),
        From::Rewrite => (AnswerFrom::Rewrite, ""),
        From::Local => (AnswerFrom::Local, ""),
        From::Here => (AnswerFrom::Here, ""),
        From::Cache => (AnswerFrom::Cache, ""),
        From::Stale => (AnswerFrom::Stale, ""),
        From::Upstream(upstream) => (AnswerFrom::Upstream, &**upstream),
        From::Nobody => (AnswerFrom::Nobody, ""),
        From::Overload => (AnswerFrom::Overload, ""),
    };
    let by = query.by.as_ref().map(|(by, kind)| {
        let allow = match kind {
            DecisionKind::Allow => true,
            DecisionKind::Ban => false,
        };
        match by {
            Decider::List(list, line) => By::List { list, line: *line, allow },
            Decider::Decision(id) => By::Decision { id: *id, allow },
            Decider::Rebinding(_) => By::Rebinding,
        }
    });
    Entry {
        at: query.date,
        client: clients.then_some(query.client),
        client_name: if clients { &query.client_name } else { "" },
        zone: &query.zone,
        name: names.then_some(query.name),
        alias: if names { query.alias } else { "" },
        qtype: QueryType(query.qtype),
        code: AnswerCode(query.code),
        action: query.action,
        from,
        upstream,
        by: by.filter(|_| names),
        secure: query.secure,
        micros: query.micros,
    }
}

/// Whether names and clients are told.
const fn told(privacy: Privacy) -> (bool, bool) {
    match privacy {
        Privacy::Full => (true, true),
        Privacy::NoNames => (false, true),
        Privacy::NoClients => (true, false),
        Privacy::None => (false, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{EventAction, Timestamp};

    #[test]
    fn what_is_hidden_is_in_no_part_of_the_event_or_the_log() {
        let query = Query {
            date: Timestamp(1),
            client: [10, 4, 0, 9].into(),
            zone: "guest".into(),
            client_name: "tablet".into(),
            name: "ads.example",
            alias: "ads.example",
            qtype: 1,
            code: 0,
            action: EventAction::Sinkhole,
            from: From::Sinkhole,
            by: Some((Decider::List("ads".into(), 12), DecisionKind::Ban)),
            secure: false,
            transport: resolver::Transport::Udp,
            micros: 41,
        };
        for (privacy, names, clients) in [
            (Privacy::Full, true, true),
            (Privacy::NoNames, false, true),
            (Privacy::NoClients, true, false),
            (Privacy::None, false, false),
        ] {
            let event = serde_json::to_string(&kept(query.event(), privacy)).unwrap();
            let entry = format!("{:?}", logged(&query, privacy));
            for text in [&event, &entry] {
                assert_eq!(text.contains("ads"), names, "{text}");
                assert_eq!(text.contains("12"), names, "{text}");
                assert_eq!(text.contains("10.4.0.9"), clients, "{text}");
                assert!(text.contains("guest") && text.to_lowercase().contains("sinkhole"), "{text}");
            }
            assert_eq!(entry.contains("tablet"), clients, "{entry}");
        }
    }
}
