//! Token states of the frozen encoder, computed once per text and kept for every epoch.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

use crate::error::{InferenceError, Result};
use crate::text_encoder::TextEncoder;
use crate::tokenizer::TokenizedText;
use crate::training::Progress;

/// Token states of a set of texts, fp16 in main memory: 2 · layers · `hidden_size` bytes per token.
pub(crate) struct Features {
    /// Per text `[tokens, layers, hidden]`, fp16 on the CPU.
    states: Vec<Tensor>,
}

impl Features {
    /// Encodes all `texts` in the batch shapes that scoring uses, or takes them from the folder `cache`, which they go into
    /// for the next time.
    pub(crate) fn compute(
        encoder: &TextEncoder,
        texts: &[&str],
        layers: &[i64],
        cache: Option<&Path>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        let tokenized = texts.iter().map(|text| encoder.tokenize(text)).collect::<Result<Vec<TokenizedText>>>()?;
        let Some(folder) = cache else { return Self::encode(encoder, &tokenized, layers, progress) };
        let path = cache_file(folder, encoder, &tokenized, layers);
        let shapes: Vec<[i64; 3]> = tokenized
            .iter()
            .map(|text| [text.ids.len() as i64, layers.len() as i64, encoder.encoder.config().hidden_size])
            .collect();
        if let Some(states) = read(&path, &shapes)? {
            return Ok(Self { states });
        }
        let features = Self::encode(encoder, &tokenized, layers, progress)?;
        let written =
            std::fs::create_dir_all(folder).map_err(|source| InferenceError::Write { path: folder.to_owned(), source });
        written.and_then(|()| features.write(&path))?;
        Ok(features)
    }

    fn encode(
        encoder: &TextEncoder,
        tokenized: &[TokenizedText],
        layers: &[i64],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        let counts: Vec<usize> = tokenized.iter().map(|text| text.ids.len()).collect();
        let mut states: Vec<Option<Tensor>> = tokenized.iter().map(|_| None).collect();
        let mut done = 0;
        for batch in encoder.shapes.plan(&counts) {
            let members: Vec<&TokenizedText> = batch.members.iter().map(|&member| &tokenized[member]).collect();
            let (_, hidden) = encoder.encode(&members, batch.shape, layers)?;
            let hidden = hidden.f_to_device(Device::Cpu)?;
            for (row, &member) in batch.members.iter().enumerate() {
                // The conversion copies; a view would keep the whole padded batch alive.
                let own = hidden.f_select(0, row as i64)?.f_narrow(0, 0, counts[member] as i64)?;
                states[member] = Some(own.f_to_kind(Kind::Half)?);
            }
            done += members.len();
            progress(Progress::Encoding { done, total: tokenized.len() });
        }
        let missing = || InferenceError::Config("a text fits no batch shape".to_owned());
        Ok(Self { states: states.into_iter().collect::<Option<_>>().ok_or_else(missing)? })
    }

    fn write(&self, path: &Path) -> Result<()> {
        let partial = path.with_extension("partial");
        let failed = |source| InferenceError::Write { path: partial.clone(), source };
        let mut file = BufWriter::new(File::create(&partial).map_err(failed)?);
        for text in &self.states {
            let mut bytes = vec![0_u8; text.numel() * 2];
            text.f_copy_data_u8(&mut bytes, text.numel())?;
            file.write_all(&bytes).map_err(failed)?;
        }
        file.flush().and_then(|()| std::fs::rename(&partial, path)).map_err(failed)
    }

    /// Number of tokens of text `index`.
    pub(crate) fn tokens(&self, index: usize) -> i64 {
        self.states[index].size().first().copied().unwrap_or_default()
    }

    /// States `[members, longest, layers, hidden]` (fp32) and attention mask `[members, longest]` (int64) on `device`.
    pub(crate) fn batch(&self, members: &[usize], device: Device) -> Result<(Tensor, Tensor)> {
        let longest = members.iter().map(|&member| self.tokens(member)).max().unwrap_or_default();
        let rows: Vec<&Tensor> = members.iter().map(|&member| &self.states[member]).collect();
        let hidden = Tensor::f_pad_sequence(&rows, true, 0.0, "right")?;
        let counts: Vec<i64> = members.iter().map(|&member| self.tokens(member)).collect();
        let positions = Tensor::f_arange(longest, (Kind::Int64, Device::Cpu))?.f_unsqueeze(0)?;
        let mask = positions.f_lt_tensor(&Tensor::f_from_slice(&counts)?.f_unsqueeze(1)?)?.f_to_kind(Kind::Int64)?;
        Ok((hidden.f_to_kind(Kind::Float)?.f_to_device(device)?, mask.f_to_device(device)?))
    }
}

/// Named by all that the states depend on, so that a file is either right or not there.
fn cache_file(folder: &Path, encoder: &TextEncoder, tokenized: &[TokenizedText], layers: &[i64]) -> PathBuf {
    let mut digest = Sha256::new();
    digest.update(format!("{} {layers:?} {:?}", encoder.fingerprint(), encoder.shapes));
    for text in tokenized {
        digest.update(text.ids.len().to_le_bytes());
        text.ids.iter().for_each(|id| digest.update(id.to_le_bytes()));
    }
    let name: String = digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    folder.join(format!("{name}.states"))
}

/// The states in a cache file, one tensor per shape; `None` without such a file.
fn read(path: &Path, shapes: &[[i64; 3]]) -> Result<Option<Vec<Tensor>>> {
    let Ok(file) = File::open(path) else { return Ok(None) };
    let hint = "remove the file to have the states computed again";
    let mut file = BufReader::new(file);
    let mut states = Vec::with_capacity(shapes.len());
    for shape in shapes {
        let mut bytes = vec![0_u8; shape.iter().product::<i64>() as usize * 2];
        let read = file.read_exact(&mut bytes);
        read.map_err(|source| InferenceError::Read { path: path.to_owned(), source, hint })?;
        states.push(Tensor::f_from_data_size(&bytes, shape, Kind::Half)?);
    }
    Ok(Some(states))
}
