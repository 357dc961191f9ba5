//! Epochs: the totally ordered `u64` time of the dataflow, and the buffer from which operators process it in order.

use std::collections::BTreeMap;

use timely::dataflow::operators::{Capability, InputCapability};
use timely::progress::frontier::MutableAntichain;

/// The dataflow's time: a totally ordered epoch, minted by one worker. Event time is data.
pub type Epoch = u64;

/// Everything received for one epoch.
pub struct EpochBatch<D> {
    /// The epoch.
    pub epoch: Epoch,
    /// A capability per output of the operator.
    pub capabilities: Vec<Capability<Epoch>>,
    /// What was received, container by container: moved, never copied together.
    pub chunks: Vec<Vec<D>>,
}

impl<D> EpochBatch<D> {
    /// Takes the items out.
    pub fn take_items(&mut self) -> impl Iterator<Item = D> + use<D> {
        std::mem::take(&mut self.chunks).into_iter().flatten()
    }
}

/// Holds input until its epoch is complete on every input of the operator, then gives it out in order.
pub struct EpochBuffer<D> {
    outputs: usize,
    pending: BTreeMap<Epoch, EpochBatch<D>>,
}

impl<D> EpochBuffer<D> {
    /// A buffer for an operator with this many outputs.
    pub fn new(outputs: usize) -> Self {
        Self { outputs, pending: BTreeMap::new() }
    }

    /// Keeps a container received with `capability`, whose one time is that of its items.
    pub fn stash(&mut self, capability: &InputCapability<Epoch>, chunk: Vec<D>) {
        // An empty stamp carries no data.
        let Some(&epoch) = capability.least() else { return };
        self.batch(capability, epoch).chunks.push(chunk);
    }

    /// Keeps `items` of a differential collection, each with its own time.
    pub fn stash_updates(&mut self, capability: &InputCapability<Epoch>, items: impl IntoIterator<Item = (Epoch, D)>) {
        for (epoch, item) in items {
            let chunks = &mut self.batch(capability, epoch).chunks;
            match chunks.last_mut() {
                Some(chunk) => chunk.push(item),
                None => chunks.push(vec![item]),
            }
        }
    }

    fn batch(&mut self, capability: &InputCapability<Epoch>, epoch: Epoch) -> &mut EpochBatch<D> {
        let outputs = self.outputs;
        self.pending.entry(epoch).or_insert_with(|| EpochBatch {
            epoch,
            capabilities: (0..outputs).map(|output| capability.delayed(&epoch, output)).collect(),
            chunks: Vec::new(),
        })
    }

    /// The next epoch that no input can add to any more.
    pub fn next_complete(&mut self, frontiers: &[&MutableAntichain<Epoch>]) -> Option<EpochBatch<D>> {
        let (&epoch, _) = self.pending.first_key_value()?;
        let open = frontiers.iter().any(|frontier| frontier.less_equal(&epoch));
        if open { None } else { self.pending.pop_first().map(|(_, batch)| batch) }
    }
}
