//! The encoders against other implementations: the default one against `transformers` on PyTorch
//! (`fixtures/make_reference.py`), the multilingual one against numpy (`fixtures/make_multilingual_reference.py`).
//!
//! Catches: a wrong tensor in a wrong place, a missing mask, another gelu, another epsilon, other token ids.

use std::path::Path;

use contactflow_inference::{
    BatchInput, BatchShape, Device, Encoder, EncoderOutput, MultilingualConfig, TextTokenizer, TokenizedText,
    default_encoder_dir,
};
use safetensors::SafeTensors;
use serde::Deserialize;

const TOLERANCE: f32 = 1e-4;

#[derive(Deserialize)]
struct Case {
    name: String,
    text: String,
    max_tokens: usize,
}

struct Reference {
    bytes: Vec<u8>,
    cases: Vec<Case>,
}

impl Reference {
    fn load(file: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(file);
        let bytes = std::fs::read(path).expect("the fixture is committed");
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("safetensors");
        let texts = header.metadata().as_ref().and_then(|map| map.get("texts")).expect("texts").clone();
        Self { bytes, cases: serde_json::from_str(&texts).expect("cases") }
    }

    fn floats(&self, name: &str) -> Option<Vec<f32>> {
        let tensors = SafeTensors::deserialize(&self.bytes).expect("safetensors");
        let view = tensors.tensor(name).ok()?;
        Some(view.data().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
    }

    fn integers(&self, name: &str) -> Option<Vec<i64>> {
        let tensors = SafeTensors::deserialize(&self.bytes).expect("safetensors");
        let view = tensors.tensor(name).ok()?;
        Some(view.data().as_chunks::<8>().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect())
    }
}

/// Hidden states `[tokens][hidden]` of `text`, computed in a batch of `shape` with padding behind and below.
fn hidden_states(encoder: &Encoder, text: &TokenizedText, shape: BatchShape) -> Vec<Vec<f32>> {
    let input = BatchInput::new(&[text], shape, encoder.config().pad_token_id, encoder.device()).expect("fits");
    let hidden = encoder.forward(&input.input_ids, &input.attention_mask).expect("forward");
    let mut flat = vec![0.0; hidden.numel()];
    hidden.f_copy_data(&mut flat, hidden.numel()).expect("copy");
    flat.chunks_exact(encoder.config().hidden_size as usize).take(text.ids.len()).map(<[f32]>::to_vec).collect()
}

fn assert_close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance, "{what}, element {index}: {a}, the reference has {b}");
    }
}

#[test]
fn hidden_states_equal_the_reference_element_by_element() {
    let reference = Reference::load("reference.safetensors");
    assert!(reference.cases.len() >= 12);
    assert_states(&reference, &default_encoder_dir());
}

#[test]
fn multilingual_hidden_states_equal_the_reference_element_by_element() {
    let reference = Reference::load("multilingual.safetensors");
    assert!(reference.cases.len() >= 10);
    assert_states(&reference, &MultilingualConfig::default().encoder_dir);
}

#[test]
fn what_is_asked_for_is_made_of_the_token_states() {
    let folder = default_encoder_dir();
    let encoder = Encoder::load(&folder, None, Device::Cpu).expect("deploy/setup.sh provides the encoder");
    let text = TextTokenizer::load(&folder, 128).expect("tokenizer").tokenize("where is my refund").expect("tokens");
    let shape = BatchShape { rows: 2, length: 12 };
    let states = hidden_states(&encoder, &text, shape);
    let input = BatchInput::new(&[&text], shape, encoder.config().pad_token_id, Device::Cpu).expect("fits");
    let encode = |output| encoder.encode(&input.input_ids, &input.attention_mask, output).expect("encodes");
    let first = |output| Vec::<f32>::try_from(encode(output).get(0)).expect("floats");
    assert_eq!(encode(EncoderOutput::Tokens).size(), [2, 12, encoder.config().hidden_size]);
    assert_eq!(first(EncoderOutput::Cls), states[0]);
    let mean: Vec<f32> = (0..states[0].len())
        .map(|unit| states.iter().map(|state| state[unit]).sum::<f32>() / states.len() as f32)
        .collect();
    assert_close(&first(EncoderOutput::Mean), &mean, 1e-5, "mean over the tokens, padding left out");
}

fn assert_states(reference: &Reference, folder: &Path) {
    let encoder =
        Encoder::load(folder, None, Device::Cpu).expect("deploy/setup.sh --multilingual provides both encoders");
    for (index, case) in reference.cases.iter().enumerate() {
        let tokenizer = TextTokenizer::load(folder, case.max_tokens).expect("tokenizer");
        let text = tokenizer.tokenize(&case.text).expect("tokens");
        let ids = reference.integers(&format!("{index}.input_ids")).expect("ids");
        assert_eq!(text.ids.iter().map(|&id| i64::from(id)).collect::<Vec<_>>(), ids, "token ids of {}", case.name);
        let expected = reference.floats(&format!("{index}.hidden")).expect("hidden");
        let positions = reference.integers(&format!("{index}.positions"));
        for padding in [0, 7] {
            let shape = BatchShape { rows: 1 + padding, length: (ids.len() + padding).min(512) };
            let hidden = hidden_states(&encoder, &text, shape);
            let stored: Vec<f32> = match &positions {
                Some(positions) => positions.iter().flat_map(|&position| hidden[position as usize].clone()).collect(),
                None => hidden.concat(),
            };
            assert_close(&stored, &expected, TOLERANCE, &format!("{} with padding {padding}", case.name));
            if let Some(sums) = reference.floats(&format!("{index}.row_sums")) {
                let found: Vec<f32> = hidden.iter().map(|row| row.iter().sum()).collect();
                assert_close(&found, &sums, 10.0 * TOLERANCE, &format!("row sums of {}", case.name));
            }
        }
    }
}
