//! Training one network: AdamW over whole dialogues, with early stopping on dialogues held out from it.
//!
//! All randomness (initial weights, order of batches, dropout) comes from one seeded generator of our own.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::nn::{self, OptimizerConfig};
use tch::{Device, Reduction, Tensor, no_grad};

use crate::conversation::CLASSES;
use crate::conversation::network::{Dropout, Network, NetworkSizes};
use crate::error::{InferenceError, Result};
use crate::training::EpochFigures;
use crate::training::descent::{GRADIENT_NORM_MAX, deep_copies, dropout, schedule};
use crate::training::metrics::ClassificationReport;
use crate::training::satisfaction::SatisfactionOptions;
use crate::weights::values;

/// Class of a turn that nobody rated.
pub(crate) const UNRATED: i64 = -1;
/// Initial attention to a turn from itself, in logits: the last words say most.
const OWN_ATTENTION: f32 = 2.0;
/// Initial weight of each of the two guesses about a customer's turn in its vote.
const INITIAL_VOTE: f32 = 0.5;

/// Dialogues ready for training: all of the same length, shorter ones padded.
pub(crate) struct Sequences {
    /// `[dialogues, turns, input]`.
    pub(crate) input: Tensor,
    /// `[dialogues, turns]`, int64: the class of rated turns, [`UNRATED`] elsewhere.
    pub(crate) classes: Tensor,
    /// Weight of each class in the loss.
    pub(crate) class_weights: [f32; CLASSES],
}

/// Trains a network on the dialogues `members`; keeps the epoch with the lowest loss on `held_out`.
pub(crate) fn fit(
    sequences: &Sequences,
    (members, held_out): (&[i64], &[i64]),
    sizes: NetworkSizes,
    (options, seed): (&SatisfactionOptions, u64),
    each_epoch: &mut dyn FnMut(EpochFigures),
) -> Result<Network> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let store = nn::VarStore::new(sequences.input.device());
    let unknown = absent_features(sequences)?;
    let network = Network::new(sizes, initial_parameters(&store, sizes, &unknown, &mut rng)?)?;
    let optimizer =
        nn::AdamW { wd: options.weight_decay, ..Default::default() }.build(&store, options.learning_rate)?;
    let steps_max = members.len().div_ceil(options.batch_size) * options.epochs_max as usize;
    let mut trainer = Trainer { sequences, options, network, sizes, optimizer, rng, step: 0, steps_max };
    let mut best: (f64, u32, Vec<Tensor>) = (f64::INFINITY, 0, Vec::new());
    for epoch in 1..=options.epochs_max {
        let training_loss = trainer.epoch(members)?;
        let (validation_loss, validation_macro_f1) = trainer.validate(held_out)?;
        each_epoch(EpochFigures { epoch, training_loss, validation_loss, validation_macro_f1 });
        if validation_loss < best.0 {
            best = (validation_loss, epoch, deep_copies(trainer.network.parameters())?);
        } else if epoch - best.1 >= options.patience_epochs {
            break;
        }
    }
    if best.2.is_empty() {
        return Err(InferenceError::Config("training diverged; use a lower learning_rate".to_owned()));
    }
    Network::new(sizes, best.2)
}

struct Trainer<'a> {
    sequences: &'a Sequences,
    options: &'a SatisfactionOptions,
    network: Network,
    sizes: NetworkSizes,
    optimizer: nn::Optimizer,
    rng: ChaCha8Rng,
    step: usize,
    steps_max: usize,
}

