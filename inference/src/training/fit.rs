//! The optimisation of the neural branch: epochs of AdamW over precomputed features, with early stopping.
//!
//! All randomness (initial weights, order of batches, dropout) comes from one seeded generator of our own, so that
//! a run does not depend on LibTorch's process-wide one and can be taken up from a checkpoint.

use std::path::Path;

use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Reduction, Tensor};

use crate::adapter::AdapterMetadata;
use crate::encoder::Encoder;
use crate::error::{InferenceError, Result};
use crate::head::{HeadMetadata, RecurrentBranch, parameter_shapes};
use crate::quantise::softmax;
use crate::text_encoder::rows;
use crate::training::adamw::AdamW;
use crate::training::checkpoint::{self, Progressed, Tensors};
use crate::training::corrections::{Corrections, Rates};
use crate::training::features::Features;
use crate::training::metrics::{ClassificationReport, mean_loss};
use crate::training::options::{CorrectionOptions, TrainOptions};
use crate::training::{EpochFigures, Progress};

/// Gradients are scaled down to this norm: recurrent layers are prone to rare, huge ones.
pub(crate) const GRADIENT_NORM_MAX: f64 = 1.0;
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

/// The branch of the best epoch and how it came about.
pub(crate) struct Fitted {
    pub(crate) branch: RecurrentBranch,
    /// The corrections that were learnt with it, in the order of [`AdapterMetadata::parameters`].
    pub(crate) corrections: Vec<Tensor>,
    pub(crate) best_epoch: u32,
    pub(crate) curve: Vec<EpochFigures>,
}

/// Trains the neural branch of a head; see [`TrainOptions`] for the knobs. `class_weights` weigh the rows of each class in
/// the loss; `run` names the run in checkpoints. With `corrected`, an encoder and what its corrections are like, the features
/// are the states of the layer below the corrections, which are learnt too.
pub(crate) fn fit(
    dataset: &Dataset<'_>,
    metadata: &HeadMetadata,
    options: &TrainOptions,
    (class_weights, corrected): (&[f64], Option<(&Encoder, &AdapterMetadata)>),
    run: &str,
    device: Device,
    progress: &mut dyn FnMut(Progress),
) -> Result<Fitted> {
    let mut trainer = Trainer::new(dataset, metadata, options, (class_weights, corrected), device)?;
    if let Some(path) = &options.checkpoint {
        trainer.take_up(path, run)?;
    }
    while trainer.goes_on() {
        let training_loss = trainer.epoch()?;
        let (validation_loss, validation_macro_f1) = trainer.validate()?;
        let epoch = trainer.curve.len() as u32 + 1;
        let figures = EpochFigures { epoch, training_loss, validation_loss, validation_macro_f1 };
        trainer.curve.push(figures);
        progress(Progress::Epoch { epochs_max: options.epochs_max, figures });
        if validation_macro_f1 > trainer.best_macro_f1 {
            trainer.best_macro_f1 = validation_macro_f1;
            trainer.best_epoch = epoch;
            trainer.best = deep_copies(&trainer.learnt())?;
        }
        if let Some(path) = &options.checkpoint {
            trainer.save(path, run)?;
        }
    }
    let corrections = trainer.best.split_off(trainer.parameters.len());
    let branch = RecurrentBranch::from_parameters(trainer.best)?;
    Ok(Fitted { branch, corrections, best_epoch: trainer.best_epoch, curve: trainer.curve })
}

/// Logits of the rows `members`, in their order.
pub(crate) fn logits(
    branch: &RecurrentBranch,
    features: &Features,
    members: &[usize],
    batch_size: usize,
    device: Device,
) -> Result<Vec<Vec<f32>>> {
    by_length(features, members, batch_size, |chunk| {
        let (hidden, mask) = features.batch(chunk, device)?;
        tch::no_grad(|| branch.forward(&hidden, &mask, None))
    })
}

/// What `of_batch` gives `[rows, labels]` for rows of like length together, so that few are padded much; in the order of
/// `members`.
fn by_length(
    features: &Features,
    members: &[usize],
    batch_size: usize,
    mut of_batch: impl FnMut(&[usize]) -> Result<Tensor>,
) -> Result<Vec<Vec<f32>>> {
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|&place| features.tokens(members[place]));
    let mut all = vec![Vec::new(); members.len()];
    for places in order.chunks(batch_size.max(1)) {
        let chunk: Vec<usize> = places.iter().map(|&place| members[place]).collect();
        let logits = rows(&of_batch(&chunk)?, chunk.len())?;
        places.iter().zip(logits).for_each(|(&place, row)| all[place] = row);
    }
    Ok(all)
}

