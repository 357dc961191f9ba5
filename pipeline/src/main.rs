//! The program `contactflow`.

use std::process::ExitCode;

/// Rows are allocated on one worker and freed on another, which the system's allocator handles slowly.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    contactflow::cli::main()
}
