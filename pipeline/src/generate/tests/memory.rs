//! What is held at a time follows the arrivals per day, not the length of the span.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::generate::arrivals::Arrivals;
use crate::generate::conversation::{World, simulate};
use crate::generate::delivery_queue::DeliveryQueue;
use crate::generate::event::Delivery;
use crate::generate::incidents::IncidentPlan;
use crate::generate::roster::Roster;
use crate::generate::time::DAY_MS;

/// The most deliveries waiting at the end of an hour, at 300 conversations a day.
fn most_waiting(days: u32) -> usize {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let end_ms = i64::from(days) * DAY_MS;
    let (roster, plan) = (Roster::new(20, &mut rng), IncidentPlan::default());
    let world = World { roster: &roster, plan: &plan, contacts: 10_000, end_ms };
    let mut planned = Arrivals::new(300 * u64::from(days), 0, days, &plan, &mut rng);
    let mut queue = DeliveryQueue::new(0, end_ms);
    let (mut arrivals, mut events, mut number, mut most) = (Vec::new(), Vec::new(), 0, 0);
    while planned.next_hour(&mut arrivals, &mut rng) {
        for &arrival in &arrivals {
            events.clear();
            simulate(number, arrival, world, &mut rng, &mut events);
            number += 1;
            for &event in &events {
                queue.push(Delivery { event, ingest_ms: event.event_ms, retract: false, defect: None });
            }
        }
        queue.pop_hour();
        most = most.max(queue.waiting());
    }
    assert_eq!(queue.waiting(), 0);
    most
}

#[test]
fn carry_over_is_bounded() {
    let (month, half_year) = (most_waiting(30), most_waiting(180));
    assert!(half_year < month * 3 / 2, "{month} after a month, {half_year} after six");
    // Some days' worth of the 2 400 events a day.
    assert!(month < 6 * 2_400, "{month}");
}
