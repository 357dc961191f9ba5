//! Segments of agents, after-contact work, and the time an owner has an asynchronous conversation open (rules 40, 44).

use contactflow_schemas::catalogue::kpi;
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::dimension::StatusSet;
use contactflow_schemas::event::{ActorType, Event, SegmentStep, Status};
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::tally::KpiId;
use contactflow_schemas::windows::Window;

use super::Fold;
use super::timeline::Placement;

/// What happened to a segment, when, and where the conversation stood.
#[derive(Clone, Copy)]
pub(super) struct SegmentEvent {
    segment: Option<Symbol>,
    step: SegmentStep,
    time_ms: TimeMs,
    agent: Option<Symbol>,
    /// An agent takes part, known by name or not.
    by_agent: bool,
    duration_ms: Option<i64>,
    placement: Placement,
}

/// A stretch of one owner in an unresolved conversation.
#[derive(Clone, Copy)]
pub(super) struct Ownership {
    pub(super) agent: Symbol,
    pub(super) from_ms: TimeMs,
}

impl Fold<'_> {
    pub(super) fn segment(
        &mut self,
        event: &Event,
        step: SegmentStep,
        segment: Option<Symbol>,
        agent: Option<Symbol>,
        duration_ms: Option<i64>,
    ) {
        let actor_is_agent = event.actor_type == Some(ActorType::Agent);
        let by_agent = agent.is_some() || actor_is_agent;
        let agent = agent.or(event.actor.filter(|_| actor_is_agent));
        let time_ms = event.time_ms;
        if step == SegmentStep::Started {
            self.cycle.connected |= by_agent;
            let is_first = self.segments.iter().all(|other| (other.segment, other.step) != (segment, step));
            if by_agent && is_first {
                self.answer_queue(time_ms, agent);
                self.handled(time_ms, agent);
            }
        }
        let placement = self.now;
        self.segments.push(SegmentEvent { segment, step, time_ms, agent, by_agent, duration_ms, placement });
    }

    pub(super) fn end_ownership(&mut self, time_ms: TimeMs) {
        if let Some(ownership) = self.ownership.take() {
            self.ownerships.push((ownership, time_ms, self.now));
        }
    }

    pub(super) fn finish_segments(&mut self) {
        let events = std::mem::take(&mut self.segments);
        let mut seen: Vec<Option<Symbol>> = Vec::new();
        let mut has_segment = false;
        for (position, start) in events.iter().enumerate() {
            if start.step != SegmentStep::Started || seen.contains(&start.segment) {
                continue;
            }
            seen.push(start.segment);
            if start.by_agent {
                has_segment = true;
                let later: Vec<SegmentEvent> =
                    events[position + 1..].iter().filter(|event| event.segment == start.segment).copied().collect();
                self.finish_segment(start, &later);
            }
        }
        if !has_segment {
            self.finish_ownerships();
        }
    }

    /// A segment and the later events of its id.
    fn finish_segment(&mut self, start: &SegmentEvent, later: &[SegmentEvent]) {
        let find = |step: SegmentStep, from_ms: TimeMs| {
            later.iter().find(|event| event.step == step && event.time_ms >= from_ms)
        };
        let Some(end) = find(SegmentStep::Ended, start.time_ms) else { return };
        let (from_ms, to_ms) = (start.time_ms, end.time_ms);
        let at_end = self.timeline.credited(start.agent, to_ms, end.placement);
        let holds = holds(later, to_ms);
        let held_ms: i64 = holds.iter().map(|(from_ms, to_ms)| to_ms - from_ms).sum();
        let talk_business_ms = self.timeline.business_of(&between(&holds, from_ms, to_ms));
        self.credit_to(to_ms, at_end, kpi::TALK_TIME, to_ms - from_ms - held_ms, talk_business_ms);
        if !holds.is_empty() {
            let held_business_ms = self.timeline.business_of(&holds);
            self.credit_to(to_ms, at_end, kpi::HOLD_TIME, held_ms, held_business_ms);
        }
        self.split_over_hours(kpi::CONNECTED_MS, at_end, from_ms, to_ms);
        self.split_over_hours(kpi::HANDLED_MS, at_end, from_ms, to_ms);

        let has_acw = later.iter().any(|event| matches!(event.step, SegmentStep::AcwStarted | SegmentStep::AcwEnded));
        if !has_acw {
            let business_ms = self.timeline.business_of(&[(from_ms, to_ms)]);
            self.credit_to(to_ms, at_end, kpi::HANDLE_TIME, to_ms - from_ms, business_ms);
            return;
        }
        let acw_start = later.iter().find(|event| event.step == SegmentStep::AcwStarted);
        let acw_from_ms = acw_start.map_or(to_ms, |event| event.time_ms.max(to_ms));
        let Some(acw_end) = find(SegmentStep::AcwEnded, acw_from_ms) else { return };
        let acw_to_ms = acw_end.time_ms;
        let at_acw_end = self.timeline.credited(start.agent, acw_to_ms, acw_end.placement);
        let acw_business_ms = self.timeline.business_ms(acw_from_ms, acw_to_ms);
        self.credit_to(acw_to_ms, at_acw_end, kpi::AFTER_CONTACT_WORK_TIME, acw_to_ms - acw_from_ms, acw_business_ms);
        let handle_ms = to_ms - from_ms + acw_to_ms - acw_from_ms;
        let business_ms = self.timeline.business_of(&[(from_ms, to_ms), (acw_from_ms, acw_to_ms)]);
        self.credit_to(acw_to_ms, at_acw_end, kpi::HANDLE_TIME, handle_ms, business_ms);
        self.split_over_hours(kpi::HANDLED_MS, at_acw_end, acw_from_ms, acw_to_ms);
    }

    /// Credits the milliseconds of `[from_ms, to_ms)` to the hours they lie in; of what is longer than a level may last,
    /// the end.
    fn split_over_hours(
        &mut self,
        kpi: KpiId,
        credited: crate::conversation::view::Credited,
        from_ms: TimeMs,
        to_ms: TimeMs,
    ) {
        let windows = self.context.windows;
        let from_ms = from_ms.max(to_ms - self.context.rules.level_max_ms);
        for start_ms in windows.starts(Window::Hour, from_ms, to_ms) {
            let (piece_ms, end_ms) = (start_ms.max(from_ms), windows.end_ms(Window::Hour, start_ms).min(to_ms));
            self.credit_to(piece_ms, credited, kpi, end_ms - piece_ms, None);
        }
    }

    /// Rule 40, async: the time in which an owner had the conversation open.
    fn finish_ownerships(&mut self) {
        let open = StatusSet::of(&[Status::New, Status::Open]);
        for (ownership, to_ms, placement) in std::mem::take(&mut self.ownerships) {
            let stretches = self.timeline.stretches(open, ownership.from_ms, to_ms);
            let handled_ms = stretches.iter().map(|(from_ms, to_ms)| to_ms - from_ms).sum();
            let business_ms = self.timeline.business_of(&stretches);
            let credited = self.timeline.credited(Some(ownership.agent), to_ms, placement);
            self.credit_to(to_ms, credited, kpi::HANDLE_TIME, handled_ms, business_ms);
        }
    }
}

/// What is left of `[from_ms, to_ms)` without ascending holds.
fn between(holds: &[(TimeMs, TimeMs)], from_ms: TimeMs, to_ms: TimeMs) -> Vec<(TimeMs, TimeMs)> {
    let starts = std::iter::once(from_ms).chain(holds.iter().map(|(_, end_ms)| *end_ms));
    let ends = holds.iter().map(|(start_ms, _)| *start_ms).chain([to_ms]);
    starts.zip(ends).collect()
}

/// The holds of a segment that ends at `to_ms`, each up to the next or the end.
fn holds(later: &[SegmentEvent], to_ms: TimeMs) -> Vec<(TimeMs, TimeMs)> {
    let held: Vec<&SegmentEvent> =
        later.iter().filter(|event| event.step == SegmentStep::Held && event.time_ms <= to_ms).collect();
    held.iter()
        .enumerate()
        .map(|(position, hold)| {
            let limit_ms = held.get(position + 1).map_or(to_ms, |next| next.time_ms);
            let until_ms = hold.duration_ms.map_or(limit_ms, |duration_ms| hold.time_ms + duration_ms);
            (hold.time_ms, until_ms.min(limit_ms))
        })
        .collect()
}
