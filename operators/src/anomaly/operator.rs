//! Series of KPI values out of the cells, and the operator that keeps their scores.

use std::collections::{BTreeMap, HashMap};

use contactflow_schemas::aggregate::summarise;
use contactflow_schemas::catalogue::kpi_id;
use contactflow_schemas::clock::{DAY_MS, TimeMs, Window, day_of};
use contactflow_schemas::event::mix;
use contactflow_schemas::facts::{AnomalyScore, Cell};
use contactflow_schemas::symbol::{FastHash, Symbol};
use contactflow_schemas::tally::{KpiId, Slot, SlotKind, Tally};
use differential_dataflow::VecCollection;
use differential_dataflow::collection::AsCollection;
use differential_dataflow::operators::CountTotal;
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::Broadcast;

use super::detector::{Detector, Point, score_series};
use crate::cells::ArrangedCells;
use crate::conversation::AsOf;
use crate::epochs::{Epoch, EpochBuffer};

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
    fn value_milli(self, ids: &Ids, tally: &Tally) -> Option<(i64, i64)> {
        let count = |kpi| tally.get(Slot::new(kpi, SlotKind::Count, 0));
        let sum = |kpi| tally.get(Slot::new(kpi, SlotKind::Sum, 0));
        let mean = |sum: i64, count: i64, scale: i64| {
            (count >= OBSERVATIONS_MIN).then(|| (sum * 1_000 / (count * scale), count))
        };
        match self {
            Self::MessagesInbound => Some((count(ids.messages_inbound) * 1_000, 1)),
            Self::Replies => Some((count(ids.replies) * 1_000, 1)),
            Self::ReplyTime => {
                let summary = summarise(tally, ids.reply_time)?;
                mean(summary.sum_ms, summary.count, 1)
            }
            Self::NegativeTurns => mean(sum(ids.negative_turns), count(ids.scored_turns), 1),
            // On the detector's 0..1 scale, so that one spread serves all ratios.
            Self::Csat => {
                mean(sum(ids.csat), count(ids.csat), 1_000_000).map(|(csat, count)| ((csat - 1_000) / 4, count))
            }
        }
    }

    /// A value as it is published: of the KPI's own unit.
    fn publish_milli(self, value_milli: i64) -> i64 {
        if self == Self::Csat { value_milli * 4 + 1_000 } else { value_milli }
    }
}

struct Ids {
    messages_inbound: KpiId,
    replies: KpiId,
    reply_time: KpiId,
    negative_turns: KpiId,
    scored_turns: KpiId,
    csat: KpiId,
}

impl Ids {
    fn new() -> Self {
        Self {
            messages_inbound: kpi_id("messages_inbound_count"),
            replies: kpi_id("replies_count"),
            reply_time: kpi_id("reply_time"),
            negative_turns: kpi_id("negative_turn_ratio"),
            scored_turns: kpi_id("scored_turns_count"),
            csat: kpi_id("csat"),
        }
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

/// The watched values of a level of cells. With `agents`, cells of nobody are left out: they are no agent's doing.
pub fn series_points<'scope>(
    cells: ArrangedCells<'scope>,
    agents: bool,
) -> VecCollection<'scope, Epoch, SeriesPoint, isize> {
    let ids = Ids::new();
    cells.count_total_core::<isize>().flat_map(move |(cell, tally)| points_of(&ids, cell, &tally.0, agents))
}

fn points_of(ids: &Ids, cell: Cell, tally: &Tally, agents: bool) -> Vec<SeriesPoint> {
    if agents && cell.agent.is_none() {
        return Vec::new();
    }
    let Cell { tenant, channel, agent, window_start_ms, .. } = cell;
    let point = |kind: SeriesKind| {
        let value = kind.value_milli(ids, tally)?;
        Some((SeriesKey { tenant, channel, agent, kind }, window_start_ms, value))
    };
    // An agent's counts follow the shift plan, not the quality of service.
    let watched = |kind: &SeriesKind| !agents || kind.detector() != Detector::Count;
    SeriesKind::ALL.into_iter().filter(watched).filter_map(point).collect()
}

enum Input {
    Point(SeriesPoint, isize),
    Latest(TimeMs, i64),
}

