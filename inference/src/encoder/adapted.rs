//! An encoder with an [`Adapter`]: merged into its weights for scoring, beside them while it is learnt.

use tch::{Kind, Tensor, no_grad};

use super::{Encoder, Kernels, Layer, Linear};
use crate::adapter::{Adapter, Correction, LayerCorrections};
use crate::error::{InferenceError, Result};

impl Encoder {
    /// The same encoder with `adapter` merged into its weights; its digest becomes one of both. To be called before
    /// [`with_precision`](Self::with_precision), so that sums are taken in fp32.
    ///
    /// # Errors
    /// [`InferenceError::EncoderMismatch`] when the adapter is for other weights.
    pub fn with_adapter(mut self, adapter: &Adapter) -> Result<Self> {
        adapter.check_encoder(&self.weights_sha256)?;
        let metadata = adapter.metadata();
        let sizes = (self.config.num_hidden_layers, self.config.hidden_size, self.config.intermediate_size);
        if sizes != (metadata.layers_below + metadata.layers, metadata.hidden_size, metadata.intermediate_size) {
            return Err(InferenceError::Config("an adapter of other sizes than the encoder's".to_owned()));
        }
        no_grad(|| -> Result<()> {
            let upper = self.layers.iter_mut().skip(metadata.layers_below as usize);
            for (layer, corrections) in upper.zip(adapter.layers()) {
                for (matrix, correction) in layer.matrices().into_iter().zip(corrections) {
                    *matrix = matrix.merged(correction, metadata.scale)?;
                }
            }
            Ok(())
        })?;
        // Laid out anew: they may hold the weights as they were.
        self.kernels = Kernels::preferred(self.device, self.kind());
        self.weights_sha256 = adapter.merged_sha256(&self.weights_sha256);
        Ok(self)
    }

    /// States after the layer `below` and after each one above it, `[batch, length, layers, hidden]`, from those after
    /// `below`, `hidden` `[batch, length, hidden]` (fp32). `corrections`, one per layer above, act beside the weights with
    /// the factor `scale`, and gradients flow to them.
    ///
    /// `attention_mask` as in [`forward`](Self::forward). `dropout`, one factor `[batch, 1, in]` per correction and layer,
    /// multiplies what the corrections read.
    pub(crate) fn corrected_states(
        &self,
        (hidden, attention_mask): (&Tensor, &Tensor),
        below: usize,
        (corrections, scale): (&[LayerCorrections], f64),
        dropout: Option<&[[Tensor; 4]]>,
    ) -> Result<Tensor> {
        let (batch, length, _) = hidden.size3()?;
        let blocked = attention_mask.f_eq(0)?.f_view([batch, 1, 1, length])?;
        let bias = Tensor::f_zeros([batch, 1, 1, length], (Kind::Float, self.device))?
            .f_masked_fill(&blocked, f64::NEG_INFINITY)?;
        let mut states = vec![hidden.shallow_clone()];
        for (index, (layer, own)) in self.layers.iter().skip(below).zip(corrections).enumerate() {
            let corrected = Corrected { layer, corrections: own, scale, dropout: dropout.map(|all| &all[index]) };
            let next = corrected.forward(&states[index], &bias, self.config.num_attention_heads)?;
            states.push(next);
        }
        Ok(Tensor::f_stack(&states, 2)?)
    }
}

impl Linear {
    fn merged(&self, correction: &Correction, scale: f64) -> Result<Self> {
        let change = correction.up.f_matmul(&correction.down)?.f_mul_scalar(scale)?;
        let weight = self.weight.f_add(&change.f_to_device(self.weight.device())?)?;
        Ok(Self::new(weight, self.bias.shallow_clone()))
    }
}

impl Layer {
    /// The dense layers, in the order of [`LayerCorrections`].
    fn matrices(&mut self) -> [&mut Linear; 4] {
        [&mut self.query_key_value, &mut self.attention_output, &mut self.intermediate, &mut self.output]
    }
}

/// A layer with corrections beside its weights.
struct Corrected<'a> {
    layer: &'a Layer,
    corrections: &'a LayerCorrections,
    scale: f64,
    dropout: Option<&'a [Tensor; 4]>,
}

