//! A few fixed batch shapes: which texts go through the model together, and at what padding.
//!
//! Floating-point kernels sum in an order that depends on the shape of their input. If the shape a text is computed
//! in depends on the text alone, so does its score: [`BatchShapes`] picks the shape from the text's own token count
//! and fills unused rows with padding instead of shrinking the batch. Only a device that runs out of memory gets smaller
//! batches ([`Headroom`]).

use serde::Serialize;
use tch::{Device, Tensor};

use crate::error::{InferenceError, Result};
use crate::tokenizer::TokenizedText;

/// Bucket lengths up to 128 tokens; longer ones double.
const SHORT_LENGTHS: [usize; 7] = [16, 24, 32, 48, 64, 96, 128];

/// One shape the model runs at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BatchShape {
    /// Rows (texts), always all computed.
    pub rows: usize,
    /// Tokens per row.
    pub length: usize,
}

/// The shapes of one scorer, by increasing length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BatchShapes {
    shapes: Vec<BatchShape>,
}

/// Texts that run together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedBatch {
    /// The shape they run at.
    pub shape: BatchShape,
    /// Indices into the token counts given to [`BatchShapes::plan`], at most `shape.rows`.
    pub members: Vec<usize>,
}

/// Totals of what a scorer has computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BatchStats {
    /// Texts answered, failures included.
    pub texts: u64,
    /// Texts that were cut at the token limit.
    pub texts_truncated: u64,
    /// Texts that could not be scored.
    pub texts_failed: u64,
    /// Batches computed.
    pub batches: u64,
    /// Tokens of texts, special tokens included.
    pub tokens: u64,
    /// Tokens computed in vain: unused ends of rows and unused rows.
    pub padding_tokens: u64,
}

impl BatchShapes {
    /// Shapes for texts of up to `max_tokens`, each of about `batch_tokens` tokens, padding counted.
    ///
    /// # Errors
    /// [`InferenceError::Config`] when either is zero.
    pub fn new(max_tokens: usize, batch_tokens: usize) -> Result<Self> {
        if max_tokens == 0 || batch_tokens == 0 {
            return Err(InferenceError::Config("max_tokens and batch_tokens must be at least 1".to_owned()));
        }
        let doubled = std::iter::successors(Some(256_usize), |length| length.checked_mul(2));
        let mut lengths: Vec<usize> =
            SHORT_LENGTHS.into_iter().chain(doubled).take_while(|&length| length < max_tokens).collect();
        lengths.push(max_tokens);
        let shapes = lengths.into_iter().map(|length| BatchShape { rows: (batch_tokens / length).max(1), length });
        Ok(Self { shapes: shapes.collect() })
    }

    /// All shapes, by increasing length.
    pub fn shapes(&self) -> &[BatchShape] {
        &self.shapes
    }

    /// The shape of a text with `tokens` tokens: the shortest that holds it, `None` if none does.
    pub fn shape_of(&self, tokens: usize) -> Option<BatchShape> {
        self.shapes.iter().copied().find(|shape| tokens <= shape.length)
    }

    /// Packs texts, given by their token counts, into batches: every index occurs exactly once, in a shape that
    /// depends on its own count alone. Texts that fit no shape are left out.
    pub fn plan(&self, token_counts: &[usize]) -> Vec<PlannedBatch> {
        let mut by_shape: Vec<Vec<usize>> = vec![Vec::new(); self.shapes.len()];
        for (index, &count) in token_counts.iter().enumerate() {
            if let Some(bucket) = self.shapes.iter().position(|shape| count <= shape.length) {
                by_shape[bucket].push(index);
            }
        }
        let mut batches = Vec::new();
        for (&shape, members) in self.shapes.iter().zip(&by_shape) {
            batches.extend(members.chunks(shape.rows).map(|rows| PlannedBatch { shape, members: rows.to_vec() }));
        }
        batches
    }
}

/// Tokens that go through the encoder together on the CPU. With LibTorch's products half as many cost 4 % more time and twice
/// as many 6 % (an AMD EPYC of AVX2, 400 texts, in turns): small products are slow, and the states of large ones leave the
/// cache. Our own kernels take them in groups of their own.
const PASS_TOKENS: usize = 2048;

/// The batches of `planned` that one pass of the encoder takes on `device`, one pass after the other: on the CPU, where
/// padding costs nothing, some [`PASS_TOKENS`] of their texts' `token_counts`; elsewhere one batch at a time.
pub fn passes<'a>(planned: &'a [PlannedBatch], token_counts: &[usize], device: Device) -> Vec<&'a [PlannedBatch]> {
    let tokens_max = if device == Device::Cpu { PASS_TOKENS } else { 0 };
    let mut passes = Vec::new();
    let (mut start, mut tokens) = (0, 0);
    for (index, batch) in planned.iter().enumerate() {
        let own: usize = batch.members.iter().map(|&member| token_counts[member]).sum();
        if index > start && tokens + own > tokens_max {
            passes.push(&planned[start..index]);
            (start, tokens) = (index, 0);
        }
        tokens += own;
    }
    if start < planned.len() {
        passes.push(&planned[start..]);
    }
    passes
}

