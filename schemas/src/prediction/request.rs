//! What requests to a model, and its answers, have in common.

use std::fmt::Debug;
use std::hash::Hash;

use super::{
    ConversationOutcome, ConversationPrediction, ConversationRequest, ConversationScoreKey, Outcome, Prediction,
    TextKey, TextRequest,
};

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
