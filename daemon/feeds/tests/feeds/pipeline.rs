//! The whole way of a subscription, against servers that are kind, broken and hostile.

use crate::support::{self, LIMITS, Names, Say, Server, addresses, at, in_force, keeper, web};
use feeds::{Happening, Keeper, Kind, Subscription};
use ipnet::IpNet;
use lists::Delta;
use std::{fs, path::Path, sync::Arc};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

/// Refreshes the one subscription and gives why it failed.
async fn failure(keeper: &Keeper) -> String {
    match keeper.refresh("list", &[], at(1)).await.unwrap() {
        Happening::Failed { why, .. } => why,
        other => panic!("{other:?}"),
    }
}

fn refreshed(entries: u64, added: u64, removed: u64) -> Happening {
    let delta = Delta { added, removed };
    Happening::Refreshed { name: "list".into(), entries, rejected: 0, delta, accepted: false }
}

#[tokio::test]
async fn only_what_changed_is_fetched_and_the_difference_is_told() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    server.file("/list", "one", "192.0.2.1\n192.0.2.2\n");
    let keeper = support::keeper(folder.path(), addresses(server.url("/list")));
    assert_eq!(keeper.next_due(), Some(at(0)), "what was never fetched is due at once");
    assert_eq!(in_force(&keeper), None);

    assert_eq!(keeper.refresh_due(&[], at(0)).await, [refreshed(2, 2, 0)]);
    assert!(keeper.next_due().unwrap() > at(20 * 60), "a day, give or take a tenth");
    assert_eq!(keeper.refresh_due(&[], at(1)).await, [], "nothing is due");

    let again = keeper.refresh_due(&[], at(30 * 60)).await;
    assert_eq!(again, [Happening::Unchanged { name: "list".into() }]);
    assert_eq!(again[0].event(at(0)), None);
    assert_eq!(keeper.states()[0].checked, Some(at(30 * 60)));

    server.file("/list", "two", "192.0.2.2\n198.51.100.0/24\n2001:db8::1\n");
    let changed = keeper.refresh("list", &[], at(60 * 60)).await.unwrap();
    assert_eq!(changed, refreshed(3, 2, 1));
    assert_eq!(changed.event(at(1)).unwrap().reason.as_deref(), Some("list_refreshed"));
    assert_eq!(in_force(&keeper).unwrap(), "192.0.2.2\n198.51.100.0/24\n2001:db8::1\n");

    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    assert!(!asked[0].contains("if-none-match"));
    assert!(asked[1].contains("if-none-match: \"one\"") && asked[2].contains("if-none-match: \"one\""));
}

#[tokio::test]
async fn packed_files_and_packed_answers() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let text = b"192.0.2.1\n".to_vec();
    let encoded = |encoding: &str, body: Vec<u8>| Say::File {
        etag: encoding.into(),
        body,
        headers: format!("content-encoding: {encoding}\r\n"),
    };
    server.file("/a.gz", "a", gzip(&text));
    server.file("/b.zst", "b", zstd(&text));
    server.say("/c", encoded("gzip", gzip(&text)));
    server.say("/d", encoded("zstd", zstd(&text)));
    server.say("/e.gz", encoded("gzip", gzip(&gzip(&text))));
    for path in ["/a.gz", "/b.zst", "/c", "/d", "/e.gz"] {
        let folder = folder.path().join(&path[1..]);
        let keeper = support::keeper(&folder, addresses(server.url(path)));
        assert_eq!(keeper.refresh("list", &[], at(0)).await, Some(refreshed(1, 1, 0)), "{path}");
        assert_eq!(in_force(&keeper).unwrap().as_bytes(), text, "{path}");
    }
    server.say("/f", encoded("br", text.clone()));
    server.file("/g", "g", gzip(&vec![b'\n'; 8 << 20]));
    server.file("/h", "h", &gzip(&text)[..12]);
    for (path, why) in
        [("/f", "encoded as `br`"), ("/g", "100 times as many"), ("/h", "the gzip data are broken")]
    {
        let told =
            failure(&support::keeper(&folder.path().join(&path[1..]), addresses(server.url(path)))).await;
        assert!(told.contains(why), "{path}: {told}");
    }
}

