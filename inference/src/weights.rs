//! Named tensors in safetensors files: reading with checks of name and shape, writing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

use crate::error::{InferenceError, Result, malformed};

/// SHA-256 of `bytes` as lower-case hexadecimal.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Fails unless what was made for the encoder of this name and digest meets one whose weights have the digest `found`.
///
/// # Errors
/// [`InferenceError::EncoderMismatch`].
pub(crate) fn check_encoder((name, sha256): (&str, &str), found: &str) -> Result<()> {
    if sha256 == found {
        return Ok(());
    }
    Err(InferenceError::EncoderMismatch { expected: format!("{name} ({sha256})"), found: found.to_owned() })
}

/// The tensors of one safetensors file, borrowed from its bytes.
pub(crate) struct WeightFile<'a> {
    path: PathBuf,
    tensors: SafeTensors<'a>,
    metadata: HashMap<String, String>,
}

impl<'a> WeightFile<'a> {
    /// Parses the header of `bytes`; `path` only names the file in errors.
    pub(crate) fn parse(path: &Path, bytes: &'a [u8]) -> Result<Self> {
        let not_safetensors = |error| malformed(path, format!("not a safetensors file ({error})"));
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(not_safetensors)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(not_safetensors)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        Ok(Self { path: path.to_owned(), tensors, metadata })
    }

    /// An entry of the file's string metadata.
    pub(crate) fn metadata(&self, key: &str) -> Result<&str> {
        let value = self.metadata.get(key).map(String::as_str);
        value.ok_or_else(|| malformed(&self.path, format!("its metadata has no `{key}`")))
    }

    /// The tensor stored under the first of `names` that exists, as fp32 on `device`.
    ///
    /// # Errors
    /// Names the tensor and both shapes when it is missing or shaped otherwise; fp32, fp16 and bf16 are read.
    pub(crate) fn tensor(&self, names: &[&str], shape: &[i64], device: Device) -> Result<Tensor> {
        Ok(self.stored(names, shape)?.f_to_kind(Kind::Float)?.f_to_device(device)?)
    }

    /// As [`tensor`](Self::tensor), in main memory and in the precision of the file.
    pub(crate) fn stored(&self, names: &[&str], shape: &[i64]) -> Result<Tensor> {
        let (name, view) = self.view(names, shape)?;
        let kind = match view.dtype() {
            Dtype::F32 => Kind::Float,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            other => return Err(self.wrong_type(name, other, "fp32, fp16 and bf16 are")),
        };
        Ok(Tensor::f_from_data_size(view.data(), shape, kind)?)
    }

    /// The floating-point tensor `name` as numbers, row by row.
    pub(crate) fn floats(&self, name: &str, shape: &[i64]) -> Result<Vec<f32>> {
        values(&self.tensor(&[name], shape, Device::Cpu)?)
    }

    /// The tensor `name` of unsigned 32-bit integers, row by row.
    pub(crate) fn integers(&self, name: &str, shape: &[i64]) -> Result<Vec<u32>> {
        let (name, view) = self.view(&[name], shape)?;
        if view.dtype() != Dtype::U32 {
            return Err(self.wrong_type(name, view.dtype(), "U32 is"));
        }
        Ok(view.data().as_chunks::<4>().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect())
    }

    fn wrong_type(&self, name: &str, found: Dtype, expected: &str) -> InferenceError {
        malformed(&self.path, format!("tensor `{name}` is {found:?}; {expected} read"))
    }

    fn view<'n>(&self, names: &[&'n str], shape: &[i64]) -> Result<(&'n str, TensorView<'_>)> {
        let found = names.iter().find_map(|&name| self.tensors.tensor(name).ok().map(|view| (name, view)));
        let Some((name, view)) = found else {
            return Err(InferenceError::MissingTensor {
                path: self.path.clone(),
                name: names.first().copied().unwrap_or_default().to_owned(),
                expected: shape.to_vec(),
            });
        };
        let stored: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
        if stored != shape {
            return Err(InferenceError::TensorShape {
                path: self.path.clone(),
                name: name.to_owned(),
                expected: shape.to_vec(),
                found: stored,
            });
        }
        Ok((name, view))
    }
}

/// The values of a tensor, row by row.
pub(crate) fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    let flat = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
    let mut values = vec![0.0_f32; flat.numel()];
    flat.f_copy_data(&mut values, flat.numel())?;
    Ok(values)
}

/// A tensor as it goes into a file.
pub(crate) struct StoredTensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl StoredTensor {
    /// `tensor` in fp16.
    pub(crate) fn half(name: &str, tensor: &Tensor) -> Result<Self> {
        let half = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Half)?.f_contiguous()?;
        Self::of(name, &half, Dtype::F16, 2)
    }

    /// `tensor` in fp32, every bit of it.
    pub(crate) fn float(name: &str, tensor: &Tensor) -> Result<Self> {
        let float = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
        Self::of(name, &float, Dtype::F32, 4)
    }

    /// A vector of unsigned integers.
    pub(crate) fn integers(name: &str, numbers: &[u32]) -> Self {
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        Self { name: name.to_owned(), dtype: Dtype::U32, shape: vec![numbers.len()], bytes }
    }

    fn of(name: &str, tensor: &Tensor, dtype: Dtype, item_bytes: usize) -> Result<Self> {
        let mut bytes = vec![0_u8; tensor.numel() * item_bytes];
        tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
        let shape = tensor.size().iter().map(|&size| size as usize).collect();
        Ok(Self { name: name.to_owned(), dtype, shape, bytes })
    }
}

/// A safetensors file with string metadata; the bytes are the same for the same input.
pub(crate) fn serialize(stored: Vec<StoredTensor>, metadata: HashMap<String, String>) -> Result<Vec<u8>> {
    let not_writable = |error| InferenceError::Config(format!("cannot serialise tensors: {error}"));
    let mut views = Vec::with_capacity(stored.len());
    for tensor in &stored {
        let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes).map_err(not_writable)?;
        views.push((tensor.name.as_str(), view));
    }
    safetensors::tensor::serialize(views, Some(metadata)).map_err(not_writable)
}
