//! Starting and stopping the device threads of a process.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use contactflow_schemas::prediction::{ConversationRequest, Request, TextRequest};
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::config::ModelConfig;
use crate::conversation::ConversationScorer;
use crate::device::handle::DeviceHandle;
use crate::device::memory::Memory;
use crate::device::placement::{Placement, cores};
use crate::device::thread::{Message, Shared, run};
use crate::error::{InferenceError, Result};
use crate::precision::NumericProfile;
use crate::scorer::{DeviceScorer, Scorer};

/// Bounds of the queues around a device thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolLimits {
    /// Texts of one handle that may be unanswered at a time; above it submissions are given back.
    pub in_flight_max: usize,
    /// Submissions that may wait in front of a device.
    pub queue_submissions_max: usize,
    /// Texts a device thread takes together. More fill the batches better, fewer answer sooner.
    pub batch_texts: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { in_flight_max: 8192, queue_submissions_max: 64, batch_texts: 256 }
    }
}

/// The device threads of one process. Dropping it ends them after their current batch and waits for that; what is
/// still unanswered then fails.
pub struct DevicePool<R: Request = TextRequest> {
    threads: Vec<DeviceThread<R>>,
    memory: Arc<Memory<R>>,
    placement: Placement,
    limits: PoolLimits,
    model_id: String,
}

struct DeviceThread<R: Request> {
    messages: SyncSender<Message<R>>,
    shared: Arc<Shared<R>>,
    join: Option<JoinHandle<()>>,
}

impl DevicePool {
    /// Loads the model of `config` on every device of `placement` and starts their threads.
    ///
    /// # Errors
    /// Devices that would not compute alike; else the first error of any device, after all of them have finished loading,
    /// and no thread is left running then.
    pub fn start(config: &ModelConfig, placement: Placement, limits: PoolLimits) -> Result<Self> {
        let devices = placement.devices().to_vec();
        let profile = NumericProfile::of_all(&devices, config.precision)?;
        Self::start_with(placement, limits, |index| {
            let (config, device) = (config.clone(), devices[index]);
            move || Scorer::load(&config, device).map(|scorer| (format!("{}-{profile}", scorer.model_id()), scorer))
        })
    }
}

impl DevicePool<ConversationRequest> {
    /// Loads the conversation head of `config` on every device of `placement` and starts their threads; none when there
    /// is no head for the multilingual encoder, or no such encoder.
    ///
    /// # Errors
    /// As [`DevicePool::start`].
    pub fn start_conversations(config: &ModelConfig, placement: Placement, limits: PoolLimits) -> Result<Option<Self>> {
        // Heads are small: the first is loaded here too, to know whether there is one.
        if ConversationScorer::load(config, Device::Cpu)?.is_none() {
            return Ok(None);
        }
        let devices = placement.devices().to_vec();
        let profile = NumericProfile::of_all(&devices, config.precision)?;
        let pool = Self::start_with(placement, limits, |index| {
            let (config, device) = (config.clone(), devices[index]);
            let gone = || InferenceError::Config("the conversation head is gone".to_owned());
            move || {
                let scorer = ConversationScorer::load(&config, device)?.ok_or_else(gone)?;
                Ok((format!("{}-{profile}", scorer.model_id()), scorer))
            }
        })?;
        Ok(Some(pool))
    }
}

