//! The contract between the dataflow and the inference operator: texts go out, quantised predictions come back.
//!
//! Probabilities cross this boundary as fixed-point integers so that a published bit never depends on how a batch
//! happened to be composed, and so that predictions can live in exact, retractable sums.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

mod conversation;
mod heads;
mod request;

pub use conversation::{
    ConversationOutcome, ConversationPrediction, ConversationRequest, ConversationScoreKey, Quality, TURNS_MAX,
    TurnInput,
};
pub use heads::{
    Emotion, EmotionLabel, IntentScore, NOT_OFFENSIVE, OFFENSIVE, Offensive, Sentiment, SentimentLabel, TextHead,
};
pub use request::{Answer, KeyOf, Request, RequestKey};

/// Fixed-point scale of probabilities and scores: 1.0 is 10 000.
pub const SCORE_SCALE: i32 = 10_000;

/// 128-bit content hash (XXH3) of a text: the identity under which a prediction is computed once and kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TextKey(pub u128);

impl TextKey {
    /// The key of `text`; the same on every machine and in every version.
    pub fn of(text: &str) -> Self {
        Self(xxhash_rust::xxh3::xxh3_128(text.as_bytes()))
    }
}

/// A text waiting for its prediction.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TextRequest {
    /// Content hash of `text`.
    pub key: TextKey,
    /// The text itself, masked ([`masking`](crate::masking)); it lives only until it is scored.
    pub text: String,
}

/// Without the text, which belongs in no log.
impl Debug for TextRequest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TextRequest").field("key", &self.key).finish_non_exhaustive()
    }
}

/// A token that drove the sentiment of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Highlight {
    /// First character (Unicode scalar) of the token in the text, from 0.
    pub char_start: u32,
    /// One past its last character.
    pub char_end: u32,
    /// How much it moved the sentiment score: positive towards positive, units of 1/[`SCORE_SCALE`].
    pub weight: i32,
}

/// The quantised embedding of a text, for the conversation head; empty without such a head. Shared, since the same text
/// stands in many conversations.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<i8>", into = "Vec<i8>")]
pub struct TurnVector(Arc<[i8]>);

impl TurnVector {
    /// Its components.
    pub fn as_slice(&self) -> &[i8] {
        &self.0
    }
}

impl From<Vec<i8>> for TurnVector {
    fn from(components: Vec<i8>) -> Self {
        Self(components.into())
    }
}

impl From<TurnVector> for Vec<i8> {
    fn from(vector: TurnVector) -> Self {
        vector.0.to_vec()
    }
}

/// Everything the heads say of one text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TextScores {
    /// Sentiment.
    pub sentiment: Sentiment,
    /// Emotion; none without such a head for the text's language.
    pub emotion: Option<Emotion>,
    /// Whether it is offensive; none without such a head.
    pub offensive: Option<Offensive>,
    /// Intent; none without such a head.
    pub intent: Option<IntentScore>,
    /// Embedding for the conversation head.
    pub vector: TurnVector,
    /// The tokens that drove the sentiment, in the order of the text; at most [`HIGHLIGHTS_MAX`].
    pub highlights: Vec<Highlight>,
}

/// Most highlights of a text.
pub const HIGHLIGHTS_MAX: usize = 5;

/// The scores of a text, kept once for all messages that have this text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "TextScores", into = "TextScores")]
pub struct SharedScores(Arc<TextScores>);

impl std::ops::Deref for SharedScores {
    type Target = TextScores;

    fn deref(&self) -> &TextScores {
        &self.0
    }
}

impl From<TextScores> for SharedScores {
    fn from(scores: TextScores) -> Self {
        Self(Arc::new(scores))
    }
}

impl From<SharedScores> for TextScores {
    fn from(scores: SharedScores) -> Self {
        Arc::unwrap_or_clone(scores.0)
    }
}

impl TextScores {
    /// The class that a head gives the text; none without that head.
    pub fn class_of(&self, head: TextHead) -> Option<&'static str> {
        match head {
            TextHead::Sentiment => Some(self.sentiment.label.as_str()),
            TextHead::Emotion => self.emotion.map(|emotion| emotion.label.as_str()),
            TextHead::Offensive => {
                self.offensive.map(|offensive| if offensive.is_offensive { OFFENSIVE } else { NOT_OFFENSIVE })
            }
            TextHead::Intent => self.intent.map(|intent| intent.label.as_str()),
        }
    }

    /// Scores of a sentiment head alone.
    pub fn of_sentiment(sentiment: Sentiment) -> Self {
        Self {
            sentiment,
            emotion: None,
            offensive: None,
            intent: None,
            vector: TurnVector::default(),
            highlights: Vec::new(),
        }
    }
}

/// What became of a [`TextRequest`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// The model scored the text.
    Scored(Box<TextScores>),
    /// The model could not score it; the reason never quotes the text.
    Failed(String),
}

/// The answer to one [`TextRequest`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Prediction {
    /// Content hash of the text.
    pub key: TextKey,
    /// Scores or the reason there are none.
    pub outcome: Outcome,
}
