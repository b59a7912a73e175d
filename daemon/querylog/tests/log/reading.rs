//! What is asked of the log.

use model::{
    AnswerCode, AnswerFrom, EventAction, QueryClient, QueryDecider, QueryFilter, QueryRow, QueryStatsFilter,
    QueryType, Timestamp,
};
use querylog::{By, Entry, LogError, QueryLog, Settings};

use crate::common::{Bench, HOUR, SECOND, START, blocked, forwarded, roomy};

async fn names(log: &QueryLog, filter: QueryFilter) -> Vec<String> {
    let page = log.queries(&filter).await.unwrap();
    page.rows.into_iter().map(|row| row.name.unwrap_or_else(|| "-".into())).collect()
}

#[tokio::test]
async fn a_question_comes_back_as_it_was_and_outlives_the_daemon() {
    let bench = Bench::new();
    let log = bench.open(roomy());
    let full = Entry {
        client_name: "kids-tablet",
        alias: "tracker.example",
        qtype: QueryType(65),
        code: AnswerCode(3),
        ..blocked(START, 9, "shop.example")
    };
    let hidden = Entry { client: None, name: None, by: None, zone: "guest", ..forwarded(START + 1, 0, "") };
    let ordered = Entry {
        by: Some(By::Decision { id: 1 << 40, allow: true }),
        from: AnswerFrom::Stale,
        action: EventAction::Observe,
        ..forwarded(START + 2, 1, "")
    };
    for entry in [&full, &hidden, &ordered] {
        log.push(entry);
    }
    let before = log.queries(&QueryFilter::default()).await.unwrap();
    log.close();
    let log = bench.open(roomy());
    let page = log.queries(&QueryFilter::default()).await.unwrap();
    assert_eq!(page, before);
    assert_eq!(page.kept_since, Some(Timestamp(START)));
    let expected = QueryRow {
        id: START.cast_unsigned(),
        at: Timestamp(START),
        client: QueryClient {
            address: Some([10, 4, 0, 9].into()),
            name: Some("kids-tablet".into()),
            zone: "home".into(),
        },
        name: Some("shop.example".into()),
        qtype: QueryType(65),
        code: AnswerCode(3),
        action: EventAction::Sinkhole,
        from: AnswerFrom::Sinkhole,
        upstream: None,
        by: Some(QueryDecider::List { list: "ads".into(), line: 7, allow: false }),
        alias: Some("tracker.example".into()),
        secure: false,
        micros: 0,
    };
    assert_eq!(page.rows[2], expected);
    let told = &page.rows[1];
    assert_eq!((told.client.address, &told.name, &*told.client.zone), (None, &None, "guest"));
    assert_eq!(told.upstream.as_deref(), Some("9.9.9.9:53"));
    assert_eq!(page.rows[0].by, Some(QueryDecider::Decision { id: 1 << 40, allow: true }));
    assert_eq!((page.rows[0].name.as_deref(), page.rows[0].secure), (Some("."), true));
}

