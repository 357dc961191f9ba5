//! The optimisation of the neural branch: epochs of AdamW over precomputed features, with early stopping.
//!
//! All randomness (initial weights, order of batches, dropout) comes from one seeded generator of our own, so that
//! a run does not depend on LibTorch's process-wide one and can be taken up from a checkpoint.

use std::path::Path;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
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
use crate::training::descent::{
    GRADIENT_NORM_MAX, RunningMeans, batches, copy_into, deep_copies, dropout, schedule, shallow,
};
use crate::training::features::Features;
use crate::training::metrics::{ClassificationReport, mean_loss};
use crate::training::options::{CorrectionOptions, TrainOptions};
use crate::training::{EpochFigures, Progress};

/// LibTorch's marker for "every target counts".
const IGNORE_NOTHING: i64 = -100;

/// Rows to learn from: their features and the index of each one's class.
pub(crate) struct Dataset<'a> {
    pub(crate) features: &'a Features,
    pub(crate) classes: &'a [usize],
    /// Rows of the training part.
    pub(crate) training: Vec<usize>,
    /// Rows that the figures of an epoch are of; may be none.
    pub(crate) validation: Vec<usize>,
}

/// Which epoch is the last, and which is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// The one with the best validation macro-F1 is kept, and training stops early when no better one comes.
    Best,
    /// All are run, and what the branch says of the validation rows after each is kept; of the branch itself the last.
    Every,
    /// This one, from 1, on the course of the learning rate for all.
    Epoch(u32),
}

/// The branch of the epoch that was kept and how it came about.
pub(crate) struct Fitted {
    pub(crate) branch: RecurrentBranch,
    /// The corrections that were learnt with it, in the order of [`AdapterMetadata::parameters`].
    pub(crate) corrections: Vec<Tensor>,
    pub(crate) best_epoch: u32,
    pub(crate) curve: Vec<EpochFigures>,
    /// Logits of the validation rows after each epoch, with [`Until::Every`].
    pub(crate) validation_logits: Vec<Vec<Vec<f32>>>,
}

/// What a branch is fitted on, and how.
pub(crate) struct Fitting<'a> {
    pub(crate) dataset: &'a Dataset<'a>,
    pub(crate) metadata: &'a HeadMetadata,
    pub(crate) options: &'a TrainOptions,
    /// Weight of the rows of each class in the loss.
    pub(crate) class_weights: &'a [f64],
    /// An encoder and what its corrections are like, which are learnt too: the features are then the states of the layer
    /// below the corrections.
    pub(crate) corrected: Option<(&'a Encoder, &'a AdapterMetadata)>,
    pub(crate) until: Until,
    /// Where the state after every epoch is kept, and the name of the run there. Not with [`Until::Every`].
    pub(crate) checkpoint: Option<(&'a Path, &'a str)>,
    pub(crate) device: Device,
}

