//! Own rules of a Pi-hole, read as lists: what is blocked for whom is what Pi-hole blocked.

mod support;

use import::{Files, Gravity, pihole};
use lists::{Asked, DomainSetBuilder, Effect, GroupSet};
use model::Mode;
use support::{checked, database};

#[test]
fn own_rules_decide_as_in_pi_hole() {
    let bytes = database(
        "INSERT INTO \"group\" (id, name) VALUES (1, 'kids');
         INSERT INTO domainlist (id, type, domain) VALUES
            (1, 0, 'good.example'), (2, 1, 'ads.example'), (3, 2, '^cdn'), (4, 3, '(^|\\.)tracker\\.example$'),
            (5, 1, 'cdn.example'), (6, 3, 'good'), (7, 1, 'games.example'), (8, 3, '^only;querytype=AAAA'),
            (9, 2, '^six;querytype=AAAA'), (10, 1, 'six.example'),
            (11, 3, '^tre'), (12, 2, '^tre[\\d]/?z');
         UPDATE domainlist_by_group SET group_id = 1 WHERE domainlist_id = 7;",
    );
    let gravity = Gravity::read("gravity.db", bytes.as_slice(), bytes.len()).unwrap();
    let mut files = Files::new("backup");
    files.add("pihole.toml".into(), Vec::new());
    let import = pihole(&files, Some(gravity)).unwrap();
    let config = checked(&import, "/lists");
    let mut builder = DomainSetBuilder::new(1);
    for list in import.settings.own_lists() {
        let table = config.split("[[lists]]").find(|table| table.contains(&list.file())).unwrap();
        let format = table.split("format = \"").nth(1).unwrap().split('"').next().unwrap();
        let groups = if table.contains("groups = [\"kids\"]") { GroupSet(2) } else { GroupSet::DEFAULT };
        let report = builder
            .add_as(&list.name, Mode::Enforce, groups, list.text.as_bytes(), &format.parse().unwrap())
            .unwrap();
        assert_eq!(report.rejected, 0, "{}: {:?}", list.name, report.rejects);
    }
    let set = builder.finish();
    let blocked = |name: &str, qtype: u16, groups: GroupSet| {
        let asked = Asked { qtype, groups, ..Asked::about(name) };
        set.decide(&asked).is_some_and(|found| matches!(found.effect, Effect::Block))
    };
    for (name, qtype, groups, is_blocked) in [
        ("ads.example", 1, 1, true),
        ("x.ads.example", 1, 1, false),
        ("a.tracker.example", 1, 1, true),
        ("nottracker.example", 1, 1, false),
        // Entries that allow go before all others, expressions as well.
        ("good.example", 1, 1, false),
        ("good.other", 1, 1, true),
        ("cdn.example", 1, 1, false),
        ("games.example", 1, 1, false),
        ("games.example", 1, 2, true),
        ("ads.example", 1, 2, false),
        ("games.example", 1, 3, true),
        ("only.example", 28, 1, true),
        ("only.example", 1, 1, false),
        ("six.example", 28, 1, false),
        ("six.example", 1, 1, true),
        // In brackets a backslash is a letter as any other.
        ("tredz.example", 1, 1, false),
        ("tre7z.example", 1, 1, true),
    ] {
        assert_eq!(blocked(name, qtype, GroupSet(groups)), is_blocked, "{name} {qtype} {groups}");
    }
}
