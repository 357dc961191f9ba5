//! Cross-validation in training, on a tiny encoder.

#[allow(dead_code, reason = "shared with the other tests on a tiny model")]
mod tiny_model;

use std::path::Path;

use contactflow_inference::{
    Device, ModelConfig, Progress, Scorer, TrainOptions, TrainReport, Trained, train, train_rows,
};
use contactflow_schemas::prediction::{Outcome, SentimentLabel};
use tiny_model::{Defects, labelled, request, train_options};

fn options(folder: &Path) -> TrainOptions {
    TrainOptions { folds: Some(3), epochs_max: 6, running_mean: 0.9, ..train_options(folder) }
}

fn fit(options: &TrainOptions, progress: &mut dyn FnMut(Progress)) -> (Vec<u8>, TrainReport) {
    tch::set_num_threads(1);
    let Trained { head, report, .. } = train_rows(labelled(), options, Device::Cpu, progress).expect("trains");
    (head, report)
}

#[test]
fn every_row_is_judged_once_and_learnt_from_by_the_head() {
    let folder = tempfile::tempdir().expect("folder");
    tiny_model::write(folder.path(), Defects::default());
    let options = options(folder.path());
    let mut networks = Vec::new();
    let (bytes, report) = fit(&options, &mut |progress| {
        if let Progress::NetworkEpoch { network, networks: all, figures, .. } = progress {
            assert_eq!(all, 4, "three folds and the head");
            networks.push((network, figures.epoch));
        }
    });
    let rows = report.rows - report.rows_dropped;
    assert_eq!((report.validation.n, report.baseline.validation.n), (rows, rows));
    assert_eq!((report.training_rows, report.neural_rows, report.folds), (rows, rows, Some(3)));
    assert!(report.validation.accuracy > 0.95 && report.baseline.validation.accuracy > 0.95, "{report:?}");
    assert!(report.fold_macro_f1.len() == 3 && report.fold_macro_f1.iter().all(|macro_f1| *macro_f1 > 0.9));
    assert_eq!(report.curve.len(), 6, "all epochs, as the best one is known at the end only");
    let best = report.curve[report.best_epoch as usize - 1].validation_macro_f1;
    assert!(report.curve.iter().all(|epoch| epoch.validation_macro_f1 <= best));
    let expected: Vec<(usize, u32)> = (0..4)
        .flat_map(|network| (1..=if network < 3 { 6 } else { report.best_epoch }).map(move |epoch| (network, epoch)))
        .collect();
    assert_eq!(networks, expected, "the head learns as long as was best for the folds");
    assert_eq!(fit(&options, &mut |_| ()), (bytes.clone(), report), "same seed, same head");

    let file = folder.path().join("head.safetensors");
    std::fs::write(&file, bytes).expect("write");
    let model = ModelConfig { head_files: vec![file], ..options.model };
    let mut scorer = Scorer::load(&model, Device::Cpu).expect("loads");
    for (text, label) in [("order today bad", SentimentLabel::Negative), ("great phone", SentimentLabel::Positive)] {
        let Outcome::Scored(scores) = &scorer.score(&[request(text)])[0].outcome else { panic!("not scored") };
        assert_eq!(scores.sentiment.label, label, "{text}");
    }
}

#[test]
fn an_interrupted_cross_validation_goes_on_to_the_same_head() {
    let folder = tempfile::tempdir().expect("folder");
    tiny_model::write(folder.path(), Defects::default());
    let whole = options(folder.path());
    let expected = fit(&whole, &mut |_| ());
    let labels = folder.path().join("labels.ndjson");
    let line = |row: contactflow_inference::LabelledText| {
        format!("{}\n", serde_json::json!({"text": row.text, "label": row.label, "lang": row.lang}))
    };
    std::fs::write(&labels, labelled().into_iter().map(line).collect::<String>()).expect("write");
    let checkpoint = Some(folder.path().join("head.checkpoint"));
    let options = TrainOptions { inputs: vec![labels], checkpoint, ..whole };
    // Stopped in the second fold, and again while the head itself is learnt.
    let mut networks = Vec::new();
    for (stop_network, stop_epoch) in [(1, 2), (3, 1), (usize::MAX, 0)] {
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            train(&options, Device::Cpu, &mut |progress| {
                let Progress::NetworkEpoch { network, figures, .. } = progress else { return };
                networks.push(network);
                assert!((network, figures.epoch) != (stop_network, stop_epoch), "stopped");
            })
        }));
        match run {
            Ok(report) => assert_eq!(report.expect("trains"), expected.1),
            Err(_) => assert!(stop_network != usize::MAX, "the last run is not stopped"),
        }
    }
    let times = |network: usize| networks.iter().filter(|&&seen| seen == network).count();
    assert_eq!((times(0), times(1), times(2)), (6, 8, 6), "only the fold that was interrupted begins again");
    let left = std::fs::read_dir(folder.path()).expect("folder").flatten();
    let left: Vec<String> = left.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    assert!(!left.iter().any(|name| name.contains("checkpoint")), "{left:?}");
}
