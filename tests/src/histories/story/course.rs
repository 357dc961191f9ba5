//! The course of a conversation: statuses, resolves and returns, promises, surveys, spam and merges.

use super::Story;
use crate::histories::dimensions::POLICIES;
use crate::model::{DAY_MS, HOUR_MS};
use serde_json::{Value, json};

impl Story<'_> {
    pub(super) fn resolve(&mut self) {
        let agent = self.agent();
        let mut columns = self.dice().weighted(&[
            (4, json!({ "actor_type": "agent", "actor_id": agent })),
            (1, json!({ "actor_id": agent })),
            (1, json!({ "actor_type": "bot", "actor_id": "robot" })),
            (1, json!({ "actor_type": "customer", "actor_id": "u1" })),
            (1, json!({ "actor_type": "system" })),
            (1, json!({})),
        ]);
        columns["to_status"] = self.dice().pick(&["resolved", "resolved", "closed"]).into();
        self.world.weeks.push(self.now + 7 * DAY_MS);
        self.world.resolves.push(self.now);
        self.tell("status_changed", columns);
    }

    /// A resolve, and what reopens it, often around the last moment that counts.
    pub(super) fn come_back(&mut self) {
        self.resolve();
        let week = 7 * DAY_MS;
        self.now += match self.dice().below(8) {
            0..4 => 60_000,
            4 => 25 * HOUR_MS,
            5 if self.now < self.world.start + 9 * DAY_MS => week + self.dice().pick(&[-1, 0, 1]),
            _ => HOUR_MS,
        };
        if self.dice().chance(500) { self.customer_message() } else { self.other_status() }
    }

    pub(super) fn other_status(&mut self) {
        let agent = self.agent();
        let to = self.dice().pick(&["new", "open", "open", "pending", "pending", "on_hold", "on_hold", "snoozed"]);
        self.tell("status_changed", json!({ "actor_type": "agent", "actor_id": agent, "to_status": to }));
    }

    /// A policy begins or ends to hold.
    pub(super) fn promise(&mut self) {
        let policy = self.dice().pick(&POLICIES);
        if self.dice().chance(700) {
            self.tell("sla_applied", json!({ "policy_id": policy }));
        } else {
            let named = self.dice().chance(600).then_some(policy);
            self.tell("sla_removed", json!({ "policy_id": named }));
        }
    }

    /// A survey is sent, rated, or rated again.
    pub(super) fn survey(&mut self) {
        let survey = self.dice().pick(&[None, Some("s1"), Some("s1"), Some("s2")]);
        let agent = self.agent();
        let agent = self.dice().chance(500).then_some(agent);
        if self.dice().chance(300) {
            self.tell("csat_sent", json!({ "survey_id": survey, "agent_id": agent }));
            return;
        }
        let scale =
            self.dice().weighted(&[(4, Value::Null), (3, 5.into()), (1, 2.into()), (1, 7.into()), (1, 10.into())]);
        let rating = 1 + self.dice().below(scale.as_u64().unwrap_or(5));
        let columns = json!({
            "rating": rating, "rating_scale": scale, "survey_id": survey, "agent_id": agent, "actor_type": "customer",
        });
        self.tell("csat_rated", columns);
    }

    pub(super) fn mark(&mut self) {
        let kind = self.dice().weighted(&[(4, "spam_marked"), (5, "spam_cleared")]);
        self.tell(kind, json!({}));
    }

    /// The conversation goes into another one, into itself, or into one that nobody knows.
    pub(super) fn merge(&mut self) {
        let own = self.id.clone();
        let target = self.dice().pick(&["c0", "c0", "c1", "c1", "c2", "c3", "c9", &own]).to_owned();
        self.tell("merged", json!({ "target_conversation_id": target }));
    }

    pub(super) fn tag(&mut self) {
        self.tell("tagged", json!({ "label": "vip" }));
    }
}
