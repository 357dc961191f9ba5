//! One thread per device that owns its model, and the handles by which dataflow workers reach it.
//!
//! Invariants:
//! 1. Every request that [`DeviceHandle::try_submit`] accepts is answered exactly once by [`DeviceHandle::drain`], with
//!    [`Outcome::Failed`](contactflow_schemas::prediction::Outcome::Failed) if its thread is gone: nothing ever hangs.
//! 2. Neither call ever blocks. A device thread blocks only while it has nothing to do.
//! 3. All queues are bounded: submissions by the channel, answers by the in-flight limit of their handle.
//! 4. What [`DevicePool::remember`] covers is never asked of a model twice, though it is submitted again.
//! 5. The wake callback runs after answers have become visible to `drain`, and once more when the thread ends.

mod handle;
mod memory;
mod placement;
mod pool;
mod thread;

pub use handle::DeviceHandle;
pub use placement::Placement;
pub use pool::{DevicePool, PoolLimits};
