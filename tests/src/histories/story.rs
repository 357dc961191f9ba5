//! One conversation as it might happen, events in order of telling. Times are integer milliseconds here; how they are
//! written is a matter of delivery.

use super::dice::Dice;
use super::{START_MS, World};
use crate::model::{DAY_MS, HOUR_MS};
use serde_json::{Map, Value, json};

const AGENTS: [&str; 3] = ["ann", "bob", "cleo"];
/// Types that belong to no conversation.
pub(super) const DIMENSIONS: [&str; 4] = ["agent_upserted", "agent_status_changed", "qa_label", "calendar_upserted"];
const TEXTS: [&str; 6] = ["where is my order?", "thanks", "", "   ", "你好", "it is broken"];

/// A conversation being told.
struct Story<'w> {
    world: &'w mut World,
    tenant: &'static str,
    id: String,
    channel: Option<&'static str>,
    now: i64,
    message_ids: Vec<String>,
    events: Vec<Value>,
}

/// The events of one conversation.
pub(super) fn conversation(world: &mut World, number: u64, most: u64) -> Vec<Value> {
    let dice = &mut world.dice;
    let mut story = Story {
        tenant: dice.pick(&["acme", "acme", "acme", "zenith"]),
        // Sometimes two tenants use one id.
        id: format!("c{}", if dice.chance(150) { 0 } else { number }),
        channel: dice.weighted(&[(4, Some("chat")), (3, Some("email")), (1, None)]),
        now: START_MS + dice.below(30) as i64 * HOUR_MS / 2,
        world,
        message_ids: Vec::new(),
        events: Vec::new(),
    };
    // Without a created event and without a message nothing opens the conversation.
    let length = 1 + story.dice().below(most);
    let created_at_step = story.dice().weighted(&[(5, Some(0)), (2, Some(length / 2)), (3, None)]);
    for step in 0..length {
        if created_at_step == Some(step) {
            let direction = story.dice().pick(&["inbound", "outbound"]);
            story.tell("conversation_created", json!({ "direction": direction, "priority": "high" }));
        } else {
            story.step();
        }
        story.now += pause(&mut story.world.dice, story.now);
    }
    story.events
}

/// An event that belongs to no conversation, but moves the clock.
pub(super) fn dimension(world: &mut World) -> Value {
    let (source, event_id) = world.identity("acme");
    let mut time = START_MS + world.dice.below(4 * 24) as i64 * HOUR_MS;
    if world.dice.chance(250) {
        // Around 30 days after a conversation may have begun.
        time = START_MS + 30 * DAY_MS + world.dice.below(60) as i64 * HOUR_MS / 2 + world.dice.pick(&[-1, 0, 1]);
    }
    let kind = world.dice.pick(&DIMENSIONS);
    let agent = world.dice.pick(&AGENTS);
    // Naming a conversation does not make it part of one.
    let conversation = world.dice.pick(&[None, None, Some("c0")]);
    json!({
        "conversation_id": conversation, "channel": conversation.map(|_| "nowhere"),
        "tenant_id": "acme", "source": source, "event_id": event_id, "event_type": kind, "event_time": time,
        "agent_id": agent, "team_id": "unheard-of", "status": "busy", "attributes": { "shift": "late" },
    })
}

/// Time until the next event: often none, now and then just at a boundary.
fn pause(dice: &mut Dice, now: i64) -> i64 {
    let to_next = |width: i64| width - now.rem_euclid(width);
    match dice.below(100) {
        0..25 => 0,
        25..32 => 1,
        32..55 => 1000 * (1 + dice.below(300) as i64),
        55..75 => 60_000 * (1 + dice.below(90) as i64),
        75..83 => to_next(HOUR_MS),
        83..86 => to_next(DAY_MS),
        86..89 => DAY_MS,
        89..92 => DAY_MS + dice.pick(&[-1, 1]),
        _ => HOUR_MS * dice.below(30) as i64,
    }
}