#[tokio::test]
async fn redirects_are_followed_as_far_as_they_may_lead() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    server.file("/list", "one", "192.0.2.1\n");
    server.redirect("/moved", "/list");
    server.redirect("/around", "/around");
    server.redirect("/inside", &server.url_of("other.test", "/list").to_string());
    server.redirect("/router", &server.url_of("127.0.0.1", "/list").to_string());
    server.redirect("/metadata", "http://169.254.169.254/latest");
    server.redirect("/mapped", &format!("http://[::ffff:127.0.0.1]:{}/list", server.port));
    server.redirect("/file", "file:///etc/passwd");
    server.redirect("/ftp", "ftp://other.test/list");
    server.redirect("/nothing", "");
    let moved = keeper(folder.path(), addresses(server.url("/moved")));
    assert_eq!(moved.refresh("list", &[], at(0)).await, Some(refreshed(1, 1, 0)));
    for (path, why) in [
        ("/around", "more redirects"),
        ("/inside", "other.test has the address 127.0.0.1, which is this router's own or not public"),
        ("/router", "127.0.0.1 has the address 127.0.0.1, which is this router's own or not public"),
        ("/metadata", "169.254.169.254"),
        ("/mapped", "not public"),
        ("/file", "a redirect to a file"),
        ("/ftp", "neither https, http nor file"),
        ("/nothing", "more redirects"),
    ] {
        let keeper = support::keeper(&folder.path().join(&path[1..]), addresses(server.url(path)));
        let told = failure(&keeper).await;
        assert!(told.contains(why), "{path}: {told}");
        assert_eq!(in_force(&keeper), None, "{path}");
    }
}

#[tokio::test]
async fn the_routers_own_addresses_are_not_public() {
    let folder = tempfile::tempdir().unwrap();
    // Of the provider, and of a zone.
    for (host, own) in [("9.9.9.9", "9.9.9.9/32"), ("[2620:fe::7:1]", "2620:fe::7:0/112")] {
        let location = format!("https://{host}/list").parse().unwrap();
        let subscription = Subscription { private: false, ..addresses(location) };
        let web = feeds::Web::new(Arc::new(Names::default()) as _, LIMITS);
        let keeper = Keeper::open(folder.path().join(host), [subscription], web, 7, at(0)).unwrap();
        let own: IpNet = own.parse().unwrap();
        let happening = keeper.refresh("list", &[own], at(1)).await.unwrap();
        assert!(happening.to_string().contains("this router's own or not public"), "{happening}");
    }
}

/// Answers only when two ask at a time.
struct Together(tokio::sync::Barrier);

impl feeds::Resolve for Together {
    fn resolve<'a>(
        &'a self,
        _: &'a str,
    ) -> std::pin::Pin<Box<dyn Future<Output = std::io::Result<Vec<std::net::IpAddr>>> + Send + 'a>> {
        Box::pin(async {
            self.0.wait().await;
            Ok(vec![[127, 0, 0, 1].into()])
        })
    }
}

#[tokio::test]
async fn several_are_refreshed_at_a_time() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    server.file("/list", "one", "192.0.2.1\n");
    let named = |name: &str| Subscription {
        name: name.into(),
        ..addresses(server.url_of(&format!("{name}.test"), "/list"))
    };
    let web = feeds::Web::new(Arc::new(Together(tokio::sync::Barrier::new(2))) as _, LIMITS);
    let keeper = Keeper::open(folder.path().into(), ["a", "b"].map(named), web, 7, at(0)).unwrap();
    let names = ["a", "b", "neither"].map(str::to_owned).to_vec();
    let happened = keeper.refresh_these(names, &[], at(1)).await;
    assert!(happened.len() == 2 && happened.iter().all(Happening::is_change), "{happened:?}");
}

