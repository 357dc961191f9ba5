//! Queue visits (rule 43) and SLA policies as they are applied (rule 45).

use contactflow_schemas::catalogue::kpi;
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::event::{ActorType, DequeueReason, Event};
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::tally::KpiId;

use super::Fold;
use super::timeline::Placement;

/// A stay in a queue.
#[derive(Clone, Copy)]
pub(super) struct Visit {
    pub(super) queue: Option<Symbol>,
    pub(super) from_ms: TimeMs,
    pub(super) to_ms: Option<TimeMs>,
}

impl Fold<'_> {
    /// Credits a value at the current event to the visit's queue.
    fn credit_queue(&mut self, visit: Visit, time_ms: TimeMs, agent: Option<Symbol>, kpi: KpiId) {
        let credited = self.timeline.credited(agent, time_ms, Placement { queue: visit.queue, ..self.now });
        self.credit_to(time_ms, credited, kpi, 1, None);
    }

    fn time_in_queue(&mut self, visit: Visit, time_ms: TimeMs, agent: Option<Symbol>, kpi: KpiId) {
        let credited = self.timeline.credited(agent, time_ms, Placement { queue: visit.queue, ..self.now });
        let business_ms = self.timeline.business_ms(visit.from_ms, time_ms);
        self.credit_to(time_ms, credited, kpi, time_ms - visit.from_ms, business_ms);
    }

    pub(super) fn enqueue(&mut self, event: &Event) {
        self.leave_queue(event.time_ms);
        let visit = Visit { queue: self.now.queue, from_ms: event.time_ms, to_ms: None };
        self.visit = Some(visit);
        self.credit_queue(visit, event.time_ms, None, kpi::QUEUE_OFFERED);
    }

    /// The visit, if there is one, ends now.
    fn end_visit(&mut self, time_ms: TimeMs) -> Option<Visit> {
        let visit = self.visit.take()?;
        self.visits.push(Visit { to_ms: Some(time_ms), ..visit });
        Some(visit)
    }

    /// The visit ends without an answer and without the customer's leaving.
    pub(super) fn leave_queue(&mut self, time_ms: TimeMs) {
        if let Some(visit) = self.end_visit(time_ms) {
            self.credit_queue(visit, time_ms, None, kpi::QUEUE_FLOW_OUT);
        }
    }

    pub(super) fn answer_queue(&mut self, time_ms: TimeMs, agent: Option<Symbol>) {
        let Some(visit) = self.end_visit(time_ms) else { return };
        let agent = agent.or(self.now.owner);
        self.credit_queue(visit, time_ms, agent, kpi::QUEUE_ANSWERED);
        if time_ms - visit.from_ms <= self.context.rules.service_level_within_ms {
            self.credit_queue(visit, time_ms, agent, kpi::QUEUE_ANSWERED_WITHIN);
        }
        self.time_in_queue(visit, time_ms, agent, kpi::QUEUE_ANSWER_TIME);
    }

    fn abandon_queue(&mut self, time_ms: TimeMs) {
        let Some(visit) = self.end_visit(time_ms) else { return };
        let waited_ms = time_ms - visit.from_ms;
        self.credit_queue(visit, time_ms, None, kpi::QUEUE_ABANDONED);
        if waited_ms < self.context.rules.short_abandon_ms {
            self.credit_queue(visit, time_ms, None, kpi::SHORT_ABANDON);
        }
        if waited_ms <= self.context.rules.service_level_within_ms {
            self.credit_queue(visit, time_ms, None, kpi::QUEUE_ABANDONED_WITHIN);
        }
        self.time_in_queue(visit, time_ms, None, kpi::ABANDON_TIME);
    }

    pub(super) fn dequeue(&mut self, event: &Event, reason: Option<DequeueReason>, agent: Option<Symbol>) {
        match reason {
            Some(DequeueReason::Answered) => {
                let actor = event.actor.filter(|_| event.actor_type == Some(ActorType::Agent));
                self.answer_queue(event.time_ms, agent.or(actor));
            }
            Some(DequeueReason::Abandoned) => self.abandon_queue(event.time_ms),
            Some(DequeueReason::Callback | DequeueReason::FlowOut) | None => self.leave_queue(event.time_ms),
        }
    }

    pub(super) fn remove_policy(&mut self, time_ms: TimeMs, policy: Option<Symbol>) {
        let standing = self.policies.last().and_then(|(_, policy)| *policy);
        if policy.is_none() || policy == standing {
            self.policies.push((time_ms, None));
        }
    }
}
