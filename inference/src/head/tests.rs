use super::recurrent::reverse_rows;
use super::*;
use crate::language::Language;
use contactflow_schemas::prediction::TextHead;
use tch::Kind;

fn built_in() -> Head {
    Head::built_in(TextHead::Sentiment, Language::En, Device::Cpu).expect("loads").expect("there is one")
}

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
    let head = built_in();
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
    let head = built_in();
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
    let head = built_in();
    let bytes = head.to_bytes().expect("bytes");
    let again = Head::from_bytes(Path::new("again"), &bytes, Device::Cpu).expect("parses");
    assert_eq!(again.to_bytes().expect("bytes"), bytes);
    assert_eq!(again.metadata(), head.metadata());
    assert!(bytes.len() < 4_000_000);
}
