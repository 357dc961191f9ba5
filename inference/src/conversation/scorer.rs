//! Sequences of turns to quality scores.

use contactflow_schemas::prediction::{
    ConversationOutcome, ConversationPrediction, ConversationRequest, Quality, TURNS_MAX, TurnInput,
};
use tch::{Device, no_grad};

use crate::config::ModelConfig;
use crate::conversation::CLASSES;
use crate::conversation::calibration::{normalised_exponentials, quality, shares};
use crate::conversation::head::ConversationHead;
use crate::conversation::network::{Network, batch, features, last_turns, rated_turn};
use crate::error::{InferenceError, Result};
use crate::language::Language;
use crate::scorer::{DeviceScorer, short};
use crate::text_encoder::fingerprint_of;
use crate::weights::values;

/// Conversations that run together; missing ones are zeros, so that the shape is always the same.
const ROWS: usize = 16;
/// Turns computed per conversation: the smallest that holds it.
const LENGTHS: [usize; 4] = [8, 16, 32, TURNS_MAX];

/// What the head says after the last customer turn of a sequence.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    /// Averaged probabilities before calibration.
    pub(crate) raw: [f64; CLASSES],
    /// Weight of each turn that was given; those before the last [`TURNS_MAX`] and after the rated one have none.
    pub(crate) attention: Vec<f64>,
}

/// The conversation head at work.
///
/// The score of a sequence depends on its turns, the head and the kind of device alone: not on what it is batched with,
/// or the number of threads. Every sequence runs in a shape that its own number of turns decides.
#[derive(Debug)]
pub struct ConversationScorer {
    head: ConversationHead,
    model_id: String,
    device: Device,
}

impl ConversationScorer {
    /// Scores with `head`, which is on `device`. `encoder_fingerprint` is the digest of all that decides the turn
    /// vectors beside the head (encoder, tokenizer, token limit); it only goes into the model id.
    pub fn new(head: ConversationHead, encoder_fingerprint: &str, device: Device) -> Self {
        let name = &head.metadata().name;
        let model_id = format!("{name}-{}-{}", short(encoder_fingerprint), short(head.sha256()));
        Self { head, model_id, device }
    }

    /// Loads the conversation head that `config` names; none without the multilingual encoder, or when the built-in head is
    /// for another one.
    ///
    /// # Errors
    /// Files missing or malformed, tensors missing or misshapen, a head file that is for another encoder.
    pub fn load(config: &ModelConfig, device: Device) -> Result<Option<Self>> {
        if !config.has_encoder(Language::Zh) {
            return Ok(None);
        }
        let (fingerprint, weights_sha256) = fingerprint_of(config, Language::Zh)?;
        let head = ConversationHead::of_config(config, &weights_sha256, device)?;
        Ok(head.map(|head| Self::new(head, &fingerprint, device)))
    }

    /// `satisfaction-<encoder>-<head>`: changes whenever a score could, except between kinds of devices.
    pub fn model_id(&self) -> &str {
        &self.model_id
    }

    /// The head.
    pub fn head(&self) -> &ConversationHead {
        &self.head
    }

    /// One prediction per request, in the same order. A sequence that cannot be scored gets
    /// [`ConversationOutcome::Failed`]; the others are scored all the same.
    pub fn score(&self, requests: &[ConversationRequest]) -> Vec<ConversationPrediction> {
        let sequences: Vec<&[TurnInput]> = requests.iter().map(|request| request.turns.as_slice()).collect();
        let readings = self.read(&sequences).into_iter().map(|reading| reading.and_then(|found| self.quality(&found)));
        let outcome = |result: Result<Quality>| match result {
            Ok(quality) => ConversationOutcome::Scored(quality),
            Err(error) => ConversationOutcome::Failed(error.to_string()),
        };
        let answers = requests.iter().zip(readings.map(outcome));
        answers.map(|(request, outcome)| ConversationPrediction { key: request.key, outcome }).collect()
    }

    fn quality(&self, reading: &Reading) -> Result<Quality> {
        let not_a_number = || InferenceError::Sequence("the model's output is not a number");
        let attention = shares(&reading.attention).ok_or_else(not_a_number)?;
        let probabilities = self.head.metadata.calibration.probabilities(reading.raw);
        Ok(Quality { score: quality(probabilities), attention })
    }