#[tokio::test]
async fn what_is_not_public_is_not_asked() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    server.file("/list", "one", "192.0.2.1\n");
    for host in ["localhost", "127.0.0.1", "[::1]", "0.0.0.0", "0x7f000001", "other.test"] {
        let subscription = Subscription { private: false, ..addresses(server.url_of(host, "/list")) };
        let names = Arc::new(Names::default());
        let web = feeds::Web::new(Arc::clone(&names) as _, LIMITS);
        let keeper = Keeper::open(folder.path().join(host), [subscription], web, 7, at(0)).unwrap();
        let told = failure(&keeper).await;
        assert!(told.contains("or not public: if it is meant, write `private = true`"), "{host}: {told}");
        assert!(
            names.asked.lock().unwrap().len() <= 1,
            "what was checked is what is used: nobody asks twice"
        );
    }
    assert_eq!(server.asked(), Vec::<String>::new());
    for (host, why) in [("nowhere.test", "it has no address"), ("unknown.test", "no such name")] {
        let told =
            failure(&support::keeper(&folder.path().join(host), addresses(server.url_of(host, "/list"))))
                .await;
        assert!(told.contains(why), "{told}");
    }
    let plain = Subscription { insecure: false, ..addresses(server.url("/list")) };
    let told = failure(&support::keeper(&folder.path().join("plain"), plain)).await;
    assert!(told.contains("is not encrypted: write https://, or `insecure = true`"), "{told}");
}

#[tokio::test]
async fn broken_and_hostile_answers_change_nothing() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    server.file("/list", "one", "192.0.2.1\n");
    let keeper = support::keeper(folder.path(), addresses(server.url("/list")));
    keeper.refresh("list", &[], at(0)).await.unwrap();
    let head = |head: &str| Say::Bytes(head.as_bytes().to_vec());
    for (say, why) in [
        (head("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n192.0.2.9\n"), "the answer is broken"),
        (
            head("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\n192.0.2.9\n\r\n"),
            "the answer is broken",
        ),
        (head("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n"), "larger than 67108864 bytes"),
        (head("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"), "the answer is broken"),
        (
            head("HTTP/1.1 206 Partial Content\r\ncontent-length: 10\r\n\r\n192.0.2.9\n"),
            "the server answers 206",
        ),
        (head("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"), "the server answers 403"),
        (head("SSH-2.0-OpenSSH_9.2\r\n"), "the answer is broken"),
        (head(""), "the answer is broken"),
        (head("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), "the list is empty"),
        (head("HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n<!doctype html>"), "web page"),
        (
            Say::Stall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n192.0.2.9\n".to_vec()),
            "took longer than 300ms",
        ),
        (Say::Stall(b"HTTP/1.1 200".to_vec()), "took longer than 300ms"),
        (Say::Endless(b"HTTP/1.1 200 OK\r\nx-endless: ".to_vec()), "the answer is broken"),
    ] {
        server.say("/list", say.clone());
        let told = failure(&keeper).await;
        assert!(told.contains(why), "{say:?}: {told}");
        assert_eq!(in_force(&keeper).unwrap(), "192.0.2.1\n", "{say:?}");
        assert_eq!(keeper.states()[0].error, Some(told), "{say:?}");
    }
    assert_eq!(keeper.states()[0].failures, 13);
    server.file("/list", "two", "192.0.2.2\n");
    assert_eq!(keeper.refresh("list", &[], at(2)).await, Some(refreshed(1, 1, 1)));
    assert_eq!((keeper.states()[0].failures, keeper.states()[0].error.clone()), (0, None));
}

#[tokio::test]
async fn failures_are_told_once_and_wait_longer_and_longer() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let keeper = support::keeper(folder.path(), addresses(server.url("/list")));
    let mut now = at(0);
    let mut waits = Vec::new();
    for round in 0..4 {
        let happened = keeper.refresh_due(&[], now).await;
        let [Happening::Failed { retry, entries: 0, why, again, .. }] = &happened[..] else {
            panic!("{happened:?}")
        };
        assert_eq!((why.as_str(), *again), ("the server answers 404", round > 0));
        assert_eq!(happened[0].event(now).is_some(), round == 0);
        waits.push(retry.since(now).as_secs());
        now = *retry;
    }
    for (wait, doubled) in waits.iter().zip([60, 120, 240, 480]) {
        assert!((doubled * 9 / 10..=doubled * 11 / 10).contains(wait), "{waits:?}");
    }
    let busy = "HTTP/1.1 503 Busy\r\nretry-after: 7200\r\ncontent-length: 0\r\n\r\n";
    server.say("/list", Say::Bytes(busy.into()));
    keeper.refresh_due(&[], now).await;
    assert_eq!(keeper.next_due().unwrap().since(now).as_secs(), 7200);
}

