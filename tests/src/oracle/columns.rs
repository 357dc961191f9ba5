//! The columns of a KPI table out of everything in one cell of the cube (section Columns of the rule page).

use super::contribution::What;
use super::heads::Scores;
use super::windows::Window;
use crate::model::{Cell, Columns, name};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Sums that are never null.
const SUMS: &[&str] = &[
    "messages_inbound_count",
    "messages_outbound_count",
    "messages_private_count",
    "replies_count",
    "conversations_handled_count",
    "conversations_created_count",
    "cohort_resolved_count",
    "resolutions_count",
    "conversations_resolved_count",
    "reopens_count",
    "reopened_resolutions_count",
    "one_touch_count",
    "fcr_eligible_count",
    "fcr_count",
    "repeat_contact_count",
    "silent_dialogue_count",
    "backlog_count",
    "unassigned_count",
    "unattended_count",
    "queued_count",
    "queue_offered_count",
    "queue_answered_count",
    "queue_abandoned_count",
    "queue_flow_out_count",
    "short_abandon_count",
    "queue_answered_within_count",
    "queue_abandoned_within_count",
    "transfers_in_count",
    "transfers_out_count",
    "transfers_in_cold_count",
    "transfers_out_cold_count",
    "transfers_in_warm_count",
    "transfers_out_warm_count",
    "transfers_in_external_count",
    "transfers_out_external_count",
    "sla_first_response_met_count",
    "sla_first_response_breached_count",
    "sla_first_response_pending_count",
    "sla_first_response_at_risk_count",
    "sla_next_response_met_count",
    "sla_next_response_breached_count",
    "sla_next_response_pending_count",
    "sla_next_response_at_risk_count",
    "sla_resolution_met_count",
    "sla_resolution_breached_count",
    "sla_resolution_pending_count",
    "sla_resolution_at_risk_count",
    "csat_positive_count",
    "csat_revisions_count",
    "csat_sent_count",
    "csat_answered_count",
    "bot_conversations_count",
    "bot_handoff_conversations_count",
    "bot_contained_count",
    "bot_fallback_count",
    "eligible_turns_count",
    "scored_turns_count",
    "tone_scored_customer_count",
    "tone_angry_customer_count",
    "tone_joy_customer_count",
    "tone_optimism_customer_count",
    "tone_sadness_customer_count",
    "offensive_scored_customer_count",
    "tone_offensive_customer_count",
    "tone_scored_agent_count",
    "tone_angry_agent_count",
    "tone_joy_agent_count",
    "tone_optimism_agent_count",
    "tone_sadness_agent_count",
    "offensive_scored_agent_count",
    "tone_offensive_agent_count",
    "improper_reply_count",
    "quality_scored_count",
    "quality_rubric_count",
    "quality_rubric_applicable_milli",
    "quality_rubric_passed_milli",
    "quality_rubric_automatic_count",
    "quality_rubric_automatic_applicable_milli",
    "quality_rubric_automatic_passed_milli",
    "handled_ms",
    "connected_ms",
    "available_ms",
    "staffed_ms",
];
const DURATIONS: &[&str] = &[
    "reply_time",
    "first_response_time",
    "first_response_time_cohort",
    "first_response_time_any",
    "agent_first_response_time",
    "first_resolution_time",
    "full_resolution_time",
    "cycle_resolution_time",
    "requester_wait_time",
    "agent_wait_time",
    "on_hold_time",
    "handle_time",
    "talk_time",
    "hold_time",
    "after_contact_work_time",
    "queue_answer_time",
    "abandon_time",
    "time_to_handoff",
];
const PLAIN: &[&str] = &["turns", "message_length", "replies_to_resolution"];
/// Ratios that are one sum by another.
const RATIOS: &[(&str, &str, &str)] = &[
    ("resolution_rate_ratio", "cohort_resolved_count", "conversations_created_count"),
    ("reopen_rate_ratio", "reopened_resolutions_count", "resolutions_count"),
    ("first_contact_resolution_ratio", "fcr_count", "fcr_eligible_count"),
    ("csat_response_ratio", "csat_answered_count", "csat_sent_count"),
    ("bot_containment_ratio", "bot_contained_count", "bot_conversations_count"),
    ("bot_handoff_ratio", "bot_handoff_conversations_count", "bot_conversations_count"),
    ("coverage_ratio", "scored_turns_count", "eligible_turns_count"),
    ("tone_angry_customer_ratio", "tone_angry_customer_count", "tone_scored_customer_count"),
    ("tone_joy_customer_ratio", "tone_joy_customer_count", "tone_scored_customer_count"),
    ("tone_optimism_customer_ratio", "tone_optimism_customer_count", "tone_scored_customer_count"),
    ("tone_sadness_customer_ratio", "tone_sadness_customer_count", "tone_scored_customer_count"),
    ("tone_offensive_customer_ratio", "tone_offensive_customer_count", "offensive_scored_customer_count"),
    ("tone_angry_agent_ratio", "tone_angry_agent_count", "tone_scored_agent_count"),
    ("tone_joy_agent_ratio", "tone_joy_agent_count", "tone_scored_agent_count"),
    ("tone_optimism_agent_ratio", "tone_optimism_agent_count", "tone_scored_agent_count"),
    ("tone_sadness_agent_ratio", "tone_sadness_agent_count", "tone_scored_agent_count"),
    ("tone_offensive_agent_ratio", "tone_offensive_agent_count", "offensive_scored_agent_count"),
    ("quality_rubric_ratio", "quality_rubric_passed_milli", "quality_rubric_applicable_milli"),
    (
        "quality_rubric_automatic_ratio",
        "quality_rubric_automatic_passed_milli",
        "quality_rubric_automatic_applicable_milli",
    ),
];
/// The other values that are null over nothing.
const OTHERS: &[&str] = &[
    "window_end",
    "csat_sum",
    "csat_mean",
    "csat_positive_ratio",
    "service_level_ratio",
    "service_level_connect_ratio",
    "service_level_strict_ratio",
    "occupancy_ratio",
    "concurrency_mean",
    "sentiment_mean",
    "negative_turn_ratio",
    "sentiment_shift",
    "quality_score",
    "open_wait_ms",
    "lateness_p99_ms",
];
/// What a duration has, besides its count.
const STATISTICS: [&str; 8] = ["sum_ms", "min_ms", "max_ms", "mean_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms"];

