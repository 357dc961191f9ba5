//! The KPI half of the dataflow: from net events to cells of every grouping and window.

use contactflow_operators::anomaly::is_watched_of_agents;
use contactflow_operators::as_of::LatestTimes;
use contactflow_operators::causes::Causes;
use contactflow_operators::cells::{ArrangedCells, arrange_cells, cell_of};
use contactflow_operators::contacts::contacts;
use contactflow_operators::conversation::{Conversations, ConversationsInput, conversations};
use contactflow_operators::deduplicate::Deduplicated;
use contactflow_operators::difference::TallyDiff;
use contactflow_operators::epochs::Epoch;
use contactflow_operators::levels::levels;
use contactflow_operators::metrics::Metrics;
use contactflow_operators::open_waits::open_waits;
use contactflow_operators::presence::presence;
use contactflow_operators::roll_up::{Target, roll_up_changes};
use contactflow_schemas::aggregate::RollUp::{OverGroup, OverTime};
use contactflow_schemas::facts::{Cell, Grouping};
use contactflow_schemas::rules::KpiRules;
use contactflow_schemas::windows::{Window, Windows};
use differential_dataflow::VecCollection;
use differential_dataflow::collection::AsCollection;
use timely::dataflow::operators::vec::Partition;

/// What cells of windows of several widths gain.
pub type Contributions<'scope> = VecCollection<'scope, Epoch, (Window, Cell), TallyDiff>;

/// What conversations contribute, and what else follows from them.
pub struct Measured<'scope> {
    /// Facts, turns, rejects.
    pub conversations: Conversations<'scope>,
    /// To the finest cells.
    pub contributions: Contributions<'scope>,
    /// To the cells by agent, of no channel.
    pub presence: Contributions<'scope>,
}

/// From net events to contributions: conversations, levels, waiting customers, contacts, presence.
pub fn measure<'scope>(
    net: &Deduplicated<'scope>,
    rules: &KpiRules,
    windows: &Windows,
    causes: &Causes,
    metrics: &Metrics,
) -> Measured<'scope> {
    let latest: LatestTimes<'scope> = net.latest.clone();
    let input = ConversationsInput {
        latest: latest.clone(),
        dimensions: net.dimensions.clone(),
        merges: net.merges.clone(),
        rules: rules.clone(),
        windows: windows.clone(),
        causes: causes.clone(),
        metrics: Metrics::clone(metrics),
    };
    let conversations = conversations(net.changes.clone(), input);
    let carried = levels(conversations.levels.clone(), latest.clone(), windows);
    let waiting = open_waits(conversations.waits.clone(), latest.clone(), windows);
    let returned =
        contacts(conversations.visits.clone(), latest.clone(), windows, rules.return_within_ms, causes.clone());
    let contributions = conversations.contributions.clone().concat(carried).concat(waiting).concat(returned);
    let presence = presence(net.dimensions.clone(), latest, windows, rules.level_max_ms, causes.clone());
    Measured { conversations, contributions, presence }
}

/// The cells of groupings and windows.
pub struct KpiCells<'scope> {
    tables: Vec<(Grouping, Window, ArrangedCells<'scope>)>,
    /// What is watched of agents, by agent, channel and day.
    pub watched_of_agents: ArrangedCells<'scope>,
}

impl<'scope> KpiCells<'scope> {
    /// The cells of one table, if they are arranged. Those by agent and channel are by team and queue too: a row is the
    /// sum of its agent's and channel's cells, which lie one after the other.
    pub fn of(&self, grouping: Grouping, window: Window) -> Option<ArrangedCells<'scope>> {
        let found = self.tables.iter().find(|(known, width, _)| (*known, *width) == (grouping, window));
        found.map(|(_, _, cells)| cells.clone())
    }

    /// All of them.
    pub fn into_tables(self) -> impl Iterator<Item = (Grouping, Window, ArrangedCells<'scope>)> {
        self.tables.into_iter()
    }
}

/// What is made of the finest cells of one width of window.
#[derive(Clone, Copy)]
enum Level {
    /// The finest cells of a longer window.
    Longer(Window),
    /// The cells of a grouping.
    Group(Grouping),
    /// What is watched of agents.
    Watched,
}

impl Level {
    /// The levels of a window that are needed for the tables that are `wanted`.
    fn needed(window: Window, wanted: &impl Fn(Grouping, Window) -> bool) -> Vec<Self> {
        // Weeks and months are made of days, days of hours.
        let mut levels = match window {
            Window::Hour => vec![Self::Longer(Window::Day)],
            Window::Day => vec![Self::Watched, Self::Longer(Window::Week), Self::Longer(Window::Month)],
            Window::Week | Window::Month => Vec::new(),
        };
        levels.extend(Grouping::ALL.into_iter().filter_map(|grouping| {
            let is_needed = match grouping {
                // The finest cells are those of agents and channels; the tenant's are made of the agents'.
                Grouping::AgentChannel | Grouping::Tenant => false,
                Grouping::Agent => wanted(grouping, window) || wanted(Grouping::Tenant, window),
                Grouping::Channel | Grouping::TeamChannel | Grouping::QueueChannel => wanted(grouping, window),
            };
            is_needed.then_some(Self::Group(grouping))
        }));
        levels
    }

