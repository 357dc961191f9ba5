//! The mood of a conversation and what is said in it.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::generate::event::{Actor, Body};
use crate::generate::text::{Polarity, TextKind};
use crate::generate::time::{DAY_MS, HOUR_MS};
use crate::generate::truth::IncidentKind;

/// Monday 2025-03-03.
const START_MS: i64 = 1_740_960_000_000;

fn play(channel: Channel, conversations: u64) -> Vec<Vec<Event>> {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let (roster, plan) = (Roster::new(40, &mut rng), IncidentPlan::default());
    let world = World { roster: &roster, plan: &plan, contacts: 1_000, end_ms: START_MS + 60 * DAY_MS };
    (0..conversations)
        .map(|number| {
            let arrival = Arrival { time_ms: START_MS + 10 * HOUR_MS + number as i64, channel };
            let mut events = Vec::new();
            simulate(number, arrival, world, &mut rng, &mut events);
            events
        })
        .collect()
}

#[test]
fn bursts_are_mostly_negative() {
    let mut rng = ChaCha8Rng::seed_from_u64(12);
    let roster = Roster::new(40, &mut rng);
    let plan = IncidentPlan::plant(START_MS, 14, &roster, &mut rng);
    let world = World { roster: &roster, plan: &plan, contacts: 1_000, end_ms: START_MS + 60 * DAY_MS };
    let labels = plan.labels("t");
    let burst = labels.iter().find(|incident| incident.kind == IncidentKind::AngryBurst).unwrap();
    let channel = Channel::ALL.into_iter().find(|channel| channel.as_str() == burst.channel).unwrap();
    let (mut negative, mut all) = (0, 0);
    for number in 0..500 {
        let arrival = Arrival { time_ms: burst.start_ms + number * 20_000, channel };
        let mut events = Vec::new();
        simulate(number as u64, arrival, world, &mut rng, &mut events);
        for kind in events.iter().filter(|event| event.actor == Actor::Customer).filter_map(kind_of) {
            negative += u32::from(kind.polarity() == Polarity::Negative);
            all += 1;
        }
    }
    assert!(negative * 10 > all * 7, "{negative} of {all}");
}

fn kind_of(event: &Event) -> Option<TextKind> {
    match event.body {
        Body::MessageCreated { text, .. } | Body::CsatRated { text: Some(text), .. } => Some(text.kind),
        _ => None,
    }
}

#[test]
fn comments_fit_ratings() {
    let mut comments = 0;
    for event in Channel::ALL.into_iter().flat_map(|channel| play(channel, 2_000)).flatten() {
        if let Body::CsatRated { rating, text: Some(text), .. } = event.body {
            let expected =
                [Polarity::Negative, Polarity::Negative, Polarity::Neutral, Polarity::Positive, Polarity::Positive];
            assert_eq!(text.kind.polarity(), expected[rating as usize - 1]);
            comments += 1;
        }
    }
    assert!(comments > 200, "{comments}");
}

#[test]
fn customers_speak_as_customers_and_agents_as_agents() {
    for event in Channel::ALL.into_iter().flat_map(|channel| play(channel, 500)).flatten() {
        let Some(kind) = kind_of(&event) else { continue };
        let name = format!("{kind:?}");
        let fits = match event.actor {
            Actor::Customer => name.starts_with("Customer") || name.starts_with("Rating"),
            Actor::Agent(_) => name.starts_with("Agent") || name == "PrivateNote",
            Actor::Bot => name.starts_with("Bot"),
            Actor::Automation | Actor::System => false,
        };
        assert!(fits, "{event:?}");
    }
}

#[test]
fn who_waits_for_long_turns_sour() {
    let (mut quick, mut slow) = ((0, 0), (0, 0));
    for events in play(Channel::Social, 6_000) {
        let Some(reply) =
            events.iter().position(|event| matches!(event.actor, Actor::Agent(_)) && kind_of(event).is_some())
        else {
            continue;
        };
        let side = match events[reply].event_ms - events[0].event_ms {
            ..1_800_000 => &mut quick,
            10_800_000.. => &mut slow,
            _ => continue,
        };
        for kind in events[reply..].iter().filter(|event| event.actor == Actor::Customer).filter_map(kind_of) {
            side.0 += u32::from(kind.polarity() == Polarity::Negative);
            side.1 += 1;
        }
    }
    let share = |(negative, all): (u32, u32)| f64::from(negative) / f64::from(all);
    assert!(share(slow) > 1.5 * share(quick), "{slow:?} {quick:?}");
}

#[test]
fn three_in_four_customers_write_english() {
    let english = (0..10_000).filter(|&contact| language_of(contact) == Language::English).count();
    assert!((7_300..7_700).contains(&english), "{english}");
}

#[test]
fn no_conversation_lasts_a_month() {
    for channel in Channel::ALL {
        for events in play(channel, 2_000) {
            let lasted_ms = events[events.len() - 1].event_ms - events[0].event_ms;
            assert!(lasted_ms < 31 * DAY_MS, "{channel:?}: {} h", lasted_ms / HOUR_MS);
        }
    }
}
