//! The dimensions of every tenant, replicated on every worker: who is in which team, which opening hours and which
//! SLA targets are in force when (rules 27, 29, 45).
//!
//! Dimensions are small and read by every conversation, so every worker holds all of them. A change compiles the
//! tenant's dimensions anew; views are computed under the old ones before and under the new ones after.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use contactflow_schemas::business::{BusinessClock, Schedule, ScheduleDefinition};
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::dimension::{Dimension, DimensionEvent, SlaTargets};
use contactflow_schemas::symbol::{FastHash, Symbol};
use contactflow_schemas::zone::Zone;
use differential_dataflow::VecCollection;
use differential_dataflow::collection::AsCollection;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::operator::Operator;

use crate::causes::EventRef;
use crate::epochs::Epoch;

/// Versions of one thing, each valid from its time, ascending.
type Versions<T> = Vec<(TimeMs, T)>;

/// The version in force at a time: the last that starts at it or before.
fn in_force<T>(versions: &[(TimeMs, T)], time_ms: TimeMs) -> Option<&T> {
    let later = versions.partition_point(|(from_ms, _)| *from_ms <= time_ms);
    later.checked_sub(1).map(|position| &versions[position].1)
}

/// The times in `(from_ms, to_ms)` at which versions begin.
fn starts_in<T>(versions: Option<&Versions<T>>, from_ms: TimeMs, to_ms: TimeMs) -> impl Iterator<Item = TimeMs> {
    let versions = versions.map_or(&[][..], Vec::as_slice);
    versions.iter().map(|(from, _)| *from).filter(move |from| (from_ms + 1..to_ms).contains(from))
}

/// A version of a calendar.
#[derive(Clone)]
struct CalendarVersion {
    team: Option<Symbol>,
    channel: Option<Symbol>,
    schedule: Rc<Schedule>,
}

impl CalendarVersion {
    /// How well it fits a team and channel: 0 best; none when it does not apply.
    fn rank(&self, team: Option<Symbol>, channel: Symbol) -> Option<u8> {
        let applies = self.team.is_none_or(|of| Some(of) == team) && self.channel.is_none_or(|of| of == channel);
        applies.then_some(match (self.team, self.channel) {
            (Some(_), Some(_)) => 0,
            (Some(_), None) => 1,
            (None, Some(_)) => 2,
            (None, None) => 3,
        })
    }
}

/// Time zones by name: compiling one takes longer than everything else about a calendar.
type Zones = HashMap<String, Zone>;

fn zone_of(zones: &mut Zones, schedule: &ScheduleDefinition) -> Option<Zone> {
    let name = schedule.timezone();
    if !zones.contains_key(name) {
        zones.insert(name.to_owned(), Zone::parse(name)?);
    }
    zones.get(name).cloned()
}

/// Clocks by team and channel.
type Clocks = HashMap<(Option<Symbol>, Symbol), Rc<BusinessClock>, FastHash>;

/// One tenant's dimensions, compiled.
#[derive(Default)]
pub struct TenantDimensions {
    teams: HashMap<Symbol, Versions<Option<Symbol>>, FastHash>,
    policies: HashMap<Symbol, Versions<SlaTargets>, FastHash>,
    /// By id, in byte order.
    calendars: Vec<Versions<CalendarVersion>>,
    clocks: RefCell<Clocks>,
}

impl TenantDimensions {
    /// Compiles rows given in the contract's order.
    fn compile<'a>(rows: impl Iterator<Item = &'a DimensionEvent>, zones: &mut Zones) -> Self {
        let mut compiled = Self::default();
        let mut calendars: HashMap<Symbol, Versions<CalendarVersion>, FastHash> = HashMap::default();
        let mut schedules: HashMap<&ScheduleDefinition, Rc<Schedule>> = HashMap::new();
        for row in rows {
            let time_ms = row.time_ms;
            match &row.dimension {
                Dimension::Agent { agent, team } => {
                    compiled.teams.entry(*agent).or_default().push((time_ms, *team));
                }
                Dimension::Policy { policy, targets } => {
                    compiled.policies.entry(*policy).or_default().push((time_ms, *targets));
                }
                Dimension::Calendar { calendar, team, channel, schedule } => {
                    // Normalisation accepts no definition that cannot be compiled.
                    let compiled = match schedules.get(schedule) {
                        Some(compiled) => Rc::clone(compiled),
                        None => {
                            let Some(zone) = zone_of(zones, schedule) else { continue };
                            let compiled = Rc::new(Schedule::in_zone(schedule, zone));
                            Rc::clone(schedules.entry(schedule).or_insert(compiled))
                        }
                    };
                    let version = CalendarVersion { team: *team, channel: *channel, schedule: compiled };
                    calendars.entry(*calendar).or_default().push((time_ms, version));
                }
                Dimension::Presence { .. } => {}
            }
        }
        let mut by_id: Vec<_> = calendars.into_iter().collect();
        by_id.sort_by_key(|(calendar, _)| calendar.as_str());
        compiled.calendars = by_id.into_iter().map(|(_, versions)| versions).collect();
        compiled
    }

    /// The team that `agent` belongs to at a time.
    pub fn team_of(&self, agent: Symbol, time_ms: TimeMs) -> Option<Symbol> {
        self.teams.get(&agent).and_then(|versions| *in_force(versions, time_ms)?)
    }

    /// The times in `(from_ms, to_ms)` at which an agent may change team, ascending.
    pub fn team_changes(&self, agent: Symbol, from_ms: TimeMs, to_ms: TimeMs) -> impl Iterator<Item = TimeMs> {
        starts_in(self.teams.get(&agent), from_ms, to_ms)
    }

    /// The version of a policy in force at a time: its number and targets.
    pub fn targets(&self, policy: Symbol, time_ms: TimeMs) -> Option<(usize, &SlaTargets)> {
        let versions = self.policies.get(&policy)?;
        let later = versions.partition_point(|(from_ms, _)| *from_ms <= time_ms);
        later.checked_sub(1).map(|number| (number, &versions[number].1))
    }

    /// The times in `(from_ms, to_ms)` at which another version of a policy begins, ascending.
    pub fn policy_changes(&self, policy: Symbol, from_ms: TimeMs, to_ms: TimeMs) -> impl Iterator<Item = TimeMs> {
        starts_in(self.policies.get(&policy), from_ms, to_ms)
    }

    /// True when the tenant has any calendar.
    pub fn has_calendars(&self) -> bool {
        !self.calendars.is_empty()
    }

    /// Opening hours of a team on a channel over time.
    pub fn clock(&self, team: Option<Symbol>, channel: Symbol) -> Rc<BusinessClock> {
        let mut clocks = self.clocks.borrow_mut();
        let clock = clocks.entry((team, channel)).or_insert_with(|| Rc::new(self.compile_clock(team, channel)));
        Rc::clone(clock)
    }

    fn compile_clock(&self, team: Option<Symbol>, channel: Symbol) -> BusinessClock {
        let starts: BTreeSet<TimeMs> = self.calendars.iter().flatten().map(|(from_ms, _)| *from_ms).collect();
        let pieces = starts.into_iter().map(|from_ms| {
            let candidates = self.calendars.iter().filter_map(|versions| {
                let version = in_force(versions, from_ms)?;
                Some((version.rank(team, channel)?, &version.schedule))
            });
            // The first of equals is that of the smallest id.
            let best = candidates.min_by_key(|(rank, _)| *rank);
            (from_ms, best.map(|(_, schedule)| Rc::clone(schedule)))
        });
        BusinessClock::new(pieces.collect())
    }
}

