//! The four channels of the contact centre and how each behaves.

use super::time::{HOUR_MS, MINUTE_MS, SECOND_MS};

/// A channel of the contact centre.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Channel {
    /// Live chat, partly answered by a bot.
    Chat,
    /// Email.
    Email,
    /// Direct messages on social networks.
    Social,
    /// Inbound calls.
    Voice,
}

/// A log-normal duration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    /// Median, milliseconds.
    pub(crate) median_ms: i64,
    /// Standard deviation of the natural logarithm.
    pub(crate) sigma: f64,
}

const fn spread(median_ms: i64, sigma: f64) -> Spread {
    Spread { median_ms, sigma }
}

/// The parameters of a channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Profile {
    /// Share of all conversations.
    pub(crate) volume_share: f64,
    /// Relative arrivals by hour of the day, UTC.
    pub(crate) hour_weights: [f64; 24],
    /// Relative arrivals by weekday, Monday first.
    pub(crate) weekday_weights: [f64; 7],
    /// From the customer's first message (voice: from entering the queue) to the first answer.
    pub(crate) first_reply: Spread,
    /// From a later customer message to its reply.
    pub(crate) next_reply: Spread,
    /// From a reply to the customer's next message.
    pub(crate) customer_reply: Spread,
    /// How long a customer waits before asking again (voice, chat queue: before giving up).
    pub(crate) patience: Spread,
    /// Probability that another exchange follows a reply.
    pub(crate) continue_p: f64,
    /// Probability that a resolved conversation gets a survey.
    pub(crate) survey_p: f64,
    /// Probability that a surveyed customer rates.
    pub(crate) rating_p: f64,
    /// Probability that nobody ever answers.
    pub(crate) unanswered_p: f64,
}

const OFFICE_HOURS: [f64; 24] = [
    0.02, 0.01, 0.01, 0.01, 0.02, 0.04, 0.15, 0.5, 1.1, 1.7, 2.0, 2.0, 1.6, 1.6, 1.8, 1.8, 1.6, 1.3, 0.9, 0.7, 0.5,
    0.3, 0.05, 0.03,
];
const EMAIL_HOURS: [f64; 24] = [
    0.2, 0.15, 0.1, 0.1, 0.15, 0.3, 0.6, 1.0, 1.6, 1.9, 1.9, 1.7, 1.4, 1.5, 1.6, 1.5, 1.3, 1.1, 1.0, 1.0, 1.0, 0.9,
    0.6, 0.4,
];
const EVENING_HOURS: [f64; 24] = [
    0.2, 0.1, 0.06, 0.05, 0.06, 0.1, 0.4, 0.8, 1.0, 1.2, 1.3, 1.4, 1.5, 1.4, 1.3, 1.3, 1.4, 1.6, 1.8, 2.0, 1.9, 1.5,
    0.8, 0.4,
];

const CHAT: Profile = Profile {
    volume_share: 0.36,
    hour_weights: OFFICE_HOURS,
    weekday_weights: [1.15, 1.08, 1.0, 1.0, 0.95, 0.5, 0.4],
    first_reply: spread(60 * SECOND_MS, 0.7),
    next_reply: spread(45 * SECOND_MS, 0.7),
    customer_reply: spread(50 * SECOND_MS, 0.8),
    patience: spread(14 * MINUTE_MS, 0.6),
    continue_p: 0.36,
    survey_p: 0.4,
    rating_p: 0.4,
    unanswered_p: 0.015,
};
const EMAIL: Profile = Profile {
    volume_share: 0.3,
    hour_weights: EMAIL_HOURS,
    weekday_weights: [1.25, 1.1, 1.0, 0.95, 0.9, 0.4, 0.35],
    first_reply: spread(3 * HOUR_MS, 0.9),
    next_reply: spread(2 * HOUR_MS, 0.9),
    customer_reply: spread(5 * HOUR_MS, 1.0),
    patience: spread(26 * HOUR_MS, 0.5),
    continue_p: 0.3,
    survey_p: 0.45,
    rating_p: 0.3,
    unanswered_p: 0.03,
};
const SOCIAL: Profile = Profile {
    volume_share: 0.14,
    hour_weights: EVENING_HOURS,
    weekday_weights: [1.0, 1.0, 1.0, 1.0, 1.05, 0.8, 0.75],
    first_reply: spread(30 * MINUTE_MS, 0.9),
    next_reply: spread(25 * MINUTE_MS, 0.9),
    customer_reply: spread(40 * MINUTE_MS, 1.0),
    patience: spread(4 * HOUR_MS, 0.6),
    continue_p: 0.4,
    survey_p: 0.3,
    rating_p: 0.3,
    unanswered_p: 0.05,
};
const VOICE: Profile = Profile {
    volume_share: 0.2,
    hour_weights: OFFICE_HOURS,
    weekday_weights: [1.3, 1.1, 1.0, 1.0, 0.95, 0.35, 0.2],
    first_reply: spread(20 * SECOND_MS, 0.9),
    next_reply: spread(10 * SECOND_MS, 0.5),
    customer_reply: spread(10 * SECOND_MS, 0.5),
    patience: spread(4 * MINUTE_MS, 0.7),
    continue_p: 0.0,
    survey_p: 0.5,
    rating_p: 0.4,
    unanswered_p: 0.0,
};

impl Channel {
    /// Every channel, in the order that indexes tables.
    pub(crate) const ALL: [Self; 4] = [Self::Chat, Self::Email, Self::Social, Self::Voice];

    /// Position in [`Channel::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// The value of the column `channel`.
    pub(crate) fn as_str(self) -> &'static str {
        ["chat", "email", "social", "voice"][self.index()]
    }

    /// The value of the column `source`: telephony has its own system.
    pub(crate) fn source(self) -> &'static str {
        if self == Self::Voice { "telephony" } else { "helpdesk" }
    }

    /// The value of the column `queue_id`.
    pub(crate) fn queue_id(self) -> &'static str {
        ["q-chat", "q-email", "q-social", "q-voice"][self.index()]
    }

    /// The value of the column `inbox_id`.
    pub(crate) fn inbox_id(self) -> &'static str {
        ["i-webchat", "i-support-mail", "i-social", "i-hotline"][self.index()]
    }

    /// The value of the column `team_id` for the agents of this channel.
    pub(crate) fn team_id(self) -> &'static str {
        ["t-chat", "t-email", "t-social", "t-voice"][self.index()]
    }

    /// The parameters of this channel.
    pub(crate) fn profile(self) -> &'static Profile {
        [&CHAT, &EMAIL, &SOCIAL, &VOICE][self.index()]
    }

    /// Whether customer and agent meet live, so that shifts do not interrupt a conversation.
    pub(crate) fn is_live(self) -> bool {
        matches!(self, Self::Chat | Self::Voice)
    }
}
