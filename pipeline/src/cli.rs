//! The command line: parsing, wiring, exit codes. Results go to standard output, everything else to standard error.

mod generate;
mod incidents;
mod inspect;
mod panics;
mod run;
mod train;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Incremental KPIs, scores and anomalies of contact-centre conversations, as Parquet in object storage.
#[derive(Debug, Parser)]
#[command(name = "contactflow", version, about, max_term_width = 110, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  contactflow generate --output events --conversations 20000
  contactflow run --once --input events --output tables --workers 2
  contactflow incidents --output tables --truth events/_truth/incidents.json

Exit codes: 0 success, 1 failure, 2 usage or configuration. `contactflow COMMAND --help` has more.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Reads events and keeps the tables current
    Run(run::RunArgs),
    /// Validates configuration, reaches the stores, loads the model, prints the plan; writes nothing
    Check(run::CheckArgs),
    /// Writes seeded synthetic events with planted, labelled incidents
    Generate(generate::GenerateArgs),
    /// Compares anomaly scores with the incidents that `generate` planted
    Incidents(incidents::IncidentsArgs),
    /// Computes the tables anew and compares them with what is published; writes nothing
    Verify(inspect::VerifyArgs),
    /// Says which KPI values more events would change; writes nothing
    Whatif(inspect::WhatIfArgs),
    /// Takes a contact's events out of every table, state file and prediction, with a receipt
    Erase(inspect::EraseArgs),
    /// Says how a running or stopped job stands
    Status(inspect::StatusArgs),
    /// Adapts an encoder's upper layers to the heads that read it
    Adapt(train::AdaptArgs),
    /// Fits a head on labelled texts
    Train(train::TrainArgs),
    /// Measures a head on labelled texts
    Evaluate(train::EvaluateArgs),
}

/// A command's error: what to print, and whether usage or configuration has to change.
pub(crate) struct CliError {
    message: String,
    configuration: bool,
}

impl CliError {
    /// Exit code 1.
    pub(crate) fn failure(message: impl ToString) -> Self {
        Self { message: message.to_string(), configuration: false }
    }

    /// Exit code 2.
    pub(crate) fn configuration(message: impl ToString) -> Self {
        Self { message: message.to_string(), configuration: true }
    }
}

impl From<crate::run::JobError> for CliError {
    fn from(error: crate::run::JobError) -> Self {
        Self { configuration: error.is_configuration(), message: error.to_string() }
    }
}

impl From<crate::store::StoreError> for CliError {
    fn from(error: crate::store::StoreError) -> Self {
        crate::run::JobError::from(error).into()
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            // Printing help to a closed pipe is nobody's problem.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    start_log();
    panics::install();
    let result = match cli.command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => run::check(args),
        Command::Generate(args) => generate::generate(args),
        Command::Incidents(args) => incidents::incidents(args),
        Command::Verify(args) => inspect::verify(args),
        Command::Whatif(args) => inspect::whatif(args),
        Command::Erase(args) => inspect::erase(args),
        Command::Status(args) => inspect::status(args),
        Command::Adapt(args) => train::adapt(args),
        Command::Train(args) => train::train(args),
        Command::Evaluate(args) => train::evaluate(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("contactflow: error: {}", error.message);
            ExitCode::from(if error.configuration { 2 } else { 1 })
        }
    }
}

/// Logs go to standard error; `RUST_LOG` sets their level.
fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,contactflow=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

/// Prints a line of the result. A closed pipe ends the output, not the program.
pub(crate) fn say(line: impl std::fmt::Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{line}");
}
