//! How sensitive things look. Rather one number too many is masked than one too few: a model loses little by reading
//! `[phone]` where a price list stood.

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

/// Letters, digits and signs of an address in any script but the Chinese, Japanese and Korean ones, which stand
/// beside an address without a space.
static EMAIL: LazyLock<Regex> = LazyLock::new(|| {
    let part = r#"[^\s@＠<>()\[\]{},;:"'`|\\/!?=\x{2010}-\x{206F}\x{2E80}-\x{9FFF}\x{AC00}-\x{D7AF}\x{FF00}-\x{FFEF}]"#;
    regex(&format!(r"{part}+[@＠](?:{part}+\.)+[\p{{L}}\p{{N}}--[\x{{2E80}}-\x{{9FFF}}]]{{2,}}"))
});

/// Two digits or more with at most three signs between each two, as people write numbers, and the sign before them.
static NUMBER: LazyLock<Regex> =
    LazyLock::new(|| regex(r"[+＋]?[(（]?[0-9０-９](?:[ \t\u{A0}.\-‐‑–—/()（）_]{0,3}[0-9０-９])+"));

/// A day, which is no phone number.
static DAY: LazyLock<Regex> =
    LazyLock::new(|| regex(r"\b(?:(?:19|20)\d\d[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:19|20)\d\d)\b"));

/// A word that announces a number, and the number, with at least one digit. The first group stays.
static ANNOUNCED: LazyLock<Regex> = LazyLock::new(|| {
    regex(concat!(
        r"(?i)(\b(?:orders?|booking|reservation|confirmation|reference|ref|tracking|parcel|shipment|invoice|ticket|case|",
        r"claim|policy|account|acct|customer|member|contract|pnr|rma|bestellung|auftrag|rechnung|commande|pedido)\b",
        r"[ \t]*(?:numbers?|no|nr|num|id|code|ref|reference|nummer)?\b[ \t]*[.:=#\-]*[ \t]*(?:is|was|ist)?[ \t]*[:#]*[ \t]*",
        r"|(?:订单|單號|单号|运单|快递|编号|訂單)[号號]?(?:码|是|为|為)?\s*[:：#]*\s*)",
        r"([a-z0-9\-_/]*[0-9][a-z0-9\-_/]*)",
    ))
});

/// `#` and a number, or a code of letters and five digits or more.
static CODE: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"#[ \t]?[A-Z]{0,4}[-_]?[0-9][0-9\-_/]{2,}\b|\b[A-Za-z]{1,6}(?:[-_]?[0-9]{5,}|-[0-9]{4}-[0-9]+)[A-Za-z0-9\-_]*",
    )
});

/// A name behind @. Names in Chinese characters end at a space or colon, as Weibo writes them.
static HANDLE: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"[@＠](?:[A-Za-z0-9_][\w.\-&&[\x00-\x7F]]*[\w&&[\x00-\x7F]]|[A-Za-z0-9_]|[\w\-]{1,20}([\s:：]|$))")
});

/// False only where nothing can match: no digit and no @, in ASCII or full width (U+FF10 to U+FF20).
pub(super) fn may_match(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit() || byte == b'@' || byte == 0xEF)
}

/// `text` with every `kind` replaced, or nothing where there is none.
pub(super) fn replace(kind: Sensitive, masking: &Masking, text: &str) -> Option<String> {
    let placeholder = kind.placeholder();
    match kind {
        Sensitive::Email if text.contains(['@', '＠']) => replace_where(&EMAIL, text, |_| Some(placeholder)),
        Sensitive::Handle if text.contains(['@', '＠']) => replace_handles(text),
        Sensitive::Email | Sensitive::Handle => None,
        Sensitive::Card => {
            replace_where(&NUMBER, text, |number| is_card(&digits(number.as_str())).then_some(placeholder))
        }
        Sensitive::Order => replace_orders(text),
        Sensitive::Phone => replace_where(&NUMBER, text, |number| phone(masking, number.as_str())),
    }
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

fn replace_handles(text: &str) -> Option<String> {
    let masked = HANDLE.replace_all(text, |found: &Captures<'_>| {
        format!("{}{}", Sensitive::Handle.placeholder(), found.get(1).map_or("", |end| end.as_str()))
    });
    (masked != text).then(|| masked.into_owned())
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
    sum % 10 == 0 && digits.iter().any(|&digit| digit != 0)
}
