//! Texts to token ids: a Hugging Face `tokenizer.json` with a hard bound on the work per text.

use std::path::Path;

use tokenizers::{TruncationDirection, TruncationParams, TruncationStrategy};

use crate::error::{InferenceError, Result, malformed, read_file};
use crate::weights::sha256_hex;

/// Characters looked at per token of the limit. Words of the covered languages have fewer than 8 characters a token;
/// what lies beyond could only matter in a text that is mostly one endless "word" or white space.
const CHARS_PER_TOKEN_MAX: usize = 64;

/// The token ids of one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenizedText {
    /// Ids with `[CLS]` first and `[SEP]` last; never empty, at most [`TextTokenizer::max_tokens`].
    pub ids: Vec<u32>,
    /// Whether the end of the text was cut off.
    pub truncated: bool,
}

/// A tokenizer that adds `[CLS]` and `[SEP]`, never pads, and cuts long texts.
#[derive(Clone, Debug)]
pub struct TextTokenizer {
    inner: tokenizers::Tokenizer,
    max_tokens: usize,
    sha256: String,
}

impl TextTokenizer {
    /// Loads `tokenizer.json` of a Hugging Face folder; texts are cut at `max_tokens`, special tokens included.
    ///
    /// # Errors
    /// The file is missing or malformed, or `max_tokens` leaves no room for a token of the text (less than 3).
    pub fn load(folder: &Path, max_tokens: usize) -> Result<Self> {
        if max_tokens < 3 {
            return Err(InferenceError::Config(format!("max_tokens is {max_tokens}, at least 3 are needed")));
        }
        let path = folder.join("tokenizer.json");
        let bytes = read_file(&path, "deploy/setup.sh provides the default encoder")?;
        let mut inner = tokenizers::Tokenizer::from_bytes(&bytes).map_err(|error| malformed(&path, error))?;
        let truncation = TruncationParams {
            direction: TruncationDirection::Right,
            max_length: max_tokens,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        };
        inner.with_padding(None);
        inner.with_truncation(Some(truncation)).map_err(|error| malformed(&path, error))?;
        Ok(Self { inner, max_tokens, sha256: sha256_hex(&bytes) })
    }

    /// Token ids of `text`, which may be empty, of any script, or megabytes long: only its first
    /// 64 · [`max_tokens`](Self::max_tokens) characters are looked at.
    ///
    /// # Errors
    /// [`InferenceError::Tokenize`] when the tokenizer fails or yields no token at all.
    pub fn tokenize(&self, text: &str) -> Result<TokenizedText> {
        let (head, cut) = first_chars(text, self.max_tokens * CHARS_PER_TOKEN_MAX);
        let encoding =
            self.inner.encode_fast(head, true).map_err(|error| InferenceError::Tokenize(error.to_string()))?;
        let ids = encoding.get_ids().to_vec();
        if ids.is_empty() {
            return Err(InferenceError::Tokenize("the tokenizer yields no token, not even [CLS]".to_owned()));
        }
        Ok(TokenizedText { ids, truncated: cut || !encoding.get_overflowing().is_empty() })
    }

    /// Longest result of [`tokenize`](Self::tokenize) in tokens.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// SHA-256 of `tokenizer.json`, lower-case hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

/// The first `count` characters of `text` and whether anything was left off; costs at most `count` steps.
fn first_chars(text: &str, count: usize) -> (&str, bool) {
    match text.char_indices().nth(count) {
        Some((end, _)) => (&text[..end], true),
        None => (text, false),
    }
}
