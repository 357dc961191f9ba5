//! The conversation head: training on dialogues, scores of sequences, files that are refused.
//!
//! Catches: training that does not learn, cannot be repeated or does not go on after an interruption; figures that scoring
//! does not bear out; scores that depend on what is batched together; heads with damaged tensors.

#[allow(dead_code, reason = "shared with the tests of text heads")]
mod tiny_model;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::OnceLock;

use contactflow_inference::{
    ConversationHead, ConversationScorer, Device, InferenceError, ModelConfig, Multilingual, MultilingualConfig,
    Progress, SatisfactionEvaluateOptions, SatisfactionOptions, evaluate_satisfaction, train_satisfaction,
};
use contactflow_schemas::facts::Speaker;
use contactflow_schemas::prediction::{
    ConversationOutcome, ConversationRequest, ConversationScoreKey, Quality, SCORE_SCALE, TURNS_MAX, TextKey,
    TurnInput, TurnVector,
};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use tempfile::TempDir;
use tiny_model::Defects;

/// A line per dialogue: after "good" or "great" the customer is satisfied, after "bad" or "awful" not.
fn dialogues() -> String {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut lines = String::new();
    for _ in 0..90 {
        let mut turns = Vec::new();
        for _ in 0..rng.random_range(2..7) {
            let filler = tiny_model::WORDS[rng.random_range(8..13)];
            let (word, label) =
                [("bad", 0), ("awful", 0), ("red", 1), ("good", 2), ("great", 2)][rng.random_range(0..5)];
            turns.push(serde_json::json!({"role": "customer", "text": format!("{filler} {word}"), "label": label}));
            let answer = tiny_model::WORDS[rng.random_range(8..13)];
            turns.push(serde_json::json!({"role": "agent", "text": answer, "gap_ms": 1000}));
        }
        turns.push(serde_json::json!({"role": "customer", "text": "OVERALL", "label": 0}));
        lines += &format!("{}\n", serde_json::json!({"turns": turns, "lang": "zh"}));
    }
    lines
}

fn options(folder: &Path, output: &str) -> SatisfactionOptions {
    let input = folder.join("dialogues.ndjson");
    std::fs::write(&input, dialogues()).expect("write");
    let multilingual =
        MultilingualConfig { when: Multilingual::On, encoder_dir: folder.to_owned(), ..MultilingualConfig::default() };
    SatisfactionOptions {
        model: ModelConfig { multilingual, ..tiny_model::config(folder) },
        inputs: vec![input],
        output: Some(folder.join(output)),
        folds: 3,
        lexicon_buckets: 512,
        regression_components: 16,
        vector_components: 4,
        lstm_hidden_size: 6,
        epochs_max: 8,
        ..SatisfactionOptions::default()
    }
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("folder");
    tiny_model::write(folder.path(), Defects::default());
    folder
}

/// A trained head, made once.
fn head_bytes() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        tch::set_num_threads(1);
        let folder = folder();
        train_satisfaction(&options(folder.path(), "head"), Device::Cpu, &mut |_| ()).expect("trains");
        std::fs::read(folder.path().join("head")).expect("head")
    })
}

fn parse(bytes: &[u8]) -> Result<ConversationHead, InferenceError> {
    ConversationHead::from_bytes(Path::new("head"), bytes, Device::Cpu)
}

#[test]
fn training_learns_goes_on_where_it_was_stopped_and_evaluation_agrees() {
    tch::set_num_threads(1);
    let folder = folder();
    let first = options(folder.path(), "first.safetensors");
    let report = train_satisfaction(&first, Device::Cpu, &mut |_| ()).expect("trains");
    assert!(report.validation.mean_recall >= 0.95, "{report:?}");
    assert!(report.cross_fitted_mean_recall >= 0.95 && report.baseline_mean_recall >= 0.95);
    let bytes = std::fs::read(folder.path().join("first.safetensors")).expect("written");

    let stopped = options(folder.path(), "second.safetensors");
    let interrupted = catch_unwind(AssertUnwindSafe(|| {
        train_satisfaction(&stopped, Device::Cpu, &mut |progress| {
            let late = matches!(progress, Progress::NetworkEpoch { network: 1, figures, .. } if figures.epoch == 2);
            assert!(!late, "power cut");
        })
    }));
    assert!(interrupted.is_err() && folder.path().join("second.checkpoint").exists());
    let mut trained = Vec::new();
    let again = train_satisfaction(&stopped, Device::Cpu, &mut |progress| {
        if let Progress::NetworkEpoch { network, .. } = progress {
            trained.push(network);
        }
    });
    assert_eq!(again.expect("goes on").model_id, report.model_id);
    assert!(!trained.contains(&0) && trained.contains(&1) && trained.contains(&2), "{trained:?}");
    assert_eq!(std::fs::read(folder.path().join("second.safetensors")).expect("written"), bytes);
    assert!(!folder.path().join("second.checkpoint").exists());

    let evaluate = SatisfactionEvaluateOptions {
        model: first.model.clone(),
        head_file: Some(folder.path().join("first.safetensors")),
        inputs: first.inputs.clone(),
        language: None,
    };
    let figures = evaluate_satisfaction(&evaluate, Device::Cpu, &mut |_| ()).expect("evaluates");
    assert_eq!(figures.classes.model_id, report.model_id);
    assert_eq!(figures.dialogues, report.training_dialogues + report.validation.dialogues);
    assert!(figures.mean_recall >= 0.95, "{figures:?}");
}

