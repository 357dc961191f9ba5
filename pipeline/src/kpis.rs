//! The KPI half of the dataflow: from net events to cells of every grouping and window.

use contactflow_operators::as_of::LatestTimes;
use contactflow_operators::causes::Causes;
use contactflow_operators::cells::{ArrangedCells, arrange_cells, arrange_roll_up, cell_of};
use contactflow_operators::contacts::contacts;
use contactflow_operators::conversation::{Conversations, ConversationsInput, conversations};
use contactflow_operators::deduplicate::Deduplicated;
use contactflow_operators::difference::TallyDiff;
use contactflow_operators::epochs::Epoch;
use contactflow_operators::levels::levels;
use contactflow_operators::metrics::Metrics;
use contactflow_operators::open_waits::open_waits;
use contactflow_operators::presence::presence;
use contactflow_schemas::aggregate::RollUp::{OverGroup, OverGroupExactly, OverTime};
use contactflow_schemas::facts::{Cell, Grouping};
use contactflow_schemas::rules::KpiRules;
use contactflow_schemas::windows::{Window, Windows};
use differential_dataflow::VecCollection;

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
pub struct KpiCells<'scope>(Vec<(Grouping, Window, ArrangedCells<'scope>)>);

impl<'scope> KpiCells<'scope> {
    /// The cells of one table, if they are arranged.
    pub fn of(&self, grouping: Grouping, window: Window) -> Option<ArrangedCells<'scope>> {
        let found = self.0.iter().find(|(known, width, _)| (*known, *width) == (grouping, window));
        found.map(|(_, _, cells)| cells.clone())
    }

    /// All of them.
    pub fn into_tables(self) -> impl Iterator<Item = (Grouping, Window, ArrangedCells<'scope>)> {
        self.0.into_iter()
    }
}

/// Arranges the cells of the groupings and windows that are `wanted`, each from a finer one and never from events: along
/// time from hours to days to weeks and months, along groups from the finest to agent×channel to agent to tenant.
pub fn kpi_cells<'scope>(
    contributions: Contributions<'scope>,
    presence: Contributions<'scope>,
    windows: &Windows,
    wanted: impl Fn(Grouping, Window) -> bool,
) -> KpiCells<'scope> {
    let mut cells = KpiCells(Vec::new());
    let mut finer: Vec<(Window, ArrangedCells<'scope>)> = Vec::new();
    let is_wanted = |window| Grouping::ALL.into_iter().any(|grouping| wanted(grouping, window));
    for window in Window::ALL {
        // Weeks and months are made of days, days of hours.
        let is_part = matches!(window, Window::Hour | Window::Day);
        if !is_part && !is_wanted(window) {
            continue;
        }
        let entering = contributions.clone().filter(move |(width, _)| *width == window).map(|(_, cell)| cell);
        let name = format!("Finest {}", window.name());
        let part = if window == Window::Day { Window::Hour } else { Window::Day };
        let parts = finer.iter().find(|(width, _)| *width == part).map(|(_, cells)| cells.clone());
        let finest = match parts {
            Some(parts) if window != Window::Hour => {
                arrange_roll_up(parts, OverTime, into_window(windows, window), Some(entering), &name)
            }
            _ => arrange_cells(entering, &name),
        };
        finer.push((window, finest.clone()));
        let present = presence.clone().map(|(_, cell)| cell).map(into_window(windows, window));
        group_cells(&mut cells, window, finest, present, |grouping| wanted(grouping, window));
    }
    cells
}

/// The cell that a cell of a shorter window is part of.
fn into_window(windows: &Windows, window: Window) -> impl Fn(Cell) -> Cell + 'static {
    let windows = windows.clone();
    move |cell| cell_of(&windows, window, cell.window_start_ms, cell.group)
}

/// The groupings of one width of window. Each is made of the coarsest that is arranged and fine enough.
fn group_cells<'scope>(
    cells: &mut KpiCells<'scope>,
    window: Window,
    finest: ArrangedCells<'scope>,
    presence: VecCollection<'scope, Epoch, Cell, TallyDiff>,
    wanted: impl Fn(Grouping) -> bool,
) {
    let name = |grouping: Grouping| format!("{} {}", grouping.name(), window.name());
    let roll_up = |parts: &ArrangedCells<'scope>, grouping: Grouping, more| {
        // What one agent does in an hour on a channel is little enough to keep every value.
        let exact = (grouping, window) == (Grouping::AgentChannel, Window::Hour);
        let how = if exact { OverGroupExactly } else { OverGroup };
        let project = move |cell: Cell| Cell { group: grouping.of(cell.group), ..cell };
        arrange_roll_up(parts.clone(), how, project, more, &name(grouping))
    };
    for grouping in [Grouping::TeamChannel, Grouping::QueueChannel].into_iter().filter(|grouping| wanted(*grouping)) {
        cells.0.push((grouping, window, roll_up(&finest, grouping, None)));
    }
    let agent_channel = wanted(Grouping::AgentChannel).then(|| roll_up(&finest, Grouping::AgentChannel, None));
    let parts = agent_channel.as_ref().unwrap_or(&finest);
    if wanted(Grouping::Channel) {
        cells.0.push((Grouping::Channel, window, roll_up(parts, Grouping::Channel, None)));
    }
    if wanted(Grouping::Agent) || wanted(Grouping::Tenant) {
        let agent = roll_up(parts, Grouping::Agent, Some(presence));
        if wanted(Grouping::Tenant) {
            cells.0.push((Grouping::Tenant, window, roll_up(&agent, Grouping::Tenant, None)));
        }
        cells.0.push((Grouping::Agent, window, agent));
    }
    cells.0.extend(agent_channel.map(|cells| (Grouping::AgentChannel, window, cells)));
}
