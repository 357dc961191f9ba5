//! Adapters: learnt on a tiny model, merged into its weights, read by heads.
//!
//! Catches: an adaptation that does not learn, cannot be repeated or does not go on where it stopped, and heads on an
//! encoder with another adapter than theirs.

mod tiny_model;

use std::path::Path;

use contactflow_inference::{
    AdaptOptions, Adapter, AdapterSetting, CorrectionOptions, Device, InferenceError, Language, ModelConfig, Progress,
    Scorer, TrainOptions, TrainReport, Trained, adapt_rows, train_rows,
};
use contactflow_schemas::prediction::{Outcome, SentimentLabel, TextHead};
use tiny_model::{Defects, labelled, request, train_options};

fn options(folder: &Path) -> AdaptOptions {
    AdaptOptions {
        model: tiny_model::config(folder),
        layers: 1,
        rank: 4,
        epochs: 4,
        batch_size: 16,
        learning_rate: 1e-2,
        classifier_learning_rate: 1e-2,
        ..AdaptOptions::shipped(Language::En)
    }
}

fn adapt(options: &AdaptOptions, progress: &mut dyn FnMut(Progress)) -> (Vec<u8>, contactflow_inference::AdaptReport) {
    // LibTorch's threads wait for each other actively: on a busy machine several are far slower than one.
    tch::set_num_threads(1);
    adapt_rows(vec![(TextHead::Sentiment, labelled())], options, Device::Cpu, progress).expect("adapts")
}

#[test]
fn an_adapter_is_learnt_and_the_heads_on_it_are_for_it_alone() {
    let folder = tempfile::tempdir().expect("folder");
    tiny_model::write(folder.path(), Defects::default());
    let options = options(folder.path());
    let (bytes, report) = adapt(&options, &mut |_| ());
    assert!(report.tasks[0].accuracy > 0.95, "{report:?}");
    assert_eq!(adapt(&options, &mut |_| ()), (bytes.clone(), report), "same seed, same adapter");
    // One layer, four corrections of rank 4: what leads up begins at zero, so something else was learnt.
    let adapter = Adapter::from_bytes(Path::new("adapter"), &bytes).expect("parses");
    assert_eq!((adapter.metadata().layers_below, adapter.metadata().layers), (1, 1));

    let file = folder.path().join("adapter.safetensors");
    std::fs::write(&file, &bytes).expect("write");
    let adapted = ModelConfig { adapter: AdapterSetting::File(file), ..tiny_model::config(folder.path()) };
    let head = TrainOptions { model: adapted.clone(), epochs_max: 4, ..train_options(folder.path()) };
    let Trained { head: bytes, report, .. } = train_rows(labelled(), &head, Device::Cpu, &mut |_| ()).expect("trains");
    assert!(report.validation.accuracy > 0.95, "{:?}", report.validation);
    let head = folder.path().join("head.safetensors");
    std::fs::write(&head, bytes).expect("write");

    let adapted = ModelConfig { head_files: vec![head], ..adapted };
    let mut scorer = Scorer::load(&adapted, Device::Cpu).expect("loads");
    let Outcome::Scored(scores) = &scorer.score(&[request("great phone")])[0].outcome else { panic!("not scored") };
    assert_eq!(scores.sentiment.label, SentimentLabel::Positive);
    for setting in [AdapterSetting::None, AdapterSetting::BuiltIn] {
        let bare = ModelConfig { adapter: setting, ..adapted.clone() };
        let error = Scorer::load(&bare, Device::Cpu).expect_err("the head is for the adapted encoder");
        assert!(matches!(error, InferenceError::EncoderMismatch { .. }), "{error}");
    }
}

#[test]
fn an_adaptation_that_was_stopped_goes_on_to_the_same_adapter() {
    let folder = tempfile::tempdir().expect("folder");
    tiny_model::write(folder.path(), Defects::default());
    let options = options(folder.path());
    let expected = adapt(&options, &mut |_| ());
    let checkpoint = Some(folder.path().join("adapter.checkpoint"));
    let options = AdaptOptions { checkpoint, ..options };
    let stopped = std::panic::catch_unwind(|| {
        adapt(&options, &mut |progress| match progress {
            Progress::Epoch { figures, .. } if figures.epoch == 3 => panic!("stopped"),
            _ => (),
        })
    });
    assert!(stopped.is_err());
    let mut epochs = Vec::new();
    let found = adapt(&options, &mut |progress| {
        if let Progress::Epoch { figures, .. } = progress {
            epochs.push(figures.epoch);
        }
    });
    assert_eq!(found, expected);
    assert_eq!(epochs, [3, 4], "the first two are not run again");
}

