//! Settings: which encoders, which heads, how texts are batched.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{InferenceError, Result};
use crate::language::Language;
use crate::precision::Precision;

/// Folder of the default encoder below the cache folder of `deploy/setup.sh`.
const DEFAULT_ENCODER: &str = "models/all-MiniLM-L6-v2";
/// Folder of the multilingual encoder, there after `deploy/setup.sh --multilingual`.
const MULTILINGUAL_ENCODER: &str = "models/multilingual-e5-small";

/// What a [`Scorer`](crate::Scorer) is made of. Every field has a default when read from a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Hugging Face folder of the encoder: `config.json`, `model.safetensors`, `tokenizer.json` or `vocab.txt`.
    pub encoder_dir: PathBuf,
    /// SHA-256 that `model.safetensors` must have, hexadecimal; unchecked if absent (the heads check their own encoder).
    pub encoder_sha256: Option<String>,
    /// Corrections of the encoder's weights: `built-in` (where there are any for this encoder: for all-MiniLM-L6-v2), `none`,
    /// or the path of a file that `contactflow adapt` wrote. Heads are for an encoder with its adapter.
    pub adapter: AdapterSetting,
    /// Head files, at most one per head; each stands in for the built-in head of its name. Built-in heads that were
    /// trained on another encoder are left out, but a sentiment head there must be.
    pub head_files: Vec<PathBuf>,
    /// The second encoder, for Chinese texts.
    pub multilingual: MultilingualConfig,
    /// `fp32`, `fp16` or `bf16`; default: fp32 on CPUs, fp16 on CUDA. Part of the model id.
    pub precision: Option<Precision>,
    /// Texts are cut at this many tokens, `[CLS]` and `[SEP]` included.
    pub max_tokens: usize,
    /// Tokens computed per batch, padding counted. One batch is also what a lonely text costs.
    pub batch_tokens: usize,
}

/// The encoder and the heads of Chinese texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MultilingualConfig {
    /// Whether it is used.
    pub when: Multilingual,
    /// As [`ModelConfig::encoder_dir`].
    pub encoder_dir: PathBuf,
    /// As [`ModelConfig::encoder_sha256`].
    pub encoder_sha256: Option<String>,
    /// As [`ModelConfig::adapter`].
    pub adapter: AdapterSetting,
    /// As [`ModelConfig::head_files`].
    pub head_files: Vec<PathBuf>,
    /// The head of conversations, which reads this encoder; the built-in one if absent.
    pub conversation_head_file: Option<PathBuf>,
}

/// Whether Chinese texts have an encoder of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Multilingual {
    /// If its folder exists.
    Auto,
    /// Yes; without the folder nothing starts.
    On,
    /// No: Chinese texts go to the first encoder, which gives them a poor sentiment and nothing else.
    Off,
}

/// Which adapter an encoder has. In files: `built-in`, `none`, or a path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum AdapterSetting {
    /// The one shipped for this encoder, if there is one.
    #[default]
    BuiltIn,
    /// None.
    None,
    /// That in a file.
    File(PathBuf),
}

impl From<String> for AdapterSetting {
    fn from(word: String) -> Self {
        match word.as_str() {
            "built-in" => Self::BuiltIn,
            "none" => Self::None,
            _ => Self::File(word.into()),
        }
    }
}

impl From<AdapterSetting> for String {
    fn from(setting: AdapterSetting) -> Self {
        match setting {
            AdapterSetting::BuiltIn => "built-in".to_owned(),
            AdapterSetting::None => "none".to_owned(),
            AdapterSetting::File(path) => path.to_string_lossy().into_owned(),
        }
    }
}

impl Default for MultilingualConfig {
    fn default() -> Self {
        Self {
            when: Multilingual::Auto,
            encoder_dir: cache_dir().join(MULTILINGUAL_ENCODER),
            encoder_sha256: None,
            adapter: AdapterSetting::BuiltIn,
            head_files: Vec::new(),
            conversation_head_file: None,
        }
    }
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            encoder_dir: default_encoder_dir(),
            encoder_sha256: None,
            adapter: AdapterSetting::BuiltIn,
            head_files: Vec::new(),
            multilingual: MultilingualConfig::default(),
            precision: None,
            max_tokens: 128,
            batch_tokens: 512,
        }
    }
}

impl ModelConfig {
    /// The default settings with another encoder folder, and no second encoder.
    pub fn new(encoder_dir: impl Into<PathBuf>) -> Self {
        let multilingual = MultilingualConfig { when: Multilingual::Off, ..MultilingualConfig::default() };
        Self { encoder_dir: encoder_dir.into(), multilingual, ..Self::default() }
    }

    /// Folder and expected digest of the encoder for `language`.
    pub(crate) fn encoder(&self, language: Language) -> (&Path, Option<&str>) {
        let second = &self.multilingual;
        match language {
            Language::En => (&self.encoder_dir, self.encoder_sha256.as_deref()),
            Language::Zh => (&second.encoder_dir, second.encoder_sha256.as_deref()),
        }
    }

    /// The adapter of the encoder for `language`.
    pub(crate) fn adapter(&self, language: Language) -> &AdapterSetting {
        match language {
            Language::En => &self.adapter,
            Language::Zh => &self.multilingual.adapter,
        }
    }

    /// Head files for the encoder of `language`.
    pub(crate) fn head_files(&self, language: Language) -> &[PathBuf] {
        match language {
            Language::En => &self.head_files,
            Language::Zh => &self.multilingual.head_files,
        }
    }

    /// Whether texts in `language` have an encoder of their own.
    pub(crate) fn has_encoder(&self, language: Language) -> bool {
        match (language, self.multilingual.when) {
            (Language::En, _) | (Language::Zh, Multilingual::On) => true,
            (Language::Zh, Multilingual::Off) => false,
            (Language::Zh, Multilingual::Auto) => self.multilingual.encoder_dir.join("config.json").is_file(),
        }
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
    cache_dir().join(DEFAULT_ENCODER)
}

fn cache_dir() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("CONTACTFLOW_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("contactflow")))
        .or_else(|| set("HOME").map(|folder| folder.join(".cache/contactflow")))
        .unwrap_or_else(|| PathBuf::from(".cache/contactflow"))
}
