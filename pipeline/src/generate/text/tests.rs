//! The texts say what their kind says.

use std::collections::BTreeSet;

use super::*;

const KINDS: [TextKind; 16] = [
    TextKind::CustomerQuestion,
    TextKind::CustomerComplaint,
    TextKind::CustomerWaiting,
    TextKind::CustomerDetail,
    TextKind::CustomerThanks,
    TextKind::CustomerReturns,
    TextKind::AgentAnswer,
    TextKind::AgentApology,
    TextKind::AgentFollowUp,
    TextKind::AgentClosing,
    TextKind::BotAnswer,
    TextKind::BotHandoff,
    TextKind::PrivateNote,
    TextKind::RatingGood,
    TextKind::RatingMixed,
    TextKind::RatingBad,
];

/// Words of thanks and praise that no angry text of ours contains, "thanks for nothing" apart.
const POSITIVE: [&str; 14] = [
    "thank you",
    "thanks",
    "great",
    "happy",
    "excellent",
    "wonderful",
    "perfect",
    "appreciate",
    "谢",
    "感谢",
    "满意",
    "点赞",
    "很棒",
    "好评",
];

fn text(kind: TextKind, topic: Topic, language: Language, seed: u64) -> String {
    let mut out = String::new();
    render(TextSpec { kind, topic, language, seed }, &mut out);
    out
}

fn each_text(mut check: impl FnMut(TextKind, Language, String)) {
    for kind in KINDS {
        for topic in Topic::ALL {
            for language in [Language::English, Language::Chinese] {
                for seed in 0..60 {
                    check(kind, language, text(kind, topic, language, seed));
                }
            }
        }
    }
}

fn is_positive(text: &str) -> bool {
    let text = text.to_lowercase();
    POSITIVE.iter().any(|word| text.contains(word))
}

#[test]
fn every_slot_is_filled_and_no_text_is_empty() {
    each_text(|kind, _, text| {
        assert!(!text.trim().is_empty(), "{kind:?}");
        assert!(!text.contains(['{', '}']), "{text}");
    });
}

#[test]
fn texts_are_in_their_language() {
    let is_chinese = |text: &str| text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
    each_text(|_, language, text| assert_eq!(is_chinese(&text), language == Language::Chinese, "{text}"));
}

#[test]
fn equal_specifications_are_written_alike() {
    each_text(|kind, language, _| {
        let first = text(kind, Topic::Refund, language, 9);
        assert_eq!(first, text(kind, Topic::Refund, language, 9));
    });
}

#[test]
fn texts_fit_their_sentiment() {
    let (mut positive, mut praising) = (0, 0);
    each_text(|kind, _, text| match kind.polarity() {
        Polarity::Negative => {
            let sarcasm = ["thanks for nothing", "great job"];
            let plain = sarcasm.iter().fold(text.to_lowercase(), |text, phrase| text.replace(phrase, ""));
            assert!(!is_positive(&plain) || plain.contains("差评"), "{kind:?}: {text}");
            assert!(!text.contains(['😊', '👍', '🎉']), "{text}");
        }
        Polarity::Positive => {
            positive += 1;
            praising += u32::from(is_positive(&text));
            assert!(!text.contains(['😡', '👎']), "{text}");
        }
        Polarity::Neutral => {}
    });
    assert!(praising * 10 > positive * 6, "{praising} of {positive}");
}

#[test]
fn templates_are_many() {
    let distinct = |language| {
        let mut templates: BTreeSet<&str> = BTreeSet::new();
        for kind in KINDS {
            for topic in Topic::ALL {
                let Phrases { openers, cores, closers } = phrases(TextSpec { kind, topic, language, seed: 0 });
                templates.extend(openers.iter().chain(cores).chain(closers).copied());
            }
        }
        templates.len()
    };
    assert!(distinct(Language::English) >= 500, "{}", distinct(Language::English));
    assert!(distinct(Language::Chinese) >= 180, "{}", distinct(Language::Chinese));
}

#[test]
fn texts_vary_but_repeat() {
    let waiting: Vec<String> =
        (0..2_000).map(|seed| text(TextKind::CustomerWaiting, Topic::Billing, Language::English, seed)).collect();
    let distinct: BTreeSet<&String> = waiting.iter().collect();
    assert!((200..1_800).contains(&distinct.len()), "{}", distinct.len());
}
