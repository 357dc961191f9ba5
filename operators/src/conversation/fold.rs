//! From the history of one conversation to its view: a pure function, the heart of the KPIs.
//!
//! [`view`] walks the events once, in the order of the contract, and yields everything downstream stages want to
//! know: facts per cycle, values credited to agents, changes of levels, turns to score, rejects. The rules are
//! numbered in `pipeline/decisions/0001-kpi-fine-print.md`; comments refer to those numbers.
//!
//! What needs only the events so far is credited while walking (`messages`, `lifecycle`, `queue`); what depends on later
//! events or on the passing of time is gathered and credited at the end (`outcome`, `segments`, `sla`, `levels`).

mod labels;
mod levels;
mod lifecycle;
mod messages;
mod outcome;
mod queue;
mod segments;
mod sla;
mod timeline;

use contactflow_schemas::catalogue::kpi;
use contactflow_schemas::clock::{TimeMs, day_of};
use contactflow_schemas::event::{Body, ConversationKey, Event, TransferKind};
use contactflow_schemas::facts::CycleFacts;
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::tally::KpiId;
use contactflow_schemas::windows::Window;

use self::levels::Stretch;
use self::lifecycle::Resolve;
use self::outcome::Survey;
use self::queue::Visit;
use self::segments::{Ownership, SegmentEvent};
use self::sla::Measure;
use self::timeline::{Placement, Timeline};
use super::preparation::{Preparation, is_label};
use super::view::{Context, Credit, Credited, View};

/// Computes the view of a conversation whose events are in order.
pub fn view(context: &Context, key: ConversationKey, events: &[Event]) -> View {
    let preparation = Preparation::of(key, events);
    let mut rejects = preparation.orphans.clone();
    rejects.sort_unstable();
    let Some(created_ms) = preparation.created_ms else {
        return View { rejects, ..View::default() };
    };
    let mut fold = Fold::new(*context, key, &preparation, created_ms);
    for (position, event) in events.iter().enumerate() {
        match &event.body {
            Body::Label(label) => fold.label(position, event, label),
            _ if preparation.void[position] => {}
            _ => fold.event(position, event),
        }
    }
    let mut view = fold.finish();
    view.rejects = rejects;
    view
}

/// The facts of a conversation that was merged into another: it counts nowhere (rule 12).
pub fn void_view(context: &Context, key: ConversationKey, events: &[Event], root: Symbol) -> View {
    let View { channel, mut facts, rejects, .. } = view(context, key, events);
    for row in &mut facts {
        row.merged_into = Some(root);
        row.silent = false;
        row.one_touch = false;
    }
    View { channel, facts, rejects, ..View::default() }
}

/// The events that a merged conversation hands to its root, as they stand there (rule 12).
pub fn moved_events(key: ConversationKey, events: &[Event]) -> Vec<Event> {
    let preparation = Preparation::of(key, events);
    if preparation.created_ms.is_none() || preparation.spam {
        return Vec::new();
    }
    let stays = |body: &Body| {
        matches!(
            body,
            Body::Created
                | Body::Status(_)
                | Body::Edited { .. }
                | Body::Deleted { .. }
                | Body::Merged { .. }
                | Body::Spam(_)
        )
    };
    let moves = |(at, event): &(usize, &Event)| is_label(event) || (!preparation.void[*at] && !stays(&event.body));
    let kept = events.iter().enumerate().filter(moves);
    kept.map(|(position, event)| {
        let mut moved = Event { home: Some(key.conversation), ..event.clone() };
        if let Body::Message { text, .. } = &mut moved.body {
            *text = preparation.text_of(position);
        }
        moved
    })
    .collect()
}

/// What is known of the current cycle beyond its facts.
#[derive(Default)]
struct CycleState {
    last_replier: Option<Symbol>,
    /// First bot_handoff.
    handoff_ms: Option<TimeMs>,
    handoff_timed: bool,
    responded: bool,
    responded_any: bool,
    connected: bool,
    public_messages: i64,
    /// Agents counted in conversations_handled_count.
    handlers: Vec<Option<Symbol>>,
}

