//! An encoder with its heads: one pass of the encoder serves all of them.

use contactflow_schemas::prediction::{
    Emotion, EmotionLabel, Highlight, IntentScore, Offensive, Sentiment, SentimentLabel, TextHead, TextScores,
    TurnVector,
};
use contactflow_schemas::symbol::Symbol;
use tch::{Device, Tensor, no_grad};

use crate::batching::{BatchInput, BatchShape};
use crate::config::ModelConfig;
use crate::conversation::ConversationHead;
use crate::error::{InferenceError, Result};
use crate::head::{Head, HeadAnswer};
use crate::highlights::highlights;
use crate::language::Language;
use crate::quantise::{quantise, quantise_all};
use crate::text_encoder::{TextEncoder, rows};
use crate::tokenizer::TokenizedText;

/// A text on its way through the model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member<'a> {
    pub(crate) text: &'a str,
    pub(crate) tokens: &'a TokenizedText,
    pub(crate) language: Language,
}

fn tokens<'a>(members: &[Member<'a>]) -> Vec<&'a TokenizedText> {
    members.iter().map(|member| member.tokens).collect()
}

/// A batch that has been through the encoder.
#[derive(Debug)]
pub(crate) struct Encoded {
    input: BatchInput,
    /// `[rows, length, layers, hidden]`.
    states: Tensor,
}

/// A head and where its layers stand among those the encoder keeps.
#[derive(Debug)]
struct Slot {
    head: Head,
    /// Indices into [`ModelGroup::layers`], int64; `None` if the head reads all of them.
    layers: Option<Tensor>,
}

/// A sentiment and the words that drove it.
type Explained = (Sentiment, Vec<Highlight>);

/// The models of one language.
#[derive(Debug)]
pub(crate) struct ModelGroup {
    language: Language,
    pub(crate) text_encoder: TextEncoder,
    /// Encoder layers that some head reads, increasing.
    layers: Vec<i64>,
    sentiment: Slot,
    emotion: Option<Slot>,
    offensive: Option<Slot>,
    intent: Option<Slot>,
    /// Labels of `intent`.
    intents: Vec<Symbol>,
    /// Makes the vectors of turns; only beside the encoder it was trained on.
    conversation: Option<ConversationSlot>,
}

/// A conversation head and where its layers stand among those the encoder keeps.
#[derive(Debug)]
struct ConversationSlot {
    head: ConversationHead,
    layers: Option<Tensor>,
}

impl ModelGroup {
    /// Loads the encoder and the heads that `config` names for `language`.
    ///
    /// # Errors
    /// Files missing or malformed, tensors missing or misshapen, a head that was trained on another encoder, has labels
    /// its name does not allow or a name that is not known, no sentiment head.
    pub(crate) fn load(config: &ModelConfig, language: Language, device: Device) -> Result<Self> {
        let text_encoder = TextEncoder::load(config, language, device)?;
        let encoder = text_encoder.encoder.weights_sha256();
        let heads = heads(config, language, encoder, device)?;
        let conversation = match language {
            Language::Zh => ConversationHead::of_config(config, encoder, device)?,
            Language::En => None,
        };
        Self::new(language, text_encoder, heads, conversation)
    }

