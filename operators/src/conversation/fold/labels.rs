//! What raters say of messages and conversations (rules 63 to 65).

use contactflow_schemas::catalogue::kpi;
use contactflow_schemas::event::{ActorType, Body, Event, Label, Verdict, Visibility};
use contactflow_schemas::facts::LabelledText;
use contactflow_schemas::normalise::speaker;
use contactflow_schemas::prediction::TextHead;
use contactflow_schemas::symbol::Symbol;

use super::Fold;

impl Fold<'_> {
    /// A label, met in the order of the events although it is none of them.
    pub(super) fn label(&mut self, position: usize, event: &Event, label: &Label) {
        if !self.preparation.label_stands(position, label) {
            return;
        }
        let message = match label.message_id.as_str() {
            "" => None,
            id => match self.preparation.labelled_message(event.home, id) {
                // It names no message that counts.
                None => return,
                found => found,
            },
        };
        match label.verdict {
            Verdict::Graded { pass, weight_milli } => self.graded(event, label.agent, message, pass, weight_milli),
            Verdict::NotApplicable => {}
            Verdict::Class(head, class) => self.classed(event, message, head, class),
        }
    }

    /// Rule 64.
    fn graded(&mut self, event: &Event, named: Option<Symbol>, message: Option<usize>, pass: bool, weight_milli: i64) {
        let author = message.and_then(|at| self.preparation.author(at));
        let agent = named.or(author).or(self.now.owner).or(self.last_replier);
        let by_program = matches!(event.actor_type, Some(ActorType::Bot | ActorType::Automation | ActorType::System));
        let [count, applicable, passed] = if by_program {
            [
                kpi::QUALITY_RUBRIC_AUTOMATIC,
                kpi::QUALITY_RUBRIC_AUTOMATIC_APPLICABLE,
                kpi::QUALITY_RUBRIC_AUTOMATIC_PASSED,
            ]
        } else {
            [kpi::QUALITY_RUBRIC, kpi::QUALITY_RUBRIC_APPLICABLE, kpi::QUALITY_RUBRIC_PASSED]
        };
        self.credit(event.time_ms, agent, count, 1);
        self.credit(event.time_ms, agent, applicable, weight_milli);
        if pass {
            self.credit(event.time_ms, agent, passed, weight_milli);
        }
    }

    /// Rule 65: only what is scored can be compared.
    fn classed(&mut self, event: &Event, message: Option<usize>, head: TextHead, class: Symbol) {
        let scored = message.filter(|&at| self.preparation.is_scored(at));
        let Some(text) = scored.and_then(|at| self.preparation.text_of(at)) else { return };
        let (tenant, time_ms) = (self.key.tenant, event.time_ms);
        self.view.labelled.push(LabelledText { tenant, time_ms, head, class, text: text.key });
    }
}

impl super::Preparation<'_> {
    /// The agent who wrote the message at `position`.
    fn author(&self, position: usize) -> Option<Symbol> {
        let event = self.event(position);
        let Body::Message { direction, .. } = &event.body else { return None };
        let is_agent = speaker(event.actor_type, *direction, event.actor) == Some(ActorType::Agent);
        event.actor.filter(|_| is_agent)
    }

    /// The message at `position` is a public one of a customer or an agent.
    fn is_scored(&self, position: usize) -> bool {
        let event = self.event(position);
        let Body::Message { direction, visibility, .. } = &event.body else { return false };
        *visibility == Visibility::Public && speaker(event.actor_type, *direction, event.actor).is_some()
    }
}
