//! The layers of the encoder and how they compute.

use std::sync::LazyLock;

use tch::{Device, Kind, Tensor};

use crate::error::Result;
use crate::packing::Packing;

/// Weight `[out, in]` and bias `[out]` of a dense layer.
#[derive(Debug)]
pub(super) struct Linear {
    pub(super) weight: Tensor,
    pub(super) bias: Tensor,
    /// Whether oneDNN computes the product, see [`prefers_one_dnn`].
    one_dnn: bool,
}

/// Whether oneDNN multiplies faster than LibTorch's default, MKL, on this machine's CPU. MKL does not use AVX-512 on
/// processors of other makers (an AMD EPYC with it: 100 instead of 200 GFLOP/s). Elsewhere oneDNN, which here lays the
/// weights out anew at every call, loses a sixth (one Sapphire Rapids core: 100 instead of 118 GFLOP/s; an AMD EPYC of
/// AVX2: 70 instead of 84). Scoring in fp32 has [`kernels`](super::kernels) of our own; this is for training, mostly.
fn prefers_one_dnn() -> bool {
    static PREFERS: LazyLock<bool> = LazyLock::new(|| {
        let intel = std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|about| about.contains("GenuineIntel"));
        tch::utils::has_mkldnn() && has_avx512() && !intel
    });
    *PREFERS
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    std::arch::is_x86_feature_detected!("avx512f")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx512() -> bool {
    false
}

impl Linear {
    pub(super) fn new(weight: Tensor, bias: Tensor) -> Self {
        let one_dnn = weight.device() == Device::Cpu && weight.kind() == Kind::Float && prefers_one_dnn();
        Self { weight, bias, one_dnn }
    }

    fn forward_one_dnn(&self, input: &Tensor) -> Result<Tensor> {
        let output = input.f_to_mkldnn(None::<Kind>)?.f_mkldnn_linear(&self.weight, Some(&self.bias))?;
        Ok(output.f_to_dense(None::<Kind>, false)?)
    }

    pub(super) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        if self.one_dnn { self.forward_one_dnn(input) } else { Ok(input.f_linear(&self.weight, Some(&self.bias))?) }
    }

    /// `forward(input) + residual`, of rows `[rows, in]` and `[rows, out]`: the product is added where the sum of
    /// residual and bias already stands, which saves two passes over it.
    pub(super) fn forward_onto(&self, input: &Tensor, residual: &Tensor) -> Result<Tensor> {
        if self.one_dnn {
            return Ok(self.forward_one_dnn(input)?.f_add_(residual)?);
        }
        Ok(residual.f_add(&self.bias)?.f_addmm_(input, &self.weight.f_transpose(0, 1)?)?)
    }

    pub(super) fn to_kind(&self, kind: Kind) -> Result<Self> {
        Ok(Self::new(self.weight.f_to_kind(kind)?, self.bias.f_to_kind(kind)?))
    }
}

/// Scale and shift of a layer normalisation over the last dimension.
#[derive(Debug)]
pub(super) struct LayerNorm {
    pub(super) weight: Tensor,
    pub(super) bias: Tensor,
    pub(super) eps: f64,
}

impl LayerNorm {
    pub(super) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let shape = self.weight.size();
        Ok(input.f_layer_norm(&shape[..], Some(&self.weight), Some(&self.bias), self.eps, false)?)
    }

    pub(super) fn to_kind(&self, kind: Kind) -> Result<Self> {
        Ok(Self { weight: self.weight.f_to_kind(kind)?, bias: self.bias.f_to_kind(kind)?, eps: self.eps })
    }
}

/// One transformer layer.
#[derive(Debug)]
pub(super) struct Layer {
    /// Query, key and value in one matrix `[3 · hidden, hidden]`: one large product is faster than three.
    pub(super) query_key_value: Linear,
    pub(super) attention_output: Linear,
    pub(super) attention_norm: LayerNorm,
    pub(super) intermediate: Linear,
    pub(super) output: Linear,
    pub(super) output_norm: LayerNorm,
}

impl Layer {
    /// `hidden` `[batch, length, hidden]`, `bias` `[batch, 1, 1, length]` (0 or −∞-like) → like `hidden`.
    pub(super) fn forward(&self, hidden: &Tensor, bias: &Tensor, heads: i64) -> Result<Tensor> {
        let (batch, length, size) = hidden.size3()?;
        let packed = self.query_key_value.forward(hidden)?.f_view([batch, length, 3, heads, size / heads])?;
        let part = |index| -> Result<Tensor> { Ok(packed.f_select(2, index)?.f_transpose(1, 2)?) };
        let (query, key, value) = (part(0)?, part(1)?, part(2)?);
        let bias = bias.f_expand([batch, heads, length, length], false)?;
        let context =
            Tensor::f_scaled_dot_product_attention(&query, &key, &value, Some(&bias), 0.0, false, None, false)?;
        let context = context.f_transpose(1, 2)?.f_reshape([batch, length, size])?;
        let attended = self.attention_norm.forward(&self.attention_output.forward(&context)?.f_add_(hidden)?)?;
        let inner = self.intermediate.forward(&attended)?.f_gelu_("none")?;
        self.output_norm.forward(&self.output.forward(&inner)?.f_add_(&attended)?)
    }

    /// As [`forward`](Self::forward) on packed rows `[rows, hidden]`.
    pub(super) fn forward_packed(&self, hidden: &Tensor, packing: &Packing, heads: i64) -> Result<Tensor> {
        let context = packing.attend(&self.query_key_value.forward(hidden)?, heads)?;
        let attended = self.attention_norm.forward(&self.attention_output.forward_onto(&context, hidden)?)?;
        let inner = self.intermediate.forward(&attended)?.f_gelu_("none")?;
        self.output_norm.forward(&self.output.forward_onto(&inner, &attended)?)
    }

    pub(super) fn to_kind(&self, kind: Kind) -> Result<Self> {
        Ok(Self {
            query_key_value: self.query_key_value.to_kind(kind)?,
            attention_output: self.attention_output.to_kind(kind)?,
            attention_norm: self.attention_norm.to_kind(kind)?,
            intermediate: self.intermediate.to_kind(kind)?,
            output: self.output.to_kind(kind)?,
            output_norm: self.output_norm.to_kind(kind)?,
        })
    }
}
