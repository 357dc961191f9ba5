//! How sensitive things look. Rather one number too many is masked than one too few: a model loses little by reading
//! `[phone]` where a price list stood.

use std::ops::Range;
use std::sync::LazyLock;

use regex::{Captures, Match, Regex};

use super::{Masking, Sensitive};

/// Digits of a card number.
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;
/// Digits of the shortest phone number that is masked; shorter runs are amounts, flights, hours.
const PHONE_DIGITS_MIN: usize = 7;
/// A longer number is no phone number (E.164).
const PHONE_DIGITS_MAX: usize = 15;
/// Digits that make a word behind `order` a number; one digit is a quantity, two with letters a code.
const ORDER_DIGITS_MIN: usize = 3;
/// Letters and digits that make a word with at least two digits a code.
const ORDER_CODE_MIN: usize = 6;

/// A regular expression of this module.
fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap_or_else(|error| unreachable!("a pattern of this file does not compile: {error}"))
}

/// Two digits or more with at most three signs between each two, as people write numbers, and the sign before them.
static NUMBER: LazyLock<Regex> =
    LazyLock::new(|| regex(r"[+＋]?[(（]?[0-9０-９](?:[ \t\u{A0}.\-‐‑–—/()（）_]{0,3}[0-9０-９])+"));

/// A day, which is no phone number.
static DAY: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"(?-u:\b(?:(?:19|20)\d\d[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:19|20)\d\d)\b)")
});

/// A word that announces a number, and the number, with at least one digit. The first group stays.
static ANNOUNCED: LazyLock<Regex> = LazyLock::new(|| {
    regex(concat!(
        r"(?i)((?-u:\b)(?:orders?|booking|reservation|confirmation|reference|ref|tracking|parcel|shipment|invoice|ticket|case|",
        r"claim|policy|account|acct|customer|member|contract|pnr|rma|bestellung|auftrag|rechnung|commande|pedido)(?-u:\b)",
        r"[ \t]*(?:numbers?|no|nr|num|id|code|ref|reference|nummer)?(?-u:\b)[ \t]*[.:=#\-]*[ \t]*(?:is|was|ist)?[ \t]*[:#]*[ \t]*",
        r"|(?:订单|單號|单号|运单|快递|编号|訂單)[号號]?(?:码|是|为|為)?\s*[:：#]*\s*)",
        r"([a-z0-9\-_/]*[0-9][a-z0-9\-_/]*)",
    ))
});

/// `#` and a number, or a code of letters and five digits or more.
static CODE: LazyLock<Regex> = LazyLock::new(|| {
    regex(concat!(
        r"#[ \t]?[A-Z]{0,4}[-_]?[0-9][0-9\-_/]{2,}(?-u:\b)",
        r"|(?-u:\b)[A-Za-z]{1,6}(?:[-_]?[0-9]{5,}|-[0-9]{4}-[0-9]+)[A-Za-z0-9\-_]*",
    ))
});

/// False only where nothing can match: no digit and no @, in ASCII or full width (U+FF10 to U+FF20).
pub(super) fn may_match(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit() || byte == b'@' || byte == 0xEF)
}

/// `text` with every `kind` replaced, or nothing where there is none.
pub(super) fn replace(kind: Sensitive, masking: &Masking, text: &str) -> Option<String> {
    let placeholder = kind.placeholder();
    let has_digits = |least: usize| may_have_digits(text, least);
    match kind {
        Sensitive::Email => replace_spans(text, email_at, placeholder),
        Sensitive::Handle => replace_spans(text, handle_at, placeholder),
        Sensitive::Card if has_digits(*CARD_DIGITS.start()) => {
            replace_where(&NUMBER, text, |number| is_card(&digits(number.as_str())).then_some(placeholder))
        }
        Sensitive::Order if has_digits(ORDER_DIGITS_MIN - 1) => replace_orders(text),
        Sensitive::Phone if has_digits(PHONE_DIGITS_MIN) => {
            replace_where(&NUMBER, text, |number| phone(masking, number.as_str()))
        }
        Sensitive::Card | Sensitive::Order | Sensitive::Phone => None,
    }
}

/// False only where `text` has fewer than `least` digits, of ASCII or full width.
fn may_have_digits(text: &str, least: usize) -> bool {
    text.bytes().filter(|byte| byte.is_ascii_digit() || *byte == 0xEF).nth(least.saturating_sub(1)).is_some()
}

/// `text` with what `span` finds around an @ replaced: it gets the text and the place of the @, and may look back as far as
/// a place before which everything was dealt with.
fn replace_spans(text: &str, span: fn(&str, usize, usize) -> Option<Range<usize>>, with: &str) -> Option<String> {
    let mut masked = String::new();
    let mut end = 0;
    for (place, _) in text.match_indices(['@', '＠']) {
        if place < end {
            continue;
        }
        if let Some(found) = span(text, place, end) {
            masked.push_str(&text[end..found.start]);
            masked.push_str(with);
            end = found.end;
        }
    }
    if end == 0 {
        return None;
    }
    masked.push_str(&text[end..]);
    Some(masked)
}

/// The bytes of the character that begins at `place`.
fn width(text: &str, place: usize) -> usize {
    text[place..].chars().next().map_or(0, char::len_utf8)
}

