//! What one thing adds to the tables of KPIs.

use super::heads::Scores;

/// Whom, and what else, something is credited to (rule 27).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group<'a> {
    pub(super) tenant: &'a str,
    /// `None` for what belongs to no channel: it is in the tables by agent and by tenant only.
    pub(super) channel: Option<&'a str>,
    pub(super) agent: Option<&'a str>,
    pub(super) team: Option<&'a str>,
    pub(super) queue: Option<&'a str>,
}

/// Something that counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contribution<'a> {
    pub(super) group: Group<'a>,
    pub(super) when: When,
    pub(super) what: What,
}

/// In which windows something counts.
#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    /// In the window of this instant.
    At(i64),
    /// In the window of the first instant, if it ends before the second or at it.
    Unless(i64, i64),
    /// In every window at whose end, or at as_of in its window, the instant is from the first and before the second.
    Level(i64, Option<i64>),
}

/// What counts.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// So much more in a column that is a sum.
    Sum(&'static str, i64),
    /// A value of a duration: calendar time, and business time if it exists.
    Duration(&'static str, i64, Option<i64>),
    /// A value of a plain quantity.
    Plain(&'static str, i64),
    /// A rating in millionths.
    Rating(i64),
    /// The scores of a customer message.
    Scored(Scores),
    /// The shift of sentiment in a cycle, in millionths.
    Shift(i64),
    /// The quality of a cycle, in 1/10,000.
    Quality(i32),
    /// How long somebody has been waiting.
    OpenWait(i64),
    /// How late an event came.
    Lateness(i64),
}

/// Collects contributions.
pub(super) struct Collector<'a> {
    pub(super) found: Vec<Contribution<'a>>,
}

impl<'a> Collector<'a> {
    /// Something in the window of an instant.
    pub(super) fn add(&mut self, group: Group<'a>, time: i64, what: What) {
        self.found.push(Contribution { group, when: When::At(time), what });
    }

    /// One more in a column.
    pub(super) fn count(&mut self, group: Group<'a>, time: i64, column: &'static str) {
        self.add(group, time, What::Sum(column, 1));
    }

    /// One more in a level from an instant to another.
    pub(super) fn level(&mut self, group: Group<'a>, from: i64, until: Option<i64>, column: &'static str) {
        self.found.push(Contribution { group, when: When::Level(from, until), what: What::Sum(column, 1) });
    }
}
