//! Texts to token ids: the tokenizer of a Hugging Face folder with a hard bound on the work per text.

use std::path::Path;

use serde::Deserialize;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{Model, Tokenizer, TruncationDirection, TruncationParams, TruncationStrategy};

use crate::emoji::{EmojiNames, MOST_USED};
use crate::error::{InferenceError, Result, malformed, read_file};
use crate::weights::sha256_hex;

/// Characters looked at per token of the limit. Words of the covered languages have fewer than 8 characters a token;
/// what lies beyond could only matter in a text that is mostly one endless "word" or white space.
const CHARS_PER_TOKEN_MAX: usize = 64;

/// The token ids of one text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenizedText {
    /// Ids with `[CLS]` first and `[SEP]` last; never empty, at most [`TextTokenizer::max_tokens`].
    pub ids: Vec<u32>,
    /// Per id, the first character (Unicode scalar) of the text it stands for and one past the last; equal for `[CLS]`
    /// and `[SEP]`.
    pub spans: Vec<(u32, u32)>,
    /// Whether the end of the text was cut off.
    pub truncated: bool,
}

/// A tokenizer that adds `[CLS]` and `[SEP]`, never pads, and cuts long texts.
#[derive(Clone, Debug)]
pub struct TextTokenizer {
    inner: Tokenizer,
    /// Emoji that are read as their names.
    emoji: Option<EmojiNames>,
    max_tokens: usize,
    sha256: String,
}

impl TextTokenizer {
    /// Loads the tokenizer of a Hugging Face folder, `tokenizer.json` (of any kind, such as WordPiece or Unigram) or else
    /// `vocab.txt` (WordPiece); texts are cut at `max_tokens`, special tokens included.
    ///
    /// # Errors
    /// The file is missing or malformed, or `max_tokens` leaves no room for a token of the text (less than 3).
    pub fn load(folder: &Path, max_tokens: usize) -> Result<Self> {
        if max_tokens < 3 {
            return Err(InferenceError::Config(format!("max_tokens is {max_tokens}, at least 3 are needed")));
        }
        let path = folder.join("tokenizer.json");
        let vocabulary = folder.join("vocab.txt");
        let (mut inner, sha256) = if !path.exists() && vocabulary.exists() {
            from_vocabulary(folder, &vocabulary)?
        } else {
            let bytes = read_file(&path, "deploy/setup.sh provides the default encoder")?;
            (Tokenizer::from_bytes(&bytes).map_err(|error| malformed(&path, error))?, sha256_hex(&bytes))
        };
        let truncation = TruncationParams {
            direction: TruncationDirection::Right,
            max_length: max_tokens,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        };
        inner.with_padding(None);
        inner.with_truncation(Some(truncation)).map_err(|error| malformed(&path, error))?;
        Ok(Self { inner, emoji: None, max_tokens, sha256 })
    }

    /// The same, but emoji that the vocabulary does not have are read as their names. Nothing changes for a tokenizer that has
    /// tokens for emoji.
    pub fn with_emoji_names(self) -> Self {
        let unknown = ["[UNK]", "<unk>"].iter().find_map(|token| self.inner.token_to_id(token));
        let knows = |text: &str| match self.inner.encode_fast(text, false) {
            Ok(encoding) => unknown.is_none_or(|unknown| !encoding.get_ids().contains(&unknown)),
            Err(_) => false,
        };
        if knows(MOST_USED) {
            return self;
        }
        let names = EmojiNames::new(knows);
        let sha256 = sha256_hex([&self.sha256, names.sha256()].join(" ").as_bytes());
        Self { emoji: Some(names), sha256, ..self }
    }

    /// Token ids of `text`, which may be empty, of any script, or megabytes long: only its first
    /// 64 · [`max_tokens`](Self::max_tokens) characters are looked at.
    ///
    /// # Errors
    /// [`InferenceError::Tokenize`] when the tokenizer fails or yields no token at all.
    pub fn tokenize(&self, text: &str) -> Result<TokenizedText> {
        let chars_max = self.max_tokens * CHARS_PER_TOKEN_MAX;
        let (head, mut cut) = first_chars(text, chars_max);
        let spelled = self.emoji.as_ref().and_then(|names| names.spell(head));
        let read = spelled.as_ref().map_or(head, |spelled| {
            let (read, is_longer) = first_chars(&spelled.text, chars_max);
            cut |= is_longer;
            read
        });
        let encoding =
            self.inner.encode_char_offsets(read, true).map_err(|error| InferenceError::Tokenize(error.to_string()))?;
        let ids = encoding.get_ids().to_vec();
        if ids.is_empty() {
            return Err(InferenceError::Tokenize("the tokenizer yields no token, not even [CLS]".to_owned()));
        }
        let spans = encoding.get_offsets().iter().map(|&(start, end)| (start as u32, end as u32));
        let spans = match &spelled {
            Some(spelled) => spans.map(|span| spelled.origin(span)).collect(),
            None => spans.collect(),
        };
        Ok(TokenizedText { ids, spans, truncated: cut || !encoding.get_overflowing().is_empty() })
    }

    /// Longest result of [`tokenize`](Self::tokenize) in tokens.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// SHA-256 of what defines the tokenizer, lower-case hexadecimal: of `tokenizer.json`, or of the bytes of
    /// `vocab.txt` and the case setting; with the names of emoji where they are read.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

/// The part of `tokenizer_config.json` that matters beside `vocab.txt`.
#[derive(Deserialize)]
struct WordPieceSettings {
    #[serde(default = "lower_case")]
    do_lower_case: bool,
}

fn lower_case() -> bool {
    true
}

/// BERT's WordPiece tokenizer for a `vocab.txt`, lower-casing unless `tokenizer_config.json` says otherwise, and its digest.
fn from_vocabulary(folder: &Path, vocabulary: &Path) -> Result<(Tokenizer, String)> {
    let mut bytes = read_file(vocabulary, "a folder needs tokenizer.json or vocab.txt")?;
    let settings_path = folder.join("tokenizer_config.json");
    let lower_case = match std::fs::read(&settings_path) {
        Ok(json) => {
            let settings: WordPieceSettings =
                serde_json::from_slice(&json).map_err(|error| malformed(&settings_path, error))?;
            settings.do_lower_case
        }
        Err(_) => true,
    };
    let unusable = |error: tokenizers::Error| malformed(vocabulary, error);
    let file = vocabulary.to_string_lossy();
    let model = WordPiece::from_file(&file).unk_token("[UNK]".to_owned()).build().map_err(unusable)?;
    let special = |token: &str| {
        let id = model.token_to_id(token);
        id.map(|id| (token.to_owned(), id)).ok_or_else(|| malformed(vocabulary, format!("it has no token {token}")))
    };
    let processing = BertProcessing::new(special("[SEP]")?, special("[CLS]")?);
    special("[UNK]")?;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer
        .with_normalizer(Some(BertNormalizer::new(true, true, None, lower_case)))
        .map_err(unusable)?
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_post_processor(Some(processing));
    bytes.extend(format!("lower_case={lower_case}").into_bytes());
    Ok((tokenizer, sha256_hex(&bytes)))
}

/// The first `count` characters of `text` and whether anything was left off; costs at most `count` steps.
fn first_chars(text: &str, count: usize) -> (&str, bool) {
    match text.char_indices().nth(count) {
        Some((end, _)) => (&text[..end], true),
        None => (text, false),
    }
}
