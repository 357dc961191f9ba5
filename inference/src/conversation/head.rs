//! The file of a conversation head: turn encoder, networks, calibration.

use std::collections::HashMap;
use std::path::Path;

use contactflow_schemas::prediction::TurnVector;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::config::ModelConfig;
use crate::conversation::CLASSES;
use crate::conversation::calibration::Calibration;
use crate::conversation::network::{Network, NetworkSizes};
use crate::conversation::turn_encoder::{TurnEncoder, TurnSizes, pooled};
use crate::error::{InferenceError, Result, malformed, read_file};
use crate::weights::{StoredTensor, WeightFile, check_encoder, serialize, sha256_hex};

/// The head shipped with this crate, see `models/SATISFACTION.md`.
const BUILT_IN: &[u8] = include_bytes!("../../models/satisfaction.safetensors");

/// Key of the metadata in the safetensors header.
const METADATA_KEY: &str = "contactflow_conversation_head";

/// What the file of a conversation head says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConversationHeadMetadata {
    /// Name of the head, the first part of the model id.
    pub name: String,
    /// The three classes, from dissatisfied to satisfied.
    pub labels: Vec<String>,
    /// Encoder layers whose states are pooled, increasing.
    pub encoder_layers: Vec<i64>,
    /// Size of the encoder's token vectors.
    pub hidden_size: i64,
    /// Hash buckets of the lexicon.
    pub lexicon_buckets: i64,
    /// Principal components in a turn's vector.
    pub components: i64,
    /// Units of each LSTM.
    pub lstm_hidden_size: i64,
    /// Networks whose probabilities are averaged.
    pub networks: i64,
    /// Name of the encoder the head was trained on, for people.
    pub encoder: String,
    /// SHA-256 of that encoder's `model.safetensors`, lower-case hexadecimal.
    pub encoder_sha256: String,
    /// From averaged probabilities to published ones.
    pub(crate) calibration: Calibration,
}

impl ConversationHeadMetadata {
    fn check(&self) -> std::result::Result<(), String> {
        let sizes = [self.hidden_size, self.lexicon_buckets, self.lstm_hidden_size, self.networks];
        let in_bounds =
            sizes.iter().all(|size| (1..=1 << 24).contains(size)) && (0..=1 << 12).contains(&self.components);
        if !in_bounds || self.encoder_layers.is_empty() || self.labels.len() != CLASSES {
            return Err(format!("its metadata must name sizes of at least 1, an encoder layer and {CLASSES} labels"));
        }
        let Calibration { temperature, class_bias, label_bias } = self.calibration;
        if !(temperature.is_finite() && temperature > 0.0) {
            return Err(format!("its temperature is {temperature}, not a positive number"));
        }
        if class_bias.iter().chain(&label_bias).any(|bias| !bias.is_finite()) {
            return Err("its biases must be numbers".to_owned());
        }
        Ok(())
    }

    pub(crate) fn turn_sizes(&self) -> TurnSizes {
        TurnSizes {
            states: self.encoder_layers.len() * self.hidden_size as usize,
            buckets: self.lexicon_buckets as usize,
            components: self.components as usize,
        }
    }

    pub(crate) fn network_sizes(&self) -> NetworkSizes {
        NetworkSizes::new(self.turn_sizes().vector(), self.lstm_hidden_size)
    }
}

/// Satisfaction of the customer over the turns of a conversation.
#[derive(Debug)]
pub struct ConversationHead {
    pub(crate) metadata: ConversationHeadMetadata,
    sha256: String,
    pub(crate) turn_encoder: TurnEncoder,
    pub(crate) networks: Vec<Network>,
}

impl ConversationHead {
    /// The head shipped with this crate, for the encoder that its metadata name, on `device`.
    ///
    /// # Errors
    /// LibTorch's, such as no memory on `device`.
    pub fn built_in(device: Device) -> Result<Self> {
        Self::from_bytes(Path::new("built-in conversation head"), BUILT_IN, device)
    }

    /// Loads a head file that `contactflow train --head satisfaction` wrote.
    ///
    /// # Errors
    /// The file is missing or malformed; a tensor is missing or of the wrong shape (named, with shapes).
    pub fn load(path: &Path, device: Device) -> Result<Self> {
        let hint =
            "`contactflow train --head satisfaction` writes such files; leave the setting out for the built-in one";
        Self::from_bytes(path, &read_file(path, hint)?, device)
    }

