//! `cargo xtask deb`: a Debian package for a router that exists already. It starts nothing by itself and its config
//! only observes.
//!
//! The package is then looked at as a user would: listed, unpacked into an empty root, its config checked with the
//! `secctl` in it, its unit verified.

use crate::console::{self, Step};
use crate::{demo, setup};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Highest exposure `systemd-analyze security` may find, times ten.
const EXPOSURE_LIMIT: u32 = 35;
/// Scripts of the package.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Builds and checks the package.
pub(crate) fn run(root: &Path) -> Result<()> {
    setup::run(root, setup::How::Install)?;
    let programs = demo::build_release(root)?;
    let step = Step::begin("package");
    let package = build(root, &programs);
    step.end(if package.is_ok() { "ok" } else { "failed" });
    let package = package?;
    let step = Step::begin("check of the package");
    let checked = check(root, &package);
    step.end(if checked.is_ok() { "ok" } else { "failed" });
    println!("{}", checked?);
    println!("install it with: apt install {}", package.display());
    Ok(())
}

fn build(root: &Path, programs: &Path) -> Result<PathBuf> {
    let folder = root.join("target/deb");
    let tree = folder.join("root");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    let version = env!("CARGO_PKG_VERSION");
    let architecture =
        console::output_of(Command::new("dpkg").arg("--print-architecture")).context("dpkg is not there")?;
    let architecture = architecture.trim();
    let image = root.join("image");
    for (from, to, mode) in [
        (programs.join("secd"), "usr/sbin/secd", 0o755),
        (programs.join("secctl"), "usr/bin/secctl", 0o755),
        (image.join("secd.service"), "lib/systemd/system/secd.service", 0o644),
        (image.join("secd-early.service"), "lib/systemd/system/secd-early.service", 0o644),
        (image.join("deb/secd.toml"), "etc/secd/secd.toml", 0o640),
        (image.join("secd.toml"), "usr/share/doc/secd/examples/secd.toml", 0o644),
    ] {
        put(&tree, to, &fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?, mode)?;
    }
    for program in ["usr/sbin/secd", "usr/bin/secctl"] {
        console::quietly(
            root,
            "deb-strip",
            Command::new("strip").arg("--strip-unneeded").arg(tree.join(program)),
        )?;
    }
    generated(root, &tree, programs)?;
    let copyright = format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: secd\n\nFiles: *\n\
         Copyright: the authors of secd\nLicense: MIT or Apache-2.0\n\n\
         Apache-2.0: /usr/share/common-licenses/Apache-2.0. MIT:\n\n{}",
        fs::read_to_string(root.join("LICENSE-MIT"))?
    );
    put(&tree, "usr/share/doc/secd/copyright", copyright.as_bytes(), 0o644)?;
    put(&tree, "DEBIAN/control", control(version, architecture, kibibytes(&tree)?).as_bytes(), 0o644)?;
    put(&tree, "DEBIAN/conffiles", b"/etc/secd/secd.toml\n", 0o644)?;
    for script in SCRIPTS {
        put(&tree, &format!("DEBIAN/{script}"), &fs::read(image.join("deb").join(script))?, 0o755)?;
    }
    let package = folder.join(format!("secd_{version}_{architecture}.deb"));
    let mut command = Command::new("dpkg-deb");
    command.args(["--root-owner-group", "-Zxz", "--build"]).arg(&tree).arg(&package);
    console::quietly(root, "deb-build", &mut command)?;
    Ok(package)
}

/// Man pages and completions, as the program itself writes them.
fn generated(root: &Path, tree: &Path, programs: &Path) -> Result<()> {
    let secctl = programs.join("secctl");
    let pages = root.join("target/deb/man");
    if pages.exists() {
        fs::remove_dir_all(&pages)?;
    }
    fs::create_dir_all(&pages)?;
    console::quietly(root, "deb-man", Command::new(&secctl).arg("man").arg(&pages))?;
    for page in fs::read_dir(&pages)?.flatten() {
        let name = page.file_name().to_string_lossy().into_owned();
        put(tree, &format!("usr/share/man/man1/{name}"), &fs::read(page.path())?, 0o644)?;
    }
    console::quietly(root, "deb-gzip", Command::new("gzip").args(["-9nr"]).arg(tree.join("usr/share/man")))?;
    for (shell, place) in [
        ("bash", "usr/share/bash-completion/completions/secctl"),
        ("zsh", "usr/share/zsh/vendor-completions/_secctl"),
        ("fish", "usr/share/fish/vendor_completions.d/secctl.fish"),
    ] {
        let text = console::output_of(Command::new(&secctl).args(["completions", shell]))
            .with_context(|| format!("secctl completions {shell} failed"))?;
        put(tree, place, text.as_bytes(), 0o644)?;
    }
    Ok(())
}

