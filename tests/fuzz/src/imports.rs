//! Backups of other programs: archives, databases, YAML. Whatever is taken over, the config stays one.

use import::{Files, Gravity, Import, adguard, pihole};

/// What is imported into.
const ROUTER: &str = "[zones.wan]
interface = \"wan0\"
wan = true

[zones.home]
interface = \"lan0\"
networks = [\"10.0.0.0/24\"]

[dns]
listen = [\"10.0.0.1\"]
upstreams = [\"9.9.9.9\"]
";

fn fits(mut import: Import) {
    import.leave_own_servers(&["10.0.0.1:53".parse().unwrap()]);
    let (merged, _) = import.merge(ROUTER, "/etc/secd/lists").expect("the config has the shape it has");
    if let Err(errors) = config::parse("secd.toml", &merged) {
        panic!("{}\n{merged}", errors[0]);
    }
    let (again, _) = import.merge(&merged, "/etc/secd/lists").expect("it still has");
    assert_eq!(again, merged, "a second import changes nothing");
}

/// A Teleporter archive of any kind.
pub(crate) fn archive(data: &[u8]) {
    if let Ok(files) = Files::unpack("backup", data)
        && let Ok(import) = pihole(&files, None)
    {
        fits(import);
    }
}

/// A `gravity.db` beside settings.
pub(crate) fn database(data: &[u8]) {
    let Ok(gravity) = Gravity::read("gravity.db", data, data.len()) else { return };
    let mut files = Files::new("backup");
    files.add("pihole.toml".into(), Vec::new());
    if let Ok(import) = pihole(&files, Some(gravity)) {
        fits(import);
    }
}

/// An `AdGuardHome.yaml`.
pub(crate) fn yaml(data: &[u8]) {
    if let Ok(import) = adguard("AdGuardHome.yaml", data) {
        fits(import);
    }
}
