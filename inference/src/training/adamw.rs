//! AdamW (Loshchilov and Hutter, algorithm 2) with its state in reach: LibTorch's own keeps the moments to itself, and
//! without them training cannot be taken up where it stopped.

use tch::{Tensor, no_grad};

use crate::error::Result;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// Optimiser of a list of parameters.
pub(crate) struct AdamW {
    /// Leaves that record gradients.
    parameters: Vec<Tensor>,
    /// Running mean of each gradient.
    pub(crate) means: Vec<Tensor>,
    /// Running mean of each squared gradient.
    pub(crate) squares: Vec<Tensor>,
    /// Steps taken.
    pub(crate) steps: u32,
    weight_decay: f64,
}

impl AdamW {
    pub(crate) fn new(parameters: Vec<Tensor>, weight_decay: f64) -> Result<Self> {
        let zeros = || parameters.iter().map(|parameter| Ok(parameter.f_zeros_like()?)).collect::<Result<Vec<_>>>();
        let (means, squares) = (zeros()?, zeros()?);
        Ok(Self { parameters, means, squares, steps: 0, weight_decay })
    }

    /// Forgets the gradients.
    pub(crate) fn zero_grad(&mut self) {
        self.parameters.iter_mut().for_each(Tensor::zero_grad);
    }

    /// One step at `learning_rate`; together the gradients are scaled down to the norm `norm_max` first.
    pub(crate) fn step(&mut self, learning_rate: f64, norm_max: f64) -> Result<()> {
        no_grad(|| {
            let gradients: Vec<Tensor> = self.parameters.iter().map(Tensor::grad).collect();
            let norms = gradients.iter().map(|gradient| Ok(gradient.f_norm()?)).collect::<Result<Vec<_>>>()?;
            let norm = Tensor::f_stack(&norms, 0)?.f_norm()?.f_double_value(&[])?;
            let shrink = (norm_max / (norm + 1e-6)).min(1.0);
            self.steps += 1;
            let steps = f64::from(self.steps);
            let (correction1, correction2) = (1.0 - BETA1.powf(steps), 1.0 - BETA2.powf(steps));
            for (index, gradient) in gradients.iter().enumerate() {
                let gradient = gradient.f_mul_scalar(shrink)?;
                let (mean, square) = (&mut self.means[index], &mut self.squares[index]);
                let _ = mean.f_mul_scalar_(BETA1)?.f_add_(&gradient.f_mul_scalar(1.0 - BETA1)?)?;
                let _ = square.f_mul_scalar_(BETA2)?.f_add_(&gradient.f_square()?.f_mul_scalar(1.0 - BETA2)?)?;
                let scale = square.f_div_scalar(correction2)?.f_sqrt()?.f_add_scalar(EPSILON)?;
                let change = mean.f_div(&scale)?.f_mul_scalar(-learning_rate / correction1)?;
                let parameter = &mut self.parameters[index];
                let _ = parameter.f_mul_scalar_(1.0 - learning_rate * self.weight_decay)?.f_add_(&change)?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::nn::{self, OptimizerConfig};
    use tch::{Device, Kind};

    #[test]
    fn it_steps_as_libtorch_does() {
        let store = nn::VarStore::new(Device::Cpu);
        let start = Tensor::from_slice(&[1.0_f32, -2.0, 3.0]);
        let theirs = store.root().var_copy("x", &start);
        let mut optimizer = nn::AdamW { wd: 0.1, ..nn::AdamW::default() }.build(&store, 0.05).expect("builds");
        let ours = start.copy().set_requires_grad(true);
        let mut adamw = AdamW::new(vec![ours.shallow_clone()], 0.1).expect("builds");
        let loss = |x: &Tensor| (x * x * Tensor::from_slice(&[1.0_f32, 0.1, 3.0])).sum(Kind::Float);
        for _ in 0..50 {
            optimizer.zero_grad();
            loss(&theirs).backward();
            optimizer.clip_grad_norm(1.0);
            optimizer.step();
            adamw.zero_grad();
            loss(&ours).backward();
            adamw.step(0.05, 1.0).expect("steps");
        }
        let apart = (&theirs - &ours).abs().max().double_value(&[]);
        assert!(apart < 1e-5, "{apart}");
        assert!((&theirs - &start).abs().min().double_value(&[]) > 0.1, "it moved");
    }
}