#[tokio::test]
async fn a_list_that_shrinks_by_half_waits_for_somebody() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let many: String = (0..4000_u32).map(|n| format!("198.51.{}.{}\n", n / 250, n % 250)).collect();
    server.file("/list", "many", many.clone());
    let keeper = support::keeper(folder.path(), addresses(server.url("/list")));
    assert_eq!(keeper.refresh("list", &[], at(0)).await, Some(refreshed(4000, 4000, 0)));

    server.file("/list", "few", "198.51.0.0\n198.51.0.1\n");
    let held = keeper.refresh("list", &[], at(1)).await.unwrap();
    let Happening::Held { why, entries: 2, again: false, .. } = &held else { panic!("{held:?}") };
    assert_eq!(
        why,
        "the list shrank from 4000 to 2 entries, by more than half: held until it is confirmed; \
         `secctl lists accept list` lets it through"
    );
    assert_eq!(held.event(at(1)).unwrap().reason.as_deref(), Some("list_held"));
    assert_eq!(in_force(&keeper).unwrap(), many);

    // The held file is asked about and not fetched again, over a restart too; nobody is told twice.
    let keeper = support::keeper(folder.path(), addresses(server.url("/list")));
    let again = keeper.refresh("list", &[], at(2)).await.unwrap();
    assert_eq!(again.event(at(2)), None);
    assert!(matches!(again, Happening::Held { again: true, .. }), "{again:?}");
    assert!(server.asked().last().unwrap().contains("if-none-match: \"few\""));
    assert_eq!(keeper.states()[0].held.as_ref().unwrap().entries, 2);

    let accepted = keeper.accept("list", &[], at(3)).await.unwrap();
    let Happening::Refreshed { entries: 2, delta, accepted: true, .. } = accepted else {
        panic!("{accepted:?}")
    };
    assert_eq!(delta, Delta { added: 0, removed: 3998 });
    assert_eq!(in_force(&keeper).unwrap(), "198.51.0.0\n198.51.0.1\n");
    assert!(keeper.accept("list", &[], at(4)).await.unwrap_err().to_string().contains("nothing to accept"));
    assert!(
        keeper.accept("other", &[], at(4)).await.unwrap_err().to_string().contains("no subscription `other`")
    );
    assert_eq!(keeper.refresh("list", &[], at(5)).await, Some(Happening::Unchanged { name: "list".into() }));
}

#[tokio::test]
async fn a_held_file_goes_when_the_former_one_comes_back() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let own: Vec<IpNet> = vec!["10.4.0.0/24".parse().unwrap()];
    server.file("/list", "good", "192.0.2.1\n");
    let keeper = support::keeper(folder.path(), addresses(server.url("/list")));
    keeper.refresh("list", &own, at(0)).await.unwrap();
    for (body, why) in [
        ("192.0.2.1\n10.4.0.9\n", "1 entries about our own"),
        ("192.0.2.1\n0.0.0.0/0\n::/0\n", "2 entries as wide as the whole internet"),
    ] {
        server.file("/list", why, body);
        let held = keeper.refresh("list", &own, at(1)).await.unwrap();
        assert!(held.to_string().contains(why), "{held}");
        assert_eq!(in_force(&keeper).unwrap(), "192.0.2.1\n");
    }
    server.file("/list", "back", "192.0.2.1\n");
    assert_eq!(keeper.refresh("list", &own, at(2)).await, Some(refreshed(1, 0, 0)));
    assert_eq!(keeper.states()[0].held, None);
    assert!(keeper.accept("list", &own, at(3)).await.is_err());

    // Accepted, the entries that no list may hold are left out, and are no news any more.
    server.file("/list", "bogons", "10.0.0.0/8\n192.0.2.1\n");
    keeper.refresh("list", &own, at(4)).await.unwrap();
    let accepted = keeper.accept("list", &own, at(5)).await.unwrap();
    assert!(matches!(accepted, Happening::Refreshed { entries: 1, rejected: 1, .. }), "{accepted:?}");
    server.file("/list", "more", "10.0.0.0/8\n192.0.2.1\n192.0.2.2\n");
    assert!(keeper.refresh("list", &own, at(6)).await.unwrap().is_change());
    assert!(keeper.states()[0].rejects[0].contains("our own network 10.4.0.0/24"));
}

