//! A store in memory that counts, fails on demand, and can be watched between any two changes.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::Bytes;

use crate::sink::objects::{Listed, ObjectError, Objects, Stored, Tag};

type Watch = Box<dyn Fn(&BTreeMap<String, (Bytes, u64)>) + Send>;

type Hook = (String, Box<dyn FnOnce() + Send>);

#[derive(Default)]
pub(super) struct State {
    pub(super) files: BTreeMap<String, (Bytes, u64)>,
    versions: u64,
    /// Names written or deleted, in order.
    pub(super) changes: Vec<String>,
    /// Changes that still succeed; none for all.
    pub(super) changes_left: Option<usize>,
    /// The change that fails is made all the same: only its reply is lost.
    pub(super) loses_reply: bool,
    pub(super) watch: Option<Watch>,
    /// What happens before the first change of a name that begins so.
    hook: Option<Hook>,
}

#[derive(Default)]
pub(super) struct Memory(pub(super) Mutex<State>);

impl Memory {
    pub(super) fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().files.keys().cloned().collect()
    }

    /// Data files only, with their content.
    pub(super) fn data(&self) -> BTreeMap<String, Bytes> {
        let state = self.0.lock().unwrap();
        let is_data = |name: &str| !["_", "commits/", "restatements/"].iter().any(|no| name.starts_with(no));
        state.files.iter().filter(|(name, _)| is_data(name)).map(|(n, (body, _))| (n.clone(), body.clone())).collect()
    }

    /// Changes since the last call.
    pub(super) fn take_changes(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().changes)
    }

    /// Lets so many more changes succeed.
    pub(super) fn fail_after(&self, changes: Option<usize>, loses_reply: bool) {
        let mut state = self.0.lock().unwrap();
        (state.changes_left, state.loses_reply) = (changes, loses_reply);
    }

    /// Pauses whoever first changes a name that begins with `prefix`, and does `meanwhile` before.
    pub(super) fn before_change(&self, prefix: &str, meanwhile: impl FnOnce() + Send + 'static) {
        self.0.lock().unwrap().hook = Some((prefix.to_owned(), Box::new(meanwhile)));
    }

    fn change(&self, name: &str, make: impl FnOnce(&mut State)) -> Result<(), ObjectError> {
        let hook = {
            let mut state = self.0.lock().unwrap();
            state.hook.take_if(|(prefix, _)| name.starts_with(prefix.as_str()))
        };
        if let Some((_, meanwhile)) = hook {
            meanwhile();
        }
        let mut state = self.0.lock().unwrap();
        let fails = state.changes_left == Some(0);
        if let Some(left) = &mut state.changes_left {
            *left = left.saturating_sub(1);
        }
        if !fails || state.loses_reply {
            make(&mut state);
            state.changes.push(name.to_owned());
            if let Some(watch) = &state.watch {
                watch(&state.files);
            }
        }
        let error = || ObjectError { action: "writing", name: name.to_owned(), source: "the line is cut".into() };
        if fails { Err(error()) } else { Ok(()) }
    }
}

impl State {
    fn insert(&mut self, name: &str, body: Bytes) -> Tag {
        self.versions += 1;
        self.files.insert(name.to_owned(), (body, self.versions));
        Some(self.versions.to_string())
    }
}

impl Objects for Memory {
    fn get(&self, name: &str) -> Result<Option<Stored>, ObjectError> {
        let state = self.0.lock().unwrap();
        let stored = |(body, version): &(Bytes, u64)| Stored { body: body.clone(), tag: Some(version.to_string()) };
        Ok(state.files.get(name).map(stored))
    }

    fn put(&self, name: &str, body: Bytes) -> Result<Tag, ObjectError> {
        let mut tag = None;
        self.change(name, |state| tag = state.insert(name, body))?;
        Ok(tag)
    }

    fn put_if_absent(&self, name: &str, body: Bytes) -> Result<bool, ObjectError> {
        let mut created = true;
        self.change(name, |state| {
            created = !state.files.contains_key(name);
            if created {
                state.insert(name, body);
            }
        })?;
        Ok(created)
    }

    fn delete(&self, name: &str) -> Result<(), ObjectError> {
        self.change(name, |state| _ = state.files.remove(name))
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, ObjectError> {
        let state = self.0.lock().unwrap();
        let below = |name: &str| name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        let files = state.files.iter().filter(|(name, _)| below(name));
        Ok(files.map(|(name, (_, version))| Listed { name: name.clone(), tag: Some(version.to_string()) }).collect())
    }
}
