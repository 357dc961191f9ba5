//! Series of KPI values out of the cells, and the operator that keeps their scores.

use std::collections::{BTreeMap, HashMap};

use contactflow_schemas::catalogue::kpi;
use contactflow_schemas::clock::{DAY_MS, TimeMs};
use contactflow_schemas::event::mix;
use contactflow_schemas::facts::{AnomalyScore, Cell, Group};
use contactflow_schemas::symbol::{FastHash, Symbol};
use contactflow_schemas::tally::{KpiId, Slot, SlotKind, Tally};
use contactflow_schemas::windows::{Window, Windows};
use differential_dataflow::VecCollection;
use differential_dataflow::collection::AsCollection;
use differential_dataflow::operators::CountTotal;
use serde::{Deserialize, Serialize};

use super::detector::{Detector, Point, score_series};
use crate::as_of::{AsOfMove, LatestTimes, follow_as_of};
use crate::cells::ArrangedCells;
use crate::epochs::Epoch;

/// A KPI that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SeriesKind {
    /// messages_inbound_count.
    MessagesInbound,
    /// replies_count.
    Replies,
    /// reply_time_mean_ms.
    ReplyTime,
    /// negative_turn_ratio.
    NegativeTurns,
    /// csat_mean.
    Csat,
}

/// How long an idle series is taken to count 0.
const IDLE_MAX_MS: i64 = 14 * DAY_MS;

/// Values over at least this many observations are steady enough to be compared.
const OBSERVATIONS_MIN: i64 = 3;

impl SeriesKind {
    const ALL: [SeriesKind; 5] =
        [Self::MessagesInbound, Self::Replies, Self::ReplyTime, Self::NegativeTurns, Self::Csat];

    /// The KPI column.
    pub fn column(self) -> &'static str {
        match self {
            Self::MessagesInbound => "messages_inbound_count",
            Self::Replies => "replies_count",
            Self::ReplyTime => "reply_time_mean_ms",
            Self::NegativeTurns => "negative_turn_ratio",
            Self::Csat => "csat_mean",
        }
    }

    fn detector(self) -> Detector {
        match self {
            Self::MessagesInbound | Self::Replies => Detector::Count,
            Self::ReplyTime => Detector::Duration,
            Self::NegativeTurns | Self::Csat => Detector::Ratio,
        }
    }

    /// The value of a cell, thousandths of the detector's unit, and the observations behind it; none where there are too
    /// few.
    fn value_milli(self, tally: &Tally) -> Option<(i64, i64)> {
        let count = |kpi: KpiId| tally.get(Slot::new(kpi, SlotKind::Count, 0));
        let sum = |kpi: KpiId| tally.get(Slot::new(kpi, SlotKind::Sum, 0));
        let mean = |sum: i64, count: i64, scale: i64| {
            (count >= OBSERVATIONS_MIN).then(|| (sum * 1_000 / (count * scale), count))
        };
        match self {
            Self::MessagesInbound => Some((count(kpi::MESSAGES_INBOUND) * 1_000, 1)),
            Self::Replies => Some((count(kpi::REPLIES) * 1_000, 1)),
            // Rolled-up cells have both; they are what is watched.
            Self::ReplyTime => mean(sum(kpi::REPLY_TIME), count(kpi::REPLY_TIME), 1),
            Self::NegativeTurns => mean(sum(kpi::NEGATIVE_TURNS), count(kpi::SCORED_TURNS), 1),
            // On the detector's 0..1 scale, so that one spread serves all ratios.
            Self::Csat => {
                mean(sum(kpi::CSAT), count(kpi::CSAT), 1_000_000).map(|(csat, count)| ((csat - 1_000) / 4, count))
            }
        }
    }

    /// A value as it is published: of the KPI's own unit.
    fn publish_milli(self, value_milli: i64) -> i64 {
        if self == Self::Csat { value_milli * 4 + 1_000 } else { value_milli }
    }
}

/// Identity of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeriesKey {
    /// Tenant.
    pub tenant: Symbol,
    /// Channel.
    pub channel: Symbol,
    /// Agent, for agent×channel series.
    pub agent: Option<Symbol>,
    /// What is watched.
    pub kind: SeriesKind,
}

impl SeriesKey {
    /// A channel's count of an empty window is 0: that is how a silent channel shows.
    fn counts_silence(&self) -> bool {
        self.kind.detector() == Detector::Count && self.agent.is_none()
    }

    fn stable_hash(&self) -> u64 {
        let agent = self.agent.map_or(1, Symbol::stable_hash);
        mix(self.tenant.stable_hash() ^ mix(self.channel.stable_hash()) ^ agent.rotate_left(17) ^ self.kind as u64)
    }
}

/// A value of a series: (series, start of the window, (thousandths, observations)).
pub type SeriesPoint = (SeriesKey, TimeMs, (i64, i64));

/// Whether an agent's series are made of this entry: what a level of their own keeps.
pub fn is_watched_of_agents(slot: Slot) -> bool {
    let is_watched = matches!(slot.kpi(), kpi::REPLY_TIME | kpi::NEGATIVE_TURNS | kpi::SCORED_TURNS | kpi::CSAT);
    is_watched && (slot.is(SlotKind::Count) || slot.is(SlotKind::Sum))
}

/// The watched values of a level of cells. With `agents`, cells of nobody are left out: they are no agent's doing.
pub fn series_points<'scope>(
    cells: ArrangedCells<'scope>,
    agents: bool,
) -> VecCollection<'scope, Epoch, SeriesPoint, isize> {
    cells.count_total_core::<isize>().flat_map(move |(cell, tally)| points_of(cell, &tally.0, agents))
}

