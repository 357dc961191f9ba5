//! Counts what happens to files below a folder, so that a process can be killed in the middle of it.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use anyhow::Result;
use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};

/// What counts: a file is begun, renamed to its name, or deleted.
const CHANGES: WatchFlags = WatchFlags::CREATE.union(WatchFlags::MOVED_TO).union(WatchFlags::DELETE);
/// How often to look.
const GLANCE: Duration = Duration::from_micros(100);

/// Watches a folder until it is dropped.
pub struct DiskWatch {
    changes: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl DiskWatch {
    /// Calls `on_change` with the number of changes so far, again and again.
    ///
    /// # Errors
    /// The system grants no watch.
    pub fn start(root: &Path, mut on_change: impl FnMut(u64) + Send + 'static) -> Result<Self> {
        let mut folders =
            Folders { watches: init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?, paths: HashMap::new() };
        folders.add(root);
        let (changes, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, asked) = (Arc::clone(&changes), Arc::clone(&ends));
        let thread = std::thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                for _ in 0..folders.read() {
                    on_change(counted.fetch_add(1, Ordering::Relaxed) + 1);
                }
                sleep(GLANCE);
            }
        });
        Ok(Self { changes, ends, thread: Some(thread) })
    }

    /// Changes so far.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }
}

impl Drop for DiskWatch {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there is told by the thread.
            _ = thread.join();
        }
    }
}

struct Folders {
    watches: OwnedFd,
    paths: HashMap<i32, PathBuf>,
}

impl Folders {
    /// Watches a folder and those below it. One that is gone already needs no watch.
    fn add(&mut self, folder: &Path) {
        let Ok(watch) = add_watch(&self.watches, folder, CHANGES) else { return };
        self.paths.insert(watch, folder.to_owned());
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.add(&entry.path());
            }
        }
    }

    /// Changes since the last call; new folders are watched too.
    fn read(&mut self) -> u64 {
        let mut changes = 0;
        let mut made = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut reader = Reader::new(&self.watches, &mut buffer);
        // No more of them is an error too: the descriptor does not wait.
        while let Ok(event) = reader.next() {
            changes += 1;
            let name = event.file_name().map(|name| name.to_string_lossy().into_owned());
            if let (true, Some(name), Some(folder)) =
                (event.events().contains(ReadFlags::ISDIR), name, self.paths.get(&event.wd()))
            {
                made.push(folder.join(name));
            }
        }
        made.iter().for_each(|folder| self.add(folder));
        changes
    }
}
