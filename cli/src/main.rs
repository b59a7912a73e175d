//! `secctl`: asks and orders `secd`, and checks files without it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let environment = secctl::Environment::of_process();
    let code =
        secctl::run(std::env::args_os(), &environment, &mut std::io::stdout().lock(), &mut std::io::stderr());
    ExitCode::from(code)
}
