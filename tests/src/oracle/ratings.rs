//! Ratings and the surveys they answer (rule 19).

use super::contribution::{Collector, What};
use super::conversation::{Conversation, last_replier};
use super::event::Event;
use std::collections::BTreeSet;

/// A rating that stands.
pub(super) struct Rating<'a> {
    /// Index of its event.
    pub(super) index: usize,
    /// Scaled to 1..5, in millionths.
    pub(super) millionths: i64,
    pub(super) agent: Option<&'a str>,
    /// How many it replaced.
    pub(super) revisions: i64,
}

fn is_rating(event: &Event) -> bool {
    event.is("csat_rated") && event.int("rating").is_some()
}

/// The latest rating of each survey.
pub(super) fn ratings<'a>(conversation: &Conversation<'a>) -> Vec<Rating<'a>> {
    let events = &conversation.events;
    let of_survey = |survey: Option<&str>| {
        let fits = |index: &usize| is_rating(events[*index]) && events[*index].text("survey_id") == survey;
        (0..events.len()).filter(fits).collect::<Vec<usize>>()
    };
    (0..events.len())
        .filter_map(|index| {
            let all = of_survey(events[index].text("survey_id"));
            (all.last() == Some(&index)).then_some(())?;
            let agent = events[index].text("agent_id").or_else(|| last_replier(&events[..index]));
            let revisions = all.len() as i64 - 1;
            Some(Rating { index, millionths: scaled_rating(events[index])?, agent, revisions })
        })
        .collect()
}

/// `1 + (rating − 1)·4/(scale − 1)` in millionths, half rounded away from zero.
fn scaled_rating(event: &Event) -> Option<i64> {
    let (rating, steps) = (event.int("rating")?, event.int("rating_scale").unwrap_or(5) - 1);
    // All terms are positive, so half away from zero is half up; doubling keeps it in integers.
    Some(1_000_000 + (2 * (rating - 1) * 4_000_000 + steps) / (2 * steps))
}

/// Ratings at their time, surveys in the cohort.
pub(super) fn add<'a>(conversation: &Conversation<'a>, collector: &mut Collector<'a>) {
    let ratings = ratings(conversation);
    for rating in &ratings {
        let time = conversation.events[rating.index].time();
        let group = conversation.group_at_event(rating.agent, rating.index);
        collector.add(group, time, What::Rating(rating.millionths));
        collector.add(group, time, What::Sum("csat_revisions_count", rating.revisions));
        if rating.millionths >= 4_000_000 {
            collector.count(group, time, "csat_positive_count");
        }
    }
    let events = &conversation.events;
    let surveys: BTreeSet<Option<&str>> = events
        .iter()
        .filter(|event| event.is("csat_sent") || is_rating(event))
        .map(|event| event.text("survey_id"))
        .collect();
    for survey in surveys {
        let rating = ratings.iter().find(|rating| events[rating.index].text("survey_id") == survey);
        let sent = events.iter().rposition(|event| event.is("csat_sent") && event.text("survey_id") == survey);
        let by_sending =
            || sent.and_then(|sent| events[sent].text("agent_id").or_else(|| last_replier(&events[..sent])));
        let agent = rating.and_then(|rating| rating.agent).or_else(by_sending);
        let group = conversation.cohort_group(agent);
        collector.count(group, conversation.created_at, "csat_sent_count");
        if rating.is_some() {
            collector.count(group, conversation.created_at, "csat_answered_count");
        }
    }
}
