//! `topic_window`.

use bytes::Bytes;
use contactflow_schemas::facts::TopicWindow;
use contactflow_schemas::tables::Table;
use contactflow_schemas::windows::Windows;

use super::writer::TableWriter;
use super::{EncodeError, unique};

/// Encodes one partition of `topic_window`, by tenant, channel, window, start and intent.
///
/// # Errors
/// [`EncodeError::DuplicateKey`] for an intent that comes twice in a window.
pub fn encode_topics(topics: Vec<TopicWindow>, windows: &Windows, model_id: &str) -> Result<Bytes, EncodeError> {
    let table = Table::TopicWindow;
    let key = |topic: &TopicWindow| {
        let (tenant, channel) = (topic.tenant.as_str(), topic.channel.as_str());
        (tenant, channel, topic.window, topic.window_start_ms, topic.intent.as_str())
    };
    let mut rows: Vec<_> = topics.iter().map(|topic| (key(topic), topic)).collect();
    rows.sort_unstable_by_key(|&(key, _)| key);
    unique(table, rows.iter().map(|&(key, _)| key))?;

    let mut writer = TableWriter::new(table, rows.len())?;
    for ((tenant, channel, window, start_ms, intent), topic) in rows {
        writer.text(tenant);
        writer.text(channel);
        writer.text(intent);
        writer.text(window.name());
        writer.time(start_ms);
        writer.time(windows.end_ms(window, start_ms));
        writer.int(topic.messages);
        writer.float(topic.messages as f64 / topic.all_messages as f64);
        let change = topic.messages - topic.messages_before;
        writer.int(change);
        writer.float((topic.messages_before > 0).then(|| change as f64 / topic.messages_before as f64));
        writer.float(topic.negative_messages as f64 / topic.messages as f64);
        writer.text(model_id);
        writer.end_row()?;
    }
    writer.finish()
}
