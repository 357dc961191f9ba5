//! Planting of labelled incidents, and what they do to the simulation.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::channel::Channel;
use super::event::agent_id;
use super::roster::{AgentIndex, Roster};
use super::time::{DAY_MS, HOUR_MS, MINUTE_MS, is_weekend};
use super::truth::{Incident, IncidentKind};

/// Days before the first incident, so that a weekly baseline can be learnt.
pub(crate) const BASELINE_DAYS: i64 = 8;
/// Days between sets of incidents.
const SET_DAYS: i64 = 10;
/// Fewest days that hold a whole set: any six days hold four weekdays.
const LEAST_SET_DAYS: i64 = 6;

/// Factor on arrivals during an angry burst.
const BURST_ARRIVAL_FACTOR: f64 = 3.0;
/// Factor on the reply times of a slow agent.
const SLOW_FACTOR: f64 = 6.0;

/// Channels of one set: outage, burst, silence, slow agent. Each set takes all four, so no two incidents of a set
/// share a channel; bursts and slow agents want written channels, where texts and reply times show them.
const CHANNEL_PLANS: [[Channel; 4]; 5] = [
    [Channel::Chat, Channel::Social, Channel::Voice, Channel::Email],
    [Channel::Email, Channel::Social, Channel::Voice, Channel::Chat],
    [Channel::Voice, Channel::Chat, Channel::Email, Channel::Social],
    [Channel::Social, Channel::Chat, Channel::Voice, Channel::Email],
    [Channel::Voice, Channel::Social, Channel::Chat, Channel::Email],
];

/// A half-open stretch of time, milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Start, inclusive.
    pub(crate) start_ms: i64,
    /// End, exclusive.
    pub(crate) end_ms: i64,
}

impl Window {
    /// Whether `time_ms` lies in the window.
    pub(crate) fn contains(&self, time_ms: i64) -> bool {
        (self.start_ms..self.end_ms).contains(&time_ms)
    }
}

/// One planted incident.
#[derive(Clone, Debug)]
struct Planted {
    kind: IncidentKind,
    channel: Channel,
    agent: Option<AgentIndex>,
    window: Window,
}

/// The incidents of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct IncidentPlan {
    start_ms: i64,
    planted: Vec<Planted>,
    /// Positions in `planted` by day of the span.
    by_day: Vec<Vec<usize>>,
}

impl IncidentPlan {
    /// Plants a set of all four kinds about every ten days from the ninth day on. A last stretch of fewer than six days
    /// gets no set, except that a span of 9 to 13 days gets those kinds for which it has weekdays.
    pub(crate) fn plant(start_ms: i64, days: u32, roster: &Roster, rng: &mut ChaCha8Rng) -> Self {
        let days = i64::from(days);
        let mut plan = Self { start_ms, planted: Vec::new(), by_day: vec![Vec::new(); days as usize] };
        let mut round = rng.random_range(0..CHANNEL_PLANS.len());
        let mut first_day = BASELINE_DAYS;
        while first_day < days && (first_day == BASELINE_DAYS || days - first_day >= LEAST_SET_DAYS) {
            let last_day = (first_day + SET_DAYS).min(days);
            plan.plant_set(first_day, last_day, CHANNEL_PLANS[round % CHANNEL_PLANS.len()], roster, rng);
            first_day += SET_DAYS;
            round += 1;
        }
        plan.planted.sort_by_key(|planted| (planted.window.start_ms, planted.channel));
        plan.index_days();
        plan
    }