#[tokio::test]
async fn stale_beats_empty() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    server.file("/list", "one", "192.0.2.1\n");
    let first = keeper(folder.path(), addresses(server.url("/list")));
    first.refresh("list", &[], at(0)).await.unwrap();
    drop(first);
    server.says.lock().unwrap().clear();

    // Nothing was asked yet, and what is due is judged by the age of the file.
    let second = keeper(folder.path(), addresses(server.url("/list")));
    assert_eq!(in_force(&second).unwrap(), "192.0.2.1\n");
    assert!(second.next_due().unwrap() > at(20 * 60));
    assert_eq!(second.states()[0].fetched, Some(at(0)));
    assert!(failure(&second).await.contains("404"));
    assert_eq!(in_force(&second).unwrap(), "192.0.2.1\n");

    // Another place: the old file stands in until the new one is there, and nothing is compared with it.
    server.file("/elsewhere", "one", "192.0.2.7\n");
    second.configure([addresses(server.url("/elsewhere"))], at(1));
    assert_eq!(in_force(&second).unwrap(), "192.0.2.1\n");
    assert_eq!(second.next_due(), Some(at(1)));
    server.asked();
    second.refresh_due(&[], at(1)).await;
    assert!(!server.asked()[0].contains("if-none-match"), "its ETag is another file's");
    assert_eq!(in_force(&second).unwrap(), "192.0.2.7\n");

    // Read in another way, it is no last good file.
    let kind = Kind::Addresses { format: "csv:2".parse().unwrap(), min_score: None };
    second.configure([Subscription { kind, ..addresses(server.url("/elsewhere")) }], at(2));
    assert_eq!(in_force(&second), None);
    second.configure([], at(3));
    assert_eq!((second.next_due(), second.states().len()), (None, 0));
}

#[tokio::test]
async fn damaged_files_on_disk_are_mended() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    server.file("/list", "one", "192.0.2.1\n");
    let subscription = addresses(server.url("/list"));
    keeper(folder.path(), subscription.clone()).refresh("list", &[], at(0)).await.unwrap();
    let file = folder.path().join("feeds/list.addresses");
    for damage in ["", "garbage", "{}", "{\"identity\":1}"] {
        fs::write(folder.path().join("feeds/list.addresses.json"), damage).unwrap();
        let keeper = keeper(folder.path(), subscription.clone());
        assert_eq!(in_force(&keeper).unwrap(), "192.0.2.1\n", "it stands in all the same");
        assert_eq!(keeper.next_due(), Some(at(0)), "due at once");
        assert!(keeper.refresh("list", &[], at(1)).await.unwrap().is_change());
        assert_eq!(fs::read(&file).unwrap(), b"192.0.2.1\n");
    }
    // A refresh that was cut short leaves only a file that nobody reads.
    fs::write(folder.path().join("feeds/list.addresses.new"), "half a fi").unwrap();
    assert_eq!(in_force(&keeper(folder.path(), subscription.clone())).unwrap(), "192.0.2.1\n");
    // The file changed behind our back: the server must not be able to say "unchanged" to that.
    fs::write(&file, "rubbish").unwrap();
    let keeper = keeper(folder.path(), subscription);
    server.asked();
    keeper.refresh("list", &[], at(2)).await.unwrap();
    assert!(!server.asked()[0].contains("if-none-match"));
    assert_eq!(fs::read(&file).unwrap(), b"192.0.2.1\n");
}

