//! From the history of one conversation to its facts: a pure function, the heart of the KPIs.
//!
//! [`view`] walks the events once, in the order of the contract, and yields everything downstream stages want to
//! know: facts per cycle, moments credited to agents, changes of the unattended level, turns to score, rejects. The
//! rules are numbered in `pipeline/decisions/0001-kpi-fine-print.md`; comments refer to those numbers.

mod unattended;

use contactflow_schemas::catalogue::Moment;
use contactflow_schemas::clock::{TimeMs, day_of};
use contactflow_schemas::event::{ActorType, Body, ConversationKey, Direction, Event, TextRef, Visibility};
use contactflow_schemas::facts::{CycleFacts, Speaker, Turn};
use contactflow_schemas::normalise::speaker;
use contactflow_schemas::symbol::Symbol;

use self::unattended::Unattended;
use super::preparation::Preparation;
use super::view::{Credit, SILENCE_AFTER_MS, UNATTENDED_MAX_MS, View};

/// Computes the view of a conversation whose events are in order, as of `as_of_ms`.
pub fn view(key: ConversationKey, events: &[Event], as_of_ms: TimeMs) -> View {
    let preparation = Preparation::of(key, events);
    let mut rejects = preparation.orphans.clone();
    rejects.sort_unstable();
    let Some(created_ms) = preparation.created_ms else {
        return View { rejects, ..View::default() };
    };
    let mut fold = Fold::new(key, &preparation, created_ms);
    for (position, event) in events.iter().enumerate() {
        if !preparation.void[position] {
            fold.event(position, event);
        }
    }
    let mut view = fold.finish(events, as_of_ms);
    view.rejects = rejects;
    view
}

/// A resolve that stands.
#[derive(Clone, Copy)]
struct Resolve {
    time_ms: TimeMs,
    agent: Option<Symbol>,
    cycle: usize,
    turns: i64,
}

/// What is known of a cycle beyond its facts.
#[derive(Default)]
struct CycleState {
    last_replier: Option<Symbol>,
    handoff_ms: Option<TimeMs>,
    responded: bool,
    connected: bool,
    public_messages: i64,
}

struct Fold<'a> {
    key: ConversationKey,
    preparation: &'a Preparation<'a>,
    created_ms: TimeMs,
    view: View,
    cycle: CycleState,
    owner: Option<Symbol>,
    /// Owners with the time they took over, for rule 20.
    owners: Vec<(TimeMs, Option<Symbol>)>,
    last_replier: Option<Symbol>,
    /// First message of the run of unanswered customer messages (rule 15).
    run_ms: Option<TimeMs>,
    /// The same for rule 20, where a resolve answers.
    silence_run_ms: Option<TimeMs>,
    resolved: bool,
    replied: bool,
    last_resolve: Option<Resolve>,
    /// Speaker runs so far and who spoke last (rule 18).
    turns: i64,
    last_speaker: Option<ActorType>,
    unattended: Option<Unattended>,
}

impl<'a> Fold<'a> {
    fn new(key: ConversationKey, preparation: &'a Preparation<'a>, created_ms: TimeMs) -> Self {
        let mut fold = Fold {
            key,
            preparation,
            created_ms,
            view: View { channel: Some(preparation.channel), ..View::default() },
            cycle: CycleState::default(),
            owner: None,
            owners: Vec::new(),
            last_replier: None,
            run_ms: None,
            silence_run_ms: None,
            resolved: false,
            replied: false,
            last_resolve: None,
            turns: 0,
            last_speaker: None,
            unattended: None,
        };
        fold.open_cycle(created_ms);
        fold.update_unattended(created_ms);
        fold
    }

    fn facts(&mut self) -> &mut CycleFacts {
        self.view.facts.last_mut().expect("a fold opens its first cycle at once")
    }

    fn credit(&mut self, time_ms: TimeMs, agent: Option<Symbol>, moment: Moment) {
        self.view.credits.push(Credit { time_ms, agent, moment });
    }

