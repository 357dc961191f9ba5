//! Texts to predictions on one device.

use contactflow_schemas::prediction::{Outcome, Prediction, SentimentLabel, TextRequest, TextScores};
use tch::{Device, Tensor};

use crate::batching::{BatchInput, BatchShape, BatchShapes, BatchStats};
use crate::config::ModelConfig;
use crate::encoder::Encoder;
use crate::error::{InferenceError, Result};
use crate::head::Head;
use crate::quantise::{quantise, softmax};
use crate::tokenizer::{TextTokenizer, TokenizedText};
use crate::weights::sha256_hex;

/// Characters of a digest that stand in a model id.
const SHORT_HASH_CHARS: usize = 10;

/// Tokenizer, encoder and shapes: everything up to the token states, shared by scoring and training.
#[derive(Debug)]
pub(crate) struct TextEncoder {
    pub(crate) tokenizer: TextTokenizer,
    pub(crate) encoder: Encoder,
    pub(crate) shapes: BatchShapes,
}

impl TextEncoder {
    pub(crate) fn load(config: &ModelConfig, device: Device) -> Result<Self> {
        let encoder = Encoder::load(&config.encoder_dir, config.encoder_sha256.as_deref(), device)?;
        config.check_max_tokens(encoder.config().max_position_embeddings)?;
        let tokenizer = TextTokenizer::load(&config.encoder_dir, config.max_tokens)?;
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
        let input = BatchInput::new(texts, shape, self.encoder.config().pad_token_id, self.encoder.device())?;
        let hidden = self.encoder.forward_layers(&input.input_ids, &input.attention_mask, layers)?;
        Ok((input, hidden))
    }

    /// Digest of everything before the head: weights, architecture, tokenizer and the token limit.
    pub(crate) fn fingerprint(&self) -> String {
        let parts = [self.encoder.weights_sha256(), self.encoder.config_sha256(), self.tokenizer.sha256()];
        sha256_hex(format!("{} max_tokens={}", parts.join(" "), self.tokenizer.max_tokens()).as_bytes())
    }
}

/// Name of a model: head name and short hashes of the encoder side and the head file.
pub(crate) fn model_id(text_encoder: &TextEncoder, head: &Head) -> String {
    format!("{}-{}-{}", head.metadata().name, short_hash(&text_encoder.fingerprint()), short_hash(head.sha256()))
}

/// The part of a digest that stands in a model id.
pub(crate) fn short_hash(digest: &str) -> String {
    digest.chars().take(SHORT_HASH_CHARS).collect()
}

/// Anything that answers text requests; [`Scorer`] is the real one, tests put in others.
pub trait TextScorer {
    /// One prediction per request, in the same order.
    fn score(&mut self, requests: &[TextRequest]) -> Vec<Prediction>;
}

/// The sentiment model on one device.
///
/// The score of a text depends on the text, the model and the kind of device alone: not on the texts it is
/// batched with, their order, or the number of threads.
#[derive(Debug)]
pub struct Scorer {
    text_encoder: TextEncoder,
    head: Head,
    model_id: String,
    stats: BatchStats,
}

impl Scorer {
    /// Loads encoder, tokenizer and head onto `device`.
    ///
    /// # Errors
    /// Files missing or malformed, tensors missing or misshapen, a head that was trained on another encoder or does
    /// not tell negative, neutral and positive, impossible settings.
    pub fn load(config: &ModelConfig, device: Device) -> Result<Self> {
        let text_encoder = TextEncoder::load(config, device)?;
        let head = match &config.head_file {
            Some(path) => Head::load(path, device)?,
            None => Head::built_in(device)?,
        };
        Self::new(text_encoder, head)
    }

    pub(crate) fn new(text_encoder: TextEncoder, head: Head) -> Result<Self> {
        head.check_encoder(text_encoder.encoder.weights_sha256())?;
        let labels = SentimentLabel::ALL.map(SentimentLabel::as_str);
        if head.metadata().labels != labels {
            let found = head.metadata().labels.join(", ");
            return Err(InferenceError::Config(format!(
                "a sentiment head has the labels {}; this one has {found}",
                labels.join(", ")
            )));
        }
        let model_id = model_id(&text_encoder, &head);
        Ok(Self { text_encoder, head, model_id, stats: BatchStats::default() })
    }

    /// `sentiment-<encoder>-<head>`: changes whenever a score could, except between kinds of devices.
    pub fn model_id(&self) -> &str {
        &self.model_id
    }

