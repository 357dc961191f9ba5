//! The sentiment head: a bidirectional LSTM over the encoder's token states.
//!
//! Learned mix of encoder layers → BiLSTM → masked mean and maximum over time → dense layer → one logit per label. Each direction is an LSTM of its
//! own, and the reverse one reads every row turned around within its own tokens, so both meet the padding only
//! after the last token; pooling leaves the padding out. Padding therefore never changes a result.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::error::{InferenceError, Result, malformed, read_file};
use crate::weights::{WeightFile, serialize_half, sha256_hex};

/// The head shipped with this crate, see `models/MODEL_CARD.md`.
const BUILT_IN: &[u8] = include_bytes!("../models/sentiment.safetensors");

/// Key of the metadata in the safetensors header: one JSON object, because the header's own map has no order.
const METADATA_KEY: &str = "contactflow_head";

/// What a head file says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeadMetadata {
    /// Name of the head, the first part of the model id, such as `sentiment`.
    pub name: String,
    /// Labels in the order of the logits.
    pub labels: Vec<String>,
    /// Size of the encoder's token vectors.
    pub input_size: i64,
    /// Encoder layers whose states the head mixes, increasing; see [`Encoder::forward_layers`](crate::Encoder::forward_layers).
    pub encoder_layers: Vec<i64>,
    /// Units of the LSTM, per direction.
    pub lstm_hidden_size: i64,
    /// Name of the encoder the head was trained on, for people.
    pub encoder: String,
    /// SHA-256 of that encoder's `model.safetensors`, lower-case hexadecimal.
    pub encoder_sha256: String,
    /// Logits are divided by this before the softmax, so that probabilities are calibrated; positive.
    pub temperature: f64,
}

/// Weights of one LSTM direction, in the layout of `torch.nn.LSTM` (gates input, forget, cell, output).
#[derive(Debug)]
struct Direction([Tensor; 4]);

/// Parameter names of a direction, in the order LibTorch takes them.
const DIRECTION_PARAMETERS: [&str; 4] = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"];

/// A classifier over the encoder's token states.
#[derive(Debug)]
pub struct Head {
    metadata: HeadMetadata,
    sha256: String,
    /// One number per layer; their softmax is the layers' share in the mix.
    layer_mix: Tensor,
    forward: Direction,
    reverse: Direction,
    classifier_weight: Tensor,
    classifier_bias: Tensor,
}

/// Names and shapes of a head's parameters, in file order.
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

impl Head {
    /// The sentiment head shipped with this crate, on `device`.
    ///
    /// # Errors
    /// LibTorch's, such as no memory on `device`.
    pub fn built_in(device: Device) -> Result<Self> {
        Self::from_bytes(Path::new("built-in head"), BUILT_IN, device)
    }

    /// Loads a head file written by [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// The file is missing or malformed; a tensor is missing or of the wrong shape (named, with shapes).
    pub fn load(path: &Path, device: Device) -> Result<Self> {
        let bytes =
            read_file(path, "`contactflow train` writes head files; leave the setting out for the built-in head")?;
        Self::from_bytes(path, &bytes, device)
    }

