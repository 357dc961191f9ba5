//! The dataflow's view of the model: device threads, or none.

use contactflow_inference::{DeviceHandle, DevicePool};
use contactflow_operators::infer::Model;
use contactflow_schemas::prediction::{Prediction, TextRequest};
use timely::scheduling::SyncActivator;

/// A worker's handle on the device thread that serves it.
pub struct PooledModel(DeviceHandle);

impl PooledModel {
    /// Connects worker `index` of this process; `wake` is activated when answers are ready.
    pub fn connect(devices: &DevicePool, index: usize, wake: SyncActivator) -> Self {
        // Waking fails only when the worker is gone, and then nobody waits.
        Self(devices.handle(
            index,
            Box::new(move || {
                let _ = wake.activate();
            }),
        ))
    }
}

impl Model for PooledModel {
    fn try_submit(&mut self, requests: Vec<TextRequest>) -> Result<(), Vec<TextRequest>> {
        self.0.try_submit(requests)
    }

    fn drain(&mut self) -> Vec<Prediction> {
        self.0.drain()
    }

    fn in_flight(&self) -> usize {
        self.0.in_flight()
    }
}

/// Inference switched off: no text is read, none has an answer, and every turn stays unscored.
pub struct NoModel;

impl Model for NoModel {
    fn try_submit(&mut self, _requests: Vec<TextRequest>) -> Result<(), Vec<TextRequest>> {
        Ok(())
    }

    fn drain(&mut self) -> Vec<Prediction> {
        Vec::new()
    }

    fn in_flight(&self) -> usize {
        0
    }
}
