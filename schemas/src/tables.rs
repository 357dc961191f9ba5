//! Arrow schemas of the tables, with units and descriptions in the field metadata.

mod fields;

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{Schema, SchemaRef};

use crate::clock::Window;
use crate::facts::Grouping;

/// A table of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// KPIs per tenant, group and window.
    Kpi(Grouping, Window),
    /// One row per conversation cycle.
    ConversationFacts,
    /// One row per scored message.
    MessageScores,
    /// The same by the model that is not published yet.
    CandidateScores,
    /// One row per scored conversation cycle.
    ConversationScores,
    /// The same by the model that is not published yet.
    CandidateConversationScores,
    /// One row per intent, channel and window.
    TopicWindow,
    /// One row per head, day and class.
    ModelEval,
    /// One row per scored KPI window.
    AnomalyScores,
    /// One row per input row that could not be used.
    RejectedEvents,
    /// One row per version of an agent, calendar or policy.
    Dimensions,
    /// One row per changed value of a closed window.
    Restatements,
    /// One row per commit.
    Commits,
}

impl Table {
    /// Every table.
    pub fn all() -> impl Iterator<Item = Table> {
        let kpis =
            Grouping::ALL.into_iter().flat_map(|grouping| Window::ALL.map(|window| Table::Kpi(grouping, window)));
        kpis.chain([
            Table::ConversationFacts,
            Table::MessageScores,
            Table::CandidateScores,
            Table::ConversationScores,
            Table::CandidateConversationScores,
            Table::TopicWindow,
            Table::ModelEval,
            Table::AnomalyScores,
            Table::RejectedEvents,
            Table::Dimensions,
            Table::Restatements,
            Table::Commits,
        ])
    }

    /// True for tables that tell how the others came about: they grow with every commit.
    pub fn is_history(self) -> bool {
        matches!(self, Self::Commits | Self::Restatements)
    }

    /// True for tables that are cut by day, with the partition column `date`.
    pub fn is_dated(self) -> bool {
        !matches!(self, Self::RejectedEvents | Self::Dimensions | Self::Restatements | Self::Commits)
    }

    /// The folder below the root.
    pub fn name(self) -> &'static str {
        match self {
            Table::Kpi(grouping, window) => kpi_table_name(grouping, window),
            Table::ConversationFacts => "conversation_facts",
            Table::MessageScores => "message_scores",
            Table::CandidateScores => "candidate_scores",
            Table::ConversationScores => "conversation_scores",
            Table::CandidateConversationScores => "candidate_conversation_scores",
            Table::TopicWindow => "topic_window",
            Table::ModelEval => "model_eval",
            Table::AnomalyScores => "anomaly_scores",
            Table::RejectedEvents => "rejected_events",
            Table::Dimensions => "dimensions",
            Table::Restatements => "restatements",
            Table::Commits => "commits",
        }
    }

    /// Its Arrow schema, without the partition column `date`.
    pub fn schema(self) -> SchemaRef {
        // Hundreds of columns with descriptions: made once, not per file.
        static SCHEMAS: LazyLock<Vec<(Table, SchemaRef)>> =
            LazyLock::new(|| Table::all().map(|table| (table, table.make_schema())).collect());
        let known = SCHEMAS.iter().find(|(table, _)| *table == self);
        known.map_or_else(|| self.make_schema(), |(_, schema)| Arc::clone(schema))
    }

    fn make_schema(self) -> SchemaRef {
        let fields = match self {
            Table::Kpi(grouping, _) => fields::kpi_fields(grouping),
            Table::ConversationFacts => fields::conversation_facts_fields(),
            Table::MessageScores | Table::CandidateScores => fields::message_scores_fields(),
            Table::ConversationScores | Table::CandidateConversationScores => fields::conversation_scores_fields(),
            Table::TopicWindow => fields::topic_window_fields(),
            Table::ModelEval => fields::model_eval_fields(),
            Table::AnomalyScores => fields::anomaly_scores_fields(),
            Table::RejectedEvents => fields::rejected_events_fields(),
            Table::Dimensions => fields::dimensions_fields(),
            Table::Restatements => fields::restatements_fields(),
            Table::Commits => fields::commits_fields(),
        };
        Arc::new(Schema::new(fields))
    }
}

/// `kpi_<grouping>_<window>`.
fn kpi_table_name(grouping: Grouping, window: Window) -> &'static str {
    static NAMES: LazyLock<Vec<(Grouping, Window, String)>> = LazyLock::new(|| {
        let name = |grouping: Grouping, window: Window| format!("kpi_{}_{}", grouping.name(), window.name());
        let of = |grouping| Window::ALL.map(|window| (grouping, window, name(grouping, window)));
        Grouping::ALL.into_iter().flat_map(of).collect()
    });
    let found = NAMES.iter().find(|(known, width, _)| (*known, *width) == (grouping, window));
    found.map_or("kpi", |(_, _, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_described_and_named_once() {
        for table in Table::all() {
            let schema = table.schema();
            for (position, field) in schema.fields().iter().enumerate() {
                assert!(field.metadata().contains_key("description"), "{}.{}", table.name(), field.name());
                assert_eq!(schema.index_of(field.name()).unwrap(), position, "{}.{}", table.name(), field.name());
            }
        }
    }
}
