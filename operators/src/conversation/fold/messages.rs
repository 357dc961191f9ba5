//! Messages, replies and how long they took (rules 7, 13 to 16, 20, 32, 33, 41, 46).

use contactflow_schemas::catalogue::kpi;
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::event::{ActorType, Body, Direction, Event, TextRef, Visibility};
use contactflow_schemas::facts::{Speaker, Turn};
use contactflow_schemas::normalise::speaker;
use contactflow_schemas::symbol::Symbol;

use super::Fold;
use super::sla::{Closing, Measure, MeasureKind};

impl Fold<'_> {
    pub(super) fn message(
        &mut self,
        event: &Event,
        direction: Option<Direction>,
        visibility: Visibility,
        fallback: bool,
        text: Option<TextRef>,
    ) {
        let author = speaker(event.actor_type, direction, event.actor);
        if visibility == Visibility::Private {
            // Rule 14.
            let agent = event.actor.filter(|_| author == Some(ActorType::Agent));
            self.facts().messages_private += 1;
            self.credit(event.time_ms, agent, kpi::MESSAGES_PRIVATE, 1);
            return;
        }
        match (author, event.actor_type) {
            (Some(ActorType::Customer), _) => self.customer_message(event, text),
            (Some(_), _) => self.agent_message(event, direction != Some(Direction::Inbound), text),
            (None, Some(ActorType::Bot)) => self.bot_message(event, fallback, text),
            // Automations and the system are no side of the conversation (rule 7).
            (None, _) => {}
        }
    }

    fn spoke(&mut self, speaker: ActorType, text: Option<TextRef>) {
        self.cycle.public_messages += 1;
        self.characters += text.map_or(0, |text| i64::from(text.chars));
        if self.last_speaker != Some(speaker) {
            self.turns += 1;
            self.last_speaker = Some(speaker);
        }
    }

    fn customer_message(&mut self, event: &Event, text: Option<TextRef>) {
        let time_ms = event.time_ms;
        self.spoke(ActorType::Customer, text);
        self.run_ms.get_or_insert(time_ms);
        let is_next = self.cycle.responded;
        self.silence_run.get_or_insert((time_ms, is_next));
        // Rule 13: the agent in charge.
        let agent = self.now.owner.or(self.cycle.last_replier);
        let facts = self.facts();
        facts.messages_inbound += 1;
        facts.first_customer_message_ms.get_or_insert(time_ms);
        self.credit(time_ms, agent, kpi::MESSAGES_INBOUND, 1);
        if let Some(text) = text {
            self.facts().eligible_turns += 1;
            self.credit(time_ms, agent, kpi::ELIGIBLE_TURNS, 1);
            self.turn(event, agent, (Speaker::Customer, false), text);
        }
    }

    fn bot_message(&mut self, event: &Event, fallback: bool, text: Option<TextRef>) {
        self.has_bot = true;
        self.facts().messages_outbound += 1;
        self.credit(event.time_ms, None, kpi::MESSAGES_OUTBOUND, 1);
        if fallback {
            self.credit(event.time_ms, None, kpi::BOT_FALLBACK, 1);
        }
        self.spoke(ActorType::Bot, text);
        self.response_of_any(event.time_ms, None);
    }

    fn agent_message(&mut self, event: &Event, outbound: bool, text: Option<TextRef>) {
        let first = self.cycle.public_messages == 0;
        self.spoke(ActorType::Agent, text);
        self.facts().messages_outbound += 1;
        self.credit(event.time_ms, event.actor, kpi::MESSAGES_OUTBOUND, 1);
        if let Some(text) = text {
            self.turn(event, event.actor, (Speaker::Agent, outbound), text);
        }
        if outbound {
            self.facts().agent_first |= first;
            self.reply(event.time_ms, event.actor);
        }
    }

    fn reply(&mut self, time_ms: TimeMs, agent: Option<Symbol>) {
        self.credit(time_ms, agent, kpi::REPLIES, 1);
        let facts = self.facts();
        facts.replies += 1;
        if let Some(start_ms) = self.run_ms.take() {
            self.duration(time_ms, agent, kpi::REPLY_TIME, start_ms);
            let facts = self.facts();
            facts.reply_time_count += 1;
            facts.reply_time_sum_ms += time_ms - start_ms;
        }
        self.end_silence_run(time_ms, Closing::Fulfilled { agent, placement: self.now });
        self.response_of_any(time_ms, agent);
        self.first_response(time_ms, agent);
        if let Some((_, from_ms)) = self.assignment.take_if(|(assigned, _)| Some(*assigned) == agent) {
            self.duration(time_ms, agent, kpi::AGENT_FIRST_RESPONSE_TIME, from_ms);
        }
        self.handled(time_ms, agent);
        self.cycle.last_replier = agent;
        self.last_replier = agent;
        self.first_reply_ms.get_or_insert(time_ms);
    }

    /// Rule 41.
    pub(super) fn handled(&mut self, time_ms: TimeMs, agent: Option<Symbol>) {
        if !self.cycle.handlers.contains(&agent) {
            self.cycle.handlers.push(agent);
            self.credit(time_ms, agent, kpi::CONVERSATIONS_HANDLED, 1);
        }
    }

    /// From when the cycle's first response is awaited: its first customer message, or a later bot handoff.
    pub(super) fn asked_ms(&mut self) -> Option<TimeMs> {
        let handoff_ms = self.cycle.handoff_ms;
        self.facts().first_customer_message_ms.map(|asked_ms| handoff_ms.map_or(asked_ms, |at| at.max(asked_ms)))
    }

    /// Rule 16.
    fn first_response(&mut self, time_ms: TimeMs, agent: Option<Symbol>) {
        let Some(from_ms) = self.asked_ms().filter(|_| !self.cycle.responded) else { return };
        self.cycle.responded = true;
        let business_ms = self.timeline.business_ms(from_ms, time_ms);
        let facts = self.facts();
        facts.first_reply_ms = Some(time_ms);
        facts.first_reply_agent = agent;
        facts.first_response_time_ms = Some(time_ms - from_ms);
        facts.first_response_time_business_ms = business_ms;
        self.duration(time_ms, agent, kpi::FIRST_RESPONSE_TIME, from_ms);
        self.cohort(agent, kpi::FIRST_RESPONSE_TIME_COHORT, time_ms - from_ms, business_ms);
        if !self.resolved {
            let end = Some((time_ms, Closing::Fulfilled { agent, placement: self.now }));
            self.measures.push(Measure { kind: MeasureKind::FirstResponse, from_ms, end });
        }
    }

    /// Rule 32.
    fn response_of_any(&mut self, time_ms: TimeMs, agent: Option<Symbol>) {
        let asked_ms = self.facts().first_customer_message_ms;
        if let Some(asked_ms) = asked_ms.filter(|_| !self.cycle.responded_any) {
            self.cycle.responded_any = true;
            self.duration(time_ms, agent, kpi::FIRST_RESPONSE_TIME_ANY, asked_ms);
        }
    }

    /// Rule 46.
    pub(super) fn handoff(&mut self, event: &Event, fallback: bool) {
        self.has_bot = true;
        self.has_handoff = true;
        self.facts().handed_off = true;
        self.cycle.handoff_ms.get_or_insert(event.time_ms);
        if fallback {
            self.credit(event.time_ms, None, kpi::BOT_FALLBACK, 1);
        }
        let asked_ms = self.facts().first_customer_message_ms;
        if let Some(asked_ms) = asked_ms.filter(|_| !self.cycle.handoff_timed) {
            self.cycle.handoff_timed = true;
            self.duration(event.time_ms, None, kpi::TIME_TO_HANDOFF, asked_ms);
        }
    }

    fn turn(&mut self, event: &Event, agent: Option<Symbol>, (speaker, is_reply): (Speaker, bool), text: TextRef) {
        let Body::Message { message_id, .. } = &event.body else { return };
        let (cycle, cycle_day) = (self.view.facts.len() as i64, self.facts().day);
        let credited = self.timeline.credited(agent, event.time_ms, self.now);
        self.view.turns.push(Turn {
            time_ms: event.time_ms,
            conversation: self.key,
            cycle,
            cycle_day,
            source: event.source,
            event_id: event.event_id.clone(),
            message_id: message_id.clone(),
            channel: self.preparation.channel,
            agent,
            team: credited.team,
            queue: credited.queue,
            speaker,
            is_reply,
            chars: text.chars,
            text: text.key,
        });
    }

    /// Ends a run of customer messages that a resolve also answers: rule 20 (a), a run that ends after τ has been silent
    /// from its start + τ on; rule 45, the measure of a further response.
    pub(super) fn end_silence_run(&mut self, time_ms: TimeMs, closing: Closing) {
        let Some((from_ms, is_next)) = self.silence_run.take() else { return };
        self.fall_silent_after(from_ms, time_ms);
        if is_next {
            self.measures.push(Measure { kind: MeasureKind::NextResponse, from_ms, end: Some((time_ms, closing)) });
        }
    }

    /// Rule 20 (a), for a run that lasted to a time.
    fn fall_silent_after(&mut self, from_ms: TimeMs, time_ms: TimeMs) {
        let silent_ms = from_ms + self.context.rules.silence_after_ms;
        if time_ms > silent_ms && !self.facts().silent {
            let placement = self.timeline.at(silent_ms);
            self.facts().silent = true;
            let credited = self.timeline.credited(placement.owner, silent_ms, placement);
            self.credit_to(silent_ms, credited, kpi::SILENT_DIALOGUES, 1, None);
        }
    }

    /// A run that nobody has answered: silence, waiting, a measure that is still open.
    pub(super) fn finish_silence(&mut self) {
        let Some((from_ms, is_next)) = self.silence_run else { return };
        if !self.facts().silent {
            self.view.deadlines_ms.push(from_ms + self.context.rules.silence_after_ms);
            self.fall_silent_after(from_ms, self.context.as_of_ms);
        }
        if is_next {
            self.measures.push(Measure { kind: MeasureKind::NextResponse, from_ms, end: None });
        }
        if !self.resolved {
            let credited = self.timeline.credited(self.now.owner, self.context.as_of_ms, self.now);
            self.view.wait = Some(crate::conversation::view::Wait { credited, since_ms: from_ms });
        }
    }
}
