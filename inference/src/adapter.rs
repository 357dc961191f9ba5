//! Low-rank corrections of an encoder's upper layers (LoRA, Hu et al. 2021, <https://arxiv.org/abs/2106.09685>).
//!
//! All heads of a language share one adapter, and it is merged into the weights when the encoder is loaded: a text still
//! costs one pass, as dear as without. An encoder with an adapter counts as another encoder, with a digest of its own, so
//! heads are refused on an encoder they were not trained on.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::config::{AdapterSetting, ModelConfig};
use crate::encoder::EncoderConfig;
use crate::error::{InferenceError, Result, malformed, read_file};
use crate::language::Language;
use crate::weights::{StoredTensor, WeightFile, check_encoder, serialize, sha256_hex};

/// Key of the metadata in the safetensors header.
const METADATA_KEY: &str = "contactflow_adapter";
/// Dense matrices of a layer that have corrections, in the order of the parameters: query, key and value in one, the
/// attention's output, and the two of the feed-forward part.
const MATRICES: [&str; 4] = ["query_key_value", "attention_output", "intermediate", "output"];

/// What the file of an adapter says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdapterMetadata {
    /// Name of the encoder it corrects, for people.
    pub encoder: String,
    /// SHA-256 of that encoder's `model.safetensors`, lower-case hexadecimal.
    pub encoder_sha256: String,
    /// The encoder's lowest layers, which stay as they are.
    pub layers_below: i64,
    /// Layers above them, each with corrections.
    pub layers: i64,
    /// Size of the encoder's token vectors.
    pub hidden_size: i64,
    /// Size of its feed-forward layers.
    pub intermediate_size: i64,
    /// Rank of every correction.
    pub rank: i64,
    /// Factor of every correction.
    pub scale: f64,
}

impl AdapterMetadata {
    /// Of an adapter for the upper `layers` layers of an encoder.
    pub(crate) fn of_encoder(
        (name, sha256, config): (&str, &str, &EncoderConfig),
        layers: i64,
        rank: i64,
        scale: f64,
    ) -> Result<Self> {
        let metadata = Self {
            encoder: name.to_owned(),
            encoder_sha256: sha256.to_owned(),
            layers_below: config.num_hidden_layers - layers,
            layers,
            hidden_size: config.hidden_size,
            intermediate_size: config.intermediate_size,
            rank,
            scale,
        };
        metadata.check().map_err(InferenceError::Config)?;
        Ok(metadata)
    }

    fn check(&self) -> std::result::Result<(), String> {
        let sizes = [self.layers, self.hidden_size, self.intermediate_size, self.rank];
        if self.layers_below < 0 || sizes.iter().any(|size| !(1..=1 << 16).contains(size)) {
            return Err("an adapter needs layers that the encoder has, and sizes of at least 1".to_owned());
        }
        if !self.scale.is_finite() {
            return Err(format!("an adapter's scale is {}, not a number", self.scale));
        }
        Ok(())
    }

    /// Names and shapes of the parameters, in file order: per matrix one that leads down to the rank, `[rank, in]`, and one
    /// that leads up again, `[out, rank]`.
    pub(crate) fn parameters(&self) -> Vec<(String, [i64; 2])> {
        let (hidden, inner, rank) = (self.hidden_size, self.intermediate_size, self.rank);
        let sizes = [(hidden, 3 * hidden), (hidden, hidden), (hidden, inner), (inner, hidden)];
        let mut parameters = Vec::new();
        for layer in 0..self.layers {
            for (matrix, (input, output)) in MATRICES.iter().zip(sizes) {
                let name = |part: &str| format!("layer.{}.{matrix}.{part}", self.layers_below + layer);
                parameters.push((name("down"), [rank, input]));
                parameters.push((name("up"), [output, rank]));
            }
        }
        parameters
    }
}

/// What is added to the weight of a dense layer, less its factor: `up · down`.
#[derive(Debug)]
pub(crate) struct Correction {
    /// `[rank, in]`.
    pub(crate) down: Tensor,
    /// `[out, rank]`.
    pub(crate) up: Tensor,
}

/// The corrections of one layer, in the order of [`MATRICES`].
pub(crate) type LayerCorrections = [Correction; 4];

/// Corrections of an encoder's upper layers.
#[derive(Debug)]
pub struct Adapter {
    metadata: AdapterMetadata,
    sha256: String,
    layers: Vec<LayerCorrections>,
}

