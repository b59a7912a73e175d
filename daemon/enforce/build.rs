//! Compiles the XDP and TC programs and hands the object to the library.
//!
//! The workspace's own compiler has no library sources for the BPF target, so this uses the one that has: a rustup
//! nightly with `rust-src`, else the distribution's `/usr/bin/rustc`. `SECD_EDGE_OBJECT` names a finished object.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

fn main() {
    println!("cargo::rerun-if-env-changed=SECD_EDGE_OBJECT");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_else(|| panic!("cargo sets OUT_DIR")));
    // Asked when this runs: a target folder may have been made by another checkout.
    let here = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| panic!("cargo sets CARGO_MANIFEST_DIR"));
    let root = Path::new(&here).join("../..");
    for folder in ["ebpf/abi", "ebpf/datapath", "ebpf/edge"] {
        println!("cargo::rerun-if-changed={}", root.join(folder).join("src").display());
        println!("cargo::rerun-if-changed={}", root.join(folder).join("Cargo.toml").display());
    }
    let object = match env::var_os("SECD_EDGE_OBJECT") {
        Some(object) => PathBuf::from(object),
        None => build(&root, &out.join("bpf")),
    };
    if let Err(error) = fs::copy(&object, out.join("edge.o")) {
        panic!("cannot copy {}: {error}", object.display());
    }
}

/// Runs cargo for the BPF target; returns the object.
fn build(root: &Path, target: &Path) -> PathBuf {
    let architecture = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let (mut cargo, which) = compiler();
    let path = tools().map_or_else(
        || env::var_os("PATH").unwrap_or_default(),
        |tools| {
            let mut path = tools.into_os_string();
            path.push(":");
            path.push(env::var_os("PATH").unwrap_or_default());
            path
        },
    );
    let flags = [
        format!("--cfg=bpf_target_arch=\"{architecture}\""),
        "-Cdebuginfo=2".to_owned(),
        // Compare-exchange, which places of the flow table are taken by (Linux 5.12).
        "-Ctarget-cpu=v3".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        // Else every clearing of a few bytes is a call of a function that writes them one by one.
        "-Clink-arg=--disable-expand-memcpy-in-order".to_owned(),
    ];
    cargo
        .current_dir(root.join("ebpf/edge"))
        .args(["build", "--release", "--package", "edge", "--bin", "edge", "--locked"])
        .args(["--target", "bpfel-unknown-none", "-Z", "build-std=core", "--target-dir"])
        .arg(target)
        .env("PATH", path)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    // What the outer cargo set for the host must not reach the inner one.
    for name in
        ["CARGO_TARGET_DIR", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "CARGO_BUILD_TARGET"]
    {
        cargo.env_remove(name);
    }
    let ended = cargo.output().unwrap_or_else(|error| {
        panic!("cannot start {which} for the BPF programs ({error}); run `cargo xtask setup`")
    });
    let object = target.join("bpfel-unknown-none/release/edge");
    if !ended.status.success() || !object.is_file() {
        let text = String::from_utf8_lossy(&ended.stderr);
        let reason = text.lines().find(|line| line.starts_with("error")).unwrap_or("no error line");
        eprintln!("{text}");
        panic!(
            "{which} cannot build the BPF programs ({reason}); if the toolchain is missing run `cargo xtask setup`"
        );
    }
    object
}

/// The cargo to run, and its name for people.
fn compiler() -> (Command, &'static str) {
    let mut cargo = Command::new("cargo");
    cargo.env_remove("RUSTUP_TOOLCHAIN").env_remove("RUSTC");
    if has_nightly_with_sources() {
        cargo.arg("+nightly");
        return (cargo, "the nightly toolchain");
    }
    let debian = Path::new("/usr/bin/rustc");
    if !debian.is_file() || !Path::new("/usr/lib/rustlib/src").exists() {
        panic!(
            "no compiler for the BPF programs: neither a rustup nightly with rust-src nor rustc-web with rust-web-src; run `cargo xtask setup`"
        );
    }
    cargo.env("RUSTC", debian).env("RUSTC_BOOTSTRAP", "1");
    (cargo, "/usr/bin/rustc")
}

fn has_nightly_with_sources() -> bool {
    let home = env::var_os("RUSTUP_HOME").map(PathBuf::from).or_else(|| Some(home()?.join(".rustup")));
    let Some(toolchains) = home.and_then(|home| fs::read_dir(home.join("toolchains")).ok()) else {
        return false;
    };
    toolchains.flatten().any(|entry| {
        entry.file_name().to_string_lossy().starts_with("nightly")
            && entry.path().join("lib/rustlib/src/rust/library/core").exists()
    })
}

/// The folder of the project's tools, where bpf-linker is.
fn tools() -> Option<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(home()?.join(".cache")))?;
    Some(cache.join("secd/tools/bin"))
}

fn home() -> Option<PathBuf> {
    env::var_os("HOME").map(PathBuf::from)
}
