//! The KPI catalogue: every KPI is declared here, once.
//!
//! A conversation's history is folded (in `operators`) into credits: a KPI, a value, a time and a group. The entry here
//! says what the value adds to its cell ([`contribute`]) and how the sums of a cell become published columns ([`Shape`]).
//! Arrow columns, their descriptions and the documentation follow from it. What exactly is measured stands in
//! `pipeline/decisions/0001-kpi-fine-print.md`; a hand-worked example of every KPI is in `tests/scenarios`.

use crate::prediction::SCORE_SCALE;
use crate::tally::{KpiId, Slot, SlotKind};

/// Bit of a [`KpiId`] that marks the business-time twin of a duration KPI.
pub const BUSINESS: KpiId = 0x800;

/// How the sums of a KPI become published columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One column: the count.
    Count,
    /// One column: a count that does not add up over time and is counted for every width of window by itself: a level
    /// at the end of the window, or a count of distinct things in it.
    CountPerWindow,
    /// `x_count, x_sum_ms, x_min_ms, x_max_ms, x_mean_ms, x_p50_ms, x_p90_ms, x_p95_ms, x_p99_ms`, and the same as
    /// `x_business_…`.
    Duration,
    /// `x_count, x_sum, x_mean`; sums are kept in units of 1/scale and published as float when scale is not 1.
    Quantity {
        /// Units of the sum per 1.
        scale: i64,
    },
    /// One column: own sum / (scale · count of another KPI, or of this one).
    Mean {
        /// The KPI that counts; none for this one.
        count: Option<KpiId>,
        /// Units of the sum per 1.
        scale: i64,
    },
    /// One column: a quotient of sums of counts, each with its sign.
    Ratio {
        /// The numerator.
        part: &'static [(KpiId, i64)],
        /// The denominator.
        whole: &'static [(KpiId, i64)],
        /// No ratio where this count is 0.
        given: Option<KpiId>,
    },
    /// One column: a count of milliseconds / length of the window.
    ShareOfWindow {
        /// What was counted.
        part: KpiId,
    },
    /// One column: as_of less the least of the values, which are times. Only in the windows that hold as_of.
    Oldest,
    /// One column: the 99th percentile, from a sketch at every level.
    Percentile99,
}

impl Shape {
    /// Whether a longer window has the sum of the shorter ones.
    pub fn adds_up_over_time(self) -> bool {
        !matches!(self, Self::CountPerWindow | Self::Oldest)
    }
}

/// One KPI.
#[derive(Debug)]
pub struct Kpi {
    /// Name, or its stem where the shape has several columns.
    pub name: &'static str,
    /// Unit of the values: `ms`, `1` (a count), `ratio 0..1`, …
    pub unit: &'static str,
    /// What it is, for people.
    pub summary: &'static str,
    /// How its sums become values.
    pub shape: Shape,
}

macro_rules! catalogue {
    ($($id:ident = $shape:expr, $name:literal, $unit:literal, $summary:literal;)+) => {
        /// Numbers of the KPIs, by name.
        pub mod kpi {
            use crate::tally::KpiId;

            #[allow(
                non_camel_case_types,
                clippy::upper_case_acronyms,
                reason = "the variants only count the constants of the same name"
            )]
            enum Position { $($id),+ }

            $(#[doc = $summary] pub const $id: KpiId = Position::$id as KpiId;)+
        }

        /// Every KPI, in the order of the published columns.
        pub static CATALOGUE: &[Kpi] =
            &[$(Kpi { name: $name, unit: $unit, summary: $summary, shape: $shape }),+];
    };
}

use Shape::{Count, CountPerWindow, Duration, Mean, Oldest, Percentile99, Quantity, Ratio, ShareOfWindow};

/// A plain quotient of two counts.
macro_rules! ratio {
    ($part:ident / $whole:ident) => {
        Ratio { part: &[(kpi::$part, 1)], whole: &[(kpi::$whole, 1)], given: None }
    };
}

