//! The KPI catalogue: every KPI is declared here, once.
//!
//! A conversation's history is folded (in `operators`) into [`Moment`]s: things that happened at a time and are
//! credited to somebody. A [`Kpi`] says how a moment contributes to it ([`Kpi::measure`]) and how the sums become
//! published values ([`Shape`]). Arrow columns, their descriptions and the documentation follow from the entry. Adding a
//! KPI is one entry here, with its hand-worked example in `tests/scenarios`.

use std::sync::LazyLock;

use crate::prediction::SCORE_SCALE;
use crate::tally::{KpiId, Slot, SlotKind};

/// Something countable that happened in a conversation. Durations are ms and never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Moment {
    /// A public customer message.
    MessageInbound,
    /// A public message of an agent or bot.
    MessageOutbound,
    /// A private note.
    MessagePrivate,
    /// A public human reply, with the durations it closes.
    Reply {
        /// First message of the run of unanswered customer messages to this reply.
        reply_time_ms: Option<i64>,
        /// First customer message of the cycle (or a later bot handoff) to this reply.
        first_response_time_ms: Option<i64>,
    },
    /// The cycle was resolved.
    Resolve {
        /// Cycle open to this resolve.
        cycle_resolution_time_ms: Option<i64>,
    },
    /// A resolved conversation came back.
    Reopen,
    /// The conversation's last resolve so far.
    LastResolve {
        /// Creation to this resolve; none while the conversation is open again.
        full_resolution_time_ms: Option<i64>,
        /// Runs of one speaker before it.
        turns: i64,
    },
    /// A rating that stands.
    Rating {
        /// Scaled to 1..5, in millionths.
        csat_millionths: i64,
    },
    /// A cycle fell silent.
    Silence,
    /// A customer message with text that can be scored.
    EligibleTurn,
    /// Its sentiment is known.
    ScoredTurn {
        /// −1..1 in units of 1/[`SCORE_SCALE`].
        sentiment: i64,
        /// Its most probable class is negative.
        negative: bool,
    },
    /// Conversations unattended at the end of the window.
    Unattended(i64),
}

/// How the sums of a KPI become published columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One column: the count.
    Count,
    /// One column: a level at the end of the window. Adds up over groups, not over time.
    Gauge,
    /// `x_count, x_sum_ms, x_min_ms, x_max_ms, x_mean_ms, x_p50_ms, x_p90_ms, x_p95_ms, x_p99_ms`.
    Duration,
    /// `x_count, x_sum, x_mean`; sums are kept in units of 1/scale and published as float when scale is not 1.
    Quantity {
        /// Units of the sum per 1.
        scale: i64,
    },
    /// One column: own sum / (scale · count of another KPI).
    MeanOver {
        /// Name of the KPI that counts.
        count: &'static str,
        /// Units of the sum per 1.
        scale: i64,
    },
    /// One column: count of one KPI / count of another.
    Share {
        /// Name of the numerator.
        part: &'static str,
        /// Name of the denominator.
        whole: &'static str,
    },
}

/// One KPI.
pub struct Kpi {
    /// Name, or its stem where the shape has several columns.
    pub name: &'static str,
    /// Unit of the values: `ms`, `1` (a count), `ratio`, `score`.
    pub unit: &'static str,
    /// What it is, for people.
    pub summary: &'static str,
    /// How its sums become values.
    pub shape: Shape,
    /// What a moment contributes, if anything.
    pub measure: fn(&Moment) -> Option<i64>,
}

macro_rules! when {
    ($pattern:pat => $value:expr) => {
        |moment: &Moment| match *moment {
            $pattern => $value,
            _ => None,
        }
    };
}

const fn count(name: &'static str, summary: &'static str, measure: fn(&Moment) -> Option<i64>) -> Kpi {
    Kpi { name, unit: "1", summary, shape: Shape::Count, measure }
}

const fn duration(name: &'static str, summary: &'static str, measure: fn(&Moment) -> Option<i64>) -> Kpi {
    Kpi { name, unit: "ms", summary, shape: Shape::Duration, measure }
}

