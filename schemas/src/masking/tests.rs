//! Sensitive things in the forms in which people write them, and what is none.

use super::raw::RawRow;
use super::*;
use crate::reject::RAW_BYTES_MAX;

fn masked(text: &str) -> String {
    Masking::default().mask(text).into_owned()
}

#[test]
fn sensitive_things_are_replaced() {
    let cases = [
        ("write to john.smith+shop@mail.example.co.uk, please", "write to [email], please"),
        ("邮箱john@example.com谢谢", "邮箱[email]谢谢"),
        ("JOSÉ@EXÄMPLE.DE", "[email]"),
        ("john＠example.com", "[email]"),
        ("<a_b@x-y.org>;b@c.io", "<[email]>;[email]"),
        ("my card is 4111 1111 1111 1111.", "my card is [card]."),
        ("5500-0000-0000-0004 exp 12/27", "[card] exp 12/27"),
        ("378282246310005", "[card]"),
        ("卡号６２１２３４５６７８９０１２３２", "卡号[card]"),
        ("卡号６２１２３４５６７８９０１２３３", "卡号[order]"),
        ("call +49 (0)30 1234567 today", "call [phone] today"),
        ("(555) 123-4567", "[phone]"),
        ("00447900248601.", "[phone]."),
        ("我的电话是13800138000，谢谢", "我的电话是[phone]，谢谢"),
        ("tel:555.123.4567", "tel:[phone]"),
        ("order 12345 is late", "order [order] is late"),
        ("Order No.: A-12345!", "Order No.: [order]!"),
        ("订单号：20231105123456", "订单号：[card]"),
        ("订单号：SF20231105", "订单号：[order]"),
        ("booking reference X7YZ92", "booking reference [order]"),
        ("where is #20394?", "where is [order]?"),
        ("file ref kwiku14346 hope", "file ref [order] hope"),
        ("RMA123456 and ORD-2024-001234", "[order] and [order]"),
        ("98765432109876543210987", "[order]"),
        ("@Delta and @115818: hi", "@user and @user: hi"),
        ("＠小明 你好", "@user 你好"),
        ("john@localhost", "john@user"),
    ];
    let wrong: Vec<_> = cases.into_iter().filter(|(text, expected)| masked(text) != *expected).collect();
    let found: Vec<String> = wrong.iter().map(|(text, _)| masked(text)).collect();
    assert!(wrong.is_empty(), "{wrong:?} became {found:?}");
}

#[test]
fn other_things_stay() {
    for text in [
        "thank you so much 🙏",
        "the 9 o'clock flight on 2024-03-01 10:00 was 3 hours late",
        "from 01.02.2024 to 12/31/2024, 24/7",
        "I paid $1,234.56 for 2 tickets, order 66",
        "ios 11.0.3 on iPhone 6s, Windows 10 1703, 15% off #175stories",
        "seat 14C gate B22, flight 1305 and 6353",
        "meet @ noon",
        "",
        "，。！",
    ] {
        assert!(matches!(Masking::default().mask(text), Cow::Borrowed(_)) || masked(text) == text, "{}", masked(text));
    }
}

#[test]
fn masking_twice_changes_nothing() {
    for text in ["a@b.com 4111111111111111 order 99123 +1 555 123 4567 @me", "order [order] #[phone] @user"] {
        assert_eq!(masked(&masked(text)), masked(text));
    }
}

#[test]
fn each_kind_can_be_switched() {
    let text = "a@b.com 4111111111111111 #99123 +1 555 123 4567 @me";
    assert_eq!(Masking::OFF.mask(text), text);
    assert_eq!(Masking::of(&[Sensitive::Email]).mask(text), "[email] 4111111111111111 #99123 +1 555 123 4567 @me");
    assert_eq!(Masking::of(&[Sensitive::Card]).mask(text), "a@b.com [card] #99123 +1 555 123 4567 @me");
    let masking: Masking = serde_json::from_str(r#"["phone", "handle"]"#).unwrap();
    assert_eq!(masking, Masking::of(&[Sensitive::Phone, Sensitive::Handle]));
    assert_eq!(serde_json::from_str::<Masking>(r#""off""#).unwrap(), Masking::OFF);
    assert_eq!(serde_json::to_string(&masking).unwrap(), r#"["handle","phone"]"#);
    assert!(serde_json::from_str::<Masking>(r#"["names"]"#).is_err());
    assert!(serde_json::from_str::<Masking>(r#""on""#).unwrap_err().to_string().contains("off"));
}

#[test]
fn rows_keep_identifiers_and_lose_texts() {
    let row = |line: &str| Masking::default().mask_row(line.as_bytes(), RawRow::Object);
    for (line, expected) in [
        (
            r#"{"event_id":"ORD-12345678","event_time":1709287200000,"text":"call 5551234567"}"#,
            r#"{"event_id":"ORD-12345678","event_time":1709287200000,"text":"call [phone]"}"#,
        ),
        (r#"{"text":"john\u0040example.com"}"#, r#"{"text":"[email]"}"#),
        (r#"{"text": 4111111111111111 ,"note":["a@b.com"]}"#, r#"{"text":"[card]","note":["[email]"]}"#),
        (
            r#"{"attributes":{"event_id":"a@b.com"},"a@b.com":1}"#,
            r#"{"attributes":{"event_id":"[email]"},"[email]":1}"#,
        ),
        (r#"{"event_time":"2024-03-01 10:00:00.123456","x":"#, r#"{"event_time":"2024-03-01 10:00:00.123456","x":"#),
        (r#"{"event_time":"+49 30 1234567"}"#, r#"{"event_time":"[phone]"}"#),
    ] {
        assert_eq!(row(line), expected);
    }
    let unknown = |line: &str| Masking::default().mask_row(line.as_bytes(), RawRow::Unknown);
    assert_eq!(unknown(r#"{"text":"john\u0040example.com, 5551234567"#), r#"{"text":"[email], [phone]""#);
    assert_eq!(unknown("a;order: 12345;j\0o@x.com"), "a;order: [order];[email]");
    assert_eq!(Masking::OFF.mask_row(b"a@b.com \xff", RawRow::Unknown), "a@b.com \u{fffd}");
}

#[test]
fn raw_rows_are_cut_at_a_character() {
    let row = "é".repeat(RAW_BYTES_MAX);
    for masking in [Masking::OFF, Masking::default()] {
        let cut = masking.mask_row(row.as_bytes(), RawRow::Unknown);
        assert!(cut.len() <= RAW_BYTES_MAX);
        assert!(cut.starts_with("éé"));
    }
}

#[test]
fn a_cut_leaves_no_half_of_a_thing() {
    for lead in RAW_BYTES_MAX - 40..RAW_BYTES_MAX + 5 {
        for thing in ["john.smith@example.com", "4111 1111 1111 1111", "+49 30 1234567"] {
            let line = format!("{} {thing} tail", "x ".repeat(lead / 2));
            let row = Masking::default().mask_row(line.as_bytes(), RawRow::Unknown);
            assert!(row.len() <= RAW_BYTES_MAX);
            assert!(!row.contains("john") && !row.contains("4111 1111") && !row.contains("123456"), "{lead} {thing}");
        }
    }
}