    fn new(
        language: Language,
        text_encoder: TextEncoder,
        heads: Vec<(TextHead, Head)>,
        conversation: Option<ConversationHead>,
    ) -> Result<Self> {
        let of_texts = heads.iter().flat_map(|(_, head)| &head.metadata().encoder_layers);
        let of_turns = conversation.iter().flat_map(|head| &head.metadata().encoder_layers);
        let mut layers: Vec<i64> = of_texts.chain(of_turns).copied().collect();
        layers.sort_unstable();
        layers.dedup();
        let mut slots = Vec::new();
        for (name, head) in heads {
            slots.push((name, Slot::new(head, &layers, text_encoder.encoder.device())?));
        }
        let mut take = |name| Some(slots.swap_remove(slots.iter().position(|(other, _)| *other == name)?).1);
        let Some(sentiment) = take(TextHead::Sentiment) else {
            return Err(InferenceError::Config(format!("there is no sentiment head for {}", language.as_str())));
        };
        let (emotion, offensive, intent) = (take(TextHead::Emotion), take(TextHead::Offensive), take(TextHead::Intent));
        let labels = intent.iter().flat_map(|slot| &slot.head.metadata().labels);
        let intents = labels.map(|label| Symbol::new(label)).collect();
        let device = text_encoder.encoder.device();
        let slot = |head: ConversationHead| -> Result<ConversationSlot> {
            Ok(ConversationSlot { layers: indices(&head.metadata().encoder_layers, &layers, device)?, head })
        };
        let conversation = conversation.map(slot).transpose()?;
        Ok(Self { language, text_encoder, layers, sentiment, emotion, offensive, intent, intents, conversation })
    }

    /// The conversation head that makes the vectors of turns.
    pub(crate) fn conversation_head(&self) -> Option<&ConversationHead> {
        self.conversation.as_ref().map(|slot| &slot.head)
    }