struct Fold<'a> {
    key: ConversationKey,
    context: Context<'a>,
    preparation: &'a Preparation<'a>,
    created_ms: TimeMs,
    timeline: Timeline<'a>,
    view: View,
    /// The placement after the current event.
    now: Placement,
    cycle: CycleState,
    last_replier: Option<Symbol>,
    /// First message of the run of unanswered customer messages (rule 15).
    run_ms: Option<TimeMs>,
    /// The same where a resolve answers (rule 20), and whether it began after the cycle's first response.
    silence_run: Option<(TimeMs, bool)>,
    resolved: bool,
    first_reply_ms: Option<TimeMs>,
    resolves: Vec<Resolve>,
    /// Speaker runs so far, who spoke last, and how many characters were said (rules 18, 39).
    turns: i64,
    last_speaker: Option<contactflow_schemas::event::ActorType>,
    characters: i64,
    /// An assignment that waits for its agent's first reply (rule 33).
    assignment: Option<(Symbol, TimeMs)>,
    ownership: Option<Ownership>,
    ownerships: Vec<(Ownership, TimeMs, Placement)>,
    visit: Option<Visit>,
    segments: Vec<SegmentEvent>,
    measures: Vec<Measure>,
    /// Policies from a time on.
    policies: Vec<(TimeMs, Option<Symbol>)>,
    stretches: Vec<Stretch>,
    visits: Vec<Visit>,
    surveys: Vec<Survey>,
    has_bot: bool,
    has_handoff: bool,
}

impl<'a> Fold<'a> {
    fn new(context: Context<'a>, key: ConversationKey, preparation: &'a Preparation<'a>, created_ms: TimeMs) -> Self {
        let timeline = Timeline::new(context, preparation.channel, created_ms, preparation.counting());
        let mut fold = Fold {
            key,
            context,
            preparation,
            created_ms,
            timeline,
            view: View { channel: Some(preparation.channel), ..View::default() },
            now: Placement::default(),
            cycle: CycleState::default(),
            last_replier: None,
            run_ms: None,
            silence_run: None,
            resolved: false,
            first_reply_ms: None,
            resolves: Vec::new(),
            turns: 0,
            last_speaker: None,
            characters: 0,
            assignment: None,
            ownership: None,
            ownerships: Vec::new(),
            visit: None,
            segments: Vec::new(),
            measures: Vec::new(),
            policies: Vec::new(),
            stretches: Vec::new(),
            visits: Vec::new(),
            surveys: Vec::new(),
            has_bot: false,
            has_handoff: false,
        };
        fold.open_cycle(created_ms);
        fold
    }

    fn facts(&mut self) -> &mut CycleFacts {
        self.view.facts.last_mut().expect("a fold opens its first cycle at once")
    }

    /// Credits a value at the current event.
    fn credit(&mut self, time_ms: TimeMs, agent: Option<Symbol>, kpi: KpiId, value: i64) {
        let credited = self.timeline.credited(agent, time_ms, self.now);
        self.credit_to(time_ms, credited, kpi, value, None);
    }

    /// Credits the time from `from_ms` to the current event; of events out of order there is none.
    fn duration(&mut self, time_ms: TimeMs, agent: Option<Symbol>, kpi: KpiId, from_ms: TimeMs) {
        if time_ms >= from_ms {
            let credited = self.timeline.credited(agent, time_ms, self.now);
            let business_ms = self.timeline.business_ms(from_ms, time_ms);
            self.credit_to(time_ms, credited, kpi, time_ms - from_ms, business_ms);
        }
    }

    /// Credits a value in the window of the conversation's creation (rule 28).
    fn cohort(&mut self, agent: Option<Symbol>, kpi: KpiId, value: i64, business_ms: Option<i64>) {
        let first = Placement { owner: None, team: self.preparation.first_team, queue: self.preparation.first_queue };
        let credited = self.timeline.credited(agent, self.created_ms, first);
        self.credit_to(self.created_ms, credited, kpi, value, business_ms);
    }

    fn credit_to(&mut self, time_ms: TimeMs, credited: Credited, kpi: KpiId, value: i64, business_ms: Option<i64>) {
        self.view.credits.push(Credit { time_ms, window: Window::Hour, credited, kpi, value, business_ms });
    }

    fn open_cycle(&mut self, opened_ms: TimeMs) {
        self.cycle = CycleState::default();
        self.stretches.push(Stretch { from_ms: opened_ms.max(self.created_ms), to_ms: None });
        self.ownership = self.now.owner.map(|agent| Ownership { agent, from_ms: opened_ms });
        self.view.facts.push(CycleFacts {
            day: day_of(opened_ms),
            conversation: self.key,
            cycle: self.view.facts.len() as i64 + 1,
            channel: self.preparation.channel,
            conversation_created_ms: self.created_ms,
            opened_ms,
            resolved_ms: None,
            owner: self.now.owner,
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
            merged_into: None,
            one_touch: false,
            handed_off: false,
            contact: self.preparation.contact,
            team: self.now.team,
            queue: self.now.queue,
            first_response_time_business_ms: None,
            cycle_resolution_time_business_ms: None,
            full_resolution_time_business_ms: None,
        });
    }

