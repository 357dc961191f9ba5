//! A text's [`TurnVector`]: what the conversation head must know of it, in a few bytes.
//!
//! Parts, in this order: three logits of the satisfaction that the characters suggest, three that the encoder's states
//! suggest of a customer's turn, three of the turn after an agent's, and the states' first principal components.
//! A text does not know who said it; the network takes the parts that fit the speaker.

use contactflow_schemas::prediction::TurnVector;
use tch::{Device, Kind, Tensor};

use crate::conversation::CLASSES;
use crate::conversation::lexicon::{ngrams, tf_idf};
use crate::error::Result;

/// Sizes of a turn encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TurnSizes {
    /// Values of a text's pooled states: encoder layers × `hidden_size`.
    pub(crate) states: usize,
    /// Hash buckets of the lexicon.
    pub(crate) buckets: usize,
    /// Principal components kept.
    pub(crate) components: usize,
}

impl TurnSizes {
    /// Rows of the projection: logits of customers' and after agents' turns, components.
    pub(crate) fn projected(self) -> usize {
        2 * CLASSES + self.components
    }

    /// Components of a [`TurnVector`].
    pub(crate) fn vector(self) -> usize {
        CLASSES + self.projected()
    }

    /// Names and shapes of the parameters, in file order.
    pub(crate) fn parameters(self) -> [(&'static str, Vec<i64>); 8] {
        let [states, buckets, projected, vector] =
            [self.states, self.buckets, self.projected(), self.vector()].map(|size| size as i64);
        let classes = CLASSES as i64;
        [
            ("turn.mean", vec![states]),
            ("turn.inverse_deviation", vec![states]),
            ("turn.projection.weight", vec![projected, states]),
            ("turn.projection.bias", vec![projected]),
            ("turn.lexicon.idf", vec![buckets]),
            ("turn.lexicon.weight", vec![classes, buckets]),
            ("turn.lexicon.bias", vec![classes]),
            ("turn.step", vec![vector]),
        ]
    }
}

/// Pooled states and text to a quantised vector. Plain arithmetic in a fixed order: no batch can change a bit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TurnEncoder {
    pub(crate) sizes: TurnSizes,
    /// Mean of every pooled state over the training texts.
    pub(crate) mean: Vec<f32>,
    /// One over its standard deviation.
    pub(crate) inverse_deviation: Vec<f32>,
    /// `[projected, states]`, row by row.
    pub(crate) projection: Vec<f32>,
    pub(crate) projection_bias: Vec<f32>,
    /// Inverse document frequency per bucket, 0 for unknown ones.
    pub(crate) idf: Vec<f32>,
    /// `[3, buckets]`, row by row.
    pub(crate) lexicon: Vec<f32>,
    pub(crate) lexicon_bias: Vec<f32>,
    /// Value of one step of each component of the vector.
    pub(crate) step: Vec<f32>,
}

impl TurnEncoder {
    /// The parameters in the order of [`TurnSizes::parameters`].
    pub(crate) fn parameters(&self) -> [&[f32]; 8] {
        let states = [&self.mean, &self.inverse_deviation, &self.projection, &self.projection_bias];
        let lexicon = [&self.idf, &self.lexicon, &self.lexicon_bias, &self.step];
        let [a, b, c, d] = states.map(Vec::as_slice);
        let [e, f, g, h] = lexicon.map(Vec::as_slice);
        [a, b, c, d, e, f, g, h]
    }

    /// The reverse of [`parameters`](Self::parameters); each has the length its shape implies.
    pub(crate) fn from_parameters(sizes: TurnSizes, parameters: [Vec<f32>; 8]) -> Self {
        let [mean, inverse_deviation, projection, projection_bias, idf, lexicon, lexicon_bias, step] = parameters;
        Self { sizes, mean, inverse_deviation, projection, projection_bias, idf, lexicon, lexicon_bias, step }
    }

    /// The vector of `text`, whose pooled states are `states` (see [`pooled`]).
    pub(crate) fn vector(&self, states: &[f32], text: &str) -> TurnVector {
        let exact = self.exact(states, &ngrams(text, self.sizes.buckets));
        // `as` makes 0 of what is not a number.
        let steps = exact.into_iter().zip(&self.step).map(|(value, step)| (value / step).round().clamp(-127.0, 127.0));
        steps.map(|steps| steps as i8).collect::<Vec<i8>>().into()
    }

