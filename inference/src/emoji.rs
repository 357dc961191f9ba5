//! Emoji as words, for tokenizers that know none.
//!
//! The vocabularies of many BERT encoders, that of all-MiniLM-L6-v2 among them, were drawn up from books and encyclopaedias: an
//! emoji is `[UNK]` to them, and so is every word that touches one ("great😡" is a single unknown word). What customers feel is
//! often said in nothing else, so such a tokenizer is given the emoji's name (Unicode CLDR short name) in its place, set off by
//! spaces: "great enraged face".

use std::collections::HashSet;

use emojis::{Emoji, SkinTone};
use unicode_segmentation::UnicodeSegmentation;

use crate::weights::sha256_hex;

/// The emoji by which it is seen whether a tokenizer knows emoji: the one that is used most.
pub(crate) const MOST_USED: &str = "😂";
/// How often a repeated emoji is named: emphasis is told, and the tokens of the rest of the text are not used up.
const REPEATS_NAMED: usize = 3;
/// Asks for the pictorial form of the character before it.
const VARIATION_SELECTOR: char = '\u{fe0f}';

/// Which emoji are read as their names.
#[derive(Clone, Debug)]
pub(crate) struct EmojiNames {
    /// Emoji that the tokenizer knows, as Unicode lists them.
    known: HashSet<&'static str>,
    sha256: String,
}

/// A text with names in place of emoji.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Spelled {
    pub(crate) text: String,
    /// Per character of `text`, the first character of the original it stands for and one past the last.
    origins: Vec<(u32, u32)>,
}

impl Spelled {
    /// The characters of the original that characters of the text stand for.
    pub(crate) fn origin(&self, (start, end): (u32, u32)) -> (u32, u32) {
        match (self.origins.get(start as usize), end.checked_sub(1).and_then(|last| self.origins.get(last as usize))) {
            (Some(first), Some(last)) if start < end => (first.0, last.1),
            _ => (0, 0),
        }
    }

    fn push(&mut self, text: &str, origin: (u32, u32)) {
        self.text.push_str(text);
        self.origins.extend(text.chars().map(|_| origin));
    }
}

impl EmojiNames {
    /// Names for all emoji but those for which the tokenizer `knows` something to say.
    pub(crate) fn new(knows: impl Fn(&str) -> bool) -> Self {
        let (mut known, mut read) = (HashSet::new(), String::new());
        for emoji in emojis::iter() {
            if knows(emoji.as_str().trim_end_matches(VARIATION_SELECTOR)) {
                known.insert(emoji.as_str());
            } else {
                read.push_str(&format!("{emoji} {}\n", emoji.name()));
            }
        }
        Self { known, sha256: sha256_hex(read.as_bytes()) }
    }

    /// Digest of the emoji that are read and of their names, lower-case hexadecimal.
    pub(crate) fn sha256(&self) -> &str {
        &self.sha256
    }

    /// `text` with names in place of emoji; none where there is nothing to replace.
    pub(crate) fn spell(&self, text: &str) -> Option<Spelled> {
        if text.is_ascii() {
            return None;
        }
        let mut spelled = Spelled { text: String::with_capacity(2 * text.len()), origins: Vec::new() };
        let (mut place, mut is_replaced, mut run) = (0, false, (None, 0));
        for cluster in text.graphemes(true) {
            let start = place;
            place += cluster.chars().count() as u32;
            let Some(emoji) = self.emoji(cluster) else {
                run = (None, 0);
                for (offset, char) in (start..).zip(cluster.chars()) {
                    spelled.text.push(char);
                    spelled.origins.push((offset, offset + 1));
                }
                continue;
            };
            is_replaced = true;
            run = if run.0 == Some(emoji.as_str()) { (run.0, run.1 + 1) } else { (Some(emoji.as_str()), 1) };
            if run.1 > REPEATS_NAMED {
                // The last that was named stands for the rest of the run.
                let named = spelled.origins.last().copied();
                spelled
                    .origins
                    .iter_mut()
                    .rev()
                    .take_while(|origin| Some(**origin) == named)
                    .for_each(|it| it.1 = place);
            } else {
                spelled.push(&format!(" {} ", emoji.name()), (start, place));
            }
        }
        is_replaced.then_some(spelled)
    }

    /// The emoji, without its skin tone, that a cluster of characters shows and the tokenizer does not know.
    fn emoji(&self, cluster: &str) -> Option<&'static Emoji> {
        let first = cluster.char_indices().nth(1).map_or(cluster, |(end, _)| &cluster[..end]);
        // A modifier that the emoji does not take leaves the emoji.
        let emoji = emojis::get(cluster).or_else(|| emojis::get(first))?;
        let emoji = emoji.with_skin_tone(SkinTone::Default).unwrap_or(emoji);
        (!self.known.contains(emoji.as_str())).then_some(emoji)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> EmojiNames {
        EmojiNames::new(|emoji| emoji == "♥")
    }

    fn spell(text: &str) -> String {
        names().spell(text).map_or_else(|| text.to_owned(), |spelled| spelled.text)
    }

    #[test]
    fn emoji_are_read_as_their_names() {
        for (text, expected) in [
            ("", ""),
            ("no emoji at all", "no emoji at all"),
            ("很好 ok", "很好 ok"),
            ("great😡!", "great enraged face !"),
            ("👍🏽 👍", " thumbs up   thumbs up "),
            ("🤦\u{200d}♀\u{fe0f}", " woman facepalming "),
            ("🇩🇪", " flag: Germany "),
            ("☹ ☹\u{fe0f}", " frowning face   frowning face "),
            // It is known.
            ("♥ ♥\u{fe0f}", "♥ ♥\u{fe0f}"),
            // A modifier that nothing takes.
            ("😂\u{fe0f}", " face with tears of joy "),
            ("1 # * ©", "1 # *  copyright "),
            ("🔥🔥🔥🔥🔥🔥 hot", " fire  fire  fire  hot"),
            ("🔥🔥💧🔥🔥", " fire  fire  droplet  fire  fire "),
        ] {
            assert_eq!(spell(text), expected, "{text:?}");
        }
    }

    #[test]
    fn names_know_the_characters_they_stand_for() {
        let text = "ab👍🏽c🔥🔥🔥🔥🔥d";
        let spelled = names().spell(text).unwrap();
        let at = |word: &str| {
            let byte = spelled.text.find(word).unwrap();
            let start = spelled.text[..byte].chars().count() as u32;
            spelled.origin((start, start + word.chars().count() as u32))
        };
        assert_eq!((at("ab"), at("thumbs"), at("up"), at("c")), ((0, 2), (2, 4), (2, 4), (4, 5)));
        let fires: Vec<u32> = spelled.text.match_indices("fire").map(|(byte, _)| byte as u32).collect();
        assert_eq!(fires.len(), 3);
        let places = fires.iter().map(|&start| spelled.origin((start, start + 4))).collect::<Vec<_>>();
        assert_eq!(places, [(5, 6), (6, 7), (7, 10)]);
        assert_eq!(at("d"), (10, 11));
        assert_eq!(spelled.origin((0, 0)), (0, 0), "a token that stands for nothing");
        assert_eq!(spelled.text.chars().count(), spelled.origins.len());
    }

    #[test]
    fn the_digest_tells_what_is_read() {
        assert_eq!(names().sha256(), names().sha256());
        assert_ne!(names().sha256(), EmojiNames::new(|_| false).sha256());
    }
}
