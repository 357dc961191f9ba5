//! A BERT encoder (`BertModel` of a Hugging Face folder) in plain tensor operations.
//!
//! Shapes: `batch` texts of `length` token ids each go in, one vector of `hidden_size` per token comes out.
//! Padding positions never influence the others: their attention weight is exactly zero, and on the CPU they are not
//! computed at all ([`packing`](crate::packing)).

mod adapted;
mod forward;
mod kernels;
mod layers;
#[cfg(test)]
mod tiny;

use std::path::Path;

use serde::Deserialize;
use tch::{Device, Kind, Tensor, no_grad};

use crate::encoder::kernels::Kernels;
use crate::encoder::layers::{Layer, LayerNorm, Linear};
use crate::error::{InferenceError, Result, malformed, read_file};
use crate::precision::Precision;
use crate::weights::{WeightFile, sha256_hex};

const SETUP_HINT: &str = "deploy/setup.sh provides the default encoder";

/// The parts of a Hugging Face `config.json` that decide the architecture.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct EncoderConfig {
    /// Number of token ids; ids are `0..vocab_size`.
    pub vocab_size: i64,
    /// Size of a token's vector.
    pub hidden_size: i64,
    /// Number of transformer layers.
    pub num_hidden_layers: i64,
    /// Attention heads per layer; divides `hidden_size`.
    pub num_attention_heads: i64,
    /// Size of the feed-forward layer.
    pub intermediate_size: i64,
    /// Longest input in tokens, `[CLS]` and `[SEP]` included.
    pub max_position_embeddings: i64,
    /// Number of segment ids; this crate uses segment 0 only.
    pub type_vocab_size: i64,
    /// Epsilon of every layer normalisation.
    #[serde(default = "default_layer_norm_eps")]
    pub layer_norm_eps: f64,
    /// Activation of the feed-forward layer; only `gelu` (the exact, erf one) is supported.
    #[serde(default = "default_hidden_act")]
    pub hidden_act: String,
    /// Kind of position embedding; only `absolute` is supported.
    #[serde(default = "default_position_embedding_type")]
    pub position_embedding_type: String,
    /// Architecture family; only `bert` is supported.
    #[serde(default = "default_model_type")]
    pub model_type: String,
    /// Token id that fills the unused end of a row.
    #[serde(default)]
    pub pad_token_id: i64,
}

fn default_layer_norm_eps() -> f64 {
    1e-12
}

fn default_hidden_act() -> String {
    "gelu".to_owned()
}

fn default_position_embedding_type() -> String {
    "absolute".to_owned()
}

fn default_model_type() -> String {
    "bert".to_owned()
}

impl EncoderConfig {
    /// Parses and checks a `config.json`; `path` only names the file in errors.
    ///
    /// # Errors
    /// [`InferenceError::Malformed`] when a field is missing, impossible or asks for an unsupported variant.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let config: Self = serde_json::from_slice(bytes).map_err(|error| malformed(path, error))?;
        let sizes = [
            config.vocab_size,
            config.hidden_size,
            config.num_hidden_layers,
            config.num_attention_heads,
            config.intermediate_size,
            config.max_position_embeddings,
            config.type_vocab_size,
        ];
        if sizes.iter().any(|&size| size < 1) || config.hidden_size % config.num_attention_heads.max(1) != 0 {
            return Err(malformed(path, "sizes must be at least 1 and num_attention_heads must divide hidden_size"));
        }
        if !(0..config.vocab_size).contains(&config.pad_token_id) {
            return Err(malformed(path, format!("pad_token_id {} is outside the vocabulary", config.pad_token_id)));
        }
        let variants = [
            ("model_type", &config.model_type, "bert"),
            ("hidden_act", &config.hidden_act, "gelu"),
            ("position_embedding_type", &config.position_embedding_type, "absolute"),
        ];
        for (field, found, supported) in variants {
            if found != supported {
                return Err(malformed(path, format!("{field} is `{found}`, only `{supported}` is supported")));
            }
        }
        Ok(config)
    }
}

/// A BERT encoder on one device. Loaded once, read-only afterwards.
#[derive(Debug)]
pub struct Encoder {
    config: EncoderConfig,
    weights_sha256: String,
    config_sha256: String,
    /// `[vocab_size, hidden]` in the precision of the file: fp32 copies of the few rows in use are exact, and a
    /// vocabulary of 250,000 takes half the memory.
    word_embeddings: Tensor,
    /// Position embeddings with segment 0's embedding already added, `[max_position_embeddings, hidden]`.
    position_embeddings: Tensor,
    embeddings_norm: LayerNorm,
    layers: Vec<Layer>,
    device: Device,
    /// Our own arithmetic, where it is faster than LibTorch's.
    kernels: Option<Kernels>,
}

impl Encoder {
    /// Loads `config.json` and `model.safetensors` of a Hugging Face folder onto `device`.
    ///
    /// `expected_sha256` (hexadecimal, any case) is compared with the digest of `model.safetensors` when given.
    /// Tensor names may carry the prefix `bert.`; fp32, fp16 and bf16 weights are read, computed in fp32 unless
    /// [`with_precision`](Self::with_precision) says otherwise.
    ///
    /// # Errors
    /// Files missing, malformed or with another hash; a tensor missing or of the wrong shape (named, with shapes).
    pub fn load(folder: &Path, expected_sha256: Option<&str>, device: Device) -> Result<Self> {
        let config_path = folder.join("config.json");
        let config_bytes = read_file(&config_path, SETUP_HINT)?;
        let config = EncoderConfig::parse(&config_path, &config_bytes)?;
        let weights_path = folder.join("model.safetensors");
        let bytes = read_file(&weights_path, SETUP_HINT)?;
        let weights_sha256 = sha256_hex(&bytes);
        if let Some(expected) = expected_sha256.map(str::to_ascii_lowercase)
            && expected != weights_sha256
        {
            return Err(InferenceError::HashMismatch { path: weights_path, expected, found: weights_sha256 });
        }
        let file = WeightFile::parse(&weights_path, &bytes)?;
        no_grad(|| Self::from_weights(config, weights_sha256, sha256_hex(&config_bytes), &file, device))
    }