    /// Totals since loading.
    pub fn stats(&self) -> BatchStats {
        self.stats
    }

    /// One prediction per request, in the same order. A text the model fails on gets
    /// [`Outcome::Failed`] with a reason that does not quote it; the others are scored all the same.
    pub fn score(&mut self, requests: &[TextRequest]) -> Vec<Prediction> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; requests.len()];
        let mut texts = Vec::with_capacity(requests.len());
        let mut origins = Vec::with_capacity(requests.len());
        for (index, request) in requests.iter().enumerate() {
            match self.text_encoder.tokenize(&request.text) {
                Ok(tokenized) => {
                    self.stats.texts_truncated += u64::from(tokenized.truncated);
                    texts.push(tokenized);
                    origins.push(index);
                }
                Err(error) => outcomes[index] = Some(Outcome::Failed(error.to_string())),
            }
        }
        let counts: Vec<usize> = texts.iter().map(|text| text.ids.len()).collect();
        for batch in self.text_encoder.shapes.plan(&counts) {
            let members: Vec<&TokenizedText> = batch.members.iter().map(|&member| &texts[member]).collect();
            for (&member, outcome) in batch.members.iter().zip(self.score_batch(&members, batch.shape)) {
                outcomes[origins[member]] = Some(outcome);
            }
        }
        self.stats.texts += requests.len() as u64;
        let unanswered = || Outcome::Failed("the text fits no batch shape".to_owned());
        let answers = requests.iter().zip(outcomes);
        let predictions: Vec<Prediction> = answers
            .map(|(request, outcome)| Prediction { key: request.key, outcome: outcome.unwrap_or_else(unanswered) })
            .collect();
        let failed = predictions.iter().filter(|prediction| matches!(prediction.outcome, Outcome::Failed(_)));
        self.stats.texts_failed += failed.count() as u64;
        predictions
    }

    /// Outcomes of one batch, one per member. If the batch fails as a whole, its members are tried one by one, in the
    /// same shape, so that only the culprit fails.
    fn score_batch(&mut self, members: &[&TokenizedText], shape: BatchShape) -> Vec<Outcome> {
        match self.logits(members, shape) {
            Ok(rows) => rows.into_iter().map(|row| self.outcome(&row)).collect(),
            Err(error) if members.len() <= 1 => vec![Outcome::Failed(error.to_string()); members.len()],
            Err(error) => {
                tracing::warn!(%error, texts = members.len(), "a batch failed; scoring its texts one by one");
                members.iter().flat_map(|&member| self.score_batch(&[member], shape)).collect()
            }
        }
    }

    fn logits(&mut self, members: &[&TokenizedText], shape: BatchShape) -> Result<Vec<Vec<f32>>> {
        let (input, hidden) = self.text_encoder.encode(members, shape, &self.head.metadata().encoder_layers)?;
        let logits = tch::no_grad(|| self.head.forward(&hidden, &input.attention_mask))?;
        let tokens: usize = members.iter().map(|member| member.ids.len()).sum();
        self.stats.batches += 1;
        self.stats.tokens += tokens as u64;
        self.stats.padding_tokens += (shape.rows * shape.length - tokens) as u64;
        rows(&logits, members.len())
    }

    fn outcome(&self, logits: &[f32]) -> Outcome {
        match softmax(logits, self.head.metadata().temperature).as_deref() {
            Some(&[negative, neutral, positive]) => {
                Outcome::Scored(Box::new(TextScores::of_sentiment(quantise([negative, neutral, positive]))))
            }
            _ => Outcome::Failed("the model's output is not a number".to_owned()),
        }
    }
}

impl TextScorer for Scorer {
    fn score(&mut self, requests: &[TextRequest]) -> Vec<Prediction> {
        Scorer::score(self, requests)
    }
}

/// The first `count` rows of `logits` `[rows, classes]` in memory.
pub(crate) fn rows(logits: &Tensor, count: usize) -> Result<Vec<Vec<f32>>> {
    let (total, classes) = logits.size2()?;
    let mut flat = vec![0.0_f32; logits.numel()];
    logits.f_to_device(Device::Cpu)?.f_contiguous()?.f_copy_data(&mut flat, logits.numel())?;
    debug_assert!(count <= total as usize);
    Ok(flat.chunks_exact(classes.max(1) as usize).take(count).map(<[f32]>::to_vec).collect())
}
