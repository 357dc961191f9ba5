//! What the conversation head is asked, and what it answers.

use serde::{Deserialize, Serialize};

use super::{TextKey, TurnVector};
use crate::facts::Speaker;

/// Most turns of a [`ConversationRequest`]: the last ones count.
pub const TURNS_MAX: usize = 64;

/// One turn as the conversation head sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TurnInput {
    /// Its text.
    pub text: TextKey,
    /// The embedding of the text; a function of `text` and the model.
    pub vector: TurnVector,
    /// Who spoke. (Bots' texts are not scored, so they are no turns here.)
    pub speaker: Speaker,
    /// Time since the turn before, ms, never negative; 0 for the first.
    pub gap_ms: i64,
    /// Unicode characters of the text.
    pub chars: u32,
}

/// Identity under which the quality of a sequence of turns is computed once and kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConversationScoreKey(pub u128);

impl ConversationScoreKey {
    /// The key of a sequence: XXH3 of all fields of all turns, but the vectors, which the texts determine.
    pub fn of(turns: &[TurnInput]) -> Self {
        let mut bytes = Vec::with_capacity(turns.len() * 29);
        for turn in turns {
            bytes.extend_from_slice(&turn.text.0.to_le_bytes());
            bytes.push(match turn.speaker {
                Speaker::Customer => 0,
                Speaker::Agent => 1,
            });
            bytes.extend_from_slice(&turn.gap_ms.to_le_bytes());
            bytes.extend_from_slice(&turn.chars.to_le_bytes());
        }
        Self(xxhash_rust::xxh3::xxh3_128(&bytes))
    }
}

/// The turns of a cycle, in order, that wait for their quality score; at most [`TURNS_MAX`], at least one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConversationRequest {
    /// [`ConversationScoreKey::of`] the turns.
    pub key: ConversationScoreKey,
    /// The turns.
    pub turns: Vec<TurnInput>,
}

/// Quality of a sequence of turns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Quality {
    /// Half the expected class (0 dissatisfied, 1 neutral, 2 satisfied), 0 ..= [`SCORE_SCALE`].
    pub score: i32,
    /// How much each turn counted, in the order of the request; sums to [`SCORE_SCALE`].
    pub attention: Vec<i32>,
}

/// What became of a [`ConversationRequest`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConversationOutcome {
    /// The head scored it.
    Scored(Quality),
    /// The head could not; the reason quotes no text.
    Failed(String),
}

/// The answer to one [`ConversationRequest`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConversationPrediction {
    /// The key of the request.
    pub key: ConversationScoreKey,
    /// The score or the reason there is none.
    pub outcome: ConversationOutcome,
}