/// The dimensions of all tenants.
#[derive(Default)]
pub struct Dimensions {
    rows: HashMap<Symbol, Vec<DimensionEvent>, FastHash>,
    compiled: HashMap<Symbol, Rc<TenantDimensions>, FastHash>,
    zones: Zones,
    empty: Rc<TenantDimensions>,
}

/// A tenant whose dimensions changed, and since when in event time.
pub struct DimensionsChange {
    /// The tenant.
    pub tenant: Symbol,
    /// Nothing before this time changed.
    pub since_ms: TimeMs,
    /// What was in force before.
    pub before: Rc<TenantDimensions>,
    /// The events that came and went.
    pub events: Vec<EventRef>,
}

impl Dimensions {
    /// The dimensions of a tenant.
    pub fn of(&self, tenant: Symbol) -> &Rc<TenantDimensions> {
        self.compiled.get(&tenant).unwrap_or(&self.empty)
    }

    /// Inserts and removes rows. Presence is no dimension that conversations read and is left out.
    pub fn update(&mut self, changes: impl IntoIterator<Item = (DimensionEvent, isize)>) -> Vec<DimensionsChange> {
        let mut since: HashMap<Symbol, (TimeMs, Vec<EventRef>), FastHash> = HashMap::default();
        let (mut gone, mut come): (Vec<_>, Vec<_>) = changes
            .into_iter()
            .filter(|(row, _)| !matches!(row.dimension, Dimension::Presence { .. }))
            .partition(|(_, diff)| *diff < 0);
        // A row that is taken back and stated again in one epoch has not changed.
        come.retain(|(row, _)| match gone.iter().position(|(other, _)| other == row) {
            Some(position) => {
                gone.swap_remove(position);
                false
            }
            None => true,
        });
        for (row, diff) in gone.into_iter().chain(come) {
            let (since_ms, events) = since.entry(row.tenant).or_insert((row.time_ms, Vec::new()));
            *since_ms = row.time_ms.min(*since_ms);
            events.push(EventRef { source: row.source, event_id: row.event_id.clone() });
            let rows = self.rows.entry(row.tenant).or_default();
            if diff > 0 {
                rows.push(row);
            } else if let Some(position) = rows.iter().position(|other| *other == row) {
                rows.swap_remove(position);
            }
        }
        since.into_iter().map(|(tenant, (since_ms, events))| self.recompile(tenant, since_ms, events)).collect()
    }

    fn recompile(&mut self, tenant: Symbol, since_ms: TimeMs, events: Vec<EventRef>) -> DimensionsChange {
        let rows = self.rows.entry(tenant).or_default();
        rows.sort_by(|left, right| left.order().cmp(&right.order()));
        let compiled = Rc::new(TenantDimensions::compile(rows.iter(), &mut self.zones));
        let before = self.compiled.insert(tenant, compiled).unwrap_or_else(|| Rc::clone(&self.empty));
        DimensionsChange { tenant, since_ms, before, events }
    }
}

/// The rows of the table `dimensions`: everything but presence, of which there is too much for a dimension.
pub fn versions<'scope>(
    events: Stream<'scope, Epoch, Vec<(DimensionEvent, isize)>>,
) -> VecCollection<'scope, Epoch, DimensionEvent, isize> {
    let timed = events.unary(Pipeline, "DimensionVersions", |_, _| {
        move |input, output| {
            input.for_each(|capability, rows| {
                let Some(&epoch) = capability.least() else { return };
                let rows = rows.drain(..).filter(|(row, _)| !matches!(row.dimension, Dimension::Presence { .. }));
                output.session(&capability).give_iterator(rows.map(|(row, diff)| (row, epoch, diff)));
            });
        }
    });
    timed.as_collection()
}
