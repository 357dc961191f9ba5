//! SLA instances: met, breached, pending, at risk (rule 45).
//!
//! Nothing polls: an instance's due time follows from the history, and the view names it as a deadline, so it turns
//! into a breach the moment event time passes it.

use contactflow_schemas::catalogue::kpi;
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::dimension::SlaTargets;
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::tally::KpiId;

use super::Fold;
use super::timeline::Placement;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MeasureKind {
    FirstResponse,
    NextResponse,
    Resolution,
}

/// How a measure ends.
#[derive(Clone, Copy)]
pub(super) enum Closing {
    /// What was asked for was done, by this agent.
    Fulfilled { agent: Option<Symbol>, placement: Placement },
    /// It is asked for no more.
    Cancelled,
}

/// A measure, from its start to its end, if it has one.
pub(super) struct Measure {
    pub(super) kind: MeasureKind,
    pub(super) from_ms: TimeMs,
    pub(super) end: Option<(TimeMs, Closing)>,
}

/// The KPIs of a measure.
struct Counts {
    met: KpiId,
    breached: KpiId,
    pending: KpiId,
    at_risk: KpiId,
}

impl MeasureKind {
    fn counts(self) -> Counts {
        match self {
            Self::FirstResponse => Counts {
                met: kpi::SLA_FIRST_RESPONSE_MET,
                breached: kpi::SLA_FIRST_RESPONSE_BREACHED,
                pending: kpi::SLA_FIRST_RESPONSE_PENDING,
                at_risk: kpi::SLA_FIRST_RESPONSE_AT_RISK,
            },
            Self::NextResponse => Counts {
                met: kpi::SLA_NEXT_RESPONSE_MET,
                breached: kpi::SLA_NEXT_RESPONSE_BREACHED,
                pending: kpi::SLA_NEXT_RESPONSE_PENDING,
                at_risk: kpi::SLA_NEXT_RESPONSE_AT_RISK,
            },
            Self::Resolution => Counts {
                met: kpi::SLA_RESOLUTION_MET,
                breached: kpi::SLA_RESOLUTION_BREACHED,
                pending: kpi::SLA_RESOLUTION_PENDING,
                at_risk: kpi::SLA_RESOLUTION_AT_RISK,
            },
        }
    }

    fn target_ms(self, targets: &SlaTargets) -> Option<i64> {
        match self {
            Self::FirstResponse => targets.first_response_ms,
            Self::NextResponse => targets.next_response_ms,
            Self::Resolution => targets.resolution_ms,
        }
    }
}

/// A stretch of a measure under one version of one policy.
struct Piece {
    /// Policy and number of its version; none without a policy in force.
    regime: Option<(Symbol, usize)>,
    from_ms: TimeMs,
    /// None: open, like its measure.
    to_ms: Option<TimeMs>,
    is_last: bool,
}

impl Fold<'_> {
    pub(super) fn finish_measures(&mut self) {
        if !self.resolved {
            let opened_ms = self.facts().opened_ms;
            self.measures.push(Measure { kind: MeasureKind::Resolution, from_ms: opened_ms, end: None });
            if let Some(from_ms) = self.asked_ms().filter(|_| !self.cycle.responded) {
                self.measures.push(Measure { kind: MeasureKind::FirstResponse, from_ms, end: None });
            }
        }
        if self.policies.is_empty() {
            return;
        }
        self.view.is_measured = self.measures.iter().any(|measure| measure.end.is_none());
        for measure in std::mem::take(&mut self.measures) {
            if measure.end.is_some_and(|(end_ms, _)| end_ms < measure.from_ms) {
                continue;
            }
            for piece in self.pieces(&measure) {
                self.instance(&measure, &piece);
            }
        }
    }

    /// The policy at a time.
    fn policy_at(&self, time_ms: TimeMs) -> Option<Symbol> {
        let later = self.policies.partition_point(|(from_ms, _)| *from_ms <= time_ms);
        later.checked_sub(1).and_then(|position| self.policies[position].1)
    }

    /// Cuts a measure where policy or version change.
    fn pieces(&self, measure: &Measure) -> Vec<Piece> {
        let (from_ms, end_ms) = (measure.from_ms, measure.end.map(|(end_ms, _)| end_ms));
        let limit_ms = end_ms.unwrap_or(TimeMs::MAX);
        let mut cuts: Vec<TimeMs> = self.policies.iter().map(|(at, _)| *at).collect();
        for policy in self.policies.iter().filter_map(|(_, policy)| *policy) {
            cuts.extend(self.context.dimensions.policy_changes(policy, from_ms, limit_ms));
        }
        cuts.retain(|at| (from_ms + 1..limit_ms).contains(at));
        cuts.push(from_ms);
        cuts.sort_unstable();
        let mut pieces: Vec<Piece> = Vec::new();
        for from_ms in cuts {
            let policy = self.policy_at(from_ms);
            let regime = policy.and_then(|policy| {
                self.context.dimensions.targets(policy, from_ms).map(|(version, _)| (policy, version))
            });
            match pieces.last_mut() {
                Some(last) if last.regime == regime => {}
                last => {
                    if let Some(last) = last {
                        last.to_ms = Some(from_ms);
                        last.is_last = false;
                    }
                    pieces.push(Piece { regime, from_ms, to_ms: end_ms, is_last: true });
                }
            }
        }
        pieces
    }

    fn instance(&mut self, measure: &Measure, piece: &Piece) {
        let dimensions = self.context.dimensions;
        let Some((policy, _)) = piece.regime else { return };
        let Some((_, targets)) = dimensions.targets(policy, piece.from_ms) else { return };
        let Some(target_ms) = measure.kind.target_ms(targets) else { return };
        let limit_ms = piece.to_ms.unwrap_or(TimeMs::MAX);
        let reach = |amount_ms| {
            self.timeline.reach(measure.from_ms, limit_ms, amount_ms, targets.pauses, targets.business_hours)
        };
        let (Ok(due_ms), Ok(risk_ms)) = (reach(target_ms), reach(target_ms * 4 / 5)) else { return };
        let due_ms = due_ms.map(|due_ms| due_ms.max(piece.from_ms)).filter(|due_ms| *due_ms < limit_ms);
        let risk_ms = risk_ms.map(|risk_ms| risk_ms.max(piece.from_ms));
        let counts = measure.kind.counts();
        let as_of_ms = self.context.as_of_ms;
        let overdue_ms = due_ms.filter(|due_ms| as_of_ms > *due_ms);
        if piece.to_ms.is_none() {
            // What as_of has passed may be to come again when the latest event is taken back.
            self.view.deadlines_ms.extend(due_ms);
            self.view.deadlines_ms.extend(risk_ms.map(|risk_ms| risk_ms - 1));
        }
        match (overdue_ms, measure.end) {
            (Some(due_ms), _) => {
                let placement = self.timeline.at(due_ms);
                let credited = self.timeline.credited(placement.owner, due_ms, placement);
                self.credit_to(due_ms, credited, counts.breached, 1, None);
            }
            (None, Some((end_ms, Closing::Fulfilled { agent, placement }))) if piece.is_last => {
                let credited = self.timeline.credited(agent, end_ms, placement);
                self.credit_to(end_ms, credited, counts.met, 1, None);
            }
            _ => {}
        }
        let end_ms = self.level_end(piece.from_ms, overdue_ms.or(piece.to_ms));
        self.level(counts.pending, piece.from_ms, end_ms, Some);
        if let Some(risk_ms) = risk_ms.filter(|risk_ms| as_of_ms >= *risk_ms) {
            self.level(counts.at_risk, risk_ms, end_ms, Some);
        }
    }
}