fn sequence(rng: &mut ChaCha8Rng, vector: usize, count: usize) -> Vec<TurnInput> {
    let turn = |_| TurnInput {
        text: TextKey(rng.random()),
        vector: (0..vector).map(|_| rng.random_range(-127..=127)).collect::<Vec<i8>>().into(),
        speaker: if rng.random_bool(0.6) { Speaker::Customer } else { Speaker::Agent },
        gap_ms: rng.random_range(0..1_000_000),
        chars: rng.random_range(0..300),
    };
    let mut turns: Vec<TurnInput> = (0..count).map(turn).collect();
    turns[count - 1].speaker = Speaker::Customer;
    turns
}

fn request(turns: Vec<TurnInput>) -> ConversationRequest {
    ConversationRequest { key: ConversationScoreKey::of(&turns), turns }
}

fn vector_size(head: &ConversationHead) -> usize {
    9 + head.metadata().components as usize
}

fn quality(outcome: &ConversationOutcome) -> &Quality {
    let ConversationOutcome::Scored(quality) = outcome else { panic!("not scored: {outcome:?}") };
    quality
}

#[test]
fn a_sequence_scores_the_same_alone_in_any_batch_and_with_any_number_of_threads() {
    let scorer = ConversationScorer::new(parse(head_bytes()).expect("head"), "encoder", Device::Cpu);
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let size = vector_size(scorer.head());
    let mut requests: Vec<ConversationRequest> =
        (0..40).map(|index| request(sequence(&mut rng, size, 1 + index * 37 % 90))).collect();
    tch::set_num_threads(1);
    let expected: HashMap<ConversationScoreKey, ConversationOutcome> =
        scorer.score(&requests).into_iter().map(|answer| (answer.key, answer.outcome)).collect();
    assert_eq!(expected.len(), requests.len());
    for request in &requests {
        let quality = quality(&expected[&request.key]);
        assert_eq!(quality.attention.len(), request.turns.len());
        assert_eq!(quality.attention.iter().sum::<i32>(), SCORE_SCALE);
        assert!(quality.attention.iter().all(|&weight| weight >= 0) && (0..=SCORE_SCALE).contains(&quality.score));
    }
    requests.shuffle(&mut rng);
    tch::set_num_threads(2);
    for chunk in requests.chunks(13) {
        for answer in scorer.score(chunk) {
            assert_eq!(answer.outcome, expected[&answer.key], "in other company");
        }
    }
    for request in requests.iter().take(8) {
        let alone = scorer.score(std::slice::from_ref(request));
        assert_eq!(alone[0].outcome, expected[&request.key], "alone");
    }
}

#[test]
fn only_the_last_turns_and_what_came_before_the_rated_one_count() {
    let scorer = ConversationScorer::new(parse(head_bytes()).expect("head"), "encoder", Device::Cpu);
    let size = vector_size(scorer.head());
    let long = sequence(&mut ChaCha8Rng::seed_from_u64(6), size, TURNS_MAX + 10);
    let whole = scorer.score(&[request(long.clone())]);
    let last = scorer.score(&[request(long[10..].to_vec())]);
    let (whole, last) = (quality(&whole[0].outcome), quality(&last[0].outcome));
    assert_eq!(whole.score, last.score);
    assert_eq!(whole.attention[10..], last.attention);
    assert!(whole.attention[..10].iter().all(|&weight| weight == 0));

    let short = sequence(&mut ChaCha8Rng::seed_from_u64(7), size, 5);
    let mut followed = short.clone();
    followed.push(TurnInput { speaker: Speaker::Agent, ..short[0].clone() });
    let answers = scorer.score(&[request(short), request(followed)]);
    assert_eq!(quality(&answers[0].outcome).score, quality(&answers[1].outcome).score, "a farewell changes nothing");
    assert_eq!(quality(&answers[1].outcome).attention[5], 0);
}

