//! Who speaks in a message, and to whom it counts (rule 7).

use super::event::Event;

/// The class of who did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Actor {
    Customer,
    Agent,
    Bot,
    Automation,
    System,
}

/// Who wrote a message.
pub(super) fn actor(event: &Event) -> Actor {
    match event.text("actor_type") {
        Some("customer") => Actor::Customer,
        Some("agent") => Actor::Agent,
        Some("bot") => Actor::Bot,
        Some("automation") => Actor::Automation,
        Some(_) => Actor::System,
        None if event.text("direction") == Some("inbound") => Actor::Customer,
        None if event.text("direction") == Some("outbound") && event.text("actor_id").is_some() => Actor::Agent,
        None => Actor::System,
    }
}

pub(super) fn is_message(event: &Event) -> bool {
    event.is("message_created")
}

fn is_public(event: &Event) -> bool {
    event.text("visibility").is_none_or(|visibility| visibility == "public")
}

pub(super) fn is_private_message(event: &Event) -> bool {
    is_message(event) && !is_public(event)
}

pub(super) fn is_customer_message(event: &Event) -> bool {
    is_message(event) && is_public(event) && actor(event) == Actor::Customer
}

/// A public message of an agent or a bot, whichever way it went.
pub(super) fn is_outbound_message(event: &Event) -> bool {
    is_message(event) && is_public(event) && matches!(actor(event), Actor::Agent | Actor::Bot)
}

/// A public message of a bot.
pub(super) fn is_bot_message(event: &Event) -> bool {
    is_message(event) && is_public(event) && actor(event) == Actor::Bot
}

/// A public message of an agent that goes out.
pub(super) fn is_reply(event: &Event) -> bool {
    // A missing direction is outbound for everybody but customers.
    let goes_out = event.text("direction").is_none_or(|direction| direction == "outbound");
    is_message(event) && is_public(event) && actor(event) == Actor::Agent && goes_out
}

/// The agent who wrote a message; nobody for all others.
pub(super) fn author_if_agent(event: &Event) -> Option<&str> {
    if actor(event) == Actor::Agent { event.text("actor_id") } else { None }
}

/// The speaker whose turn a message is part of; `None` for what is no turn.
pub(super) fn speaker(event: &Event) -> Option<Actor> {
    (is_customer_message(event) || is_outbound_message(event)).then(|| actor(event))
}