struct Trainer<'a> {
    dataset: &'a Dataset<'a>,
    options: &'a TrainOptions,
    device: Device,
    labels: &'a [String],
    input_size: i64,
    /// Leaves that record gradients; `branch` shares them.
    parameters: Vec<Tensor>,
    branch: RecurrentBranch,
    optimizer: AdamW,
    corrections: Option<Corrections<'a>>,
    /// Places of the head's layers among the states that the corrections give, int64.
    places: Tensor,
    weights: Tensor,
    rng: ChaCha8Rng,
    best: Vec<Tensor>,
    best_macro_f1: f64,
    best_epoch: u32,
    curve: Vec<EpochFigures>,
}

impl<'a> Trainer<'a> {
    fn new(
        dataset: &'a Dataset<'a>,
        metadata: &'a HeadMetadata,
        options: &'a TrainOptions,
        (class_weights, corrected): (&[f64], Option<(&'a Encoder, &'a AdapterMetadata)>),
        device: Device,
    ) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        let parameters = initial_parameters(metadata, &mut rng, device)?;
        let (mut corrections, mut places) = (None, Vec::new());
        if let (Some((encoder, adapter)), Some(chosen)) = (corrected, &options.corrections) {
            let CorrectionOptions { learning_rate, dropout, .. } = *chosen;
            let rates = Rates { learning_rate, dropout, weight_decay: options.weight_decay };
            corrections = Some(Corrections::new((encoder, adapter), rates, &mut rng, device)?);
            places.extend(metadata.encoder_layers.iter().map(|layer| layer - adapter.layers_below));
        }
        let weights: Vec<f32> = class_weights.iter().map(|&weight| weight as f32).collect();
        Ok(Self {
            dataset,
            options,
            device,
            labels: &metadata.labels,
            input_size: metadata.input_size,
            branch: RecurrentBranch::from_parameters(shallow(&parameters))?,
            optimizer: AdamW::new(shallow(&parameters), options.weight_decay)?,
            places: Tensor::f_from_slice(&places)?.f_to_device(device)?,
            weights: Tensor::f_from_slice(&weights)?.f_to_device(device)?,
            rng,
            best: Vec::new(),
            corrections,
            parameters,
            best_macro_f1: f64::NEG_INFINITY,
            best_epoch: 0,
            curve: Vec::new(),
        })
    }

    fn goes_on(&self) -> bool {
        let epochs = self.curve.len() as u32;
        epochs < self.options.epochs_max && epochs - self.best_epoch < self.options.patience_epochs.max(1)
    }

    fn steps_max(&self) -> usize {
        self.dataset.training.len().div_ceil(self.options.batch_size) * self.options.epochs_max as usize
    }

    fn save(&self, path: &Path, run: &str) -> Result<()> {
        let progressed = Progressed {
            run: run.to_owned(),
            steps: self.optimizer.steps,
            rng_position: self.rng.get_word_pos().to_string(),
            best_macro_f1_bits: self.best_macro_f1.to_bits(),
            best_epoch: self.best_epoch,
            curve_bits: checkpoint::to_bits(&self.curve),
        };
        let optimizers =
            std::iter::once(&self.optimizer).chain(self.corrections.as_ref().map(|own| &own.learnt.optimizer));
        let (mut means, mut squares) = (Vec::new(), Vec::new());
        for optimizer in optimizers {
            means.extend(shallow(&optimizer.means));
            squares.extend(shallow(&optimizer.squares));
        }
        let tensors = Tensors { parameters: self.learnt(), means, squares, best: shallow(&self.best) };
        checkpoint::save(path, &progressed, &tensors)
    }

    /// Goes back to the state in the file, if there is one of this run.
    fn take_up(&mut self, path: &Path, run: &str) -> Result<()> {
        let shapes: Vec<Vec<i64>> = self.learnt().iter().map(Tensor::size).collect();
        let Some((progressed, tensors)) = checkpoint::load(path, run, &shapes, self.device)? else { return Ok(()) };
        let own = self.corrections.as_mut().map(|own| &mut own.learnt.optimizer);
        let (mut means, mut squares) = (shallow(&self.optimizer.means), shallow(&self.optimizer.squares));
        if let Some(optimizer) = own {
            means.extend(shallow(&optimizer.means));
            squares.extend(shallow(&optimizer.squares));
            optimizer.steps = progressed.steps;
        }
        let lists = [(self.learnt(), tensors.parameters), (means, tensors.means), (squares, tensors.squares)];
        tch::no_grad(|| -> Result<()> {
            for (own, stored) in lists {
                for (mut own, stored) in own.into_iter().zip(&stored) {
                    own.f_copy_(stored)?;
                }
            }
            Ok(())
        })?;
        self.best = tensors.best;
        self.optimizer.steps = progressed.steps;
        let position = progressed.rng_position.parse();
        self.rng.set_word_pos(position.map_err(|error| crate::error::malformed(path, error))?);
        self.best_macro_f1 = f64::from_bits(progressed.best_macro_f1_bits);
        self.best_epoch = progressed.best_epoch;
        self.curve = checkpoint::from_bits(&progressed.curve_bits);
        tracing::info!(epochs = self.curve.len(), path = %path.display(), "training goes on from its checkpoint");
        Ok(())
    }

    /// All that is learnt, the branch's first; shared, not copied.
    fn learnt(&self) -> Vec<Tensor> {
        let corrections = self.corrections.iter().flat_map(|own| &own.learnt.parameters);
        self.parameters.iter().chain(corrections).map(Tensor::shallow_clone).collect()
    }

    /// What the branch reads of the rows `members`: `[members, longest, encoder_layers, hidden]` and the mask. With dropout
    /// in the corrections where `learning`.
    fn states(&mut self, members: &[usize], learning: bool) -> Result<(Tensor, Tensor)> {
        let (hidden, mask) = self.dataset.features.batch(members, self.device)?;
        let Some(corrections) = &self.corrections else { return Ok((hidden, mask)) };
        let rng = if learning { Some(&mut self.rng) } else { None };
        let states = corrections.states((&hidden.f_squeeze_dim(2)?, &mask), rng)?;
        Ok((states.f_index_select(2, &self.places)?, mask))
    }

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
        let mut batches =
            batches(&self.dataset.training, self.options.batch_size, self.dataset.features, &mut self.rng);
        batches.shuffle(&mut self.rng);
        batches
    }

    fn train_batch(&mut self, members: &[usize]) -> Result<f64> {
        let factor = schedule(self.optimizer.steps as usize, self.steps_max());
        let (hidden, mask) = self.states(members, true)?;
        let batch = members.len() as i64;
        // The same mask at every step of a row: dropping other units at each step would erase what the LSTM carries.
        let input_scale = dropout(&[batch, 1, 1, self.input_size], self.options.dropout, &mut self.rng, self.device)?;
        let pooled_size = 4 * self.options.lstm_hidden_size;
        let pooled_scale = dropout(&[batch, pooled_size], self.options.dropout, &mut self.rng, self.device)?;
        let logits = self.branch.forward(&hidden.f_mul(&input_scale)?, &mask, Some(&pooled_scale))?;
        let classes: Vec<i64> = members.iter().map(|&member| self.dataset.classes[member] as i64).collect();
        let target = Tensor::f_from_slice(&classes)?.f_to_device(self.device)?;
        let smoothing = self.options.label_smoothing;
        let loss =
            logits.f_cross_entropy_loss(&target, Some(&self.weights), Reduction::Mean, IGNORE_NOTHING, smoothing)?;
        self.optimizer.zero_grad();
        if let Some(corrections) = &mut self.corrections {
            corrections.learnt.optimizer.zero_grad();
        }
        loss.f_backward()?;
        self.optimizer.step(self.options.learning_rate * factor, GRADIENT_NORM_MAX)?;
        if let Some(corrections) = &mut self.corrections {
            corrections.learnt.step(factor)?;
        }
        let value = loss.f_double_value(&[])?;
        if value.is_finite() {
            Ok(value)
        } else {
            Err(InferenceError::Config("training diverged; use a lower learning_rate".to_owned()))
        }
    }

    /// Mean loss (unweighted, nats) and macro-F1 on the validation part.
    fn validate(&mut self) -> Result<(f64, f64)> {
        let members = &self.dataset.validation;
        let (features, size) = (self.dataset.features, self.options.batch_size);
        let logits = by_length(features, members, size, |chunk| {
            tch::no_grad(|| {
                let (hidden, mask) = self.states(chunk, false)?;
                self.branch.forward(&hidden, &mask, None)
            })
        })?;
        let diverged = || InferenceError::Config("training diverged; use a lower learning_rate".to_owned());
        let mut rows = Vec::with_capacity(members.len());
        for (&member, logits) in members.iter().zip(&logits) {
            let logits: Vec<f64> = logits.iter().map(|&logit| f64::from(logit)).collect();
            rows.push((self.dataset.classes[member], softmax(&logits, 1.0).ok_or_else(diverged)?));
        }
        Ok((mean_loss(&rows), ClassificationReport::most_probable("", self.labels, &rows, 0).macro_f1))
    }
}