/// Trains the neural branch of a head; see [`TrainOptions`] for the knobs.
pub(crate) fn fit(fitting: &Fitting<'_>, progress: &mut dyn FnMut(Progress)) -> Result<Fitted> {
    let mut trainer = Trainer::new(fitting)?;
    if let Some((path, run)) = fitting.checkpoint {
        trainer.take_up(path, run)?;
    }
    let mut validation_logits = Vec::new();
    while trainer.goes_on() {
        let training_loss = trainer.epoch()?;
        let (validation_loss, validation_macro_f1, logits) = trainer.validate()?;
        let epoch = trainer.curve.len() as u32 + 1;
        let figures = EpochFigures { epoch, training_loss, validation_loss, validation_macro_f1 };
        trainer.curve.push(figures);
        progress(Progress::Epoch { epochs_max: fitting.options.epochs_max, figures });
        if fitting.until == Until::Every {
            validation_logits.push(logits);
        }
        if fitting.until != Until::Best || validation_macro_f1 > trainer.best_macro_f1 {
            trainer.best_macro_f1 = validation_macro_f1;
            trainer.best_epoch = epoch;
            trainer.best = deep_copies(&trainer.valued())?;
        }
        if let Some((path, run)) = fitting.checkpoint {
            trainer.save(path, run)?;
        }
    }
    let corrections = trainer.best.split_off(trainer.parameters.len());
    let branch = RecurrentBranch::from_parameters(trainer.best)?;
    Ok(Fitted { branch, corrections, best_epoch: trainer.best_epoch, curve: trainer.curve, validation_logits })
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
    until: Until,
    device: Device,
    labels: &'a [String],
    input_size: i64,
    /// Leaves that record gradients; `branch` shares them.
    parameters: Vec<Tensor>,
    branch: RecurrentBranch,
    optimizer: AdamW,
    corrections: Option<Corrections<'a>>,
    /// Running means of all that is learnt, where they are what counts.
    running: Option<RunningMeans>,
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
    fn new(fitting: &Fitting<'a>) -> Result<Self> {
        let Fitting { metadata, options, device, .. } = *fitting;
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        let parameters = initial_parameters(metadata, &mut rng, device)?;
        let (mut corrections, mut places) = (None, Vec::new());
        if let (Some((encoder, adapter)), Some(chosen)) = (fitting.corrected, &options.corrections) {
            let CorrectionOptions { learning_rate, dropout, .. } = *chosen;
            let rates = Rates { learning_rate, dropout, weight_decay: options.weight_decay };
            corrections = Some(Corrections::new((encoder, adapter), rates, &mut rng, device)?);
            places.extend(metadata.encoder_layers.iter().map(|layer| layer - adapter.layers_below));
        }
        let weights: Vec<f32> = fitting.class_weights.iter().map(|&weight| weight as f32).collect();
        let mut trainer = Self {
            dataset: fitting.dataset,
            options,
            until: fitting.until,
            device,
            labels: &metadata.labels,
            input_size: metadata.input_size,
            branch: RecurrentBranch::from_parameters(shallow(&parameters))?,
            optimizer: AdamW::new(shallow(&parameters), options.weight_decay)?,
            running: None,
            places: Tensor::f_from_slice(&places)?.f_to_device(device)?,
            weights: Tensor::f_from_slice(&weights)?.f_to_device(device)?,
            rng,
            best: Vec::new(),
            corrections,
            parameters,
            best_macro_f1: f64::NEG_INFINITY,
            best_epoch: 0,
            curve: Vec::new(),
        };
        if options.running_mean > 0.0 {
            trainer.running = Some(RunningMeans::new(&trainer.learnt(), options.running_mean)?);
        }
        Ok(trainer)
    }

    fn goes_on(&self) -> bool {
        let epochs = self.curve.len() as u32;
        let within = epochs < self.options.epochs_max;
        match self.until {
            Until::Best => within && epochs - self.best_epoch < self.options.patience_epochs.max(1),
            Until::Every => within,
            Until::Epoch(last) => within && epochs < last,
        }
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
        let (parameters, running, best) = (self.learnt(), self.valued(), shallow(&self.best));
        let tensors = Tensors { parameters, means, squares, running, best };
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
        copy_into(&self.learnt(), &tensors.parameters)?;
        copy_into(&means, &tensors.means)?;
        copy_into(&squares, &tensors.squares)?;
        if let Some(running) = &self.running {
            copy_into(&running.means, &tensors.running)?;
        }
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

    /// The values that count: the running means, or what is learnt as it is.
    fn valued(&self) -> Vec<Tensor> {
        self.running.as_ref().map_or_else(|| self.learnt(), |running| shallow(&running.means))
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
        let (learnt, steps) = (self.learnt(), self.optimizer.steps);
        if let Some(running) = &mut self.running {
            running.take_in(&learnt, steps)?;
        }
        let value = loss.f_double_value(&[])?;
        if value.is_finite() {
            Ok(value)
        } else {
            Err(InferenceError::Config("training diverged; use a lower learning_rate".to_owned()))
        }
    }

    /// Mean loss (unweighted, nats), macro-F1 and logits on the validation part.
    fn validate(&mut self) -> Result<(f64, f64, Vec<Vec<f32>>)> {
        let Some(running) = self.running.take() else { return self.validate_as_is() };
        let result = running.in_place_of(&self.learnt(), || self.validate_as_is());
        self.running = Some(running);
        result
    }

    fn validate_as_is(&mut self) -> Result<(f64, f64, Vec<Vec<f32>>)> {
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
        let macro_f1 = ClassificationReport::most_probable("", self.labels, &rows, 0).macro_f1;
        Ok((mean_loss(&rows), macro_f1, logits))
    }
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
