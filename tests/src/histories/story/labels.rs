//! What raters say afterwards: of messages, of conversations, and of what is not there.

use super::Story;
use serde_json::{Value, json};

/// Criteria of a rubric, and heads.
const LABELS: [&str; 8] = ["greets", "solves", "sentiment", "emotion", "tone", "offensive", "intent", "nonsense"];

impl Story<'_> {
    pub(super) fn label(&mut self) {
        let label = self.dice().pick(&LABELS);
        let values: &[&str] = match label {
            "sentiment" => &["negative", "neutral", "positive"],
            "emotion" | "tone" => &["anger", "joy", "optimism", "sadness", "boredom"],
            "offensive" => &["offensive", "not-offensive"],
            "intent" => &["refund", "where_is_it", "thanks"],
            "nonsense" => &["", "maybe", "5"],
            _ => &["pass", "pass", "fail", "na"],
        };
        let message = match self.dice().below(8) {
            0 | 1 => Value::Null,
            2 => "nowhere".into(),
            _ => self.known_message(),
        };
        let rater = self.dice().pick(&[Some("eve"), Some("eve"), Some("mallory"), None]);
        let agent = self.dice().chance(200).then(|| self.agent());
        let actor = self.dice().pick(&[None, Some("agent"), Some("automation"), Some("bot")]);
        let weight = self.dice().pick(&[
            Value::Null,
            Value::Null,
            json!({ "weight": "2.5" }),
            json!({ "weight": 3, "shift": "late" }),
            json!({ "shift": "late" }),
        ]);
        let mut columns = json!({ "label": label, "value": self.dice().pick(values), "message_id": message,
            "rater": rater, "agent_id": agent, "actor_type": actor, "attributes": weight });
        // Not every rater knows the conversation of a message.
        if !message.is_null() && self.dice().chance(400) {
            columns["conversation_id"] = Value::Null;
        }
        let kind = self.dice().pick(&["qa_label", "qa_label", "score_label"]);
        self.tell(kind, columns);
    }
}