/// The series of one worker.
struct Series {
    window: Window,
    values: HashMap<SeriesKey, BTreeMap<TimeMs, (i64, i64)>, FastHash>,
    published: HashMap<SeriesKey, Vec<AnomalyScore>, FastHash>,
    as_of: AsOf,
}

impl Series {
    fn process(&mut self, items: impl IntoIterator<Item = Input>, emit: &mut impl FnMut(AnomalyScore, isize)) {
        let before = self.as_of.get().map(|time_ms| self.window.start_ms(time_ms));
        let mut touched: HashMap<SeriesKey, (), FastHash> = HashMap::default();
        // What goes before what comes: a value may be taken back and set again within an epoch.
        let (gone, come): (Vec<Input>, Vec<Input>) =
            items.into_iter().partition(|item| matches!(item, Input::Point(_, diff) if *diff < 0));
        for item in gone.into_iter().chain(come) {
            match item {
                Input::Latest(time_ms, diff) => self.as_of.update(time_ms, diff),
                Input::Point((key, start_ms, value), diff) => {
                    let series = self.values.entry(key).or_default();
                    if diff > 0 {
                        series.insert(start_ms, value);
                    } else {
                        series.remove(&start_ms);
                    }
                    touched.insert(key, ());
                }
            }
        }
        let after = self.as_of.get().map(|time_ms| self.window.start_ms(time_ms));
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
        let points = points(values, key.counts_silence(), self.window.length_ms(), horizon_ms);
        let scores = score_series(key.kind.detector(), self.window, &points);
        let row = |score: super::Score| AnomalyScore {
            day: day_of(score.start_ms),
            window_start_ms: score.start_ms,
            window_ms: self.window.length_ms(),
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
fn points(values: &BTreeMap<TimeMs, (i64, i64)>, silence: bool, length_ms: i64, horizon_ms: TimeMs) -> Vec<Point> {
    let mut points = Vec::with_capacity(values.len());
    let mut starts = values.range(..horizon_ms).peekable();
    while let Some((&start_ms, &(value_milli, observations))) = starts.next() {
        points.push(Point { start_ms, value_milli, observations });
        let next_ms = starts.peek().map_or(horizon_ms, |(next_ms, _)| **next_ms);
        let idle = if silence { (next_ms.min(start_ms + IDLE_MAX_MS) - start_ms - 1) / length_ms } else { 0 };
        points.extend((1..=idle).map(|number| Point {
            start_ms: start_ms + number * length_ms,
            value_milli: 0,
            observations: 1,
        }));
    }
    points
}

/// Keeps the anomaly scores of all series, routed by series.
pub fn anomalies<'scope>(
    points: VecCollection<'scope, Epoch, SeriesPoint, isize>,
    latest: Stream<'scope, Epoch, Vec<(TimeMs, i64)>>,
    window: Window,
) -> VecCollection<'scope, Epoch, AnomalyScore, isize> {
    let mut builder = OperatorBuilder::new(format!("Anomalies: {window:?}"), points.scope());
    let route = Exchange::new(|((key, _, _), _, _): &(SeriesPoint, Epoch, isize)| key.stable_hash());
    let mut points_input = builder.new_input(points.inner, route);
    let mut latest_input = builder.new_input(latest.broadcast(), Pipeline);
    let (output, scores) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(output);
    builder.build(move |_capabilities| {
        let mut buffer = EpochBuffer::new(1);
        let mut series =
            Series { window, values: HashMap::default(), published: HashMap::default(), as_of: AsOf::default() };
        move |frontiers| {
            points_input.for_each(|capability, rows: &mut Vec<_>| {
                buffer.stash_updates(
                    &capability,
                    rows.drain(..).map(|(point, epoch, diff)| (epoch, Input::Point(point, diff))),
                );
            });
            latest_input.for_each(|capability, rows: &mut Vec<_>| {
                buffer.stash(&capability, rows.drain(..).map(|(time_ms, diff)| Input::Latest(time_ms, diff)).collect());
            });
            while let Some(mut batch) = buffer.next_complete(&[&frontiers[0], &frontiers[1]]) {
                let items = batch.take_items();
                let mut output = output.activate();
                let mut session = output.session(&batch.capabilities[0]);
                series.process(items, &mut |score, diff| session.give((score, batch.epoch, diff)));
            }
        }
    });
    scores.as_collection()
}
