//! A real rule set: how much of it runs, and why the rest does not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::collections::BTreeMap;

use signatures::{Classification, RuleSet, Variables};

/// Rules of the set that run now. It only goes up.
const FLOOR: usize = 8_228;

#[test]
fn emerging_threats_open_loads() {
    let Some(corpora) = support::corpora() else {
        eprintln!("SKIP: emerging_threats_open_loads: no corpora");
        return;
    };
    let read = |name: &str| std::fs::read_to_string(corpora.join(name)).unwrap();
    let (classes, wrong) = Classification::parse(&read("classification.config"), "classification.config");
    assert_eq!(wrong, []);
    let text = read("etopen-2025-08.rules");
    let (rules, refused) = RuleSet::load(&text, "etopen.rules", &Variables::usual(), &classes);
    let mut keywords = BTreeMap::<&str, usize>::new();
    for one in &refused {
        *keywords.entry(&one.keyword).or_default() += 1;
    }
    let mut keywords: Vec<_> = keywords.into_iter().map(|(keyword, count)| (count, keyword)).collect();
    keywords.sort_unstable_by(|a, b| b.cmp(a));
    println!(
        "etopen: {} run, {} refused, prefilter {} KiB; refused for {:?}",
        rules.len(),
        refused.len(),
        rules.prefilter_bytes() / 1024,
        &keywords[..keywords.len().min(25)]
    );
    for one in refused
        .iter()
        .filter(|one| !one.keyword.starts_with("protocol") && !one.why.contains("not supported"))
        .take(20)
    {
        println!("  {one}");
    }
    assert_eq!(rules.len() + refused.len(), 19_120);
    assert!(refused.iter().all(|one| one.sid.is_some()), "every refusal names its sid");
    assert!(rules.rules().all(|rule| !rule.category.is_empty()), "every class is known");
    assert!(rules.len() >= FLOOR, "{} run, {FLOOR} did before", rules.len());
}