/// Looks at the package as a user would; what was seen, in lines.
fn check(root: &Path, package: &Path) -> Result<String> {
    let listing = console::output_of(Command::new("dpkg-deb").arg("-c").arg(package))
        .context("dpkg-deb cannot read the package")?;
    for path in [
        "./usr/sbin/secd",
        "./usr/bin/secctl",
        "./lib/systemd/system/secd.service",
        "./lib/systemd/system/secd-early.service",
        "./etc/secd/secd.toml",
        "./usr/share/man/man1/secctl.1.gz",
    ] {
        if !listing.lines().any(|line| line.ends_with(path)) {
            bail!("{path} is not in the package");
        }
    }
    let tree = root.join("target/deb/installed");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    fs::create_dir_all(&tree)?;
    console::quietly(root, "deb-extract", Command::new("dpkg-deb").arg("-x").arg(package).arg(&tree))?;
    let config = tree.join("etc/secd/secd.toml");
    if !fs::read_to_string(&config)?.contains("\nmode = \"observe\"\n") {
        bail!("the packaged config does not say observe");
    }
    console::quietly(root, "deb-check", Command::new(tree.join("usr/bin/secctl")).arg("check").arg(&config))
        .context("the packaged config has mistakes")?;
    let unit = tree.join("lib/systemd/system/secd.service");
    verify(root, &unit)?;
    verify(root, &unit.with_file_name("secd-early.service"))?;
    let mut security = Command::new("systemd-analyze");
    security
        .args(["security", "--offline=true", "--no-pager", "--threshold", &EXPOSURE_LIMIT.to_string()])
        .arg(&unit);
    let (status, log) = console::logged(root, "deb-security", &mut security, |_| {})?;
    let text = fs::read_to_string(&log)?;
    let exposure = text
        .lines()
        .find(|line| line.contains("Overall exposure"))
        .unwrap_or("no exposure level")
        .trim_start_matches(['→', ' ']);
    if !status.success() {
        bail!("{exposure}; the limit is {}.{}", EXPOSURE_LIMIT / 10, EXPOSURE_LIMIT % 10);
    }
    let size = fs::metadata(package)?.len();
    Ok(format!(
        "{} ({:.1} MB, {} files)\n{exposure}",
        package.display(),
        size as f64 / 1e6,
        listing.lines().filter(|line| line.starts_with('-')).count()
    ))
}

/// Verifies the unit where it stands: its programs are not at their places, which is the only thing it may say. (With
/// `--root` systemd wants a whole system in there.)
fn verify(root: &Path, unit: &Path) -> Result<()> {
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no"]).arg(unit);
    let (_, log) = console::logged(root, "deb-verify", &mut command, |_| {})?;
    let wrong: Vec<String> = fs::read_to_string(&log)?
        .lines()
        .filter(|line| line.contains("/secd") && !line.contains("is not executable"))
        .map(str::to_owned)
        .collect();
    if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join("; ")) }
}

fn control(version: &str, architecture: &str, installed: u64) -> String {
    format!(
        "Package: secd\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: the authors of secd <secd@example.invalid>\n\
         Section: net\nPriority: optional\nDepends: libc6 (>= 2.36), libgcc-s1, nftables\nInstalled-Size: {installed}\n\
         Description: network security appliance for a homelab router\n \
         One daemon and one command: zones and VLANs judged in XDP with nftables as second\n \
         wall, a sinkholing DNS forwarder, bans from log lines, signatures over live traffic,\n \
         and one place that knows why something was blocked. Installs observing only.\n"
    )
}

fn put(tree: &Path, place: &str, bytes: &[u8], mode: u32) -> Result<()> {
    let path = tree.join(place);
    fs::create_dir_all(path.parent().unwrap_or(tree))?;
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// Size of everything below `folder`.
fn kibibytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)?.flatten() {
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { kibibytes(&entry.path())? * 1024 } else { metadata.len() };
    }
    Ok(bytes.div_ceil(1024))
}