/// A column's name.
fn column(measure: &str, suffix: &str) -> &'static str {
    name(&format!("{measure}_{suffix}"))
}

/// The columns of each duration, count first, in calendar and in business time.
static DURATION_COLUMNS: LazyLock<BTreeMap<&str, [Vec<&'static str>; 2]>> = LazyLock::new(|| {
    let of = |measure: &str| ["count"].iter().chain(&STATISTICS).map(|suffix| column(measure, suffix)).collect();
    DURATIONS.iter().map(|measure| (*measure, [of(measure), of(&format!("{measure}_business"))])).collect()
});

/// The row of a cell with nothing in it.
static EMPTY: LazyLock<Columns> = LazyLock::new(|| {
    let mut columns: Columns = SUMS.iter().map(|sum| (name(sum), Cell::Int(0))).collect();
    for measure in DURATION_COLUMNS.values().flatten() {
        columns.extend(measure.iter().map(|column| (*column, Cell::Null)));
        columns.insert(measure[0], Cell::Int(0));
    }
    for measure in PLAIN {
        columns.extend(["sum", "mean"].map(|suffix| (column(measure, suffix), Cell::Null)));
        columns.insert(column(measure, "count"), Cell::Int(0));
    }
    columns.insert("csat_count", Cell::Int(0));
    columns.extend(RATIOS.iter().map(|(ratio, _, _)| (*ratio, Cell::Null)));
    columns.extend(OTHERS.iter().map(|other| (*other, Cell::Null)));
    columns
});

/// Everything in one cell of the cube.
#[derive(Default)]
pub(super) struct Bucket {
    sums: BTreeMap<&'static str, i64>,
    /// Calendar and business times.
    durations: BTreeMap<&'static str, [Vec<i64>; 2]>,
    plain: BTreeMap<&'static str, Vec<i64>>,
    ratings: Vec<i64>,
    scores: Vec<Scores>,
    shifts: Vec<i64>,
    qualities: Vec<i32>,
    open_wait: Option<i64>,
    lateness: Vec<i64>,
}

impl Bucket {
    pub(super) fn add(&mut self, what: What) {
        match what {
            What::Sum(column, value) => *self.sums.entry(column).or_default() += value,
            What::Duration(measure, calendar, business) => {
                let values = self.durations.entry(measure).or_default();
                values[0].push(calendar);
                values[1].extend(business);
            }
            What::Plain(measure, value) => self.plain.entry(measure).or_default().push(value),
            What::Rating(millionths) => self.ratings.push(millionths),
            What::Scored(scores) => {
                self.scores.push(scores);
                *self.sums.entry("scored_turns_count").or_default() += 1;
            }
            What::Shift(millionths) => self.shifts.push(millionths),
            What::Quality(score) => self.qualities.push(score),
            What::OpenWait(millis) => self.open_wait = self.open_wait.max(Some(millis)),
            What::Lateness(millis) => self.lateness.push(millis),
        }
    }

    fn sum(&self, column: &str) -> i64 {
        self.sums.get(column).copied().unwrap_or(0)
    }
}

