//! The neural branch of a head: a bidirectional LSTM over the encoder's token states.
//!
//! Learned mix of encoder layers → BiLSTM → masked mean and maximum over time → dense layer → one logit per label. Each
//! direction is an LSTM of its own, and the reverse one reads every row turned around within its own tokens, so both
//! meet the padding only after the last token; pooling leaves the padding out. Padding therefore never changes a result.

use tch::{Kind, Tensor};

use crate::error::{InferenceError, Result};
use crate::head::HeadMetadata;

/// Weights of one LSTM direction, in the layout of `torch.nn.LSTM` (gates input, forget, cell, output).
#[derive(Debug)]
struct Direction([Tensor; 4]);

/// Parameter names of a direction, in the order LibTorch takes them.
const DIRECTION_PARAMETERS: [&str; 4] = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"];

/// A classifier over the encoder's token states.
#[derive(Debug)]
pub(crate) struct RecurrentBranch {
    /// One number per layer; their softmax is the layers' share in the mix.
    layer_mix: Tensor,
    forward: Direction,
    reverse: Direction,
    classifier_weight: Tensor,
    classifier_bias: Tensor,
}

/// Names and shapes of the branch's parameters, in file order.
pub(crate) fn parameter_shapes(metadata: &HeadMetadata) -> Vec<(String, Vec<i64>)> {
    let (input, hidden) = (metadata.input_size, metadata.lstm_hidden_size);
    let classes = metadata.labels.len() as i64;
    let shapes = [vec![4 * hidden, input], vec![4 * hidden, hidden], vec![4 * hidden], vec![4 * hidden]];
    let mut parameters = vec![("layer_mix".to_owned(), vec![metadata.encoder_layers.len() as i64])];
    for direction in ["forward", "reverse"] {
        for (name, shape) in DIRECTION_PARAMETERS.iter().zip(&shapes) {
            parameters.push((format!("lstm.{direction}.{name}"), shape.clone()));
        }
    }
    parameters.push(("classifier.weight".to_owned(), vec![classes, 4 * hidden]));
    parameters.push(("classifier.bias".to_owned(), vec![classes]));
    parameters
}

impl RecurrentBranch {
    /// Assembles the branch from parameters in the order of [`parameter_shapes`]; the tensors are shared, not copied.
    pub(crate) fn from_parameters(parameters: Vec<Tensor>) -> Result<Self> {
        let parameters: [Tensor; 11] = parameters.try_into().map_err(|found: Vec<Tensor>| {
            InferenceError::Config(format!("a head has 11 parameters, not {}", found.len()))
        })?;
        let [layer_mix, f0, f1, f2, f3, r0, r1, r2, r3, classifier_weight, classifier_bias] = parameters;
        let (forward, reverse) = (Direction([f0, f1, f2, f3]), Direction([r0, r1, r2, r3]));
        Ok(Self { layer_mix, forward, reverse, classifier_weight, classifier_bias })
    }

    /// The parameters in the order of [`parameter_shapes`].
    pub(crate) fn parameters(&self) -> Vec<&Tensor> {
        let directions = self.forward.0.iter().chain(&self.reverse.0);
        let classifier = [&self.classifier_weight, &self.classifier_bias];
        [&self.layer_mix].into_iter().chain(directions).chain(classifier).collect()
    }

    /// Logits `[batch, labels]` of `hidden` (fp32) `[batch, length, encoder_layers, input_size]`.
    ///
    /// `attention_mask` `[batch, length]` (int64) has its ones first in every row, at least one. `pooled_scale`
    /// `[batch, 4 · lstm_hidden_size]` multiplies the pooled features: the dropout mask of training.
    pub(crate) fn forward(
        &self,
        hidden: &Tensor,
        attention_mask: &Tensor,
        pooled_scale: Option<&Tensor>,
    ) -> Result<Tensor> {
        let states = self.states(hidden, attention_mask)?;
        let mut pooled = Pooled::of(&states, attention_mask)?.features()?;
        if let Some(scale) = pooled_scale {
            pooled = pooled.f_mul(scale)?;
        }
        Ok(pooled.f_linear(&self.classifier_weight, Some(&self.classifier_bias))?)
    }

