//! What a head file says about itself.

use serde::{Deserialize, Serialize};

use crate::language::Language;
use crate::lexical::LexicalMetadata;

/// What a head file says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeadMetadata {
    /// Name of the head, the first part of the model id, such as `sentiment`.
    pub name: String,
    /// Language it was trained on.
    #[serde(default = "english")]
    pub language: Language,
    /// Labels in the order of the logits.
    pub labels: Vec<String>,
    /// Size of the encoder's token vectors.
    pub input_size: i64,
    /// Encoder layers whose states the head mixes, increasing; see [`Encoder::forward_layers`](crate::Encoder::forward_layers).
    pub encoder_layers: Vec<i64>,
    /// Units of the LSTM, per direction.
    pub lstm_hidden_size: i64,
    /// Name of the encoder the head was trained on, for people.
    pub encoder: String,
    /// SHA-256 of that encoder's `model.safetensors`, lower-case hexadecimal.
    pub encoder_sha256: String,
    /// The lexical branch, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lexical: Option<LexicalMetadata>,
    /// Share of the lexical logits in the head's, 0 to 1; the neural ones have the rest.
    #[serde(default)]
    pub lexical_share: f64,
    /// Logits are divided by this before the softmax, so that probabilities are calibrated; positive.
    pub temperature: f64,
    /// Of two labels, the second is decided for from this probability on; the more probable one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_threshold: Option<f64>,
}

fn english() -> Language {
    Language::En
}

impl HeadMetadata {
    /// The index of the label that `probabilities` decide for; the first of equals.
    pub fn decide(&self, probabilities: &[f64]) -> usize {
        if let (Some(threshold), [_, second]) = (self.decision_threshold, probabilities) {
            return usize::from(*second >= threshold);
        }
        let better = |best: usize, index: usize| if probabilities[index] > probabilities[best] { index } else { best };
        (0..probabilities.len()).fold(0, better)
    }

    pub(crate) fn check(&self) -> std::result::Result<(), String> {
        if self.input_size < 1 || self.lstm_hidden_size < 1 || self.labels.is_empty() || self.encoder_layers.is_empty()
        {
            return Err("its metadata must name sizes of at least 1, an encoder layer and a label".to_owned());
        }
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return Err(format!("its temperature is {}, not a positive number", self.temperature));
        }
        if !(0.0..=1.0).contains(&self.lexical_share) {
            return Err(format!("its lexical_share is {}, not within 0 to 1", self.lexical_share));
        }
        if self.decision_threshold.is_some_and(|threshold| !(0.0..=1.0).contains(&threshold) || self.labels.len() != 2)
        {
            return Err("a decision_threshold must lie within 0 to 1 and needs exactly two labels".to_owned());
        }
        Ok(())
    }
}
