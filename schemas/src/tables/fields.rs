//! The columns of every table.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};

use crate::aggregate::KPI_COLUMNS;
use crate::facts::Grouping;

/// A field under construction.
fn field(name: &str, data_type: DataType, nullable: bool, unit: &str, description: &str) -> Field {
    let mut metadata = HashMap::from([("description".to_owned(), description.to_owned())]);
    if !unit.is_empty() {
        metadata.insert("unit".to_owned(), unit.to_owned());
    }
    Field::new(name, data_type, nullable).with_metadata(metadata)
}

fn text(name: &str, description: &str) -> Field {
    field(name, DataType::Utf8, false, "", description)
}

fn optional_text(name: &str, description: &str) -> Field {
    field(name, DataType::Utf8, true, "", description)
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

fn time(name: &str, description: &str) -> Field {
    field(name, timestamp(), false, "UTC", description)
}

fn optional_time(name: &str, description: &str) -> Field {
    field(name, timestamp(), true, "UTC", description)
}

fn count(name: &str, description: &str) -> Field {
    field(name, DataType::Int64, false, "1", description)
}

fn duration(name: &str, description: &str) -> Field {
    field(name, DataType::Int64, true, "ms", description)
}

fn flag(name: &str, description: &str) -> Field {
    field(name, DataType::Boolean, false, "", description)
}

fn float(name: &str, nullable: bool, unit: &str, description: &str) -> Field {
    field(name, DataType::Float64, nullable, unit, description)
}

/// A list of structs, never null: without elements it is empty.
fn list(name: &str, description: &str, fields: Vec<Field>) -> Field {
    let element = Field::new("element", DataType::Struct(fields.into()), false);
    field(name, DataType::List(Arc::new(element)), false, "", description)
}

pub(super) fn kpi_fields(grouping: Grouping) -> Vec<Field> {
    let mut fields = vec![text("tenant_id", "Business that owns the conversations")];
    match grouping {
        Grouping::AgentChannel | Grouping::Agent => {
            fields.push(optional_text("agent_id", "Agent who is credited; null for nobody"));
        }
        Grouping::TeamChannel => fields.push(optional_text("team_id", "Team that is credited; null for none")),
        Grouping::QueueChannel => fields.push(optional_text("queue_id", "Queue of the conversation; null for none")),
        Grouping::Channel | Grouping::Tenant => {}
    }
    if grouping.by_channel() {
        fields.push(text("channel", "Channel of the conversation"));
    }
    fields.extend([
        time("window_start", "Start of the window, inclusive"),
        time("window_end", "End of the window, exclusive"),
    ]);
    fields.extend(KPI_COLUMNS.iter().map(|column| {
        let data_type = if column.float { DataType::Float64 } else { DataType::Int64 };
        field(&column.name, data_type, column.nullable, column.unit, &column.description)
    }));
    fields
}

pub(super) fn conversation_facts_fields() -> Vec<Field> {
    vec![
        text("tenant_id", "Business that owns the conversation"),
        text("conversation_id", "Conversation"),
        count("cycle", "Number of the cycle, from 1; a reopen begins the next"),
        text("channel", "Channel of the conversation"),
        time("conversation_created_at", "Creation of the conversation"),
        time("cycle_opened_at", "Opening of the cycle"),
        optional_time("cycle_resolved_at", "Resolve of the cycle"),
        text("status", "open or resolved"),
        optional_text("owner_agent_id", "Owner at the end of the cycle"),
        optional_text("resolved_by_agent_id", "Agent credited with the resolve"),
        optional_text("first_reply_agent_id", "Agent who gave the first response"),
        count("messages_inbound_count", "Public customer messages"),
        count("messages_outbound_count", "Public messages of agents and bots"),
        count("messages_private_count", "Private notes"),
        count("replies_count", "Public human replies"),
        count("eligible_turns_count", "Customer messages that can be scored"),
        optional_time("first_customer_message_at", "First customer message of the cycle"),
        optional_time("first_reply_at", "Reply that ended first_response_time"),
        duration("first_response_time_ms", "First customer message, or a later bot handoff, to the first human reply"),
        count("reply_time_count", "Reply times closed in this cycle"),
        duration("reply_time_sum_ms", "Their sum"),
        duration("cycle_resolution_time_ms", "Opening of the cycle to its resolve"),
        duration("full_resolution_time_ms", "Creation to the last resolve, on the last cycle while it is resolved"),
        field("turns", DataType::Int64, true, "1", "Speaker runs before the conversation's last resolve"),
        count("csat_count", "Ratings that stand, given in this cycle"),
        float("csat_sum", true, "rating 1..5", "Their sum"),
        flag("agent_first", "The first public message was an agent's reply"),
        flag("out_of_order", "An event lies before one it should follow"),
        flag("silent", "Counted in silent_dialogue_count"),
        flag("reopened", "The cycle began with a reopen"),
        flag("spam", "Marked as spam: counts in no KPI"),
        flag("merged", "Merged into another conversation: counts in no KPI, its events count there"),
        optional_text("merged_into", "The conversation it was merged into"),
        flag("one_touch", "Resolved with exactly one reply and not reopened within 7 days"),
        flag("handed_off", "A bot gave up to a human"),
        optional_text("contact_id", "Customer"),
        optional_text("team_id", "Team at the end of the cycle"),
        optional_text("queue_id", "Queue at the end of the cycle"),
        duration("first_response_time_business_ms", "First response time in business time"),
        duration("cycle_resolution_time_business_ms", "Opening of the cycle to its resolve in business time"),
        duration("full_resolution_time_business_ms", "Creation to the last resolve in business time"),
    ]
}

pub(super) fn message_scores_fields() -> Vec<Field> {
    vec![
        text("tenant_id", "Business that owns the conversation"),
        text("conversation_id", "Conversation"),
        count("cycle", "Cycle the message belongs to"),
        text("message_id", "Message"),
        text("source", "Source system of the event that created the message"),
        text("event_id", "That event"),
        time("sent_at", "When it was sent"),
        text("channel", "Channel of the conversation"),
        optional_text("agent_id", "Agent in charge, or the author of an agent's message"),
        text("speaker", "customer or agent"),
        optional_text("sentiment", "negative, neutral or positive; null when the model failed"),
        float("sentiment_score", true, "score -1..1", "Probability of positive minus probability of negative"),
        float("probability_negative", true, "ratio 0..1", "Calibrated probability"),
        float("probability_neutral", true, "ratio 0..1", "Calibrated probability"),
        float("probability_positive", true, "ratio 0..1", "Calibrated probability"),
        optional_text("emotion", "anger, joy, optimism or sadness; null without such a head for the language"),
        float("probability_anger", true, "ratio 0..1", "Calibrated probability"),
        float("probability_joy", true, "ratio 0..1", "Calibrated probability"),
        float("probability_optimism", true, "ratio 0..1", "Calibrated probability"),
        float("probability_sadness", true, "ratio 0..1", "Calibrated probability"),
        float("probability_offensive", true, "ratio 0..1", "Calibrated probability; null without such a head"),
        optional_text("intent", "What the message is about; null without such a head for the language"),
        float("probability_intent", true, "ratio 0..1", "Calibrated probability of the intent"),
        list(
            "highlights",
            "The tokens that drove the sentiment, in the order of the text",
            vec![
                count("char_start", "First character of the token, from 0"),
                count("char_end", "One past its last character"),
                float("weight", false, "score -1..1", "How much it moved the sentiment score"),
            ],
        ),
        optional_text("error", "Why the model could not score the message"),
        text("model_id", "Model that scored it"),
    ]
}

pub(super) fn conversation_scores_fields() -> Vec<Field> {
    vec![
        text("tenant_id", "Business that owns the conversation"),
        text("conversation_id", "Conversation"),
        count("cycle", "Cycle of the conversation"),
        text("channel", "Channel of the conversation"),
        count("scored_turns_count", "Customer messages with a score"),
        float("sentiment_mean", false, "score -1..1", "Mean sentiment of the scored customer messages"),
        float("negative_turn_ratio", false, "ratio 0..1", "Share of them that are negative"),
        float("sentiment_first", false, "score -1..1", "Sentiment of the first of them"),
        float("sentiment_last", false, "score -1..1", "Sentiment of the last of them"),
        float(
            "sentiment_shift",
            false,
            "score -2..2",
            "Mean of the last quarter of turns minus mean of the first quarter",
        ),
        float(
            "quality_score",
            true,
            "ratio 0..1",
            "Half the expected class: 0 dissatisfied, 1/2 neutral, 1 satisfied; null before all is scored",
        ),
        list(
            "attention",
            "The turns that drove quality_score, in order; their weights add up to 1",
            vec![
                text("event_id", "Event that created the message"),
                time("sent_at", "When it was sent"),
                float("weight", false, "ratio 0..1", "How much it counted"),
            ],
        ),
        optional_text("quality_error", "Why the model could not score the conversation"),
        text("model_id", "Model that scored them"),
    ]
}

pub(super) fn topic_window_fields() -> Vec<Field> {
    vec![
        text("tenant_id", "Business that owns the conversations"),
        text("channel", "Channel of the conversations"),
        text("intent", "What the customer messages are about"),
        text("window", "day, week or month"),
        time("window_start", "Start of the window, inclusive"),
        time("window_end", "End of the window, exclusive"),
        count("messages_count", "Customer messages of this intent"),
        float(
            "share_ratio",
            false,
            "ratio 0..1",
            "Share of the customer messages on the channel whose intent is known",
        ),
        field("change_count", DataType::Int64, false, "1", "messages_count less that of the window before"),
        float("change_ratio", true, "1", "change_count / messages_count of the window before; null where that is 0"),
        float("negative_ratio", false, "ratio 0..1", "Share of the messages of this intent that are negative"),
        text("model_id", "Model that scored the messages"),
    ]
}

pub(super) fn model_eval_fields() -> Vec<Field> {
    vec![
        text("tenant_id", "Business that owns the conversations"),
        text("head", "Head: sentiment, emotion, offensive or intent"),
        optional_text("class", "Class the row is about; null for all of them together"),
        time("window_start", "Start of the day in which the labels were given, inclusive"),
        time("window_end", "End of that day, exclusive"),
        count("n", "Labels compared; of a class, those that name it"),
        count("predicted_count", "Messages that the head gives the class"),
        count("correct_count", "Messages on which label and head agree"),
        float("accuracy", true, "ratio 0..1", "correct_count / n over all classes; null for one class"),
        float("precision", true, "ratio 0..1", "correct / predicted; over all classes, the mean of theirs"),
        float("recall", true, "ratio 0..1", "correct / n; over all classes, the mean of theirs"),
        float("f1", true, "ratio 0..1", "Harmonic mean of precision and recall; over all classes, the mean of theirs"),
        text("model_id", "Model that was compared"),
    ]
}

pub(super) fn anomaly_scores_fields() -> Vec<Field> {
    vec![
        text("tenant_id", "Business"),
        text("entity", "channel or agent_channel: what the series is of"),
        text("channel", "Channel"),
        optional_text("agent_id", "Agent, for agent_channel"),
        text("kpi", "KPI column the series is of"),
        time("window_start", "Start of the window, inclusive"),
        time("window_end", "End of the window, exclusive"),
        float("observed", true, "of the KPI", "Value in the window; null when the window has none"),
        float("expected", false, "of the KPI", "Seasonal expectation from earlier windows"),
        float("lower", false, "of the KPI", "Lower bound of the normal range"),
        float("upper", false, "of the KPI", "Upper bound of the normal range"),
        float("score", false, "ratio 0..1", "0 normal, 1 certainly not"),
        text("method", "Detector"),
        text("model_id", "Detector and its version"),
    ]
}

pub(super) fn rejected_events_fields() -> Vec<Field> {
    vec![
        text("source_file", "File or partition the row was read from"),
        field("source_row", DataType::Int64, false, "1", "Row of the file, from 1, or offset in the partition"),
        text("reason", "Reason code"),
        text("field", "Column at fault; empty for the row as a whole"),
        text("message", "What was expected and what was found"),
        optional_text("tenant_id", "Tenant, where it could be read"),
        optional_text("source", "Source system, where it could be read"),
        optional_text("event_id", "Event id, where it could be read"),
        optional_text("raw", "The row as it came, cut at 8 KiB"),
    ]
}

pub(super) fn dimensions_fields() -> Vec<Field> {
    vec![
        text("tenant_id", "Business"),
        text("dimension", "agent, calendar or sla_policy"),
        text("id", "agent_id, calendar_id or policy_id"),
        time("valid_from", "From when this version is in force"),
        optional_time("valid_to", "Until when; null for the last version"),
        text("attributes", "What it states, as a JSON object"),
        text("source", "Source system of the event that states it"),
        text("event_id", "That event"),
    ]
}

pub(super) fn restatements_fields() -> Vec<Field> {
    vec![
        field("commit", DataType::Int64, false, "1", "Commit that changed the value"),
        text("table", "Table of the value"),
        text("tenant_id", "Business"),
        optional_text("agent_id", "Agent of the row, where the table has agents"),
        optional_text("team_id", "Team of the row, where the table has teams"),
        optional_text("queue_id", "Queue of the row, where the table has queues"),
        optional_text("channel", "Channel of the row, where the table has channels"),
        time("window_start", "Window of the row"),
        text("column", "Column of the value"),
        float("old", true, "of the column", "Value published before; null for none"),
        float("new", true, "of the column", "Value published by the commit; null for none"),
        text("cause", "events, prediction, time (a deadline passed) or unknown"),
        count("cause_events_count", "Events that caused the change"),
        optional_text("cause_events", "The first of them, as a JSON list of [source, event_id]"),
    ]
}

pub(super) fn commits_fields() -> Vec<Field> {
    vec![
        field("commit", DataType::Int64, false, "1", "Number of the commit, from 1"),
        field("epoch", DataType::Int64, false, "1", "Dataflow epoch it is consistent with"),
        time("committed_at", "Wall clock of the commit"),
        optional_time("as_of", "Latest event time it knows"),
        count("source_files_count", "Source files read so far"),
        field("source_bytes", DataType::Int64, false, "bytes", "Their size"),
        count("rows_read_count", "Rows read so far"),
        count("restated_cells_count", "Values of closed windows that this commit changed"),
        count("files_written_count", "Files written by this commit"),
        count("files_removed_count", "Files removed by this commit"),
        count("rows_written_count", "Rows in the files written"),
        field("bytes_written", DataType::Int64, false, "bytes", "Size of the files written"),
        field("duration_ms", DataType::Int64, false, "ms", "From the end of computing to the manifest"),
    ]
}
