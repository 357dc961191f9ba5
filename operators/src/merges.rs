//! Which conversation the events of a merged conversation count under (rule 12).

use std::collections::HashMap;

use contactflow_schemas::dimension::MergeEvent;
use contactflow_schemas::event::ConversationKey;
use contactflow_schemas::symbol::{FastHash, Symbol};

/// What merges make of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// No merge concerns it.
    Plain,
    /// Others were merged into it.
    Root,
    /// It was merged, at the end of the chain into this one.
    Void(Symbol),
}

/// All merges, replicated on every worker; they are rare.
#[derive(Default)]
pub struct Merges {
    /// Merges of each conversation, in the contract's order; the last one counts.
    merges: HashMap<ConversationKey, Vec<MergeEvent>, FastHash>,
    roles: HashMap<ConversationKey, Role, FastHash>,
}

impl Merges {
    /// What merges make of a conversation.
    pub fn role(&self, key: ConversationKey) -> Role {
        self.roles.get(&key).copied().unwrap_or(Role::Plain)
    }

    /// Inserts and removes merges, and returns the role before of every conversation whose role changes.
    pub fn update(&mut self, changes: Vec<(MergeEvent, isize)>) -> HashMap<ConversationKey, Role, FastHash> {
        if changes.is_empty() {
            return HashMap::default();
        }
        for (merge, diff) in changes {
            let key = ConversationKey { tenant: merge.tenant, conversation: merge.conversation };
            let merges = self.merges.entry(key).or_default();
            if diff > 0 {
                merges.push(merge);
            } else if let Some(position) = merges.iter().position(|other| *other == merge) {
                merges.swap_remove(position);
            }
            merges.sort_by(|left, right| order(left).cmp(&order(right)));
            if merges.is_empty() {
                self.merges.remove(&key);
            }
        }
        let roles = self.resolve();
        let mut before = std::mem::replace(&mut self.roles, roles);
        // What is left are the roles that changed.
        for key in self.roles.keys() {
            before.entry(*key).or_insert(Role::Plain);
        }
        before.retain(|key, role| self.role(*key) != *role);
        before
    }

    fn resolve(&self) -> HashMap<ConversationKey, Role, FastHash> {
        let mut roles = HashMap::default();
        for &key in self.merges.keys() {
            let root = self.root(key);
            if root != key.conversation {
                roles.insert(key, Role::Void(root));
                roles.insert(ConversationKey { conversation: root, ..key }, Role::Root);
            }
        }
        roles
    }

    /// Follows targets to a conversation that has none, or to the smallest id of a circle.
    fn root(&self, key: ConversationKey) -> Symbol {
        let mut path = vec![key.conversation];
        let mut at = key.conversation;
        while let Some(target) = self.target(ConversationKey { conversation: at, ..key }) {
            if let Some(start) = path.iter().position(|passed| *passed == target) {
                let smallest = path[start..].iter().min_by_key(|one| one.as_str());
                return smallest.copied().unwrap_or(target);
            }
            path.push(target);
            at = target;
        }
        at
    }

    fn target(&self, key: ConversationKey) -> Option<Symbol> {
        self.merges.get(&key)?.last().map(|merge| merge.target)
    }
}

fn order(merge: &MergeEvent) -> (i64, &'static str, &str) {
    (merge.time_ms, merge.source.as_str(), &merge.event_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge(from: &str, to: &str) -> MergeEvent {
        MergeEvent {
            tenant: Symbol::new("t"),
            conversation: Symbol::new(from),
            target: Symbol::new(to),
            time_ms: 1,
            source: Symbol::new("s"),
            event_id: format!("{from}-{to}").into(),
        }
    }

    fn key(conversation: &str) -> ConversationKey {
        ConversationKey { tenant: Symbol::new("t"), conversation: Symbol::new(conversation) }
    }

    #[test]
    fn chains_end_at_the_last_and_circles_at_the_smallest() {
        let mut merges = Merges::default();
        merges.update(vec![(merge("a", "b"), 1), (merge("b", "c"), 1)]);
        assert_eq!(merges.role(key("a")), Role::Void(Symbol::new("c")));
        assert_eq!((merges.role(key("b")), merges.role(key("c"))), (Role::Void(Symbol::new("c")), Role::Root));
        let changed = merges.update(vec![(merge("c", "b"), 1)]);
        assert_eq!(changed.len(), 3, "b and c swap, a follows");
        assert_eq!((merges.role(key("b")), merges.role(key("c"))), (Role::Root, Role::Void(Symbol::new("b"))));
        merges.update(vec![(merge("b", "c"), -1), (merge("c", "b"), -1)]);
        assert_eq!((merges.role(key("a")), merges.role(key("c"))), (Role::Void(Symbol::new("b")), Role::Plain));
    }

    #[test]
    fn a_merge_into_itself_is_none() {
        let mut merges = Merges::default();
        assert!(merges.update(vec![(merge("a", "a"), 1)]).is_empty());
        assert_eq!(merges.role(key("a")), Role::Plain);
    }
}