    /// A vector per member; empty without a conversation head.
    fn vectors(&self, members: &[Member<'_>], input: &BatchInput, states: &Tensor) -> Result<Vec<TurnVector>> {
        let Some(slot) = &self.conversation else { return Ok(vec![TurnVector::default(); members.len()]) };
        let texts: Vec<&str> = members.iter().map(|member| member.text).collect();
        slot.head.turn_vectors(&select(states, slot.layers.as_ref())?, &input.attention_mask, &texts)
    }

    /// The heads, in a fixed order.
    pub(crate) fn heads(&self) -> impl Iterator<Item = &Head> {
        let tone = [&self.emotion, &self.offensive, &self.intent].into_iter().flatten();
        [&self.sentiment].into_iter().chain(tone).map(|slot| &slot.head)
    }

    /// Scores of `members`, computed together in `shape`; `None` where the model's output is not a number.
    ///
    /// A text in another language than the group's gets a sentiment only: the other heads would guess.
    pub(crate) fn score(&self, members: &[Member<'_>], shape: BatchShape) -> Result<Vec<Option<TextScores>>> {
        let (input, states) = self.text_encoder.encode(&tokens(members), shape, &self.layers)?;
        self.read(members, &Encoded { input, states })
    }

    /// What the heads will read of several batches, computed at once; see [`read`](Self::read).
    pub(crate) fn encode(&self, batches: &[(Vec<Member<'_>>, BatchShape)]) -> Result<Vec<Encoded>> {
        let batches: Vec<_> = batches.iter().map(|(members, shape)| (tokens(members), *shape)).collect();
        let encoded = self.text_encoder.encode_batches(&batches, &self.layers)?;
        Ok(encoded.into_iter().map(|(input, states)| Encoded { input, states }).collect())
    }

    /// As [`score`](Self::score), of members that are encoded already.
    pub(crate) fn read(&self, members: &[Member<'_>], encoded: &Encoded) -> Result<Vec<Option<TextScores>>> {
        let Encoded { input, states } = encoded;
        no_grad(|| {
            let sentiments = self.sentiments(members, input, states)?;
            let emotions = answers(self.emotion.as_ref(), members, input, states)?;
            let offensives = answers(self.offensive.as_ref(), members, input, states)?;
            let intents = answers(self.intent.as_ref(), members, input, states)?;
            let vectors = self.vectors(members, input, states)?;
            let assemble = |row: usize| {
                let (sentiment, highlights) = sentiments[row].clone()?;
                let mut scores = TextScores { highlights, ..TextScores::of_sentiment(sentiment) };
                if members[row].language == self.language {
                    scores.emotion = of_row(&emotions, row)?.and_then(emotion);
                    scores.offensive = of_row(&offensives, row)?.and_then(offensive);
                    scores.intent = of_row(&intents, row)?.and_then(|answer| self.intent(answer));
                }
                scores.vector = vectors[row].clone();
                Some(scores)
            };
            Ok((0..members.len()).map(assemble).collect())
        })
    }

    fn sentiments(
        &self,
        members: &[Member<'_>],
        input: &BatchInput,
        states: &Tensor,
    ) -> Result<Vec<Option<Explained>>> {
        let head = &self.sentiment.head;
        let label = |label: SentimentLabel| head.metadata().labels.iter().position(|own| own == label.as_str());
        let (Some(plus), Some(minus)) = (label(SentimentLabel::Positive), label(SentimentLabel::Negative)) else {
            return Err(InferenceError::Config("a sentiment head tells positive from negative".to_owned()));
        };
        let states = self.sentiment.states(states)?;
        let mask = &input.attention_mask;
        let (logits, shares) = head.neural().forward_explained(&states, mask, plus as i64, minus as i64)?;
        let (logits, shares) = (rows(&logits, members.len())?, rows(&shares, members.len())?);
        let explain = |(row, member): (usize, &Member<'_>)| {
            let sentiment = sentiment(&head.answer(&logits[row], member.text)?)?;
            let lexical = head.lexical().map(|branch| branch.contributions(member.text, plus, minus));
            let lexical = lexical.unwrap_or_default();
            let share = head.metadata().lexical_share;
            Some((sentiment, highlights(member.text, &member.tokens.spans, &shares[row], &lexical, share)))
        };
        Ok(members.iter().enumerate().map(explain).collect())
    }

    fn intent(&self, answer: &HeadAnswer) -> Option<IntentScore> {
        let probability = *quantise_all(&answer.probabilities).get(answer.label)?;
        Some(IntentScore { label: *self.intents.get(answer.label)?, probability })
    }
}

impl Slot {
    fn new(head: Head, kept: &[i64], device: Device) -> Result<Self> {
        let layers = indices(&head.metadata().encoder_layers, kept, device)?;
        Ok(Self { head, layers })
    }

    /// The states this head reads, `[rows, length, own layers, hidden]`.
    fn states(&self, states: &Tensor) -> Result<Tensor> {
        select(states, self.layers.as_ref())
    }
}

/// Where the layers `own` stand among those `kept`, int64; `None` if they are all of them.
fn indices(own: &[i64], kept: &[i64], device: Device) -> Result<Option<Tensor>> {
    let indices: Vec<i64> = (0..).zip(kept).filter(|(_, layer)| own.contains(layer)).map(|(index, _)| index).collect();
    Ok((own != kept).then(|| Tensor::f_from_slice(&indices)?.f_to_device(device)).transpose()?)
}

/// The layers `indices` of `states` `[rows, length, layers, hidden]`; all of them if there are none.
fn select(states: &Tensor, indices: Option<&Tensor>) -> Result<Tensor> {
    match indices {
        None => Ok(states.shallow_clone()),
        Some(indices) => Ok(states.f_index_select(2, indices)?),
    }
}

/// The heads in files and the built-in ones that fit the encoder.
fn heads(config: &ModelConfig, language: Language, encoder: &str, device: Device) -> Result<Vec<(TextHead, Head)>> {
    let mut heads: Vec<(TextHead, Head)> = Vec::new();
    for path in config.head_files(language) {
        let head = Head::load(path, device)?;
        head.check_encoder(encoder)?;
        let name = head.name()?;
        if heads.iter().any(|(other, _)| *other == name) {
            return Err(InferenceError::Config(format!("there are two head files for `{}`", name.as_str())));
        }
        heads.push((name, head));
    }
    for name in TextHead::ALL {
        if heads.iter().any(|(other, _)| *other == name) {
            continue;
        }
        let Some(head) = Head::built_in(name, language, device)? else { continue };
        match head.check_encoder(encoder) {
            Ok(()) => heads.push((head.name()?, head)),
            Err(error) if name == TextHead::Sentiment => return Err(error),
            Err(_) => tracing::info!(head = name.as_str(), "the built-in head is for another encoder and stays out"),
        }
    }
    Ok(heads)
}

/// What a head says of each member, if there is the head; `None` where it is no number.
type Rows = Option<Vec<Option<HeadAnswer>>>;

fn answers(slot: Option<&Slot>, members: &[Member<'_>], input: &BatchInput, states: &Tensor) -> Result<Rows> {
    let Some(slot) = slot else { return Ok(None) };
    let logits = rows(&slot.head.forward(&slot.states(states)?, &input.attention_mask)?, members.len())?;
    let row = |(logits, member): (&Vec<f32>, &Member<'_>)| slot.head.answer(logits, member.text);
    Ok(Some(logits.iter().zip(members).map(row).collect()))
}

/// The answer to a row: `Some(None)` without the head, `None` if it is no number.
fn of_row(rows: &Rows, row: usize) -> Option<Option<&HeadAnswer>> {
    match rows {
        None => Some(None),
        Some(rows) => rows[row].as_ref().map(Some),
    }
}

fn emotion(answer: &HeadAnswer) -> Option<Emotion> {
    let &[anger, joy, optimism, sadness] = quantise_all(&answer.probabilities).as_slice() else { return None };
    Some(Emotion { anger, joy, optimism, sadness, label: *EmotionLabel::ALL.get(answer.label)? })
}

fn offensive(answer: &HeadAnswer) -> Option<Offensive> {
    let &[_, probability] = quantise_all(&answer.probabilities).as_slice() else { return None };
    Some(Offensive { probability, is_offensive: answer.label == 1 })
}

/// Of three probabilities as they are. A head of two labels knows no neutral texts: what speaks for neither side, twice
/// the smaller probability, counts as neutral, so that the score, positive minus negative, stays what the head says; the
/// most probable of the three is what it decides for.
fn sentiment(answer: &HeadAnswer) -> Option<Sentiment> {
    match *answer.probabilities {
        [negative, neutral, positive] => {
            let [negative, neutral, positive] = quantise([negative, neutral, positive]);
            Some(Sentiment { negative, neutral, positive, label: *SentimentLabel::ALL.get(answer.label)? })
        }
        [negative, positive] => {
            let undecided = negative.min(positive);
            let [negative, neutral, positive] = quantise([negative - undecided, 2.0 * undecided, positive - undecided]);
            Some(Sentiment::most_probable(negative, neutral, positive))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use contactflow_schemas::prediction::SCORE_SCALE;

    use super::*;

    fn answer(probabilities: &[f64]) -> HeadAnswer {
        HeadAnswer { probabilities: probabilities.to_vec(), label: 0 }
    }

    #[test]
    fn a_head_of_two_labels_keeps_its_score_and_calls_indecision_neutral() {
        for percent in 0..=100 {
            let positive = f64::from(percent) / 100.0;
            let found = sentiment(&answer(&[1.0 - positive, positive])).expect("two labels");
            assert_eq!(found.negative + found.neutral + found.positive, SCORE_SCALE);
            assert_eq!(found.score(), (percent * 2 - 100) * SCORE_SCALE / 100);
        }
        let undecided = sentiment(&answer(&[0.5, 0.5])).expect("two labels");
        assert_eq!((undecided.neutral, undecided.label), (SCORE_SCALE, SentimentLabel::Neutral));
        assert_eq!(sentiment(&answer(&[1.0])), None);
    }

    #[test]
    fn the_label_is_what_the_head_decides_for_not_the_most_probable() {
        let biased = |probabilities: &[f64], label| HeadAnswer { probabilities: probabilities.to_vec(), label };
        let found = sentiment(&biased(&[0.5, 0.4, 0.1], 1)).expect("three labels");
        assert_eq!((found.negative, found.label), (5_000, SentimentLabel::Neutral));
        let found = emotion(&biased(&[0.4, 0.1, 0.2, 0.3], 3)).expect("four labels");
        assert_eq!((found.anger, found.label), (4_000, EmotionLabel::Sadness));
        let found = offensive(&biased(&[0.6, 0.4], 1)).expect("two labels");
        assert_eq!((found.probability, found.is_offensive), (4_000, true));
    }
}
