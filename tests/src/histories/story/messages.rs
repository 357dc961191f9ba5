//! What is written: messages of everyone, and what becomes of them.

use super::Story;
use crate::histories::dimensions::TARGETS;
use crate::model::DAY_MS;
use serde_json::{Value, json};

/// Texts, among them some without words, one that the fake model fails on, one that it never answers, and one of every emotion.
const TEXTS: [&str; 9] =
    ["where is my order?", "thanks", "", "   ", "你好", "it is broken", "still waiting", "great work", "see you soon"];

impl Story<'_> {
    fn message(&mut self, mut columns: Value) {
        let is_second = !self.message_ids.is_empty() && self.dice().chance(40);
        let id = if is_second {
            self.known_message()
        } else {
            // Ids are unique within the conversation only.
            Value::from(format!("m{}", self.message_ids.len()))
        };
        self.message_ids.extend(id.as_str().map(str::to_owned));
        columns["message_id"] = if self.dice().chance(60) { Value::Null } else { id };
        columns["text"] = self.text();
        self.tell("message_created", columns);
    }

    fn text(&mut self) -> Value {
        if self.dice().chance(150) { Value::Null } else { self.dice().pick(&TEXTS).into() }
    }

    /// The id of a message told already, if there is one.
    pub(super) fn known_message(&mut self) -> Value {
        let count = self.message_ids.len() as u64;
        let index = self.world.dice.below(count) as usize;
        self.message_ids.get(index).cloned().into()
    }

    pub(super) fn customer_message(&mut self) {
        let columns = self.dice().weighted(&[
            (6, json!({ "actor_type": "customer", "actor_id": "u1", "direction": "inbound", "visibility": "public" })),
            (2, json!({ "actor_type": "customer" })),
            (1, json!({ "direction": "inbound" })),
            (1, json!({ "actor_type": "customer", "direction": "outbound" })),
        ]);
        let (usual, other) = (self.world.target, self.dice().pick(&TARGETS));
        let due = self.dice().pick(&[DAY_MS, other, usual, usual, usual / 5 * 4, usual / 5 * 4]);
        self.due_in(due);
        self.message(columns);
    }

    pub(super) fn agent_message(&mut self) {
        let agent = self.agent();
        let columns = self.dice().weighted(&[
            (6, json!({ "actor_type": "agent", "direction": "outbound", "visibility": "public", "actor_id": agent })),
            (2, json!({ "actor_type": "agent", "actor_id": agent })),
            (1, json!({ "direction": "outbound", "actor_id": agent })),
            (1, json!({ "actor_type": "agent", "direction": "inbound", "actor_id": agent })),
        ]);
        self.message(columns);
    }

    /// Messages that are neither a customer's nor a reply.
    pub(super) fn other_message(&mut self) {
        let columns = self.dice().weighted(&[
            (3, json!({ "actor_type": "bot", "direction": "outbound", "actor_id": "robot" })),
            (2, json!({ "actor_type": "bot", "content_type": "fallback" })),
            (1, json!({ "actor_type": "automation", "direction": "outbound", "actor_id": "ann" })),
            (1, json!({ "actor_type": "system", "direction": "outbound", "content_type": "fallback" })),
            (1, json!({ "direction": "outbound" })),
            (1, json!({ "actor_id": "ann" })),
        ]);
        self.message(columns);
    }

    pub(super) fn private_message(&mut self) {
        let agent = self.agent();
        let columns = self.dice().weighted(&[
            (4, json!({ "actor_type": "agent", "direction": "outbound", "visibility": "private", "actor_id": agent })),
            (1, json!({ "actor_type": "customer", "direction": "inbound", "visibility": "private" })),
            (1, json!({ "actor_type": "bot", "visibility": "private", "content_type": "fallback" })),
        ]);
        self.message(columns);
    }

    pub(super) fn deletion(&mut self) {
        let message = if self.dice().chance(120) { "nowhere".into() } else { self.known_message() };
        let reason = self.dice().pick(&[Some("not_delivered"), Some("regretted"), None]);
        if !message.is_null() {
            self.tell("message_deleted", json!({ "message_id": message, "reason": reason }));
        }
    }

    pub(super) fn edit(&mut self) {
        let message = if self.dice().chance(120) { "nowhere".into() } else { self.known_message() };
        let text = self.text();
        if !message.is_null() {
            self.tell("message_edited", json!({ "message_id": message, "text": text }));
        }
    }

    pub(super) fn handoff(&mut self) {
        let reason = self.dice().pick(&[None, Some("fallback"), Some("asked for a human")]);
        self.tell("bot_handoff", json!({ "actor_type": "bot", "reason": reason }));
    }
}
