//! The sequence model: a causal LSTM whose states vote on the satisfaction, weighed by attention.
//!
//! Every turn casts a vote (three logits) from its own features and the LSTM's state after it; the logits after turn t
//! are the votes of the turns up to t, weighed by attention from t. So the weights say literally which turns drove
//! the score. Nothing looks ahead: what follows a turn, padding included, never changes what is read at it.

use contactflow_schemas::facts::Speaker;
use contactflow_schemas::prediction::{TURNS_MAX, TurnInput};
use tch::{Device, Kind, Tensor};

use crate::conversation::CLASSES;
use crate::conversation::turn_encoder::TurnEncoder;
use crate::error::{InferenceError, Result};

/// Distances that have an attention bias of their own: the turn itself, the one before, … and all farther ones.
const DISTANCES: i64 = 8;
/// Features of a turn beside its vector: customer, agent, length, gap, customer turns since an agent's.
const TURN_FEATURES: usize = 5;

/// Sizes of the sequence model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NetworkSizes {
    /// Features of a turn, see [`features`].
    pub(crate) input: i64,
    /// Units of the LSTM.
    pub(crate) hidden: i64,
}

impl NetworkSizes {
    /// Sizes for turn vectors of `vector` components and `hidden` LSTM units.
    pub(crate) fn new(vector: usize, hidden: i64) -> Self {
        Self { input: (vector + TURN_FEATURES) as i64, hidden }
    }

    /// Names and shapes of the parameters, in file order.
    pub(crate) fn parameters(self) -> [(&'static str, Vec<i64>); 10] {
        let Self { input, hidden } = self;
        let classes = CLASSES as i64;
        [
            ("lstm.weight_ih", vec![4 * hidden, input]),
            ("lstm.weight_hh", vec![4 * hidden, hidden]),
            ("lstm.bias_ih", vec![4 * hidden]),
            ("lstm.bias_hh", vec![4 * hidden]),
            ("attention.query", vec![hidden, hidden]),
            ("attention.key", vec![hidden, hidden]),
            ("attention.distance", vec![DISTANCES]),
            ("vote.input", vec![classes, input]),
            ("vote.state", vec![classes, hidden]),
            ("vote.bias", vec![classes]),
        ]
    }
}

/// What the network says after every turn.
pub(crate) struct Answer {
    /// `[batch, turns, 3]`.
    pub(crate) logits: Tensor,
    /// `[batch, turns, turns]`: the weight of turn s (last dimension) in the logits after turn t; rows sum to 1.
    pub(crate) attention: Tensor,
}

/// Factors of the training's dropout; see [`Network::forward`].
pub(crate) struct Dropout {
    /// `[batch, 1, input]`, on the features that the LSTM reads.
    pub(crate) input: Tensor,
    /// `[batch, 1, hidden]`, on its states.
    pub(crate) state: Tensor,
}

/// One sequence model.
#[derive(Debug)]
pub(crate) struct Network {
    sizes: NetworkSizes,
    parameters: Vec<Tensor>,
}

impl Network {
    /// A network of `parameters` in the order of [`NetworkSizes::parameters`]; they are shared, not copied.
    pub(crate) fn new(sizes: NetworkSizes, parameters: Vec<Tensor>) -> Result<Self> {
        let expected = sizes.parameters().len();
        if parameters.len() == expected {
            return Ok(Self { sizes, parameters });
        }
        Err(InferenceError::Config(format!("a network has {expected} parameters, not {}", parameters.len())))
    }

    /// The parameters in the order of [`NetworkSizes::parameters`].
    pub(crate) fn parameters(&self) -> &[Tensor] {
        &self.parameters
    }

    fn parameter(&self, name: &str) -> Result<&Tensor> {
        let names = self.sizes.parameters();
        let position = names.iter().position(|(known, _)| *known == name);
        let found = position.and_then(|index| self.parameters.get(index));
        found.ok_or_else(|| InferenceError::Config(format!("a network has no parameter `{name}`")))
    }

