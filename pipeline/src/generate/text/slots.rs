//! The blanks of templates and what they are filled with.

use std::fmt::Write;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::Language;

const PRODUCTS_EN: [&str; 16] = [
    "wireless headphones",
    "coffee machine",
    "desk lamp",
    "running shoes",
    "backpack",
    "phone case",
    "air fryer",
    "office chair",
    "smart watch",
    "rain jacket",
    "electric kettle",
    "keyboard",
    "water filter",
    "yoga mat",
    "vacuum cleaner",
    "bluetooth speaker",
];
const PRODUCTS_ZH: [&str; 14] = [
    "无线耳机",
    "咖啡机",
    "台灯",
    "跑鞋",
    "双肩包",
    "手机壳",
    "空气炸锅",
    "办公椅",
    "智能手表",
    "冲锋衣",
    "电热水壶",
    "键盘",
    "吸尘器",
    "蓝牙音箱",
];
const CITIES_EN: [&str; 12] = [
    "Leeds", "Bristol", "Austin", "Denver", "Toronto", "Dublin", "Perth", "Cardiff", "Portland", "Glasgow", "Boston",
    "Auckland",
];
const CITIES_ZH: [&str; 10] = ["杭州", "成都", "武汉", "南京", "西安", "苏州", "青岛", "长沙", "厦门", "广州"];
const DAYS_EN: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const DAYS_ZH: [&str; 7] = ["周一", "周二", "周三", "周四", "周五", "周六", "周日"];
const MONTHS_EN: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Appends `template` with each `{slot}` replaced. A slot nobody knows stays as it is; a test looks for those.
pub(super) fn fill(template: &str, language: Language, rng: &mut ChaCha8Rng, out: &mut String) {
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((slot, tail)) = after.split_once('}') else {
            out.push('{');
            rest = after;
            continue;
        };
        append(slot, language, rng, out);
        rest = tail;
    }
    out.push_str(rest);
}

fn append(slot: &str, language: Language, rng: &mut ChaCha8Rng, out: &mut String) {
    let english = language == Language::English;
    let mut one = |english_words: &[&'static str], chinese_words: &[&'static str]| {
        let words = if english { english_words } else { chinese_words };
        words[rng.random_range(0..words.len())]
    };
    // Writing to a String cannot fail.
    _ = match slot {
        "product" => out.write_str(one(&PRODUCTS_EN, &PRODUCTS_ZH)),
        "city" => out.write_str(one(&CITIES_EN, &CITIES_ZH)),
        "day" => out.write_str(one(&DAYS_EN, &DAYS_ZH)),
        "order" => write!(out, "{}{:05}", ["A-", "B-", "W-"][rng.random_range(0..3)], rng.random_range(10_000..99_999)),
        "amount" => append_amount(english, rng, out),
        "date" => append_date(english, rng, out),
        "n" => write!(out, "{}", rng.random_range(2..10)),
        "minutes" => write!(out, "{}", rng.random_range(3..12) * 5),
        unknown => write!(out, "{{{unknown}}}"),
    };
}

fn append_amount(english: bool, rng: &mut ChaCha8Rng, out: &mut String) -> std::fmt::Result {
    let whole = rng.random_range(8..320);
    if english {
        write!(out, "${whole}.{:02}", [0, 49, 50, 90, 99][rng.random_range(0..5)])
    } else {
        write!(out, "{whole}元")
    }
}

fn append_date(english: bool, rng: &mut ChaCha8Rng, out: &mut String) -> std::fmt::Result {
    let (month, day) = (rng.random_range(0..12), rng.random_range(1..29));
    if english { write!(out, "{} {day}", MONTHS_EN[month]) } else { write!(out, "{}月{day}日", month + 1) }
}
