//! Settings: which encoder, which head, how texts are batched.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{InferenceError, Result};
use crate::precision::Precision;

/// Folder of the default encoder below the cache folder of `deploy/setup.sh`.
const DEFAULT_ENCODER: &str = "models/all-MiniLM-L6-v2";

/// What a [`Scorer`](crate::Scorer) is made of. Every field has a default when read from a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Hugging Face folder of the encoder: `config.json`, `model.safetensors`, `tokenizer.json`.
    pub encoder_dir: PathBuf,
    /// SHA-256 that `model.safetensors` must have, hexadecimal; unchecked if absent (the head checks its own encoder).
    pub encoder_sha256: Option<String>,
    /// Head file; the built-in sentiment head if absent.
    pub head_file: Option<PathBuf>,
    /// `fp32`, `fp16` or `bf16`; default: fp32 on CPUs, fp16 on CUDA. Part of the model id.
    pub precision: Option<Precision>,
    /// Texts are cut at this many tokens, `[CLS]` and `[SEP]` included.
    pub max_tokens: usize,
    /// Tokens computed per batch, padding counted. One batch is also what a lonely text costs.
    pub batch_tokens: usize,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            encoder_dir: default_encoder_dir(),
            encoder_sha256: None,
            head_file: None,
            precision: None,
            max_tokens: 128,
            batch_tokens: 512,
        }
    }
}

impl ModelConfig {
    /// The default settings with another encoder folder.
    pub fn new(encoder_dir: impl Into<PathBuf>) -> Self {
        Self { encoder_dir: encoder_dir.into(), ..Self::default() }
    }

    /// Fails when `max_tokens` exceeds what the encoder has positions for, or is too small for any text.
    pub(crate) fn check_max_tokens(&self, max_position_embeddings: i64) -> Result<()> {
        let limit = usize::try_from(max_position_embeddings).unwrap_or_default();
        if (3..=limit).contains(&self.max_tokens) {
            return Ok(());
        }
        Err(InferenceError::Config(format!("max_tokens is {}, this encoder takes 3 to {limit}", self.max_tokens)))
    }
}

/// Where `deploy/setup.sh` puts the default encoder: below `$CONTACTFLOW_CACHE`, else `$XDG_CACHE_HOME/contactflow`,
/// else `~/.cache/contactflow`.
pub fn default_encoder_dir() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("CONTACTFLOW_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("contactflow")))
        .or_else(|| set("HOME").map(|folder| folder.join(".cache/contactflow")))
        .unwrap_or_else(|| PathBuf::from(".cache/contactflow"));
    cache.join(DEFAULT_ENCODER)
}
