//! Connected stretches of an agent and the work after them, complete or in pieces.

use super::Story;
use crate::model::{DAY_MS, HOUR_MS};
use serde_json::{Value, json};

const SEGMENTS: [Option<&str>; 5] = [None, Some("g1"), Some("g1"), Some("g2"), Some("g3")];

impl Story<'_> {
    /// A call from the queue to the work after it; any part may be missing.
    pub(super) fn call(&mut self) {
        let segment = self.dice().pick(&SEGMENTS);
        self.start(segment);
        self.talk();
        for _ in 0..self.dice().weighted(&[(5, 0), (3, 1), (2, 2)]) {
            self.hold(segment);
            self.talk();
        }
        if self.dice().chance(850) {
            self.tell("segment_ended", json!({ "segment_id": segment }));
        }
        if self.dice().chance(550) {
            self.talk();
            if self.dice().chance(800) {
                self.tell("acw_started", json!({ "segment_id": segment }));
                self.talk();
            }
            if self.dice().chance(800) {
                self.tell("acw_ended", json!({ "segment_id": segment }));
            }
        }
    }

    /// One event of a call, wherever it may belong: ended twice, ended before it starts, held when over …
    pub(super) fn loose_end_of_call(&mut self) {
        let segment = self.dice().pick(&SEGMENTS);
        match self.dice().below(6) {
            0..2 => self.start(segment),
            2 => self.hold(segment),
            3 => self.tell("segment_ended", json!({ "segment_id": segment })),
            4 => self.tell("acw_started", json!({ "segment_id": segment })),
            _ => self.tell("acw_ended", json!({ "segment_id": segment })),
        }
    }

    fn start(&mut self, segment: Option<&str>) {
        let agent = self.agent();
        let mut columns = self.dice().weighted(&[
            (5, json!({ "agent_id": agent, "actor_type": "agent" })),
            (3, json!({ "actor_type": "agent", "actor_id": agent })),
            (1, json!({ "actor_type": "agent" })),
            (1, json!({ "actor_type": "bot", "actor_id": "robot" })),
            (1, json!({})),
        ]);
        columns["segment_id"] = segment.into();
        self.tell("segment_started", columns);
    }

    fn hold(&mut self, segment: Option<&str>) {
        let duration = self.dice().pick(&[Value::Null, 0.into(), 30_000.into(), 600_000.into(), HOUR_MS.into()]);
        self.tell("segment_held", json!({ "segment_id": segment, "duration_ms": duration }));
    }

    /// Time passes; often over the edge of an hour, at times over that of a day.
    fn talk(&mut self) {
        let to_next = |now: i64, width: i64| width - now.rem_euclid(width);
        self.now += match self.dice().below(10) {
            0..2 => 0,
            2..4 => 30_000,
            4..7 => 60_000 * (1 + self.dice().below(40) as i64),
            7 => to_next(self.now, HOUR_MS) + self.dice().pick(&[-1, 0, 1, 900_000]),
            8 => 2 * HOUR_MS + 1,
            _ => to_next(self.now, DAY_MS) + self.dice().pick(&[0, 600_000]),
        };
    }
}