    fn from_weights(
        config: EncoderConfig,
        weights_sha256: String,
        config_sha256: String,
        file: &WeightFile<'_>,
        device: Device,
    ) -> Result<Self> {
        let reader = Reader { file, config: &config, device };
        let hidden = config.hidden_size;
        let segments = reader.tensor("embeddings.token_type_embeddings.weight", &[config.type_vocab_size, hidden])?;
        let positions =
            reader.tensor("embeddings.position_embeddings.weight", &[config.max_position_embeddings, hidden])?;
        let word_embeddings =
            reader.stored("embeddings.word_embeddings.weight", &[config.vocab_size, hidden])?.f_to_device(device)?;
        let position_embeddings = positions.f_add(&segments.f_select(0, 0)?)?;
        let embeddings_norm = reader.layer_norm("embeddings.LayerNorm")?;
        let layers = (0..config.num_hidden_layers).map(|index| reader.layer(index)).collect::<Result<_>>()?;
        Ok(Self {
            weights_sha256,
            config_sha256,
            word_embeddings,
            position_embeddings,
            embeddings_norm,
            layers,
            device,
            config,
            kernels: Kernels::preferred(device, Kind::Float),
        })
    }

    /// The same encoder computing in `precision`; hidden states still come out in fp32.
    ///
    /// # Errors
    /// [`InferenceError::Torch`], [`InferenceError::OutOfMemory`] when there is no room for the other weights.
    pub fn with_precision(self, precision: Precision) -> Result<Self> {
        let kind = precision.kind();
        if kind == self.kind() {
            return Ok(self);
        }
        no_grad(|| {
            Ok(Self {
                word_embeddings: self.word_embeddings.f_to_kind(kind)?,
                position_embeddings: self.position_embeddings.f_to_kind(kind)?,
                embeddings_norm: self.embeddings_norm.to_kind(kind)?,
                layers: self.layers.iter().map(|layer| layer.to_kind(kind)).collect::<Result<_>>()?,
                kernels: Kernels::preferred(self.device, kind),
                ..self
            })
        })
    }

    /// What it computes in.
    fn kind(&self) -> Kind {
        self.position_embeddings.kind()
    }

    /// The architecture.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// SHA-256 of `model.safetensors`, or of that and the [`Adapter`](crate::Adapter), lower-case hexadecimal.
    pub fn weights_sha256(&self) -> &str {
        &self.weights_sha256
    }

    /// SHA-256 of `config.json`, lower-case hexadecimal.
    pub fn config_sha256(&self) -> &str {
        &self.config_sha256
    }

    /// Where the weights are.
    pub fn device(&self) -> Device {
        self.device
    }
}

/// Reads the encoder's tensors by their names in `BertModel`.
struct Reader<'a> {
    file: &'a WeightFile<'a>,
    config: &'a EncoderConfig,
    device: Device,
}

impl Reader<'_> {
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        self.file.tensor(&[name, &format!("bert.{name}")], shape, self.device)
    }

    fn stored(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        self.file.stored(&[name, &format!("bert.{name}")], shape)
    }

    fn linear(&self, name: &str, input: i64, output: i64) -> Result<Linear> {
        let weight = self.tensor(&format!("{name}.weight"), &[output, input])?;
        let bias = self.tensor(&format!("{name}.bias"), &[output])?;
        Ok(Linear::new(weight, bias))
    }

    fn layer_norm(&self, name: &str) -> Result<LayerNorm> {
        let shape = [self.config.hidden_size];
        let weight = self.tensor(&format!("{name}.weight"), &shape)?;
        let bias = self.tensor(&format!("{name}.bias"), &shape)?;
        Ok(LayerNorm { weight, bias, eps: self.config.layer_norm_eps })
    }

    fn layer(&self, index: i64) -> Result<Layer> {
        let (hidden, inner) = (self.config.hidden_size, self.config.intermediate_size);
        let name = |part: &str| format!("encoder.layer.{index}.{part}");
        let [query, key, value] =
            ["query", "key", "value"].map(|part| self.linear(&name(&format!("attention.self.{part}")), hidden, hidden));
        let (query, key, value) = (query?, key?, value?);
        let query_key_value = Linear::new(
            Tensor::f_cat(&[&query.weight, &key.weight, &value.weight], 0)?,
            Tensor::f_cat(&[&query.bias, &key.bias, &value.bias], 0)?,
        );
        Ok(Layer {
            query_key_value,
            attention_output: self.linear(&name("attention.output.dense"), hidden, hidden)?,
            attention_norm: self.layer_norm(&name("attention.output.LayerNorm"))?,
            intermediate: self.linear(&name("intermediate.dense"), hidden, inner)?,
            output: self.linear(&name("output.dense"), inner, hidden)?,
            output_norm: self.layer_norm(&name("output.LayerNorm"))?,
        })
    }
}