    fn target(self, windows: &Windows) -> Target {
        match self {
            Self::Longer(window) => Target::rolled_up(OverTime, into_window(windows, window)),
            Self::Group(grouping) => Target::rolled_up(OverGroup, into_group(grouping)),
            Self::Watched => Target::excerpt(is_watched_of_agents, into_group(Grouping::AgentChannel)),
        }
    }
}

/// Arranges the cells of the groupings and windows that are `wanted`, each from a finer one and never from events: along
/// time from hours to days to weeks and months, along groups from the finest to agents to tenants and to the others.
pub fn kpi_cells<'scope>(
    contributions: Contributions<'scope>,
    presence: Contributions<'scope>,
    windows: &Windows,
    wanted: impl Fn(Grouping, Window) -> bool,
) -> KpiCells<'scope> {
    let is_wanted = |window| Grouping::ALL.into_iter().any(|grouping| wanted(grouping, window));
    let (mut tables, mut watched_of_agents) = (Vec::new(), None);
    let mut parts: Vec<(Window, Gained<'scope>)> = Vec::new();
    for (window, mut entering) in by_window(contributions) {
        if !is_wanted(window) && matches!(window, Window::Week | Window::Month) {
            continue;
        }
        if let Some(place) = parts.iter().position(|(width, _)| *width == window) {
            entering = entering.concat(parts.swap_remove(place).1);
        }
        let finest = arrange_cells(entering, &format!("Finest {}", window.name()));
        let levels = Level::needed(window, &wanted);
        let targets = levels.iter().map(|level| level.target(windows)).collect();
        for (level, gains) in levels.into_iter().zip(roll_up_changes(finest.clone(), targets)) {
            match level {
                Level::Longer(longer) => parts.push((longer, gains)),
                Level::Watched => watched_of_agents = Some(arrange_cells(gains, "Watched of agents")),
                Level::Group(Grouping::Agent) => {
                    let present = presence.clone().map(|(_, cell)| cell).map(into_window(windows, window));
                    tables.extend(agents_and_tenants(gains.concat(present), window, &wanted));
                }
                Level::Group(grouping) => {
                    tables.push((grouping, window, arrange_cells(gains, &name(grouping, window))));
                }
            }
        }
        if wanted(Grouping::AgentChannel, window) {
            tables.push((Grouping::AgentChannel, window, finest));
        }
    }
    KpiCells { tables, watched_of_agents: watched_of_agents.expect("days are always arranged") }
}

/// What cells of one width of window gain.
type Gained<'scope> = VecCollection<'scope, Epoch, Cell, TallyDiff>;

/// Contributions by the width of their window.
fn by_window<'scope>(contributions: Contributions<'scope>) -> impl Iterator<Item = (Window, Gained<'scope>)> {
    let streams = contributions
        .inner
        .partition(Window::ALL.len() as u64, |((window, cell), epoch, diff)| (window as u64, (cell, epoch, diff)));
    Window::ALL.into_iter().zip(streams.into_iter().map(AsCollection::as_collection))
}

/// The cells by agent, and those of the tenant, which are made of them.
fn agents_and_tenants<'scope>(
    gains: Gained<'scope>,
    window: Window,
    wanted: &impl Fn(Grouping, Window) -> bool,
) -> Vec<(Grouping, Window, ArrangedCells<'scope>)> {
    let agents = arrange_cells(gains, &name(Grouping::Agent, window));
    let mut tables = Vec::new();
    if wanted(Grouping::Tenant, window) {
        let target = Target::rolled_up(OverGroup, into_group(Grouping::Tenant));
        let gains = roll_up_changes(agents.clone(), vec![target]).into_iter();
        tables.extend(
            gains.map(|gains| (Grouping::Tenant, window, arrange_cells(gains, &name(Grouping::Tenant, window)))),
        );
    }
    if wanted(Grouping::Agent, window) {
        tables.push((Grouping::Agent, window, agents));
    }
    tables
}

fn name(grouping: Grouping, window: Window) -> String {
    format!("{} {}", grouping.name(), window.name())
}

/// The cell that a cell of a shorter window is part of.
fn into_window(windows: &Windows, window: Window) -> impl Fn(Cell) -> Cell + 'static {
    let windows = windows.clone();
    move |cell| cell_of(&windows, window, cell.window_start_ms, cell.group)
}

/// The cell of a coarser grouping that a cell is part of.
fn into_group(grouping: Grouping) -> impl Fn(Cell) -> Cell + 'static {
    move |cell| Cell { group: grouping.of(cell.group), ..cell }
}