catalogue! {
    MESSAGES_INBOUND = Count, "messages_inbound_count", "1", "Public messages of customers";
    MESSAGES_OUTBOUND = Count, "messages_outbound_count", "1", "Public messages of agents and bots";
    MESSAGES_PRIVATE = Count, "messages_private_count", "1", "Private notes";
    REPLIES = Count, "replies_count", "1", "Public human replies";
    CONVERSATIONS_HANDLED = Count, "conversations_handled_count", "1",
        "Cycles in which the agent replied or was connected, at the first time";
    REPLY_TIME = Duration, "reply_time", "ms",
        "First of a run of unanswered customer messages to the next public human reply";
    FIRST_RESPONSE_TIME = Duration, "first_response_time", "ms",
        "First customer message of a cycle, or a later bot handoff, to the first public human reply";
    FIRST_RESPONSE_TIME_COHORT = Duration, "first_response_time_cohort", "ms",
        "first_response_time in the window in which the conversation was created";
    FIRST_RESPONSE_TIME_ANY = Duration, "first_response_time_any", "ms",
        "First customer message of a cycle to the first message of an agent or bot";
    AGENT_FIRST_RESPONSE_TIME = Duration, "agent_first_response_time", "ms",
        "Assignment to that agent's first reply; void if reassigned or resolved before";
    OPEN_WAIT = Oldest, "open_wait_ms", "ms",
        "Age of the oldest unanswered customer message at the commit, in the windows that hold it";
    REQUESTER_WAIT_TIME = Duration, "requester_wait_time", "ms",
        "Time in status new, open or on_hold until the last resolve";
    AGENT_WAIT_TIME = Duration, "agent_wait_time", "ms", "Time in status pending until the last resolve";
    ON_HOLD_TIME = Duration, "on_hold_time", "ms", "Time in status on_hold until the last resolve";
    FIRST_RESOLUTION_TIME = Duration, "first_resolution_time", "ms",
        "Creation to the first resolve, in the window in which the conversation was created";
    FULL_RESOLUTION_TIME = Duration, "full_resolution_time", "ms",
        "Creation to the latest resolve; not there while the conversation is open again";
    CYCLE_RESOLUTION_TIME = Duration, "cycle_resolution_time", "ms", "Opening of a cycle to its resolve";
    RESOLUTIONS = Count, "resolutions_count", "1", "Resolves";
    CONVERSATIONS_RESOLVED = CountPerWindow, "conversations_resolved_count", "1",
        "Distinct conversations resolved in the window and still so at its end";
    CONVERSATIONS_CREATED = Count, "conversations_created_count", "1",
        "Conversations opened, in the window of their creation, to the first agent who had to do with them";
    COHORT_RESOLVED = Count, "cohort_resolved_count", "1",
        "Of the conversations created in the window, those resolved at the commit";
    RESOLUTION_RATE = ratio!(COHORT_RESOLVED / CONVERSATIONS_CREATED), "resolution_rate_ratio", "ratio 0..1",
        "Of the conversations created in the window, the share resolved at the commit";
    REOPENS = Count, "reopens_count", "1", "Resolved conversations that came back, to the agent of that resolve";
    REOPENED_RESOLUTIONS = Count, "reopened_resolutions_count", "1",
        "Resolves that were followed by a reopen within 7 days, at the resolve";
    REOPEN_RATE = ratio!(REOPENED_RESOLUTIONS / RESOLUTIONS), "reopen_rate_ratio", "ratio 0..1",
        "Resolves that were followed by a reopen within 7 days / resolves";
    ONE_TOUCH = Count, "one_touch_count", "1",
        "Resolves after exactly one public human reply and without a reopen within 7 days, once these have passed";
    FCR_ELIGIBLE = Count, "fcr_eligible_count", "1", "Resolves at least 7 days old";
    FCR = Count, "fcr_count", "1",
        "Resolves at least 7 days old without a reopen or a new conversation of the contact in these days";
    FIRST_CONTACT_RESOLUTION = ratio!(FCR / FCR_ELIGIBLE), "first_contact_resolution_ratio", "ratio 0..1",
        "Share of the resolves at least 7 days old that solved the matter at first contact";
    REPLIES_TO_RESOLUTION = Quantity { scale: 1 }, "replies_to_resolution", "1",
        "Public human replies of a cycle before its resolve";
    REPEAT_CONTACTS = Count, "repeat_contact_count", "1",
        "New conversations of a contact within 7 days after a resolve of another, to the agent of that resolve";
    HANDLE_TIME = Duration, "handle_time", "ms",
        "Segment of an agent with its after-contact work; without segments, time open and assigned";
    TALK_TIME = Duration, "talk_time", "ms", "Segment of an agent without holds";
    HOLD_TIME = Duration, "hold_time", "ms", "Holds of a segment";
    AFTER_CONTACT_WORK_TIME = Duration, "after_contact_work_time", "ms", "After-contact work of a segment";
    QUEUE_OFFERED = Count, "queue_offered_count", "1", "Entries into a queue";
    QUEUE_ANSWERED = Count, "queue_answered_count", "1", "Queue visits that ended with an agent";
    QUEUE_ABANDONED = Count, "queue_abandoned_count", "1", "Queue visits that the customer ended";
    QUEUE_FLOW_OUT = Count, "queue_flow_out_count", "1", "Queue visits that ended elsewhere: callback, other queue";
    SHORT_ABANDON = Count, "short_abandon_count", "1", "Queue visits abandoned after less than 5 s";
    QUEUE_ANSWERED_WITHIN = Count, "queue_answered_within_count", "1", "Queue visits answered within 20 s";
    QUEUE_ABANDONED_WITHIN = Count, "queue_abandoned_within_count", "1", "Queue visits abandoned within 20 s";
    QUEUED = CountPerWindow, "queued_count", "1", "Conversations in a queue at the end of the window";
    QUEUE_ANSWER_TIME = Duration, "queue_answer_time", "ms", "Enqueue to connect, answered visits only";
    ABANDON_TIME = Duration, "abandon_time", "ms", "Enqueue to the customer's leaving";
    SERVICE_LEVEL = Ratio {
        part: &[(kpi::QUEUE_ANSWERED_WITHIN, 1)],
        whole: &[(kpi::QUEUE_ANSWERED, 1), (kpi::QUEUE_ABANDONED, 1), (kpi::SHORT_ABANDON, -1)],
        given: None,
    }, "service_level_ratio", "ratio 0..1", "Answered within 20 s / (answered + abandoned - short abandons)";
    SERVICE_LEVEL_CONNECT = Ratio {
        part: &[(kpi::QUEUE_ANSWERED_WITHIN, 1), (kpi::QUEUE_ABANDONED_WITHIN, 1)],
        whole: &[(kpi::QUEUE_ANSWERED, 1), (kpi::QUEUE_ABANDONED, 1)],
        given: None,
    }, "service_level_connect_ratio", "ratio 0..1", "Answered or abandoned within 20 s / (answered + abandoned)";
    SERVICE_LEVEL_STRICT = Ratio {
        part: &[(kpi::QUEUE_ANSWERED_WITHIN, 1)],
        whole: &[(kpi::QUEUE_ANSWERED, 1), (kpi::QUEUE_ABANDONED, 1), (kpi::QUEUE_FLOW_OUT, 1)],
        given: None,
    }, "service_level_strict_ratio", "ratio 0..1", "Answered within 20 s / all queue visits that ended";
    TRANSFERS_IN = Count, "transfers_in_count", "1", "Transfers to the agent";
    TRANSFERS_IN_COLD = Count, "transfers_in_cold_count", "1", "Cold transfers to the agent";
    TRANSFERS_IN_WARM = Count, "transfers_in_warm_count", "1", "Warm transfers to the agent";
    TRANSFERS_IN_EXTERNAL = Count, "transfers_in_external_count", "1", "External transfers to the agent";
    TRANSFERS_OUT = Count, "transfers_out_count", "1", "Transfers away from the agent";
    TRANSFERS_OUT_COLD = Count, "transfers_out_cold_count", "1", "Cold transfers away from the agent";
    TRANSFERS_OUT_WARM = Count, "transfers_out_warm_count", "1", "Warm transfers away from the agent";
    TRANSFERS_OUT_EXTERNAL = Count, "transfers_out_external_count", "1", "External transfers away from the agent";
    HANDLED_MS = Count, "handled_ms", "ms",
        "Time of ended segments with after-contact work, split at the edges of hours";
    CONNECTED_MS = Count, "connected_ms", "ms", "Time of ended segments, split at the edges of hours";
    AVAILABLE_MS = Count, "available_ms", "ms",
        "Time in which the agent was available; only in tables by agent and tenant";
    STAFFED_MS = Count, "staffed_ms", "ms",
        "Time in which the agent was available or busy; only in tables by agent and tenant";
    OCCUPANCY = Ratio {
        part: &[(kpi::HANDLED_MS, 1)],
        whole: &[(kpi::HANDLED_MS, 1), (kpi::AVAILABLE_MS, 1)],
        given: Some(kpi::STAFFED_MS),
    }, "occupancy_ratio", "ratio 0..1", "handled / (handled + available), where presence is known";
    CONCURRENCY = ShareOfWindow { part: kpi::CONNECTED_MS }, "concurrency_mean", "1",
        "Segments open at a time, averaged over the window";
    SLA_FIRST_RESPONSE_MET = Count, "sla_first_response_met_count", "1", "First responses within their target";
    SLA_FIRST_RESPONSE_BREACHED = Count, "sla_first_response_breached_count", "1",
        "First responses that became overdue, when they did";
    SLA_FIRST_RESPONSE_PENDING = CountPerWindow, "sla_first_response_pending_count", "1",
        "First responses not yet given and not overdue, at the end of the window";
    SLA_FIRST_RESPONSE_AT_RISK = CountPerWindow, "sla_first_response_at_risk_count", "1",
        "Of these, the ones with at most a fifth of their target left";
    SLA_NEXT_RESPONSE_MET = Count, "sla_next_response_met_count", "1", "Further responses within their target";
    SLA_NEXT_RESPONSE_BREACHED = Count, "sla_next_response_breached_count", "1",
        "Further responses that became overdue, when they did";
    SLA_NEXT_RESPONSE_PENDING = CountPerWindow, "sla_next_response_pending_count", "1",
        "Further responses not yet given and not overdue, at the end of the window";
    SLA_NEXT_RESPONSE_AT_RISK = CountPerWindow, "sla_next_response_at_risk_count", "1",
        "Of these, the ones with at most a fifth of their target left";
    SLA_RESOLUTION_MET = Count, "sla_resolution_met_count", "1", "Resolves within their target";
    SLA_RESOLUTION_BREACHED = Count, "sla_resolution_breached_count", "1",
        "Resolves that became overdue, when they did";
    SLA_RESOLUTION_PENDING = CountPerWindow, "sla_resolution_pending_count", "1",
        "Unresolved cycles not overdue, at the end of the window";
    SLA_RESOLUTION_AT_RISK = CountPerWindow, "sla_resolution_at_risk_count", "1",
        "Of these, the ones with at most a fifth of their target left";
    CSAT = Quantity { scale: 1_000_000 }, "csat", "rating 1..5",
        "Latest customer rating of each survey, scaled to 1..5";
    CSAT_POSITIVE = Count, "csat_positive_count", "1", "Ratings of at least 4 of 5";
    CSAT_POSITIVE_RATIO = ratio!(CSAT_POSITIVE / CSAT), "csat_positive_ratio", "ratio 0..1",
        "Ratings of at least 4 of 5 / ratings";
    CSAT_REVISIONS = Count, "csat_revisions_count", "1", "Ratings that a later one of the same survey replaced";
    CSAT_SENT = Count, "csat_sent_count", "1", "Surveys sent, in the window in which the conversation was created";
    CSAT_ANSWERED = Count, "csat_answered_count", "1",
        "Surveys answered, in the window in which the conversation was created";
    CSAT_RESPONSE = ratio!(CSAT_ANSWERED / CSAT_SENT), "csat_response_ratio", "ratio 0..1",
        "Surveys answered / surveys sent";
    BOT_CONVERSATIONS = Count, "bot_conversations_count", "1",
        "Conversations with a bot, in the window of their creation";
    BOT_HANDOFF_CONVERSATIONS = Count, "bot_handoff_conversations_count", "1",
        "Of these, the ones that the bot handed to a human";
    BOT_CONTAINED = Count, "bot_contained_count", "1",
        "Of these, the ones resolved with no human reply and no handoff";
    BOT_CONTAINMENT = ratio!(BOT_CONTAINED / BOT_CONVERSATIONS), "bot_containment_ratio", "ratio 0..1",
        "Contained / conversations with a bot";
    BOT_HANDOFF = ratio!(BOT_HANDOFF_CONVERSATIONS / BOT_CONVERSATIONS), "bot_handoff_ratio", "ratio 0..1",
        "Handed to a human / conversations with a bot";
    TIME_TO_HANDOFF = Duration, "time_to_handoff", "ms", "First customer message of a cycle to its bot handoff";
    BOT_FALLBACK = Count, "bot_fallback_count", "1", "Messages and handoffs in which a bot did not know further";
    BACKLOG = CountPerWindow, "backlog_count", "1",
        "Unresolved conversations at the end of the window, for at most 30 days each";
    UNASSIGNED = CountPerWindow, "unassigned_count", "1", "Of these, the ones without owner";
    UNATTENDED = CountPerWindow, "unattended_count", "1", "Of these, the ones without any human reply";
    TURNS = Quantity { scale: 1 }, "turns", "1", "Runs of one speaker per conversation, counted at its last resolve";
    MESSAGE_LENGTH = Quantity { scale: 1 }, "message_length", "characters",
        "Characters of the public messages of a conversation, counted at its last resolve";
    SILENT_DIALOGUES = Count, "silent_dialogue_count", "1",
        "Cycles with a customer message unanswered for more than 24 h, or that ended without any agent turn";
    ELIGIBLE_TURNS = Count, "eligible_turns_count", "1", "Customer messages with text, which can be scored";
    SCORED_TURNS = Count, "scored_turns_count", "1", "Customer messages whose sentiment is known";
    SENTIMENT = Mean { count: Some(kpi::SCORED_TURNS), scale: SCORE_SCALE as i64 }, "sentiment_mean", "score -1..1",
        "Mean sentiment of scored customer messages, -1 (negative) to 1 (positive)";
    NEGATIVE_TURNS = Mean { count: Some(kpi::SCORED_TURNS), scale: 1 }, "negative_turn_ratio", "ratio 0..1",
        "Share of scored customer messages that are negative";
    SENTIMENT_SHIFT = Mean { count: None, scale: 1_000_000 }, "sentiment_shift", "score -2..2",
        "Mean over cycles of the sentiment of the last quarter of customer messages less that of the first quarter";
    COVERAGE = ratio!(SCORED_TURNS / ELIGIBLE_TURNS), "coverage_ratio", "ratio 0..1",
        "Scored turns / eligible turns: how far the model has come";
    TONE_CUSTOMER = Count, "tone_scored_customer_count", "1", "Customer messages whose emotion is known";
    TONE_ANGRY_CUSTOMER = Count, "tone_angry_customer_count", "1", "Of these, the angry ones";
    TONE_JOY_CUSTOMER = Count, "tone_joy_customer_count", "1", "Of these, the joyful ones";
    TONE_OPTIMISM_CUSTOMER = Count, "tone_optimism_customer_count", "1", "Of these, the optimistic ones";
    TONE_SADNESS_CUSTOMER = Count, "tone_sadness_customer_count", "1", "Of these, the sad ones";
    OFFENSIVE_SCORED_CUSTOMER = Count, "offensive_scored_customer_count", "1",
        "Customer messages of which it is known whether they are offensive";
    TONE_OFFENSIVE_CUSTOMER = Count, "tone_offensive_customer_count", "1", "Of these, the offensive ones";
    TONE_ANGRY_CUSTOMER_RATIO = ratio!(TONE_ANGRY_CUSTOMER / TONE_CUSTOMER), "tone_angry_customer_ratio",
        "ratio 0..1", "Angry / customer messages whose emotion is known";
    TONE_JOY_CUSTOMER_RATIO = ratio!(TONE_JOY_CUSTOMER / TONE_CUSTOMER), "tone_joy_customer_ratio",
        "ratio 0..1", "Joyful / customer messages whose emotion is known";
    TONE_OPTIMISM_CUSTOMER_RATIO = ratio!(TONE_OPTIMISM_CUSTOMER / TONE_CUSTOMER), "tone_optimism_customer_ratio",
        "ratio 0..1", "Optimistic / customer messages whose emotion is known";
    TONE_SADNESS_CUSTOMER_RATIO = ratio!(TONE_SADNESS_CUSTOMER / TONE_CUSTOMER), "tone_sadness_customer_ratio",
        "ratio 0..1", "Sad / customer messages whose emotion is known";
    TONE_OFFENSIVE_CUSTOMER_RATIO = ratio!(TONE_OFFENSIVE_CUSTOMER / OFFENSIVE_SCORED_CUSTOMER),
        "tone_offensive_customer_ratio", "ratio 0..1", "Offensive / customer messages of which that is known";
    TONE_AGENT = Count, "tone_scored_agent_count", "1", "Messages of agents whose emotion is known";
    TONE_ANGRY_AGENT = Count, "tone_angry_agent_count", "1", "Of these, the angry ones";
    TONE_JOY_AGENT = Count, "tone_joy_agent_count", "1", "Of these, the joyful ones";
    TONE_OPTIMISM_AGENT = Count, "tone_optimism_agent_count", "1", "Of these, the optimistic ones";
    TONE_SADNESS_AGENT = Count, "tone_sadness_agent_count", "1", "Of these, the sad ones";
    OFFENSIVE_SCORED_AGENT = Count, "offensive_scored_agent_count", "1",
        "Messages of agents of which it is known whether they are offensive";
    TONE_OFFENSIVE_AGENT = Count, "tone_offensive_agent_count", "1", "Of these, the offensive ones";
    TONE_ANGRY_AGENT_RATIO = ratio!(TONE_ANGRY_AGENT / TONE_AGENT), "tone_angry_agent_ratio", "ratio 0..1",
        "Angry / messages of agents whose emotion is known";
    TONE_JOY_AGENT_RATIO = ratio!(TONE_JOY_AGENT / TONE_AGENT), "tone_joy_agent_ratio", "ratio 0..1",
        "Joyful / messages of agents whose emotion is known";
    TONE_OPTIMISM_AGENT_RATIO = ratio!(TONE_OPTIMISM_AGENT / TONE_AGENT), "tone_optimism_agent_ratio", "ratio 0..1",
        "Optimistic / messages of agents whose emotion is known";
    TONE_SADNESS_AGENT_RATIO = ratio!(TONE_SADNESS_AGENT / TONE_AGENT), "tone_sadness_agent_ratio", "ratio 0..1",
        "Sad / messages of agents whose emotion is known";
    TONE_OFFENSIVE_AGENT_RATIO = ratio!(TONE_OFFENSIVE_AGENT / OFFENSIVE_SCORED_AGENT),
        "tone_offensive_agent_ratio", "ratio 0..1", "Offensive / messages of agents of which that is known";
    IMPROPER_REPLIES = Count, "improper_reply_count", "1",
        "Replies that are offensive with at least the probability kpi.improper_threshold";
    QUALITY_SCORED = Count, "quality_scored_count", "1", "Cycles whose quality is known, at their last turn";
    QUALITY = Mean { count: Some(kpi::QUALITY_SCORED), scale: SCORE_SCALE as i64 }, "quality_score", "ratio 0..1",
        "Mean quality of conversations: how likely the customer is satisfied";
    QUALITY_RUBRIC = Count, "quality_rubric_count", "1", "Criteria of rubrics that people graded pass or fail";
    QUALITY_RUBRIC_APPLICABLE = Count, "quality_rubric_applicable_milli", "1/1000", "Their weight";
    QUALITY_RUBRIC_PASSED = Count, "quality_rubric_passed_milli", "1/1000", "Weight of those that passed";
    QUALITY_RUBRIC_RATIO = ratio!(QUALITY_RUBRIC_PASSED / QUALITY_RUBRIC_APPLICABLE), "quality_rubric_ratio",
        "ratio 0..1", "Weight of the criteria that passed / weight of those that apply, graded by people";
    QUALITY_RUBRIC_AUTOMATIC = Count, "quality_rubric_automatic_count", "1",
        "Criteria of rubrics that programs graded pass or fail";
    QUALITY_RUBRIC_AUTOMATIC_APPLICABLE = Count, "quality_rubric_automatic_applicable_milli", "1/1000",
        "Their weight";
    QUALITY_RUBRIC_AUTOMATIC_PASSED = Count, "quality_rubric_automatic_passed_milli", "1/1000",
        "Weight of those that passed";
    QUALITY_RUBRIC_AUTOMATIC_RATIO =
        ratio!(QUALITY_RUBRIC_AUTOMATIC_PASSED / QUALITY_RUBRIC_AUTOMATIC_APPLICABLE),
        "quality_rubric_automatic_ratio", "ratio 0..1",
        "Weight of the criteria that passed / weight of those that apply, graded by programs";
    LATENESS = Percentile99, "lateness_p99_ms", "ms", "99th percentile of ingest time less event time";
}