#[test]
fn sequences_that_cannot_be_read_fail_and_the_others_do_not() {
    let scorer = ConversationScorer::new(parse(head_bytes()).expect("head"), "encoder", Device::Cpu);
    let size = vector_size(scorer.head());
    let fine = sequence(&mut ChaCha8Rng::seed_from_u64(8), size, 3);
    let of_agents: Vec<TurnInput> =
        fine.iter().map(|turn| TurnInput { speaker: Speaker::Agent, ..turn.clone() }).collect();
    let vector = |components: Vec<i8>| vec![TurnInput { vector: TurnVector::from(components), ..fine[2].clone() }];
    let requests = [of_agents, vector(vec![1, 2, 3]), vector(Vec::new()), Vec::new(), fine].map(request);
    let answers = scorer.score(&requests);
    for (answer, part) in answers.iter().zip(["no customer", "3 components", "no customer", "no customer"]) {
        let ConversationOutcome::Failed(reason) = &answer.outcome else { panic!("scored: {answer:?}") };
        assert!(reason.contains(part), "{reason}");
    }
    quality(&answers[4].outcome);
}

/// The head file with its tensors changed by `change`, which may leave one out.
fn changed(change: impl Fn(&str, &mut Vec<usize>) -> bool) -> Vec<u8> {
    let bytes = head_bytes();
    let (_, header) = SafeTensors::read_metadata(bytes).expect("header");
    let file = SafeTensors::deserialize(bytes).expect("file");
    let mut kept = Vec::new();
    for (name, view) in file.tensors() {
        let mut shape = view.shape().to_vec();
        if change(&name, &mut shape) {
            let length = shape.iter().product::<usize>() * 2;
            kept.push((name, TensorView::new(view.dtype(), shape, &view.data()[..length]).expect("view")));
        }
    }
    safetensors::tensor::serialize(kept, header.metadata().clone()).expect("serialise")
}

fn view_refused(bytes: &[u8]) -> String {
    parse(bytes).expect_err("refused").to_string()
}

#[test]
fn damaged_heads_and_heads_of_other_encoders_are_refused() {
    let missing = view_refused(&changed(|name, _| name != "network.1.vote.state"));
    assert!(missing.contains("network.1.vote.state") && missing.contains("missing"), "{missing}");
    let short = view_refused(&changed(|name, shape| {
        if name == "turn.projection.weight" {
            shape[0] -= 1;
        }
        true
    }));
    assert!(short.contains("turn.projection.weight") && short.contains("expected"), "{short}");
    assert!(view_refused(b"nothing").contains("not a safetensors file"));

    let head = parse(head_bytes()).expect("head");
    assert!(matches!(head.check_encoder("00ff"), Err(InferenceError::EncoderMismatch { .. })));
    head.check_encoder(&head.metadata().encoder_sha256).expect("its own encoder");
    let states = tch::Tensor::zeros([2, 3, 1, 5], (tch::Kind::Float, Device::Cpu));
    let mask = tch::Tensor::ones([2, 3], (tch::Kind::Int64, Device::Cpu));
    assert!(
        head.turn_vectors(&states, &mask, &["a", "b"]).expect_err("other sizes").to_string().contains("[2, 3, 1, 5]")
    );
}

#[test]
fn the_built_in_head_is_for_the_multilingual_encoder() {
    let head = ConversationHead::built_in(Device::Cpu).expect("loads");
    assert_eq!(head.metadata().labels, ["0", "1", "2"]);
    head.check_encoder("0db63e48749a5013e4b105d9e1f97c7a5a6f5192c0b3e5fc3f53afb349315f42")
        .expect("the shipped encoder");

    // Its training data have no times, so times must not count.
    let turns = sequence(&mut ChaCha8Rng::seed_from_u64(9), vector_size(&head), 12);
    let hurried: Vec<TurnInput> = turns.iter().map(|turn| TurnInput { gap_ms: 0, ..turn.clone() }).collect();
    let scorer = ConversationScorer::new(head, "encoder", Device::Cpu);
    let answers = scorer.score(&[request(turns), request(hurried)]);
    assert_eq!(answers[0].outcome, answers[1].outcome);
}