impl<R: Request> DevicePool<R> {
    /// As [`start`](DevicePool::start) with scorers of the caller's making: `loader(i)` gives the function that loads the
    /// scorer of device `i`, on its thread, together with the model id.
    ///
    /// # Errors
    /// As [`start`](DevicePool::start).
    pub fn start_with<S, L>(placement: Placement, limits: PoolLimits, loader: impl Fn(usize) -> L) -> Result<Self>
    where
        R::Answer: Clone,
        S: DeviceScorer<R>,
        L: FnOnce() -> Result<(String, S)> + Send + 'static,
    {
        let zero = limits.in_flight_max == 0 || limits.queue_submissions_max == 0 || limits.batch_texts == 0;
        if zero {
            return Err(InferenceError::Config("the limits of the device pool must be at least 1".to_owned()));
        }
        let intra_op_threads = placement.intra_op_threads(cores());
        let memory = Arc::default();
        let mut pool = Self { threads: Vec::new(), memory, placement, limits, model_id: String::new() };
        let mut loading = Vec::new();
        for (index, intra_op) in intra_op_threads.into_iter().enumerate() {
            let (loaded, wait) = sync_channel(1);
            pool.threads.push(DeviceThread::spawn((index, intra_op), limits, &pool.memory, loader(index), loaded)?);
            loading.push(wait);
        }
        let dead = || InferenceError::Thread("a device thread ended while it loaded its model".to_owned());
        let ids: Vec<Result<String>> = loading.iter().map(|wait| wait.recv().map_err(|_| dead()).flatten()).collect();
        for id in ids {
            pool.model_id = id?;
        }
        Ok(pool)
    }

    /// The handle of worker `worker_index` of this process, to the device that [`Placement::device_of_worker`] gives it.
    ///
    /// `wake` is called on the device thread whenever answers are ready and when that thread ends; it must be quick and
    /// must not call the handle.
    pub fn handle(&self, worker_index: usize, wake: Box<dyn Fn() + Send>) -> DeviceHandle<R> {
        let thread = &self.threads[self.placement.device_of_worker(worker_index)];
        DeviceHandle::new(thread.messages.clone(), Arc::clone(&thread.shared), self.limits.in_flight_max, wake)
    }

    /// From here on keeps what the model answers until the second [`committed`](Self::committed) after it, and answers with that
    /// what it is asked again: a round may be broken off and begin anew before its answers are stored.
    pub fn remember(&self) {
        self.memory.begin();
    }

    /// To be called after every commit. Forgets what was answered before the call before: it is stored by now, while a later
    /// answer may have come too late for this commit.
    pub fn committed(&self) {
        self.memory.committed();
    }

    /// Id of the model that all devices run, with its numeric profile at the end: `…-cpu-fp32`.
    pub fn model_id(&self) -> &str {
        &self.model_id
    }

    /// The devices in use.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }
}

impl<R: Request> DeviceThread<R> {
    fn spawn<S, L>(
        (index, intra_op): (usize, usize),
        limits: PoolLimits,
        memory: &Arc<Memory<R>>,
        load: L,
        loaded: SyncSender<Result<String>>,
    ) -> Result<Self>
    where
        R::Answer: Clone,
        S: DeviceScorer<R>,
        L: FnOnce() -> Result<(String, S)> + Send + 'static,
    {
        let (messages, receiver) = sync_channel(limits.queue_submissions_max);
        let shared = Arc::new(Shared::default());
        let (for_thread, memory) = (Arc::clone(&shared), Arc::clone(memory));
        let body = move || {
            // Counts for the calling thread too, so each device thread sets its own.
            tch::set_num_threads(i32::try_from(intra_op).unwrap_or(i32::MAX));
            match load() {
                Ok((model_id, scorer)) => {
                    // Nobody listens any more if the pool failed to start; the thread then finds itself closed.
                    let _ = loaded.send(Ok(model_id));
                    run(scorer, receiver, &for_thread, &memory, limits.batch_texts);
                }
                Err(error) => {
                    let _ = loaded.send(Err(error));
                }
            }
        };
        let thread = std::thread::Builder::new().name(format!("inference-{index}"));
        let join = thread
            .spawn(body)
            .map_err(|error| InferenceError::Thread(format!("cannot start a device thread: {error}")))?;
        Ok(Self { messages, shared, join: Some(join) })
    }
}

impl<R: Request> Drop for DevicePool<R> {
    fn drop(&mut self) {
        for thread in &self.threads {
            thread.shared.close();
            // A full queue means that the thread is busy and will see the flag; an error, that it is gone.
            let _ = thread.messages.try_send(Message::Close);
        }
        for thread in &mut self.threads {
            if let Some(join) = thread.join.take() {
                // `run` catches panics of the scorer; one outside of it has been reported by the panic hook.
                let _ = join.join();
            }
        }
    }
}
