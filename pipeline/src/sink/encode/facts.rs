//! `conversation_facts`.

use bytes::Bytes;
use contactflow_schemas::facts::CycleFacts;
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::tables::Table;

use super::writer::TableWriter;
use super::{EncodeError, unique};

/// Millionths to units; null where nothing was rated.
fn csat_sum(facts: &CycleFacts) -> Option<f64> {
    (facts.csat_count != 0).then(|| facts.csat_sum_millionths as f64 / 1e6)
}

/// Encodes the cycles of one partition of `conversation_facts`, by tenant, conversation, cycle.
///
/// # Errors
/// [`EncodeError::DuplicateKey`] for a cycle that comes twice.
pub fn encode_facts(facts: Vec<CycleFacts>) -> Result<Bytes, EncodeError> {
    let table = Table::ConversationFacts;
    let key = |facts: &CycleFacts| {
        (facts.conversation.tenant.as_str(), facts.conversation.conversation.as_str(), facts.cycle)
    };
    let mut rows: Vec<_> = facts.iter().map(|facts| (key(facts), facts)).collect();
    rows.sort_unstable_by_key(|&(key, _)| key);
    unique(table, rows.iter().map(|&(key, _)| key))?;

    let mut writer = TableWriter::new(table, rows.len())?;
    for ((tenant, conversation, cycle), facts) in rows {
        writer.text(tenant);
        writer.text(conversation);
        writer.int(cycle);
        write_rest(&mut writer, facts);
        writer.end_row()?;
    }
    writer.finish()
}

/// The columns after the key.
fn write_rest(writer: &mut TableWriter, facts: &CycleFacts) {
    writer.text(facts.channel.as_str());
    writer.time(facts.conversation_created_ms);
    writer.time(facts.opened_ms);
    writer.time(facts.resolved_ms);
    writer.text(if facts.resolved_ms.is_some() { "resolved" } else { "open" });
    writer.text(facts.owner.map(Symbol::as_str));
    writer.text(facts.resolved_by.map(Symbol::as_str));
    writer.text(facts.first_reply_agent.map(Symbol::as_str));
    writer.int(facts.messages_inbound);
    writer.int(facts.messages_outbound);
    writer.int(facts.messages_private);
    writer.int(facts.replies);
    writer.int(facts.eligible_turns);
    writer.time(facts.first_customer_message_ms);
    writer.time(facts.first_reply_ms);
    writer.int(facts.first_response_time_ms);
    writer.int(facts.reply_time_count);
    writer.int((facts.reply_time_count != 0).then_some(facts.reply_time_sum_ms));
    writer.int(facts.cycle_resolution_time_ms);
    writer.int(facts.full_resolution_time_ms);
    writer.int(facts.turns);
    writer.int(facts.csat_count);
    writer.float(csat_sum(facts));
    writer.flag(facts.agent_first);
    writer.flag(facts.out_of_order);
    writer.flag(facts.silent);
    writer.flag(facts.cycle > 1);
    writer.flag(facts.spam);
    writer.flag(facts.merged_into.is_some());
    writer.text(facts.merged_into.map(Symbol::as_str));
    writer.flag(facts.one_touch);
    writer.flag(facts.handed_off);
    writer.text(facts.contact.map(Symbol::as_str));
    writer.text(facts.team.map(Symbol::as_str));
    writer.text(facts.queue.map(Symbol::as_str));
    writer.int(facts.first_response_time_business_ms);
    writer.int(facts.cycle_resolution_time_business_ms);
    writer.int(facts.full_resolution_time_business_ms);
}