#[tokio::test]
async fn secrets_go_to_the_place_that_is_named_and_nowhere_else() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let (password, key) = (folder.path().join("password"), folder.path().join("key"));
    fs::write(&password, "open sesame\n").unwrap();
    fs::write(&key, "s3cr3t\r\n").unwrap();
    server.file("/list", "one", "192.0.2.1\n");
    let subscription = Subscription {
        basic: Some(("ali".into(), password.clone())),
        header: Some(("X-Api-Key".into(), key.clone())),
        ..addresses(server.url("/list"))
    };
    assert!(
        keeper(folder.path(), subscription.clone()).refresh("list", &[], at(0)).await.unwrap().is_change()
    );
    let asked = server.asked().concat();
    assert!(asked.contains("authorization: Basic YWxpOm9wZW4gc2VzYW1l\r\n"), "{asked}");
    assert!(asked.contains("x-api-key: s3cr3t\r\n"), "{asked}");

    // Another port is another place: the same host, so it may be asked, and is told nothing.
    let other = Server::start().await;
    other.file("/list", "one", "192.0.2.1\n");
    server.redirect("/moved", &other.url("/list").to_string());
    let moved = Subscription { location: server.url("/moved"), ..subscription.clone() };
    assert!(
        keeper(&folder.path().join("moved"), moved).refresh("list", &[], at(0)).await.unwrap().is_change()
    );
    let told = other.asked().concat().to_ascii_lowercase();
    assert!(!told.contains("authorization") && !told.contains("x-api-key"), "{told}");

    for (content, why) in [
        (b"two\nlines".to_vec(), "no header may have"),
        (vec![b'x'; 5000], "larger than 4096 bytes"),
        (vec![0xff], "not UTF-8"),
    ] {
        fs::write(&key, &content).unwrap();
        let told = failure(&support::keeper(&folder.path().join("bad"), subscription.clone())).await;
        assert!(told.contains(why) && told.contains("key") && !told.contains("lines"), "{told}");
    }
    fs::remove_file(&password).unwrap();
    assert!(
        failure(&support::keeper(&folder.path().join("none"), subscription))
            .await
            .contains("password: No such file")
    );
}

#[tokio::test]
async fn tls_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("authority.pem");
    let server = Server::start_tls(&authority).await;
    server.file("/list", "one", "192.0.2.1\n");
    server.redirect("/down", "http://localhost:1/list");
    let subscription = Subscription { insecure: false, ..addresses(server.url("/list")) };
    let told = failure(&support::keeper(&folder.path().join("a"), subscription.clone())).await;
    assert!(
        told.contains("localhost cannot be reached: invalid peer certificate")
            || told.contains("certificate authorities"),
        "{told}"
    );

    let trusting = Subscription { authorities: Some(authority.clone()), ..subscription };
    let trusted = support::keeper(&folder.path().join("b"), trusting.clone());
    assert_eq!(trusted.refresh("list", &[], at(0)).await, Some(refreshed(1, 1, 0)));

    let wrong_name = Subscription { location: server.url_of("127.0.0.1", "/list"), ..trusting.clone() };
    let told = failure(&support::keeper(&folder.path().join("c"), wrong_name)).await;
    assert!(told.contains("not valid for name"), "{told}");
    let down = Subscription { location: server.url("/down"), ..trusting.clone() };
    assert!(failure(&support::keeper(&folder.path().join("d"), down)).await.contains("is not encrypted"));
    fs::write(&authority, "no certificate").unwrap();
    assert!(
        failure(&support::keeper(&folder.path().join("e"), trusting))
            .await
            .contains("there is no certificate in the file")
    );
}

#[tokio::test]
async fn signatures_must_fit() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let read = |name: &str| fs::read(data.join(name)).unwrap();
    let (file, good, others) = (read("signed.txt"), read("signed.txt.minisig"), read("signed.other.minisig"));
    let key = String::from_utf8(read("signed.pub")).unwrap().lines().nth(1).unwrap().to_owned();
    server.file("/list", "one", file.clone());
    server.file("/list.minisig", "one", good.clone());
    server.file("/elsewhere", "one", good.clone());
    let unsigned = addresses(server.url("/list"));
    let signed = Subscription { public_key: Some(key.clone()), ..unsigned.clone() };
    let first = keeper(folder.path(), signed.clone());
    assert_eq!(first.refresh("list", &[], at(0)).await, Some(refreshed(2, 2, 0)));

    let mut changed = file.clone();
    changed.extend_from_slice(b"203.0.113.1\n");
    for (file, signature, why) in [
        (changed, Some(good.clone()), "the signature does not fit the file"),
        (file.clone(), Some(others), "the signature does not fit the file"),
        (file.clone(), Some(b"not a signature".to_vec()), "no minisign signature"),
        (file.clone(), Some(vec![0xff; 100]), "no minisign signature"),
        (file.clone(), Some(vec![b'x'; 9000]), "larger than 8192 bytes"),
        (file.clone(), None, "list.minisig: the server answers 404"),
    ] {
        server.file("/list", &format!("{why}{}", file.len()), file);
        match signature {
            Some(signature) => server.file("/list.minisig", "x", signature),
            None => drop(server.says.lock().unwrap().remove("/list.minisig")),
        }
        let told = failure(&first).await;
        assert!(told.contains(why), "{told}");
        assert_eq!(in_force(&first).unwrap().as_bytes(), read("signed.txt"));
    }
    server.say("/list.minisig", Say::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()));
    assert!(failure(&first).await.contains("larger than 8192 bytes"));

    // The signature may be elsewhere, and of a file that was fetched before there was a key nothing is believed.
    let elsewhere = Subscription { signature: Some(server.url("/elsewhere")), ..signed.clone() };
    assert!(
        keeper(&folder.path().join("b"), elsewhere).refresh("list", &[], at(0)).await.unwrap().is_change()
    );
    let path = folder.path().join("c");
    keeper(&path, unsigned).refresh("list", &[], at(0)).await.unwrap();
    let later = keeper(&path, signed.clone());
    server.asked();
    assert!(failure(&later).await.contains("larger than 8192 bytes"));
    assert!(!server.asked()[0].contains("if-none-match"));
    let told = failure(&keeper(&path, Subscription { public_key: Some("RWQ".into()), ..signed })).await;
    assert!(told.contains("`public_key` is no minisign public key"), "{told}");
}

