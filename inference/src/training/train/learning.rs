//! What the networks of a run learn from: the states of its rows.

use std::collections::BTreeSet;
use std::path::Path;

use tch::Device;

use crate::adapter::AdapterMetadata;
use crate::encoder::Encoder;
use crate::error::Result;
use crate::head::{HeadMetadata, RecurrentBranch};
use crate::lexical::LexicalBranch;
use crate::text_encoder::TextEncoder;
use crate::training::descent::class_weights;
use crate::training::features::Features;
use crate::training::fit::{Dataset, Fitted, Fitting, Until, fit, logits};
use crate::training::options::TrainOptions;
use crate::training::train::task::{Part, Task};
use crate::training::{Progress, lexical};

/// Rows, their states and how networks learn from them.
pub(super) struct Learning<'a> {
    pub(super) task: &'a Task,
    pub(super) options: &'a TrainOptions,
    features: Features,
    /// Names the run in checkpoints.
    pub(super) run: String,
    metadata: &'a HeadMetadata,
    corrected: Option<(&'a Encoder, &'a AdapterMetadata)>,
    /// The rows that have states, in order, and the class of each.
    rows: Vec<usize>,
    classes: Vec<usize>,
    /// Those of them that networks may learn from.
    neural_rows: BTreeSet<usize>,
    device: Device,
}

impl<'a> Learning<'a> {
    /// Encodes the rows. With `corrected`, what the encoder's corrections are like, up to the layer below those.
    pub(super) fn new(
        (task, options): (&'a Task, &'a TrainOptions),
        (text_encoder, metadata): (&'a TextEncoder, &'a HeadMetadata),
        corrected: Option<&'a AdapterMetadata>,
        device: Device,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        let neural_rows = task.neural_rows(options);
        let validated = task.parts.iter().flat_map(|part| part.validation.iter().copied());
        let rows: BTreeSet<usize> = neural_rows.iter().copied().chain(validated).collect();
        let rows: Vec<usize> = rows.into_iter().collect();
        let below = corrected.map(|adapter| vec![adapter.layers_below]);
        let layers = below.as_ref().unwrap_or(&metadata.encoder_layers);
        let cache = options.feature_cache.as_deref();
        let features = Features::compute(text_encoder, &task.texts(&rows), layers, cache, progress)?;
        Ok(Self {
            features,
            run: task.fingerprint(options, text_encoder),
            classes: task.classes_of(&rows),
            corrected: corrected.map(|adapter| (&text_encoder.encoder, adapter)),
            task,
            options,
            metadata,
            rows,
            neural_rows,
            device,
        })
    }

    /// Places of `members` among the rows that have states; those without are left out.
    pub(super) fn places(&self, members: &[usize]) -> Vec<usize> {
        members.iter().filter_map(|member| self.rows.binary_search(member).ok()).collect()
    }

    /// Rows of `training` that networks learn from.
    pub(super) fn neural_rows_of(&self, training: &[usize]) -> Vec<usize> {
        training.iter().copied().filter(|member| self.neural_rows.contains(member)).collect()
    }

    /// Fits a network on `part`, going on from the file `checkpoint` if it is there.
    pub(super) fn fit(
        &self,
        part: &Part,
        until: Until,
        checkpoint: Option<&Path>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Fitted> {
        let training = self.places(&self.neural_rows_of(&part.training));
        let validation = self.places(&part.validation);
        let dataset = Dataset { features: &self.features, classes: &self.classes, training, validation };
        let labels = self.task.labels.len();
        let weights = class_weights(&self.task.classes, &part.training, labels, self.options.class_weight_power);
        let fitting = Fitting {
            dataset: &dataset,
            metadata: self.metadata,
            options: self.options,
            class_weights: &weights,
            corrected: self.corrected,
            until,
            checkpoint: checkpoint.map(|path| (path, self.run.as_str())),
            device: self.device,
        };
        fit(&fitting, progress)
    }

    /// Logits of the one part that is held out; of its `recomputed` states where the encoder was corrected since.
    pub(super) fn judged(&self, branch: &RecurrentBranch, recomputed: Option<&Features>) -> Result<Vec<Vec<f32>>> {
        let validation = &self.task.held_out().validation;
        let (features, places) = match recomputed {
            Some(features) => (features, (0..validation.len()).collect()),
            None => (&self.features, self.places(validation)),
        };
        logits(branch, features, &places, self.options.batch_size, self.device)
    }
}

/// The lexical branch of the rows `training`; none where the head has none.
pub(super) fn lexical_branch(
    task: &Task,
    training: &[usize],
    options: &TrainOptions,
    progress: &mut dyn FnMut(Progress),
) -> Option<LexicalBranch> {
    let lexical = options.lexical?;
    progress(Progress::Lexical);
    let weights = class_weights(&task.classes, training, task.labels.len(), lexical.class_weight_power);
    Some(lexical::fit(&task.texts(training), &task.classes_of(training), &weights, &lexical).branch)
}