    /// Parses a head file; `path` only names it in errors.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_bytes(path: &Path, bytes: &[u8], device: Device) -> Result<Self> {
        let file = WeightFile::parse(path, bytes)?;
        let json = file.metadata(METADATA_KEY)?;
        let metadata: HeadMetadata = serde_json::from_str(json).map_err(|error| malformed(path, error))?;
        metadata.check().map_err(|reason| malformed(path, reason))?;
        let mut parameters = Vec::new();
        for (name, shape) in parameter_shapes(&metadata) {
            parameters.push(file.tensor(&[&name], &shape, device)?);
        }
        Self::from_parameters(metadata, parameters, sha256_hex(bytes))
    }

    /// Assembles a head from parameters in the order of [`parameter_shapes`]; the tensors are shared, not copied.
    pub(crate) fn from_parameters(metadata: HeadMetadata, parameters: Vec<Tensor>, sha256: String) -> Result<Self> {
        let parameters: [Tensor; 11] = parameters.try_into().map_err(|found: Vec<Tensor>| {
            InferenceError::Config(format!("a head has 11 parameters, not {}", found.len()))
        })?;
        let [layer_mix, f0, f1, f2, f3, r0, r1, r2, r3, classifier_weight, classifier_bias] = parameters;
        let (forward, reverse) = (Direction([f0, f1, f2, f3]), Direction([r0, r1, r2, r3]));
        Ok(Self { metadata, sha256, layer_mix, forward, reverse, classifier_weight, classifier_bias })
    }

    /// The same weights under other metadata; the digest is that of no file until it is serialised.
    pub(crate) fn with_metadata(self, metadata: HeadMetadata) -> Self {
        Self { metadata, ..self }
    }

    /// Serialises the head with fp16 weights; the same head gives the same bytes.
    ///
    /// # Errors
    /// LibTorch's, when a parameter cannot be copied to memory.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let names = parameter_shapes(&self.metadata);
        let directions = self.forward.0.iter().chain(&self.reverse.0);
        let tensors =
            [&self.layer_mix].into_iter().chain(directions).chain([&self.classifier_weight, &self.classifier_bias]);
        let named: Vec<(&str, &Tensor)> = names.iter().map(|(name, _)| name.as_str()).zip(tensors).collect();
        let json = serde_json::to_string(&self.metadata).map_err(|error| InferenceError::Config(error.to_string()))?;
        serialize_half(&named, HashMap::from([(METADATA_KEY.to_owned(), json)]))
    }

    /// Logits `[batch, labels]` (not divided by the temperature) of `hidden` (fp32)
    /// `[batch, length, encoder_layers, input_size]`.
    ///
    /// `attention_mask` `[batch, length]` (int64) has its ones first in every row, at least one.
    ///
    /// # Errors
    /// [`InferenceError::Torch`] when shapes disagree.
    pub fn forward(&self, hidden: &Tensor, attention_mask: &Tensor) -> Result<Tensor> {
        self.forward_with_dropout(hidden, attention_mask, None)
    }

    /// As [`forward`](Self::forward); `pooled_scale` `[batch, 4 · lstm_hidden_size]` multiplies the pooled
    /// features: the dropout mask of training.
    pub(crate) fn forward_with_dropout(
        &self,
        hidden: &Tensor,
        attention_mask: &Tensor,
        pooled_scale: Option<&Tensor>,
    ) -> Result<Tensor> {
        let shares = self.layer_mix.f_softmax(0, Kind::Float)?.f_unsqueeze(1)?;
        let mixed = hidden.f_mul(&shares)?.f_sum_dim_intlist([2_i64].as_slice(), false, Kind::Float)?;
        let turned = reverse_rows(&mixed, attention_mask)?;
        let forward = self.run(&mixed, &self.forward)?;
        let reverse = self.run(&turned, &self.reverse)?;
        let states = Tensor::f_cat(&[forward, reverse], 2)?;
        let mut pooled = pool(&states, attention_mask)?;
        if let Some(scale) = pooled_scale {
            pooled = pooled.f_mul(scale)?;
        }
        Ok(pooled.f_linear(&self.classifier_weight, Some(&self.classifier_bias))?)
    }

    fn run(&self, input: &Tensor, direction: &Direction) -> Result<Tensor> {
        let size = [1, input.size3()?.0, self.metadata.lstm_hidden_size];
        let zero = Tensor::f_zeros(size, (Kind::Float, input.device()))?;
        let initial = [&zero, &zero];
        let weights: Vec<&Tensor> = direction.0.iter().collect();
        let (states, _, _) = input.f_lstm(&initial, &weights, true, 1, 0.0, false, false, true)?;
        Ok(states)
    }

    /// What the head file says about itself.
    pub fn metadata(&self) -> &HeadMetadata {
        &self.metadata
    }

    /// SHA-256 of the head file, lower-case hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Fails unless the head was trained on the encoder with these weights.
    ///
    /// # Errors
    /// [`InferenceError::EncoderMismatch`].
    pub fn check_encoder(&self, weights_sha256: &str) -> Result<()> {
        if self.metadata.encoder_sha256 == weights_sha256 {
            return Ok(());
        }
        let expected = format!("{} ({})", self.metadata.encoder, self.metadata.encoder_sha256);
        Err(InferenceError::EncoderMismatch { expected, found: weights_sha256.to_owned() })
    }
}

impl HeadMetadata {
    fn check(&self) -> std::result::Result<(), String> {
        if self.input_size < 1 || self.lstm_hidden_size < 1 || self.labels.is_empty() || self.encoder_layers.is_empty()
        {
            return Err("its metadata must name sizes of at least 1, an encoder layer and a label".to_owned());
        }
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return Err(format!("its temperature is {}, not a positive number", self.temperature));
        }
        Ok(())
    }
}