/// The rows `members` in random batches of like length; the batches themselves are not in random order yet.
pub(crate) fn batches(
    members: &[usize],
    batch_size: usize,
    features: &Features,
    rng: &mut ChaCha8Rng,
) -> Vec<Vec<usize>> {
    let mut order = members.to_vec();
    order.shuffle(rng);
    for pool in order.chunks_mut(batch_size * BATCHES_PER_POOL) {
        pool.sort_by_key(|&member| features.tokens(member));
    }
    order.chunks(batch_size).map(<[usize]>::to_vec).collect()
}

/// The same tensors under new names.
pub(crate) fn shallow(parameters: &[Tensor]) -> Vec<Tensor> {
    parameters.iter().map(Tensor::shallow_clone).collect()
}

/// Copies that later steps leave alone.
pub(crate) fn deep_copies(parameters: &[Tensor]) -> Result<Vec<Tensor>> {
    let copy = |parameter: &Tensor| -> Result<Tensor> {
        let source = parameter.f_detach()?;
        let mut own = source.f_empty_like()?;
        own.f_copy_(&source)?;
        Ok(own)
    };
    parameters.iter().map(copy).collect()
}

/// Factor of the learning rate at a step: a short linear rise, then half a cosine down to zero.
pub(crate) fn schedule(step: usize, steps_max: usize) -> f64 {
    let done = (step + 1) as f64 / steps_max.max(1) as f64;
    if done < WARM_UP_SHARE { done / WARM_UP_SHARE } else { 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos()) }
}

