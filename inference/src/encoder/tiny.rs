//! Small encoders for tests.

use std::collections::HashMap;
use std::path::Path;

use serde_json::json;
use tch::{Device, Kind, Tensor};

use crate::encoder::{Encoder, EncoderConfig};
use crate::error::Result;
use crate::weights::{StoredTensor, WeightFile, serialize};

/// Sizes of an encoder.
#[derive(Clone, Copy)]
pub(super) struct TinySizes {
    pub(super) vocabulary: i64,
    pub(super) hidden: i64,
    pub(super) layers: i64,
    pub(super) heads: i64,
    pub(super) inner: i64,
    pub(super) positions: i64,
}

/// Numbers of a shape, up to `size`, that do not repeat.
pub(super) fn wave(shape: &[i64], phase: f64, size: f64) -> Tensor {
    let count: i64 = shape.iter().product();
    ((Tensor::arange(count, (Kind::Double, Device::Cpu)) * 0.7 + phase).sin() * size).to_kind(Kind::Float).view(shape)
}

/// An encoder of some weights.
pub(super) fn encoder(sizes: TinySizes) -> Encoder {
    let TinySizes { vocabulary, hidden, layers, heads, inner, positions } = sizes;
    let config = json!({
        "vocab_size": vocabulary, "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
        "intermediate_size": inner, "max_position_embeddings": positions, "type_vocab_size": 1,
    });
    let config = EncoderConfig::parse(Path::new("config.json"), config.to_string().as_bytes()).expect("config");
    let mut shapes: Vec<(String, Vec<i64>)> = [("word", vocabulary), ("position", positions), ("token_type", 1)]
        .map(|(of, count)| (format!("embeddings.{of}_embeddings.weight"), vec![count, hidden]))
        .to_vec();
    let mut norms = vec!["embeddings.LayerNorm".to_owned()];
    for layer in 0..layers {
        let name = |part: &str| format!("encoder.layer.{layer}.{part}");
        for (part, shape) in [
            ("attention.self.query", [hidden, hidden]),
            ("attention.self.key", [hidden, hidden]),
            ("attention.self.value", [hidden, hidden]),
            ("attention.output.dense", [hidden, hidden]),
            ("intermediate.dense", [inner, hidden]),
            ("output.dense", [hidden, inner]),
        ] {
            shapes.push((name(&format!("{part}.weight")), shape.to_vec()));
            shapes.push((name(&format!("{part}.bias")), vec![shape[0]]));
        }
        norms.extend([name("attention.output.LayerNorm"), name("output.LayerNorm")]);
    }
    shapes
        .extend(norms.iter().flat_map(|norm| ["weight", "bias"].map(|part| (format!("{norm}.{part}"), vec![hidden]))));
    let stored = shapes.iter().enumerate();
    let stored = stored.map(|(index, (name, shape))| StoredTensor::float(name, &wave(shape, index as f64, 0.4)));
    let bytes = serialize(stored.collect::<Result<_>>().expect("tensors"), HashMap::new()).expect("bytes");
    let file = WeightFile::parse(Path::new("model.safetensors"), &bytes).expect("parses");
    Encoder::from_weights(config, "weights".to_owned(), "config".to_owned(), &file, Device::Cpu).expect("encoder")
}