impl Trainer<'_> {
    /// One pass over `members`; returns the mean loss of its batches.
    fn epoch(&mut self, members: &[i64]) -> Result<f64> {
        let mut order = members.to_vec();
        order.shuffle(&mut self.rng);
        let mut losses = Vec::new();
        for batch in order.chunks(self.options.batch_size) {
            losses.push(self.train_batch(batch)?);
        }
        Ok(losses.iter().sum::<f64>() / losses.len().max(1) as f64)
    }

    fn train_batch(&mut self, members: &[i64]) -> Result<f64> {
        self.optimizer.set_lr(self.options.learning_rate * schedule(self.step, self.steps_max));
        self.step += 1;
        let (device, count) = (self.sequences.input.device(), members.len() as i64);
        let factors = Dropout {
            input: dropout(&[count, 1, self.sizes.input], self.options.dropout, &mut self.rng, device)?,
            state: dropout(&[count, 1, self.sizes.hidden], self.options.dropout, &mut self.rng, device)?,
        };
        let (logits, target) = self.rated(members, Some(&factors))?;
        let loss = self.loss(&logits, &target, self.options.label_smoothing)?;
        self.optimizer.zero_grad();
        loss.f_backward()?;
        self.optimizer.clip_grad_norm(GRADIENT_NORM_MAX);
        self.optimizer.step();
        Ok(loss.f_double_value(&[])?)
    }

    /// Loss and macro-F1 on `members`.
    fn validate(&self, members: &[i64]) -> Result<(f64, f64)> {
        no_grad(|| {
            let (logits, target) = self.rated(members, None)?;
            let loss = self.loss(&logits, &target, 0.0)?.f_double_value(&[])?;
            let (labels, target) = (logits.f_argmax(-1, false)?, target.f_to_device(Device::Cpu)?);
            let labels = Vec::<i64>::try_from(labels.f_to_device(Device::Cpu)?)?;
            let rows = Vec::<i64>::try_from(target)?.into_iter().zip(labels);
            let rated = rows.filter_map(|(class, label)| Some((usize::try_from(class).ok()?, label)));
            let one_hot = |label| (0..CLASSES as i64).map(|class| f64::from(u8::from(class == label))).collect();
            let rows: Vec<(usize, Vec<f64>)> = rated.map(|(class, label)| (class, one_hot(label))).collect();
            let report = ClassificationReport::most_probable("", &self.options.labels, &rows, 0);
            Ok((loss, report.macro_f1))
        })
    }

    /// Logits and classes of all turns of `members`, one row each; the class of turns without a rating is [`UNRATED`].
    fn rated(&self, members: &[i64], dropout: Option<&Dropout>) -> Result<(Tensor, Tensor)> {
        let index = Tensor::f_from_slice(members)?.f_to_device(self.sequences.input.device())?;
        let answer = self.network.forward(&self.sequences.input.f_index_select(0, &index)?, dropout)?;
        let classes = self.sequences.classes.f_index_select(0, &index)?;
        Ok((answer.logits.f_flatten(0, 1)?, classes.f_flatten(0, 1)?))
    }

    /// Mean weighted cross-entropy over the rated turns.
    fn loss(&self, logits: &Tensor, target: &Tensor, smoothing: f64) -> Result<Tensor> {
        let weights = Tensor::f_from_slice(&self.sequences.class_weights)?.f_to_device(logits.device())?;
        Ok(logits.f_cross_entropy_loss(target, Some(&weights), Reduction::Mean, UNRATED, smoothing)?)
    }
}

/// Features that are zero in every turn, such as the gaps between turns in data without times.
fn absent_features(sequences: &Sequences) -> Result<Vec<usize>> {
    let largest = values(&sequences.input.f_abs()?.f_amax([0_i64, 1].as_slice(), false)?)?;
    Ok(largest.iter().enumerate().filter(|(_, most)| **most == 0.0).map(|(feature, _)| feature).collect())
}

/// Uniform within ±1/√units for the LSTM, as `torch.nn.LSTM` begins. A vote begins as the mean of the turn encoder's
/// two guesses about a customer's turn, and attention stays mostly with the turn itself: training starts from what a
/// single turn says and learns what the others add.
///
/// The features `unknown`, of which the data say nothing, begin without weight and so stay without it.
fn initial_parameters(
    store: &nn::VarStore,
    sizes: NetworkSizes,
    unknown: &[usize],
    rng: &mut ChaCha8Rng,
) -> Result<Vec<Tensor>> {
    let bound = 1.0 / (sizes.hidden as f32).sqrt();
    let mut parameters = Vec::new();
    for (name, shape) in sizes.parameters() {
        let count = shape.iter().product::<i64>() as usize;
        let mut values: Vec<f32> = match name {
            "attention.distance" | "vote.input" | "vote.state" | "vote.bias" => vec![0.0; count],
            _ => (0..count).map(|_| rng.random_range(-bound..bound)).collect(),
        };
        if name == "lstm.weight_ih" {
            for row in values.chunks_exact_mut(sizes.input as usize) {
                unknown.iter().for_each(|&feature| row[feature] = 0.0);
            }
        }
        if name == "attention.distance" {
            values[0] = OWN_ATTENTION;
        }
        if name == "vote.input" {
            for class in 0..CLASSES {
                let row = class * sizes.input as usize;
                values[row + class] = INITIAL_VOTE;
                values[row + CLASSES + class] = INITIAL_VOTE;
            }
        }
        let initial = Tensor::f_from_slice(&values)?.f_view(&shape[..])?.f_to_device(store.device())?;
        // VarStore reserves the dot for its own paths.
        parameters.push(store.root().f_var_copy(&name.replace('.', "_"), &initial)?);
    }
    Ok(parameters)
}
