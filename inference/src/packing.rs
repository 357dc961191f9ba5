//! Leaving the padding out: the tokens of a batch one behind the other, so that the dense layers compute nothing else.
//!
//! Sums in the kernels must not depend on the batch. Rows of a product do not: their bits are the same for every number
//! of rows that is at least [`ROWS_MIN`] and a multiple of [`ROWS_STEP`], with any number of threads (measured for MKL and
//! oneDNN; `tests/invariance.rs` holds it), so those are the only numbers used. Attention runs over texts of one length at
//! a time, without padding, and treats each by itself.

use tch::{Device, Kind, Tensor};

use crate::error::Result;

/// Fewest rows of a product. With fewer, kernels split the sums among threads.
const ROWS_MIN: usize = 256;
/// Products have a multiple of so many rows.
const ROWS_STEP: usize = 64;

/// Neighbouring texts of one length in the packed order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Row of the first token.
    pub(crate) start: i64,
    /// Number of texts.
    pub(crate) texts: i64,
    /// Tokens of each.
    pub(crate) length: i64,
}

/// Where the tokens of a padded batch `[batch, length]` lie when packed.
#[derive(Debug)]
pub(crate) struct Packing {
    /// Of each packed row, its place in the flattened batch; spare rows at the end repeat place 0. int64 `[rows]`.
    places: Tensor,
    /// Of each place of the flattened batch, its packed row; 0 for padding. int64 `[batch · length]`.
    rows: Tensor,
    /// The texts, shortest first.
    runs: Vec<Run>,
}

impl Packing {
    /// The packing of a batch by its `attention_mask` `[batch, length]` (int64); none where a row's ones are not first, or
    /// on a device other than the CPU, where padding costs less than finding out about it.
    pub(crate) fn of(attention_mask: &Tensor) -> Result<Option<Self>> {
        if attention_mask.device() != Device::Cpu {
            return Ok(None);
        }
        let (batch, length) = attention_mask.size2()?;
        let mut mask = vec![0_i64; attention_mask.numel()];
        attention_mask.f_to_kind(Kind::Int64)?.f_contiguous()?.f_copy_data(&mut mask, attention_mask.numel())?;
        let texts: Vec<&[i64]> = mask.chunks_exact(length.max(1) as usize).collect();
        if !texts.iter().all(|text| text.is_sorted_by(|a, b| a >= b) && text.iter().all(|one| (0..=1).contains(one))) {
            return Ok(None);
        }
        let counts: Vec<usize> = texts.iter().map(|text| text.iter().filter(|&&one| one == 1).count()).collect();
        let mut order: Vec<usize> = (0..batch as usize).collect();
        order.sort_by_key(|&text| counts[text]);
        let mut places = Vec::with_capacity(mask.len().max(ROWS_MIN));
        let mut rows = vec![0_i64; mask.len()];
        let mut runs: Vec<Run> = Vec::new();
        for text in order {
            let count = counts[text];
            match runs.last_mut() {
                Some(run) if run.length == count as i64 => run.texts += 1,
                _ => runs.push(Run { start: places.len() as i64, texts: 1, length: count as i64 }),
            }
            let start = text * length as usize;
            for (offset, row) in rows[start..start + count].iter_mut().enumerate() {
                *row = places.len() as i64;
                places.push((start + offset) as i64);
            }
        }
        runs.retain(|run| run.length > 0);
        places.resize(places.len().next_multiple_of(ROWS_STEP).max(ROWS_MIN), 0);
        let (places, rows) = (Tensor::f_from_slice(&places)?, Tensor::f_from_slice(&rows)?);
        Ok(Some(Self { places, rows, runs }))
    }

    /// Values of each place, `[batch, length, …]`, as packed rows.
    pub(crate) fn pack(&self, padded: &Tensor) -> Result<Tensor> {
        Ok(padded.f_flatten(0, 1)?.f_index_select(0, &self.places)?)
    }

    /// Packed rows `[rows, size]` as `[batch, length, size]`; what stands at padding is meaningless.
    pub(crate) fn unpack(&self, packed: &Tensor, batch: i64, length: i64) -> Result<Tensor> {
        Ok(packed.f_index_select(0, &self.rows)?.f_view([batch, length, -1])?)
    }

    /// Self-attention: `[rows, 3 · hidden]` (query, key, value) → `[rows, hidden]`.
    pub(crate) fn attend(&self, query_key_value: &Tensor, heads: i64) -> Result<Tensor> {
        let (rows, width) = query_key_value.size2()?;
        let (hidden, kind) = (width / 3, query_key_value.kind());
        let mut contexts = Vec::with_capacity(self.runs.len() + 1);
        let mut used = 0;
        for &Run { start, texts, length } in &self.runs {
            let part = query_key_value.f_narrow(0, start, texts * length)?;
            let part = part.f_view([texts, length, 3, heads, hidden / heads])?.f_permute([2, 0, 3, 1, 4])?;
            let (query, key, value) = (part.f_select(0, 0)?, part.f_select(0, 1)?, part.f_select(0, 2)?);
            let context =
                Tensor::f_scaled_dot_product_attention(&query, &key, &value, None::<&Tensor>, 0.0, false, None, false)?;
            contexts.push(context.f_transpose(1, 2)?.f_reshape([texts * length, hidden])?);
            used = start + texts * length;
        }
        contexts.push(Tensor::f_zeros([rows - used, hidden], (kind, query_key_value.device()))?);
        Ok(Tensor::f_cat(&contexts, 0)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integers(tensor: &Tensor) -> Vec<i64> {
        Vec::try_from(tensor.flatten(0, -1)).expect("integers")
    }

    #[test]
    fn tokens_come_back_to_their_places() {
        let mask = Tensor::from_slice(&[1_i64, 1, 1, 0, 1, 0, 0, 0, 1, 1, 1, 0]).view([3, 4]);
        let packing = Packing::of(&mask).expect("packs").expect("the ones are first");
        let (one, three) = (Run { start: 0, texts: 1, length: 1 }, Run { start: 1, texts: 2, length: 3 });
        assert_eq!(packing.runs, [one, three]);
        let values = Tensor::arange(12, (Kind::Int64, Device::Cpu)).view([3, 4, 1]);
        let packed = packing.pack(&values).expect("packs");
        assert_eq!(packed.size(), [ROWS_MIN as i64, 1]);
        assert_eq!(integers(&packed)[..7], [4, 0, 1, 2, 8, 9, 10]);
        let again = packing.unpack(&packed, 3, 4).expect("unpacks");
        assert_eq!(integers(&(again * mask.unsqueeze(2))), [0, 1, 2, 0, 4, 0, 0, 0, 8, 9, 10, 0]);
    }

    #[test]
    fn other_masks_are_not_packed() {
        for mask in [[0_i64, 1], [1, 2], [2, 1]] {
            assert!(Packing::of(&Tensor::from_slice(&mask).view([1, 2])).expect("looks").is_none(), "{mask:?}");
        }
    }
}