/// Computes results of members, one each, as one batch of a shape.
pub(crate) type Compute<'a, M, T> = dyn FnMut(&[M], BatchShape) -> Result<Vec<T>> + 'a;

/// What a device has shown to have memory for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Headroom {
    /// Tokens of a batch, padding counted; no limit as long as memory never ran out.
    tokens_max: Option<usize>,
}

impl Headroom {
    /// Results of `members`, one each, computed in batches of `shape`.
    ///
    /// Where memory runs out, the batch is halved, now and from then on. Where a batch fails otherwise, its members are
    /// tried one by one in the same shape, so that only the culprit fails.
    pub(crate) fn run<M, T>(
        &mut self,
        members: &[M],
        shape: BatchShape,
        compute: &mut Compute<'_, M, T>,
    ) -> Vec<Result<T>> {
        let mut results = Vec::with_capacity(members.len());
        let mut rest = members;
        while !rest.is_empty() {
            // Anew for every part: memory may have run out meanwhile.
            let shape = self.fit(shape);
            let (part, later) = rest.split_at(rest.len().min(shape.rows));
            match compute(part, shape) {
                Ok(values) => results.extend(values.into_iter().map(Ok)),
                Err(InferenceError::OutOfMemory(_)) if shape.rows > 1 => {
                    let tokens_max = shape.rows * shape.length / 2;
                    self.tokens_max = Some(tokens_max);
                    tracing::warn!(tokens_max, "a device is out of memory; its batches are halved");
                    continue;
                }
                Err(error) if part.len() <= 1 => results.push(Err(error)),
                Err(error) => {
                    tracing::warn!(%error, texts = part.len(), "a batch failed; scoring its texts one by one");
                    for member in part.chunks(1) {
                        results.extend(self.run(member, shape, compute));
                    }
                }
            }
            rest = later;
        }
        results
    }

    /// `shape`, with so few rows that there is memory for it.
    fn fit(&self, shape: BatchShape) -> BatchShape {
        let rows = self.tokens_max.map_or(shape.rows, |tokens_max| shape.rows.min(tokens_max / shape.length));
        BatchShape { rows: rows.max(1), ..shape }
    }
}

/// The two input tensors of the encoder.
#[derive(Debug)]
pub struct BatchInput {
    /// Token ids, int64 `[rows, length]`.
    pub input_ids: Tensor,
    /// 1 for tokens, 0 for padding, int64 `[rows, length]`.
    pub attention_mask: Tensor,
}

