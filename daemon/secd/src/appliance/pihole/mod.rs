//! Pi-hole's REST API: when it listens, whom it lets in, and by which passwords.

mod hole;

use ::pihole::{Api, Passwords};
use anyhow::{Context, Result};
use config::PiholeApi;
use httpd::Server;
use std::{
    fs::File,
    io::Read,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{Arc, Weak},
};

use self::hole::Behind;
use super::{Appliance, doors};

/// Bytes of the file with the passwords.
const MAX_PASSWORD_FILE: u64 = 8192;

/// The API and its listeners.
pub(super) struct Doors {
    api: Arc<Api<Behind>>,
    secd: Weak<Appliance>,
    running: tokio::sync::Mutex<Option<(PiholeApi, Server<Api<Behind>>)>>,
}

impl Doors {
    pub(super) fn new(secd: &Arc<Appliance>) -> Self {
        let secd = Arc::downgrade(secd);
        let api = Arc::new(Api::new(Arc::new(Behind(Weak::clone(&secd)))));
        Self { api, secd, running: tokio::sync::Mutex::default() }
    }

    /// Listens as the config says, which may be not at all.
    async fn update(&self, wanted: Option<&PiholeApi>) -> Result<()> {
        let mut running = self.running.lock().await;
        let Some(wanted) = wanted else {
            if let Some((_, server)) = running.take() {
                server.stop().await;
            }
            return Ok(());
        };
        let is_private = match read_passwords(&wanted.password_file) {
            Ok((passwords, is_private)) => {
                self.api.set_passwords(passwords);
                is_private
            }
            Err(error) => {
                if let Some((_, server)) = running.take() {
                    server.stop().await;
                }
                return Err(error.context("nothing answers there"));
            }
        };
        let same = |held: &PiholeApi| held.listen == wanted.listen && held.zones == wanted.zones;
        if let Some((_, server)) = running.as_mut().filter(|(held, _)| same(held)) {
            server.retry().await;
        } else {
            if let Some((_, server)) = running.take() {
                server.stop().await;
            }
            let admits = doors::admits(Weak::clone(&self.secd), wanted.zones.clone());
            let server = Server::start(&wanted.listen, Arc::clone(&self.api), admits).await;
            *running = Some((wanted.clone(), server));
        }
        let Some((_, server)) = running.as_ref() else { return Ok(()) };
        doors::all_open(server)?;
        let file = wanted.password_file.display();
        anyhow::ensure!(is_private, "others than root can read the passwords in {file}: chmod 600 {file}");
        Ok(())
    }
}

impl Appliance {
    /// Brings the API to what the config says; what is wrong is told.
    pub(super) async fn update_pihole_api(&self, wanted: Option<&PiholeApi>) {
        let Some(doors) = self.pihole_api.get() else { return };
        let trouble = doors.update(wanted).await.err().map(|error| format!("Pi-hole's API: {error:#}"));
        self.trouble(TROUBLE, trouble);
    }

    /// Tries again what could not be done before.
    pub(super) async fn retry_pihole_api(&self) {
        if self.in_trouble(TROUBLE) {
            let current = self.current.load_full();
            self.update_pihole_api(current.loaded.config.pihole_api.as_ref()).await;
        }
    }
}

const TROUBLE: &str = "Pi-hole's API";

/// The passwords, and whether nobody but the file's owner can read them.
fn read_passwords(file: &Path) -> Result<(Passwords, bool)> {
    let shown = || format!("[pihole_api] password_file {}", file.display());
    let mut text = String::new();
    let opened = File::open(file).with_context(shown)?;
    let is_private = opened.metadata().with_context(shown)?.permissions().mode() & 0o077 == 0;
    opened.take(MAX_PASSWORD_FILE + 1).read_to_string(&mut text).with_context(shown)?;
    anyhow::ensure!(
        text.len() as u64 <= MAX_PASSWORD_FILE,
        "{} has more than {MAX_PASSWORD_FILE} bytes",
        shown()
    );
    let passwords = Passwords::read(&text).map_err(|why| anyhow::anyhow!("{} {why}", shown()))?;
    Ok((passwords, is_private))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;

    #[test]
    fn a_password_file_is_read_with_its_limits_and_errors_hold_no_password() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passwords");
        assert!(read_passwords(&file).is_err());
        std::fs::write(&file, "secret\n").unwrap();
        for (mode, is_private) in [(0o600, true), (0o640, false), (0o604, false)] {
            std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            let (passwords, found) = read_passwords(&file).unwrap();
            assert_eq!((format!("{passwords:?}"), found), ("1 passwords".to_owned(), is_private));
        }
        for text in ["\n \n".to_owned(), "secret".repeat(2000), "secret\n".repeat(17), "secret".repeat(50)] {
            std::fs::write(&file, text).unwrap();
            let error = format!("{:#}", read_passwords(&file).unwrap_err());
            assert!(error.contains("password_file") && !error.contains("secret"), "{error}");
        }
    }
}