#[tokio::test]
async fn files_of_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.txt");
    fs::write(&file, "192.0.2.1\n").unwrap();
    let location = |path: &Path| format!("file://{}", path.display()).parse().unwrap();
    let subscription = Subscription { private: false, insecure: false, ..addresses(location(&file)) };
    let keeper = keeper(folder.path(), subscription.clone());
    assert_eq!(keeper.refresh("list", &[], at(0)).await, Some(refreshed(1, 1, 0)));
    assert_eq!(keeper.refresh("list", &[], at(0)).await, Some(Happening::Unchanged { name: "list".into() }));
    fs::write(&file, "192.0.2.1\n192.0.2.2\n").unwrap();
    assert_eq!(keeper.refresh("list", &[], at(0)).await, Some(refreshed(2, 1, 0)));
    fs::remove_file(&file).unwrap();
    assert!(failure(&keeper).await.contains("own.txt: No such file"));
    assert_eq!(in_force(&keeper).unwrap(), "192.0.2.1\n192.0.2.2\n");
    for (path, why) in [("/dev/zero", "not a regular file"), ("/tmp", "not a regular file")] {
        let told =
            failure(&support::keeper(&folder.path().join("b"), addresses(location(Path::new(path))))).await;
        assert!(told.contains(why), "{told}");
    }
}

#[tokio::test]
async fn every_kind_has_its_parser() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let rule = "alert tcp any any -> any 80 (msg:\"x\"; content:\"evil\"; sid:1; rev:1;)\n";
    server.file("/names", "one", "||evil.example^\nbad.example\n");
    server.file("/rules", "one", rule);
    server.file("/broken.mmdb", "one", vec![7; 5000]);
    server.file("/page", "one", "<html>");
    let of = |name: &str, kind: Kind, path: &str| Subscription {
        name: name.into(),
        kind,
        ..addresses(server.url(path))
    };
    let names = Kind::Domains { format: lists::Format::Auto, own: Vec::new() };
    let subscriptions = [
        of("names", names.clone(), "/names"),
        of("rules", Kind::Rules, "/rules"),
        of("geoip", Kind::GeoIp, "/broken.mmdb"),
        of("page as rules", Kind::Rules, "/page"),
        of("page as names", names, "/page"),
        of("names as rules", Kind::Rules, "/names"),
    ];
    let keeper = Keeper::open(folder.path().join("feeds"), subscriptions, web(), 7, at(0)).unwrap();
    let mut told: Vec<String> =
        keeper.refresh_due(&[], at(0)).await.iter().map(ToString::to_string).collect();
    told.sort();
    let expected = [
        "geoip: no usable GeoIP database: ",
        "names as rules: no rule of it can be used: ",
        "names: 2 entries, 2 came, 0 went, 0 rejected",
        "page as names: the file is a web page",
        "page as rules: the file is a web page",
        "rules: 1 entries, 1 came, 0 went, 0 rejected",
    ];
    assert_eq!(told.len(), expected.len());
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}");
    }
    assert!(keeper.file("names").unwrap().ends_with("names.domains"));
    assert!(keeper.file("geoip").is_none());
}
