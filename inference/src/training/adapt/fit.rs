//! The optimisation of an adapter: epochs of AdamW over batches of one task each, all tasks shuffled together.

use contactflow_schemas::prediction::TextHead;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Reduction, Tensor, no_grad};

use crate::adapter::AdapterMetadata;
use crate::encoder::Encoder;
use crate::error::{InferenceError, Result};
use crate::head::{Pooled, mixed};
use crate::quantise::softmax;
use crate::text_encoder::rows;
use crate::training::adapt::AdaptOptions;
use crate::training::checkpoint::{self, Progressed, Tensors};
use crate::training::corrections::{Corrections, Learnt, Rates, initial};
use crate::training::descent::{batches, copy_into, dropout, schedule, shallow};
use crate::training::features::Features;
use crate::training::metrics::{ClassificationReport, mean_loss};
use crate::training::train::Task;
use crate::training::{EpochFigures, Progress};

/// LibTorch's marker for "every target counts".
const IGNORE_NOTHING: i64 = -100;
/// Texts per step of validation.
const VALIDATION_BATCH: usize = 64;

/// A task and the states of its texts after the frozen layers.
pub(crate) struct TaskData {
    pub(crate) head: TextHead,
    pub(crate) task: Task,
    pub(crate) features: Features,
}

/// What is fitted.
pub(crate) struct Fitting<'a> {
    pub(crate) tasks: &'a [TaskData],
    pub(crate) encoder: &'a Encoder,
    pub(crate) metadata: &'a AdapterMetadata,
    pub(crate) options: &'a AdaptOptions,
    /// Names the run in checkpoints.
    pub(crate) run: &'a str,
    pub(crate) device: Device,
}

/// The corrections and how they came about.
pub(crate) struct Fitted {
    /// In the order of [`AdapterMetadata::parameters`].
    pub(crate) corrections: Vec<Tensor>,
    pub(crate) curve: Vec<EpochFigures>,
    pub(crate) reports: Vec<ClassificationReport>,
}

/// Learns the corrections.
pub(crate) fn fit(fitting: &Fitting<'_>, progress: &mut dyn FnMut(Progress)) -> Result<Fitted> {
    let mut trainer = Trainer::new(fitting)?;
    let epochs_max = fitting.options.epochs;
    trainer.take_up()?;
    while (trainer.curve.len() as u32) < epochs_max {
        let training_loss = trainer.epoch()?;
        let (validation_loss, reports) = trainer.validate()?;
        let validation_macro_f1 = reports.iter().map(|report| report.macro_f1).sum::<f64>() / reports.len() as f64;
        for report in &reports {
            tracing::info!(task = report.model_id, accuracy = report.accuracy, macro_f1 = report.macro_f1, "held out");
        }
        let epoch = trainer.curve.len() as u32 + 1;
        let figures = EpochFigures { epoch, training_loss, validation_loss, validation_macro_f1 };
        trainer.curve.push(figures);
        progress(Progress::Epoch { epochs_max, figures });
        trainer.save()?;
    }
    let reports = trainer.validate()?.1;
    Ok(Fitted { corrections: trainer.corrections.learnt.parameters, curve: trainer.curve, reports })
}

struct Trainer<'a> {
    fitting: &'a Fitting<'a>,
    corrections: Corrections<'a>,
    /// Per task: the layers' shares, weight `[labels, 2 · hidden]`, bias `[labels]`.
    classifiers: Vec<Learnt>,
    rng: ChaCha8Rng,
    curve: Vec<EpochFigures>,
}

