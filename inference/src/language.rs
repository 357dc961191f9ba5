//! Which group of models a text belongs to, by its script alone.

use serde::{Deserialize, Serialize};

/// A text is Chinese when at least this share of its letters is, in percent. Chinese customers mix in Latin names of
/// products and sizes; English ones hardly ever a Chinese character.
const CHINESE_PERCENT_MIN: usize = 20;
/// Characters looked at: enough to tell, whatever the length of the text.
const CHARS_MAX: usize = 4096;

/// Language of a text as far as models differ by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English, and everything else that is not Chinese.
    En,
    /// Chinese.
    Zh,
}

impl Language {
    /// Both.
    pub const ALL: [Self; 2] = [Self::En, Self::Zh];

    /// The language of `text`, decided by the share of Chinese characters among its letters.
    pub fn of(text: &str) -> Self {
        let (mut letters, mut chinese) = (0_usize, 0_usize);
        for char in text.chars().take(CHARS_MAX) {
            letters += usize::from(char.is_alphabetic());
            chinese += usize::from(is_chinese(char));
        }
        if chinese > 0 && chinese * 100 >= letters * CHINESE_PERCENT_MIN { Self::Zh } else { Self::En }
    }

    /// `en` or `zh`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Zh => "zh",
        }
    }
}

/// Han ideographs of the blocks in common use.
pub(crate) fn is_chinese(char: char) -> bool {
    matches!(char, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_decides() {
        for text in ["质量很好", "iPhone 很好用", "苹果 iPhone 13 Pro Max 手机壳", "差!!!", "一"] {
            assert_eq!(Language::of(text), Language::Zh, "{text}");
        }
        let english = "I ordered the tea called 茶 from your shop in Leeds, where is it?";
        for text in ["", "where is my order", "12345", "😡", "الخدمة سيئة", english] {
            assert_eq!(Language::of(text), Language::En, "{text}");
        }
    }
}
