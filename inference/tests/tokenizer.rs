//! Texts as they come.
//!
//! Catches: texts that have no tokens or too many, truncation that is not reported, and work that grows with the text.

use std::time::{Duration, Instant};

use contactflow_inference::{MultilingualConfig, TextTokenizer, default_encoder_dir};

const CLS: u32 = 101;
const SEP: u32 = 102;

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
    let tokenizer = tokenizer(128);
    for text in
        ["a".repeat(1 << 20), "word ".repeat(1 << 18), "字".repeat(1 << 19), " ".repeat(1 << 20), "😡".repeat(1 << 18)]
    {
        let started = Instant::now();
        let tokenized = tokenizer.tokenize(&text).expect("tokens");
        assert!(tokenized.truncated && tokenized.ids.len() <= 128);
        // Whole megabytes take the tokenizer about a second; the bound leaves room for a busy machine.
        assert!(started.elapsed() < Duration::from_millis(300), "{:?}", started.elapsed());
    }
}

#[test]
fn every_token_knows_its_characters() {
    let text = "Où est mon remboursement? 很好 🙂";
    for folder in [default_encoder_dir(), MultilingualConfig::default().encoder_dir] {
        let tokenizer =
            TextTokenizer::load(&folder, 64).expect("deploy/setup.sh --multilingual provides both encoders");
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
