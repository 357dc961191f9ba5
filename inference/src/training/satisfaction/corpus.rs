//! Dialogues with everything that training needs of their texts, each distinct text encoded once.

use std::collections::HashMap;

use contactflow_schemas::facts::Speaker;
use contactflow_schemas::prediction::{TURNS_MAX, TurnInput};
use tch::{Device, Kind, Tensor};

use crate::conversation::network::{batch, features};
use crate::conversation::turn_encoder::{TurnEncoder, pooled};
use crate::error::{InferenceError, Result};
use crate::text_encoder::TextEncoder;
use crate::tokenizer::TokenizedText;
use crate::training::Progress;
use crate::training::satisfaction::dialogues::Dialogue;
use crate::training::satisfaction::fit::{Sequences, UNRATED};
use crate::training::satisfaction::softmax_regression::balanced;
use crate::training::satisfaction::turn_stage::{Sample, Texts};

/// Dialogues and their distinct texts.
pub(crate) struct Corpus {
    pub(crate) dialogues: Vec<Dialogue>,
    /// Text of each turn of each dialogue, as an index into `texts`.
    pub(crate) turn_texts: Vec<Vec<usize>>,
    /// Pooled states and n-grams of the texts.
    pub(crate) texts: Texts,
}

/// A dialogue's distinct texts are numbered in the order of first occurrence.
fn number_texts(dialogues: &[Dialogue]) -> (Vec<&str>, Vec<Vec<usize>>) {
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut texts = Vec::new();
    let mut turn_texts = Vec::with_capacity(dialogues.len());
    for dialogue in dialogues {
        let mut own = Vec::with_capacity(dialogue.turns.len());
        for turn in &dialogue.turns {
            let number = *numbers.entry(&turn.text).or_insert_with(|| {
                texts.push(turn.text.as_str());
                texts.len() - 1
            });
            own.push(number);
        }
        turn_texts.push(own);
    }
    (texts, turn_texts)
}

impl Corpus {
    /// Encodes the texts of `dialogues` in the batch shapes that scoring uses.
    pub(crate) fn new(
        dialogues: Vec<Dialogue>,
        encoder: &TextEncoder,
        layers: &[i64],
        buckets: usize,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        let (texts, turn_texts) = number_texts(&dialogues);
        let states = pooled_states(encoder, &texts, layers, progress)?;
        let texts = Texts::new(states, &texts, buckets);
        Ok(Self { turn_texts, texts, dialogues })
    }

    /// The rated turns of the dialogues `members`.
    pub(crate) fn samples(&self, members: &[usize]) -> Vec<Sample> {
        let mut samples = Vec::new();
        for &member in members {
            let turns = &self.dialogues[member].turns;
            for (place, class) in self.dialogues[member].rated() {
                let agent = turns[..place].iter().rposition(|turn| turn.speaker == Speaker::Agent);
                samples.push(Sample {
                    text: self.turn_texts[member][place],
                    agent: agent.map(|place| self.turn_texts[member][place]),
                    class,
                    dialogue: member,
                });
            }
        }
        samples
    }

    /// The texts of the dialogues `members`, each once, increasing.
    pub(crate) fn texts_of(&self, members: &[usize]) -> Vec<usize> {
        let mut texts: Vec<usize> = members.iter().flat_map(|&member| self.turn_texts[member].clone()).collect();
        texts.sort_unstable();
        texts.dedup();
        texts
    }

    /// The first `count` turns of a dialogue as scoring sees them, with vectors by `encoder`.
    pub(crate) fn inputs(&self, encoder: &TurnEncoder, member: usize, count: usize) -> Vec<TurnInput> {
        let dialogue = &self.dialogues[member];
        dialogue.inputs(count, |place| {
            let states = &self.texts.states[self.turn_texts[member][place]];
            encoder.vector(states, &dialogue.turns[place].text)
        })
    }

    /// All dialogues as tensors, the last [`TURNS_MAX`] turns of each; `encoder_of` gives the encoder of a dialogue's
    /// vectors. Class weights are those of the dialogues `training`.
    pub(crate) fn sequences<'a>(
        &self,
        encoder_of: impl Fn(usize) -> &'a TurnEncoder,
        training: &[usize],
        device: Device,
    ) -> Result<Sequences> {
        let mut rows = Vec::with_capacity(self.dialogues.len());
        let mut classes = Vec::with_capacity(self.dialogues.len() * TURNS_MAX);
        for (member, dialogue) in self.dialogues.iter().enumerate() {
            let encoder = encoder_of(member);
            rows.push(features(encoder, &self.inputs(encoder, member, usize::MAX), TURNS_MAX)?);
            let skipped = dialogue.turns.len().saturating_sub(TURNS_MAX);
            let own = dialogue.turns[skipped..].iter().map(|turn| turn.class.map_or(UNRATED, |class| class as i64));
            classes.extend(own.chain(std::iter::repeat(UNRATED)).take(TURNS_MAX));
        }
        let input = batch(&rows, TURNS_MAX, device)?;
        let size = [self.dialogues.len() as i64, TURNS_MAX as i64];
        let classes = Tensor::f_from_slice(&classes)?.f_view(size)?.f_to_kind(Kind::Int64)?.f_to_device(device)?;
        Ok(Sequences { input, classes, class_weights: self.class_weights(training) })
    }

    fn class_weights(&self, training: &[usize]) -> [f32; crate::conversation::CLASSES] {
        let classes: Vec<usize> = self.samples(training).iter().map(|sample| sample.class).collect();
        let weights = balanced(&classes);
        std::array::from_fn(|class| {
            classes.iter().position(|&found| found == class).map_or(1.0, |index| weights[index] as f32)
        })
    }
}

fn pooled_states(
    encoder: &TextEncoder,
    texts: &[&str],
    layers: &[i64],
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Vec<f32>>> {
    let tokenized = texts.iter().map(|text| encoder.tokenize(text)).collect::<Result<Vec<TokenizedText>>>()?;
    let counts: Vec<usize> = tokenized.iter().map(|text| text.ids.len()).collect();
    let mut states = vec![Vec::new(); texts.len()];
    let mut done = 0;
    for planned in encoder.shapes.plan(&counts) {
        let members: Vec<&TokenizedText> = planned.members.iter().map(|&member| &tokenized[member]).collect();
        let (input, hidden) = encoder.encode(&members, planned.shape, layers)?;
        let rows = pooled(&hidden, &input.attention_mask, members.len())?;
        for (&member, row) in planned.members.iter().zip(rows) {
            states[member] = row;
        }
        done += members.len();
        progress(Progress::Encoding { done, total: texts.len() });
    }
    if states.iter().any(Vec::is_empty) {
        return Err(InferenceError::Config("a text fits no batch shape".to_owned()));
    }
    Ok(states)
}