/// A head and the corrections of the tiny model's upper layer, together.
fn train_together(
    folder: &Path,
    folds: Option<u32>,
    checkpoint: Option<&Path>,
    progress: &mut dyn FnMut(Progress),
) -> Trained {
    tch::set_num_threads(1);
    let corrections = CorrectionOptions { layers: 1, rank: 4, learning_rate: 1e-2, ..CorrectionOptions::default() };
    // An adapter that the settings name is left aside: it is not even looked for.
    let model = ModelConfig { adapter: AdapterSetting::File("nowhere".into()), ..tiny_model::config(folder) };
    let options = TrainOptions {
        model,
        corrections: Some(corrections),
        epochs_max: 4,
        folds,
        running_mean: 0.8,
        checkpoint: checkpoint.map(Path::to_owned),
        ..train_options(folder)
    };
    train_rows(labelled(), &options, Device::Cpu, progress).expect("trains")
}

#[test]
fn a_head_and_its_adapter_are_learnt_together_and_belong_together() {
    learnt_together(None);
}

#[test]
fn a_head_and_its_adapter_are_cross_validated_together() {
    let report = learnt_together(Some(3));
    assert_eq!((report.validation.n, report.fold_macro_f1.len()), (report.rows - report.rows_dropped, 3));
}

fn learnt_together(folds: Option<u32>) -> TrainReport {
    let folder = tempfile::tempdir().expect("folder");
    tiny_model::write(folder.path(), Defects::default());
    let trained = train_together(folder.path(), folds, None, &mut |_| ());
    assert!(trained.report.validation.accuracy > 0.95, "{:?}", trained.report);
    let adapter = trained.adapter.expect("an adapter is learnt");
    let parsed = Adapter::from_bytes(Path::new("adapter"), &adapter).expect("parses");
    assert_eq!((parsed.metadata().layers_below, parsed.metadata().layers), (1, 1));
    assert_eq!(trained.report.adapter_sha256.as_deref(), Some(parsed.sha256()));

    let [adapter_file, head_file] = ["adapter", "head"].map(|name| folder.path().join(format!("{name}.safetensors")));
    std::fs::write(&adapter_file, adapter).expect("write");
    std::fs::write(&head_file, trained.head).expect("write");
    let bare = ModelConfig { head_files: vec![head_file], ..tiny_model::config(folder.path()) };
    let adapted = ModelConfig { adapter: AdapterSetting::File(adapter_file), ..bare.clone() };
    let mut scorer = Scorer::load(&adapted, Device::Cpu).expect("loads");
    let Outcome::Scored(scores) = &scorer.score(&[request("great phone")])[0].outcome else { panic!("not scored") };
    assert_eq!(scores.sentiment.label, SentimentLabel::Positive);
    let error = Scorer::load(&bare, Device::Cpu).expect_err("the head is for the adapted encoder");
    assert!(matches!(error, InferenceError::EncoderMismatch { .. }), "{error}");
    trained.report
}

#[test]
fn learning_together_goes_on_where_it_was_stopped() {
    let folder = tempfile::tempdir().expect("folder");
    tiny_model::write(folder.path(), Defects::default());
    let expected = train_together(folder.path(), None, None, &mut |_| ());
    let checkpoint = folder.path().join("head.checkpoint");
    let stopped = std::panic::catch_unwind(|| {
        train_together(folder.path(), None, Some(&checkpoint), &mut |progress| match progress {
            Progress::Epoch { figures, .. } if figures.epoch == 3 => panic!("stopped"),
            _ => (),
        })
    });
    assert!(stopped.is_err());
    let mut epochs = Vec::new();
    let found = train_together(folder.path(), None, Some(&checkpoint), &mut |progress| {
        if let Progress::Epoch { figures, .. } = progress {
            epochs.push(figures.epoch);
        }
    });
    assert!(found == expected, "{:?} {:?}", found.report, expected.report);
    assert_eq!(epochs, [3, 4], "the first two are not run again");
}

#[test]
fn settings_name_an_adapter_by_a_word_or_a_path() {
    let read = |word: &str| serde_json::from_value::<AdapterSetting>(serde_json::json!(word)).expect("a setting");
    assert_eq!(read("built-in"), AdapterSetting::BuiltIn);
    assert_eq!(read("none"), AdapterSetting::None);
    assert_eq!(read("models/a.safetensors"), AdapterSetting::File("models/a.safetensors".into()));
    let missing = AdapterSetting::File("nowhere.safetensors".into());
    let config = ModelConfig { adapter: missing, ..ModelConfig::new("nowhere") };
    assert!(Scorer::load(&config, Device::Cpu).is_err());
}
