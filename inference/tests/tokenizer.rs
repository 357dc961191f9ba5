//! Texts as they come.
//!
//! Catches: texts that have no tokens or too many, truncation that is not reported, and work that grows with the text.

use std::path::Path;
use std::time::{Duration, Instant};

use contactflow_inference::{MultilingualConfig, TextTokenizer, default_encoder_dir};

const CLS: u32 = 101;
const SEP: u32 = 102;
const UNK: u32 = 100;

fn tokenizer(max_tokens: usize) -> TextTokenizer {
    TextTokenizer::load(&default_encoder_dir(), max_tokens).expect("deploy/setup.sh provides the encoder")
}

#[test]
fn every_text_has_its_two_special_tokens_and_at_most_the_limit() {
    let tokenizer = tokenizer(16);
    for text in [
        "",
        " \n\t",
        "🙂",
        "\0\u{7}\u{1b}",
        "\u{feff}\u{200b}",
        "hello",
        "谢谢",
        "e\u{301}\u{301}\u{301}",
        "[SEP] [CLS] [PAD]",
    ] {
        let tokenized = tokenizer.tokenize(text).expect("tokens");
        assert_eq!((tokenized.ids.first(), tokenized.ids.last()), (Some(&CLS), Some(&SEP)), "{text:?}");
        assert!((2..=16).contains(&tokenized.ids.len()) && !tokenized.truncated, "{text:?}");
    }
    assert_eq!(tokenizer.tokenize("").expect("tokens").ids, [CLS, SEP]);
}

#[test]
fn long_texts_are_cut_at_the_limit_and_say_so() {
    let tokenizer = tokenizer(16);
    let fourteen = ["good"; 14].join(" ");
    let whole = tokenizer.tokenize(&fourteen).expect("tokens");
    assert_eq!((whole.ids.len(), whole.truncated), (16, false));
    let cut = tokenizer.tokenize(&format!("{fourteen} good")).expect("tokens");
    assert_eq!((cut.ids, cut.truncated), (whole.ids, true));
    assert!(TextTokenizer::load(&default_encoder_dir(), 2).is_err());
}

#[test]
fn a_megabyte_costs_no_more_than_what_is_looked_at() {
    let tokenizer = tokenizer(128).with_emoji_names();
    let emoji = ["😡".repeat(1 << 18), "😡😍".repeat(1 << 17), "👩\u{200d}".repeat(1 << 17)];
    let texts = ["a".repeat(1 << 20), "word ".repeat(1 << 18), "字".repeat(1 << 19), " ".repeat(1 << 20)];
    for text in texts.into_iter().chain(emoji) {
        let started = Instant::now();
        let tokenized = tokenizer.tokenize(&text).expect("tokens");
        assert!(tokenized.truncated && tokenized.ids.len() <= 128, "{}", tokenized.ids.len());
        // Whole megabytes take the tokenizer about a second; the bound leaves room for a busy machine.
        assert!(started.elapsed() < Duration::from_millis(300), "{:?}", started.elapsed());
    }
}

#[test]
fn every_token_knows_its_characters() {
    let text = "Où est mon remboursement? 很好 🙂";
    let load =
        |folder: &Path| TextTokenizer::load(folder, 64).expect("deploy/setup.sh --multilingual provides both encoders");
    let [first, second] = [default_encoder_dir(), MultilingualConfig::default().encoder_dir];
    for tokenizer in [load(&first), load(&first).with_emoji_names(), load(&second)] {
        let tokenized = tokenizer.tokenize(text).expect("tokens");
        assert_eq!(tokenized.spans.len(), tokenized.ids.len());
        let chars: Vec<char> = text.chars().collect();
        let mut seen = vec![false; chars.len()];
        for &(start, end) in &tokenized.spans {
            assert!(start <= end && end as usize <= chars.len());
            seen[start as usize..end as usize].fill(true);
        }
        let missed: String = chars.iter().zip(&seen).filter(|(_, seen)| !**seen).map(|(char, _)| char).collect();
        assert_eq!(missed.trim(), "", "characters that no token stands for");
    }
}

/// The vocabulary of the first encoder has no emoji: alone they are unknown, and so is the word that one touches.
#[test]
fn emoji_that_a_vocabulary_lacks_are_read_as_their_names() {
    let (bare, naming) = (tokenizer(32), tokenizer(32).with_emoji_names());
    let ids = |tokenizer: &TextTokenizer, text: &str| tokenizer.tokenize(text).expect("tokens").ids;
    assert_eq!(ids(&bare, "great😡"), [CLS, UNK, SEP]);
    assert_eq!(ids(&naming, "great😡"), ids(&bare, "great enraged face"));
    let tokenized = naming.tokenize("so😡 👍🏽").expect("tokens");
    assert_eq!(tokenized.ids, ids(&bare, "so enraged face thumbs up"));
    assert_eq!(tokenized.spans, [(0, 0), (0, 2), (2, 3), (2, 3), (4, 6), (4, 6), (0, 0)]);
    assert_ne!(naming.sha256(), bare.sha256());
    for text in ["", "no emoji", "很好", "© ™ ♥ →"] {
        assert_eq!(naming.tokenize(text).expect("tokens"), bare.tokenize(text).expect("tokens"), "{text:?}");
    }

    let folder = MultilingualConfig::default().encoder_dir;
    let knowing = TextTokenizer::load(&folder, 32).expect("deploy/setup.sh --multilingual provides it");
    let unchanged = knowing.clone().with_emoji_names();
    assert_eq!(unchanged.sha256(), knowing.sha256());
    assert_eq!(ids(&unchanged, "so 😡"), ids(&knowing, "so 😡"));
}

#[test]
fn a_vocabulary_alone_makes_the_same_tokens() {
    let json = std::fs::read(default_encoder_dir().join("tokenizer.json")).expect("deploy/setup.sh provides it");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    let vocabulary = json["model"]["vocab"].as_object().expect("a WordPiece vocabulary");
    let mut words: Vec<(u64, &str)> =
        vocabulary.iter().map(|(word, id)| (id.as_u64().expect("id"), word.as_str())).collect();
    words.sort_unstable();
    let folder = tempfile::tempdir().expect("folder");
    let lines: Vec<&str> = words.iter().map(|(_, word)| *word).collect();
    std::fs::write(folder.path().join("vocab.txt"), lines.join("\n")).expect("write");
    let (own, theirs) = (TextTokenizer::load(folder.path(), 32).expect("loads"), tokenizer(32));
    for text in ["", "Where's my ÉCLAIR?", "很好，谢谢", "😡 a\u{0}b", "pneumonoultramicroscopic", &"x ".repeat(99)]
    {
        let (own, theirs) = (own.tokenize(text).expect("tokens"), theirs.tokenize(text).expect("tokens"));
        assert_eq!(own, theirs, "{text:?}");
    }
    std::fs::write(folder.path().join("tokenizer_config.json"), r#"{"do_lower_case": false}"#).expect("write");
    let cased = TextTokenizer::load(folder.path(), 32).expect("loads");
    assert_ne!(cased.tokenize("HELLO").expect("tokens"), tokenizer(32).tokenize("HELLO").expect("tokens"));
    assert_ne!(cased.sha256(), own.sha256());
    std::fs::write(folder.path().join("vocab.txt"), "[CLS]\n[UNK]\nword").expect("write");
    let message = TextTokenizer::load(folder.path(), 32).expect_err("no [SEP]").to_string();
    assert!(message.contains("[SEP]") && message.contains("vocab.txt"), "{message}");
}
