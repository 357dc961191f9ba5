//! Leaving the padding out: the tokens of batches one behind the other, so that the dense layers compute nothing else.
//!
//! Sums in LibTorch's kernels must not depend on the batch. Rows of a product do not: their bits are the same for every number
//! of rows that is at least [`ROWS_MIN`] and a multiple of [`ROWS_STEP`], with any number of threads (measured for MKL and
//! oneDNN; `tests/invariance.rs` holds it), so those are the only numbers used. Attention runs over texts of one length at
//! a time, without padding, and treats each by itself. Our own kernels need none of this but the order.

use tch::{Device, Kind, Tensor};

use crate::batching::BatchInput;
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

/// Where the tokens of padded batches `[batch, length]` lie when packed.
#[derive(Debug)]
pub(crate) struct Packing {
    /// Of each packed row, its place in the batches, flattened one behind the other; spare rows at the end repeat place 0.
    /// int64 `[rows]`.
    places: Tensor,
    /// Of each packed row, the token's place in its text. int64 `[rows]`.
    positions: Tensor,
    /// Of each batch, the packed row of each of its places; 0 for padding. int64 `[batch, length]`.
    rows: Vec<Tensor>,
    /// The texts, shortest first.
    runs: Vec<Run>,
}

/// A text of a batch: where its place 0 lies in the flattened batches, and its tokens.
struct PlacedText {
    start: usize,
    tokens: usize,
}

impl Packing {
    /// The packing of batches by their attention masks; none where a row's ones are not first, or on a device other than the
    /// CPU, where padding costs less than finding out about it.
    pub(crate) fn of(batches: &[BatchInput]) -> Result<Option<Self>> {
        let mut texts = Vec::new();
        let (mut places_before, mut shapes) = (0, Vec::new());
        for BatchInput { attention_mask, .. } in batches {
            let Some(counts) = token_counts(attention_mask)? else { return Ok(None) };
            let (batch, length) = attention_mask.size2()?;
            let text = |(row, tokens)| PlacedText { start: places_before + row * length as usize, tokens };
            texts.extend(counts.into_iter().enumerate().map(text));
            places_before += (batch * length) as usize;
            shapes.push([batch, length]);
        }
        texts.sort_by_key(|text| text.tokens);
        Ok(Some(Self::lay_out(&texts, &shapes)?))
    }

    /// Puts the tokens of `texts`, which increase in length, one behind the other.
    fn lay_out(texts: &[PlacedText], shapes: &[[i64; 2]]) -> Result<Self> {
        let (mut places, mut positions): (Vec<i64>, Vec<i64>) = (Vec::new(), Vec::new());
        let mut rows = vec![0_i64; shapes.iter().map(|[batch, length]| batch * length).sum::<i64>() as usize];
        let mut runs: Vec<Run> = Vec::new();
        for &PlacedText { start, tokens } in texts {
            match runs.last_mut() {
                Some(run) if run.length == tokens as i64 => run.texts += 1,
                _ => runs.push(Run { start: places.len() as i64, texts: 1, length: tokens as i64 }),
            }
            for (offset, row) in rows[start..start + tokens].iter_mut().enumerate() {
                *row = places.len() as i64;
                places.push((start + offset) as i64);
                positions.push(offset as i64);
            }
        }
        runs.retain(|run| run.length > 0);
        let count = places.len().next_multiple_of(ROWS_STEP).max(ROWS_MIN);
        places.resize(count, 0);
        positions.resize(count, 0);
        let mut rest = rows.as_slice();
        let mut of_batch = |&[batch, length]: &[i64; 2]| -> Result<Tensor> {
            let (own, others) = rest.split_at((batch * length) as usize);
            rest = others;
            Ok(Tensor::f_from_slice(own)?.f_view([batch, length])?)
        };
        let rows = shapes.iter().map(&mut of_batch).collect::<Result<_>>()?;
        Ok(Self { places: Tensor::f_from_slice(&places)?, positions: Tensor::f_from_slice(&positions)?, rows, runs })
    }