    /// Logits and attention after every turn of `input` `[batch, turns, input]` (fp32), whose padding comes last.
    ///
    /// # Errors
    /// LibTorch's, when shapes disagree.
    pub(crate) fn forward(&self, input: &Tensor, dropout: Option<&Dropout>) -> Result<Answer> {
        let read = dropout.map_or_else(|| Ok(input.shallow_clone()), |factors| input.f_mul(&factors.input))?;
        let mut states = self.states(&read)?;
        if let Some(factors) = dropout {
            states = states.f_mul(&factors.state)?;
        }
        let attention = self.attention(&states)?;
        let own = input.f_linear(self.parameter("vote.input")?, Some(self.parameter("vote.bias")?))?;
        let votes = own.f_add(&states.f_linear(self.parameter("vote.state")?, None::<&Tensor>)?)?;
        Ok(Answer { logits: attention.f_matmul(&votes)?, attention })
    }

    fn states(&self, input: &Tensor) -> Result<Tensor> {
        let zero = Tensor::f_zeros([1, input.size3()?.0, self.sizes.hidden], (Kind::Float, input.device()))?;
        let weights: Vec<&Tensor> = self.parameters.iter().take(4).collect();
        let (states, _, _) = input.f_lstm(&[&zero, &zero], &weights, true, 1, 0.0, false, false, true)?;
        Ok(states)
    }

    fn attention(&self, states: &Tensor) -> Result<Tensor> {
        let (_, turns, _) = states.size3()?;
        let query = states.f_linear(self.parameter("attention.query")?, None::<&Tensor>)?;
        let key = states.f_linear(self.parameter("attention.key")?, None::<&Tensor>)?;
        let similarity = query.f_matmul(&key.f_transpose(1, 2)?)?.f_div_scalar((self.sizes.hidden as f64).sqrt())?;
        let places = Tensor::f_arange(turns, (Kind::Int64, states.device()))?;
        let distance = places.f_unsqueeze(1)?.f_sub(&places.f_unsqueeze(0)?)?;
        let nearness = self.parameter("attention.distance")?.f_take(&distance.f_clamp(0, DISTANCES - 1)?)?;
        let later = distance.f_lt(0)?;
        let scores = similarity.f_add(&nearness)?.f_masked_fill(&later, f64::NEG_INFINITY)?;
        Ok(scores.f_softmax(-1, Kind::Float)?)
    }
}

/// Features `[length · input]` of the last [`TURNS_MAX`] of `turns`, followed by zeros up to `length` turns.
///
/// Of the vector, a customer's turn shows the logits for customers, an agent's those for agents; the components show
/// in both.
///
/// A turn with an empty vector (its text failed, or went to an encoder without such a head) shows nothing of its text.
///
/// # Errors
/// [`InferenceError::Config`] when a vector has another size than the encoder's: it was made by another head.
pub(crate) fn features(encoder: &TurnEncoder, turns: &[TurnInput], length: usize) -> Result<Vec<f32>> {
    let turns = last_turns(turns);
    let input = encoder.sizes.vector() + TURN_FEATURES;
    let mut features = Vec::with_capacity(length * input);
    let mut since_agent = 0_u32;
    for turn in turns {
        let expected = encoder.sizes.vector();
        let found = turn.vector.as_slice().len();
        if found != expected && found > 0 {
            let reason = format!("a turn's vector has {found} components, this conversation head reads {expected}");
            return Err(InferenceError::Config(reason));
        }
        let is_customer = turn.speaker == Speaker::Customer;
        since_agent = if is_customer { since_agent + 1 } else { 0 };
        let shown = |component: usize| match component {
            0..6 => is_customer,
            6..9 => !is_customer,
            _ => true,
        };
        let mut values = encoder.values(&turn.vector);
        values.resize(expected, 0.0);
        let values = values.into_iter().enumerate();
        features.extend(values.map(|(component, value)| if shown(component) { value } else { 0.0 }));
        features.extend([f32::from(u8::from(is_customer)), f32::from(u8::from(!is_customer))]);
        features.push((1.0 + turn.chars as f32).ln() / 5.0);
        features.push((1.0 + turn.gap_ms.max(0) as f32 / 1000.0).ln() / 10.0);
        features.push((1.0 + since_agent as f32).ln());
    }
    features.resize(length * input, 0.0);
    Ok(features)
}

/// The turns that a network sees of a conversation.
pub(crate) fn last_turns(turns: &[TurnInput]) -> &[TurnInput] {
    &turns[turns.len().saturating_sub(TURNS_MAX)..]
}

/// Where the score of `turns` is read: the last customer's with a vector, among those the network sees.
pub(crate) fn rated_turn(turns: &[TurnInput]) -> Option<usize> {
    let counts = |turn: &TurnInput| turn.speaker == Speaker::Customer && !turn.vector.as_slice().is_empty();
    last_turns(turns).iter().rposition(counts)
}

/// Rows of features as a tensor `[rows, length, input]` on `device`.
pub(crate) fn batch(rows: &[Vec<f32>], length: usize, device: Device) -> Result<Tensor> {
    let flat = rows.concat();
    let size = [rows.len() as i64, length as i64, -1];
    Ok(Tensor::f_from_slice(&flat)?.f_view(size)?.f_to_device(device)?)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A network of numbers that do not repeat.
    pub(crate) fn network(sizes: NetworkSizes) -> Network {
        let parameter = |(index, (_, shape)): (usize, (&str, Vec<i64>))| {
            let count = shape.iter().product::<i64>();
            let wave = Tensor::arange(count, (Kind::Float, Device::Cpu)) * 0.7 + index as f64;
            wave.sin().view(&shape[..]) * 0.5
        };
        let parameters = sizes.parameters().into_iter().enumerate().map(parameter).collect();
        Network::new(sizes, parameters).expect("network")
    }

    fn run(network: &Network, input: &Tensor) -> (Vec<f64>, Vec<f64>) {
        let answer = tch::no_grad(|| network.forward(input, None)).expect("forward");
        let flat = |tensor: &Tensor| Vec::try_from(tensor.to_kind(Kind::Double).flatten(0, -1)).expect("numbers");
        (flat(&answer.logits), flat(&answer.attention))
    }

    #[test]
    fn nothing_looks_ahead() {
        let network = network(NetworkSizes { input: 3, hidden: 4 });
        let turns = (Tensor::arange(15, (Kind::Float, Device::Cpu)) * 0.3).cos().view([1, 5, 3]);
        let (whole, attention) = run(&network, &turns);
        for count in 1..=5_i64 {
            let (part, _) = run(&network, &turns.narrow(1, 0, count));
            for (a, b) in part.iter().zip(&whole) {
                assert!((a - b).abs() < 1e-6, "{count} turns");
            }
        }
        for (turn, row) in attention.chunks(5).enumerate() {
            assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-6);
            assert!(row[turn + 1..].iter().all(|&weight| weight == 0.0) && row[..=turn].iter().all(|&w| w > 0.0));
        }
    }

