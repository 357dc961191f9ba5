//! What each head says of a text.

use serde::{Deserialize, Serialize};

use super::SCORE_SCALE;
use crate::symbol::Symbol;

/// Sentiment of one text: class probabilities in units of 1/[`SCORE_SCALE`], summing to [`SCORE_SCALE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sentiment {
    /// Probability of negative sentiment.
    pub negative: i32,
    /// Probability of neutral sentiment.
    pub neutral: i32,
    /// Probability of positive sentiment.
    pub positive: i32,
    /// The class the head decides for: by its own thresholds, so not always the most probable one.
    pub label: SentimentLabel,
}

impl Sentiment {
    /// Sentiment with these probabilities, decided for the most probable class; ties go to the more negative one, so that
    /// doubt never hides an unhappy customer.
    pub fn most_probable(negative: i32, neutral: i32, positive: i32) -> Self {
        let label = if negative >= neutral && negative >= positive {
            SentimentLabel::Negative
        } else if neutral >= positive {
            SentimentLabel::Neutral
        } else {
            SentimentLabel::Positive
        };
        Self { negative, neutral, positive, label }
    }

    /// Positive minus negative probability: −[`SCORE_SCALE`] ..= [`SCORE_SCALE`].
    pub fn score(&self) -> i32 {
        self.positive - self.negative
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

/// Emotion of one text: class probabilities in units of 1/[`SCORE_SCALE`], summing to [`SCORE_SCALE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Emotion {
    /// Probability of anger.
    pub anger: i32,
    /// Probability of joy.
    pub joy: i32,
    /// Probability of optimism.
    pub optimism: i32,
    /// Probability of sadness.
    pub sadness: i32,
    /// The class the head decides for, by its own thresholds.
    pub label: EmotionLabel,
}

impl Emotion {
    /// Emotion with the probabilities of [`EmotionLabel::ALL`], decided for the most probable class; ties go to anger, then
    /// sadness, joy, optimism.
    pub fn most_probable(probabilities: [i32; 4]) -> Self {
        use EmotionLabel::{Anger, Joy, Optimism, Sadness};
        let [anger, joy, optimism, sadness] = probabilities;
        let undecided = Self { anger, joy, optimism, sadness, label: Anger };
        // Of equal elements `max_by_key` takes the last.
        let by_preference = [Optimism, Joy, Sadness, Anger];
        let label = by_preference.into_iter().max_by_key(|&label| undecided.of(label)).unwrap_or(Anger);
        Self { label, ..undecided }
    }

    /// The probability of a class.
    pub fn of(&self, label: EmotionLabel) -> i32 {
        match label {
            EmotionLabel::Anger => self.anger,
            EmotionLabel::Joy => self.joy,
            EmotionLabel::Optimism => self.optimism,
            EmotionLabel::Sadness => self.sadness,
        }
    }
}

/// Classes of the emotion head, in the order of its logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmotionLabel {
    /// Anger.
    Anger,
    /// Joy.
    Joy,
    /// Optimism.
    Optimism,
    /// Sadness.
    Sadness,
}

impl EmotionLabel {
    /// All classes, in the order of the head's logits.
    pub const ALL: [Self; 4] = [Self::Anger, Self::Joy, Self::Optimism, Self::Sadness];

    /// The name used in tables, label files and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anger => "anger",
            Self::Joy => "joy",
            Self::Optimism => "optimism",
            Self::Sadness => "sadness",
        }
    }
}

/// Whether a text is offensive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Offensive {
    /// Probability that it is, units of 1/[`SCORE_SCALE`].
    pub probability: i32,
    /// What the head decides, by its own threshold.
    pub is_offensive: bool,
}

impl Offensive {
    /// Decided for what is more probable; ties go to offensive.
    pub fn most_probable(probability: i32) -> Self {
        Self { probability, is_offensive: 2 * probability >= SCORE_SCALE }
    }
}

/// The label that the intent head decides for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IntentScore {
    /// The label, as the head names it.
    pub label: Symbol,
    /// Its probability, units of 1/[`SCORE_SCALE`].
    pub probability: i32,
}

/// What a head tells of a text: one of several classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TextHead {
    /// How content the writer is: negative, neutral, positive (Chinese: negative, positive).
    Sentiment,
    /// Anger, joy, optimism or sadness.
    Emotion,
    /// Whether the text is rude or abusive.
    Offensive,
    /// What the writer wants; the labels are the training data's.
    Intent,
}

impl TextHead {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sentiment, Self::Emotion, Self::Offensive, Self::Intent];

    /// The name used in tables, label events, head files and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sentiment => "sentiment",
            Self::Emotion => "emotion",
            Self::Offensive => "offensive",
            Self::Intent => "intent",
        }
    }

    /// The head with this name; `tone` is that of the emotion.
    pub fn parse(name: &str) -> Option<Self> {
        if name == "tone" {
            return Some(Self::Emotion);
        }
        Self::ALL.into_iter().find(|head| head.as_str() == name)
    }

    /// The classes it may have, in the order of its logits; `None` if they are the training data's.
    pub fn labels(self) -> Option<Vec<&'static str>> {
        match self {
            Self::Sentiment => Some(SentimentLabel::ALL.map(SentimentLabel::as_str).to_vec()),
            Self::Emotion => Some(EmotionLabel::ALL.map(EmotionLabel::as_str).to_vec()),
            Self::Offensive => Some(vec![NOT_OFFENSIVE, OFFENSIVE]),
            Self::Intent => None,
        }
    }
}

/// Class of the offensive head for an offensive text.
pub const OFFENSIVE: &str = "offensive";
/// Its other class.
pub const NOT_OFFENSIVE: &str = "not-offensive";