/// Every KPI, in the order of the published columns.
pub static CATALOGUE: &[Kpi] = &[
    count("messages_inbound_count", "Public messages of customers", when!(Moment::MessageInbound => Some(1))),
    count("messages_outbound_count", "Public messages of agents and bots", when!(Moment::MessageOutbound => Some(1))),
    count("messages_private_count", "Private notes", when!(Moment::MessagePrivate => Some(1))),
    count("replies_count", "Public human replies", when!(Moment::Reply { .. } => Some(1))),
    duration(
        "reply_time",
        "First of a run of unanswered customer messages to the next public human reply",
        when!(Moment::Reply { reply_time_ms, .. } => reply_time_ms),
    ),
    duration(
        "first_response_time",
        "First customer message of a cycle, or a later bot handoff, to the first public human reply",
        when!(Moment::Reply { first_response_time_ms, .. } => first_response_time_ms),
    ),
    count("resolutions_count", "Resolves", when!(Moment::Resolve { .. } => Some(1))),
    count("reopens_count", "Resolved conversations that came back", when!(Moment::Reopen => Some(1))),
    duration(
        "full_resolution_time",
        "Creation to the latest resolve; not there while the conversation is open again",
        when!(Moment::LastResolve { full_resolution_time_ms, .. } => full_resolution_time_ms),
    ),
    duration(
        "cycle_resolution_time",
        "Opening of a cycle to its resolve",
        when!(Moment::Resolve { cycle_resolution_time_ms } => cycle_resolution_time_ms),
    ),
    Kpi {
        name: "csat",
        unit: "rating 1..5",
        summary: "Latest customer rating of each survey, scaled to 1..5",
        shape: Shape::Quantity { scale: 1_000_000 },
        measure: when!(Moment::Rating { csat_millionths } => Some(csat_millionths)),
    },
    Kpi {
        name: "turns",
        unit: "1",
        summary: "Runs of one speaker per conversation, counted at its last resolve",
        shape: Shape::Quantity { scale: 1 },
        measure: when!(Moment::LastResolve { turns, .. } => Some(turns)),
    },
    Kpi {
        name: "unattended_count",
        unit: "1",
        summary: "Open conversations without any human reply at the end of the window, for at most 30 days each",
        shape: Shape::Gauge,
        measure: when!(Moment::Unattended(level) => Some(level)),
    },
    count(
        "silent_dialogue_count",
        "Cycles with a customer message unanswered for more than 24 h, or that ended without any agent turn",
        when!(Moment::Silence => Some(1)),
    ),
    count(
        "eligible_turns_count",
        "Customer messages with text, which can be scored",
        when!(Moment::EligibleTurn => Some(1)),
    ),
    count(
        "scored_turns_count",
        "Customer messages whose sentiment is known",
        when!(Moment::ScoredTurn { .. } => Some(1)),
    ),
    Kpi {
        name: "sentiment_mean",
        unit: "score -1..1",
        summary: "Mean sentiment of scored customer messages, -1 (negative) to 1 (positive)",
        shape: Shape::MeanOver { count: "scored_turns_count", scale: SCORE_SCALE as i64 },
        measure: when!(Moment::ScoredTurn { sentiment, .. } => Some(sentiment)),
    },
    Kpi {
        name: "negative_turn_ratio",
        unit: "ratio 0..1",
        summary: "Share of scored customer messages that are negative",
        shape: Shape::MeanOver { count: "scored_turns_count", scale: 1 },
        measure: when!(Moment::ScoredTurn { negative, .. } => Some(i64::from(negative))),
    },
    Kpi {
        name: "coverage_ratio",
        unit: "ratio 0..1",
        summary: "Scored turns / eligible turns: how far the model has come",
        shape: Shape::Share { part: "scored_turns_count", whole: "eligible_turns_count" },
        measure: |_| None,
    },
];

/// The number of the KPI called `name`.
///
/// # Panics
/// When the catalogue has no such KPI: names in code are checked by the tests of this module.
pub fn kpi_id(name: &str) -> KpiId {
    let position = CATALOGUE.iter().position(|kpi| kpi.name == name);
    position.unwrap_or_else(|| panic!("the catalogue has no KPI {name:?}")) as KpiId
}