    fn event(&mut self, position: usize, event: &Event) {
        let owner_before = self.now.owner;
        self.now.follow(event);
        let reopens = self.reopens(event);
        if reopens {
            self.reopen(event);
        }
        if !self.resolved {
            let now = self.now;
            let facts = self.facts();
            (facts.owner, facts.team, facts.queue) = (now.owner, now.team, now.queue);
        }
        if let Some(ingest_ms) = event.ingest_ms {
            self.credit(event.time_ms, None, kpi::LATENESS, (ingest_ms - event.time_ms).max(0));
        }
        match &event.body {
            Body::Message { direction, visibility, fallback, .. } => {
                self.message(event, *direction, *visibility, *fallback, self.preparation.text_of(position));
            }
            Body::Status(status) => self.status_changed(event, *status),
            Body::Assigned { .. } => self.owner_changes(event, owner_before),
            Body::Transferred { agent, from, kind } => {
                self.transfer(event, from.or(owner_before), *agent, *kind);
                self.owner_changes(event, owner_before);
            }
            Body::Queued => self.enqueue(event),
            Body::Dequeued { reason, agent } => self.dequeue(event, *reason, *agent),
            Body::Segment { step, segment, agent, duration_ms } => {
                self.segment(event, *step, *segment, *agent, *duration_ms);
            }
            Body::Handoff { fallback } => self.handoff(event, *fallback),
            Body::Rated { agent, csat_millionths, survey } => {
                if let Some(revisions) = self.preparation.standing_rating(position) {
                    let agent = agent.or(self.last_replier);
                    self.rating(event.time_ms, agent, *csat_millionths, revisions);
                    self.survey(*survey).rated = Some(agent);
                }
            }
            Body::SurveySent { survey, agent } => {
                let agent = agent.or(self.last_replier);
                self.survey(*survey).sent_about = agent;
            }
            Body::SlaApplied { policy } => self.policies.push((event.time_ms, Some(*policy))),
            Body::SlaRemoved { policy } => self.remove_policy(event.time_ms, *policy),
            Body::Created
            | Body::Edited { .. }
            | Body::Deleted { .. }
            | Body::Merged { .. }
            | Body::Spam(_)
            | Body::Label(_)
            | Body::Other(_) => {}
        }
    }

    /// Rule 42.
    fn transfer(&mut self, event: &Event, from: Option<Symbol>, to: Option<Symbol>, kind: Option<TransferKind>) {
        let (out_kind, in_kind) = match kind {
            Some(TransferKind::Cold) => (Some(kpi::TRANSFERS_OUT_COLD), Some(kpi::TRANSFERS_IN_COLD)),
            Some(TransferKind::Warm) => (Some(kpi::TRANSFERS_OUT_WARM), Some(kpi::TRANSFERS_IN_WARM)),
            Some(TransferKind::External) => (Some(kpi::TRANSFERS_OUT_EXTERNAL), Some(kpi::TRANSFERS_IN_EXTERNAL)),
            None => (None, None),
        };
        for kpi in std::iter::once(kpi::TRANSFERS_OUT).chain(out_kind) {
            self.credit(event.time_ms, from, kpi, 1);
        }
        for kpi in std::iter::once(kpi::TRANSFERS_IN).chain(in_kind).filter(|_| to.is_some()) {
            self.credit(event.time_ms, to, kpi, 1);
        }
    }

    /// Rules 33 and 40: a change of owner ends what the owner before had begun.
    fn owner_changes(&mut self, event: &Event, before: Option<Symbol>) {
        let owner = self.now.owner;
        if owner == before {
            return;
        }
        self.end_ownership(event.time_ms);
        self.assignment = owner.map(|agent| (agent, event.time_ms));
        if !self.resolved {
            self.ownership = owner.map(|agent| Ownership { agent, from_ms: event.time_ms });
        }
    }

    fn finish(mut self) -> View {
        self.finish_silence();
        self.finish_levels();
        self.finish_segments();
        self.finish_measures();
        self.finish_resolves();
        self.finish_cohort();
        self.flag_disorder();
        if self.preparation.spam {
            // Rule 12: counts nowhere; the facts stay, marked.
            for facts in &mut self.view.facts {
                facts.silent = false;
                facts.one_touch = false;
            }
            let View { channel, facts, .. } = self.view;
            return View { channel, facts, ..View::default() };
        }
        self.view
    }
}