impl<'a> Trainer<'a> {
    fn new(fitting: &'a Fitting<'a>) -> Result<Self> {
        let Fitting { metadata, options, device, .. } = *fitting;
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        let rates = Rates {
            learning_rate: options.learning_rate,
            weight_decay: options.weight_decay,
            dropout: options.dropout,
        };
        let corrections = Corrections::new((fitting.encoder, metadata), rates, &mut rng, device)?;
        let mut classifiers = Vec::new();
        for data in fitting.tasks {
            let (labels, size) = (data.task.labels.len() as i64, 2 * metadata.hidden_size);
            let bound = 1.0 / (size as f64).sqrt();
            let mut parameter = |shape: &[i64], bound| initial(shape, bound, &mut rng, device);
            let shares = parameter(&[metadata.layers + 1], 0.0)?;
            let own = vec![shares, parameter(&[labels, size], bound)?, parameter(&[labels], bound)?];
            classifiers.push(Learnt::new(own, options.classifier_learning_rate, options.weight_decay)?);
        }
        Ok(Self { fitting, corrections, classifiers, rng, curve: Vec::new() })
    }

    /// One pass over all tasks; returns the mean loss of the rows.
    fn epoch(&mut self) -> Result<f64> {
        let size = self.fitting.options.batch_size;
        let mut all = Vec::new();
        for (task, data) in self.fitting.tasks.iter().enumerate() {
            let own = batches(&data.task.held_out().training, size, &data.features, &mut self.rng);
            all.extend(own.into_iter().map(|members| (task, members)));
        }
        all.shuffle(&mut self.rng);
        let steps_max = all.len() * self.fitting.options.epochs as usize;
        let (mut total, mut count) = (0.0, 0);
        for (task, members) in &all {
            total += self.train_batch(*task, members, steps_max)? * members.len() as f64;
            count += members.len();
        }
        Ok(total / count.max(1) as f64)
    }

    fn train_batch(&mut self, task: usize, members: &[usize], steps_max: usize) -> Result<f64> {
        let factor = schedule(self.corrections.learnt.optimizer.steps as usize, steps_max);
        let logits = self.logits(task, members, true)?;
        let target: Vec<i64> =
            self.fitting.tasks[task].task.classes_of(members).into_iter().map(|class| class as i64).collect();
        let target = Tensor::f_from_slice(&target)?.f_to_device(self.fitting.device)?;
        let loss = logits.f_cross_entropy_loss(&target, None::<&Tensor>, Reduction::Mean, IGNORE_NOTHING, 0.0)?;
        let value = loss.f_double_value(&[])?;
        if !value.is_finite() {
            return Err(InferenceError::Config("training diverged; use a lower learning_rate".to_owned()));
        }
        self.corrections.learnt.optimizer.zero_grad();
        self.classifiers[task].optimizer.zero_grad();
        loss.f_backward()?;
        self.corrections.learnt.step(factor)?;
        self.classifiers[task].step(factor)?;
        Ok(value)
    }

    /// Logits `[members, labels]` of a task's classifier.
    fn logits(&mut self, task: usize, members: &[usize], drop: bool) -> Result<Tensor> {
        let Fitting { tasks, metadata, options, device, .. } = *self.fitting;
        let (hidden, mask) = tasks[task].features.batch(members, device)?;
        let batch = members.len() as i64;
        let rng = if drop { Some(&mut self.rng) } else { None };
        let states = self.corrections.states((&hidden.f_squeeze_dim(2)?, &mask), rng)?;
        let [shares, weight, bias] = &self.classifiers[task].parameters[..] else {
            return Err(InferenceError::Config("a classifier has three parameters".to_owned()));
        };
        let mut pooled = Pooled::of(&mixed(&states, shares)?, &mask)?.features()?;
        if drop {
            let size = [batch, 2 * metadata.hidden_size];
            pooled = pooled.f_mul(&dropout(&size, options.classifier_dropout, &mut self.rng, device)?)?;
        }
        Ok(pooled.f_linear(weight, Some(bias))?)
    }