    /// Logits as [`forward`](Self::forward) gives, and how much each token moved the logit of class `plus` minus that
    /// of class `minus`, `[batch, length]`.
    ///
    /// The dense layer is linear in what is pooled: a token has its own share of every mean, and the whole of every
    /// maximum that it holds. The shares of a text add up to the difference of its logits without their biases.
    pub(crate) fn forward_explained(
        &self,
        hidden: &Tensor,
        attention_mask: &Tensor,
        plus: i64,
        minus: i64,
    ) -> Result<(Tensor, Tensor)> {
        let states = self.states(hidden, attention_mask)?;
        let pooled = Pooled::of(&states, attention_mask)?;
        let logits = pooled.features()?.f_linear(&self.classifier_weight, Some(&self.classifier_bias))?;
        let direction = self.classifier_weight.f_select(0, plus)?.f_sub(&self.classifier_weight.f_select(0, minus)?)?;
        let half = direction.size1()? / 2;
        let (of_mean, of_maximum) = (direction.f_narrow(0, 0, half)?, direction.f_narrow(0, half, half)?);
        let shares =
            states.f_matmul(&of_mean)?.f_div(&pooled.counts)?.f_mul(&attention_mask.f_to_kind(Kind::Float)?)?;
        let shares = shares.f_scatter_add(1, &pooled.holders, &pooled.maximum.f_mul(&of_maximum)?)?;
        Ok((logits, shares))
    }

    /// States of both directions `[batch, length, 2 · lstm_hidden_size]`.
    fn states(&self, hidden: &Tensor, attention_mask: &Tensor) -> Result<Tensor> {
        let mixed = mixed(hidden, &self.layer_mix)?;
        let turned = reverse_rows(&mixed, attention_mask)?;
        let forward = self.run(&mixed, &self.forward)?;
        // Back in the order of the text, so that a position means the same token in both directions.
        let reverse = reverse_rows(&self.run(&turned, &self.reverse)?, attention_mask)?;
        Ok(Tensor::f_cat(&[forward, reverse], 2)?)
    }

    fn run(&self, input: &Tensor, direction: &Direction) -> Result<Tensor> {
        let hidden = direction.0[1].size2()?.1;
        let size = [1, input.size3()?.0, hidden];
        let zero = Tensor::f_zeros(size, (Kind::Float, input.device()))?;
        let initial = [&zero, &zero];
        let weights: Vec<&Tensor> = direction.0.iter().collect();
        let (states, _, _) = input.f_lstm(&initial, &weights, true, 1, 0.0, false, false, true)?;
        Ok(states)
    }
}

/// The learned mix of layers: `hidden` `[batch, length, layers, size]` in the shares softmax(`layer_mix`), `[batch, length, size]`.
pub(crate) fn mixed(hidden: &Tensor, layer_mix: &Tensor) -> Result<Tensor> {
    let shares = layer_mix.f_softmax(0, Kind::Float)?.f_unsqueeze(1)?;
    Ok(hidden.f_mul(&shares)?.f_sum_dim_intlist([2_i64].as_slice(), false, Kind::Float)?)
}

/// Mean and maximum over the tokens of each row.
pub(crate) struct Pooled {
    /// Tokens per row `[batch, 1]`.
    counts: Tensor,
    /// `[batch, size]`.
    mean: Tensor,
    /// `[batch, size]`.
    maximum: Tensor,
    /// Position of the token that holds the maximum, int64 `[batch, size]`.
    holders: Tensor,
}

impl Pooled {
    /// Of `states` `[batch, length, size]`.
    pub(crate) fn of(states: &Tensor, attention_mask: &Tensor) -> Result<Self> {
        let counts = attention_mask.f_sum_dim_intlist([1_i64].as_slice(), true, Kind::Float)?;
        // Filled, not multiplied by zero: what stands at padding may be no number.
        let padding = attention_mask.f_eq(0)?.f_unsqueeze(2)?;
        let sum = states.f_masked_fill(&padding, 0.0)?.f_sum_dim_intlist([1_i64].as_slice(), false, Kind::Float)?;
        let mean = sum.f_div(&counts)?;
        let visible = states.f_masked_fill(&padding, f64::from(f32::MIN))?;
        let (maximum, holders) = visible.f_max_dim(1, false)?;
        Ok(Self { counts, mean, maximum, holders })
    }

    /// `[batch, 2 · size]`.
    pub(crate) fn features(&self) -> Result<Tensor> {
        Ok(Tensor::f_cat(&[&self.mean, &self.maximum], 1)?)
    }
}

/// Each row of `input` `[batch, length, size]` with its tokens in reverse order and its padding where it was.
pub(super) fn reverse_rows(input: &Tensor, attention_mask: &Tensor) -> Result<Tensor> {
    let (_, length, _) = input.size3()?;
    let positions = Tensor::f_arange(length, (Kind::Int64, input.device()))?.f_unsqueeze(0)?;
    let counts = attention_mask.f_sum_dim_intlist([1_i64].as_slice(), true, Kind::Int64)?;
    let mirrored = counts.f_sub_scalar(1)?.f_sub(&positions)?;
    let source = mirrored.f_where_self(&attention_mask.f_gt(0)?, &positions)?;
    Ok(input.f_gather(1, &source.f_unsqueeze(2)?.f_expand_as(input)?, false)?)
}
