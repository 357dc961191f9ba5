//! Loading, training and scoring with a tiny model.
//!
//! Catches: errors that do not name the tensor, prefixed or fp16 weights read wrongly, one bad text that takes others
//! with it, training that does not learn or cannot be repeated, and heads put on the wrong encoder.

mod tiny_model;

use std::path::Path;
use std::time::Duration;

use contactflow_inference::{
    Device, DevicePool, Encoder, EvaluateOptions, InferenceError, ModelConfig, Placement, PoolLimits, Precision,
    Scorer, TrainOptions, TrainReport, evaluate, train, train_rows,
};
use contactflow_schemas::prediction::{Outcome, SentimentLabel};
use tch::{Kind, Tensor};
use tempfile::TempDir;
use tiny_model::{Defects, labelled, request, train_options};

fn folder(defects: Defects<'_>) -> TempDir {
    let folder = tempfile::tempdir().expect("folder");
    tiny_model::write(folder.path(), defects);
    folder
}

fn encode(folder: &Path) -> Vec<f32> {
    let encoder = Encoder::load(folder, None, Device::Cpu).expect("loads");
    let ids = Tensor::from_slice(&[2_i64, 4, 8, 3]).view([1, 4]);
    let hidden = encoder.forward(&ids, &ids.ones_like()).expect("forward").to_kind(Kind::Float);
    Vec::try_from(hidden.flatten(0, -1)).expect("floats")
}

/// The largest difference between two lists of numbers.
fn largest_difference(one: &[f32], other: &[f32]) -> f32 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn fit(options: &TrainOptions) -> (Vec<u8>, TrainReport) {
    // LibTorch's threads wait for each other actively: on a busy machine several are far slower than one.
    tch::set_num_threads(1);
    train_rows(labelled(), options, Device::Cpu, &mut |_| ()).expect("trains")
}

#[test]
fn padding_left_out_and_padding_computed_give_the_same() {
    let folder = folder(Defects::default());
    let encoder = Encoder::load(folder.path(), None, Device::Cpu).expect("loads");
    let ids = Tensor::from_slice(&[2_i64, 4, 8, 3, 2, 5, 3, 0, 2, 3, 0, 0]).view([3, 4]);
    let mask = Tensor::from_slice(&[1_i64, 1, 1, 1, 1, 1, 1, 0, 1, 1, 0, 0]).view([3, 4]);
    let tokens = |hidden: Tensor| -> Vec<f32> {
        let hidden = hidden.narrow(0, 0, 3) * mask.unsqueeze(2);
        Vec::try_from(hidden.flatten(0, -1)).expect("floats")
    };
    let packed = tokens(encoder.forward(&ids, &mask).expect("forward"));
    // A row with a gap keeps the whole batch from being packed.
    let gap = Tensor::from_slice(&[1_i64, 0, 1, 1]).view([1, 4]);
    let with_gap = [Tensor::cat(&[&ids, &ids.narrow(0, 0, 1)], 0), Tensor::cat(&[&mask, &gap], 0)];
    let padded = tokens(encoder.forward(&with_gap[0], &with_gap[1]).expect("forward"));
    assert!(largest_difference(&packed, &padded) < 1e-5);
}

#[test]
fn half_precision_is_close_and_a_profile_of_its_own() {
    let folder = folder(Defects::default());
    let exact = encode(folder.path());
    for (precision, tolerance) in [(Precision::Fp16, 0.02), (Precision::Bf16, 0.15)] {
        let encoder = Encoder::load(folder.path(), None, Device::Cpu).expect("loads");
        let encoder = encoder.with_precision(precision).expect("converts");
        let ids = Tensor::from_slice(&[2_i64, 4, 8, 3]).view([1, 4]);
        let hidden = encoder.forward(&ids, &ids.ones_like()).expect("forward");
        assert_eq!(hidden.kind(), Kind::Float, "heads compute in fp32");
        let rounded: Vec<f32> = Vec::try_from(hidden.flatten(0, -1)).expect("floats");
        let difference = largest_difference(&exact, &rounded);
        assert!(difference > 0.0 && difference < tolerance, "{precision:?} differs by {difference}");
    }
}

