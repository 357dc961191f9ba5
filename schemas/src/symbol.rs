//! Interned strings: every identifier that arrives with an event becomes a 4-byte [`Symbol`].
//!
//! The number behind a symbol is private to one process and depends on arrival order. Nothing published may depend on
//! it: tables sort by the strings, routing uses [`Symbol::stable_hash`], and serialisation (which happens only
//! between processes) writes the string, so that the receiver interns it anew.

use std::cell::RefCell;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, OnceLock};

use hashbrown::HashTable;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

/// Number of independently locked parts of the table from strings to symbols.
const SHARDS: usize = 64;
/// Strings in the first block of the table from symbols to strings; each further block is twice as large.
const FIRST_BLOCK: usize = 1 << 12;
/// Blocks needed for 2^32 strings.
const BLOCKS: usize = 21;
/// Entries of the per-thread cache in front of the shared table.
const CACHE: usize = 1 << 13;

/// An interned string. Two symbols of one process are equal exactly when their strings are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(NonZeroU32);

struct Entry {
    text: &'static str,
    hash: u64,
}

/// A string's hash, its symbol, and the string.
type Known = (u64, Symbol, &'static str);

/// Strings are found by number without a lock: blocks are allocated once, never move, and entries are set once.
struct Table {
    shards: Vec<Mutex<HashTable<Known>>>,
    length: AtomicU32,
    blocks: [OnceLock<Box<[OnceLock<Entry>]>>; BLOCKS],
}

static TABLE: LazyLock<Table> = LazyLock::new(|| Table {
    shards: (0..SHARDS).map(|_| Mutex::new(HashTable::new())).collect(),
    length: AtomicU32::new(0),
    blocks: [const { OnceLock::new() }; BLOCKS],
});

thread_local! {
    static RECENT: RefCell<Vec<Option<Known>>> = RefCell::new(vec![None; CACHE]);
}

impl Symbol {
    /// Interns `text`.
    ///
    /// # Panics
    /// When four billion distinct strings have been interned.
    pub fn new(text: &str) -> Self {
        let hash = xxh3_64(text.as_bytes());
        let slot = (hash as usize) % CACHE;
        RECENT.with_borrow_mut(|recent| match recent[slot] {
            Some((cached_hash, symbol, cached)) if cached_hash == hash && cached == text => symbol,
            _ => {
                let (symbol, text) = TABLE.intern(text, hash);
                recent[slot] = Some((hash, symbol, text));
                symbol
            }
        })
    }

    /// The least symbol in the process-private order, for seeking in sorted state.
    pub fn least() -> Self {
        Self(NonZeroU32::MIN)
    }

    /// The string.
    pub fn as_str(self) -> &'static str {
        TABLE.entry(self).text
    }

    /// A 64-bit hash of the string, the same in every process and version (XXH3).
    pub fn stable_hash(self) -> u64 {
        TABLE.entry(self).hash
    }

    /// The process-private number, for compact storage inside this process only.
    pub fn index(self) -> u32 {
        self.0.get()
    }

    /// The symbol with this process-private number.
    ///
    /// # Panics
    /// When the number is 0. Resolving a number that was never given out panics later.
    pub fn from_index(index: u32) -> Self {
        let symbol = NonZeroU32::new(index).map(Self).expect("symbol numbers start at 1");
        debug_assert!(TABLE.find(symbol).is_some(), "a stored symbol belongs to this process");
        symbol
    }
}

impl Table {
    fn intern(&self, text: &str, hash: u64) -> (Symbol, &'static str) {
        let shard = &self.shards[(hash >> 32) as usize % SHARDS];
        let mut shard = shard.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(&(_, symbol, text)) = shard.find(hash, |(other, _, known)| *other == hash && *known == text) {
            return (symbol, text);
        }
        let text: &'static str = Box::leak(text.to_owned().into_boxed_str());
        let symbol = self.append(Entry { text, hash });
        shard.insert_unique(hash, (hash, symbol, text), |(hash, _, _)| *hash);
        (symbol, text)
    }

    fn append(&self, entry: Entry) -> Symbol {
        let position = self.length.fetch_add(1, Ordering::Relaxed);
        let number = position.checked_add(1).and_then(NonZeroU32::new);
        let symbol = Symbol(number.expect("fewer than 2^32 distinct strings in one process"));
        let (block, offset) = place(symbol);
        let block = self.blocks[block].get_or_init(|| (0..FIRST_BLOCK << block).map(|_| OnceLock::new()).collect());
        // Each number is handed out once, so the place is free.
        block[offset].get_or_init(|| entry);
        symbol
    }

    fn find(&self, symbol: Symbol) -> Option<&Entry> {
        let (block, offset) = place(symbol);
        self.blocks[block].get()?[offset].get()
    }

    fn entry(&self, symbol: Symbol) -> &Entry {
        self.find(symbol).expect("a symbol is only given out once its string is stored")
    }
}

/// Block and offset of a symbol's string.
fn place(symbol: Symbol) -> (usize, usize) {
    let position = symbol.0.get() as usize - 1 + FIRST_BLOCK;
    let block = position.ilog2() - FIRST_BLOCK.ilog2();
    (block as usize, position - (FIRST_BLOCK << block))
}

impl fmt::Debug for Symbol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.as_str())
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Serialize for Symbol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Symbol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <std::borrow::Cow<'de, str>>::deserialize(deserializer).map(|text| Symbol::new(&text))
    }
}

/// A fast hasher for keys made of symbols and integers (multiply-rotate, as in rustc); not for untrusted map keys.
#[derive(Clone, Copy, Default, Debug)]
pub struct FastHasher(u64);

impl Hasher for FastHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }
    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }
    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

/// Builds [`FastHasher`]s; unseeded, so iteration order is reproducible (and still never published).
#[derive(Clone, Copy, Default, Debug)]
pub struct FastHash;

impl BuildHasher for FastHash {
    type Hasher = FastHasher;
    fn build_hasher(&self) -> FastHasher {
        FastHasher::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_are_one_symbol_across_threads() {
        let names: Vec<String> = (0..5_000).map(|n| format!("symbol-test-{n}")).collect();
        let intern = |names: &[String]| names.iter().map(|name| Symbol::new(name)).collect::<Vec<_>>();
        let (here, there) = std::thread::scope(|scope| {
            let other = scope.spawn(|| intern(&names));
            (intern(&names), other.join().unwrap())
        });
        assert_eq!(here, there);
        for (name, symbol) in names.iter().zip(here) {
            assert_eq!(symbol.as_str(), name);
            assert_eq!(Symbol::from_index(symbol.index()), symbol);
        }
    }

    #[test]
    fn the_wire_form_is_the_string() {
        let json = serde_json::to_string(&Symbol::new("voice")).unwrap();
        assert_eq!(json, "\"voice\"");
        assert_eq!(serde_json::from_str::<Symbol>(&json).unwrap(), Symbol::new("voice"));
    }
}