    /// What the head says of each sequence, in the same order.
    pub(crate) fn read(&self, sequences: &[&[TurnInput]]) -> Vec<Result<Reading>> {
        let mut readings: Vec<Option<Result<Reading>>> = sequences.iter().map(|_| None).collect();
        let mut ready: [Vec<(usize, usize, Vec<f32>)>; LENGTHS.len()] = Default::default();
        for (index, turns) in sequences.iter().enumerate() {
            match prepare(&self.head, turns) {
                Ok((shape, rated, row)) => ready[shape].push((index, rated, row)),
                Err(error) => readings[index] = Some(Err(error)),
            }
        }
        for (length, members) in LENGTHS.into_iter().zip(&ready) {
            for chunk in members.chunks(ROWS) {
                let found = no_grad(|| self.read_batch(chunk, length));
                for (place, (index, rated, _)) in chunk.iter().enumerate() {
                    let one = match &found {
                        Ok(rows) => reading(&rows[place], *rated, sequences[*index].len()),
                        Err(error) => Err(InferenceError::Torch(error.to_string())),
                    };
                    readings[*index] = Some(one);
                }
            }
        }
        let unanswered = || Err(InferenceError::Sequence("it fits no batch shape"));
        readings.into_iter().map(|found| found.unwrap_or_else(unanswered)).collect()
    }

    /// Per member and network: logits and attention at its rated turn.
    fn read_batch(&self, members: &[(usize, usize, Vec<f32>)], length: usize) -> Result<Vec<Vec<AtTurn>>> {
        let width = members.first().map_or(0, |(_, _, row)| row.len());
        let mut rows: Vec<Vec<f32>> = members.iter().map(|(_, _, row)| row.clone()).collect();
        rows.resize(ROWS, vec![0.0; width]);
        let input = batch(&rows, length, self.device)?;
        let mut found: Vec<Vec<AtTurn>> = members.iter().map(|_| Vec::new()).collect();
        for network in &self.head.networks {
            let (logits, attention) = run(network, &input)?;
            for (place, (_, rated, _)) in members.iter().enumerate() {
                let turn = place * length + rated;
                found[place].push(AtTurn {
                    logits: std::array::from_fn(|class| f64::from(logits[turn * CLASSES + class])),
                    attention: attention[turn * length..(turn + 1) * length].iter().map(|&w| f64::from(w)).collect(),
                });
            }
        }
        Ok(found)
    }
}

impl DeviceScorer<ConversationRequest> for ConversationScorer {
    fn score(&mut self, requests: &[ConversationRequest]) -> Vec<ConversationPrediction> {
        ConversationScorer::score(self, requests)
    }
}

/// What one network says at one turn.
struct AtTurn {
    logits: [f64; CLASSES],
    attention: Vec<f64>,
}

fn run(network: &Network, input: &tch::Tensor) -> Result<(Vec<f32>, Vec<f32>)> {
    let answer = network.forward(input, None)?;
    Ok((values(&answer.logits)?, values(&answer.attention)?))
}

/// Shape, place of the rated turn and features of a sequence.
fn prepare(head: &ConversationHead, turns: &[TurnInput]) -> Result<(usize, usize, Vec<f32>)> {
    let rated = rated_turn(turns).ok_or(InferenceError::Sequence("it has no customer turn that the head can read"))?;
    let seen = last_turns(turns).len();
    let shape = LENGTHS.iter().position(|&length| seen <= length);
    let shape = shape.ok_or(InferenceError::Sequence("it fits no batch shape"))?;
    Ok((shape, rated, features(&head.turn_encoder, turns, LENGTHS[shape])?))
}

/// Means over the networks, with the attention laid out over all `turns` that were given.
fn reading(networks: &[AtTurn], rated: usize, turns: usize) -> Result<Reading> {
    let count = networks.len() as f64;
    if networks.iter().flat_map(|network| network.logits).any(|logit| !logit.is_finite()) {
        return Err(InferenceError::Sequence("the model's output is not a number"));
    }
    let probabilities: Vec<[f64; CLASSES]> =
        networks.iter().map(|network| normalised_exponentials(network.logits)).collect();
    let raw = std::array::from_fn(|class| probabilities.iter().map(|row| row[class]).sum::<f64>() / count);
    let skipped = turns.saturating_sub(TURNS_MAX);
    let mut attention = vec![0.0; turns];
    for (seen, weight) in attention[skipped..].iter_mut().enumerate().take(rated + 1) {
        *weight = networks.iter().map(|network| network.attention[seen]).sum::<f64>() / count;
    }
    Ok(Reading { raw, attention })
}