/// Each row of `input` `[batch, length, size]` with its tokens in reverse order and its padding where it was.
fn reverse_rows(input: &Tensor, attention_mask: &Tensor) -> Result<Tensor> {
    let (_, length, _) = input.size3()?;
    let positions = Tensor::f_arange(length, (Kind::Int64, input.device()))?.f_unsqueeze(0)?;
    let counts = attention_mask.f_sum_dim_intlist([1_i64].as_slice(), true, Kind::Int64)?;
    let mirrored = counts.f_sub_scalar(1)?.f_sub(&positions)?;
    let source = mirrored.f_where_self(&attention_mask.f_gt(0)?, &positions)?;
    Ok(input.f_gather(1, &source.f_unsqueeze(2)?.f_expand_as(input)?, false)?)
}

/// Mean and maximum over the tokens: `[batch, length, size]` → `[batch, 2 · size]`.
fn pool(states: &Tensor, attention_mask: &Tensor) -> Result<Tensor> {
    let mask = attention_mask.f_unsqueeze(2)?.f_to_kind(Kind::Float)?;
    let counts = mask.f_sum_dim_intlist([1_i64].as_slice(), false, Kind::Float)?;
    let mean = states.f_mul(&mask)?.f_sum_dim_intlist([1_i64].as_slice(), false, Kind::Float)?.f_div(&counts)?;
    let maximum = states.f_masked_fill(&mask.f_eq(0.0)?, f64::from(f32::MIN))?.f_amax([1_i64].as_slice(), false)?;
    Ok(Tensor::f_cat(&[mean, maximum], 1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(head: &Head, length: i64) -> Tensor {
        let metadata = head.metadata();
        let count = length * metadata.encoder_layers.len() as i64 * metadata.input_size;
        // Any numbers that do not repeat.
        let values = Tensor::arange(count, (Kind::Float, Device::Cpu)).g_mul_scalar(0.7).sin();
        values.view([1, length, metadata.encoder_layers.len() as i64, metadata.input_size])
    }

    fn logits(head: &Head, hidden: &Tensor, mask: &[i64]) -> Vec<f32> {
        let mask = Tensor::from_slice(mask).unsqueeze(0);
        Vec::try_from(tch::no_grad(|| head.forward(hidden, &mask)).expect("forward").squeeze_dim(0)).expect("floats")
    }

    #[test]
    fn padding_of_any_length_and_content_changes_nothing() {
        let head = Head::built_in(Device::Cpu).expect("head");
        let text = states(&head, 5);
        let alone = logits(&head, &text, &[1; 5]);
        for (padding, content) in [(1, 0.0), (4, 100.0), (11, -3.0)] {
            let tail = states(&head, padding).full_like(content);
            let mask = [vec![1; 5], vec![0; padding as usize]].concat();
            let padded = logits(&head, &Tensor::cat(&[&text, &tail], 1), &mask);
            let largest = alone.iter().zip(&padded).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(largest < 1e-5, "{padding} rows of padding move a logit by {largest}");
        }
    }

    #[test]
    fn each_direction_reads_its_own_way() {
        let head = Head::built_in(Device::Cpu).expect("head");
        let text = states(&head, 5);
        let difference = |other: &Tensor| {
            let (a, b) = (logits(&head, &text, &[1; 5]), logits(&head, other, &[1; 5]));
            a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        assert!(difference(&text.flip([1])) > 1e-3, "the order of the tokens matters");
        let mask = Tensor::from_slice(&[1_i64, 1, 1, 0]).unsqueeze(0);
        let row = Tensor::from_slice(&[1.0_f32, 2.0, 3.0, 9.0]).view([1, 4, 1]);
        let turned = reverse_rows(&row, &mask).expect("turns");
        assert_eq!(Vec::<f32>::try_from(turned.flatten(0, -1)).expect("floats"), [3.0, 2.0, 1.0, 9.0]);
    }

    #[test]
    fn the_file_round_trip_keeps_every_bit() {
        let head = Head::built_in(Device::Cpu).expect("head");
        let bytes = head.to_bytes().expect("bytes");
        let again = Head::from_bytes(Path::new("again"), &bytes, Device::Cpu).expect("parses");
        assert_eq!(again.to_bytes().expect("bytes"), bytes);
        assert_eq!(again.metadata(), head.metadata());
        assert!(bytes.len() < 1_900_000);
    }
}