/// True for what an address consists of, in any script but the Chinese, Japanese and Korean ones, which stand beside an
/// address without a space.
fn is_of_address(letter: char) -> bool {
    let is_sign = matches!(letter, '.' | '_' | '%' | '+' | '-' | '&' | '*' | '$' | '^' | '~' | '#');
    is_sign
        || (letter.is_alphanumeric()
            && !matches!(letter, '\u{2E80}'..='\u{D7FF}' | '\u{F900}'..='\u{FAFF}' | '\u{FF00}'..='\u{FFEF}'))
}

/// The e-mail address around the @ at `place`: something before it and a domain with a dot behind it.
fn email_at(text: &str, place: usize, from: usize) -> Option<Range<usize>> {
    let before = &text[from..place];
    let local = before.len() - before.trim_end_matches(is_of_address).len();
    let behind = &text[place + width(text, place)..];
    let domain = &behind[..behind.len() - behind.trim_start_matches(is_of_address).len()];
    let domain = domain.trim_end_matches(['.', '-', '_', '*', '#', '+', '&', '^', '~', '$', '%']);
    let (host, top) = domain.rsplit_once('.')?;
    let is_domain = !host.is_empty() && top.chars().count() > 1;
    let end = place + width(text, place) + domain.len();
    (local > 0 && is_domain).then_some(place - local..end)
}

/// The name behind the @ at `place`. Names in other scripts end at a space or colon, as Weibo writes them: where they end
/// otherwise, nobody knows.
fn handle_at(text: &str, place: usize, _: usize) -> Option<Range<usize>> {
    const LETTERS_MAX: usize = 20;
    let start = place + width(text, place);
    let behind = &text[start..];
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '-');
    let name = behind[..behind.len() - behind.trim_start_matches(is_of_name).len()].trim_end_matches(['.', '-']);
    if name.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_') {
        return Some(place..start + name.len());
    }
    let (end, letter) = behind.char_indices().take(LETTERS_MAX + 1).find(|(_, letter)| !letter.is_alphanumeric())?;
    (end > 0 && (letter.is_whitespace() || matches!(letter, ':' | '：'))).then_some(place..start + end)
}

/// `text` with the matches replaced for which there is a replacement.
fn replace_where(pattern: &Regex, text: &str, with: impl Fn(Match<'_>) -> Option<&'static str>) -> Option<String> {
    let mut masked = String::new();
    let mut end = 0;
    for found in pattern.find_iter(text) {
        if let Some(replacement) = with(found) {
            masked.push_str(&text[end..found.start()]);
            masked.push_str(replacement);
            end = found.end();
        }
    }
    if end == 0 {
        return None;
    }
    masked.push_str(&text[end..]);
    Some(masked)
}

fn replace_orders(text: &str) -> Option<String> {
    let placeholder = Sensitive::Order.placeholder();
    let masked = ANNOUNCED.replace_all(text, |found: &Captures<'_>| {
        let (before, number) = (found.get(1).map_or("", |group| group.as_str()), &found[2]);
        let digits = digits(number).len();
        let is_number = digits >= ORDER_DIGITS_MIN || (digits > 1 && number.len() >= ORDER_CODE_MIN);
        if !is_number || DAY.is_match(number) {
            return found[0].to_owned();
        }
        format!("{before}{placeholder}")
    });
    let codes = replace_where(&CODE, &masked, |code| {
        let is_number = digits(code.as_str()).len() >= ORDER_DIGITS_MIN;
        is_number.then_some(placeholder)
    });
    codes.or_else(|| (masked != text).then(|| masked.into_owned()))
}

/// What a number that is no card becomes.
fn phone(masking: &Masking, number: &str) -> Option<&'static str> {
    let beside_days = DAY.replace_all(number, " ");
    match digits(&beside_days).len() {
        0..PHONE_DIGITS_MIN => None,
        PHONE_DIGITS_MIN..=PHONE_DIGITS_MAX => Some(Sensitive::Phone.placeholder()),
        _ if masking.masks(Sensitive::Order) => Some(Sensitive::Order.placeholder()),
        _ => Some(Sensitive::Phone.placeholder()),
    }
}

/// The digits of `text`, ASCII and full width, as numbers.
fn digits(text: &str) -> Vec<u32> {
    let value = |letter: char| match letter {
        '0'..='9' => letter.to_digit(10),
        '０'..='９' => Some(letter as u32 - '０' as u32),
        _ => None,
    };
    text.chars().filter_map(value).collect()
}

/// True when `digits` are a card number, or begin or end with one of the usual lengths: beside an expiry date, for
/// example. Other parts of a long number would be valid by chance, one in ten.
fn is_card(digits: &[u32]) -> bool {
    let count = digits.len();
    let beside = [15, 16].into_iter().filter(|&usual| usual < count);
    (CARD_DIGITS.contains(&count) && luhn(digits))
        || beside.into_iter().any(|usual| luhn(&digits[..usual]) || luhn(&digits[count - usual..]))
}

/// The check of ISO/IEC 7812-1. A number of zeros passes it and is none.
fn luhn(digits: &[u32]) -> bool {
    let doubled = |digit: u32| if digit > 4 { 2 * digit - 9 } else { 2 * digit };
    let sum: u32 = digits
        .iter()
        .rev()
        .zip(0_u32..)
        .map(|(&digit, place)| if place % 2 == 0 { digit } else { doubled(digit) })
        .sum();
    sum.is_multiple_of(10) && digits.iter().any(|&digit| digit != 0)
}