    #[test]
    fn logits_are_the_votes_weighed_by_attention() {
        // Without states every turn votes by its own features alone, worked out here.
        let sizes = NetworkSizes { input: 2, hidden: 3 };
        let network = network(sizes);
        let zeroed = |(name, parameter): ((&str, Vec<i64>), &Tensor)| {
            if name.0 == "vote.state" { parameter.zeros_like() } else { parameter.shallow_clone() }
        };
        let parameters: Vec<Tensor> = sizes.parameters().into_iter().zip(network.parameters()).map(zeroed).collect();
        let flat =
            |index: usize| Vec::<f64>::try_from(parameters[index].to_kind(Kind::Double).flatten(0, -1)).expect("");
        let (weight, bias) = (flat(7), flat(9));
        let network = Network::new(sizes, parameters).expect("network");
        let values = [0.5_f32, -1.0, 2.0, 0.25, -0.75, 1.5];
        let (logits, attention) = run(&network, &Tensor::from_slice(&values).view([1, 3, 2]));
        for turn in 0..3 {
            for class in 0..CLASSES {
                let vote = |seen: usize| {
                    let own = (0..2).map(|i| weight[class * 2 + i] * f64::from(values[seen * 2 + i])).sum::<f64>();
                    own + bias[class]
                };
                let expected: f64 = (0..3).map(|seen| attention[turn * 3 + seen] * vote(seen)).sum();
                assert!((logits[turn * CLASSES + class] - expected).abs() < 1e-5);
            }
        }
    }
}
