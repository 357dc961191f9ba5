//! Which devices a process uses and how many threads each gets: plain functions of what the machine has.

use std::num::NonZero;
use std::thread::available_parallelism;

use tch::{Cuda, Device};

use crate::error::{InferenceError, Result};

/// The setting that leaves the choice to this module.
const AUTOMATIC: &str = "auto";
/// CPU devices chosen at most: each holds a model of its own (90 MB for the default encoder).
const CPU_DEVICES_MAX: usize = 4;

/// The devices of one process, at least one; worker `i` uses device `i mod n`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    devices: Vec<Device>,
}

impl Placement {
    /// The devices that `setting` names; without one, or if it is `auto`, those of [`automatic`](Self::automatic) for a
    /// process of `workers` workers.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn detect(setting: Option<&str>, workers: usize) -> Result<Self> {
        let cuda_devices =
            if Cuda::is_available() { usize::try_from(Cuda::device_count()).unwrap_or_default() } else { 0 };
        match setting {
            Some(setting) if setting.trim() != AUTOMATIC => Self::parse(setting, cuda_devices),
            // A CPU device without a worker of its own would never be asked.
            _ => Ok(Self::automatic(cuda_devices, cores().min(workers))),
        }
    }

    /// Every one of `cuda_devices` CUDA devices, or, if there are none, up to four CPU devices on `cores`.
    ///
    /// Several CPU devices of one thread each, rather than one with several threads: LibTorch's threads wait for each
    /// other after every operation, and when dataflow workers take the cores in between, throughput collapses
    /// (measured on two busy cores: 26 texts/s with two threads, 85 with one).
    pub fn automatic(cuda_devices: usize, cores: usize) -> Self {
        let devices = if cuda_devices == 0 {
            vec![Device::Cpu; cores.clamp(1, CPU_DEVICES_MAX)]
        } else {
            (0..cuda_devices).map(Device::Cuda).collect()
        };
        Self { devices }
    }

    /// Parses a list such as `cpu`, `cuda:1` or `cpu:0,cpu:1` on a machine with `cuda_devices` CUDA devices.
    ///
    /// `cpu:0,cpu:1` means two CPU threads with a model each; `cuda` means `cuda:0`.
    ///
    /// # Errors
    /// [`InferenceError::Config`] for an unknown name, an empty list, a CUDA device that is not there or named twice.
    pub fn parse(setting: &str, cuda_devices: usize) -> Result<Self> {
        let mut devices = Vec::new();
        for name in setting.split(',').map(str::trim) {
            let device = parse_device(name)?;
            match device {
                Device::Cuda(index) if index >= cuda_devices => {
                    return Err(InferenceError::Config(format!(
                        "device `{name}`: this machine has {cuda_devices} CUDA device(s) that LibTorch can use"
                    )));
                }
                Device::Cuda(_) if devices.contains(&device) => {
                    return Err(InferenceError::Config(format!("device `{name}` is named twice")));
                }
                _ => devices.push(device),
            }
        }
        Ok(Self { devices })
    }

    /// The devices, in the order of their threads.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// Index into [`devices`](Self::devices) that worker `worker_index` of a process uses.
    pub fn device_of_worker(&self, worker_index: usize) -> usize {
        worker_index % self.devices.len()
    }

    /// LibTorch threads for each device thread on a machine with `cores`: CPU devices share the cores evenly, a CUDA
    /// device needs one to feed it.
    pub fn intra_op_threads(&self, cores: usize) -> Vec<usize> {
        let cpu_devices = self.devices.iter().filter(|&&device| device == Device::Cpu).count();
        let share = (cores / cpu_devices.max(1)).max(1);
        self.devices.iter().map(|&device| if device == Device::Cpu { share } else { 1 }).collect()
    }
}

fn parse_device(name: &str) -> Result<Device> {
    let (kind, index) = name.split_once(':').unwrap_or((name, "0"));
    match (kind, index.parse::<usize>()) {
        ("cpu", Ok(_)) => Ok(Device::Cpu),
        ("cuda", Ok(index)) => Ok(Device::Cuda(index)),
        _ => Err(InferenceError::Config(format!(
            "device `{name}`: expected auto, cpu, cpu:N or cuda:N, separated by commas"
        ))),
    }
}

/// Cores this process may use.
pub(crate) fn cores() -> usize {
    available_parallelism().map_or(1, NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(setting: &str, cuda_devices: usize) -> Vec<Device> {
        Placement::parse(setting, cuda_devices).expect("valid").devices
    }

    #[test]
    fn devices_are_what_the_setting_names() {
        assert_eq!(devices("cpu", 4), [Device::Cpu]);
        assert_eq!(devices("cuda:1", 2), [Device::Cuda(1)]);
        assert_eq!(devices("cuda", 1), [Device::Cuda(0)]);
        assert_eq!(devices(" cpu:0, cpu:1", 0), [Device::Cpu, Device::Cpu]);
        let automatic = |cuda_devices, cores| Placement::automatic(cuda_devices, cores).devices;
        assert_eq!(automatic(2, 8), [Device::Cuda(0), Device::Cuda(1)]);
        assert_eq!(automatic(0, 1), [Device::Cpu]);
        assert_eq!(automatic(0, 2), [Device::Cpu; 2]);
        assert_eq!(automatic(0, 64), [Device::Cpu; 4]);
    }

    #[test]
    fn impossible_settings_are_refused_with_the_name() {
        for (setting, cuda_devices) in [
            ("cuda:0", 0),
            ("cuda:2", 2),
            ("cuda:0,cuda:0", 1),
            ("gpu", 1),
            ("", 1),
            ("cpu,", 1),
            ("cuda:x", 9),
            ("cpu:-1", 0),
        ] {
            let message = Placement::parse(setting, cuda_devices).expect_err(setting).to_string();
            assert!(message.contains("device `"), "{message}");
        }
    }

    #[test]
    fn workers_go_round_and_cores_are_shared() {
        let placement = Placement::parse("cuda:0,cuda:1,cpu", 2).expect("valid");
        let used: Vec<usize> = (0..7).map(|worker| placement.device_of_worker(worker)).collect();
        assert_eq!(used, [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(placement.intra_op_threads(8), [1, 1, 8]);
        assert_eq!(Placement::automatic(0, 64).intra_op_threads(64), [16; 4]);
        assert_eq!(Placement::parse("cpu:0,cpu:1,cpu:2", 0).expect("valid").intra_op_threads(8), [2, 2, 2]);
        assert_eq!(Placement::parse("cpu:0,cpu:1,cpu:2", 0).expect("valid").intra_op_threads(2), [1, 1, 1]);
    }
}
