//! What a model has answered since the last commits, for a round that is broken off and begins again.

use std::collections::HashMap;
use std::sync::Mutex;

use contactflow_schemas::prediction::{Answer, KeyOf, Request};

use crate::device::handle::locked;

/// Answers that may not be durable yet; as many as come between three commits, of which the state's journal holds most too.
/// Nothing is kept before [`begin`](Self::begin).
pub(crate) struct Memory<R: Request>(Mutex<Option<Generations<R>>>);

/// Those since the last commit, and those between it and the one before: what was given just before a commit may not be part
/// of it, but of the next.
struct Generations<R: Request> {
    current: HashMap<KeyOf<R>, R::Answer>,
    before: HashMap<KeyOf<R>, R::Answer>,
}

impl<R: Request> Default for Generations<R> {
    fn default() -> Self {
        Self { current: HashMap::new(), before: HashMap::new() }
    }
}

impl<R: Request> Default for Memory<R> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<R: Request> Memory<R> {
    /// Keeps answers from here on.
    pub(crate) fn begin(&self) {
        locked(&self.0).get_or_insert_default();
    }

    /// Forgets what was answered before the call before.
    pub(crate) fn committed(&self) {
        if let Some(generations) = locked(&self.0).as_mut() {
            generations.before = std::mem::take(&mut generations.current);
        }
    }
}

impl<R: Request<Answer: Clone>> Memory<R> {
    /// What was answered to each of `keys`, where something was.
    pub(crate) fn recall(&self, keys: &[KeyOf<R>]) -> Vec<Option<R::Answer>> {
        let generations = locked(&self.0);
        let known = |key| {
            generations
                .as_ref()
                .and_then(|Generations { current, before }| current.get(key).or_else(|| before.get(key)))
        };
        keys.iter().map(|key| known(key).cloned()).collect()
    }

    /// Keeps `answers`.
    pub(crate) fn keep(&self, answers: &[R::Answer]) {
        if let Some(generations) = locked(&self.0).as_mut() {
            generations.current.extend(answers.iter().map(|answer| (answer.key(), answer.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use contactflow_schemas::prediction::{Outcome, Prediction, TextKey, TextRequest};

    use super::*;

    fn answer(text: &str) -> Prediction {
        Prediction { key: TextKey::of(text), outcome: Outcome::Failed(text.to_owned()) }
    }

    #[test]
    fn an_answer_is_kept_until_the_second_commit_after_it() {
        let memory = Memory::<TextRequest>::default();
        let knows = |text: &str| memory.recall(&[TextKey::of(text)]) == [Some(answer(text))];
        memory.keep(&[answer("before anything is kept")]);
        assert!(!knows("before anything is kept"));
        memory.begin();
        memory.keep(&[answer("a")]);
        memory.begin();
        assert!(knows("a") && !knows("b"));
        memory.committed();
        memory.keep(&[answer("b")]);
        assert!(knows("a") && knows("b"));
        memory.committed();
        assert!(!knows("a") && knows("b"));
        memory.committed();
        assert!(!knows("b"));
    }
}