#[test]
fn a_missing_tensor_is_named_with_the_shape_it_should_have() {
    let name = "encoder.layer.1.output.dense.weight";
    let folder = folder(Defects { missing: Some(name), ..Defects::default() });
    let error = Encoder::load(folder.path(), None, Device::Cpu).expect_err("incomplete");
    assert!(matches!(error, InferenceError::MissingTensor { .. }), "{error:?}");
    let message = error.to_string();
    assert!(
        message.contains(name) && message.contains("[32, 48]") && message.contains("model.safetensors"),
        "{message}"
    );
}

#[test]
fn a_misshapen_tensor_is_named_with_both_shapes() {
    let folder = folder(Defects { short: Some("embeddings.position_embeddings.weight"), ..Defects::default() });
    let message = Encoder::load(folder.path(), None, Device::Cpu).expect_err("misshapen").to_string();
    for part in ["embeddings.position_embeddings.weight", "[39, 32]", "[40, 32]"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn prefixed_and_half_precision_weights_give_the_same_states() {
    let plain = encode(folder(Defects::default()).path());
    assert_eq!(encode(folder(Defects { prefix: "bert.", ..Defects::default() }).path()), plain);
    let half = encode(folder(Defects { half: true, ..Defects::default() }).path());
    let largest = half.iter().zip(&plain).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest > 0.0 && largest < 0.02, "{largest}");
}

#[test]
fn folders_that_cannot_be_used_say_why() {
    let empty = tempfile::tempdir().expect("folder");
    let load = |folder: &Path, hash| Encoder::load(folder, hash, Device::Cpu).expect_err("unusable").to_string();
    assert!(load(empty.path(), None).contains("config.json"));
    let folder = folder(Defects::default());
    let message = load(folder.path(), Some("00ff"));
    assert!(message.contains("SHA-256") && message.contains("00ff"), "{message}");
    let config = std::fs::read_to_string(folder.path().join("config.json")).expect("read");
    std::fs::write(folder.path().join("config.json"), config.replace("\"gelu\"", "\"relu\"")).expect("write");
    assert!(load(folder.path(), None).contains("relu"));
    std::fs::write(folder.path().join("config.json"), "{}").expect("write");
    assert!(load(folder.path(), None).contains("vocab_size"));
    tiny_model::write(folder.path(), Defects::default());
    std::fs::write(folder.path().join("model.safetensors"), b"no tensors").expect("write");
    assert!(load(folder.path(), None).contains("not a safetensors file"));
}

#[test]
fn training_learns_repeats_itself_and_survives_the_round_trip_through_files() {
    let folder = folder(Defects::default());
    let options = train_options(folder.path());
    let (bytes, report) = fit(&options);
    assert!(report.validation.accuracy >= 0.95, "{report:?}");
    assert_eq!((report.rows, report.validation.n + report.training_rows + report.rows_repeated), (600, 600));
    assert_eq!(report.validation_by_language["en"], report.validation);
    assert_eq!(fit(&options), (bytes.clone(), report.clone()), "same seed, same head");
    assert_ne!(bytes, fit(&TrainOptions { seed: 5, epochs_max: 1, ..options.clone() }).0, "another seed, another head");

    let (labels, head) = (folder.path().join("labels.ndjson"), folder.path().join("head.safetensors"));
    let line = |row: contactflow_inference::LabelledText| {
        format!("{}\n", serde_json::json!({"text": row.text, "label": row.label, "lang": row.lang}))
    };
    std::fs::write(&labels, labelled().into_iter().map(line).collect::<String>()).expect("write");
    let from_files = TrainOptions { inputs: vec![labels.clone()], output: Some(head.clone()), ..options.clone() };
    assert_eq!(train(&from_files, Device::Cpu, &mut |_| ()).expect("trains"), report);
    assert_eq!(std::fs::read(&head).expect("written"), bytes);

    let model = ModelConfig { head_file: Some(head), ..options.model };
    let evaluated = EvaluateOptions { model: model.clone(), inputs: vec![labels], language: Some("en".to_owned()) };
    let figures = evaluate(&evaluated, Device::Cpu, &mut |_| ()).expect("evaluates");
    assert!(figures.macro_f1 > 0.95 && figures.n == 600 && figures.failed == 0, "{figures:?}");
    let mut scorer = Scorer::load(&model, Device::Cpu).expect("loads");
    assert_eq!(scorer.model_id(), report.model_id);
    assert_eq!(figures.model_id, report.model_id);
    for (text, label) in [("order today bad", SentimentLabel::Negative), ("great phone", SentimentLabel::Positive)] {
        let Outcome::Scored(scores) = &scorer.score(&[request(text)])[0].outcome else { panic!("not scored") };
        let sentiment = scores.sentiment;
        assert_eq!(sentiment.label(), label, "{text}: {sentiment:?}");
    }
}

#[test]
fn a_text_the_model_fails_on_fails_alone_and_is_not_quoted() {
    let folder = folder(Defects::default());
    let options = TrainOptions { epochs_max: 1, ..train_options(folder.path()) };
    let head = folder.path().join("head.safetensors");
    std::fs::write(&head, fit(&options).0).expect("write");
    let mut scorer = Scorer::load(&ModelConfig { head_file: Some(head), ..options.model }, Device::Cpu).expect("loads");
    let texts = ["good table", "poison phone", "bad order", "beyond phone", "red"];
    let alone: Vec<Outcome> = texts.iter().map(|text| scorer.score(&[request(text)])[0].outcome.clone()).collect();
    let together = scorer.score(&texts.map(request));
    for (index, (prediction, alone)) in together.iter().zip(&alone).enumerate() {
        assert_eq!(prediction.key, request(texts[index]).key);
        assert_eq!(&prediction.outcome, alone, "{}", texts[index]);
        match &prediction.outcome {
            Outcome::Scored(_) => assert!(index % 2 == 0, "{}", texts[index]),
            Outcome::Failed(reason) => assert!(index % 2 == 1 && !reason.contains("phone"), "{reason}"),
        }
    }
    assert_eq!((scorer.stats().texts, scorer.stats().texts_failed), (10, 4));
    assert!(scorer.score(&[]).is_empty());
}

#[test]
fn device_threads_score_as_a_scorer_does() {
    let folder = folder(Defects::default());
    let options = TrainOptions { epochs_max: 1, ..train_options(folder.path()) };
    let head = folder.path().join("head.safetensors");
    std::fs::write(&head, fit(&options).0).expect("write");
    let config = ModelConfig { head_file: Some(head), ..options.model };
    let mut requests: Vec<_> = labelled().iter().take(60).map(|row| request(&row.text)).collect();
    requests.sort();
    let expected = Scorer::load(&config, Device::Cpu).expect("loads").score(&requests);
    let placement = Placement::parse("cpu:0,cpu:1", 0).expect("devices");
    let pool = DevicePool::start(&config, placement, PoolLimits::default()).expect("starts");
    for worker in 0..2 {
        let (wake, woken) = std::sync::mpsc::channel();
        let wake = Box::new(move || {
            let _ = wake.send(());
        });
        let mut handle = pool.handle(worker, wake);
        for chunk in requests.chunks(7) {
            handle.try_submit(chunk.to_vec()).expect("room");
        }
        let mut found = handle.drain();
        while handle.in_flight() > 0 {
            woken.recv_timeout(Duration::from_secs(20)).expect("woken");
            found.extend(handle.drain());
        }
        found.sort();
        let mut sorted = expected.clone();
        sorted.sort();
        assert_eq!(found, sorted);
    }
}

#[test]
fn a_head_is_refused_on_another_encoder_and_with_foreign_labels() {
    let folder = folder(Defects::default());
    let error = Scorer::load(&tiny_model::config(folder.path()), Device::Cpu)
        .expect_err("the built-in head is for another encoder");
    assert!(matches!(error, InferenceError::EncoderMismatch { .. }), "{error}");
    let too_long = ModelConfig { max_tokens: 41, ..tiny_model::config(folder.path()) };
    assert!(Scorer::load(&too_long, Device::Cpu).expect_err("too long").to_string().contains("3 to 40"));
    let mut foreign = labelled();
    foreign[0].label = "furious".to_owned();
    let message =
        train_rows(foreign, &train_options(folder.path()), Device::Cpu, &mut |_| ()).expect_err("unknown").to_string();
    assert!(message.contains("furious") && message.contains("negative, neutral, positive"), "{message}");
}
