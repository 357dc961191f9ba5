//! Tokenizer, encoder and batch shapes: everything up to the token states, shared by scoring and training.

use tch::{Device, Tensor};

use crate::adapter::Adapter;
use crate::batching::{BatchInput, BatchShape, BatchShapes};
use crate::config::ModelConfig;
use crate::encoder::Encoder;
use crate::error::{InferenceError, Result, read_file};
use crate::language::Language;
use crate::precision::NumericProfile;
use crate::tokenizer::{TextTokenizer, TokenizedText};
use crate::weights::{sha256_hex, values};

/// Turns texts into token states on one device.
#[derive(Debug)]
pub(crate) struct TextEncoder {
    pub(crate) tokenizer: TextTokenizer,
    pub(crate) encoder: Encoder,
    pub(crate) shapes: BatchShapes,
}

impl TextEncoder {
    /// Loads the encoder that `config` names for `language`.
    pub(crate) fn load(config: &ModelConfig, language: Language, device: Device) -> Result<Self> {
        Self::load_with(config, language, device, None)
    }

    /// As [`load`](Self::load), with `adapter`, where there is one, in place of the one that `config` names.
    pub(crate) fn load_with(
        config: &ModelConfig,
        language: Language,
        device: Device,
        adapter: Option<Adapter>,
    ) -> Result<Self> {
        let (folder, sha256) = config.encoder(language);
        let mut encoder = Encoder::load(folder, sha256, device)?;
        let adapter = match adapter {
            Some(adapter) => Some(adapter),
            None => Adapter::of_config(config, language, encoder.weights_sha256())?,
        };
        if let Some(adapter) = adapter {
            encoder = encoder.with_adapter(&adapter)?;
        }
        let encoder = encoder.with_precision(NumericProfile::of(device, config.precision).precision())?;
        config.check_max_tokens(encoder.config().max_position_embeddings)?;
        let tokenizer = TextTokenizer::load(folder, config.max_tokens)?.with_emoji_names();
        let shapes = BatchShapes::new(config.max_tokens, config.batch_tokens)?;
        Ok(Self { tokenizer, encoder, shapes })
    }

    /// Token ids of `text`, all within the encoder's vocabulary.
    pub(crate) fn tokenize(&self, text: &str) -> Result<TokenizedText> {
        let tokenized = self.tokenizer.tokenize(text)?;
        let vocab_size = self.encoder.config().vocab_size;
        match tokenized.ids.iter().find(|&&id| i64::from(id) >= vocab_size) {
            // On CUDA an index out of range would take down the whole context, so it must not get that far.
            Some(id) => Err(InferenceError::Tokenize(format!(
                "token id {id} is outside the encoder's vocabulary of {vocab_size}"
            ))),
            None => Ok(tokenized),
        }
    }

    /// Input and hidden states `[rows, length, layers, hidden]` of `texts`, laid out in `shape`.
    pub(crate) fn encode(
        &self,
        texts: &[&TokenizedText],
        shape: BatchShape,
        layers: &[i64],
    ) -> Result<(BatchInput, Tensor)> {
        let input = self.input(texts, shape)?;
        let hidden = self.encoder.forward_layers(&input.input_ids, &input.attention_mask, layers)?;
        Ok((input, hidden))
    }

    /// As [`encode`](Self::encode), of several batches at once.
    pub(crate) fn encode_batches(
        &self,
        batches: &[(Vec<&TokenizedText>, BatchShape)],
        layers: &[i64],
    ) -> Result<Vec<(BatchInput, Tensor)>> {
        let inputs: Vec<BatchInput> =
            batches.iter().map(|(texts, shape)| self.input(texts, *shape)).collect::<Result<_>>()?;
        let states = self.encoder.forward_batches(&inputs, layers)?;
        Ok(inputs.into_iter().zip(states).collect())
    }

    fn input(&self, texts: &[&TokenizedText], shape: BatchShape) -> Result<BatchInput> {
        BatchInput::new(texts, shape, self.encoder.config().pad_token_id, self.encoder.device())
    }

    /// Digest of everything before the heads: weights, architecture, tokenizer and the token limit.
    pub(crate) fn fingerprint(&self) -> String {
        fingerprint([self.encoder.weights_sha256(), self.encoder.config_sha256()], &self.tokenizer)
    }
}

/// The [`TextEncoder::fingerprint`] of the encoder that `config` names for `language`, and the digest of its weights with
/// its adapter, without loading it.
pub(crate) fn fingerprint_of(config: &ModelConfig, language: Language) -> Result<(String, String)> {
    let (folder, _) = config.encoder(language);
    let digest = |name: &str| -> Result<String> {
        Ok(sha256_hex(&read_file(&folder.join(name), "deploy/setup.sh provides the encoders")?))
    };
    let (mut weights, architecture) = (digest("model.safetensors")?, digest("config.json")?);
    if let Some(adapter) = Adapter::of_config(config, language, &weights)? {
        weights = adapter.merged_sha256(&weights);
    }
    let tokenizer = TextTokenizer::load(folder, config.max_tokens)?.with_emoji_names();
    Ok((fingerprint([&weights, &architecture], &tokenizer), weights))
}

fn fingerprint([weights, architecture]: [&str; 2], tokenizer: &TextTokenizer) -> String {
    let parts = [weights, architecture, tokenizer.sha256()].join(" ");
    sha256_hex(format!("{parts} max_tokens={}", tokenizer.max_tokens()).as_bytes())
}

/// The first `count` rows of `table` `[rows, columns]` in memory.
pub(crate) fn rows(table: &Tensor, count: usize) -> Result<Vec<Vec<f32>>> {
    let (total, columns) = table.size2()?;
    debug_assert!(count <= total as usize);
    Ok(values(table)?.chunks_exact(columns.max(1) as usize).take(count).map(<[f32]>::to_vec).collect())
}