    fn plant_set(
        &mut self,
        first_day: i64,
        last_day: i64,
        channels: [Channel; 4],
        roster: &Roster,
        rng: &mut ChaCha8Rng,
    ) {
        let day_ms = |day: i64| self.start_ms + day * DAY_MS;
        let mut weekdays: Vec<i64> =
            (first_day..last_day).filter(|&day| !is_weekend(day_ms(day))).map(day_ms).collect();
        // A pair may span a weekend or hang out of the span; neither would be two consecutive working days.
        let mut pairs: Vec<i64> = weekdays.iter().copied().filter(|day| weekdays.contains(&(day + DAY_MS))).collect();
        weekdays.shuffle(rng);
        pairs.shuffle(rng);
        let kinds = [
            (IncidentKind::QueueOutage, 10..13_i64, 4),
            (IncidentKind::AngryBurst, 10..16, 3),
            (IncidentKind::SilentChannel, 9..11, 6),
        ];
        for (((kind, start_hours, hours), &channel), &day) in kinds.into_iter().zip(&channels).zip(&weekdays) {
            let start_ms = day + rng.random_range(start_hours) * HOUR_MS;
            let window = Window { start_ms, end_ms: start_ms + hours * HOUR_MS };
            self.planted.push(Planted { kind, channel, agent: None, window });
        }
        let channel = channels[3];
        let slow = pairs.iter().find_map(|&day| {
            let candidates = roster.on_duty_at_both(channel, day + 13 * HOUR_MS, day + DAY_MS + 13 * HOUR_MS);
            (!candidates.is_empty()).then(|| (day, candidates[rng.random_range(0..candidates.len())]))
        });
        if let Some((day, agent)) = slow {
            let window = Window { start_ms: day, end_ms: day + 2 * DAY_MS };
            self.planted.push(Planted { kind: IncidentKind::SlowAgent, channel, agent: Some(agent), window });
        }
    }

    fn index_days(&mut self) {
        for (position, planted) in self.planted.iter().enumerate() {
            let first = (planted.window.start_ms - self.start_ms) / DAY_MS;
            let last = (planted.window.end_ms - 1 - self.start_ms) / DAY_MS;
            for day in first..=last {
                if let Some(positions) = self.by_day.get_mut(day as usize) {
                    positions.push(position);
                }
            }
        }
    }

    /// The incident of `kind` that `channel` is in at `time_ms`.
    fn active(&self, kind: IncidentKind, channel: Channel, time_ms: i64) -> Option<&Planted> {
        let day = usize::try_from((time_ms - self.start_ms).div_euclid(DAY_MS)).ok()?;
        let positions = self.by_day.get(day)?;
        let mut planted = positions.iter().map(|&position| &self.planted[position]);
        planted.find(|p| p.kind == kind && p.channel == channel && p.window.contains(time_ms))
    }

    /// Factor on the arrivals of the hour that starts at `time_ms`. (Bursts and silences start on the hour.)
    pub(crate) fn arrival_factor(&self, channel: Channel, time_ms: i64) -> f64 {
        if self.silence(channel, time_ms).is_some() {
            0.0
        } else if self.is_angry(channel, time_ms) {
            BURST_ARRIVAL_FACTOR
        } else {
            1.0
        }
    }

    /// The silence that `time_ms` lies in, if any.
    pub(crate) fn silence(&self, channel: Channel, time_ms: i64) -> Option<Window> {
        self.active(IncidentKind::SilentChannel, channel, time_ms).map(|planted| planted.window)
    }

    /// The outage that `time_ms` lies in, if any.
    pub(crate) fn outage(&self, channel: Channel, time_ms: i64) -> Option<Window> {
        self.active(IncidentKind::QueueOutage, channel, time_ms).map(|planted| planted.window)
    }

    /// Whether customers who arrive at `time_ms` come angry.
    pub(crate) fn is_angry(&self, channel: Channel, time_ms: i64) -> bool {
        self.active(IncidentKind::AngryBurst, channel, time_ms).is_some()
    }

    /// Factor on the reply times of `agent` for replies begun at `time_ms`.
    pub(crate) fn slow_factor(&self, agent: AgentIndex, channel: Channel, time_ms: i64) -> f64 {
        match self.active(IncidentKind::SlowAgent, channel, time_ms) {
            Some(planted) if planted.agent == Some(agent) => SLOW_FACTOR,
            _ => 1.0,
        }
    }

    /// When work that would be done at `time_ms` is done: after an outage the backlog drains within three quarters of an hour.
    pub(crate) fn after_outage(&self, channel: Channel, time_ms: i64, rng: &mut ChaCha8Rng) -> i64 {
        self.outage(channel, time_ms).map_or(time_ms, |window| window.end_ms + rng.random_range(0..45 * MINUTE_MS))
    }

