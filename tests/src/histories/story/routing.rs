//! Who has the conversation: owners, teams, transfers and queues.

use super::Story;
use crate::histories::dimensions::{QUEUES, TEAMS};
use crate::model::HOUR_MS;
use serde_json::json;

/// Waits around those that count as short and as within the service level.
const WAITS: [i64; 10] = [0, 4_999, 5_000, 5_001, 12_000, 19_999, 20_000, 20_001, 60_000, HOUR_MS];

impl Story<'_> {
    pub(super) fn assignment(&mut self) {
        let agent = self.agent();
        let agent = (!self.dice().chance(200)).then_some(agent);
        let team = self.dice().chance(350).then(|| self.dice().pick(&TEAMS));
        self.tell("assigned", json!({ "agent_id": agent, "team_id": team }));
    }

    pub(super) fn transfer(&mut self) {
        let (from, agent) = (self.agent(), self.agent());
        let columns = self.dice().weighted(&[
            (3, json!({ "transfer_kind": "warm", "from_agent_id": from, "agent_id": agent })),
            (2, json!({ "transfer_kind": "cold", "agent_id": agent })),
            (1, json!({ "transfer_kind": "external", "from_agent_id": from })),
            (1, json!({ "transfer_kind": "external", "agent_id": agent })),
            (1, json!({ "transfer_kind": "cold" })),
            (1, json!({ "agent_id": agent })),
        ]);
        self.tell("transferred", columns);
    }

    /// A customer waits, and something comes of it.
    pub(super) fn queue_visit(&mut self) {
        if !self.dice().chance(120) {
            self.enqueue();
        }
        match self.dice().below(10) {
            // The call that follows may answer it.
            0..2 => self.call(),
            2 => self.enqueue(),
            3 => self.resolve(),
            4 => {}
            _ => self.dequeue(),
        }
    }

    /// `queued`, and the wait that follows.
    pub(super) fn enqueue(&mut self) {
        let queue = self.dice().pick(&[Some(QUEUES[0]), Some(QUEUES[0]), Some(QUEUES[1]), None]);
        self.tell("queued", json!({ "queue_id": queue }));
        self.due_in(5_000);
        self.due_in(20_000);
        self.now += self.dice().pick(&WAITS);
    }

    fn dequeue(&mut self) {
        let agent = self.agent();
        let columns = self.dice().weighted(&[
            (2, json!({ "reason": "answered", "agent_id": agent })),
            (2, json!({ "reason": "answered", "actor_type": "agent", "actor_id": agent })),
            (1, json!({ "reason": "answered" })),
            (7, json!({ "reason": "abandoned", "actor_type": "customer" })),
            (1, json!({ "reason": "callback" })),
            (1, json!({ "reason": "flow_out" })),
            (1, json!({})),
        ]);
        self.tell("dequeued", columns);
    }
}
