//! The state of training in a file, so that a run that was stopped goes on where it was.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::error::{InferenceError, Result, malformed, write_whole};
use crate::training::EpochFigures;
use crate::weights::{StoredTensor, WeightFile, serialize};

const METADATA_KEY: &str = "contactflow_checkpoint";

/// What is needed beside the tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progressed {
    /// Digest of options, rows and encoder: a checkpoint of anything else is not taken up.
    pub(crate) run: String,
    /// Steps of the optimiser.
    pub(crate) steps: u32,
    /// Position of the random generator, as text: JSON has no 128-bit numbers.
    pub(crate) rng_position: String,
    /// Best validation macro-F1 so far, as bits: the very same number comes back.
    pub(crate) best_macro_f1_bits: u64,
    /// Epoch that had it, from 1.
    pub(crate) best_epoch: u32,
    /// One entry per epoch, as bits likewise.
    pub(crate) curve_bits: Vec<[u64; 3]>,
}

/// Parameters, moments of their gradients, running means and best values of them, all in the order of the head's parameters.
pub(crate) struct Tensors {
    pub(crate) parameters: Vec<Tensor>,
    pub(crate) means: Vec<Tensor>,
    pub(crate) squares: Vec<Tensor>,
    /// The parameters themselves where no running means are taken.
    pub(crate) running: Vec<Tensor>,
    pub(crate) best: Vec<Tensor>,
}

const KINDS: [&str; 5] = ["parameter", "mean", "square", "running", "best"];

/// Writes a checkpoint in place of the one before.
pub(crate) fn save(path: &Path, progressed: &Progressed, tensors: &Tensors) -> Result<()> {
    let lists = [&tensors.parameters, &tensors.means, &tensors.squares, &tensors.running, &tensors.best];
    let mut stored = Vec::new();
    for (kind, list) in KINDS.iter().zip(lists) {
        for (index, tensor) in list.iter().enumerate() {
            stored.push(StoredTensor::float(&format!("{kind}.{index}"), tensor)?);
        }
    }
    let json = serde_json::to_string(progressed).map_err(|error| InferenceError::Config(error.to_string()))?;
    write_whole(path, &serialize(stored, HashMap::from([(METADATA_KEY.to_owned(), json)]))?)
}

/// Reads the checkpoint of the run `run`, whose parameters have `shapes`; `None` if there is none, or only one of another run.
pub(crate) fn load(
    path: &Path,
    run: &str,
    shapes: &[Vec<i64>],
    device: Device,
) -> Result<Option<(Progressed, Tensors)>> {
    let Ok(bytes) = std::fs::read(path) else { return Ok(None) };
    let file = WeightFile::parse(path, &bytes)?;
    let progressed: Progressed =
        serde_json::from_str(file.metadata(METADATA_KEY)?).map_err(|error| malformed(path, error))?;
    if progressed.run != run {
        tracing::warn!(path = %path.display(), "the checkpoint is of another run (data, options or encoder): starting anew");
        return Ok(None);
    }
    let list = |kind: &str| {
        let tensor = |(index, shape): (usize, &Vec<i64>)| file.tensor(&[&format!("{kind}.{index}")], shape, device);
        shapes.iter().enumerate().map(tensor).collect::<Result<Vec<Tensor>>>()
    };
    let [parameters, means, squares, running, best] = KINDS.map(list);
    let tensors = Tensors { parameters: parameters?, means: means?, squares: squares?, running: running?, best: best? };
    Ok(Some((progressed, tensors)))
}

/// Figures of epochs to bits.
pub(crate) fn to_bits(curve: &[EpochFigures]) -> Vec<[u64; 3]> {
    let bits = |epoch: &EpochFigures| {
        [epoch.training_loss, epoch.validation_loss, epoch.validation_macro_f1].map(f64::to_bits)
    };
    curve.iter().map(bits).collect()
}

/// The reverse of [`to_bits`].
pub(crate) fn from_bits(curve: &[[u64; 3]]) -> Vec<EpochFigures> {
    let figures = |(epoch, bits): (u32, &[u64; 3])| {
        let [training_loss, validation_loss, validation_macro_f1] = bits.map(f64::from_bits);
        EpochFigures { epoch, training_loss, validation_loss, validation_macro_f1 }
    };
    (1..).zip(curve).map(figures).collect()
}
