//! What customers write about: counts of intents per channel and window, beside those of the window before (rule 68).

use contactflow_schemas::event::mix;
use contactflow_schemas::facts::{MessageScore, Speaker, TopicWindow};
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::windows::{Window, Windows};
use differential_dataflow::VecCollection;
use differential_dataflow::trace::implementations::{ValBuilder, ValSpine};
use serde::{Deserialize, Serialize};

use super::is_negative;
use crate::cells::arrange_keyed;
use crate::epochs::Epoch;

/// Widths of the windows in which topics are counted.
const WIDTHS: [Window; 3] = [Window::Day, Window::Week, Window::Month];

/// The customer messages of a tenant on a channel in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct TopicKey {
    tenant: Symbol,
    channel: Symbol,
    window: Window,
    start_ms: i64,
}

impl TopicKey {
    fn stable_hash(&self) -> u64 {
        let place = self.start_ms as u64 ^ ((self.window as u64) << 56);
        mix(mix(self.tenant.stable_hash() ^ place) ^ self.channel.stable_hash())
    }
}

/// A message in one of the windows that it matters to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Topic {
    intent: Symbol,
    role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Role {
    /// It lies in the window.
    Within,
    /// It does, and is negative.
    Negative,
    /// It lies in the window before.
    Before,
}

/// Rows of topic_window.
pub fn topics<'scope>(
    messages: VecCollection<'scope, Epoch, MessageScore, isize>,
    windows: &Windows,
) -> VecCollection<'scope, Epoch, TopicWindow, isize> {
    let (of_messages, of_rows) = (windows.clone(), windows.clone());
    let keyed = messages.flat_map(move |score| keyed(&of_messages, &score));
    arrange_keyed(keyed, TopicKey::stable_hash, "Topics")
        .reduce_abelian::<_, ValBuilder<_, _, _, _>, ValSpine<TopicKey, TopicWindow, Epoch, isize>, _, _>(
            "TopicWindows",
            move |key, topics, out| out.extend(rows(&of_rows, key, topics).map(|row| (row, 1))),
            |batch, key, updates| {
                batch.clear();
                batch.extend(updates.drain(..).map(|(row, time, diff)| ((*key, row), time, diff)));
            },
        )
        .as_collection(|_, row| *row)
}

fn keyed(windows: &Windows, score: &MessageScore) -> Vec<(TopicKey, Topic)> {
    let turn = &score.turn;
    let scored = score.scores.as_ref().filter(|_| turn.speaker == Speaker::Customer);
    let Some((scores, intent)) = scored.and_then(|scores| Some((scores, scores.intent?.label))) else {
        return Vec::new();
    };
    let (tenant, channel) = (turn.conversation.tenant, turn.channel);
    let mut keyed = Vec::with_capacity(3 * WIDTHS.len());
    for window in WIDTHS {
        let start_ms = windows.start_ms(window, turn.time_ms);
        let now = TopicKey { tenant, channel, window, start_ms };
        let next = TopicKey { start_ms: windows.end_ms(window, start_ms), ..now };
        keyed.push((now, Topic { intent, role: Role::Within }));
        keyed.push((next, Topic { intent, role: Role::Before }));
        if is_negative(scores) {
            keyed.push((now, Topic { intent, role: Role::Negative }));
        }
    }
    keyed
}

/// The rows of a window: one for each intent that occurs in it. Topics come by intent.
fn rows(windows: &Windows, key: &TopicKey, topics: &[(&Topic, isize)]) -> impl Iterator<Item = TopicWindow> {
    let within = topics.iter().filter(|(topic, _)| topic.role == Role::Within);
    let all_messages = within.map(|(_, count)| *count as i64).sum();
    let by_intent = topics.chunk_by(|(left, _), (right, _)| left.intent == right.intent);
    let row = move |topics: &[(&Topic, isize)]| {
        let of = |role| topics.iter().find(|(topic, _)| topic.role == role).map_or(0, |(_, count)| *count as i64);
        TopicWindow {
            day: windows.day_of(key.start_ms),
            window_start_ms: key.start_ms,
            window: key.window,
            tenant: key.tenant,
            channel: key.channel,
            intent: topics[0].0.intent,
            messages: of(Role::Within),
            all_messages,
            messages_before: of(Role::Before),
            negative_messages: of(Role::Negative),
        }
    };
    by_intent.map(row).filter(|row| row.messages > 0)
}
