//! The encoder's arithmetic on CPUs with AVX2 and FMA or with AVX-512, in fp32, without LibTorch: faster than LibTorch's, because weights are
//! laid out once, and what follows a product happens while its result is in the cache.
//!
//! Every number is a sum in one fixed order, so its bits depend on the token's own text alone: not on the other texts of a
//! batch, the number of threads, or the make of the processor.

#[cfg(target_arch = "x86_64")]
mod attention;
#[cfg(target_arch = "x86_64")]
mod layer;
#[cfg(target_arch = "x86_64")]
mod lines;
#[cfg(target_arch = "x86_64")]
mod pointwise;
#[cfg(target_arch = "x86_64")]
mod product;
#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "x86_64")]
pub(super) use x86::Kernels;

/// On other processors LibTorch computes everything.
#[cfg(not(target_arch = "x86_64"))]
#[derive(Debug)]
pub(super) enum Kernels {}

#[cfg(not(target_arch = "x86_64"))]
impl Kernels {
    pub(super) fn preferred(_device: tch::Device, _kind: tch::Kind) -> Option<Self> {
        None
    }

    pub(super) fn hidden_states(
        &self,
        _encoder: &super::Encoder,
        _embeddings: &mut [f32],
        _token_counts: &[usize],
        _kept: &[usize],
        _threads: usize,
    ) -> crate::error::Result<Vec<Vec<f32>>> {
        match *self {}
    }
}
