//! Texts to predictions on one device.

use contactflow_schemas::prediction::{Outcome, Prediction, Request, TextRequest, TextScores};
use tch::Device;

use crate::batching::{BatchShape, BatchStats, Headroom, PlannedBatch, passes};
use crate::config::ModelConfig;
use crate::conversation::ConversationHead;
use crate::error::Result;
use crate::group::{Encoded, Member, ModelGroup};
use crate::head::Head;
use crate::language::Language;
use crate::text_encoder::TextEncoder;
use crate::tokenizer::TokenizedText;
use crate::weights::sha256_hex;

/// Version of what a prediction holds: stands in the model id, so that what an earlier program stored is not taken for
/// this one's.
const PREDICTION_VERSION: u32 = 2;
/// Characters of a digest that stand in a model id.
const SHORT_HASH_CHARS: usize = 10;

/// The part of a digest that stands in a model id.
pub(crate) fn short(digest: &str) -> &str {
    &digest[..digest.len().min(SHORT_HASH_CHARS)]
}

/// Name of one head on its encoder: head name and short hashes of the encoder side and the head file.
pub(crate) fn head_model_id(text_encoder: &TextEncoder, head: &Head) -> String {
    format!("{}-{}-{}", head.metadata().name, short(&text_encoder.fingerprint()), short(head.sha256()))
}

/// Name of everything that scores a text.
fn model_id(groups: &[(Language, ModelGroup)]) -> String {
    let encoders: Vec<String> = groups
        .iter()
        .map(|(language, group)| format!("{} {}", language.as_str(), group.text_encoder.fingerprint()))
        .collect();
    let of_group = |(_, group): &(Language, ModelGroup)| -> Vec<String> {
        let of_turns = group.conversation_head().map(ConversationHead::sha256);
        group.heads().map(Head::sha256).chain(of_turns).map(str::to_owned).collect()
    };
    let heads: Vec<String> = groups.iter().flat_map(of_group).collect();
    let digest = |parts: String| sha256_hex(parts.as_bytes());
    let heads = format!("predictions {PREDICTION_VERSION}\n{}", heads.join("\n"));
    format!("text-{}-{}", short(&digest(encoders.join("\n"))), short(&digest(heads)))
}

/// Anything that answers requests on a device thread; [`Scorer`] answers texts, tests put in others.
pub trait DeviceScorer<R: Request = TextRequest> {
    /// One answer per request, in the same order.
    fn score(&mut self, requests: &[R]) -> Vec<R::Answer>;
}

/// All encoders and heads on one device.
///
/// The scores of a text depend on the text, the model and the kind of device alone: not on the texts it is
/// batched with, their order, or the number of threads.
#[derive(Debug)]
pub struct Scorer {
    /// The models by language; English, which stands in for missing ones, first.
    groups: Vec<(Language, ModelGroup)>,
    model_id: String,
    headroom: Headroom,
    stats: BatchStats,
}

impl Scorer {
    /// Loads encoders, tokenizers and heads onto `device`.
    ///
    /// # Errors
    /// Files missing or malformed, tensors missing or misshapen, a head that was trained on another encoder or has not
    /// the labels of its name, impossible settings.
    pub fn load(config: &ModelConfig, device: Device) -> Result<Self> {
        let mut groups = Vec::new();
        for language in Language::ALL.into_iter().filter(|&language| config.has_encoder(language)) {
            groups.push((language, ModelGroup::load(config, language, device)?));
        }
        let model_id = model_id(&groups);
        Ok(Self { groups, model_id, headroom: Headroom::default(), stats: BatchStats::default() })
    }

