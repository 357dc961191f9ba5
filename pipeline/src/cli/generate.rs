//! `contactflow generate`.

use chrono::NaiveDate;
use clap::{Args, ValueEnum};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use super::run::Switch;
use super::{CliError, say};
use crate::generate::{Format, GenerateOptions, OptionsError, TRUTH_PATH};
use crate::store::Root;

/// Formats of event files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    Parquet,
    Ndjson,
}

/// Arguments of `generate`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  contactflow generate --output events
  contactflow generate --output s3://bucket/events --conversations 1000000 --days 30 --text off --disorder off")]
pub(super) struct GenerateArgs {
    /// Where the event files go
    #[arg(long, value_name = "URL_OR_PATH")]
    output: String,
    /// Conversations
    #[arg(long, default_value_t = GenerateOptions::default().conversations)]
    conversations: u64,
    /// Agents
    #[arg(long, default_value_t = GenerateOptions::default().agents)]
    agents: u32,
    /// Days
    #[arg(long, default_value_t = GenerateOptions::default().days)]
    days: u32,
    /// Seed: equal options give equal bytes
    #[arg(long, default_value_t = GenerateOptions::default().seed)]
    seed: u64,
    /// First day
    #[arg(long, value_name = "YYYY-MM-DD", default_value_t = GenerateOptions::default().start_date)]
    start_date: NaiveDate,
    /// Format of the files
    #[arg(long, value_enum, default_value = "parquet")]
    format: FormatArg,
    /// Texts of the messages
    #[arg(long, value_enum, default_value = "on")]
    text: Switch,
    /// Planted incidents
    #[arg(long, value_enum, default_value = "on")]
    incidents: Switch,
    /// Duplicates, late deliveries, edits, retractions and a few malformed rows
    #[arg(long, value_enum, default_value = "on")]
    disorder: Switch,
    /// Tenant of the events
    #[arg(long, default_value_t = GenerateOptions::default().tenant_id)]
    tenant: String,
    /// Rows per file
    #[arg(long, default_value_t = GenerateOptions::default().max_rows_per_file)]
    max_rows_per_file: usize,
}

pub(super) fn generate(args: GenerateArgs) -> Result<(), CliError> {
    let options = GenerateOptions {
        conversations: args.conversations,
        agents: args.agents,
        days: args.days,
        seed: args.seed,
        start_date: args.start_date,
        format: match args.format {
            FormatArg::Parquet => Format::Parquet,
            FormatArg::Ndjson => Format::Ndjson,
        },
        text: args.text == Switch::On,
        incidents: args.incidents == Switch::On,
        disorder: args.disorder == Switch::On,
        tenant_id: args.tenant,
        max_rows_per_file: args.max_rows_per_file,
    };
    options.validate().map_err(CliError::configuration)?;
    let root = Root::open(&args.output, true)?;
    let bar = ProgressBar::new(options.conversations);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} conversations, {eta} left") {
        bar.set_style(style);
    }
    let mut write = |name: &str, body| root.put(&root.at(name), body).map(drop).map_err(anyhow::Error::from);
    let truth = crate::generate::generate(&options, &mut write, &mut |done| bar.set_position(done));
    bar.finish_and_clear();
    let truth = truth.map_err(|error| match error.downcast_ref::<OptionsError>() {
        Some(problem) => CliError::configuration(problem),
        None => CliError::failure(format!("{error:#}")),
    })?;
    say(format!(
        "wrote {} rows: {} events of {} conversations, {} incidents",
        HumanCount(truth.rows),
        HumanCount(truth.events),
        HumanCount(truth.conversations),
        truth.incidents.len()
    ));
    say(format!("events: {}\ntruth:  {}", root.url, root.name_of(&root.at(TRUTH_PATH))));
    Ok(())
}
