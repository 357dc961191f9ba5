//! A head: what turns the encoder's token states, and the text itself, into the probabilities of some labels.
//!
//! The neural branch reads the token states, the lexical branch (where there is one) the text; the head's logits are
//! a weighted sum of theirs, divided by a temperature.

mod built_in;
mod metadata;
mod recurrent;

use std::collections::HashMap;
use std::path::Path;

use tch::{Device, Tensor};

pub(crate) use built_in::accepts;
pub use metadata::HeadMetadata;
pub(crate) use metadata::decide;

use crate::error::{InferenceError, Result, malformed, read_file};
use crate::lexical::{LEXICAL_PARAMETERS, LexicalBranch};
use crate::quantise::softmax;
use crate::weights::{StoredTensor, WeightFile, check_encoder, serialize, sha256_hex};
pub(crate) use recurrent::{Pooled, RecurrentBranch, mixed, parameter_shapes};

/// Key of the metadata in the safetensors header: one JSON object, because the header's own map has no order.
const METADATA_KEY: &str = "contactflow_head";

/// A classifier over the encoder's token states and the text.
#[derive(Debug)]
pub struct Head {
    metadata: HeadMetadata,
    sha256: String,
    neural: RecurrentBranch,
    lexical: Option<LexicalBranch>,
}

/// What a head says of a text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HeadAnswer {
    /// Calibrated, in the order of the labels.
    pub(crate) probabilities: Vec<f64>,
    /// Index of the label that is decided for.
    pub(crate) label: usize,
}

impl Head {
    /// Loads a head file written by [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// The file is missing or malformed; a tensor is missing or of the wrong shape (named, with shapes).
    pub fn load(path: &Path, device: Device) -> Result<Self> {
        let bytes =
            read_file(path, "`contactflow train` writes head files; leave the setting out for the built-in heads")?;
        Self::from_bytes(path, &bytes, device)
    }

