//! Cross-validation: every row is judged by a network that has not learnt from it, what is chosen is chosen on all rows, and
//! the head that comes of it has learnt from all of them.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tch::{Device, Tensor};

use crate::error::{InferenceError, Result, malformed, write_whole};
use crate::text_encoder::rows;
use crate::training::fit::{Fitted, Until};
use crate::training::metrics::{ClassificationReport, mean_loss};
use crate::training::train::held_out::probabilities;
use crate::training::train::learning::Learning;
use crate::training::train::task::Part;
use crate::training::{EpochFigures, Progress, checkpoint};
use crate::weights::{StoredTensor, WeightFile, serialize};

const RUN_KEY: &str = "contactflow_fold";
const CURVE_KEY: &str = "curve";

/// What the network of a fold said of the fold's rows.
struct Fold {
    curve: Vec<EpochFigures>,
    /// Logits after each epoch, in the order of the fold's rows.
    logits: Vec<Vec<Vec<f32>>>,
}

/// The network that learnt from all rows for as many epochs as were best for the folds, and the logits of all rows, fold after
/// fold, after that many epochs. The curve is that of the folds together.
pub(super) fn cross_fit(
    learning: &Learning<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Fitted, Vec<Vec<f32>>)> {
    let parts = &learning.task.parts;
    let networks = parts.len() + 1;
    let mut folds = Vec::with_capacity(parts.len());
    for (network, part) in parts.iter().enumerate() {
        let path = learning.options.checkpoint.as_deref().map(|path| file(path, network));
        let done = path.as_deref().map(|path| load(path, learning, part)).transpose()?.flatten();
        if let Some(fold) = done {
            folds.push(fold);
            continue;
        }
        let mut told = numbered(network, networks, |figures| figures, progress);
        let fitted = learning.fit(part, Until::Every, None, &mut told)?;
        let fold = Fold { curve: fitted.curve, logits: fitted.validation_logits };
        if let Some(path) = &path {
            save(path, learning, &fold)?;
        }
        folds.push(fold);
    }
    let curve = curve(learning, &folds)?;
    let best = curve
        .iter()
        .copied()
        .reduce(|best, next| if next.validation_macro_f1 > best.validation_macro_f1 { next } else { best });
    let epoch = best.ok_or_else(|| InferenceError::Config("no epoch was run".to_owned()))?.epoch;

    let whole = Part { training: learning.task.all(), validation: Vec::new() };
    // The head has no rows of its own to be judged by: what the folds had after the same epoch stands for them.
    let judged = |own: EpochFigures| {
        let of_folds = curve.iter().copied().find(|of_folds| of_folds.epoch == own.epoch).unwrap_or(own);
        EpochFigures { training_loss: own.training_loss, ..of_folds }
    };
    let last = learning.fit(
        &whole,
        Until::Epoch(epoch),
        learning.options.checkpoint.as_deref(),
        &mut numbered(networks - 1, networks, judged, progress),
    )?;
    let logits =
        folds.into_iter().filter_map(|fold| fold.logits.into_iter().nth(epoch as usize - 1)).flatten().collect();
    Ok((Fitted { best_epoch: epoch, curve, ..last }, logits))
}

/// Tells of epochs as those of one of several networks, with the figures that `judged` gives.
fn numbered(
    network: usize,
    networks: usize,
    judged: impl Fn(EpochFigures) -> EpochFigures,
    progress: &mut dyn FnMut(Progress),
) -> impl FnMut(Progress) {
    move |step| match step {
        Progress::Epoch { epochs_max, figures } => {
            let figures = judged(figures);
            progress(Progress::NetworkEpoch { network, networks, epochs_max, figures });
        }
        other => progress(other),
    }
}

/// Figures of all folds' rows together after each epoch; the loss of training is the mean of the folds'.
fn curve(learning: &Learning<'_>, folds: &[Fold]) -> Result<Vec<EpochFigures>> {
    let task = learning.task;
    let epochs = folds.iter().map(|fold| fold.logits.len()).min().unwrap_or_default();
    let figures = |index: usize| -> Result<EpochFigures> {
        let mut rows = Vec::with_capacity(task.rows.len());
        for (part, fold) in task.parts.iter().zip(folds) {
            for (&member, logits) in part.validation.iter().zip(&fold.logits[index]) {
                rows.push((task.classes[member], logits.iter().map(|&logit| f64::from(logit)).collect()));
            }
        }
        let rows = probabilities(&rows, 1.0)?;
        let losses: f64 = folds.iter().map(|fold| fold.curve[index].training_loss).sum();
        Ok(EpochFigures {
            epoch: index as u32 + 1,
            training_loss: losses / folds.len() as f64,
            validation_loss: mean_loss(&rows),
            validation_macro_f1: ClassificationReport::most_probable("", &task.labels, &rows, 0).macro_f1,
        })
    };
    (0..epochs).map(figures).collect()
}

/// Where what the network of a fold said is kept until the head is there.
pub(super) fn file(checkpoint: &Path, fold: usize) -> PathBuf {
    let mut name = OsString::from(checkpoint);
    name.push(format!(".fold-{fold}"));
    name.into()
}

fn save(path: &Path, learning: &Learning<'_>, fold: &Fold) -> Result<()> {
    let mut stored = Vec::new();
    for (index, logits) in fold.logits.iter().enumerate() {
        let flat: Vec<f32> = logits.concat();
        let table = Tensor::f_from_slice(&flat)?.f_view([logits.len() as i64, -1])?;
        stored.push(StoredTensor::float(&index.to_string(), &table)?);
    }
    let curve = serde_json::to_string(&checkpoint::to_bits(&fold.curve));
    let curve = curve.map_err(|error| InferenceError::Config(error.to_string()))?;
    let metadata = [(RUN_KEY, learning.run.clone()), (CURVE_KEY, curve)].map(|(key, value)| (key.to_owned(), value));
    write_whole(path, &serialize(stored, HashMap::from(metadata))?)
}

/// What is in the file; `None` if there is none, or one of another run.
fn load(path: &Path, learning: &Learning<'_>, part: &Part) -> Result<Option<Fold>> {
    let Ok(bytes) = std::fs::read(path) else { return Ok(None) };
    let stored = WeightFile::parse(path, &bytes)?;
    if stored.metadata(RUN_KEY)? != learning.run {
        tracing::warn!(path = %path.display(), "what is kept of a fold is of another run: starting anew");
        return Ok(None);
    }
    let bits: Vec<[u64; 3]> =
        serde_json::from_str(stored.metadata(CURVE_KEY)?).map_err(|error| malformed(path, error))?;
    let curve = checkpoint::from_bits(&bits);
    let (count, classes) = (part.validation.len(), learning.task.labels.len());
    let table = |index: usize| -> Result<Vec<Vec<f32>>> {
        let shape = [count as i64, classes as i64];
        rows(&stored.tensor(&[&index.to_string()], &shape, Device::Cpu)?, count)
    };
    let logits = (0..curve.len()).map(table).collect::<Result<_>>()?;
    Ok(Some(Fold { curve, logits }))
}
