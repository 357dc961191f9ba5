//! What the training loops share: batches, dropout, the course of the learning rate, weights of classes, running means.

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Tensor, no_grad};

use crate::error::Result;
use crate::training::features::Features;

/// Gradients are scaled down to this norm: recurrent layers are prone to rare, huge ones.
pub(crate) const GRADIENT_NORM_MAX: f64 = 1.0;
/// Batches sorted by length together: similar lengths need little padding, yet the order stays random.
const BATCHES_PER_POOL: usize = 16;
/// Share of the steps over which the learning rate rises from zero.
const WARM_UP_SHARE: f64 = 0.05;

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

/// Running means of parameters, which wander less than the parameters themselves (Polyak and Juditsky 1992; here with
/// exponential weights, as `tf.train.ExponentialMovingAverage`).
pub(crate) struct RunningMeans {
    /// What the means were before this step stays with this share.
    decay: f64,
    /// One per parameter, without gradients.
    pub(crate) means: Vec<Tensor>,
}

impl RunningMeans {
    /// Of parameters as they are now.
    pub(crate) fn new(parameters: &[Tensor], decay: f64) -> Result<Self> {
        Ok(Self { decay, means: deep_copies(parameters)? })
    }

    /// Takes in the parameters after step `step`, from 1. The first steps count for more, so that the start is soon forgotten.
    pub(crate) fn take_in(&mut self, parameters: &[Tensor], step: u32) -> Result<()> {
        let step = f64::from(step);
        let decay = self.decay.min((1.0 + step) / (10.0 + step));
        no_grad(|| {
            for (mean, parameter) in self.means.iter_mut().zip(parameters) {
                let _ = mean.f_mul_scalar_(decay)?.f_add_(&parameter.f_mul_scalar(1.0 - decay)?)?;
            }
            Ok(())
        })
    }

    /// What `work` gives while the means stand in the parameters' places.
    pub(crate) fn in_place_of<T>(&self, parameters: &[Tensor], work: impl FnOnce() -> Result<T>) -> Result<T> {
        let own = deep_copies(parameters)?;
        copy_into(parameters, &self.means)?;
        let result = work();
        copy_into(parameters, &own)?;
        result
    }
}

/// Writes `values` over the contents of `parameters`.
pub(crate) fn copy_into(parameters: &[Tensor], values: &[Tensor]) -> Result<()> {
    no_grad(|| {
        for (parameter, value) in parameters.iter().zip(values) {
            parameter.shallow_clone().f_copy_(value)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_means_follow_and_give_their_place_back() {
        let parameters = [Tensor::from_slice(&[0.0_f32, 8.0]).set_requires_grad(true)];
        let mut means = RunningMeans::new(&parameters, 0.5).expect("copies");
        copy_into(&parameters, &[Tensor::from_slice(&[11.0_f32, 19.0])]).expect("copies");
        let values = |tensor: &Tensor| Vec::<f32>::try_from(tensor.detach()).expect("floats");
        // (1 + 1) / (10 + 1) of what was, the rest of what is; later no more than half of what was.
        means.take_in(&parameters, 1).expect("steps");
        assert_eq!(values(&means.means[0]), [9.0, 17.0]);
        means.take_in(&parameters, 100).expect("steps");
        assert_eq!(values(&means.means[0]), [10.0, 18.0]);
        let seen = means.in_place_of(&parameters, || Ok(values(&parameters[0]))).expect("works");
        assert_eq!((seen, values(&parameters[0])), (vec![10.0, 18.0], vec![11.0, 19.0]));
    }
}
