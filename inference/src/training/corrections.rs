//! Corrections of an encoder while they are learnt.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Tensor};

use crate::adapter::{AdapterMetadata, layers};
use crate::encoder::Encoder;
use crate::error::Result;
use crate::training::adamw::AdamW;
use crate::training::descent::{GRADIENT_NORM_MAX, dropout, shallow};

/// Parameters with their optimiser.
pub(crate) struct Learnt {
    pub(crate) parameters: Vec<Tensor>,
    pub(crate) optimizer: AdamW,
    learning_rate: f64,
}

impl Learnt {
    pub(crate) fn new(parameters: Vec<Tensor>, learning_rate: f64, weight_decay: f64) -> Result<Self> {
        let optimizer = AdamW::new(shallow(&parameters), weight_decay)?;
        Ok(Self { parameters, optimizer, learning_rate })
    }

    /// A step at the learning rate times `factor`.
    pub(crate) fn step(&mut self, factor: f64) -> Result<()> {
        self.optimizer.step(self.learning_rate * factor, GRADIENT_NORM_MAX)
    }
}

/// How corrections are learnt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    /// Peak learning rate.
    pub(crate) learning_rate: f64,
    /// Weight decay of AdamW.
    pub(crate) weight_decay: f64,
    /// Share of what the corrections read that is dropped.
    pub(crate) dropout: f64,
}

/// Corrections beside the weights of an encoder.
pub(crate) struct Corrections<'a> {
    encoder: &'a Encoder,
    metadata: &'a AdapterMetadata,
    /// In the order of [`AdapterMetadata::parameters`].
    pub(crate) learnt: Learnt,
    dropout: f64,
    device: Device,
}

impl<'a> Corrections<'a> {
    /// Such that the encoder is what it was.
    pub(crate) fn new(
        (encoder, metadata): (&'a Encoder, &'a AdapterMetadata),
        rates: Rates,
        rng: &mut ChaCha8Rng,
        device: Device,
    ) -> Result<Self> {
        let mut parameters = Vec::new();
        for (name, shape) in metadata.parameters() {
            // What leads up begins at zero, so that the first step starts from the encoder as it is.
            let bound = if name.ends_with(".up") { 0.0 } else { (3.0 / shape[1] as f64).sqrt() };
            parameters.push(initial(&shape, bound, rng, device)?);
        }
        let learnt = Learnt::new(parameters, rates.learning_rate, rates.weight_decay)?;
        Ok(Self { encoder, metadata, learnt, dropout: rates.dropout, device })
    }

    /// States after the layer below the corrected ones and after each of those, `[batch, length, layers + 1, hidden]`, from
    /// those after the layer below, `[batch, length, hidden]`, and their mask. With dropout where there is a generator.
    pub(crate) fn states(
        &self,
        (hidden, attention_mask): (&Tensor, &Tensor),
        rng: Option<&mut ChaCha8Rng>,
    ) -> Result<Tensor> {
        let batch = hidden.size3()?.0;
        let factors = rng.map(|rng| self.factors(batch, rng)).transpose()?;
        let below = self.metadata.layers_below as usize;
        let corrections = (&layers(&self.learnt.parameters)?[..], self.metadata.scale);
        self.encoder.corrected_states((hidden, attention_mask), below, corrections, factors.as_deref())
    }

    fn factors(&self, batch: i64, rng: &mut ChaCha8Rng) -> Result<Vec<[Tensor; 4]>> {
        let (hidden, inner) = (self.metadata.hidden_size, self.metadata.intermediate_size);
        let mut of = |size| dropout(&[batch, 1, size], self.dropout, rng, self.device);
        (0..self.metadata.layers).map(|_| Ok([of(hidden)?, of(hidden)?, of(hidden)?, of(inner)?])).collect()
    }
}

/// A leaf that records gradients, uniform within ±`bound`.
pub(crate) fn initial(shape: &[i64], bound: f64, rng: &mut ChaCha8Rng, device: Device) -> Result<Tensor> {
    let count: i64 = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|_| (bound * (2.0 * rng.random::<f64>() - 1.0)) as f32).collect();
    Ok(Tensor::f_from_slice(&values)?.f_view(shape)?.f_to_device(device)?.f_set_requires_grad(true)?)
}