impl Adapter {
    /// The adapter that `config` names for the encoder of `language`, whose weights have the digest `encoder_sha256`; none
    /// where the settings want none, or where the built-in one is for another encoder.
    pub(crate) fn of_config(config: &ModelConfig, language: Language, encoder_sha256: &str) -> Result<Option<Self>> {
        match config.adapter(language) {
            AdapterSetting::None => Ok(None),
            AdapterSetting::File(path) => {
                let adapter = Self::load(path)?;
                adapter.check_encoder(encoder_sha256)?;
                Ok(Some(adapter))
            }
            AdapterSetting::BuiltIn => {
                let adapter = Self::built_in(language)?;
                Ok(adapter.filter(|adapter| adapter.check_encoder(encoder_sha256).is_ok()))
            }
        }
    }

    /// The adapter shipped with this crate for `language`, see `models/MODEL_CARD.md`: there is one for English.
    ///
    /// # Errors
    /// LibTorch's, such as no memory.
    pub fn built_in(language: Language) -> Result<Option<Self>> {
        let bytes: Option<&[u8]> = match language {
            Language::En => Some(include_bytes!("../models/english-adapter.safetensors")),
            Language::Zh => None,
        };
        bytes.map(|bytes| Self::from_bytes(Path::new("built-in adapter"), bytes)).transpose()
    }

    /// Loads an adapter that `contactflow adapt` wrote.
    ///
    /// # Errors
    /// The file is missing or malformed; a tensor is missing or of the wrong shape (named, with shapes).
    pub fn load(path: &Path) -> Result<Self> {
        Self::from_bytes(path, &read_file(path, "`contactflow adapt` writes adapters")?)
    }

    /// Parses an adapter's file; `path` only names it in errors.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self> {
        let file = WeightFile::parse(path, bytes)?;
        let json = file.metadata(METADATA_KEY)?;
        let metadata: AdapterMetadata = serde_json::from_str(json).map_err(|error| malformed(path, error))?;
        metadata.check().map_err(|reason| malformed(path, reason))?;
        let tensor = |(name, shape): (String, [i64; 2])| file.tensor(&[&name], &shape, Device::Cpu);
        let parameters: Vec<Tensor> = metadata.parameters().into_iter().map(tensor).collect::<Result<_>>()?;
        Ok(Self { layers: layers(&parameters)?, sha256: sha256_hex(bytes), metadata })
    }

    /// The bytes of a file of `parameters`, in the order of [`AdapterMetadata::parameters`], in fp16; the same ones give
    /// the same bytes.
    pub(crate) fn serialize(metadata: &AdapterMetadata, parameters: &[Tensor]) -> Result<Vec<u8>> {
        let named = metadata.parameters();
        let stored = named.iter().zip(parameters).map(|((name, _), tensor)| StoredTensor::half(name, tensor));
        let json = serde_json::to_string(metadata).map_err(|error| InferenceError::Config(error.to_string()))?;
        serialize(stored.collect::<Result<_>>()?, HashMap::from([(METADATA_KEY.to_owned(), json)]))
    }

    /// What the file says about itself.
    pub fn metadata(&self) -> &AdapterMetadata {
        &self.metadata
    }

    /// SHA-256 of the file, lower-case hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Per corrected layer, from the lowest.
    pub(crate) fn layers(&self) -> &[LayerCorrections] {
        &self.layers
    }

    /// The digest of an encoder's weights with this adapter.
    pub(crate) fn merged_sha256(&self, weights_sha256: &str) -> String {
        sha256_hex(format!("{weights_sha256} {}", self.sha256).as_bytes())
    }

    /// Fails unless it was made for the encoder with these weights.
    ///
    /// # Errors
    /// [`InferenceError::EncoderMismatch`].
    pub fn check_encoder(&self, weights_sha256: &str) -> Result<()> {
        check_encoder((&self.metadata.encoder, &self.metadata.encoder_sha256), weights_sha256)
    }
}

/// Parameters in the order of [`AdapterMetadata::parameters`] as corrections per layer; the tensors are shared, not copied.
pub(crate) fn layers(parameters: &[Tensor]) -> Result<Vec<LayerCorrections>> {
    let correction = |pair: &[Tensor]| Correction { down: pair[0].shallow_clone(), up: pair[1].shallow_clone() };
    let layer = |of_layer: &[Tensor]| -> Result<LayerCorrections> {
        let corrections: Vec<Correction> = of_layer.chunks_exact(2).map(correction).collect();
        let wrong = |_| InferenceError::Config(format!("a layer has {} corrections", MATRICES.len()));
        corrections.try_into().map_err(wrong)
    };
    parameters.chunks(2 * MATRICES.len()).map(layer).collect()
}
