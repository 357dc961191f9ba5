//! Loading, training and scoring with a tiny model.
//!
//! Catches: errors that do not name the tensor, prefixed or fp16 weights read wrongly, one bad text that takes others
//! with it, training that does not learn or cannot be repeated, and heads put on the wrong encoder.

mod tiny_model;

use std::path::Path;
use std::time::Duration;

use contactflow_inference::{
    Device, DevicePool, Encoder, EvaluateOptions, InferenceError, LabelledText, Language, ModelConfig, Placement,
    PoolLimits, Precision, Progress, Scorer, TrainOptions, TrainReport, Trained, evaluate, train, train_rows,
};
use contactflow_schemas::prediction::{Outcome, SentimentLabel, TextHead};
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
    let Trained { head, report, .. } = train_rows(labelled(), options, Device::Cpu, &mut |_| ()).expect("trains");
    (head, report)
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
    assert!(report.validation.accuracy >= 0.95 && report.neural_branch.accuracy >= 0.95, "{report:?}");
    assert!(report.baseline.converged && report.baseline.validation.accuracy >= 0.95, "{:?}", report.baseline);
    assert_eq!((report.rows, report.validation.n + report.training_rows + report.rows_dropped), (600, 600));
    assert!(report.best_epoch >= 1 && report.best_epoch <= report.curve.len() as u32 && report.curve.len() <= 12);
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

    let model = ModelConfig { head_files: vec![head], ..options.model };
    let evaluated = EvaluateOptions {
        model: model.clone(),
        head: TextHead::Sentiment,
        head_file: model.head_files.first().cloned(),
        inputs: vec![labels],
        language: Some(Language::En),
    };
    let figures = evaluate(&evaluated, Device::Cpu, &mut |_| ()).expect("evaluates");
    assert!(figures.macro_f1 > 0.95 && figures.n == 600 && figures.failed == 0, "{figures:?}");
    let mut scorer = Scorer::load(&model, Device::Cpu).expect("loads");
    assert!(scorer.model_id().starts_with("text-"), "{}", scorer.model_id());
    assert_eq!(figures.model_id, report.model_id);
    for (text, label) in [("order today bad", SentimentLabel::Negative), ("great phone", SentimentLabel::Positive)] {
        let Outcome::Scored(scores) = &scorer.score(&[request(text)])[0].outcome else { panic!("not scored") };
        let sentiment = scores.sentiment;
        assert_eq!(sentiment.label, label, "{text}: {sentiment:?}");
        let strongest = scores.highlights.iter().max_by_key(|highlight| highlight.weight.abs()).expect("a highlight");
        let word: String = text.chars().take(strongest.char_end as usize).skip(strongest.char_start as usize).collect();
        assert!(["bad", "great"].contains(&word.as_str()), "{word} drove {text}");
        assert_eq!(strongest.weight > 0, label == SentimentLabel::Positive);
    }
}

#[test]
fn training_that_was_stopped_goes_on_to_the_same_head() {
    let folder = folder(Defects::default());
    let whole = TrainOptions { epochs_max: 6, ..train_options(folder.path()) };
    let expected = fit(&whole);
    let checkpoint = folder.path().join("head.checkpoint");
    let cache = Some(folder.path().join("states"));
    let options = TrainOptions { checkpoint: Some(checkpoint.clone()), feature_cache: cache, ..whole };
    let stopped = std::panic::catch_unwind(|| {
        let stop = &mut |progress| match progress {
            Progress::Epoch { figures, .. } if figures.epoch == 4 => panic!("stopped"),
            _ => (),
        };
        train_rows(labelled(), &options, Device::Cpu, stop)
    });
    assert!(stopped.is_err() && checkpoint.exists());
    let mut epochs = Vec::new();
    let resume = &mut |progress| match progress {
        Progress::Epoch { figures, .. } => epochs.push(figures.epoch),
        Progress::Encoding { .. } => panic!("the states are in the cache"),
        _ => (),
    };
    let found = train_rows(labelled(), &options, Device::Cpu, resume).expect("trains");
    assert_eq!((found.head, found.report), expected);
    assert_eq!(epochs, [4, 5, 6], "the first three are not run again");
    let other = TrainOptions { seed: 9, feature_cache: None, ..options };
    assert_eq!(fit(&other).1.curve.len(), 6, "a checkpoint of another run is not taken up");
}

/// Rows of the tiny corpus with labels of another head.
fn relabelled(labels: [&str; 3]) -> Vec<LabelledText> {
    let label = |old: &str| match old {
        "negative" => labels[0],
        "neutral" => labels[1],
        _ => labels[2],
    };
    labelled().into_iter().map(|row| LabelledText { label: label(&row.label).to_owned(), ..row }).collect()
}