    fn open_cycle(&mut self, opened_ms: TimeMs) {
        self.cycle = CycleState::default();
        self.view.facts.push(CycleFacts {
            day: day_of(opened_ms),
            conversation: self.key,
            cycle: self.view.facts.len() as i64 + 1,
            channel: self.preparation.channel,
            conversation_created_ms: self.created_ms,
            opened_ms,
            resolved_ms: None,
            owner: self.owner,
            resolved_by: None,
            first_reply_agent: None,
            messages_inbound: 0,
            messages_outbound: 0,
            messages_private: 0,
            replies: 0,
            eligible_turns: 0,
            first_customer_message_ms: None,
            first_reply_ms: None,
            first_response_time_ms: None,
            reply_time_count: 0,
            reply_time_sum_ms: 0,
            cycle_resolution_time_ms: None,
            full_resolution_time_ms: None,
            turns: None,
            csat_count: 0,
            csat_sum_millionths: 0,
            agent_first: false,
            out_of_order: false,
            silent: false,
            spam: self.preparation.spam,
            merged: self.preparation.merged,
        });
    }

    fn event(&mut self, position: usize, event: &Event) {
        match &event.body {
            Body::Message { direction, visibility, .. } => {
                self.message(event, *direction, *visibility, self.preparation.text_of(position));
            }
            Body::Status(status) if status.is_resolved() => {
                if !self.resolved {
                    self.resolve(event);
                }
            }
            Body::Status(_) => {
                if self.resolved {
                    self.reopen(event.time_ms);
                }
            }
            Body::Assigned { agent } => {
                self.owner = *agent;
                self.owners.push((event.time_ms, *agent));
                if !self.resolved {
                    self.facts().owner = *agent;
                }
                self.update_unattended(event.time_ms);
            }
            Body::SegmentStarted { agent } => {
                self.cycle.connected |= agent.is_some() || event.actor_type == Some(ActorType::Agent);
            }
            Body::Handoff => {
                self.cycle.handoff_ms.get_or_insert(event.time_ms);
            }
            Body::Rated { agent, csat_millionths, .. } => {
                if self.preparation.standing_ratings.contains(&position) {
                    self.rating(event.time_ms, agent.or(self.last_replier), *csat_millionths);
                }
            }
            Body::Created
            | Body::Edited { .. }
            | Body::Deleted { .. }
            | Body::Merged
            | Body::Spam(_)
            | Body::Other(_) => {}
        }
    }

    fn message(&mut self, event: &Event, direction: Option<Direction>, visibility: Visibility, text: Option<TextRef>) {
        let author = speaker(event.actor_type, direction, event.actor);
        if visibility == Visibility::Private {
            // Rule 14.
            let agent = event.actor.filter(|_| author == Some(ActorType::Agent));
            self.facts().messages_private += 1;
            self.credit(event.time_ms, agent, Moment::MessagePrivate);
            return;
        }
        match (author, event.actor_type) {
            (Some(ActorType::Customer), _) => self.customer_message(event, text),
            (Some(_), _) => self.agent_message(event, direction != Some(Direction::Inbound), text),
            (None, Some(ActorType::Bot)) => {
                self.facts().messages_outbound += 1;
                self.credit(event.time_ms, None, Moment::MessageOutbound);
                self.spoke(ActorType::Bot);
            }
            // Automations and the system are no side of the conversation (rule 7).
            (None, _) => {}
        }
    }

    fn spoke(&mut self, speaker: ActorType) {
        self.cycle.public_messages += 1;
        if self.last_speaker != Some(speaker) {
            self.turns += 1;
            self.last_speaker = Some(speaker);
        }
    }

