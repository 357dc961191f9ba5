//! The published score of a text must depend on the text alone.
//!
//! Catches: padding that leaks into a row, kernels whose sums depend on a row's neighbours, its place in the batch, or
//! the number of threads, and quantisation that does not sum to the scale.

use std::collections::HashMap;

use contactflow_inference::{Device, Language, ModelConfig, Multilingual, MultilingualConfig, Scorer};
use contactflow_schemas::prediction::{
    EmotionLabel, HIGHLIGHTS_MAX, Outcome, Prediction, SCORE_SCALE, TextKey, TextRequest, TextScores,
};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const PIECES: [&str; 24] = [
    "refund",
    "thank you so much",
    "my flight was cancelled",
    "😡",
    "你好",
    "谢谢",
    "مرحبا",
    "order #123-456",
    "\u{0007}",
    "?!?!",
    "still waiting",
    "great service",
    "@user",
    "https://t.co/abc",
    "ÄÖÜß",
    "🙂👍🏽",
    "the agent",
    "hung up",
    "never again",
    "love it",
    "   ",
    "\n\n",
    "antidisestablishmentarianism",
    "1,000.00 €",
];

fn request(text: String) -> TextRequest {
    TextRequest { key: TextKey::of(&text), text }
}

/// About 200 texts of every length from nothing to far beyond the token limit.
fn varied_texts() -> Vec<TextRequest> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut requests: Vec<TextRequest> = (0..192)
        .map(|index| {
            let pieces = if index % 8 == 0 { rng.random_range(30..120) } else { rng.random_range(0..28) };
            let words: Vec<&str> = (0..pieces).map(|_| PIECES[rng.random_range(0..PIECES.len())]).collect();
            request(format!("{} {index}", words.join(" ")))
        })
        .collect();
    let extremes = [
        String::new(),
        " \t\r\n".to_owned(),
        "🙂".to_owned(),
        "\0\u{1}\u{2}".to_owned(),
        "a".repeat(1_000_000),
        "字 ".repeat(400_000),
    ];
    requests.extend(extremes.into_iter().map(request));
    let phrases = ["质量很好", "物流太慢了", "客服态度差", "值得购买", "iPhone 13", "！！", "退货", "😡"];
    requests.extend((0..40).map(|index| {
        let count = if index % 8 == 0 { 80 } else { rng.random_range(1..12) };
        let parts: Vec<&str> = (0..count).map(|_| phrases[rng.random_range(0..phrases.len())]).collect();
        request(format!("{}，{index}号，很好", parts.join("，")))
    }));
    requests
}

fn by_key(predictions: Vec<Prediction>) -> HashMap<TextKey, Outcome> {
    predictions.into_iter().map(|prediction| (prediction.key, prediction.outcome)).collect()
}

#[test]
fn a_text_scores_the_same_alone_in_any_batch_and_with_any_number_of_threads() {
    let multilingual = MultilingualConfig { when: Multilingual::On, ..MultilingualConfig::default() };
    let config = ModelConfig { multilingual, ..ModelConfig::default() };
    let mut scorer = Scorer::load(&config, Device::Cpu).expect("deploy/setup.sh --multilingual provides both encoders");
    let mut requests = varied_texts();
    tch::set_num_threads(1);
    let expected = by_key(scorer.score(&requests));
    for request in &requests {
        let outcome = &expected[&request.key];
        let Outcome::Scored(scores) = outcome else { panic!("not scored: {outcome:?}") };
        assert_complete(&request.text, scores);
    }
    requests.shuffle(&mut ChaCha8Rng::seed_from_u64(8));
    tch::set_num_threads(2);
    let regrouped: HashMap<TextKey, Outcome> =
        requests.chunks(67).flat_map(|chunk| by_key(scorer.score(chunk))).collect();
    let different = requests.iter().filter(|request| regrouped[&request.key] != expected[&request.key]).count();
    assert_eq!(different, 0, "texts that score otherwise in other batches and with two threads");
    for request in requests.iter().take(24) {
        let alone = scorer.score(std::slice::from_ref(request));
        assert_eq!(alone[0].outcome, expected[&request.key], "alone: {} characters", request.text.chars().count());
    }
}

/// Every probability in its range, every head of the language there, every highlight within the text.
fn assert_complete(text: &str, scores: &TextScores) {
    let sentiment = scores.sentiment;
    assert_eq!(sentiment.negative + sentiment.neutral + sentiment.positive, SCORE_SCALE);
    let english = Language::of(text) == Language::En;
    assert_eq!(
        [scores.emotion.is_some(), scores.offensive.is_some(), scores.intent.is_some()],
        [english; 3],
        "{text:.40}"
    );
    if let Some(emotion) = scores.emotion {
        assert_eq!(EmotionLabel::ALL.into_iter().map(|label| emotion.of(label)).sum::<i32>(), SCORE_SCALE);
    }
    assert!(scores.offensive.is_none_or(|offensive| (0..=SCORE_SCALE).contains(&offensive.probability)));
    assert!(scores.intent.is_none_or(|intent| (1..=SCORE_SCALE).contains(&intent.probability)));
    let chars = text.chars().count() as u32;
    assert!(scores.highlights.len() <= HIGHLIGHTS_MAX);
    assert!(scores.highlights.is_sorted_by_key(|highlight| highlight.char_start));
    assert!(scores.highlights.iter().all(|place| place.char_start < place.char_end && place.char_end <= chars));
    let moved: i32 = scores.highlights.iter().map(|highlight| highlight.weight.abs()).sum();
    assert!(moved <= SCORE_SCALE + HIGHLIGHTS_MAX as i32);
}
