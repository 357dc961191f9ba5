//! A random BERT of a few kilobytes in a Hugging Face folder, with defects on request.

use std::collections::HashMap;
use std::path::Path;

use contactflow_inference::{LabelledText, ModelConfig, TrainOptions};
use contactflow_schemas::prediction::{TextKey, TextRequest};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, TensorView};

/// Words the tokenizer knows. `poison` has no finite embedding; `beyond` is past the encoder's vocabulary.
pub(crate) const WORDS: [&str; 16] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "great", "bad", "awful", "table", "order", "today", "agent", "phone",
    "red", "poison", "beyond",
];
const VOCAB_SIZE: usize = 15;
const HIDDEN: usize = 32;
const INNER: usize = 48;
const POSITIONS: usize = 40;

/// What is unusual about a folder.
#[derive(Clone, Copy, Default)]
pub(crate) struct Defects<'a> {
    /// Put before every tensor name.
    pub(crate) prefix: &'a str,
    /// Store fp16.
    pub(crate) half: bool,
    /// Leave this tensor out.
    pub(crate) missing: Option<&'a str>,
    /// Store this tensor with one row less.
    pub(crate) short: Option<&'a str>,
}

fn shapes() -> Vec<(String, Vec<usize>)> {
    let mut shapes = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![VOCAB_SIZE, HIDDEN]),
        ("embeddings.position_embeddings.weight".to_owned(), vec![POSITIONS, HIDDEN]),
        ("embeddings.token_type_embeddings.weight".to_owned(), vec![2, HIDDEN]),
    ];
    let mut add = |name: String, shape: Vec<usize>| {
        let bias = vec![shape[0]];
        shapes.push((format!("{name}.weight"), shape));
        shapes.push((format!("{name}.bias"), bias));
    };
    add("embeddings.LayerNorm".to_owned(), vec![HIDDEN]);
    for layer in 0..2 {
        let name = |part: &str| format!("encoder.layer.{layer}.{part}");
        for part in ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"] {
            add(name(part), vec![HIDDEN, HIDDEN]);
        }
        add(name("attention.output.LayerNorm"), vec![HIDDEN]);
        add(name("intermediate.dense"), vec![INNER, HIDDEN]);
        add(name("output.dense"), vec![HIDDEN, INNER]);
        add(name("output.LayerNorm"), vec![HIDDEN]);
    }
    shapes
}

fn half_bits(value: f32) -> u16 {
    // Normal numbers only, rounded towards zero: enough for weights between 2⁻¹⁴ and 1.
    let bits = value.to_bits();
    let exponent = ((bits >> 23) & 0xff) as i32 - 112;
    if exponent <= 0 {
        0
    } else {
        ((bits >> 16) & 0x8000) as u16 | (exponent as u16) << 10 | ((bits >> 13) & 0x3ff) as u16
    }
}

fn values(name: &str, shape: &[usize], rng: &mut ChaCha8Rng) -> Vec<f32> {
    let scale = if name.contains("embeddings.weight") { 0.8 } else { 0.3 };
    let mut values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|_| rng.random_range(-scale..scale)).collect();
    if name.ends_with("LayerNorm.weight") {
        values.fill(1.0);
    }
    if name.contains("word_embeddings") {
        values[14 * HIDDEN..15 * HIDDEN].fill(f32::NAN);
    }
    values
}

/// Writes the three files of a tiny encoder into `folder`.
pub(crate) fn write(folder: &Path, defects: Defects<'_>) {
    let config = format!(
        r#"{{"model_type":"bert","vocab_size":{VOCAB_SIZE},"hidden_size":{HIDDEN},"num_hidden_layers":2,"num_attention_heads":4,
        "intermediate_size":{INNER},"max_position_embeddings":{POSITIONS},"type_vocab_size":2,"hidden_act":"gelu"}}"#
    );
    std::fs::write(folder.join("config.json"), config).expect("write");
    let vocabulary: HashMap<&str, usize> = WORDS.iter().enumerate().map(|(id, &word)| (word, id)).collect();
    let tokenizer = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocabulary},
    });
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).expect("write");
    write_weights(folder, defects);
}

fn write_weights(folder: &Path, defects: Defects<'_>) {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut stored = Vec::new();
    for (name, mut shape) in shapes() {
        let mut values = values(&name, &shape, &mut rng);
        if defects.missing == Some(name.as_str()) {
            continue;
        }
        if defects.short == Some(name.as_str()) {
            shape[0] -= 1;
            values.truncate(shape.iter().product());
        }
        let bytes: Vec<u8> = if defects.half {
            values.iter().flat_map(|&value| half_bits(value).to_le_bytes()).collect()
        } else {
            values.iter().flat_map(|value| value.to_le_bytes()).collect()
        };
        stored.push((format!("{}{name}", defects.prefix), shape, bytes));
    }
    let kind = if defects.half { Dtype::F16 } else { Dtype::F32 };
    let views =
        stored.iter().map(|(name, shape, bytes)| (name, TensorView::new(kind, shape.clone(), bytes).expect("view")));
    let bytes = safetensors::tensor::serialize(views, None).expect("serialise");
    std::fs::write(folder.join("model.safetensors"), bytes).expect("write");
}

/// Settings for the encoder in `folder`.
pub(crate) fn config(folder: &Path) -> ModelConfig {
    ModelConfig { max_tokens: 24, batch_tokens: 96, ..ModelConfig::new(folder) }
}

/// Texts of three classes that differ by one word.
pub(crate) fn labelled() -> Vec<LabelledText> {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let row = |index: usize| {
        let (label, words): (&str, &[&str]) = match index % 3 {
            0 => ("negative", &["bad", "awful"]),
            1 => ("neutral", &["red"]),
            _ => ("positive", &["good", "great"]),
        };
        let mut text: Vec<&str> = (0..rng.random_range(1..9)).map(|_| WORDS[rng.random_range(8..13)]).collect();
        let place = rng.random_range(0..=text.len());
        text.insert(place, words[rng.random_range(0..words.len())]);
        LabelledText { text: text.join(" "), label: label.to_owned(), lang: "en".to_owned() }
    };
    (0..600).map(row).collect()
}

/// Options that fit a tiny head on the encoder in `folder` within seconds.
pub(crate) fn train_options(folder: &Path) -> TrainOptions {
    TrainOptions {
        model: config(folder),
        epochs_max: 12,
        batch_size: 16,
        learning_rate: 1e-2,
        dropout: 0.1,
        lstm_hidden_size: 16,
        ..TrainOptions::default()
    }
}

/// A request for `text`.
pub(crate) fn request(text: &str) -> TextRequest {
    TextRequest { key: TextKey::of(text), text: text.to_owned() }
}