    /// Mean loss over the tasks (nats), and each task's figures, on the texts held out.
    fn validate(&mut self) -> Result<(f64, Vec<ClassificationReport>)> {
        let (mut losses, mut reports) = (Vec::new(), Vec::new());
        for (index, data) in self.fitting.tasks.iter().enumerate() {
            let mut members = data.task.held_out().validation.clone();
            members.sort_by_key(|&member| data.features.tokens(member));
            let mut scored = Vec::with_capacity(members.len());
            for chunk in members.chunks(VALIDATION_BATCH) {
                let logits = no_grad(|| self.logits(index, chunk, false))?.f_to_kind(Kind::Float)?;
                for (class, row) in data.task.classes_of(chunk).into_iter().zip(rows(&logits, chunk.len())?) {
                    let row: Vec<f64> = row.into_iter().map(f64::from).collect();
                    let diverged = || InferenceError::Config("training diverged; use a lower learning_rate".to_owned());
                    scored.push((class, softmax(&row, 1.0).ok_or_else(diverged)?));
                }
            }
            losses.push(mean_loss(&scored));
            reports.push(ClassificationReport::most_probable(data.head.as_str(), &data.task.labels, &scored, 0));
        }
        Ok((losses.iter().sum::<f64>() / losses.len() as f64, reports))
    }

    /// The parameters of all that is learnt, the corrections first, and the moments of their gradients.
    fn learnt(&self) -> [Vec<Tensor>; 3] {
        let all = || std::iter::once(&self.corrections.learnt).chain(&self.classifiers);
        [
            all().flat_map(|learnt: &Learnt| shallow(&learnt.parameters)).collect(),
            all().flat_map(|learnt| shallow(&learnt.optimizer.means)).collect(),
            all().flat_map(|learnt| shallow(&learnt.optimizer.squares)).collect(),
        ]
    }

    fn save(&mut self) -> Result<()> {
        let Some(path) = self.fitting.options.checkpoint.clone() else { return Ok(()) };
        let [parameters, means, squares] = self.learnt();
        // The last epoch is kept, so the best parameters are those.
        let (running, best) = (shallow(&parameters), shallow(&parameters));
        let tensors = Tensors { parameters, means, squares, running, best };
        let last = self.curve.last().map_or(0.0, |figures| figures.validation_macro_f1);
        let progressed = Progressed {
            run: self.fitting.run.to_owned(),
            steps: self.corrections.learnt.optimizer.steps,
            rng_position: self.rng.get_word_pos().to_string(),
            best_macro_f1_bits: last.to_bits(),
            best_epoch: self.curve.len() as u32,
            curve_bits: checkpoint::to_bits(&self.curve),
        };
        checkpoint::save(&path, &progressed, &tensors)
    }

    /// Goes back to the state in the checkpoint, if there is one of this run.
    fn take_up(&mut self) -> Result<()> {
        let Some(path) = self.fitting.options.checkpoint.clone() else { return Ok(()) };
        let [parameters, means, squares] = self.learnt();
        let shapes: Vec<Vec<i64>> = parameters.iter().map(Tensor::size).collect();
        let Some((progressed, tensors)) = checkpoint::load(&path, self.fitting.run, &shapes, self.fitting.device)?
        else {
            return Ok(());
        };
        copy_into(&parameters, &tensors.parameters)?;
        copy_into(&means, &tensors.means)?;
        copy_into(&squares, &tensors.squares)?;
        self.curve = checkpoint::from_bits(&progressed.curve_bits);
        self.corrections.learnt.optimizer.steps = progressed.steps;
        let (epochs, size) = (self.curve.len(), self.fitting.options.batch_size);
        for (classifier, data) in self.classifiers.iter_mut().zip(self.fitting.tasks) {
            classifier.optimizer.steps = (epochs * data.task.held_out().training.len().div_ceil(size)) as u32;
        }
        let position = progressed.rng_position.parse();
        self.rng.set_word_pos(position.map_err(|error| crate::error::malformed(&path, error))?);
        tracing::info!(epochs, path = %path.display(), "adaptation goes on from its checkpoint");
        Ok(())
    }
}
