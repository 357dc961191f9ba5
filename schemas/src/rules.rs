//! What a business may set about its KPIs.

use serde::{Deserialize, Serialize};

use crate::clock::{DAY_MS, HOUR_MS};
use crate::prediction::SCORE_SCALE;

/// Thresholds of the KPIs; the numbers of rules are those of `pipeline/decisions/0001-kpi-fine-print.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KpiRules {
    /// IANA time zone of the windows.
    pub time_zone: String,
    /// τ: how long a customer message may stay without reply before the dialogue counts as silent (rule 20), ms.
    pub silence_after_ms: i64,
    /// N: a return within this time after a resolve counts as reopen, repeat contact or no first contact resolution
    /// (rules 37, 38), ms.
    pub return_within_ms: i64,
    /// X: a queue visit answered within this time meets the service level (rule 43), ms.
    pub service_level_within_ms: i64,
    /// A queue visit abandoned in less than this time is a short abandon (rule 43), ms.
    pub short_abandon_ms: i64,
    /// How long an unresolved conversation counts in backlog, unassigned and unattended (rule 21), and a presence
    /// without news in available and staffed time (rule 44), ms.
    pub level_max_ms: i64,
    /// A reply that is offensive with at least this probability is improper (rule 66).
    pub improper_threshold: Probability,
}

/// A probability in units of 1/[`SCORE_SCALE`]; settings state it as a number from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "f64", into = "f64")]
pub struct Probability(pub i32);

impl From<f64> for Probability {
    fn from(probability: f64) -> Self {
        // Out of range stays out of range, and is told as such.
        Self((probability * f64::from(SCORE_SCALE)).round() as i32)
    }
}

impl From<Probability> for f64 {
    fn from(probability: Probability) -> Self {
        f64::from(probability.0) / f64::from(SCORE_SCALE)
    }
}

impl Default for KpiRules {
    fn default() -> Self {
        Self {
            time_zone: "UTC".to_owned(),
            silence_after_ms: DAY_MS,
            return_within_ms: 7 * DAY_MS,
            service_level_within_ms: 20_000,
            short_abandon_ms: 5_000,
            level_max_ms: 30 * DAY_MS,
            improper_threshold: Probability(7_000),
        }
    }
}

impl KpiRules {
    /// The first setting that makes no sense, with what is expected.
    pub fn problem(&self) -> Option<(&'static str, &'static str)> {
        const LONGEST_MS: i64 = 10 * 366 * DAY_MS;
        let out_of_range = |value: i64| !(0..=LONGEST_MS).contains(&value);
        [
            ("kpi.silence_after_ms", self.silence_after_ms),
            ("kpi.return_within_ms", self.return_within_ms),
            ("kpi.service_level_within_ms", self.service_level_within_ms),
            ("kpi.short_abandon_ms", self.short_abandon_ms),
        ]
        .into_iter()
        .find(|&(_, value)| out_of_range(value))
        .map(|(key, _)| (key, "expected milliseconds from 0 up to ten years"))
        .or_else(|| {
            let short = out_of_range(self.level_max_ms) || self.level_max_ms < HOUR_MS;
            short.then_some(("kpi.level_max_ms", "expected milliseconds from an hour up to ten years"))
        })
        .or_else(|| {
            let out_of_range = !(0..=SCORE_SCALE).contains(&self.improper_threshold.0);
            out_of_range.then_some(("kpi.improper_threshold", "expected a probability from 0 to 1"))
        })
    }
}
