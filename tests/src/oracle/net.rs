//! From deliveries to the events that stand.

use super::event::{Content, Delivery, Event, Identity, Reject};
use super::{Row, event};
use std::collections::BTreeMap;

/// What all rows together say, before conversations are looked at.
pub(super) struct Net {
    pub(super) events: Vec<Event>,
    pub(super) rejects: Vec<Reject>,
    /// In how many ways equal versions with different content can be settled.
    pub(super) settlements: u64,
}

/// Settles all deliveries.
///
/// Which of several contents at one version stands is up to a hash that is the product's own, so a test has to
/// accept any: `settlement` (below [`Net::settlements`]) picks one way.
pub(super) fn settle(rows: &[Row], mut settlement: u64) -> Net {
    let (mut deliveries, mut refused) = (BTreeMap::<Identity, Vec<Delivery>>::new(), Vec::new());
    for row in rows {
        match event::read(row) {
            Ok(delivery) => deliveries.entry(delivery.identity.clone()).or_default().push(delivery),
            Err(reject) => refused.push(reject),
        }
    }
    refused.retain(|reject| !is_corrected(reject, &deliveries));
    let mut net = Net { events: Vec::new(), rejects: refused, settlements: 1 };
    for (identity, deliveries) in deliveries {
        let candidates = standing(&deliveries);
        let ways = candidates.len().max(1);
        net.settlements = net.settlements.saturating_mul(ways as u64);
        let winner = (settlement % ways as u64) as usize;
        settlement /= ways as u64;
        for (position, content) in candidates.into_iter().enumerate() {
            if position == winner {
                let ingest = earliest(&deliveries, &content);
                net.events.push(Event { identity: identity.clone(), content, ingest });
            } else {
                net.rejects.push(reject("duplicate_conflict", &identity));
            }
        }
    }
    net
}

/// When the first of the deliveries that say this at the version that stands arrived (rule 47).
fn earliest(deliveries: &[Delivery], content: &Content) -> Option<i64> {
    let highest = deliveries.iter().map(|delivery| delivery.version).max();
    let equal = deliveries.iter().filter(|one| Some(one.version) == highest && one.content.as_ref() == Some(content));
    equal.filter_map(|delivery| delivery.ingest).min()
}

/// The different contents asserted at the highest version; none where a retraction has it.
fn standing(deliveries: &[Delivery]) -> Vec<Content> {
    let Some(highest) = deliveries.iter().map(|delivery| delivery.version).max() else { return Vec::new() };
    let mut different: Vec<Content> = Vec::new();
    for delivery in deliveries.iter().filter(|delivery| delivery.version == highest) {
        match &delivery.content {
            None => return Vec::new(),
            Some(content) if !different.contains(content) => different.push(content.clone()),
            Some(_) => {}
        }
    }
    // The order of delivery must not matter to which is which.
    different.sort_by_key(|content| format!("{content:?}"));
    different
}

/// A usable delivery of the same event with an equal or higher version takes a reject row back.
fn is_corrected(reject: &Reject, deliveries: &BTreeMap<Identity, Vec<Delivery>>) -> bool {
    let (Some(tenant), Some(source), Some(event_id)) = (&reject.tenant, &reject.source, &reject.event_id) else {
        return false;
    };
    let identity = Identity { tenant: tenant.clone(), source: source.clone(), event_id: event_id.clone() };
    deliveries
        .get(&identity)
        .is_some_and(|deliveries| deliveries.iter().any(|delivery| delivery.version >= reject.version))
}

/// A reject of an event whose row could be read.
pub(super) fn reject(reason: &'static str, identity: &Identity) -> Reject {
    Reject {
        reason,
        tenant: Some(identity.tenant.clone()),
        source: Some(identity.source.clone()),
        event_id: Some(identity.event_id.clone()),
        version: 0,
    }
}
