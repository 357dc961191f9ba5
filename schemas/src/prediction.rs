//! The contract between the dataflow and the inference operator: texts go out, quantised predictions come back.
//!
//! Probabilities cross this boundary as fixed-point integers so that a published bit never depends on how a batch
//! happened to be composed, and so that predictions can live in exact, retractable sums.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::facts::Speaker;
use crate::symbol::Symbol;

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
}

impl Emotion {
    /// The probability of a class.
    pub fn of(&self, label: EmotionLabel) -> i32 {
        match label {
            EmotionLabel::Anger => self.anger,
            EmotionLabel::Joy => self.joy,
            EmotionLabel::Optimism => self.optimism,
            EmotionLabel::Sadness => self.sadness,
        }
    }

    /// The most probable class; ties go to anger, then sadness, joy, optimism.
    pub fn label(&self) -> EmotionLabel {
        use EmotionLabel::{Anger, Joy, Optimism, Sadness};
        // Of equal elements `max_by_key` takes the last.
        let by_preference = [Optimism, Joy, Sadness, Anger];
        by_preference.into_iter().max_by_key(|&label| self.of(label)).unwrap_or(Anger)
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

/// The most probable label of the intent head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IntentScore {
    /// The label, as the head names it.
    pub label: Symbol,
    /// Its probability, units of 1/[`SCORE_SCALE`].
    pub probability: i32,
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
    /// Probability that the text is offensive, units of 1/[`SCORE_SCALE`]; none without such a head.
    pub offensive: Option<i32>,
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

/// A head that gives a text one of several classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TextHead {
    /// Negative, neutral or positive.
    Sentiment,
    /// Anger, joy, optimism or sadness.
    Emotion,
    /// Offensive or not.
    Offensive,
    /// What the text is about.
    Intent,
}

impl TextHead {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sentiment, Self::Emotion, Self::Offensive, Self::Intent];

    /// The name used in tables and label events.
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
}

/// Class of the offensive head for a text whose probability is at least one half.
pub const OFFENSIVE: &str = "offensive";
/// Its other class.
pub const NOT_OFFENSIVE: &str = "not-offensive";

impl TextScores {
    /// More likely offensive than not; none without such a head.
    pub fn is_offensive(&self) -> Option<bool> {
        self.offensive.map(|probability| 2 * probability >= SCORE_SCALE)
    }

    /// The class that a head gives the text; none without that head.
    pub fn class_of(&self, head: TextHead) -> Option<&'static str> {
        match head {
            TextHead::Sentiment => Some(self.sentiment.label().as_str()),
            TextHead::Emotion => self.emotion.map(|emotion| emotion.label().as_str()),
            TextHead::Offensive => self.is_offensive().map(|yes| if yes { OFFENSIVE } else { NOT_OFFENSIVE }),
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

/// Identity of a request to a model: equal keys have equal answers.
pub trait RequestKey: Copy + Debug + Eq + Ord + Hash + Send + 'static {
    /// A hash that is the same in every process, for routing.
    fn route(self) -> u64;
}

/// Something a model is asked.
pub trait Request: Send + 'static {
    /// What it answers.
    type Answer: Answer;

    /// Identity of the request, which its answer bears too.
    fn key(&self) -> KeyOf<Self>;
}

/// What a model answers.
pub trait Answer: Send + 'static {
    /// Identity of requests.
    type Key: RequestKey;

    /// Identity of the request it answers.
    fn key(&self) -> Self::Key;

    /// The answer of a model that failed, with the reason, which quotes no text.
    fn failed(key: Self::Key, reason: String) -> Self;
}

/// The key of a request.
pub type KeyOf<R> = <<R as Request>::Answer as Answer>::Key;

impl RequestKey for TextKey {
    fn route(self) -> u64 {
        self.0 as u64
    }
}

impl Request for TextRequest {
    type Answer = Prediction;

    fn key(&self) -> TextKey {
        self.key
    }
}

impl Answer for Prediction {
    type Key = TextKey;

    fn key(&self) -> TextKey {
        self.key
    }

    fn failed(key: TextKey, reason: String) -> Self {
        Self { key, outcome: Outcome::Failed(reason) }
    }
}

impl RequestKey for ConversationScoreKey {
    fn route(self) -> u64 {
        self.0 as u64
    }
}

impl Request for ConversationRequest {
    type Answer = ConversationPrediction;

    fn key(&self) -> ConversationScoreKey {
        self.key
    }
}

impl Answer for ConversationPrediction {
    type Key = ConversationScoreKey;

    fn key(&self) -> ConversationScoreKey {
        self.key
    }

    fn failed(key: ConversationScoreKey, reason: String) -> Self {
        Self { key, outcome: ConversationOutcome::Failed(reason) }
    }
}
