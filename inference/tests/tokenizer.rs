//! Texts as they come.
//!
//! Catches: texts that have no tokens or too many, truncation that is not reported, and work that grows with the text.

use std::time::{Duration, Instant};

use contactflow_inference::{TextTokenizer, default_encoder_dir};

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