    /// The parts of a vector before they are quantised.
    pub(crate) fn exact(&self, states: &[f32], ngrams: &[(usize, f32)]) -> Vec<f32> {
        let ngrams = tf_idf(ngrams, &self.idf);
        let lexical = self.lexicon.chunks_exact(self.sizes.buckets).zip(&self.lexicon_bias);
        let lexical =
            lexical.map(|(weights, bias)| bias + ngrams.iter().map(|&(bucket, x)| weights[bucket] * x).sum::<f32>());
        let centred = states.iter().zip(&self.mean).zip(&self.inverse_deviation);
        let standardised: Vec<f32> = centred.map(|((x, mean), inverse)| (x - mean) * inverse).collect();
        let rows = self.projection.chunks_exact(self.sizes.states).zip(&self.projection_bias);
        lexical.chain(rows.map(|(weights, bias)| bias + dot(weights, &standardised))).collect()
    }

    /// What a vector stands for, in the units of the parts.
    pub(crate) fn values(&self, vector: &TurnVector) -> Vec<f32> {
        vector.as_slice().iter().zip(&self.step).map(|(&steps, step)| f32::from(steps) * step).collect()
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Mean over the tokens of `hidden` `[rows, length, layers, size]` (fp32): per row `layers · size` values.
///
/// `attention_mask` `[rows, length]` is 1 for tokens, 0 for padding.
///
/// # Errors
/// LibTorch's, when shapes disagree.
pub(crate) fn pooled(hidden: &Tensor, attention_mask: &Tensor, rows: usize) -> Result<Vec<Vec<f32>>> {
    let mask = attention_mask.f_to_kind(Kind::Float)?.f_unsqueeze(-1)?.f_unsqueeze(-1)?;
    let over_tokens = [1_i64];
    let counts = mask.f_sum_dim_intlist(over_tokens.as_slice(), false, Kind::Float)?;
    let sums = hidden.f_mul(&mask)?.f_sum_dim_intlist(over_tokens.as_slice(), false, Kind::Float)?;
    let means = sums.f_div(&counts)?.f_flatten(1, -1)?.f_to_device(Device::Cpu)?.f_contiguous()?;
    crate::text_encoder::rows(&means, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoder() -> TurnEncoder {
        let sizes = TurnSizes { states: 4, buckets: 64, components: 2 };
        let parameter = |(name, shape): (&str, Vec<i64>)| {
            let count = shape.iter().product::<i64>();
            let wave = |index: i64| ((index * 7 + name.len() as i64) as f32 * 0.37).sin();
            let value = |index| if name == "turn.step" { 0.05 } else { wave(index).abs() + 0.01 };
            (0..count).map(value).collect()
        };
        TurnEncoder::from_parameters(sizes, sizes.parameters().map(parameter))
    }

    #[test]
    fn values_are_what_was_computed_but_for_half_a_step() {
        let encoder = encoder();
        let states = [0.3, -0.2, 0.9, 0.4];
        let values = encoder.values(&encoder.vector(&states, "谢谢"));
        assert_eq!(values.len(), encoder.sizes.vector());
        for row in 0..encoder.sizes.projected() {
            let terms = (0..4).map(|i| {
                encoder.projection[row * 4 + i] * (states[i] - encoder.mean[i]) * encoder.inverse_deviation[i]
            });
            let exact = encoder.projection_bias[row] + terms.sum::<f32>();
            assert!((values[CLASSES + row] - exact).abs() <= 0.0251, "row {row}");
        }
        assert_ne!(encoder.vector(&states, "谢谢"), encoder.vector(&states, "不行"), "the words count");
    }

    #[test]
    fn extreme_states_saturate_and_no_number_is_zero() {
        let encoder = encoder();
        let huge = encoder.vector(&[1e30; 4], "");
        assert!(huge.as_slice()[CLASSES..].iter().all(|&steps| steps == 127));
        let none = encoder.vector(&[f32::NAN; 4], "");
        assert!(none.as_slice()[CLASSES..].iter().all(|&steps| steps == 0));
    }

    #[test]
    fn pooling_leaves_the_padding_out() {
        let hidden = Tensor::from_slice(&[1.0_f32, 3.0, 100.0, 5.0, -9.0, 7.0]).view([2, 3, 1, 1]);
        let mask = Tensor::from_slice(&[1_i64, 1, 0, 1, 0, 0]).view([2, 3]);
        assert_eq!(pooled(&hidden, &mask, 2).expect("pools"), [[2.0], [5.0]]);
    }
}
