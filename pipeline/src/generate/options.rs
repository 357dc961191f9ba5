//! What to generate, and the check that it can be generated.

use chrono::NaiveDate;
use thiserror::Error;

/// The file format of the event files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Parquet, zstd level 1, dictionary encoding for columns of few distinct values.
    Parquet,
    /// Newline-delimited JSON, gzip.
    Ndjson,
}

impl Format {
    /// The file name extension, without the leading dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Ndjson => "ndjson.gz",
        }
    }
}

/// The greatest number of days one run may span: ten years.
pub const MAX_DAYS: u32 = 3_660;
/// The greatest number of conversations of one run; keeps event ids within 20 bytes.
pub const MAX_CONVERSATIONS: u64 = 1_000_000_000;
/// The greatest number of agents of one run.
pub const MAX_AGENTS: u32 = 100_000;

/// What to generate. Two runs with equal options yield equal bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerateOptions {
    /// Conversations that start within the span. Default 20 000.
    pub conversations: u64,
    /// Human agents. Default 40.
    pub agents: u32,
    /// Days of the span, counted from `start_date`. Default 28.
    pub days: u32,
    /// Seed of every random draw. Default 42.
    pub seed: u64,
    /// First day of the span, UTC. Default 2025-03-03, a Monday.
    pub start_date: NaiveDate,
    /// Format of the event files. Default Parquet.
    pub format: Format,
    /// Whether messages and ratings carry text. Changes no other column. Default true.
    pub text: bool,
    /// Whether to plant labelled incidents (from the ninth day on). Default true.
    pub incidents: bool,
    /// Whether deliveries are disorderly: duplicates, late and out-of-order rows, edits, retractions, rating revisions
    /// and malformed rows. The events underneath are the same with and without. Default true.
    pub disorder: bool,
    /// The value of `tenant_id`. Default `demo`.
    pub tenant_id: String,
    /// Most rows in one file. Default 1 000 000.
    pub max_rows_per_file: usize,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self {
            conversations: 20_000,
            agents: 40,
            days: 28,
            seed: 42,
            start_date: NaiveDate::from_ymd_opt(2025, 3, 3).unwrap_or_default(),
            format: Format::Parquet,
            text: true,
            incidents: true,
            disorder: true,
            tenant_id: "demo".to_owned(),
            max_rows_per_file: 1_000_000,
        }
    }
}

/// Options that describe nothing that could be generated.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OptionsError {
    /// A number lies outside the range it must lie in.
    #[error("{option} is {actual}, expected {least}..={most}")]
    OutOfRange {
        /// The command-line name of the option.
        option: &'static str,
        /// The value given.
        actual: u64,
        /// The least value accepted.
        least: u64,
        /// The greatest value accepted.
        most: u64,
    },
    /// The span leaves the years the job accepts event times in.
    #[error(
        "the span of {days} days from {start_date} leaves 1970-01-01..2100-01-01; choose an earlier or later start"
    )]
    SpanOutOfRange {
        /// First day asked for.
        start_date: NaiveDate,
        /// Days asked for.
        days: u32,
    },
    /// `tenant_id` is empty or blank.
    #[error("the tenant is empty; every event must name the tenant that owns it")]
    EmptyTenant,
}

impl GenerateOptions {
    /// Checks that the options can be met.
    ///
    /// # Errors
    /// The first option that cannot be met, with the range that can.
    pub fn validate(&self) -> Result<(), OptionsError> {
        in_range("--conversations", self.conversations, 1, MAX_CONVERSATIONS)?;
        in_range("--agents", self.agents.into(), 1, MAX_AGENTS.into())?;
        in_range("--days", self.days.into(), 1, MAX_DAYS.into())?;
        in_range("--max-rows-per-file", self.max_rows_per_file as u64, 1, u64::MAX)?;
        let first = NaiveDate::from_ymd_opt(1970, 1, 1);
        let limit = NaiveDate::from_ymd_opt(2100, 1, 1);
        let end = self.start_date.checked_add_days(chrono::Days::new(self.days.into()));
        if Some(self.start_date) < first || end.is_none() || end > limit {
            return Err(OptionsError::SpanOutOfRange { start_date: self.start_date, days: self.days });
        }
        if self.tenant_id.trim().is_empty() {
            return Err(OptionsError::EmptyTenant);
        }
        Ok(())
    }

    /// Start of the span, milliseconds since the Unix epoch, UTC.
    pub(crate) fn start_ms(&self) -> i64 {
        self.start_date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis()
    }

    /// End of the span (exclusive), milliseconds since the Unix epoch, UTC.
    pub(crate) fn end_ms(&self) -> i64 {
        self.start_ms() + i64::from(self.days) * super::time::DAY_MS
    }
}

fn in_range(option: &'static str, actual: u64, least: u64, most: u64) -> Result<(), OptionsError> {
    if (least..=most).contains(&actual) {
        Ok(())
    } else {
        Err(OptionsError::OutOfRange { option, actual, least, most })
    }
}