    fn customer_message(&mut self, event: &Event, text: Option<TextRef>) {
        let time_ms = event.time_ms;
        if self.resolved {
            self.reopen(time_ms);
        }
        self.spoke(ActorType::Customer);
        self.run_ms.get_or_insert(time_ms);
        self.silence_run_ms.get_or_insert(time_ms);
        // Rule 13: the agent in charge.
        let agent = self.owner.or(self.cycle.last_replier);
        let facts = self.facts();
        facts.messages_inbound += 1;
        facts.first_customer_message_ms.get_or_insert(time_ms);
        self.credit(time_ms, agent, Moment::MessageInbound);
        if let Some(text) = text {
            self.facts().eligible_turns += 1;
            self.credit(time_ms, agent, Moment::EligibleTurn);
            self.turn(event, agent, Speaker::Customer, text);
        }
    }

    fn agent_message(&mut self, event: &Event, outbound: bool, text: Option<TextRef>) {
        let first = self.cycle.public_messages == 0;
        self.spoke(ActorType::Agent);
        self.facts().messages_outbound += 1;
        self.credit(event.time_ms, event.actor, Moment::MessageOutbound);
        if let Some(text) = text {
            self.turn(event, event.actor, Speaker::Agent, text);
        }
        if outbound {
            self.facts().agent_first |= first;
            self.reply(event.time_ms, event.actor);
        }
    }

    fn reply(&mut self, time_ms: TimeMs, agent: Option<Symbol>) {
        let reply_time_ms = self.run_ms.take().map(|start_ms| time_ms - start_ms);
        self.end_silence_run(time_ms);
        let first_response_time_ms = self.first_response(time_ms, agent);
        let facts = self.facts();
        facts.replies += 1;
        facts.reply_time_count += i64::from(reply_time_ms.is_some());
        facts.reply_time_sum_ms += reply_time_ms.unwrap_or(0);
        self.credit(time_ms, agent, Moment::Reply { reply_time_ms, first_response_time_ms });
        self.cycle.last_replier = agent;
        self.last_replier = agent;
        self.replied = true;
        self.update_unattended(time_ms);
    }

    /// Rule 16.
    fn first_response(&mut self, time_ms: TimeMs, agent: Option<Symbol>) -> Option<i64> {
        let asked_ms = self.facts().first_customer_message_ms?;
        if self.cycle.responded {
            return None;
        }
        self.cycle.responded = true;
        let from_ms = self.cycle.handoff_ms.map_or(asked_ms, |handoff_ms| handoff_ms.max(asked_ms));
        let facts = self.facts();
        facts.first_reply_ms = Some(time_ms);
        facts.first_reply_agent = agent;
        facts.first_response_time_ms = Some(time_ms - from_ms);
        facts.first_response_time_ms
    }

    fn resolve(&mut self, event: &Event) {
        let time_ms = event.time_ms;
        // Rule 10.
        let human = event.actor_type.is_none_or(|actor_type| actor_type == ActorType::Agent);
        let agent = event.actor.filter(|_| human).or(self.owner);
        self.end_silence_run(time_ms);
        let unanswered = self.facts().replies == 0 && !self.cycle.connected;
        if unanswered && !self.facts().silent {
            self.fall_silent(time_ms, agent);
        }
        let turns = self.turns;
        let facts = self.facts();
        facts.resolved_ms = Some(time_ms);
        facts.resolved_by = agent;
        facts.cycle_resolution_time_ms = not_negative(time_ms - facts.opened_ms);
        let cycle_resolution_time_ms = facts.cycle_resolution_time_ms;
        self.credit(time_ms, agent, Moment::Resolve { cycle_resolution_time_ms });
        self.last_resolve = Some(Resolve { time_ms, agent, cycle: self.view.facts.len() - 1, turns });
        self.resolved = true;
        self.update_unattended(time_ms);
    }

    fn reopen(&mut self, time_ms: TimeMs) {
        let agent = self.last_resolve.and_then(|resolve| resolve.agent);
        self.credit(time_ms, agent, Moment::Reopen);
        self.resolved = false;
        self.open_cycle(time_ms);
        self.update_unattended(time_ms);
    }

