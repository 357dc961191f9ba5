//! Named tensors in safetensors files: reading with checks of name and shape, writing in half precision.

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
        let kind = match view.dtype() {
            Dtype::F32 => Kind::Float,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            other => {
                return Err(malformed(
                    &self.path,
                    format!("tensor `{name}` is {other:?}; fp32, fp16 and bf16 are read"),
                ));
            }
        };
        Ok(Tensor::f_from_data_size(view.data(), shape, kind)?.f_to_kind(Kind::Float)?.f_to_device(device)?)
    }
}

/// Serialises named tensors as fp16 with string metadata; the bytes are the same for the same input.
pub(crate) fn serialize_half(named: &[(&str, &Tensor)], metadata: HashMap<String, String>) -> Result<Vec<u8>> {
    serialize(named, metadata, (Kind::Half, Dtype::F16))
}

/// Serialises named tensors as fp32, without loss.
pub(crate) fn serialize_single(named: &[(&str, &Tensor)], metadata: HashMap<String, String>) -> Result<Vec<u8>> {
    serialize(named, metadata, (Kind::Float, Dtype::F32))
}

fn serialize(
    named: &[(&str, &Tensor)],
    metadata: HashMap<String, String>,
    (kind, dtype): (Kind, Dtype),
) -> Result<Vec<u8>> {
    let mut stored = Vec::with_capacity(named.len());
    for (name, tensor) in named {
        let converted = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_to_kind(kind)?.f_contiguous()?;
        let mut bytes = vec![0_u8; converted.numel() * kind.elt_size_in_bytes()];
        converted.f_copy_data_u8(&mut bytes, converted.numel())?;
        let shape: Vec<usize> = converted.size().iter().map(|&size| size as usize).collect();
        stored.push((*name, shape, bytes));
    }
    let not_writable = |error| InferenceError::Config(format!("cannot serialise the head: {error}"));
    let mut views = Vec::with_capacity(stored.len());
    for (name, shape, bytes) in &stored {
        views.push((*name, TensorView::new(dtype, shape.clone(), bytes).map_err(not_writable)?));
    }
    safetensors::tensor::serialize(views, Some(metadata)).map_err(not_writable)
}
