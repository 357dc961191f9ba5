//! What is known of a conversation only when its whole history is: what became of its resolves, its cohort, its place
//! among the contact's conversations (rules 18, 25, 28, 35 to 39, 46).

use contactflow_schemas::catalogue::kpi;
use contactflow_schemas::dimension::StatusSet;
use contactflow_schemas::event::{Body, Status};
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::tally::KpiId;
use contactflow_schemas::windows::Window;

use super::Fold;
use super::lifecycle::Resolve;
use crate::conversation::view::{ContactResolve, ContactVisit, Credit, Credited};

/// A survey of the conversation.
pub(super) struct Survey {
    id: Option<Symbol>,
    /// Whom its last csat_sent is about.
    pub(super) sent_about: Option<Symbol>,
    /// Whom its rating is credited to; none without a rating.
    pub(super) rated: Option<Option<Symbol>>,
}

impl Fold<'_> {
    pub(super) fn survey(&mut self, id: Option<Symbol>) -> &mut Survey {
        let known = self.surveys.iter().position(|survey| survey.id == id);
        let position = known.unwrap_or_else(|| {
            self.surveys.push(Survey { id, sent_about: None, rated: None });
            self.surveys.len() - 1
        });
        &mut self.surveys[position]
    }

    pub(super) fn finish_resolves(&mut self) {
        let resolves = std::mem::take(&mut self.resolves);
        let mut visit = ContactVisit {
            contact: self.preparation.contact,
            conversation: self.key.conversation,
            channel: self.preparation.channel,
            created_ms: self.created_ms,
            resolves: Vec::with_capacity(resolves.len()),
        };
        for resolve in &resolves {
            let credited = self.timeline.credited(resolve.agent, resolve.time_ms, resolve.placement);
            let returned = resolve
                .reopened_ms
                .is_some_and(|reopened_ms| reopened_ms - resolve.time_ms <= self.context.rules.return_within_ms);
            visit.resolves.push(ContactResolve { time_ms: resolve.time_ms, credited, reopened: returned });
            self.distinct_resolved(resolve, credited);
            if returned {
                self.credit_to(resolve.time_ms, credited, kpi::REOPENED_RESOLUTIONS, 1, None);
            } else if resolve.replies == 1 {
                self.one_touch(resolve, credited);
            }
        }
        self.view.visit = Some(visit);
        if let Some(first) = resolves.first().filter(|first| first.time_ms >= self.created_ms) {
            let business_ms = self.timeline.business_ms(self.created_ms, first.time_ms);
            self.cohort(first.agent, kpi::FIRST_RESOLUTION_TIME, first.time_ms - self.created_ms, business_ms);
        }
        if let Some(last) = resolves.last() {
            self.last_resolve(last);
        }
    }

    /// Rule 36: conversations_resolved_count, for every width of window by itself.
    fn distinct_resolved(&mut self, resolve: &Resolve, credited: Credited) {
        let windows = self.context.windows;
        for window in Window::ALL {
            let end_ms = windows.end_ms(window, windows.start_ms(window, resolve.time_ms));
            if resolve.reopened_ms.is_none_or(|reopened_ms| reopened_ms >= end_ms) {
                let (time_ms, kpi) = (resolve.time_ms, kpi::CONVERSATIONS_RESOLVED);
                self.view.credits.push(Credit { time_ms, window, credited, kpi, value: 1, business_ms: None });
            }
        }
    }

    /// Rule 37.
    fn one_touch(&mut self, resolve: &Resolve, credited: Credited) {
        let decided_ms = resolve.time_ms + self.context.rules.return_within_ms;
        self.view.deadlines_ms.push(decided_ms);
        if self.context.as_of_ms > decided_ms {
            self.view.facts[resolve.cycle].one_touch = true;
            self.credit_to(resolve.time_ms, credited, kpi::ONE_TOUCH, 1, None);
        }
    }

    /// Rules 18, 35 and 39.
    fn last_resolve(&mut self, resolve: &Resolve) {
        let (created_ms, time_ms) = (self.created_ms, resolve.time_ms);
        let credited = self.timeline.credited(resolve.agent, time_ms, resolve.placement);
        if self.resolved && time_ms >= created_ms {
            let business_ms = self.timeline.business_ms(created_ms, time_ms);
            self.credit_to(time_ms, credited, kpi::FULL_RESOLUTION_TIME, time_ms - created_ms, business_ms);
            let facts = &mut self.view.facts[resolve.cycle];
            facts.full_resolution_time_ms = Some(time_ms - created_ms);
            facts.full_resolution_time_business_ms = business_ms;
        }
        self.view.facts[resolve.cycle].turns = Some(resolve.turns);
        self.credit_to(time_ms, credited, kpi::TURNS, resolve.turns, None);
        self.credit_to(time_ms, credited, kpi::MESSAGE_LENGTH, resolve.characters, None);
        let waiting: [(KpiId, StatusSet); 3] = [
            (kpi::REQUESTER_WAIT_TIME, StatusSet::of(&[Status::New, Status::Open, Status::OnHold])),
            (kpi::AGENT_WAIT_TIME, StatusSet::of(&[Status::Pending])),
            (kpi::ON_HOLD_TIME, StatusSet::of(&[Status::OnHold])),
        ];
        for (kpi, statuses) in waiting {
            let stretches = self.timeline.stretches(statuses, created_ms, time_ms);
            let is_always_there = kpi == kpi::REQUESTER_WAIT_TIME && time_ms >= created_ms;
            if !stretches.is_empty() || is_always_there {
                let waited_ms = stretches.iter().map(|(from_ms, to_ms)| to_ms - from_ms).sum();
                let business_ms = self.timeline.business_of(&stretches);
                self.credit_to(time_ms, credited, kpi, waited_ms, business_ms);
            }
        }
    }

    /// Rules 19, 36 and 46: what is counted with the conversation's creation.
    pub(super) fn finish_cohort(&mut self) {
        let first_agent = self.preparation.first_agent;
        self.cohort(first_agent, kpi::CONVERSATIONS_CREATED, 1, None);
        if self.resolved {
            self.cohort(first_agent, kpi::COHORT_RESOLVED, 1, None);
        }
        for survey in std::mem::take(&mut self.surveys) {
            let agent = survey.rated.flatten().or(survey.sent_about);
            self.cohort(agent, kpi::CSAT_SENT, 1, None);
            if survey.rated.is_some() {
                self.cohort(agent, kpi::CSAT_ANSWERED, 1, None);
            }
        }
        if self.has_bot {
            self.cohort(None, kpi::BOT_CONVERSATIONS, 1, None);
            if self.has_handoff {
                self.cohort(None, kpi::BOT_HANDOFF_CONVERSATIONS, 1, None);
            } else if self.resolved && self.first_reply_ms.is_none() {
                self.cohort(None, kpi::BOT_CONTAINED, 1, None);
            }
        }
    }

    /// Rule 25.
    pub(super) fn flag_disorder(&mut self) {
        let created_late = self.preparation.counting().position(|event| event.body == Body::Created);
        let created_late = created_late.is_some_and(|position| position > 0);
        let mut customer_later = false;
        for facts in self.view.facts.iter_mut().rev() {
            customer_later |= facts.messages_inbound > 0;
            facts.out_of_order = (facts.agent_first && customer_later) || (facts.cycle == 1 && created_late);
        }
    }
}