impl Corrected<'_> {
    /// As [`Layer::forward`], without writing over anything that gradients need.
    fn forward(&self, hidden: &Tensor, bias: &Tensor, heads: i64) -> Result<Tensor> {
        let layer = self.layer;
        let (batch, length, size) = hidden.size3()?;
        let packed = self.dense(0, &layer.query_key_value, hidden)?.f_view([batch, length, 3, heads, size / heads])?;
        let part = |index| -> Result<Tensor> { Ok(packed.f_select(2, index)?.f_transpose(1, 2)?) };
        let bias = bias.f_expand([batch, heads, length, length], false)?;
        let context = Tensor::f_scaled_dot_product_attention(
            &part(0)?,
            &part(1)?,
            &part(2)?,
            Some(&bias),
            0.0,
            false,
            None,
            false,
        )?;
        let context = context.f_transpose(1, 2)?.f_reshape([batch, length, size])?;
        let attended =
            layer.attention_norm.forward(&self.dense(1, &layer.attention_output, &context)?.f_add(hidden)?)?;
        let inner = self.dense(2, &layer.intermediate, &attended)?.f_gelu("none")?;
        layer.output_norm.forward(&self.dense(3, &layer.output, &inner)?.f_add(&attended)?)
    }

    /// The dense layer `linear` with the correction `index`.
    fn dense(&self, index: usize, linear: &Linear, input: &Tensor) -> Result<Tensor> {
        let Correction { down, up } = &self.corrections[index];
        let read = self.dropout.map_or_else(|| Ok(input.shallow_clone()), |factors| input.f_mul(&factors[index]))?;
        let change = read.f_linear(down, None::<&Tensor>)?.f_linear(up, None::<&Tensor>)?.f_mul_scalar(self.scale)?;
        Ok(input.f_linear(&linear.weight, Some(&linear.bias))?.f_add(&change)?)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::adapter::{AdapterMetadata, layers};
    use crate::encoder::tiny::{TinySizes, encoder, wave};

    const SIZES: TinySizes = TinySizes { vocabulary: 9, hidden: 8, layers: 3, heads: 2, inner: 12, positions: 6 };

    #[test]
    fn corrections_beside_the_weights_and_merged_into_them_give_the_same_states() {
        let bare = encoder(SIZES);
        let about = ("tiny", bare.weights_sha256(), bare.config());
        let metadata = AdapterMetadata::of_encoder(about, 2, 3, 1.5).expect("metadata");
        let shapes = metadata.parameters();
        let half = |(index, (_, shape)): (usize, &(String, [i64; 2]))| {
            wave(shape, 0.3 * index as f64, 0.4).to_kind(Kind::Half).to_kind(Kind::Float)
        };
        let parameters: Vec<Tensor> = shapes.iter().enumerate().map(half).collect();
        let ids = Tensor::from_slice(&[2_i64, 4, 8, 3, 2, 5, 3, 0]).view([2, 4]);
        let mask = Tensor::from_slice(&[1_i64, 1, 1, 1, 1, 1, 1, 0]).view([2, 4]);
        let visible = |states: &Tensor| states * mask.view([2, 4, 1, 1]);
        let below = bare.forward_layers(&ids, &mask, &[1]).expect("forward").squeeze_dim(2);
        let corrections = layers(&parameters).expect("corrections");
        let beside = bare.corrected_states((&below, &mask), 1, (&corrections, metadata.scale), None).expect("forward");
        let without = bare.forward_layers(&ids, &mask, &[1, 2, 3]).expect("forward");
        let bytes = Adapter::serialize(&metadata, &parameters).expect("bytes");
        let adapter = Adapter::from_bytes(Path::new("adapter"), &bytes).expect("parses");
        let digest = bare.weights_sha256().to_owned();
        let adapted = bare.with_adapter(&adapter).expect("merges");
        let merged = adapted.forward_layers(&ids, &mask, &[1, 2, 3]).expect("forward");
        let apart = |a: &Tensor, b: &Tensor| (visible(a) - visible(b)).abs().max().double_value(&[]);
        assert!(apart(&beside, &merged) < 1e-5, "{}", apart(&beside, &merged));
        assert!(apart(&without, &merged) > 0.1, "the corrections change something");
        assert_ne!(adapted.weights_sha256(), digest, "it is another encoder");
        assert!(adapted.with_adapter(&adapter).is_err(), "an adapter is merged once");
    }
}
