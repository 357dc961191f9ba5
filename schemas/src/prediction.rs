//! The contract between the dataflow and the inference operator: texts go out, quantised predictions come back.
//!
//! Probabilities cross this boundary as fixed-point integers so that a published bit never depends on how a batch
//! happened to be composed, and so that predictions can live in exact, retractable sums.

use serde::{Deserialize, Serialize};

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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TextRequest {
    /// Content hash of `text`.
    pub key: TextKey,
    /// The text itself; it lives only until it is scored.
    pub text: String,
}

/// Sentiment of one text: class probabilities in units of 1/[`SCORE_SCALE`], summing to [`SCORE_SCALE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sentiment {
    /// Probability of negative sentiment.
    pub negative: i32,
    /// Probability of neutral sentiment.
    pub neutral: i32,
    /// Probability of positive sentiment.
    pub positive: i32,
}

impl Sentiment {
    /// Positive minus negative probability: −[`SCORE_SCALE`] ..= [`SCORE_SCALE`].
    pub fn score(&self) -> i32 {
        self.positive - self.negative
    }

    /// The most probable class; ties go to the more negative one, so that doubt never hides an unhappy customer.
    pub fn label(&self) -> SentimentLabel {
        if self.negative >= self.neutral && self.negative >= self.positive {
            SentimentLabel::Negative
        } else if self.neutral >= self.positive {
            SentimentLabel::Neutral
        } else {
            SentimentLabel::Positive
        }
    }
}

/// Classes of the sentiment head, in the order of its logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SentimentLabel {
    /// Negative sentiment.
    Negative,
    /// Neutral sentiment.
    Neutral,
    /// Positive sentiment.
    Positive,
}

impl SentimentLabel {
    /// All classes, in the order of the head's logits.
    pub const ALL: [Self; 3] = [Self::Negative, Self::Neutral, Self::Positive];

    /// The name used in tables, label files and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Negative => "negative",
            Self::Neutral => "neutral",
            Self::Positive => "positive",
        }
    }
}

/// What became of a [`TextRequest`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// The model scored the text.
    Scored(Sentiment),
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
