//! One conversation as it might happen, events in order of telling. Times are integer milliseconds here; how they are
//! written is a matter of delivery.

mod calls;
mod course;
mod labels;
mod messages;
mod routing;

use super::World;
use super::dice::Dice;
use super::dimensions::{AGENTS, QUEUES, TEAMS};
use crate::model::{DAY_MS, HOUR_MS};
use serde_json::{Map, Value, json};

/// What happens often in a conversation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Theme {
    /// Messages, mostly.
    Talk,
    /// Queues and connected stretches.
    Call,
    /// Promises, and statuses that pause them.
    Promise,
    /// Bots, and surveys.
    Robot,
}

/// A conversation being told.
struct Story<'w> {
    world: &'w mut World,
    theme: Theme,
    tenant: &'static str,
    id: String,
    channel: Option<&'static str>,
    contact: Option<&'static str>,
    now: i64,
    message_ids: Vec<String>,
    events: Vec<Value>,
}

/// The events of one conversation.
pub(super) fn conversation(world: &mut World, number: u64, most: u64) -> Vec<Value> {
    let dice = &mut world.dice;
    let theme = dice.weighted(&[(4, Theme::Talk), (3, Theme::Call), (5, Theme::Promise), (2, Theme::Robot)]);
    let mut now = world.start + dice.below(30) as i64 * HOUR_MS / 2;
    // A contact comes back, now and then just when it hardly counts any more.
    if !world.resolves.is_empty() && dice.chance(400) {
        now = dice.pick(&world.resolves) + dice.pick(&[-1, 0, 1, HOUR_MS, 7 * DAY_MS, 7 * DAY_MS - 1, 7 * DAY_MS + 1]);
    }
    let channels =
        [(4, Some("chat")), (3, Some("email")), (if theme == Theme::Call { 9 } else { 0 }, Some("voice")), (1, None)];
    let mut story = Story {
        theme,
        tenant: dice.pick(&["acme", "acme", "acme", "zenith"]),
        // Sometimes two tenants use one id.
        id: format!("c{}", if dice.chance(150) { 0 } else { number }),
        channel: dice.weighted(&channels),
        contact: dice.weighted(&[(5, Some("k1")), (2, Some("k2")), (2, None)]),
        now,
        world,
        message_ids: Vec::new(),
        events: Vec::new(),
    };
    story.tell_all(most);
    story.events
}

/// Time until the next event: often none, now and then just at a boundary.
fn pause(world: &mut World, now: i64) -> i64 {
    let dice = &mut world.dice;
    let to_next = |width: i64| width - now.rem_euclid(width);
    match dice.below(100) {
        0..23 => 0,
        23..29 => 1,
        29..50 => 1000 * (1 + dice.below(300) as i64),
        50..68 => 60_000 * (1 + dice.below(90) as i64),
        68..75 => to_next(HOUR_MS),
        75..78 => to_next(DAY_MS),
        78..80 => DAY_MS,
        80..82 => DAY_MS + dice.pick(&[-1, 1]),
        82..94 => to_deadline(world, now),
        _ => HOUR_MS * dice.below(30) as i64,
    }
}

/// Time until just before, at, or just after something falls due; none if nothing does.
fn to_deadline(world: &mut World, now: i64) -> i64 {
    let deadlines = if world.dice.chance(60) { &world.weeks } else { &world.deadlines };
    let ahead: Vec<i64> = deadlines.iter().copied().filter(|time| *time > now + 1).collect();
    if ahead.is_empty() { 0 } else { world.dice.pick(&ahead) + world.dice.pick(&[-1, 0, 1]) - now }
}