    fn rating(&mut self, time_ms: TimeMs, agent: Option<Symbol>, csat_millionths: i64) {
        self.credit(time_ms, agent, Moment::Rating { csat_millionths });
        let facts = self.facts();
        facts.csat_count += 1;
        facts.csat_sum_millionths += csat_millionths;
    }

    fn turn(&mut self, event: &Event, agent: Option<Symbol>, speaker: Speaker, text: TextRef) {
        let Body::Message { message_id, .. } = &event.body else { return };
        let (cycle, cycle_day) = (self.view.facts.len() as i64, self.facts().day);
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
            speaker,
            text: text.key,
        });
    }

    /// Rule 20 (a): a run that ends after τ has been silent from its start + τ on.
    fn end_silence_run(&mut self, time_ms: TimeMs) {
        if let Some(start_ms) = self.silence_run_ms.take() {
            let silent_ms = start_ms + SILENCE_AFTER_MS;
            if time_ms > silent_ms && !self.facts().silent {
                let owner = self.owner_at(silent_ms);
                self.fall_silent(silent_ms, owner);
            }
        }
    }

    fn fall_silent(&mut self, time_ms: TimeMs, agent: Option<Symbol>) {
        self.facts().silent = true;
        self.credit(time_ms, agent, Moment::Silence);
    }

    fn owner_at(&self, time_ms: TimeMs) -> Option<Symbol> {
        self.owners.iter().rev().find(|(from_ms, _)| *from_ms <= time_ms).and_then(|(_, owner)| *owner)
    }

    fn finish(mut self, events: &[Event], as_of_ms: TimeMs) -> View {
        if let Some(start_ms) = self.silence_run_ms.filter(|_| !self.facts().silent) {
            self.view.deadlines_ms.push(start_ms + SILENCE_AFTER_MS);
            self.end_silence_run(as_of_ms);
        }
        if let Some(stretch) = self.unattended.filter(|stretch| !stretch.given_up) {
            self.view.deadlines_ms.push(stretch.since_ms + UNATTENDED_MAX_MS);
            self.give_up_unattended(as_of_ms);
        }
        if let Some(resolve) = self.last_resolve {
            self.last_resolve(resolve);
        }
        self.flag_disorder(events);
        if self.preparation.spam {
            // Rule 12: counts nowhere; the facts stay, marked.
            self.view.credits.clear();
            self.view.levels.clear();
            self.view.turns.clear();
            self.view.deadlines_ms.clear();
            self.view.facts.iter_mut().for_each(|facts| facts.silent = false);
        }
        self.view
    }

    /// Rule 18.
    fn last_resolve(&mut self, resolve: Resolve) {
        let standing = self.resolved.then_some(resolve.time_ms - self.created_ms);
        let full_resolution_time_ms = standing.and_then(not_negative);
        let facts = &mut self.view.facts[resolve.cycle];
        facts.full_resolution_time_ms = full_resolution_time_ms;
        facts.turns = Some(resolve.turns);
        let moment = Moment::LastResolve { full_resolution_time_ms, turns: resolve.turns };
        self.credit(resolve.time_ms, resolve.agent, moment);
    }

    /// Rule 25.
    fn flag_disorder(&mut self, events: &[Event]) {
        let void = &self.preparation.void;
        let mut counting = events.iter().zip(void).filter(|(_, void)| !**void).map(|(event, _)| event);
        let created_late = counting.position(|event| event.body == Body::Created).is_some_and(|at| at > 0);
        let mut customer_later = false;
        for facts in self.view.facts.iter_mut().rev() {
            customer_later |= facts.messages_inbound > 0;
            facts.out_of_order = (facts.agent_first && customer_later) || (facts.cycle == 1 && created_late);
        }
    }
}

/// Durations of events out of order are no durations.
fn not_negative(duration_ms: i64) -> Option<i64> {
    (duration_ms >= 0).then_some(duration_ms)
}
