//! Layers, and how texts run through them.

use pulp::NullaryFnOnce;
use pulp::x86::V3;

use super::attention::{AttentionScratch, attend};
use super::lines::Instructions;
use super::pointwise::add_and_normalise;
use super::product::{Activation, PackedWeight};

/// Rows that run through all layers together, a text more or less: what a layer leaves to the next stays in the caches.
const GROUP_ROWS: usize = 576;

/// Scale, shift and epsilon of a layer normalisation.
#[derive(Debug)]
pub(super) struct PackedNorm {
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) eps: f32,
}

impl PackedNorm {
    /// Normalises the rows of `rows + residual` in the place of `rows`.
    fn add_and_normalise(&self, instructions: Instructions, rows: &mut [f32], residual: Option<&[f32]>) {
        let simd = instructions.common();
        simd.vectorize(Normalise { norm: self, simd, rows, residual });
    }
}

struct Normalise<'a> {
    norm: &'a PackedNorm,
    simd: V3,
    rows: &'a mut [f32],
    residual: Option<&'a [f32]>,
}

impl NullaryFnOnce for Normalise<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let PackedNorm { weight, bias, eps } = self.norm;
        let width = weight.len();
        for (index, row) in self.rows.chunks_exact_mut(width).enumerate() {
            let residual = self.residual.map(|rows| &rows[index * width..(index + 1) * width]);
            add_and_normalise(self.simd, row, residual, (weight, bias, *eps));
        }
    }
}

/// One transformer layer.
#[derive(Debug)]
pub(super) struct PackedLayer {
    /// Query, key and value one behind the other.
    pub(super) query_key_value: PackedWeight,
    pub(super) attention_output: PackedWeight,
    pub(super) attention_norm: PackedNorm,
    pub(super) intermediate: PackedWeight,
    pub(super) output: PackedWeight,
    pub(super) output_norm: PackedNorm,
}

/// Room that is used again from group to group.
#[derive(Debug, Default)]
struct Scratch {
    query_key_value: Vec<f32>,
    context: Vec<f32>,
    attended: Vec<f32>,
    inner: Vec<f32>,
    attention: AttentionScratch,
}

impl PackedLayer {
    /// `hidden` `[rows, hidden]` of texts with so many tokens, in its place.
    fn forward(
        &self,
        instructions: Instructions,
        hidden: &mut [f32],
        token_counts: &[usize],
        heads: usize,
        scratch: &mut Scratch,
    ) {
        let width = self.query_key_value.input_size();
        let block_rows = instructions.block_rows(hidden.len() / width);
        scratch.query_key_value.resize(3 * hidden.len(), 0.0);
        let blocks = scratch.query_key_value.chunks_mut(block_rows * 3 * width);
        for (output, rows) in blocks.zip(hidden.chunks(block_rows * width)) {
            self.query_key_value.multiply(rows, output, Activation::Identity);
        }
        scratch.context.resize(hidden.len(), 0.0);
        let mut first = 0;
        for &tokens in token_counts {
            let rows = &scratch.query_key_value[first * 3 * width..(first + tokens) * 3 * width];
            let context = &mut scratch.context[first * width..(first + tokens) * width];
            attend(instructions, rows, context, width, heads, &mut scratch.attention);
            first += tokens;
        }
        let blocks = scratch.context.chunks(block_rows * width);
        for (rows, context) in hidden.chunks_mut(block_rows * width).zip(blocks) {
            self.after_attention(instructions, rows, context, (&mut scratch.attended, &mut scratch.inner));
        }
    }

    /// Everything but the attention, of a block: it stays in the second-level cache.
    fn after_attention(
        &self,
        instructions: Instructions,
        hidden: &mut [f32],
        context: &[f32],
        (attended, inner): (&mut Vec<f32>, &mut Vec<f32>),
    ) {
        attended.resize(hidden.len(), 0.0);
        self.attention_output.multiply(context, attended, Activation::Identity);
        self.attention_norm.add_and_normalise(instructions, attended, Some(hidden));
        inner.resize(hidden.len() / self.intermediate.input_size() * self.intermediate.output_size(), 0.0);
        self.intermediate.multiply(attended, inner, Activation::Gelu);
        self.output.multiply(inner, hidden, Activation::Identity);
        self.output_norm.add_and_normalise(instructions, hidden, Some(attended));
    }
}

/// The layers of an encoder.
#[derive(Debug)]
pub(super) struct PackedLayers {
    pub(super) embeddings_norm: PackedNorm,
    pub(super) layers: Vec<PackedLayer>,
    pub(super) heads: usize,
}

impl PackedLayers {
    /// See [`Kernels::hidden_states`](super::Kernels::hidden_states).
    pub(super) fn hidden_states(
        &self,
        instructions: Instructions,
        embeddings: &mut [f32],
        token_counts: &[usize],
        kept: &[usize],
        threads: usize,
    ) -> Vec<Vec<f32>> {
        let width = self.embeddings_norm.weight.len();
        let rows: usize = token_counts.iter().sum();
        let share = rows.div_ceil(threads.max(1));
        let (mut rest, mut shares) = (&mut embeddings[..rows * width], Vec::new());
        for texts in groups(token_counts, share) {
            let (own, others) = rest.split_at_mut(texts.iter().sum::<usize>() * width);
            rest = others;
            shares.push((own, texts));
        }
        if let [(own, texts)] = &mut shares[..] {
            return self.of_share(instructions, own, texts, kept);
        }
        let mut all = vec![Vec::with_capacity(rows * width); kept.len()];
        std::thread::scope(|scope| {
            let work = |(own, texts)| scope.spawn(move || self.of_share(instructions, own, texts, kept));
            let running: Vec<_> = shares.into_iter().map(work).collect();
            for thread in running {
                // A panic of a thread goes on in this one, as it would without threads.
                let states = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                all.iter_mut().zip(states).for_each(|(all, own)| all.extend(own));
            }
        });
        all
    }

    fn of_share(
        &self,
        instructions: Instructions,
        embeddings: &mut [f32],
        texts: &[usize],
        kept: &[usize],
    ) -> Vec<Vec<f32>> {
        let width = self.embeddings_norm.weight.len();
        let mut scratch = Scratch::default();
        let mut states = vec![Vec::with_capacity(embeddings.len()); kept.len()];
        let mut rest = embeddings;
        for group in groups(texts, GROUP_ROWS) {
            let (hidden, others) = rest.split_at_mut(group.iter().sum::<usize>() * width);
            rest = others;
            self.embeddings_norm.add_and_normalise(instructions, hidden, None);
            let last = kept.last().copied().unwrap_or_default();
            for index in 0..=last {
                if let Some(layer) = index.checked_sub(1).and_then(|below| self.layers.get(below)) {
                    layer.forward(instructions, hidden, group, self.heads, &mut scratch);
                }
                if let Some(place) = kept.iter().position(|&layer| layer == index) {
                    states[place].extend_from_slice(hidden);
                }
            }
        }
        states
    }
}

/// Neighbouring texts that together have about `rows` tokens, never fewer but for the last.
fn groups(token_counts: &[usize], rows: usize) -> Vec<&[usize]> {
    let (mut all, mut start, mut tokens) = (Vec::new(), 0, 0);
    for (index, count) in token_counts.iter().enumerate() {
        tokens += count;
        if tokens >= rows {
            all.push(&token_counts[start..=index]);
            (start, tokens) = (index + 1, 0);
        }
    }
    if start < token_counts.len() {
        all.push(&token_counts[start..]);
    }
    all
}