impl Story<'_> {
    fn tell_all(&mut self, most: u64) {
        self.world.months.push(self.now + 30 * DAY_MS);
        // Without a created event and without a message nothing opens the conversation.
        let length = 1 + self.dice().below(most) as usize;
        let created_at = self.dice().weighted(&[(5, Some(0)), (2, Some(length / 2)), (3, None)]);
        let mut created = false;
        while self.events.len() < length {
            if !created && created_at.is_some_and(|place| place <= self.events.len()) {
                created = true;
                let direction = self.dice().pick(&["inbound", "outbound"]);
                self.tell("conversation_created", json!({ "direction": direction, "priority": "high" }));
            } else if self.events.len() == 1 && (self.theme == Theme::Promise || self.dice().chance(300)) {
                self.tell("sla_applied", json!({ "policy_id": "gold" }));
            } else {
                self.step();
            }
            self.now += pause(self.world, self.now);
        }
        self.events.truncate(length);
        if self.theme == Theme::Promise && length as u64 + 2 <= most && self.dice().chance(500) {
            // The clock may stop while a promise is in the balance.
            if self.dice().chance(500) {
                self.agent_message()
            } else {
                self.resolve()
            }
            self.now += self.dice().pick(&[1, 60_000]);
            self.customer_message();
            let usual = self.world.target;
            self.due_in(usual);
            self.due_in(usual / 5 * 4);
        }
    }

    fn dice(&mut self) -> &mut Dice {
        &mut self.world.dice
    }

    fn agent(&mut self) -> &'static str {
        self.dice().pick(&AGENTS)
    }

    /// Something falls due so long from now.
    fn due_in(&mut self, span: i64) {
        self.world.deadlines.push(self.now + span);
    }

    /// Adds an event, now; null columns are left out.
    fn tell(&mut self, kind: &str, columns: Value) {
        let (source, event_id) = self.world.identity(self.tenant);
        // Clocks disagree: a few events lie before those that led to them.
        let time = if self.dice().chance(80) { self.now - self.dice().below(3) as i64 * 20 * 60_000 } else { self.now };
        self.world.moments.push(time);
        let ingest_time = self.world.ingest_time(time);
        let mut event = Map::new();
        event.insert("tenant_id".to_owned(), self.tenant.into());
        event.insert("source".to_owned(), source.into());
        event.insert("event_id".to_owned(), event_id.into());
        event.insert("event_type".to_owned(), kind.into());
        event.insert("event_time".to_owned(), time.into());
        event.insert("ingest_time".to_owned(), ingest_time.into());
        event.insert("conversation_id".to_owned(), self.id.clone().into());
        // An edit or deletion may turn out to refer to nothing; whose it is, and where, shall not matter.
        if !(kind.starts_with("message_") && kind != "message_created") {
            let channel = self.world.dice.weighted(&[(9, self.channel), (1, None), (1, Some("sms"))]);
            event.insert("channel".to_owned(), channel.filter(|_| self.channel.is_some()).into());
            let contact = self.world.dice.weighted(&[(6, self.contact), (4, None)]);
            let contact = if self.dice().chance(20) { Some("k2") } else { contact };
            event.insert("contact_id".to_owned(), contact.into());
            let team = self.dice().chance(60).then(|| self.dice().pick(&TEAMS));
            event.insert("team_id".to_owned(), team.into());
            let queue = self.dice().chance(50).then(|| self.dice().pick(&QUEUES));
            event.insert("queue_id".to_owned(), queue.into());
        }
        if let Value::Object(columns) = columns {
            event.extend(columns);
        }
        event.retain(|_, value| !value.is_null());
        self.events.push(Value::Object(event));
    }

    fn step(&mut self) {
        let more = |theme: Theme, weight: u64| if self.theme == theme { weight } else { 0 };
        let step = [
            (24 + more(Theme::Promise, 20), Self::customer_message as fn(&mut Self)),
            (if self.theme == Theme::Robot { 6 } else { 20 + more(Theme::Promise, 12) }, Self::agent_message),
            (6 + more(Theme::Robot, 12), Self::other_message),
            (3, Self::private_message),
            (8, Self::assignment),
            (4 + more(Theme::Call, 3), Self::transfer),
            (5 + more(Theme::Call, 12), Self::queue_visit),
            (3 + more(Theme::Call, 14), Self::call),
            (4 + more(Theme::Call, 8), Self::loose_end_of_call),
            (12, Self::resolve),
            (4, Self::come_back),
            (5 + more(Theme::Promise, 8), Self::other_status),
            (4 + more(Theme::Promise, 6), Self::promise),
            (8 + more(Theme::Robot, 6), Self::survey),
            (3 + more(Theme::Robot, 6), Self::handoff),
            (5, Self::deletion),
            (4, Self::edit),
            (2, Self::mark),
            (2, Self::merge),
            (1, Self::tag),
            (8, Self::label),
        ];
        let step = self.dice().weighted(&step);
        step(self);
    }
}