    /// Token ids of the packed rows, int64 `[rows]`.
    pub(crate) fn ids(&self, batches: &[BatchInput]) -> Result<Tensor> {
        let flat = batches.iter().map(|batch| Ok(batch.input_ids.f_flatten(0, 1)?)).collect::<Result<Vec<_>>>()?;
        Ok(Tensor::f_cat(&flat, 0)?.f_index_select(0, &self.places)?)
    }

    /// Tokens of the texts, in the packed order.
    pub(crate) fn token_counts(&self) -> Vec<usize> {
        self.runs.iter().flat_map(|run| std::iter::repeat_n(run.length as usize, run.texts as usize)).collect()
    }

    /// The packed rows' places in their texts, int64 `[rows]`.
    pub(crate) fn positions(&self) -> &Tensor {
        &self.positions
    }

    /// Packed rows `[rows, …]` as `[batch, length, …]`, per batch; what stands at padding is meaningless.
    pub(crate) fn unpack(&self, packed: &Tensor) -> Result<Vec<Tensor>> {
        let of_batch = |rows: &Tensor| -> Result<Tensor> {
            let shape: Vec<i64> = rows.size().into_iter().chain(packed.size().into_iter().skip(1)).collect();
            Ok(packed.f_index_select(0, &rows.f_flatten(0, 1)?)?.f_view(shape.as_slice())?)
        };
        self.rows.iter().map(of_batch).collect()
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

/// Number of ones in each row of a mask `[batch, length]` (int64); none where they are not first, or not on the CPU.
fn token_counts(attention_mask: &Tensor) -> Result<Option<Vec<usize>>> {
    if attention_mask.device() != Device::Cpu {
        return Ok(None);
    }
    let (_, length) = attention_mask.size2()?;
    let mut mask = vec![0_i64; attention_mask.numel()];
    attention_mask.f_to_kind(Kind::Int64)?.f_contiguous()?.f_copy_data(&mut mask, attention_mask.numel())?;
    let texts: Vec<&[i64]> = mask.chunks_exact(length.max(1) as usize).collect();
    if !texts.iter().all(|text| text.is_sorted_by(|a, b| a >= b) && text.iter().all(|one| (0..=1).contains(one))) {
        return Ok(None);
    }
    Ok(Some(texts.iter().map(|text| text.iter().filter(|&&one| one == 1).count()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integers(tensor: &Tensor) -> Vec<i64> {
        Vec::try_from(tensor.flatten(0, -1)).expect("integers")
    }

    fn batch(mask: &[i64], length: i64) -> BatchInput {
        let attention_mask = Tensor::from_slice(mask).view([-1, length]);
        let input_ids = Tensor::arange(mask.len() as i64, (Kind::Int64, Device::Cpu)).view([-1, length]) + 100 * length;
        BatchInput { input_ids, attention_mask }
    }

    #[test]
    fn tokens_come_back_to_their_places() {
        let batches = [batch(&[1, 1, 1, 0, 1, 0, 0, 0, 1, 1, 1, 0], 4), batch(&[1, 1, 1, 1, 0, 0], 3)];
        let packing = Packing::of(&batches).expect("packs").expect("the ones are first");
        let runs = [(0, 2, 1), (2, 3, 3)].map(|(start, texts, length)| Run { start, texts, length });
        assert_eq!(packing.runs, runs);
        let ids = packing.ids(&batches).expect("packs");
        assert_eq!(ids.size(), [ROWS_MIN as i64]);
        assert_eq!(integers(&ids)[..11], [404, 303, 400, 401, 402, 408, 409, 410, 300, 301, 302]);
        assert_eq!(integers(packing.positions())[..11], [0, 0, 0, 1, 2, 0, 1, 2, 0, 1, 2]);
        let again = packing.unpack(&ids.unsqueeze(1)).expect("unpacks");
        for (again, batch) in again.iter().zip(&batches) {
            let mask = batch.attention_mask.unsqueeze(2);
            assert_eq!(again.size(), mask.size());
            assert_eq!(integers(&(again * &mask)), integers(&(batch.input_ids.unsqueeze(2) * &mask)));
        }
    }

    #[test]
    fn other_masks_are_not_packed() {
        for mask in [[0_i64, 1], [1, 2], [2, 1]] {
            assert!(Packing::of(&[batch(&mask, 2)]).expect("looks").is_none(), "{mask:?}");
        }
    }
}
