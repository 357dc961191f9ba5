//! The optimisation itself: epochs of AdamW over precomputed features, with early stopping.
//!
//! All randomness (initial weights, order of batches, dropout) comes from one seeded generator of our own, so that
//! a run does not depend on LibTorch's process-wide one.

use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::nn::{self, OptimizerConfig};
use tch::{Device, Kind, Reduction, Tensor};

use crate::error::{InferenceError, Result};
use crate::head::{Head, HeadMetadata, parameter_shapes};
use crate::scorer::rows;
use crate::training::Progress;
use crate::training::features::Features;
use crate::training::metrics::ClassificationReport;
use crate::training::train::TrainOptions;

/// Gradients are scaled down to this norm: recurrent layers are prone to rare, huge ones.
const GRADIENT_NORM_MAX: f64 = 1.0;
/// Batches sorted by length together: similar lengths need little padding, yet the order stays random.
const BATCHES_PER_POOL: usize = 16;
/// LibTorch's marker for "every target counts".
const IGNORE_NOTHING: i64 = -100;
/// Share of the steps over which the learning rate rises from zero.
const WARM_UP_SHARE: f64 = 0.05;

/// Rows to learn from: their features and the index of each one's class.
pub(crate) struct Dataset<'a> {
    pub(crate) features: &'a Features,
    pub(crate) classes: &'a [usize],
    /// Rows of the training part.
    pub(crate) training: Vec<usize>,
    /// Rows that decide when to stop and which epoch to keep.
    pub(crate) validation: Vec<usize>,
}

/// The head of the best epoch and how it came about.
pub(crate) struct Fitted {
    pub(crate) head: Head,
    pub(crate) best_epoch: u32,
    pub(crate) epochs: u32,
}

/// Trains a head; see [`TrainOptions`] for the knobs.
pub(crate) fn fit(
    dataset: &Dataset<'_>,
    metadata: HeadMetadata,
    options: &TrainOptions,
    device: Device,
    progress: &mut dyn FnMut(Progress),
) -> Result<Fitted> {
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let store = nn::VarStore::new(device);
    let parameters = initial_parameters(&store, &metadata, &mut rng)?;
    let head = Head::from_parameters(metadata, shallow(&parameters), String::new())?;
    let optimizer =
        nn::AdamW { wd: options.weight_decay, ..Default::default() }.build(&store, options.learning_rate)?;
    let weights = class_weights(dataset, head.metadata().labels.len(), options.class_weight_power, device)?;
    let steps_per_epoch = dataset.training.len().div_ceil(options.batch_size);
    let mut trainer = Trainer {
        dataset,
        options,
        device,
        head,
        optimizer,
        weights,
        rng,
        step: 0,
        steps_max: steps_per_epoch * options.epochs_max as usize,
    };
    let mut best = (f64::NEG_INFINITY, 0, Vec::new());
    let mut epochs = 0;
    for epoch in 1..=options.epochs_max {
        epochs = epoch;
        let training_loss = trainer.epoch()?;
        let report = trainer.validate()?;
        let validation_macro_f1 = report.macro_f1;
        progress(Progress::Epoch { epoch, epochs_max: options.epochs_max, training_loss, validation_macro_f1 });
        if validation_macro_f1 > best.0 {
            best = (validation_macro_f1, epoch, deep_copies(&parameters)?);
        } else if epoch - best.1 >= options.patience_epochs {
            break;
        }
    }
    let (_, best_epoch, snapshot) = best;
    let head = Head::from_parameters(trainer.head.metadata().clone(), snapshot, String::new())?;
    Ok(Fitted { head, best_epoch, epochs })
}

/// Logits of the rows `members`, in their order.
pub(crate) fn logits(
    head: &Head,
    features: &Features,
    members: &[usize],
    batch_size: usize,
    device: Device,
) -> Result<Vec<Vec<f32>>> {
    let mut all = Vec::with_capacity(members.len());
    for chunk in members.chunks(batch_size.max(1)) {
        let (hidden, mask) = features.batch(chunk, device)?;
        all.extend(rows(&tch::no_grad(|| head.forward(&hidden, &mask))?, chunk.len())?);
    }
    Ok(all)
}

struct Trainer<'a> {
    dataset: &'a Dataset<'a>,
    options: &'a TrainOptions,
    device: Device,
    head: Head,
    optimizer: nn::Optimizer,
    weights: Tensor,
    rng: ChaCha8Rng,
    step: usize,
    steps_max: usize,
}