    /// `text-<encoders>-<heads>`: changes whenever a score could, except between numeric profiles; what is published has
    /// the profile at its end ([`DevicePool::model_id`](crate::DevicePool::model_id)).
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
        let languages: Vec<Language> = requests.iter().map(|request| Language::of(&request.text)).collect();
        let mut outcomes: Vec<Option<Outcome>> = vec![None; requests.len()];
        for group in 0..self.groups.len() {
            let own = |&index: &usize| self.group_of(languages[index]) == group;
            let members: Vec<usize> = (0..requests.len()).filter(own).collect();
            self.score_group(group, requests, &languages, &members, &mut outcomes);
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

    /// Index of the models for a language: its own, or the first.
    fn group_of(&self, language: Language) -> usize {
        self.groups.iter().position(|(own, _)| *own == language).unwrap_or(0)
    }

    /// Scores the requests `members` with the models `group`.
    fn score_group(
        &mut self,
        group: usize,
        requests: &[TextRequest],
        languages: &[Language],
        members: &[usize],
        outcomes: &mut [Option<Outcome>],
    ) {
        let mut tokenized: Vec<(usize, TokenizedText)> = Vec::with_capacity(members.len());
        for &index in members {
            match self.groups[group].1.text_encoder.tokenize(&requests[index].text) {
                Ok(tokens) => tokenized.push((index, tokens)),
                Err(error) => outcomes[index] = Some(Outcome::Failed(error.to_string())),
            }
        }
        self.count_truncated(tokenized.iter().filter(|(_, tokens)| tokens.truncated).count() as u64);
        let counts: Vec<usize> = tokenized.iter().map(|(_, tokens)| tokens.ids.len()).collect();
        let texts: Vec<Member<'_>> = tokenized
            .iter()
            .map(|(index, tokens)| Member { text: &requests[*index].text, tokens, language: languages[*index] })
            .collect();
        let text_encoder = &self.groups[group].1.text_encoder;
        let planned = text_encoder.shapes.plan(&counts);
        for pass in passes(&planned, &counts, text_encoder.encoder.device()) {
            let batch =
                |batch: &PlannedBatch| (batch.members.iter().map(|&member| texts[member]).collect(), batch.shape);
            let batches: Vec<(Vec<Member<'_>>, BatchShape)> = pass.iter().map(batch).collect();
            // If that fails, every batch is tried by itself, to the last text that is to blame.
            let encoded = if batches.len() > 1 { self.groups[group].1.encode(&batches).ok() } else { None };
            let mut encoded = encoded.unwrap_or_default().into_iter();
            for (planned, (members, shape)) in pass.iter().zip(&batches) {
                let scored = self.score_batch(group, members, *shape, encoded.next());
                for (&member, outcome) in planned.members.iter().zip(scored) {
                    outcomes[tokenized[member].0] = Some(outcome);
                }
            }
        }
    }

    /// Outcomes of one batch, one per member; `encoded` is what the encoder made of it, if it has been there.
    fn score_batch(
        &mut self,
        group: usize,
        members: &[Member<'_>],
        shape: BatchShape,
        mut encoded: Option<Encoded>,
    ) -> Vec<Outcome> {
        let Self { groups, headroom, stats, .. } = self;
        let models = &groups[group].1;
        let results = headroom.run(members, shape, &mut |part, part_shape| {
            let scores = match encoded.take().filter(|_| part.len() == members.len() && part_shape == shape) {
                Some(encoded) => models.read(part, &encoded)?,
                None => models.score(part, part_shape)?,
            };
            let tokens: usize = part.iter().map(|member| member.tokens.ids.len()).sum();
            stats.batches += 1;
            stats.tokens += tokens as u64;
            stats.padding_tokens += (part_shape.rows * part_shape.length - tokens) as u64;
            Ok(scores)
        });
        let outcome = |result: Result<Option<TextScores>>| match result {
            Ok(Some(scores)) => Outcome::Scored(Box::new(scores)),
            Ok(None) => Outcome::Failed("the model's output is not a number".to_owned()),
            Err(error) => Outcome::Failed(error.to_string()),
        };
        results.into_iter().map(outcome).collect()
    }

    /// Counts texts that were cut, and says so at the first, and again whenever their number has doubled.
    fn count_truncated(&mut self, texts: u64) {
        let before = self.stats.texts_truncated;
        self.stats.texts_truncated += texts;
        if before.checked_ilog2() < self.stats.texts_truncated.checked_ilog2() {
            let total = self.stats.texts_truncated;
            tracing::info!(texts_truncated = total, "texts were cut at the token limit (max_tokens)");
        }
    }
}

impl DeviceScorer for Scorer {
    fn score(&mut self, requests: &[TextRequest]) -> Vec<Prediction> {
        Scorer::score(self, requests)
    }
}
