//! What a model says, as the oracle asks it.

/// What the heads say of a text: probabilities in 1/10,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scores {
    /// Of a negative sentiment.
    pub negative: i32,
    /// Of a neutral one.
    pub neutral: i32,
    /// Of a positive one.
    pub positive: i32,
    /// Of anger, joy, optimism and sadness.
    pub emotion: Option<[i32; 4]>,
    /// Of being offensive.
    pub offensive: Option<i32>,
    /// The most probable intent, and its probability.
    pub intent: Option<(&'static str, i32)>,
    /// The heads' thresholds decide for neutral, sadness and not offensive, whatever is more probable.
    pub is_reluctant: bool,
}

impl Scores {
    /// The label of the sentiment: the most probable, the first of equals.
    pub fn sentiment(self) -> &'static str {
        if self.is_reluctant {
            "neutral"
        } else if self.negative >= self.neutral && self.negative >= self.positive {
            "negative"
        } else if self.neutral >= self.positive {
            "neutral"
        } else {
            "positive"
        }
    }

    /// Whether that is negative.
    pub fn is_negative(self) -> bool {
        self.sentiment() == "negative"
    }

    /// The most probable emotion; of equals anger, then sadness, joy, optimism.
    pub fn emotion_label(self) -> Option<&'static str> {
        let [anger, joy, optimism, sadness] = self.emotion?;
        if self.is_reluctant {
            return Some("sadness");
        }
        let greatest = anger.max(joy).max(optimism).max(sadness);
        let of_equals = [("anger", anger), ("sadness", sadness), ("joy", joy), ("optimism", optimism)];
        of_equals.into_iter().find(|(_, probability)| *probability == greatest).map(|(label, _)| label)
    }

    /// Whether it is more likely offensive than not.
    pub fn is_offensive(self) -> Option<bool> {
        self.offensive.map(|probability| !self.is_reluctant && probability >= 5_000)
    }
}

/// What became of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is scored.
    Scored(Scores),
    /// The model failed on it.
    Failed,
    /// It has no answer yet.
    Pending,
}

impl Answer {
    /// The scores, where there are any.
    pub fn scores(self) -> Option<Scores> {
        match self {
            Answer::Scored(scores) => Some(scores),
            Answer::Failed | Answer::Pending => None,
        }
    }
}

/// A turn as the quality of a conversation is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeardTurn<'t> {
    /// What was said.
    pub text: &'t str,
    /// By an agent, not by the customer.
    pub by_agent: bool,
    /// Since the turn before.
    pub gap_ms: i64,
}

/// How good a conversation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quality {
    /// In 1/10,000.
    pub score: i32,
    /// How much each turn counts, in 1/10,000.
    pub attention: Vec<i32>,
}

/// A model.
pub trait Heads {
    /// What it says of a text.
    fn answer(&self, text: &str) -> Answer;

    /// What it says of a sequence of turns; `None` if it fails.
    fn quality(&self, turns: &[HeardTurn]) -> Option<Quality>;
}

/// No model.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Heads for Silent {
    fn answer(&self, _: &str) -> Answer {
        Answer::Pending
    }

    fn quality(&self, _: &[HeardTurn]) -> Option<Quality> {
        None
    }
}
