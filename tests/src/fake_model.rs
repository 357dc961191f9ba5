//! A model for tests: what it says follows from the letters of a text, and differs in every way it can.

use crate::oracle::{Answer, Heads, HeardTurn, Quality, Scores};

/// Fails on some texts, answers some never.
#[derive(Clone, Copy, Debug)]
pub struct FakeModel;

/// A text that it never answers.
const PENDING: &str = "it is broken";
/// A text that it fails on.
const FAILING: &str = "你好";
const INTENTS: [&str; 3] = ["refund", "where_is_it", "thanks"];

/// What it makes of a text for its judgement of whole conversations.
pub fn signature(text: &str) -> [i8; 2] {
    let weight: u32 = text.chars().map(u32::from).sum();
    [(weight % 127) as i8, (text.chars().count() % 100) as i8]
}

/// A turn as it judges it.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// [`signature`] of the text.
    pub signature: [i8; 2],
    /// By an agent.
    pub by_agent: bool,
    /// Since the turn before.
    pub gap_ms: i64,
    /// Characters of the text.
    pub chars: u32,
}

/// Its judgement: order, speakers, gaps and lengths matter.
pub fn judge(turns: &[Heard]) -> Option<Quality> {
    let mark = turns.iter().fold(17_i64, |mark, turn| {
        let [weight, length] = turn.signature.map(i64::from);
        (mark * 31 + weight + 3 * length + turn.gap_ms / 7 + i64::from(turn.chars) + i64::from(turn.by_agent))
            % 1_000_003
    });
    let equal = 10_000 / turns.len() as i32;
    let rest = 10_000 - equal * turns.len() as i32;
    let attention = (0..turns.len()).map(|place| if place + 1 == turns.len() { equal + rest } else { equal });
    (mark % 9 != 0).then(|| Quality { score: (mark % 10_001) as i32, attention: attention.collect() })
}

impl Heads for FakeModel {
    fn answer(&self, text: &str) -> Answer {
        let weight = text.chars().map(|letter| letter as i32).sum::<i32>();
        let (negative, neutral) = (weight * 37 % 6_000, weight * 11 % 4_000);
        let (anger, joy, optimism) = (weight * 13 % 3_000, weight * 7 % 3_000, weight * 3 % 3_000);
        let mut emotion = [anger, joy, optimism, 10_000 - anger - joy - optimism];
        // The rest is the largest: let it be each of them.
        emotion.rotate_left(weight as usize % 4);
        match text {
            PENDING => Answer::Pending,
            FAILING => Answer::Failed,
            _ => Answer::Scored(Scores {
                negative,
                neutral,
                positive: 10_000 - negative - neutral,
                emotion: (weight % 5 != 0).then_some(emotion),
                offensive: (weight % 4 != 0).then_some(weight * 101 % 10_001),
                is_reluctant: weight % 7 == 0,
                intent: (weight % 6 != 0).then_some((INTENTS[weight as usize % INTENTS.len()], weight % 10_001)),
            }),
        }
    }

    fn quality(&self, turns: &[HeardTurn]) -> Option<Quality> {
        let heard = |turn: &HeardTurn| Heard {
            signature: signature(turn.text),
            by_agent: turn.by_agent,
            gap_ms: turn.gap_ms,
            chars: turn.text.chars().count() as u32,
        };
        judge(&turns.iter().map(heard).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// A model that always says the same would find nothing.
    #[test]
    fn it_says_everything_there_is_to_say() {
        let texts: Vec<String> =
            (0..200).map(|number| format!("text {}", "x".repeat(number % 40) + &number.to_string())).collect();
        let scores: Vec<Scores> = texts.iter().filter_map(|text| FakeModel.answer(text).scores()).collect();
        let distinct =
            |label: fn(&Scores) -> Option<&'static str>| scores.iter().map(label).collect::<BTreeSet<_>>().len();
        assert_eq!(distinct(|scores| Some(scores.sentiment())), 3);
        assert!(distinct(|scores| scores.emotion_label()) >= 4);
        assert_eq!(distinct(|scores| scores.intent.map(|(intent, _)| intent)), 4);
        assert!(scores.iter().any(|scores| scores.is_offensive() == Some(true)));
        assert!(scores.iter().any(|scores| scores.is_reluctant && scores.negative > 5_000));
        assert!(scores.iter().all(|scores| scores.positive >= 0));
    }
}
