//! The heads that the program knows by name, and those shipped with it (`models/`, see `models/MODEL_CARD.md`).

use std::path::PathBuf;

use contactflow_schemas::prediction::{EmotionLabel, NOT_OFFENSIVE, OFFENSIVE, SentimentLabel};
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::error::{InferenceError, Result};
use crate::head::Head;
use crate::language::Language;

/// What a head tells of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadName {
    /// How content the writer is: negative, neutral, positive (Chinese: negative, positive).
    Sentiment,
    /// Anger, joy, optimism or sadness.
    Emotion,
    /// Whether the text is rude or abusive.
    Offensive,
    /// What the writer wants; the labels are the training data's.
    Intent,
}

/// Labels of the offensive head, in the order of its logits.
pub(crate) const OFFENSIVE_LABELS: [&str; 2] = [NOT_OFFENSIVE, OFFENSIVE];

impl HeadName {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sentiment, Self::Emotion, Self::Offensive, Self::Intent];

    /// The name in head files and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sentiment => "sentiment",
            Self::Emotion => "emotion",
            Self::Offensive => "offensive",
            Self::Intent => "intent",
        }
    }

    /// The labels that the head may have, in the order of its logits; `None` if they are the data's.
    pub fn labels(self) -> Option<Vec<&'static str>> {
        match self {
            Self::Sentiment => Some(SentimentLabel::ALL.map(SentimentLabel::as_str).to_vec()),
            Self::Emotion => Some(EmotionLabel::ALL.map(EmotionLabel::as_str).to_vec()),
            Self::Offensive => Some(OFFENSIVE_LABELS.to_vec()),
            Self::Intent => None,
        }
    }

    /// Whether a head with these labels can serve under this name.
    pub(crate) fn accepts(self, labels: &[String]) -> bool {
        match self {
            Self::Sentiment => {
                let [negative, neutral, positive] = SentimentLabel::ALL.map(SentimentLabel::as_str);
                labels == [negative, neutral, positive] || labels == [negative, positive]
            }
            other => other.labels().is_none_or(|known| labels == known),
        }
    }
}

/// The file of a shipped head, if there is one.
fn file(name: HeadName, language: Language) -> Option<(&'static str, &'static [u8])> {
    let found: (&'static str, &'static [u8]) = match (name, language) {
        (HeadName::Sentiment, Language::En) => ("sentiment", include_bytes!("../../models/sentiment.safetensors")),
        (HeadName::Emotion, Language::En) => ("emotion", include_bytes!("../../models/emotion.safetensors")),
        (HeadName::Offensive, Language::En) => ("offensive", include_bytes!("../../models/offensive.safetensors")),
        (HeadName::Intent, Language::En) => ("intent", include_bytes!("../../models/intent.safetensors")),
        (HeadName::Sentiment, Language::Zh) => {
            ("sentiment-zh", include_bytes!("../../models/sentiment-zh.safetensors"))
        }
        (_, Language::Zh) => return None,
    };
    Some(found)
}

impl Head {
    /// The head shipped with this crate for `name` and `language`, on `device`; `None` if there is none.
    ///
    /// # Errors
    /// LibTorch's, such as no memory on `device`.
    pub fn built_in(name: HeadName, language: Language, device: Device) -> Result<Option<Self>> {
        let parse = |(title, bytes)| Self::from_bytes(&PathBuf::from(format!("built-in {title} head")), bytes, device);
        file(name, language).map(parse).transpose()
    }

    /// Whether there is such a shipped head.
    pub fn is_built_in(name: HeadName, language: Language) -> bool {
        file(name, language).is_some()
    }

    /// The name it serves under.
    ///
    /// # Errors
    /// [`InferenceError::Config`] if the file gives a name that is not known, or labels that do not go with it.
    pub fn name(&self) -> Result<HeadName> {
        let metadata = self.metadata();
        let Some(name) = HeadName::ALL.into_iter().find(|name| name.as_str() == metadata.name) else {
            let known = HeadName::ALL.map(HeadName::as_str).join(", ");
            return Err(InferenceError::Config(format!("a head is called `{}`; known are {known}", metadata.name)));
        };
        if name.accepts(&metadata.labels) {
            return Ok(name);
        }
        let (known, found) = (name.labels().unwrap_or_default().join(", "), metadata.labels.join(", "));
        Err(InferenceError::Config(format!("a {} head has the labels {known}; this one has {found}", name.as_str())))
    }
}
