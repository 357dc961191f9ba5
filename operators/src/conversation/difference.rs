//! The difference of two views of a conversation, in the form the downstream collections want.

use contactflow_schemas::catalogue::contribute;
use contactflow_schemas::event::ConversationKey;
use contactflow_schemas::facts::{Cell, CycleFacts, Group, LabelledText, Turn};
use contactflow_schemas::reject::Reject;
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::windows::{Window, Windows};

use super::view::{Credited, LevelChange, View, Wait};
use super::{LevelKey, LevelUpdate, VisitUpdate, WaitUpdate};
use crate::causes::EventRef;
use crate::cells::cell_of;
use crate::difference::TallyDiff;
use crate::gains::Gains;

/// Differences of many views, collected over one epoch.
#[derive(Default)]
pub struct Differences {
    /// Rows of conversation_facts.
    pub facts: Vec<(CycleFacts, isize)>,
    /// Messages to score.
    pub turns: Vec<(Turn, isize)>,
    /// Messages whose true class somebody has told.
    pub labelled: Vec<(LabelledText, isize)>,
    /// Rows of rejected_events.
    pub rejects: Vec<(Reject, isize)>,
    /// Levels.
    pub levels: Vec<LevelUpdate>,
    /// Customers who wait.
    pub waits: Vec<WaitUpdate>,
    /// What conversations are to the others of their contact.
    pub visits: Vec<VisitUpdate>,
    /// What the finest cells gain.
    cells: Gains<(Window, Cell)>,
}

impl Differences {
    /// Adds the difference between two views of one conversation.
    pub fn add(&mut self, windows: &Windows, key: ConversationKey, before: View, after: View, events: &[EventRef]) {
        self.credits(windows, key, &before, -1);
        self.credits(windows, key, &after, 1);
        // What both views have cancels here, so that downstream only sees what changed.
        replace(before.facts, after.facts, &mut self.facts);
        replace(before.turns, after.turns, &mut self.turns);
        replace(before.labelled, after.labelled, &mut self.labelled);
        replace(before.rejects, after.rejects, &mut self.rejects);
        if before.levels != after.levels || before.channel != after.channel {
            self.levels(key, before.channel, before.levels, -1);
            self.levels(key, after.channel, after.levels, 1);
        }
        if before.wait != after.wait || before.channel != after.channel {
            self.wait(key, before.channel, before.wait, -1);
            self.wait(key, after.channel, after.wait, 1);
        }
        if before.visit != after.visit {
            let update = |visit, diff| VisitUpdate { tenant: key.tenant, visit, diff, events: events.to_vec() };
            self.visits.extend(before.visit.map(|visit| update(visit, -1)));
            self.visits.extend(after.visit.map(|visit| update(visit, 1)));
        }
    }

    /// The contributions to the finest cells, summed up and without zeros.
    pub fn take_cells(&mut self) -> impl Iterator<Item = ((Window, Cell), TallyDiff)> + use<> {
        self.cells.take()
    }

    fn credits(&mut self, windows: &Windows, key: ConversationKey, view: &View, sign: i64) {
        let Some(channel) = view.channel else { return };
        for credit in &view.credits {
            let group = group(key, channel, credit.credited);
            let cell = (credit.window, cell_of(windows, credit.window, credit.time_ms, group));
            contribute(credit.kpi, credit.value, credit.business_ms, sign, self.cells.of(cell));
        }
    }

    fn levels(&mut self, key: ConversationKey, channel: Option<Symbol>, levels: Vec<LevelChange>, sign: i64) {
        let Some(channel) = channel else { return };
        self.levels.extend(levels.into_iter().map(|level| {
            let level_key = LevelKey { group: group(key, channel, level.credited), kpi: level.kpi };
            (level_key, level.time_ms, sign * level.delta)
        }));
    }

    fn wait(&mut self, key: ConversationKey, channel: Option<Symbol>, wait: Option<Wait>, sign: i64) {
        let Some((channel, wait)) = channel.zip(wait) else { return };
        self.waits.push((group(key, channel, wait.credited), wait.since_ms, sign));
    }
}

pub(super) fn group(key: ConversationKey, channel: Symbol, credited: Credited) -> Group {
    let Credited { agent, team, queue } = credited;
    Group { tenant: key.tenant, channel: Some(channel), agent, team, queue }
}

/// Emits −1 for what is gone and +1 for what is new; rows of a view are few.
fn replace<D: Ord>(mut before: Vec<D>, mut after: Vec<D>, out: &mut Vec<(D, isize)>) {
    if before == after {
        return;
    }
    before.sort_unstable();
    after.sort_unstable();
    let (mut before, mut after) = (before.into_iter().peekable(), after.into_iter().peekable());
    loop {
        let order = match (before.peek(), after.peek()) {
            (Some(left), Some(right)) => left.cmp(right),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => return,
        };
        match order {
            std::cmp::Ordering::Less => out.extend(before.next().map(|row| (row, -1))),
            std::cmp::Ordering::Greater => out.extend(after.next().map(|row| (row, 1))),
            std::cmp::Ordering::Equal => {
                before.next();
                after.next();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::replace;

    #[test]
    fn only_what_changed_is_sent() {
        let mut out = Vec::new();
        replace(vec![3, 1, 2], vec![2, 4, 1, 1], &mut out);
        assert_eq!(out, vec![(1, 1), (3, -1), (4, 1)]);
    }
}
