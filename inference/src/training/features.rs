//! Token states of the frozen encoder, computed once per text and kept for every epoch.

use tch::{Device, Kind, Tensor};

use crate::error::{InferenceError, Result};
use crate::scorer::TextEncoder;
use crate::tokenizer::TokenizedText;
use crate::training::Progress;

/// Token states of a set of texts, fp16 in main memory: 2 · layers · `hidden_size` bytes per token.
pub(crate) struct Features {
    /// Per text `[tokens, layers, hidden]`, fp16 on the CPU.
    states: Vec<Tensor>,
}

impl Features {
    /// Encodes all `texts` in the batch shapes that scoring uses.
    pub(crate) fn compute(
        encoder: &TextEncoder,
        texts: &[&str],
        layers: &[i64],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        let tokenized = texts.iter().map(|text| encoder.tokenize(text)).collect::<Result<Vec<TokenizedText>>>()?;
        let counts: Vec<usize> = tokenized.iter().map(|text| text.ids.len()).collect();
        let mut states: Vec<Option<Tensor>> = texts.iter().map(|_| None).collect();
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
            progress(Progress::Encoding { done, total: texts.len() });
        }
        let missing = || InferenceError::Config("a text fits no batch shape".to_owned());
        Ok(Self { states: states.into_iter().collect::<Option<_>>().ok_or_else(missing)? })
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