/// Uniform within ±1/√(inputs of the unit), as `torch.nn.LSTM` and `torch.nn.Linear` begin.
fn initial_parameters(metadata: &HeadMetadata, rng: &mut ChaCha8Rng, device: Device) -> Result<Vec<Tensor>> {
    let hidden = metadata.lstm_hidden_size;
    let mut parameters = Vec::new();
    for (name, shape) in parameter_shapes(metadata) {
        let inputs = if name.starts_with("classifier") { 4 * hidden } else { hidden };
        let bound = 1.0 / (inputs as f64).sqrt();
        let count: i64 = shape.iter().product();
        let values: Vec<f32> = match name.as_str() {
            // Equal shares to begin with.
            "layer_mix" => vec![0.0; count as usize],
            _ => (0..count).map(|_| rng.random_range(-bound..bound) as f32).collect(),
        };
        let initial = Tensor::f_from_slice(&values)?.f_view(&shape[..])?.f_to_device(device)?;
        parameters.push(initial.f_set_requires_grad(true)?);
    }
    Ok(parameters)
}

/// A mask that keeps each element with probability 1 − `rate`, scaled so that the expected value stays.
pub(crate) fn dropout(shape: &[i64], rate: f64, rng: &mut impl Rng, device: Device) -> Result<Tensor> {
    let keep = (1.0 / (1.0 - rate)) as f32;
    let count = shape.iter().product::<i64>();
    let values: Vec<f32> = (0..count).map(|_| if rng.random::<f32>() < rate as f32 { 0.0 } else { keep }).collect();
    Ok(Tensor::f_from_slice(&values)?.f_view(shape)?.f_to_device(device)?)
}

/// Weight of each class in the loss: (1 / its share) ^ `power`, scaled to a mean of 1 over the training rows.
pub(crate) fn class_weights(classes: &[usize], training: &[usize], count: usize, power: f64) -> Vec<f64> {
    let mut counts = vec![0_u64; count];
    for &member in training {
        counts[classes[member]] += 1;
    }
    let raw: Vec<f64> = counts.iter().map(|&count| (count.max(1) as f64).powf(-power)).collect();
    let total: f64 = raw.iter().zip(&counts).map(|(weight, &count)| weight * count as f64).sum();
    let mean = total / training.len().max(1) as f64;
    raw.iter().map(|weight| weight / mean).collect()
}