#[test]
fn several_heads_share_a_pass_and_each_says_what_it_says_alone() {
    let folder = folder(Defects::default());
    let options = train_options(folder.path());
    let tasks = [
        (TextHead::Sentiment, vec![1, 2], labelled()),
        (TextHead::Offensive, vec![2], relabelled(["offensive", "not-offensive", "not-offensive"])),
        (TextHead::Intent, vec![0, 1], relabelled(["complaint", "colour", "praise"])),
    ];
    let mut files = Vec::new();
    for (head, encoder_layers, rows) in tasks {
        let choose_thresholds = head == TextHead::Offensive;
        let options = TrainOptions { head, encoder_layers, choose_thresholds, epochs_max: 8, ..options.clone() };
        tch::set_num_threads(1);
        let Trained { head: bytes, report, .. } = train_rows(rows, &options, Device::Cpu, &mut |_| ()).expect("trains");
        assert!(report.validation.accuracy > 0.9, "{head:?}: {:?}", report.validation);
        assert_eq!(report.label_bias.is_empty(), !choose_thresholds);
        files.push(folder.path().join(format!("{}.safetensors", head.as_str())));
        std::fs::write(files.last().expect("just added"), bytes).expect("write");
    }
    let load = |head_files: &[std::path::PathBuf]| {
        let config = ModelConfig { head_files: head_files.to_vec(), ..options.model.clone() };
        Scorer::load(&config, Device::Cpu).expect("loads")
    };
    let (mut all, mut alone) = (load(&files), load(&files[..1]));
    assert_ne!(all.model_id(), alone.model_id(), "the id names every head");
    for (text, offensive, intent) in [("awful table", true, "complaint"), ("red phone today", false, "colour")] {
        let Outcome::Scored(scores) = &all.score(&[request(text)])[0].outcome else { panic!("not scored") };
        let Outcome::Scored(sentiment) = &alone.score(&[request(text)])[0].outcome else { panic!("not scored") };
        assert_eq!((&scores.sentiment, &scores.highlights), (&sentiment.sentiment, &sentiment.highlights));
        assert_eq!((sentiment.offensive, sentiment.intent, scores.emotion), (None, None, None));
        assert_eq!(scores.offensive.expect("a head").is_offensive, offensive, "{scores:?}");
        assert_eq!(scores.intent.expect("a head").label.as_str(), intent);
    }
    let chinese = &all.score(&[request("很好")])[0].outcome;
    let Outcome::Scored(scores) = chinese else { panic!("not scored") };
    assert_eq!((scores.offensive, scores.intent), (None, None), "English heads do not guess at Chinese");
    let twice = ModelConfig { head_files: vec![files[1].clone(); 2], ..options.model.clone() };
    let message = Scorer::load(&twice, Device::Cpu).expect_err("two of a kind").to_string();
    assert!(message.contains("two head files for `offensive`"), "{message}");
}

#[test]
fn a_head_file_without_a_tensor_or_with_a_misshapen_one_is_refused_by_name() {
    use safetensors::SafeTensors;
    use safetensors::tensor::TensorView;

    let folder = folder(Defects::default());
    let bytes = fit(&TrainOptions { epochs_max: 1, ..train_options(folder.path()) }).0;
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
    let metadata = SafeTensors::read_metadata(&bytes).expect("safetensors").1.metadata().clone();
    let path = folder.path().join("head.safetensors");
    let refused = |views: Vec<(String, TensorView<'_>)>| {
        std::fs::write(&path, safetensors::serialize(views, metadata.clone()).expect("serialises")).expect("write");
        let config = ModelConfig { head_files: vec![path.clone()], ..tiny_model::config(folder.path()) };
        Scorer::load(&config, Device::Cpu).expect_err("refused").to_string()
    };
    let names: Vec<String> = tensors.names().into_iter().map(str::to_owned).collect();
    assert_eq!(names.len(), 15, "eleven of the LSTM, four of the lexical branch");
    for name in &names {
        let others = |other: &(String, TensorView<'_>)| other.0 != *name;
        let message = refused(tensors.tensors().into_iter().filter(others).collect());
        assert!(message.contains(&format!("`{name}`")) && message.contains("missing"), "{message}");
        let view = tensors.tensor(name).expect("there");
        let (shape, data) = ([view.shape(), &[1]].concat(), view.data());
        let misshapen = TensorView::new(view.dtype(), shape, data).expect("as many numbers");
        let mut views: Vec<(String, TensorView<'_>)> = tensors.tensors().into_iter().filter(others).collect();
        views.push((name.clone(), misshapen));
        let message = refused(views);
        assert!(message.contains(&format!("`{name}`")) && message.contains("expected"), "{message}");
    }
}

#[test]
fn a_text_the_model_fails_on_fails_alone_and_is_not_quoted() {
    let folder = folder(Defects::default());
    let options = TrainOptions { epochs_max: 1, ..train_options(folder.path()) };
    let head = folder.path().join("head.safetensors");
    std::fs::write(&head, fit(&options).0).expect("write");
    let mut scorer =
        Scorer::load(&ModelConfig { head_files: vec![head], ..options.model }, Device::Cpu).expect("loads");
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
    let config = ModelConfig { head_files: vec![head], ..options.model };
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