    /// When an event that would happen at `time_ms` happens: after a silence the first ones trickle in over 20 minutes.
    pub(crate) fn after_silence(&self, channel: Channel, time_ms: i64, rng: &mut ChaCha8Rng) -> i64 {
        self.silence(channel, time_ms).map_or(time_ms, |window| window.end_ms + rng.random_range(0..20 * MINUTE_MS))
    }

    /// The labels of the planted incidents, by start.
    pub(crate) fn labels(&self, tenant_id: &str) -> Vec<Incident> {
        (1..).zip(&self.planted).map(|(number, planted)| label(number, planted, tenant_id)).collect()
    }
}

fn label(number: usize, planted: &Planted, tenant_id: &str) -> Incident {
    let channel = planted.channel.as_str();
    let agent = planted.agent.map(agent_id);
    let (hints, description): (&[&str], String) = match planted.kind {
        IncidentKind::QueueOutage => (
            &[
                "first_response_time_mean_ms",
                "reply_time_mean_ms",
                "messages_outbound_count",
                "replies_count",
                "unattended_count",
            ],
            format!("Nobody on {channel} is answered or replied to for four hours; the backlog drains afterwards."),
        ),
        IncidentKind::SlowAgent => (
            &["reply_time_mean_ms", "reply_time_p50_ms", "first_response_time_mean_ms"],
            format!(
                "{} takes six times as long to reply on {channel} for two days.",
                agent.as_deref().unwrap_or("An agent")
            ),
        ),
        IncidentKind::AngryBurst => (
            &["messages_inbound_count", "sentiment_mean", "negative_turn_ratio", "csat_mean", "reply_time_mean_ms"],
            format!("Three times the usual arrivals on {channel} for three hours, most of them angry."),
        ),
        IncidentKind::SilentChannel => (
            &["messages_inbound_count", "messages_outbound_count", "replies_count", "resolutions_count"],
            format!("No event at all on {channel} for six daytime hours."),
        ),
    };
    Incident {
        id: format!("incident-{number:03}"),
        kind: planted.kind,
        tenant_id: tenant_id.to_owned(),
        channel: channel.to_owned(),
        agent_id: agent,
        start_ms: planted.window.start_ms,
        end_ms: planted.window.end_ms,
        kpi_hints: hints.iter().map(|&hint| hint.to_owned()).collect(),
        description,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    const MONDAY_MS: i64 = 1_740_960_000_000; // 2025-03-03

    fn labels(days: u32, agent_count: u32, seed: u64, start_ms: i64) -> Vec<Incident> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let roster = Roster::new(agent_count, &mut rng);
        IncidentPlan::plant(start_ms, days, &roster, &mut rng).labels("t")
    }

    #[test]
    fn fortnights_hold_every_kind_whatever_the_start() {
        for seed in 0..20 {
            for agent_count in [1, 5, 40] {
                let start_ms = MONDAY_MS + (seed % 7) as i64 * DAY_MS;
                let labels = labels(14, agent_count, seed, start_ms);
                let mut kinds: Vec<_> = labels.iter().map(|incident| incident.kind).collect();
                kinds.sort_unstable();
                kinds.dedup();
                assert_eq!((labels.len(), kinds.len()), (4, 4), "seed {seed}, {agent_count} agents");
            }
        }
    }

    #[test]
    fn incidents_keep_to_their_place() {
        for seed in 0..20 {
            let labels = labels(60, 40, seed, MONDAY_MS);
            assert!(labels.len() >= 20);
            for (i, a) in labels.iter().enumerate() {
                assert!(a.start_ms >= MONDAY_MS + BASELINE_DAYS * DAY_MS && a.end_ms <= MONDAY_MS + 60 * DAY_MS);
                assert!(!is_weekend(a.start_ms) && !is_weekend(a.end_ms - 1));
                assert_eq!(a.agent_id.is_some(), a.kind == IncidentKind::SlowAgent);
                for b in &labels[i + 1..] {
                    assert!(a.channel != b.channel || a.end_ms <= b.start_ms || b.end_ms <= a.start_ms, "{a:?} {b:?}");
                }
            }
        }
    }

    #[test]
    fn short_spans_keep_their_baseline() {
        assert!(labels(8, 40, 1, MONDAY_MS).is_empty());
    }
}
