//! Rows of `rejected_events` as they came, with their texts masked.

use crate::columns::{Column, ColumnKind};
use crate::reject::RAW_BYTES_MAX;

use super::Masking;

/// Bytes of the longest thing that is masked as a whole: an address (RFC 5321 allows 254).
const WORD_BYTES_MAX: usize = 320;
/// Bytes of a reject's message that are kept.
const MESSAGE_BYTES_MAX: usize = 1024;

/// What is known of a raw row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawRow {
    /// A JSON object: its identifiers and times stay, every other string and number is masked.
    Object,
    /// Anything else: masked from the first to the last byte.
    Unknown,
}

impl Masking {
    /// The row as it came, masked and cut at [`RAW_BYTES_MAX`] at a character; bytes that are not UTF-8 become `U+FFFD`.
    ///
    /// Strings are unescaped before they are masked, so that `\u0040` hides no address. NUL characters go: text in
    /// UTF-16 would hide everything between them.
    pub fn mask_row(&self, raw: &[u8], what: RawRow) -> String {
        let head = &raw[..raw.len().min(RAW_BYTES_MAX)];
        let text = String::from_utf8_lossy(head);
        if self.is_off() {
            return cut(&text, RAW_BYTES_MAX).to_owned();
        }
        let whole = if raw.len() > RAW_BYTES_MAX { without_last_word(&text) } else { &text };
        let masked = match what {
            RawRow::Object => self.mask_object(whole),
            RawRow::Unknown if whole.contains('\0') => self.mask_quoted(&whole.replace('\0', "")),
            RawRow::Unknown => self.mask_quoted(whole),
        };
        cut(&masked, RAW_BYTES_MAX).to_owned()
    }

    /// The message of a reject, which may quote a value.
    pub fn mask_message(&self, message: &str) -> String {
        cut(&self.mask(message), MESSAGE_BYTES_MAX).to_owned()
    }

    /// Masks a JSON object, which may be cut off, and leaves everything else about it as it is.
    fn mask_object(&self, line: &str) -> String {
        let mut masked = String::with_capacity(line.len());
        let (mut depth, mut column) = (0_usize, None);
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            let end = match first {
                '"' => string_end(rest),
                '{' | '}' | '[' | ']' | ',' | ':' => 1,
                _ => rest.find(['"', '{', '}', '[', ']', ',', ':']).unwrap_or(rest.len()),
            };
            let (token, after) = rest.split_at(end);
            rest = after;
            match first {
                '"' if depth == 1 && after.trim_ascii_start().starts_with(':') => {
                    column = Column::parse(token.trim_matches('"'));
                    if column.is_some() { masked.push_str(token) } else { self.push_string(&mut masked, token) }
                }
                '"' if depth == 1 && column.is_some_and(|column| stays(column, token)) => masked.push_str(token),
                '"' => self.push_string(&mut masked, token),
                '{' | '[' => depth += 1,
                '}' | ']' => depth = depth.saturating_sub(1),
                ',' if depth == 1 => column = None,
                ',' | ':' => {}
                _ if depth == 1 && column.is_some_and(is_numeric) => masked.push_str(token),
                // A number where a text belongs, or of a key that nobody knows.
                _ => match self.mask(token) {
                    std::borrow::Cow::Borrowed(token) => masked.push_str(token),
                    std::borrow::Cow::Owned(token) => masked.push_str(&format!("\"{}\"", token.trim_ascii())),
                },
            }
            if matches!(first, '{' | '}' | '[' | ']' | ',' | ':') {
                masked.push(first);
            }
        }
        masked
    }

    /// Masks what may be anything: quoted strings unescaped, what stands between them as it is.
    fn mask_quoted(&self, line: &str) -> String {
        let mut masked = String::with_capacity(line.len());
        let mut rest = line;
        while !rest.is_empty() {
            let is_string = rest.starts_with('"');
            let end = if is_string { string_end(rest) } else { rest.find('"').unwrap_or(rest.len()) };
            let (token, after) = rest.split_at(end);
            if is_string {
                self.push_string(&mut masked, token)
            } else {
                masked.push_str(&self.mask(token))
            }
            rest = after;
        }
        masked
    }

    /// Appends a quoted string, which may lack its end, masked.
    fn push_string(&self, masked: &mut String, token: &str) {
        let is_closed = token.len() > 1 && token.ends_with('"');
        let content = &token[1..token.len() - usize::from(is_closed)];
        let unescaped = content.contains('\\').then(|| serde_json::from_str::<String>(&format!("\"{content}\"")).ok());
        match unescaped.flatten() {
            Some(text) => match self.mask(&text) {
                std::borrow::Cow::Borrowed(_) => masked.push_str(token),
                std::borrow::Cow::Owned(text) => masked.push_str(&serde_json::Value::from(text).to_string()),
            },
            None => {
                masked.push('"');
                masked.push_str(&self.mask(content));
                masked.push_str(if is_closed { "\"" } else { "" });
            }
        }
    }
}

/// Where the string that begins `text` ends, its quotation marks included; the end of `text` where it has no end.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (place, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return place + 1,
            _ => {}
        }
    }
    text.len()
}

/// True for values that other tables publish as they are: identifiers, and times that look like one.
fn stays(column: Column, token: &str) -> bool {
    let is_year = |text: &[u8]| text.len() > 4 && text[..4].iter().all(u8::is_ascii_digit) && text[4] == b'-';
    match column.kind() {
        ColumnKind::Text => column == Column::Source || column.name().ends_with("_id"),
        ColumnKind::Time => is_year(&token.as_bytes()[1..]),
        _ => false,
    }
}

fn is_numeric(column: Column) -> bool {
    matches!(column.kind(), ColumnKind::Int | ColumnKind::Number | ColumnKind::Time | ColumnKind::Bool)
}

/// The first `bytes_max` bytes of `text`, at a character.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// `text` without the word in which it was cut off: what is left of it would not be recognised.
fn without_last_word(text: &str) -> &str {
    let from = text.floor_char_boundary(text.len().saturating_sub(WORD_BYTES_MAX));
    let end = text[from..].rfind(|letter: char| letter.is_whitespace() || letter == '"').unwrap_or(0);
    &text[..from + end]
}