    /// Parses a head file; `path` only names it in errors.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_bytes(path: &Path, bytes: &[u8], device: Device) -> Result<Self> {
        let file = WeightFile::parse(path, bytes)?;
        let json = file.metadata(METADATA_KEY)?;
        let metadata: HeadMetadata = serde_json::from_str(json).map_err(|error| malformed(path, error))?;
        metadata.check().map_err(|reason| malformed(path, reason))?;
        let mut parameters = Vec::new();
        for (name, shape) in parameter_shapes(&metadata) {
            parameters.push(file.tensor(&[&name], &shape, device)?);
        }
        let lexical = read_lexical(&file, &metadata).transpose()?;
        if lexical.as_ref().is_some_and(|branch| !branch.vocabulary.is_sorted_by(|a, b| a < b)) {
            return Err(malformed(path, "tensor `lexical.vocabulary` is not increasing"));
        }
        Ok(Self { metadata, sha256: sha256_hex(bytes), neural: RecurrentBranch::from_parameters(parameters)?, lexical })
    }

    /// A head of the two branches; the digest is that of no file until it is serialised.
    pub(crate) fn new(metadata: HeadMetadata, neural: RecurrentBranch, lexical: Option<LexicalBranch>) -> Self {
        Self { metadata, sha256: String::new(), neural, lexical }
    }

    /// Serialises the head with fp16 weights; the same head gives the same bytes.
    ///
    /// # Errors
    /// LibTorch's, when a parameter cannot be copied to memory.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let names = parameter_shapes(&self.metadata);
        let mut stored = Vec::new();
        for ((name, _), tensor) in names.iter().zip(self.neural.parameters()) {
            stored.push(StoredTensor::half(name, tensor)?);
        }
        if let Some(lexical) = &self.lexical {
            let [vocabulary, idf, weight, bias] = LEXICAL_PARAMETERS;
            let (features, classes) = (lexical.vocabulary.len() as i64, lexical.bias.len() as i64);
            stored.push(StoredTensor::integers(vocabulary, &lexical.vocabulary));
            stored.push(StoredTensor::half(idf, &Tensor::f_from_slice(&lexical.idf)?)?);
            let weights = Tensor::f_from_slice(&lexical.weights)?.f_view([features, classes])?;
            stored.push(StoredTensor::half(weight, &weights)?);
            stored.push(StoredTensor::half(bias, &Tensor::f_from_slice(&lexical.bias)?)?);
        }
        let json = serde_json::to_string(&self.metadata).map_err(|error| InferenceError::Config(error.to_string()))?;
        serialize(stored, HashMap::from([(METADATA_KEY.to_owned(), json)]))
    }

    /// Logits `[batch, labels]` of the neural branch for `hidden` (fp32)
    /// `[batch, length, encoder_layers, input_size]`; see [`logits`](Self::logits).
    ///
    /// `attention_mask` `[batch, length]` (int64) has its ones first in every row, at least one.
    ///
    /// # Errors
    /// [`InferenceError::Torch`] when shapes disagree.
    pub fn forward(&self, hidden: &Tensor, attention_mask: &Tensor) -> Result<Tensor> {
        self.neural.forward(hidden, attention_mask, None)
    }

    /// The neural branch.
    pub(crate) fn neural(&self) -> &RecurrentBranch {
        &self.neural
    }

    /// The lexical branch.
    pub(crate) fn lexical(&self) -> Option<&LexicalBranch> {
        self.lexical.as_ref()
    }

    /// The head's logits (not divided by the temperature): `neural`, one row of [`forward`](Self::forward), and the
    /// lexical branch's for `text`, in the shares of the metadata.
    pub fn logits(&self, neural: &[f32], text: &str) -> Vec<f64> {
        let neural = neural.iter().map(|&logit| f64::from(logit));
        match &self.lexical {
            None => neural.collect(),
            Some(branch) => mix(neural, &branch.logits(text), self.metadata.lexical_share),
        }
    }

    /// Calibrated probabilities in the order of the labels; `None` if a logit is not a number.
    pub fn probabilities(&self, neural: &[f32], text: &str) -> Option<Vec<f64>> {
        softmax(&self.logits(neural, text), self.metadata.temperature)
    }

    /// Probabilities and the label they decide for; `None` if a logit is not a number.
    pub(crate) fn answer(&self, neural: &[f32], text: &str) -> Option<HeadAnswer> {
        let probabilities = self.probabilities(neural, text)?;
        Some(HeadAnswer { label: self.metadata.decide(&probabilities), probabilities })
    }

    /// What the head file says about itself.
    pub fn metadata(&self) -> &HeadMetadata {
        &self.metadata
    }

    /// SHA-256 of the head file, lower-case hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Fails unless the head was trained on the encoder with these weights.
    ///
    /// # Errors
    /// [`InferenceError::EncoderMismatch`].
    pub fn check_encoder(&self, weights_sha256: &str) -> Result<()> {
        check_encoder((&self.metadata.encoder, &self.metadata.encoder_sha256), weights_sha256)
    }
}

/// (1 − share) · neural + share · lexical.
pub(crate) fn mix(neural: impl Iterator<Item = f64>, lexical: &[f64], share: f64) -> Vec<f64> {
    neural.zip(lexical).map(|(neural, lexical)| (1.0 - share) * neural + share * lexical).collect()
}

fn read_lexical(file: &WeightFile<'_>, metadata: &HeadMetadata) -> Option<Result<LexicalBranch>> {
    let lexical = metadata.lexical?;
    let (features, classes) = (lexical.features as i64, metadata.labels.len() as i64);
    let [vocabulary, idf, weight, bias] = LEXICAL_PARAMETERS;
    let read = || -> Result<LexicalBranch> {
        Ok(LexicalBranch {
            ngrams: lexical.ngrams,
            vocabulary: file.integers(vocabulary, &[features])?,
            idf: file.floats(idf, &[features])?,
            weights: file.floats(weight, &[features, classes])?,
            bias: file.floats(bias, &[classes])?,
        })
    };
    Some(read())
}

#[cfg(test)]
mod tests;
