//! From token ids to hidden states.

use tch::{Kind, Tensor, no_grad};

use crate::batching::BatchInput;
use crate::encoder::Encoder;
use crate::encoder::kernels::Kernels;
use crate::encoder::layers::Layer;
use crate::error::{InferenceError, Result};
use crate::packing::Packing;
use crate::pooling::EncoderOutput;
use crate::weights::values;

impl Encoder {
    /// Last hidden state `[batch, length, hidden]` (fp32) of `input_ids` `[batch, length]` (int64).
    ///
    /// `attention_mask` `[batch, length]` (int64) is 1 for tokens and 0 for padding; every row needs a token. Values at
    /// padding positions are meaningless. No gradients are recorded.
    ///
    /// # Errors
    /// [`InferenceError::Torch`] when shapes disagree, `length` exceeds `max_position_embeddings`, an id lies outside
    /// the vocabulary, or memory runs out.
    pub fn forward(&self, input_ids: &Tensor, attention_mask: &Tensor) -> Result<Tensor> {
        let last = self.forward_layers(input_ids, attention_mask, &[self.config.num_hidden_layers])?;
        Ok(last.f_squeeze_dim(2)?)
    }

    /// Hidden states after the layers `layers`, `[batch, length, layers, hidden]` (fp32), otherwise as
    /// [`forward`](Self::forward). Layer 0 is the embeddings, `num_hidden_layers` the last; layers above the highest
    /// requested one are not computed.
    ///
    /// # Errors
    /// As [`forward`](Self::forward), and [`InferenceError::Config`] unless `layers` are existing, increasing layers.
    pub fn forward_layers(&self, input_ids: &Tensor, attention_mask: &Tensor, layers: &[i64]) -> Result<Tensor> {
        let batch = BatchInput { input_ids: input_ids.shallow_clone(), attention_mask: attention_mask.shallow_clone() };
        let states = self.forward_batches(&[batch], layers)?.pop();
        states.ok_or_else(|| InferenceError::Config("there is no batch".to_owned()))
    }

    /// [`forward_layers`](Self::forward_layers) of several batches, of whatever shapes, at once: on the CPU their tokens go
    /// through the layers together, and LibTorch's products are the faster the more rows they have.
    ///
    /// # Errors
    /// As [`forward_layers`](Self::forward_layers).
    pub fn forward_batches(&self, batches: &[BatchInput], layers: &[i64]) -> Result<Vec<Tensor>> {
        let count = self.config.num_hidden_layers;
        if layers.is_empty()
            || !layers.is_sorted_by(|a, b| a < b)
            || layers.iter().any(|layer| !(0..=count).contains(layer))
        {
            let reason = format!("encoder layers {layers:?} are not increasing numbers of 0 to {count}");
            return Err(InferenceError::Config(reason));
        }
        no_grad(|| match Packing::of(batches)? {
            Some(packing) => match &self.kernels {
                Some(kernels) => self.forward_by_kernels(kernels, batches, &packing, layers),
                None => self.forward_packed(batches, &packing, layers),
            },
            None => batches.iter().map(|batch| self.forward_padded(batch, layers)).collect(),
        })
    }

    /// By our own arithmetic; LibTorch looks up the embeddings, whose table may be in half precision.
    pub(super) fn forward_by_kernels(
        &self,
        kernels: &Kernels,
        batches: &[BatchInput],
        packing: &Packing,
        layers: &[i64],
    ) -> Result<Vec<Tensor>> {
        let token_counts = packing.token_counts();
        let (rows, width) = (token_counts.iter().sum::<usize>(), self.config.hidden_size as usize);
        let positions = self.position_embeddings.f_index_select(0, packing.positions())?;
        let mut embeddings = values(&self.embedded(&packing.ids(batches)?, &positions)?)?;
        // Without the spare rows, which these products do not need.
        embeddings.truncate(rows * width);
        let kept: Vec<usize> = layers.iter().map(|&layer| layer as usize).collect();
        let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1);
        let states = kernels.hidden_states(self, &mut embeddings, &token_counts, &kept, threads)?;
        let of_layer = |states: &Vec<f32>| Ok(Tensor::f_from_slice(states)?.f_view([rows as i64, width as i64])?);
        let states = states.iter().map(of_layer).collect::<Result<Vec<_>>>()?;
        packing.unpack(&Tensor::f_stack(&states, 1)?)
    }

    pub(super) fn forward_packed(
        &self,
        batches: &[BatchInput],
        packing: &Packing,
        layers: &[i64],
    ) -> Result<Vec<Tensor>> {
        let ids = packing.ids(batches)?;
        let positions = self.position_embeddings.f_index_select(0, packing.positions())?;
        let heads = self.config.num_attention_heads;
        let states =
            self.hidden_states(&ids, &positions, layers, |layer, hidden| layer.forward_packed(hidden, packing, heads))?;
        packing.unpack(&Tensor::f_stack(&states, 1)?)
    }

    fn forward_padded(&self, batch: &BatchInput, layers: &[i64]) -> Result<Tensor> {
        let (rows, length) = batch.input_ids.size2()?;
        let positions = self.position_embeddings.f_narrow(0, 0, length)?;
        let blocked = batch.attention_mask.f_eq(0)?;
        let bias = Tensor::f_zeros([rows, 1, 1, length], (self.kind(), self.device))?
            .f_masked_fill(&blocked.f_view([rows, 1, 1, length])?, f64::NEG_INFINITY)?;
        let heads = self.config.num_attention_heads;
        let states = self
            .hidden_states(&batch.input_ids, &positions, layers, |layer, hidden| layer.forward(hidden, &bias, heads))?;
        Ok(Tensor::f_stack(&states, 2)?)
    }

    /// Hidden states after each of `layers`, fp32, of tokens with these ids and position embeddings; `apply` computes a
    /// layer.
    fn hidden_states(
        &self,
        ids: &Tensor,
        positions: &Tensor,
        layers: &[i64],
        apply: impl Fn(&Layer, &Tensor) -> Result<Tensor>,
    ) -> Result<Vec<Tensor>> {
        let mut hidden = self.embeddings_norm.forward(&self.embedded(ids, positions)?)?;
        let mut kept = Vec::with_capacity(layers.len());
        for (index, layer) in (0..).zip(std::iter::once(None).chain(self.layers.iter().map(Some))) {
            if let Some(layer) = layer {
                hidden = apply(layer, &hidden)?;
            }
            if layers.contains(&index) {
                kept.push(hidden.f_to_kind(Kind::Float)?);
            }
            if kept.len() == layers.len() {
                break;
            }
        }
        Ok(kept)
    }

    /// The sums of word, position and segment, before they are normalised.
    fn embedded(&self, ids: &Tensor, positions: &Tensor) -> Result<Tensor> {
        let words = Tensor::f_embedding(&self.word_embeddings, ids, -1, false, false)?.f_to_kind(self.kind())?;
        Ok(words.f_add(positions)?)
    }

    /// What `output` asks for of the last hidden state, fp32: `[batch, length, hidden]` or `[batch, hidden]`. Otherwise as
    /// [`forward`](Self::forward).
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn encode(&self, input_ids: &Tensor, attention_mask: &Tensor, output: EncoderOutput) -> Result<Tensor> {
        output.of(&self.forward(input_ids, attention_mask)?, attention_mask)
    }
}