fn points_of(cell: Cell, tally: &Tally, agents: bool) -> Vec<SeriesPoint> {
    let Cell { group: Group { tenant, channel, agent, .. }, window_start_ms, .. } = cell;
    let Some(channel) = channel.filter(|_| !agents || agent.is_some()) else { return Vec::new() };
    let point = |kind: SeriesKind| {
        let value = kind.value_milli(tally)?;
        Some((SeriesKey { tenant, channel, agent, kind }, window_start_ms, value))
    };
    // An agent's counts follow the shift plan, not the quality of service.
    let watched = |kind: &SeriesKind| !agents || kind.detector() != Detector::Count;
    SeriesKind::ALL.into_iter().filter(watched).filter_map(point).collect()
}

/// The series of one worker.
struct Series {
    window: Window,
    values: HashMap<SeriesKey, BTreeMap<TimeMs, (i64, i64)>, FastHash>,
    windows: Windows,
    published: HashMap<SeriesKey, Vec<AnomalyScore>, FastHash>,
}

impl Series {
    fn process(
        &mut self,
        updates: Vec<(SeriesPoint, Epoch, isize)>,
        moved: AsOfMove,
        emit: &mut dyn FnMut(AnomalyScore, isize),
    ) {
        let horizon = |as_of_ms: Option<TimeMs>| as_of_ms.map(|time_ms| self.windows.start_ms(self.window, time_ms));
        let (before, after) = (horizon(moved.before_ms), horizon(moved.after_ms));
        let mut touched: HashMap<SeriesKey, (), FastHash> = HashMap::default();
        // What goes before what comes: a value may be taken back and set again within an epoch.
        let (gone, come): (Vec<_>, Vec<_>) = updates.into_iter().partition(|(_, _, diff)| *diff < 0);
        for ((key, start_ms, value), _, diff) in gone.into_iter().chain(come) {
            let series = self.values.entry(key).or_default();
            if diff > 0 {
                series.insert(start_ms, value);
            } else {
                series.remove(&start_ms);
            }
            touched.insert(key, ());
        }
        let keys: Vec<SeriesKey> =
            if before == after { touched.into_keys().collect() } else { self.values.keys().copied().collect() };
        for key in keys {
            let scores = after.map_or_else(Vec::new, |horizon_ms| self.score(&key, horizon_ms));
            let old = self.published.remove(&key).unwrap_or_default();
            if old != scores {
                old.into_iter().for_each(|score| emit(score, -1));
                scores.iter().for_each(|score| emit(score.clone(), 1));
            }
            if !scores.is_empty() {
                self.published.insert(key, scores);
            }
            if self.values.get(&key).is_some_and(BTreeMap::is_empty) {
                self.values.remove(&key);
            }
        }
    }

    /// Scores the complete windows of a series: those before the window that holds as_of.
    fn score(&self, key: &SeriesKey, horizon_ms: TimeMs) -> Vec<AnomalyScore> {
        let Some(values) = self.values.get(key) else { return Vec::new() };
        let points = points(values, key.counts_silence(), (&self.windows, self.window), horizon_ms);
        let scores = score_series(key.kind.detector(), self.window, &points);
        let row = |score: super::Score| AnomalyScore {
            day: self.windows.day_of(score.start_ms),
            window_start_ms: score.start_ms,
            window_end_ms: self.windows.end_ms(self.window, score.start_ms),
            tenant: key.tenant,
            channel: key.channel,
            agent: key.agent,
            kpi: Symbol::new(key.kind.column()),
            observed_milli: Some(key.kind.publish_milli(score.observed_milli)),
            expected_milli: key.kind.publish_milli(score.expected_milli),
            lower_milli: key.kind.publish_milli(score.lower_milli),
            upper_milli: key.kind.publish_milli(score.upper_milli),
            score_millionths: score.score_millionths,
        };
        scores.into_iter().map(row).collect()
    }
}

/// The complete windows of a series, those before `horizon_ms`. With `silence`, a window without a value counts 0, for
/// a while after the last value: nobody expects a channel to speak that has been idle for long.
fn points(
    values: &BTreeMap<TimeMs, (i64, i64)>,
    silence: bool,
    (windows, window): (&Windows, Window),
    horizon_ms: TimeMs,
) -> Vec<Point> {
    let mut points = Vec::with_capacity(values.len());
    let mut starts = values.range(..horizon_ms).peekable();
    while let Some((&start_ms, &(value_milli, observations))) = starts.next() {
        points.push(Point { start_ms, value_milli, observations });
        if silence {
            let next_ms = starts.peek().map_or(horizon_ms, |(next_ms, _)| **next_ms);
            let idle_ms = windows.end_ms(window, start_ms);
            let idle = windows.starts(window, idle_ms, next_ms.min(start_ms + IDLE_MAX_MS));
            points.extend(idle.map(|start_ms| Point { start_ms, value_milli: 0, observations: 1 }));
        }
    }
    points
}

/// Keeps the anomaly scores of all series, routed by series.
pub fn anomalies<'scope>(
    points: VecCollection<'scope, Epoch, SeriesPoint, isize>,
    latest: LatestTimes<'scope>,
    window: Window,
    windows: &Windows,
) -> VecCollection<'scope, Epoch, AnomalyScore, isize> {
    let mut series =
        Series { window, windows: windows.clone(), values: HashMap::default(), published: HashMap::default() };
    let route = |((key, _, _), _, _): &(SeriesPoint, Epoch, isize)| key.stable_hash();
    let epoch_of = |(_, epoch, _): &(SeriesPoint, Epoch, isize)| Some(*epoch);
    let name = format!("Anomalies: {}", window.name());
    follow_as_of(&name, points.inner, route, epoch_of, latest, move |epoch, updates, moved, emit| {
        series.process(updates, moved, &mut |score, diff| emit((score, epoch, diff)));
    })
    .as_collection()
}
