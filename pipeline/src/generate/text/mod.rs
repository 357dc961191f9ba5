//! What people write: template grammars in English and Chinese, by who speaks, in which mood, about what.

mod chinese;
mod chinese_topics;
mod english_agent;
mod english_customer;
mod english_topics;
mod slots;
#[cfg(test)]
mod tests;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The language of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// English.
    English,
    /// Chinese, simplified.
    Chinese,
}

impl Language {
    /// The value of the column `language`.
    pub(crate) fn as_str(self) -> &'static str {
        if self == Self::English { "en" } else { "zh" }
    }
}

/// What a conversation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Where a parcel is.
    Delivery,
    /// An invoice or charge.
    Billing,
    /// Money back.
    Refund,
    /// A product that broke.
    Defect,
    /// Login and personal data.
    Account,
    /// A change to an order.
    OrderChange,
    /// How something works, or does not.
    Technical,
    /// The end of a subscription.
    Cancellation,
}

impl Topic {
    /// Every topic, in the order that indexes tables.
    pub(crate) const ALL: [Self; 8] = [
        Self::Delivery,
        Self::Billing,
        Self::Refund,
        Self::Defect,
        Self::Account,
        Self::OrderChange,
        Self::Technical,
        Self::Cancellation,
    ];

    /// The attribute `category`.
    pub(crate) fn as_str(self) -> &'static str {
        ["delivery", "billing", "refund", "defect", "account", "order_change", "technical", "cancellation"]
            [self as usize]
    }

    /// The attribute `product_line`.
    pub(crate) fn product_line(self) -> &'static str {
        match self {
            Self::Delivery | Self::OrderChange | Self::Refund => "shop",
            Self::Defect | Self::Technical => "devices",
            Self::Billing | Self::Account | Self::Cancellation => "subscription",
        }
    }
}

/// Who speaks in which mood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextKind {
    /// The customer asks.
    CustomerQuestion,
    /// The customer complains.
    CustomerComplaint,
    /// The customer has waited for long.
    CustomerWaiting,
    /// The customer gives details.
    CustomerDetail,
    /// The customer is thankful.
    CustomerThanks,
    /// The customer comes back, as the matter was not settled.
    CustomerReturns,
    /// The agent answers.
    AgentAnswer,
    /// The agent answers an annoyed customer.
    AgentApology,
    /// The agent asks for details.
    AgentFollowUp,
    /// The agent says goodbye.
    AgentClosing,
    /// The bot answers.
    BotAnswer,
    /// The bot gives up.
    BotHandoff,
    /// A note among agents.
    PrivateNote,
    /// Comment of a good rating.
    RatingGood,
    /// Comment of a middling rating.
    RatingMixed,
    /// Comment of a bad rating.
    RatingBad,
}

/// Sentiment of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Polarity {
    /// Annoyed or angry.
    Negative,
    /// Neither.
    Neutral,
    /// Content or thankful.
    Positive,
}

impl TextKind {
    /// The sentiment texts of this kind express. Agents and bots are polite, hence neutral.
    pub(crate) fn polarity(self) -> Polarity {
        match self {
            Self::CustomerComplaint | Self::CustomerWaiting | Self::CustomerReturns | Self::RatingBad => {
                Polarity::Negative
            }
            Self::CustomerThanks | Self::RatingGood => Polarity::Positive,
            _ => Polarity::Neutral,
        }
    }

    /// Whether a customer writes texts of this kind.
    fn is_casual(self) -> bool {
        matches!(
            self,
            Self::CustomerQuestion
                | Self::CustomerComplaint
                | Self::CustomerWaiting
                | Self::CustomerDetail
                | Self::CustomerThanks
                | Self::CustomerReturns
                | Self::RatingGood
                | Self::RatingMixed
                | Self::RatingBad
        )
    }
}

/// A text not yet written: equal specifications are written alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TextSpec {
    /// Who speaks in which mood.
    pub(crate) kind: TextKind,
    /// What about.
    pub(crate) topic: Topic,
    /// In which language.
    pub(crate) language: Language,
    /// Seed of the choice of template and slots.
    pub(crate) seed: u64,
}

/// The sentences a text of one kind is made of: perhaps an opener, one core, perhaps a closer.
#[derive(Clone, Copy, Debug)]
struct Phrases {
    openers: &'static [&'static str],
    cores: &'static [&'static str],
    closers: &'static [&'static str],
}

const OPENER_P: f64 = 0.45;
const CLOSER_P: f64 = 0.4;
const EMOJI_P: f64 = 0.08;
/// Share of casual English texts without a capital at the start and a full stop at the end.
const SLOPPY_P: f64 = 0.15;

/// Appends the text to `out`.
pub(crate) fn render(spec: TextSpec, out: &mut String) {
    let mut rng = ChaCha8Rng::seed_from_u64(spec.seed);
    let phrases = phrases(spec);
    let gap = if spec.language == Language::English { " " } else { "" };
    let start = out.len();
    if rng.random_bool(OPENER_P) && append_one(phrases.openers, spec.language, &mut rng, out) {
        out.push_str(gap);
    }
    append_one(phrases.cores, spec.language, &mut rng, out);
    if rng.random_bool(CLOSER_P) && !phrases.closers.is_empty() {
        out.push_str(gap);
        append_one(phrases.closers, spec.language, &mut rng, out);
    }
    if spec.kind.is_casual() {
        make_casual(spec, start, &mut rng, out);
    }
}

/// Appends one of `templates`, slots filled; false if there is none.
fn append_one(templates: &[&str], language: Language, rng: &mut ChaCha8Rng, out: &mut String) -> bool {
    if templates.is_empty() {
        return false;
    }
    slots::fill(templates[rng.random_range(0..templates.len())], language, rng, out);
    true
}

fn make_casual(spec: TextSpec, start: usize, rng: &mut ChaCha8Rng, out: &mut String) {
    if spec.language == Language::English && rng.random_bool(SLOPPY_P) {
        if out.ends_with('.') {
            out.pop();
        }
        out[start..].make_ascii_lowercase();
    }
    if rng.random_bool(EMOJI_P) {
        let emoji: &[&str] = match spec.kind.polarity() {
            Polarity::Negative => &["😡", "😤", "😠", "🙄", "👎"],
            Polarity::Neutral => &["🤔", "🙏", "👀"],
            Polarity::Positive => &["😊", "🙏", "👍", "❤️", "🎉", "😀"],
        };
        out.push(' ');
        out.push_str(emoji[rng.random_range(0..emoji.len())]);
    }
}

fn phrases(spec: TextSpec) -> Phrases {
    match spec.language {
        Language::English if spec.kind.is_casual() => english_customer::phrases(spec.kind, spec.topic),
        Language::English => english_agent::phrases(spec.kind, spec.topic),
        Language::Chinese => chinese::phrases(spec.kind, spec.topic),
    }
}
