//! What a device computes in. It is part of the model id: the same text may score differently in another precision or on
//! another kind of device, and predictions of both must not be mixed.

use std::fmt;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind};

use crate::error::{InferenceError, Result};

/// Floating-point format of the encoder. Heads always compute in fp32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Single precision.
    Fp32,
    /// Half precision: the default on CUDA.
    Fp16,
    /// Single precision's range with 8 bits of mantissa; on CPUs with AMX several times as fast as fp32.
    Bf16,
}

impl Precision {
    /// What is computed in on `device` unless the settings say otherwise.
    pub fn default_on(device: Device) -> Self {
        match device {
            Device::Cuda(_) => Self::Fp16,
            _ => Self::Fp32,
        }
    }

    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Fp32 => Kind::Float,
            Self::Fp16 => Kind::Half,
            Self::Bf16 => Kind::BFloat16,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
        }
    }
}

/// Kind of device and precision: everything about the hardware that scores may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumericProfile {
    is_cuda: bool,
    precision: Precision,
}

impl NumericProfile {
    /// The profile of `device`, computing in `precision` or, without one, in its default.
    pub fn of(device: Device, precision: Option<Precision>) -> Self {
        let is_cuda = matches!(device, Device::Cuda(_));
        Self { is_cuda, precision: precision.unwrap_or(Precision::default_on(device)) }
    }

    /// The profile that all of `devices` have in common.
    ///
    /// # Errors
    /// [`InferenceError::Config`] when they differ: which worker a text goes to would decide about its score.
    pub fn of_all(devices: &[Device], precision: Option<Precision>) -> Result<Self> {
        let mut profiles = devices.iter().map(|&device| Self::of(device, precision));
        let first = profiles.next().ok_or_else(|| InferenceError::Config("no device is named".to_owned()))?;
        match profiles.find(|&other| other != first) {
            Some(other) => Err(InferenceError::Config(format!(
                "devices of one job must compute alike, and these are {first} and {other}; name CPUs or CUDA devices only"
            ))),
            None => Ok(first),
        }
    }

    /// What is computed in.
    pub fn precision(self) -> Precision {
        self.precision
    }
}

/// `cpu-fp32`, `cuda-fp16` …: the end of a model id.
impl fmt::Display for NumericProfile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", if self.is_cuda { "cuda" } else { "cpu" }, self.precision.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_name_device_and_precision() {
        let shown = |device, precision| NumericProfile::of(device, precision).to_string();
        assert_eq!(shown(Device::Cpu, None), "cpu-fp32");
        assert_eq!(shown(Device::Cpu, Some(Precision::Bf16)), "cpu-bf16");
        assert_eq!(shown(Device::Cuda(3), None), "cuda-fp16");
        assert_eq!(shown(Device::Cuda(0), Some(Precision::Fp32)), "cuda-fp32");
    }

    #[test]
    fn devices_of_one_job_compute_alike() {
        let of_all = |devices: &[Device]| NumericProfile::of_all(devices, None).map(|profile| profile.to_string());
        assert_eq!(of_all(&[Device::Cuda(0), Device::Cuda(1)]).expect("alike"), "cuda-fp16");
        assert_eq!(of_all(&[Device::Cpu, Device::Cpu]).expect("alike"), "cpu-fp32");
        let error = of_all(&[Device::Cuda(0), Device::Cpu]).expect_err("not alike").to_string();
        assert!(error.contains("cuda-fp16") && error.contains("cpu-fp32"), "{error}");
        assert!(of_all(&[]).is_err());
    }
}
