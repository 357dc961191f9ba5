//! One conversation from its first event to its last, decided the moment it starts.

mod call;
mod chat;
mod closing;
mod correspondence;
mod script;
#[cfg(test)]
mod tests;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::arrivals::Arrival;
use super::channel::Channel;
use super::event::{Event, Thread};
use super::incidents::IncidentPlan;
use super::roster::Roster;
use super::text::{Language, Topic};
use script::Script;

/// What every conversation of a run shares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World<'a> {
    /// The agents.
    pub(crate) roster: &'a Roster,
    /// The planted incidents.
    pub(crate) plan: &'a IncidentPlan,
    /// Number of customers who may turn up.
    pub(crate) contacts: u64,
    /// End of the span, milliseconds since the Unix epoch; later events do not happen.
    pub(crate) end_ms: i64,
}

/// Three in four customers write English.
const ENGLISH_IN_FOUR: u64 = 3;

/// Appends the events of a conversation to `events`, in causal order with strictly rising times.
pub(crate) fn simulate(number: u64, arrival: Arrival, world: World<'_>, rng: &mut ChaCha8Rng, events: &mut Vec<Event>) {
    let contact = rng.random_range(0..world.contacts);
    let thread = Thread { conversation: number, contact, channel: arrival.channel };
    let topic = Topic::ALL[rng.random_range(0..Topic::ALL.len())];
    let mut script = Script::new(thread, language_of(contact), topic, arrival.time_ms, world, rng, events);
    match arrival.channel {
        Channel::Chat => script.play_chat(),
        Channel::Email | Channel::Social => script.play_correspondence(),
        Channel::Voice => script.play_call(),
    }
}

/// A customer keeps to one language. Multiplying scatters the numbers, so that it does not follow from their parity.
fn language_of(contact: u64) -> Language {
    let scattered = contact.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 62;
    if scattered < ENGLISH_IN_FOUR { Language::English } else { Language::Chinese }
}
