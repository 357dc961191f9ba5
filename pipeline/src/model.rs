//! The dataflow's view of the model: device threads, or none.

use std::marker::PhantomData;

use contactflow_inference::{DeviceHandle, DevicePool};
use contactflow_operators::infer::Model;
use contactflow_schemas::prediction::Request;
use timely::scheduling::SyncActivator;

/// A worker's handle on the device thread that serves it.
pub struct PooledModel<R: Request>(DeviceHandle<R>);

impl<R: Request> PooledModel<R> {
    /// Connects worker `index` of this process; `wake` is activated when answers are ready.
    pub fn connect(devices: &DevicePool<R>, index: usize, wake: SyncActivator) -> Self {
        // Waking fails only when the worker is gone, and then nobody waits.
        Self(devices.handle(
            index,
            Box::new(move || {
                let _ = wake.activate();
            }),
        ))
    }
}

impl<R: Request> Model for PooledModel<R> {
    type Request = R;

    fn try_submit(&mut self, requests: Vec<R>) -> Result<(), Vec<R>> {
        self.0.try_submit(requests)
    }

    fn drain(&mut self) -> Vec<R::Answer> {
        self.0.drain()
    }

    fn in_flight(&self) -> usize {
        self.0.in_flight()
    }
}

/// Inference switched off: nothing that is asked has an answer, and every turn stays unscored.
pub struct NoModel<R>(PhantomData<R>);

impl<R> Default for NoModel<R> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<R: Request> Model for NoModel<R> {
    type Request = R;

    fn try_submit(&mut self, _requests: Vec<R>) -> Result<(), Vec<R>> {
        Ok(())
    }

    fn drain(&mut self) -> Vec<R::Answer> {
        Vec::new()
    }

    fn in_flight(&self) -> usize {
        0
    }
}
