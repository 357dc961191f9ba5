//! Where the kernels are used, and what they need of an encoder.

use std::sync::OnceLock;

use tch::{Device, Kind};

use super::layer::{PackedLayer, PackedLayers, PackedNorm};
use super::lines::Instructions;
use super::product::PackedWeight;
use crate::encoder::Encoder;
use crate::encoder::layers::{Layer, LayerNorm, Linear};
use crate::error::Result;
use crate::weights::values;

/// The kernels of one encoder.
#[derive(Debug)]
pub(in crate::encoder) struct Kernels {
    instructions: Instructions,
    /// Laid out when first needed: an encoder that is only trained on never needs them.
    layers: OnceLock<PackedLayers>,
}

impl Kernels {
    /// Those for an encoder on `device` that computes in `kind`, where they can do it.
    pub(in crate::encoder) fn preferred(device: Device, kind: Kind) -> Option<Self> {
        if device == Device::Cpu && kind == Kind::Float { Instructions::of_processor().map(Self::with) } else { None }
    }

    pub(super) fn with(instructions: Instructions) -> Self {
        Self { instructions, layers: OnceLock::new() }
    }

    /// Hidden states after each of the layers `kept` (0: the embeddings), increasing, one behind the other, each
    /// `[rows, hidden]`, of texts with so many tokens. `embeddings` `[rows, hidden]`, the sums of word, position and segment,
    /// are written over. `threads` share the texts.
    pub(in crate::encoder) fn hidden_states(
        &self,
        encoder: &Encoder,
        embeddings: &mut [f32],
        token_counts: &[usize],
        kept: &[usize],
        threads: usize,
    ) -> Result<Vec<Vec<f32>>> {
        let layers = match self.layers.get() {
            Some(layers) => layers,
            None => {
                let layers = PackedLayers::of(self.instructions, encoder)?;
                self.layers.get_or_init(|| layers)
            }
        };
        Ok(layers.hidden_states(self.instructions, embeddings, token_counts, kept, threads))
    }
}

impl PackedLayers {
    fn of(instructions: Instructions, encoder: &Encoder) -> Result<Self> {
        Ok(Self {
            embeddings_norm: PackedNorm::of(&encoder.embeddings_norm)?,
            layers: encoder.layers.iter().map(|layer| PackedLayer::of(instructions, layer)).collect::<Result<_>>()?,
            heads: encoder.config.num_attention_heads as usize,
        })
    }
}

impl PackedLayer {
    fn of(instructions: Instructions, layer: &Layer) -> Result<Self> {
        let weight = |linear: &Linear| -> Result<PackedWeight> {
            Ok(PackedWeight::new(instructions, &values(&linear.weight)?, &values(&linear.bias)?))
        };
        Ok(Self {
            query_key_value: weight(&layer.query_key_value)?,
            attention_output: weight(&layer.attention_output)?,
            attention_norm: PackedNorm::of(&layer.attention_norm)?,
            intermediate: weight(&layer.intermediate)?,
            output: weight(&layer.output)?,
            output_norm: PackedNorm::of(&layer.output_norm)?,
        })
    }
}

impl PackedNorm {
    fn of(norm: &LayerNorm) -> Result<Self> {
        Ok(Self { weight: values(&norm.weight)?, bias: values(&norm.bias)?, eps: norm.eps as f32 })
    }
}