    /// The conversation head that `config` names, for the encoder with the weights `encoder_sha256`; none when that is not
    /// the built-in head's.
    pub(crate) fn of_config(config: &ModelConfig, encoder_sha256: &str, device: Device) -> Result<Option<Self>> {
        if let Some(path) = &config.multilingual.conversation_head_file {
            let head = Self::load(path, device)?;
            head.check_encoder(encoder_sha256)?;
            return Ok(Some(head));
        }
        let head = Self::built_in(device)?;
        if head.check_encoder(encoder_sha256).is_err() {
            tracing::info!("the built-in conversation head is for another encoder and stays out");
            return Ok(None);
        }
        Ok(Some(head))
    }

    /// Parses a head file; `path` only names it in errors.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_bytes(path: &Path, bytes: &[u8], device: Device) -> Result<Self> {
        let file = WeightFile::parse(path, bytes)?;
        let json = file.metadata(METADATA_KEY)?;
        let metadata: ConversationHeadMetadata = serde_json::from_str(json).map_err(|error| malformed(path, error))?;
        metadata.check().map_err(|reason| malformed(path, reason))?;
        let sizes = metadata.turn_sizes();
        let mut parameters: [Vec<f32>; 8] = Default::default();
        for (parameter, (name, shape)) in parameters.iter_mut().zip(sizes.parameters()) {
            *parameter = file.floats(name, &shape)?;
        }
        let turn_encoder = TurnEncoder::from_parameters(sizes, parameters);
        if turn_encoder.step.iter().any(|step| !(step.is_finite() && *step > 0.0)) {
            return Err(malformed(path, "tensor `turn.step` must be positive"));
        }
        let network = |index| read_network(&file, index, metadata.network_sizes(), device);
        let networks = (0..metadata.networks).map(network).collect::<Result<_>>()?;
        Ok(Self { metadata, sha256: sha256_hex(bytes), turn_encoder, networks })
    }

    /// The bytes of a head file with fp16 weights; the same parts give the same bytes.
    pub(crate) fn serialize(
        metadata: &ConversationHeadMetadata,
        turn_encoder: &TurnEncoder,
        networks: &[Network],
    ) -> Result<Vec<u8>> {
        let mut stored = Vec::new();
        for ((name, shape), parameter) in turn_encoder.sizes.parameters().iter().zip(turn_encoder.parameters()) {
            stored.push(StoredTensor::half(name, &Tensor::f_from_slice(parameter)?.f_view(&shape[..])?)?);
        }
        for (index, network) in networks.iter().enumerate() {
            for ((name, _), parameter) in metadata.network_sizes().parameters().iter().zip(network.parameters()) {
                stored.push(StoredTensor::half(&format!("network.{index}.{name}"), parameter)?);
            }
        }
        let json = serde_json::to_string(metadata).map_err(|error| InferenceError::Config(error.to_string()))?;
        serialize(stored, HashMap::from([(METADATA_KEY.to_owned(), json)]))
    }

    /// Vectors of `texts` from the hidden states of their batch, in the same order.
    ///
    /// `hidden` `[rows, length, layers, hidden_size]` (fp32) has the layers
    /// [`encoder_layers`](ConversationHeadMetadata::encoder_layers) and its first rows are those of `texts`;
    /// `attention_mask` `[rows, length]` (int64) is 1 for tokens.
    ///
    /// # Errors
    /// [`InferenceError::Config`] when layers or sizes are not the head's; LibTorch's.
    pub fn turn_vectors(&self, hidden: &Tensor, attention_mask: &Tensor, texts: &[&str]) -> Result<Vec<TurnVector>> {
        let (layers, size) = (self.metadata.encoder_layers.len() as i64, self.metadata.hidden_size);
        match hidden.size()[..] {
            [rows, _, found_layers, found_size]
                if found_layers == layers && found_size == size && rows as usize >= texts.len() => {}
            ref found => {
                let expected = format!("[at least {}, length, {layers}, {size}]", texts.len());
                let reason = format!("hidden states of shape {found:?}; the conversation head reads {expected}");
                return Err(InferenceError::Config(reason));
            }
        }
        let states = pooled(hidden, attention_mask, texts.len())?;
        Ok(states.iter().zip(texts).map(|(states, text)| self.turn_encoder.vector(states, text)).collect())
    }

    /// What the head file says about itself.
    pub fn metadata(&self) -> &ConversationHeadMetadata {
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

fn read_network(file: &WeightFile<'_>, index: i64, sizes: NetworkSizes, device: Device) -> Result<Network> {
    let read = |(name, shape): (&str, Vec<i64>)| file.tensor(&[&format!("network.{index}.{name}")], &shape, device);
    Network::new(sizes, sizes.parameters().into_iter().map(read).collect::<Result<_>>()?)
}
