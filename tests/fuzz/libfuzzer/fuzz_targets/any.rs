//! One program for all targets; the environment says which: `SECD_FUZZ_TARGET`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static TARGET: LazyLock<fuzz::Target> = LazyLock::new(|| {
    let name = std::env::var("SECD_FUZZ_TARGET").unwrap_or_default();
    fuzz::target(&name).unwrap_or_else(|| panic!("SECD_FUZZ_TARGET is `{name}`, which is no target"))
});

fuzz_target!(|data: &[u8]| TARGET(data));