impl Moment {
    /// One moment of each kind, with every option set.
    const SAMPLES: [Moment; 12] = [
        Moment::MessageInbound,
        Moment::MessageOutbound,
        Moment::MessagePrivate,
        Moment::Reply { reply_time_ms: Some(1), first_response_time_ms: Some(1) },
        Moment::Resolve { cycle_resolution_time_ms: Some(1) },
        Moment::Reopen,
        Moment::LastResolve { full_resolution_time_ms: Some(1), turns: 1 },
        Moment::Rating { csat_millionths: 1 },
        Moment::Silence,
        Moment::EligibleTurn,
        Moment::ScoredTurn { sentiment: 1, negative: true },
        Moment::Unattended(1),
    ];

    /// Position of this kind in [`Self::SAMPLES`].
    fn kind(&self) -> usize {
        match self {
            Moment::MessageInbound => 0,
            Moment::MessageOutbound => 1,
            Moment::MessagePrivate => 2,
            Moment::Reply { .. } => 3,
            Moment::Resolve { .. } => 4,
            Moment::Reopen => 5,
            Moment::LastResolve { .. } => 6,
            Moment::Rating { .. } => 7,
            Moment::Silence => 8,
            Moment::EligibleTurn => 9,
            Moment::ScoredTurn { .. } => 10,
            Moment::Unattended(_) => 11,
        }
    }

    /// Appends what this moment adds to its cell, `sign` times (−1 takes it back).
    pub fn contribute(&self, sign: i64, entries: &mut Vec<(Slot, i64)>) {
        for &id in &KPIS_BY_MOMENT[self.kind()] {
            let kpi = &CATALOGUE[id as usize];
            let Some(value) = (kpi.measure)(self) else {
                continue;
            };
            match kpi.shape {
                Shape::Count | Shape::Gauge => entries.push((Slot::new(id, SlotKind::Count, 0), sign * value)),
                // A duration is never negative: the fold yields none for events out of order.
                Shape::Duration => entries.push((Slot::new(id, SlotKind::Value, value.max(0) as u64), sign)),
                Shape::Quantity { .. } => {
                    entries.push((Slot::new(id, SlotKind::Count, 0), sign));
                    entries.push((Slot::new(id, SlotKind::Sum, 0), sign * value));
                }
                Shape::MeanOver { .. } => entries.push((Slot::new(id, SlotKind::Sum, 0), sign * value)),
                Shape::Share { .. } => {}
            }
        }
    }
}

/// For each kind of moment, the KPIs it contributes to.
static KPIS_BY_MOMENT: LazyLock<Vec<Vec<KpiId>>> = LazyLock::new(|| {
    let reads = |moment: &Moment, id: &KpiId| (CATALOGUE[*id as usize].measure)(moment).is_some();
    Moment::SAMPLES
        .iter()
        .map(|moment| (0..CATALOGUE.len() as KpiId).filter(|id| reads(moment, id)).collect())
        .collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_references_resolve() {
        for (position, kpi) in CATALOGUE.iter().enumerate() {
            assert_eq!(kpi_id(kpi.name) as usize, position, "{} is declared twice", kpi.name);
            match kpi.shape {
                Shape::MeanOver { count, .. } => {
                    assert_eq!(CATALOGUE[kpi_id(count) as usize].shape, Shape::Count)
                }
                Shape::Share { part, whole } => {
                    assert_eq!(CATALOGUE[kpi_id(part) as usize].shape, Shape::Count);
                    assert_eq!(CATALOGUE[kpi_id(whole) as usize].shape, Shape::Count);
                }
                _ => {}
            }
        }
    }

    #[test]
    fn every_kpi_with_sums_of_its_own_is_fed_by_some_moment() {
        for (id, kpi) in CATALOGUE.iter().enumerate() {
            let fed = KPIS_BY_MOMENT.iter().any(|kpis| kpis.contains(&(id as KpiId)));
            assert_eq!(fed, !matches!(kpi.shape, Shape::Share { .. }), "{}", kpi.name);
        }
    }

    #[test]
    fn samples_stand_at_their_kind() {
        for (kind, moment) in Moment::SAMPLES.iter().enumerate() {
            assert_eq!(moment.kind(), kind);
        }
    }
}