/// The number of the KPI called `name`, if there is one.
pub fn find(name: &str) -> Option<KpiId> {
    CATALOGUE.iter().position(|kpi| kpi.name == name).map(|position| position as KpiId)
}

/// Appends what one credit of `value` (of `business_ms` in business time) adds to its cell, `sign` times (−1 takes it
/// back). Durations are ms and not negative; for [`Shape::Oldest`] the value is a time.
#[inline]
pub fn contribute(kpi: KpiId, value: i64, business_ms: Option<i64>, sign: i64, entries: &mut Vec<(Slot, i64)>) {
    let payload = value.max(0) as u64;
    match CATALOGUE[kpi as usize].shape {
        Shape::Count | Shape::CountPerWindow => entries.push((Slot::new(kpi, SlotKind::Count, 0), sign * value)),
        Shape::Duration => {
            entries.push((Slot::new(kpi, SlotKind::Value, payload), sign));
            if let Some(business_ms) = business_ms {
                entries.push((Slot::new(kpi | BUSINESS, SlotKind::Value, business_ms.max(0) as u64), sign));
            }
        }
        Shape::Quantity { .. } | Shape::Mean { count: None, .. } => {
            entries.push((Slot::new(kpi, SlotKind::Count, 0), sign));
            entries.push((Slot::new(kpi, SlotKind::Sum, 0), sign * value));
        }
        Shape::Mean { count: Some(_), .. } => entries.push((Slot::new(kpi, SlotKind::Sum, 0), sign * value)),
        Shape::Oldest => entries.push((Slot::new(kpi, SlotKind::ChildMin, payload), sign)),
        Shape::Percentile99 => {
            entries.push((Slot::new(kpi, SlotKind::Bucket, crate::histogram::bucket_of(payload)), sign));
        }
        Shape::Ratio { .. } | Shape::ShareOfWindow { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_quotients_are_of_counts() {
        assert!(CATALOGUE.len() < usize::from(BUSINESS));
        for (position, kpi) in CATALOGUE.iter().enumerate() {
            assert_eq!(find(kpi.name), Some(position as KpiId), "{} is declared twice", kpi.name);
            let counts = |id: KpiId| {
                matches!(
                    CATALOGUE[id as usize].shape,
                    Shape::Count | Shape::CountPerWindow | Shape::Quantity { .. } | Shape::Mean { count: None, .. }
                )
            };
            match kpi.shape {
                Shape::Mean { count: Some(count), .. } => assert!(counts(count), "{}", kpi.name),
                Shape::Ratio { part, whole, given } => {
                    assert!(part.iter().chain(whole).all(|&(id, _)| counts(id)), "{}", kpi.name);
                    assert!(given.is_none_or(counts), "{}", kpi.name);
                }
                Shape::ShareOfWindow { part } => assert!(counts(part), "{}", kpi.name),
                _ => {}
            }
        }
    }

    #[test]
    fn numbers_stand_for_their_entries() {
        assert_eq!(CATALOGUE[kpi::REPLY_TIME as usize].name, "reply_time");
        assert_eq!(CATALOGUE[kpi::LATENESS as usize].name, "lateness_p99_ms");
        assert_eq!(kpi::LATENESS as usize + 1, CATALOGUE.len());
    }

    #[test]
    fn what_is_taken_back_cancels() {
        for id in 0..CATALOGUE.len() as KpiId {
            let mut entries = Vec::new();
            contribute(id, 7, Some(5), 1, &mut entries);
            contribute(id, 7, Some(5), -1, &mut entries);
            assert!(crate::tally::Tally::from_entries(entries).is_zero());
        }
    }
}