#[tokio::test]
async fn filters_and_pages() {
    let bench = Bench::new();
    let log = bench.open(roomy());
    for n in 0..10 {
        log.push(&forwarded(START + n * SECOND, 1, "www.example.com"));
        log.push(&blocked(START + n * SECOND, 2, "ads.example.net"));
    }
    let named = Entry { client_name: "tablet", ..blocked(START + 20 * SECOND, 3, "example.com") };
    log.push(&named);
    log.push(&Entry {
        upstream: "1.1.1.1:53",
        qtype: QueryType(28),
        ..forwarded(START + HOUR, 3, "six.example")
    });
    let of = |filter: QueryFilter| names(&log, filter);
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(of(QueryFilter::default()).await.len(), 22);
    for (filter, expected) in [
        (QueryFilter { name: text("Example.com"), ..QueryFilter::default() }, 11),
        (QueryFilter { name: text("*.example.*"), ..QueryFilter::default() }, 20),
        (QueryFilter { name: text("nothing.example"), ..QueryFilter::default() }, 0),
        (QueryFilter { client: text("10.4.0.1"), ..QueryFilter::default() }, 10),
        (QueryFilter { client: text("tablet"), ..QueryFilter::default() }, 1),
        (QueryFilter { client: text("10.4.0.3"), blocked: true, ..QueryFilter::default() }, 1),
        (QueryFilter { blocked: true, ..QueryFilter::default() }, 11),
        (QueryFilter { from: Some(AnswerFrom::Upstream), ..QueryFilter::default() }, 11),
        (QueryFilter { upstream: text("1.1.1.1:53"), ..QueryFilter::default() }, 1),
        (QueryFilter { upstream: text("8.8.8.8:53"), ..QueryFilter::default() }, 0),
        (QueryFilter { qtype: Some(QueryType(28)), ..QueryFilter::default() }, 1),
        (QueryFilter { code: Some(AnswerCode(3)), ..QueryFilter::default() }, 0),
        (QueryFilter { since: Some(Timestamp(START + HOUR)), ..QueryFilter::default() }, 1),
        (QueryFilter { until: Some(Timestamp(START + HOUR)), ..QueryFilter::default() }, 21),
    ] {
        assert_eq!(of(filter.clone()).await.len(), expected, "{filter:?}");
    }

    // Pages put together are the whole, in both directions.
    let all = log.queries(&QueryFilter::default()).await.unwrap().rows;
    let mut filter = QueryFilter { limit: Some(5), ..QueryFilter::default() };
    let mut paged = Vec::new();
    loop {
        let page = log.queries(&filter).await.unwrap();
        paged.extend(page.rows);
        filter.before = page.next;
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(paged, all);
    let mut filter = QueryFilter { after: Some(0), limit: Some(7), ..QueryFilter::default() };
    paged.clear();
    loop {
        let page = log.queries(&filter).await.unwrap();
        paged.extend(page.rows);
        filter.after = page.next;
        if page.next.is_none() {
            break;
        }
    }
    paged.reverse();
    assert_eq!(paged, all);
    // What comes then follows.
    log.push(&forwarded(START + 2 * HOUR, 1, "new.example"));
    let filter = QueryFilter { after: Some(all[0].id), ..QueryFilter::default() };
    assert_eq!(of(filter).await, ["new.example"]);
}

#[tokio::test]
async fn questions_of_one_moment_and_of_a_clock_that_went_back_have_places_of_their_own() {
    let bench = Bench::new();
    let log = bench.open(roomy());
    for _ in 0..3_000 {
        log.push(&forwarded(START + HOUR, 1, "a.example"));
    }
    // The clock goes back, and comes to the same moment again.
    log.push(&forwarded(START, 1, "b.example"));
    for _ in 0..100 {
        log.push(&forwarded(START + HOUR, 1, "c.example"));
    }
    log.push(&forwarded(-5, 1, "before.example"));
    let rows =
        log.queries(&QueryFilter { limit: Some(10_000), ..QueryFilter::default() }).await.unwrap().rows;
    // What came before there were clocks is as old as can be, and gone.
    assert_eq!(rows.len(), 3_101);
    assert!(rows.windows(2).all(|pair| pair[0].id > pair[1].id));
    assert_eq!(rows.last().unwrap().name.as_deref(), Some("b.example"));
    assert_eq!(log.status().lost, 0);
}

#[tokio::test]
async fn what_makes_no_sense_is_said() {
    let bench = Bench::new();
    let log = bench.open(roomy());
    for filter in [
        QueryFilter { name: Some(String::new()), ..QueryFilter::default() },
        QueryFilter { client: Some("a".repeat(1_000)), ..QueryFilter::default() },
    ] {
        assert!(matches!(log.queries(&filter).await, Err(LogError::Asked(_))), "{filter:?}");
    }
    let since = Some(Timestamp(START - HOUR));
    for filter in [
        QueryStatsFilter { since: Some(Timestamp(START + HOUR)), ..QueryStatsFilter::default() },
        QueryStatsFilter { since: Some(Timestamp(0)), bucket: Some(1), ..QueryStatsFilter::default() },
        QueryStatsFilter { since, bucket: Some(1), by_client: true, ..QueryStatsFilter::default() },
    ] {
        assert!(matches!(log.stats(&filter).await, Err(LogError::Asked(_))), "{filter:?}");
    }
    let log = bench.open(Settings::new(0, 1_000_000));
    assert!(matches!(log.queries(&QueryFilter::default()).await, Err(LogError::Off)));
}