impl Trainer<'_> {
    /// One pass over the training part; returns the mean loss.
    fn epoch(&mut self) -> Result<f64> {
        let batches = self.shuffled_batches();
        let mut total = 0.0;
        for members in &batches {
            total += self.train_batch(members)? * members.len() as f64;
        }
        Ok(total / self.dataset.training.len().max(1) as f64)
    }

    fn shuffled_batches(&mut self) -> Vec<Vec<usize>> {
        let size = self.options.batch_size;
        let mut order = self.dataset.training.clone();
        order.shuffle(&mut self.rng);
        for pool in order.chunks_mut(size * BATCHES_PER_POOL) {
            pool.sort_by_key(|&member| self.dataset.features.tokens(member));
        }
        let mut batches: Vec<Vec<usize>> = order.chunks(size).map(<[usize]>::to_vec).collect();
        batches.shuffle(&mut self.rng);
        batches
    }

    fn train_batch(&mut self, members: &[usize]) -> Result<f64> {
        self.optimizer.set_lr(self.options.learning_rate * schedule(self.step, self.steps_max));
        self.step += 1;
        let (hidden, mask) = self.dataset.features.batch(members, self.device)?;
        let (batch, size) = (members.len() as i64, self.head.metadata().input_size);
        // The same mask at every step of a row: dropping other units at each step would erase what the LSTM carries.
        let input_scale = dropout(&[batch, 1, 1, size], self.options.dropout, &mut self.rng, self.device)?;
        let pooled_size = 4 * self.options.lstm_hidden_size;
        let pooled_scale = dropout(&[batch, pooled_size], self.options.dropout, &mut self.rng, self.device)?;
        let logits = self.head.forward_with_dropout(&hidden.f_mul(&input_scale)?, &mask, Some(&pooled_scale))?;
        let classes: Vec<i64> = members.iter().map(|&member| self.dataset.classes[member] as i64).collect();
        let target = Tensor::f_from_slice(&classes)?.f_to_device(self.device)?;
        let smoothing = self.options.label_smoothing;
        let loss =
            logits.f_cross_entropy_loss(&target, Some(&self.weights), Reduction::Mean, IGNORE_NOTHING, smoothing)?;
        self.optimizer.zero_grad();
        loss.f_backward()?;
        self.optimizer.clip_grad_norm(GRADIENT_NORM_MAX);
        self.optimizer.step();
        let value = loss.f_double_value(&[])?;
        if value.is_finite() {
            Ok(value)
        } else {
            Err(InferenceError::Config("training diverged; use a lower learning_rate".to_owned()))
        }
    }

    fn validate(&self) -> Result<ClassificationReport> {
        let members = &self.dataset.validation;
        let logits = logits(&self.head, self.dataset.features, members, self.options.batch_size, self.device)?;
        let probabilities = logits.iter().map(|row| row.iter().map(|&logit| f64::from(logit)).collect());
        let rows: Vec<(usize, Vec<f64>)> =
            members.iter().map(|&member| self.dataset.classes[member]).zip(probabilities).collect();
        Ok(ClassificationReport::new("", &self.head.metadata().labels, &rows, 0))
    }
}

fn shallow(parameters: &[Tensor]) -> Vec<Tensor> {
    parameters.iter().map(Tensor::shallow_clone).collect()
}

/// Copies that later steps leave alone.
fn deep_copies(parameters: &[Tensor]) -> Result<Vec<Tensor>> {
    let copy = |parameter: &Tensor| -> Result<Tensor> {
        let source = parameter.f_detach()?;
        let mut own = source.f_empty_like()?;
        own.f_copy_(&source)?;
        Ok(own)
    };
    parameters.iter().map(copy).collect()
}

/// Factor of the learning rate at a step: a short linear rise, then half a cosine down to zero.
fn schedule(step: usize, steps_max: usize) -> f64 {
    let done = (step + 1) as f64 / steps_max.max(1) as f64;
    if done < WARM_UP_SHARE { done / WARM_UP_SHARE } else { 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos()) }
}

/// Uniform within ±1/√(inputs of the unit), as `torch.nn.LSTM` and `torch.nn.Linear` begin.
fn initial_parameters(store: &nn::VarStore, metadata: &HeadMetadata, rng: &mut ChaCha8Rng) -> Result<Vec<Tensor>> {
    let hidden = metadata.lstm_hidden_size;
    let mut parameters = Vec::new();
    for (name, shape) in parameter_shapes(metadata) {
        if name == "layer_mix" {
            // Equal shares to begin with.
            let equal = Tensor::f_zeros(&shape[..], (Kind::Float, store.device()))?;
            parameters.push(store.root().f_var_copy(&name, &equal)?);
            continue;
        }
        let inputs = if name.starts_with("classifier") { 4 * hidden } else { hidden };
        let bound = 1.0 / (inputs as f64).sqrt();
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-bound..bound) as f32).collect();
        let initial = Tensor::f_from_slice(&values)?.f_view(&shape[..])?.f_to_device(store.device())?;
        // VarStore reserves the dot for its own paths.
        parameters.push(store.root().f_var_copy(&name.replace('.', "_"), &initial)?);
    }
    Ok(parameters)
}

/// A mask that keeps each element with probability 1 − `rate`, scaled so that the expected value stays.
fn dropout(shape: &[i64], rate: f64, rng: &mut impl Rng, device: Device) -> Result<Tensor> {
    let keep = (1.0 / (1.0 - rate)) as f32;
    let count = shape.iter().product::<i64>();
    let values: Vec<f32> = (0..count).map(|_| if rng.random::<f32>() < rate as f32 { 0.0 } else { keep }).collect();
    Ok(Tensor::f_from_slice(&values)?.f_view(shape)?.f_to_device(device)?)
}

/// Weight of each class in the loss: (1 / its share) ^ `power`, scaled to a mean of 1 over the training rows.
fn class_weights(dataset: &Dataset<'_>, classes: usize, power: f64, device: Device) -> Result<Tensor> {
    let mut counts = vec![0_u64; classes];
    for &member in &dataset.training {
        counts[dataset.classes[member]] += 1;
    }
    let raw: Vec<f64> = counts.iter().map(|&count| (count.max(1) as f64).powf(-power)).collect();
    let total: f64 = raw.iter().zip(&counts).map(|(weight, &count)| weight * count as f64).sum();
    let mean = total / dataset.training.len().max(1) as f64;
    let weights: Vec<f32> = raw.iter().map(|weight| (weight / mean) as f32).collect();
    Ok(Tensor::f_from_slice(&weights)?.f_to_kind(Kind::Float)?.f_to_device(device)?)
}
