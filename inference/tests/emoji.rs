//! What customers say in emoji alone.
//!
//! Catches: emoji that are unknown to the encoder, and highlights that lose their place when emoji are read as words.

use contactflow_inference::{Device, ModelConfig, Scorer};
use contactflow_schemas::prediction::{EmotionLabel, Outcome, TextKey, TextRequest, TextScores};

fn scores(scorer: &mut Scorer, text: &str) -> TextScores {
    let request = TextRequest { key: TextKey::of(text), text: text.to_owned() };
    let prediction = scorer.score(&[request]).pop().expect("an answer");
    match prediction.outcome {
        Outcome::Scored(scores) => *scores,
        outcome => panic!("not scored: {outcome:?}"),
    }
}

#[test]
fn emoji_alone_say_what_their_writer_feels() {
    let mut scorer = Scorer::load(&ModelConfig::default(), Device::Cpu).expect("deploy/setup.sh provides the encoder");
    for (text, is_positive, label) in [
        ("😡", false, EmotionLabel::Anger),
        ("😡😡😡😡😡😡", false, EmotionLabel::Anger),
        ("😍", true, EmotionLabel::Joy),
        ("🥰😊", true, EmotionLabel::Joy),
        ("😢😭", false, EmotionLabel::Sadness),
    ] {
        let scores = scores(&mut scorer, text);
        let sentiment = scores.sentiment;
        assert_eq!(sentiment.positive > sentiment.negative, is_positive, "{text}: {sentiment:?}");
        let emotion = scores.emotion.expect("there is a head for it");
        let strongest = EmotionLabel::ALL.into_iter().max_by_key(|label| emotion.of(*label));
        assert_eq!(strongest, Some(label), "{text}: {emotion:?}");
        let chars = text.chars().count() as u32;
        assert!(
            !scores.highlights.is_empty() && scores.highlights.iter().all(|place| place.char_end <= chars),
            "{text}"
        );
    }
    let highlights = scores(&mut scorer, "ok😡 bye").highlights;
    let place = highlights.iter().max_by_key(|place| place.weight.abs()).expect("a highlight");
    assert_eq!((place.char_start, place.char_end), (2, 3), "the emoji moved the score most: {highlights:?}");
}
