//! A server that is not ours: nginx from Debian, with weak ETags, packed answers, passwords and redirects.

use crate::support::{self, addresses, at, in_force, keeper};
use feeds::{Happening, Location, Subscription};
use lists::Delta;
use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

struct Nginx {
    child: Child,
    port: u16,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Nginx {
    /// Serves `folder/files`; none, told on stderr, where there is no nginx.
    fn start(test: &str, folder: &Path) -> Option<Self> {
        let Some(program) =
            ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| Path::new(path).exists())
        else {
            eprintln!("SKIP: {test}: no nginx (cargo xtask setup installs it)");
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let at = folder.display();
        fs::write(folder.join("users"), "ali:{PLAIN}open sesame\n").unwrap();
        // Workers run as somebody else where the tests run as root.
        for path in [folder.to_owned(), folder.join("files")] {
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        let config = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log;
            events {{}}
            http {{
                access_log off; default_type text/plain;
                client_body_temp_path {at}/a; proxy_temp_path {at}/b; fastcgi_temp_path {at}/c;
                uwsgi_temp_path {at}/d; scgi_temp_path {at}/e;
                server {{
                    listen 127.0.0.1:{port};
                    root {at}/files;
                    gzip on; gzip_min_length 1; gzip_http_version 1.0; gzip_types text/plain;
                    location /old/ {{ rewrite ^/old/(.*)$ /$1 permanent; }}
                    location /for-ali/ {{ alias {at}/files/; auth_basic x; auth_basic_user_file {at}/users; }}
                }}
            }}"
        );
        fs::write(folder.join("nginx.conf"), config).unwrap();
        let child = Command::new(program)
            .args(["-p".as_ref(), folder.as_os_str(), "-e".as_ref(), folder.join("error.log").as_os_str()])
            .args(["-c".as_ref(), folder.join("nginx.conf").as_os_str()])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let nginx = Self { child, port };
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                Instant::now() < until,
                "{}",
                fs::read_to_string(folder.join("error.log")).unwrap_or_default()
            );
            std::thread::yield_now();
        }
        Some(nginx)
    }

    fn url(&self, path: &str) -> Location {
        format!("http://localhost:{}{path}", self.port).parse().unwrap()
    }
}

#[tokio::test]
async fn nginx_serves_lists() {
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("files");
    fs::create_dir(&files).unwrap();
    let many: String = (0..3000_u32).map(|n| format!("198.51.{}.{}\n", n / 250, n % 250)).collect();
    fs::write(files.join("list.txt"), &many).unwrap();
    let Some(nginx) = Nginx::start("nginx_serves_lists", folder.path()) else { return };

    let keeper = keeper(folder.path(), addresses(nginx.url("/old/list.txt")));
    let delta = Delta { added: 3000, removed: 0 };
    let refreshed =
        Happening::Refreshed { name: "list".into(), entries: 3000, rejected: 0, delta, accepted: false };
    assert_eq!(
        keeper.refresh("list", &[], at(0)).await,
        Some(refreshed),
        "by a redirect, packed for the way"
    );
    assert_eq!(in_force(&keeper).unwrap(), many);
    let unchanged = Some(Happening::Unchanged { name: "list".into() });
    assert_eq!(keeper.refresh("list", &[], at(1)).await, unchanged, "by its weak ETag");
    fs::write(files.join("list.txt"), format!("{many}203.0.113.9\n")).unwrap();
    let changed = keeper.refresh("list", &[], at(2)).await.unwrap();
    assert!(matches!(
        changed,
        Happening::Refreshed { entries: 3001, delta: Delta { added: 1, removed: 0 }, .. }
    ));

    fs::write(folder.path().join("password"), "open sesame\n").unwrap();
    let locked = Subscription {
        basic: Some(("ali".into(), folder.path().join("password"))),
        ..addresses(nginx.url("/for-ali/list.txt"))
    };
    let with = support::keeper(&folder.path().join("with"), locked.clone());
    assert!(with.refresh("list", &[], at(0)).await.unwrap().is_change());
    let without = support::keeper(&folder.path().join("without"), Subscription { basic: None, ..locked });
    let refused = without.refresh("list", &[], at(0)).await.unwrap().to_string();
    assert!(refused.contains("the server answers 401"), "{refused}");
    let missing = support::keeper(&folder.path().join("missing"), addresses(nginx.url("/none.txt")));
    assert!(
        missing.refresh("list", &[], at(0)).await.unwrap().to_string().contains("the server answers 404")
    );
}
