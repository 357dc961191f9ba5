//! What a head file says about itself.

use serde::{Deserialize, Serialize};

use crate::language::Language;
use crate::lexical::LexicalMetadata;

/// What a head file says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// Added to the logarithms of the probabilities, in nats per label, before the label is the largest: thresholds, with
    /// the best figures on validation texts. Empty: the most probable label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub label_bias: Vec<f64>,
}

fn english() -> Language {
    Language::En
}

impl HeadMetadata {
    /// The index of the label that `probabilities` decide for; the first of equals.
    pub fn decide(&self, probabilities: &[f64]) -> usize {
        decide(probabilities, &self.label_bias)
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
        let is_bias = self.label_bias.len() == self.labels.len() && self.label_bias.iter().all(|bias| bias.is_finite());
        if !(self.label_bias.is_empty() || is_bias) {
            return Err("label_bias must be a finite number per label".to_owned());
        }
        Ok(())
    }
}

/// The index of the largest logarithm of `probabilities` plus `bias` (none if empty); the first of equals.
pub(crate) fn decide(probabilities: &[f64], bias: &[f64]) -> usize {
    let value = |index: usize| probabilities[index].ln() + bias.get(index).copied().unwrap_or_default();
    let better = |best: usize, index: usize| if value(index) > value(best) { index } else { best };
    (0..probabilities.len()).fold(0, better)
}