/// The row of a bucket.
pub(super) fn columns(bucket: &Bucket, window: Window) -> Columns {
    let mut columns = EMPTY.clone();
    columns.insert("window_end", Cell::TimeMs(window.end));
    columns.extend(bucket.sums.iter().map(|(column, sum)| (*column, Cell::Int(*sum))));
    for (measure, values) in &bucket.durations {
        for (values, names) in values.iter().zip(&DURATION_COLUMNS[measure]) {
            columns.extend(names.iter().copied().zip(statistics(values.clone())));
        }
    }
    for (measure, values) in &bucket.plain {
        let (count, sum) = (values.len() as i64, values.iter().sum::<i64>());
        columns.insert(column(measure, "count"), Cell::Int(count));
        columns.insert(column(measure, "sum"), Cell::Int(sum));
        columns.insert(column(measure, "mean"), Cell::ratio(sum as f64, count));
    }
    let ratio = |(ratio, part, whole): &(&'static str, &str, &str)| {
        (*ratio, Cell::ratio(bucket.sum(part) as f64, bucket.sum(whole)))
    };
    let mut others: Named = RATIOS.iter().map(ratio).collect();
    others.extend(rating_columns(bucket));
    others.extend(queue_columns(bucket));
    others.extend(work_columns(bucket, window));
    others.extend(sentiment_columns(bucket));
    others.push(("open_wait_ms", Cell::int(bucket.open_wait)));
    let mut lateness = bucket.lateness.clone();
    lateness.sort_unstable();
    others.push(("lateness_p99_ms", Cell::int(percentile(&lateness, 99))));
    // They are null already.
    columns.extend(others.into_iter().filter(|(_, cell)| *cell != Cell::Null));
    columns
}

/// Count, sum, min, max, mean and percentiles.
fn statistics(mut values: Vec<i64>) -> Vec<Cell> {
    values.sort_unstable();
    let (count, sum) = (values.len() as i64, values.iter().sum::<i64>());
    let some = |value| Cell::int(value);
    let mut cells = vec![
        Cell::Int(count),
        some((count > 0).then_some(sum)),
        some(values.first().copied()),
        some(values.last().copied()),
        Cell::ratio(sum as f64, count),
    ];
    cells.extend([50, 90, 95, 99].map(|percent| some(percentile(&values, percent))));
    cells
}

/// Nearest rank: the ceil(p·n/100)-th smallest.
fn percentile(sorted: &[i64], percent: usize) -> Option<i64> {
    let rank = (percent * sorted.len()).div_ceil(100);
    rank.checked_sub(1).and_then(|index| sorted.get(index)).copied()
}

type Named = Vec<(&'static str, Cell)>;

/// Rule 19.
fn rating_columns(bucket: &Bucket) -> Named {
    let (count, sum) = (bucket.ratings.len() as i64, bucket.ratings.iter().sum::<i64>() as f64 / 1e6);
    vec![
        ("csat_count", Cell::Int(count)),
        ("csat_sum", if count > 0 { Cell::Float(sum) } else { Cell::Null }),
        ("csat_mean", Cell::ratio(sum, count)),
        ("csat_positive_ratio", Cell::ratio(bucket.sum("csat_positive_count") as f64, count)),
    ]
}

/// Rule 43.
fn queue_columns(bucket: &Bucket) -> Named {
    let (answered, abandoned) = (bucket.sum("queue_answered_count"), bucket.sum("queue_abandoned_count"));
    let (short, flowed_out) = (bucket.sum("short_abandon_count"), bucket.sum("queue_flow_out_count"));
    let (quick, left) = (bucket.sum("queue_answered_within_count"), bucket.sum("queue_abandoned_within_count"));
    vec![
        ("service_level_ratio", Cell::ratio(quick as f64, answered + abandoned - short)),
        ("service_level_connect_ratio", Cell::ratio((quick + left) as f64, answered + abandoned)),
        ("service_level_strict_ratio", Cell::ratio(quick as f64, answered + abandoned + flowed_out)),
    ]
}

/// Rule 44.
fn work_columns(bucket: &Bucket, window: Window) -> Named {
    let [handled, connected, available, staffed] =
        ["handled_ms", "connected_ms", "available_ms", "staffed_ms"].map(|column| bucket.sum(column));
    let length = window.end - window.start;
    let (is_staffed, is_connected) = (staffed > 0, connected > 0);
    vec![
        ("occupancy_ratio", if is_staffed { Cell::ratio(handled as f64, handled + available) } else { Cell::Null }),
        ("concurrency_mean", if is_connected { Cell::ratio(connected as f64, length) } else { Cell::Null }),
    ]
}

/// Rules 22 and 48.
fn sentiment_columns(bucket: &Bucket) -> Named {
    let sentiment: i64 = bucket.scores.iter().map(|scores| i64::from(scores.positive - scores.negative)).sum();
    let negative = bucket.scores.iter().filter(|scores| scores.is_negative()).count();
    let scored = bucket.scores.len() as i64;
    let quality: i64 = bucket.qualities.iter().map(|score| i64::from(*score)).sum();
    let (shift, cycles) = (bucket.shifts.iter().sum::<i64>(), bucket.shifts.len() as i64);
    vec![
        ("sentiment_mean", Cell::ratio(sentiment as f64 / 10_000.0, scored)),
        ("negative_turn_ratio", Cell::ratio(negative as f64, scored)),
        ("sentiment_shift", Cell::ratio(shift as f64 / 1e6, cycles)),
        ("quality_score", Cell::ratio(quality as f64 / 10_000.0, bucket.qualities.len() as i64)),
    ]
}