impl BatchInput {
    /// Lays `texts` out as rows of `shape` on `device`, padded with `pad_token_id`.
    ///
    /// Unused rows get one unmasked padding token, because attention over nothing is not a number.
    ///
    /// # Errors
    /// [`InferenceError::Config`] when a text or their number does not fit the shape.
    pub fn new(texts: &[&TokenizedText], shape: BatchShape, pad_token_id: i64, device: Device) -> Result<Self> {
        let BatchShape { rows, length } = shape;
        if texts.len() > rows || texts.iter().any(|text| text.ids.len() > length) {
            return Err(InferenceError::Config(format!(
                "{} texts do not fit a batch of {rows} × {length}",
                texts.len()
            )));
        }
        let mut ids = vec![pad_token_id; rows * length];
        let mut mask = vec![0_i64; rows * length];
        for row in 0..rows {
            let tokens: &[u32] = texts.get(row).map_or(&[], |text| &text.ids);
            let start = row * length;
            for (offset, &id) in tokens.iter().enumerate() {
                ids[start + offset] = i64::from(id);
            }
            mask[start..start + tokens.len().max(1)].fill(1);
        }
        let size = [rows as i64, length as i64];
        let tensor =
            |values: &[i64]| -> Result<Tensor> { Ok(Tensor::f_from_slice(values)?.f_view(size)?.f_to_device(device)?) };
        Ok(Self { input_ids: tensor(&ids)?, attention_mask: tensor(&mask)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes() -> BatchShapes {
        BatchShapes::new(128, 512).expect("valid")
    }

    #[test]
    fn shapes_are_few_keep_to_the_budget_and_end_at_the_limit() {
        for (max_tokens, batch_tokens) in [(128, 512), (100, 512), (512, 1024), (3, 1), (16, 64)] {
            let shapes = BatchShapes::new(max_tokens, batch_tokens).expect("valid");
            assert!(shapes.shapes().len() <= 9);
            assert!(shapes.shapes().is_sorted_by_key(|shape| shape.length));
            assert_eq!(shapes.shapes().last().map(|shape| shape.length), Some(max_tokens));
            assert!(shapes.shapes().iter().all(|shape| shape.rows == 1 || shape.rows * shape.length <= batch_tokens));
        }
        assert!(BatchShapes::new(0, 1).is_err() && BatchShapes::new(1, 0).is_err());
    }

    #[test]
    fn on_the_cpu_batches_share_passes_of_so_many_tokens_elsewhere_each_has_its_own() {
        let counts: Vec<usize> = (0..1000).map(|index| 2 + index * 7 % 127).collect();
        let plan = shapes().plan(&counts);
        let together = passes(&plan, &counts, Device::Cpu);
        assert_eq!(together.concat(), plan);
        let tokens = |pass: &[PlannedBatch]| -> usize {
            pass.iter().flat_map(|batch| &batch.members).map(|&member| counts[member]).sum()
        };
        assert!(together.iter().all(|pass| tokens(pass) <= PASS_TOKENS));
        let total: usize = counts.iter().sum();
        assert!(together.len() <= total / (PASS_TOKENS - 512) + 1, "{} passes", together.len());
        assert_eq!(passes(&plan, &counts, Device::Cuda(0)).len(), plan.len());
        assert!(passes(&[], &counts, Device::Cpu).is_empty());
    }

    #[test]
    fn every_text_is_planned_once_in_the_shape_of_its_own_length() {
        let counts: Vec<usize> = (0..1000).map(|index| 2 + index * 7 % 127).collect();
        let plan = shapes().plan(&counts);
        let mut seen = vec![0; counts.len()];
        for batch in &plan {
            assert!(!batch.members.is_empty() && batch.members.len() <= batch.shape.rows);
            for &member in &batch.members {
                seen[member] += 1;
                assert_eq!(Some(batch.shape), shapes().shape_of(counts[member]));
            }
        }
        assert!(seen.iter().all(|&times| times == 1));
        // Only the last batch of a shape may have room.
        let with_room = plan.iter().filter(|batch| batch.members.len() < batch.shape.rows).count();
        assert!(with_room <= shapes().shapes().len());
        assert!(shapes().plan(&[129]).is_empty() && shapes().shape_of(129).is_none());
    }

    /// A device with memory for `tokens`, which cannot compute 13; it notes the sizes of its batches.
    fn device(tokens: usize, seen: &mut Vec<usize>) -> impl FnMut(&[u32], BatchShape) -> Result<Vec<u32>> {
        move |members, shape| {
            seen.push(members.len());
            assert!(members.len() <= shape.rows);
            if shape.rows * shape.length > tokens {
                return Err(InferenceError::OutOfMemory("CUDA out of memory".to_owned()));
            }
            let bad = members.contains(&13);
            if bad { Err(InferenceError::Torch("13".to_owned())) } else { Ok(members.iter().map(|n| n * 2).collect()) }
        }
    }

    #[test]
    fn batches_are_halved_until_there_is_memory_and_stay_so() {
        let (mut headroom, mut seen) = (Headroom::default(), Vec::new());
        let members: Vec<u32> = (20..36).collect();
        let shape = BatchShape { rows: 16, length: 32 };
        let doubled: Vec<u32> = members.iter().map(|member| member * 2).collect();
        for expected in [vec![16, 8, 4, 4, 4, 4], vec![4, 4, 4, 4]] {
            seen.clear();
            let results = headroom.run(&members, shape, &mut device(150, &mut seen));
            assert_eq!(results.into_iter().collect::<Result<Vec<_>>>().expect("all fit"), doubled);
            assert_eq!(seen, expected);
        }
        // A shape that fits already is left alone, and one of longer texts has fewer rows.
        assert_eq!(headroom.fit(BatchShape { rows: 4, length: 16 }).rows, 4);
        assert_eq!(headroom.fit(BatchShape { rows: 4, length: 128 }).rows, 1);
    }

    #[test]
    fn a_text_that_fits_in_no_memory_fails_and_the_culprit_fails_alone() {
        let mut seen = Vec::new();
        let shape = BatchShape { rows: 4, length: 32 };
        let results = Headroom::default().run(&[1, 2, 3], shape, &mut device(31, &mut seen));
        assert!(results.iter().all(|result| matches!(result, Err(InferenceError::OutOfMemory(_)))));
        let results = Headroom::default().run(&[12, 13, 14], shape, &mut device(1000, &mut Vec::new()));
        let values: Vec<Option<u32>> = results.into_iter().map(Result::ok).collect();
        assert_eq!(values, [Some(24), None, Some(28)]);
    }

    #[test]
    fn rows_are_padded_and_empty_rows_keep_one_token() {
        let text = TokenizedText { ids: vec![2, 9, 3], ..TokenizedText::default() };
        let shape = BatchShape { rows: 2, length: 4 };
        let input = BatchInput::new(&[&text], shape, 7, Device::Cpu).expect("fits");
        let values = |tensor: &Tensor| Vec::<i64>::try_from(tensor.flatten(0, -1)).expect("integers");
        assert_eq!(values(&input.input_ids), [2, 9, 3, 7, 7, 7, 7, 7]);
        assert_eq!(values(&input.attention_mask), [1, 1, 1, 0, 1, 0, 0, 0]);
        assert!(BatchInput::new(&[&text; 3], shape, 7, Device::Cpu).is_err());
        assert!(BatchInput::new(&[&text], BatchShape { rows: 1, length: 2 }, 7, Device::Cpu).is_err());
    }
}
