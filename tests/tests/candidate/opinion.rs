//! Models of one opinion, for tests that need to know what was asked of whom.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use contactflow::job::ModelDevices;
use contactflow_inference::{DevicePool, DeviceScorer, Placement, PoolLimits};
use contactflow_schemas::prediction::{
    ConversationOutcome, ConversationPrediction, ConversationRequest, Outcome, Prediction, Quality, SCORE_SCALE,
    Sentiment, TextRequest, TextScores,
};

/// A text in a language of which `calm` judges no conversation.
pub(crate) const FOREIGN: &str = "a foreign text";

/// How many texts and conversations a model was asked about.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    texts: AtomicUsize,
    conversations: AtomicUsize,
}

impl Asked {
    /// Texts and conversations.
    pub(crate) fn counts(&self) -> [usize; 2] {
        [&self.texts, &self.conversations].map(|count| count.load(Ordering::Relaxed))
    }
}

/// Always of one opinion: `calm` finds everything good, `grim` everything bad, `mute` too but it does not judge conversations.
#[derive(Clone, Debug)]
struct Opinion {
    name: &'static str,
    asked: Arc<Asked>,
}

impl Opinion {
    fn is_good(&self) -> bool {
        self.name == "calm"
    }
}

impl DeviceScorer for Opinion {
    fn score(&mut self, requests: &[TextRequest]) -> Vec<Prediction> {
        self.asked.texts.fetch_add(requests.len(), Ordering::Relaxed);
        let (negative, positive) = if self.is_good() { (1_000, 8_000) } else { (8_000, 1_000) };
        let outcome = |text: &str| {
            let vector = if text == FOREIGN && self.is_good() { Vec::new() } else { vec![1] };
            let scores = TextScores::of_sentiment(Sentiment::most_probable(negative, 1_000, positive));
            Outcome::Scored(Box::new(TextScores { vector: vector.into(), ..scores }))
        };
        requests.iter().map(|request| Prediction { key: request.key, outcome: outcome(&request.text) }).collect()
    }
}

impl DeviceScorer<ConversationRequest> for Opinion {
    fn score(&mut self, requests: &[ConversationRequest]) -> Vec<ConversationPrediction> {
        self.asked.conversations.fetch_add(requests.len(), Ordering::Relaxed);
        let answer = |request: &ConversationRequest| {
            let (score, last) = (if self.is_good() { 9_000 } else { 1_000 }, request.turns.len() - 1);
            // Longer conversations are a little better, so that a sequence can be told by its quality.
            let score = score + 100 * last as i32;
            let attention = (0..=last).map(|turn| if turn == last { SCORE_SCALE } else { 0 }).collect();
            let outcome = ConversationOutcome::Scored(Quality { score, attention });
            ConversationPrediction { key: request.key, outcome }
        };
        requests.iter().map(answer).collect()
    }
}

/// The devices of the model called `name`, which counts what it is asked.
///
/// # Errors
/// They do not start.
pub(crate) fn devices(name: &'static str, asked: &Arc<Asked>) -> Result<ModelDevices> {
    let load = |_| {
        let opinion = Opinion { name, asked: Arc::clone(asked) };
        move || Ok((name.to_owned(), opinion))
    };
    let (placement, limits) = (Placement::parse("cpu", 0)?, PoolLimits::default());
    let texts = Arc::new(DevicePool::start_with(placement.clone(), limits, load)?);
    let judges = if name == "mute" { None } else { Some(Arc::new(DevicePool::start_with(placement, limits, load)?)) };
    Ok(ModelDevices { texts, judges })
}
