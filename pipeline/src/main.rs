//! The program `contactflow`.

use std::process::ExitCode;

fn main() -> ExitCode {
    contactflow::cli::main()
}