impl Story<'_> {
    fn dice(&mut self) -> &mut Dice {
        &mut self.world.dice
    }

    fn agent(&mut self) -> &'static str {
        self.dice().pick(&AGENTS)
    }

    /// Adds an event, now; null columns are left out.
    fn tell(&mut self, kind: &str, columns: Value) {
        let (source, event_id) = self.world.identity(self.tenant);
        // Clocks disagree: a few events lie before those that led to them.
        let time = if self.dice().chance(80) { self.now - self.dice().below(3) as i64 * 20 * 60_000 } else { self.now };
        let mut event = Map::new();
        event.insert("tenant_id".to_owned(), self.tenant.into());
        event.insert("source".to_owned(), source.into());
        event.insert("event_id".to_owned(), event_id.into());
        event.insert("event_type".to_owned(), kind.into());
        event.insert("event_time".to_owned(), time.into());
        event.insert("conversation_id".to_owned(), self.id.clone().into());
        let channel = self.world.dice.weighted(&[(9, self.channel), (1, None), (1, Some("sms"))]);
        // An edit or deletion may turn out to refer to nothing; its channel shall not matter.
        let about_message = kind.starts_with("message_") && kind != "message_created";
        event.insert("channel".to_owned(), channel.filter(|_| !about_message && self.channel.is_some()).into());
        if let Value::Object(columns) = columns {
            event.extend(columns);
        }
        event.retain(|_, value| !value.is_null());
        self.events.push(Value::Object(event));
    }

    fn step(&mut self) {
        let step = self.dice().weighted::<fn(&mut Self)>(&[
            (26, Self::customer_message),
            (22, Self::agent_message),
            (8, Self::other_message),
            (4, Self::private_message),
            (10, Self::routing),
            (14, Self::resolve),
            (5, Self::other_status),
            (9, Self::rating),
            (6, Self::deletion),
            (4, Self::edit),
            (3, Self::segment),
            (3, Self::handoff),
            (3, Self::mark),
            (3, Self::side_event),
        ]);
        step(self);
    }

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
    fn known_message(&mut self) -> Value {
        let count = self.message_ids.len() as u64;
        let index = self.world.dice.below(count) as usize;
        self.message_ids.get(index).cloned().into()
    }

    fn customer_message(&mut self) {
        let columns = self.dice().weighted(&[
            (6, json!({ "actor_type": "customer", "actor_id": "u1", "direction": "inbound", "visibility": "public" })),
            (2, json!({ "actor_type": "customer" })),
            (1, json!({ "direction": "inbound" })),
            (1, json!({ "actor_type": "customer", "direction": "outbound" })),
        ]);
        self.message(columns);
    }

    fn agent_message(&mut self) {
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
    fn other_message(&mut self) {
        let columns = self.dice().weighted(&[
            (4, json!({ "actor_type": "bot", "direction": "outbound", "actor_id": "robot" })),
            (1, json!({ "actor_type": "automation", "direction": "outbound", "actor_id": "ann" })),
            (1, json!({ "actor_type": "system", "direction": "outbound" })),
            (1, json!({ "direction": "outbound" })),
            (1, json!({ "actor_id": "ann" })),
        ]);
        self.message(columns);
    }

    fn private_message(&mut self) {
        let agent = self.agent();
        let columns = self.dice().weighted(&[
            (4, json!({ "actor_type": "agent", "direction": "outbound", "visibility": "private", "actor_id": agent })),
            (1, json!({ "actor_type": "customer", "direction": "inbound", "visibility": "private" })),
            (1, json!({ "actor_type": "bot", "visibility": "private" })),
        ]);
        self.message(columns);
    }

    fn routing(&mut self) {
        let (from, agent) = (self.agent(), self.agent());
        let (kind, columns) = self.dice().weighted(&[
            (5, ("assigned", json!({ "agent_id": agent }))),
            (2, ("assigned", json!({}))),
            (2, ("transferred", json!({ "transfer_kind": "warm", "from_agent_id": from, "agent_id": agent }))),
            (1, ("transferred", json!({ "transfer_kind": "external", "from_agent_id": from }))),
        ]);
        self.tell(kind, columns);
    }

    fn resolve(&mut self) {
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
        self.tell("status_changed", columns);
    }

    fn other_status(&mut self) {
        let agent = self.agent();
        let to = self.dice().pick(&["new", "open", "open", "pending", "on_hold", "snoozed"]);
        self.tell("status_changed", json!({ "actor_type": "agent", "actor_id": agent, "to_status": to }));
    }

    fn rating(&mut self) {
        let scale =
            self.dice().weighted(&[(4, Value::Null), (3, 5.into()), (1, 2.into()), (1, 7.into()), (1, 10.into())]);
        let rating = 1 + self.dice().below(scale.as_u64().unwrap_or(5));
        let survey = self.dice().pick(&[None, Some("s1"), Some("s1"), Some("s2")]);
        let (agent, named) = (self.agent(), self.dice().chance(500));
        let columns = json!({
            "rating": rating, "rating_scale": scale, "survey_id": survey, "agent_id": named.then_some(agent),
            "actor_type": "customer",
        });
        self.tell("csat_rated", columns);
    }

    fn deletion(&mut self) {
        let message = if self.dice().chance(120) { "nowhere".into() } else { self.known_message() };
        let reason = self.dice().pick(&[Some("not_delivered"), Some("regretted"), None]);
        if !message.is_null() {
            self.tell("message_deleted", json!({ "message_id": message, "reason": reason }));
        }
    }

    fn edit(&mut self) {
        let message = if self.dice().chance(120) { "nowhere".into() } else { self.known_message() };
        let text = self.text();
        if !message.is_null() {
            self.tell("message_edited", json!({ "message_id": message, "text": text }));
        }
    }

    fn segment(&mut self) {
        let agent = self.agent();
        let columns = self.dice().weighted(&[
            (3, json!({ "segment_id": "g1", "agent_id": agent })),
            (1, json!({ "segment_id": "g1", "actor_type": "agent" })),
            (1, json!({ "segment_id": "g1", "actor_type": "bot" })),
        ]);
        self.tell("segment_started", columns);
    }

    fn handoff(&mut self) {
        self.tell("bot_handoff", json!({ "actor_type": "bot", "reason": "out of words" }));
    }

    fn mark(&mut self) {
        let kind = self.dice().weighted(&[(4, "spam_marked"), (5, "spam_cleared"), (2, "merged")]);
        let target = (kind == "merged").then_some("c9");
        self.tell(kind, json!({ "target_conversation_id": target }));
    }

    /// Events that these KPIs ignore, but for the clock and the channel.
    fn side_event(&mut self) {
        let agent = self.agent();
        let (kind, columns) = self.dice().pick(&[
            ("queued", json!({ "queue_id": "q" })),
            ("dequeued", json!({ "queue_id": "q", "reason": "answered" })),
            ("tagged", json!({ "label": "vip" })),
            ("csat_sent", json!({ "survey_id": "s1" })),
            ("acw_ended", json!({ "segment_id": "g1", "agent_id": agent })),
            ("sla_applied", json!({ "policy_id": "gold" })),
        ]);
        self.tell(kind, columns);
    }
}
