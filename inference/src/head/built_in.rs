//! The heads that the program knows by name, and those shipped with it (`models/`, see `models/MODEL_CARD.md`).

use std::path::PathBuf;

use contactflow_schemas::prediction::{SentimentLabel, TextHead};
use tch::Device;

use crate::error::{InferenceError, Result};
use crate::head::Head;
use crate::language::Language;

/// Whether a head with these labels can serve as a `head`.
pub(crate) fn accepts(head: TextHead, labels: &[String]) -> bool {
    if head == TextHead::Sentiment {
        let [negative, neutral, positive] = SentimentLabel::ALL.map(SentimentLabel::as_str);
        return labels == [negative, neutral, positive] || labels == [negative, positive];
    }
    head.labels().is_none_or(|known| labels == known)
}

/// The file of a shipped head, if there is one.
fn file(name: TextHead, language: Language) -> Option<(&'static str, &'static [u8])> {
    let found: (&'static str, &'static [u8]) = match (name, language) {
        (TextHead::Sentiment, Language::En) => ("sentiment", include_bytes!("../../models/sentiment.safetensors")),
        (TextHead::Emotion, Language::En) => ("emotion", include_bytes!("../../models/emotion.safetensors")),
        (TextHead::Offensive, Language::En) => ("offensive", include_bytes!("../../models/offensive.safetensors")),
        (TextHead::Intent, Language::En) => ("intent", include_bytes!("../../models/intent.safetensors")),
        (TextHead::Sentiment, Language::Zh) => {
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
    pub fn built_in(name: TextHead, language: Language, device: Device) -> Result<Option<Self>> {
        let parse = |(title, bytes)| Self::from_bytes(&PathBuf::from(format!("built-in {title} head")), bytes, device);
        file(name, language).map(parse).transpose()
    }

    /// Whether there is such a shipped head.
    pub fn is_built_in(name: TextHead, language: Language) -> bool {
        file(name, language).is_some()
    }

    /// The name it serves under.
    ///
    /// # Errors
    /// [`InferenceError::Config`] if the file gives a name that is not known, or labels that do not go with it.
    pub fn name(&self) -> Result<TextHead> {
        let metadata = self.metadata();
        let Some(name) = TextHead::ALL.into_iter().find(|name| name.as_str() == metadata.name) else {
            let known = TextHead::ALL.map(TextHead::as_str).join(", ");
            return Err(InferenceError::Config(format!("a head is called `{}`; known are {known}", metadata.name)));
        };
        if accepts(name, &metadata.labels) {
            return Ok(name);
        }
        let (known, found) = (name.labels().unwrap_or_default().join(", "), metadata.labels.join(", "));
        Err(InferenceError::Config(format!("a {} head has the labels {known}; this one has {found}", name.as_str())))
    }
}
