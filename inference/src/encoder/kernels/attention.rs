//! Self-attention of one text.

use pulp::NullaryFnOnce;
use pulp::x86::V3;

use super::pointwise::softmax;
use super::product::{Columns, TILE_COLUMNS, TILE_ROWS, Tile, load, store_tile, tile, tile_rows};

/// Room that is used again from text to text.
#[derive(Debug, Default)]
pub(super) struct AttentionScratch {
    keys: Vec<Columns>,
    values: Vec<Columns>,
    /// `[length, stride]`, the stride a multiple of [`TILE_COLUMNS`].
    scores: Vec<f32>,
}

/// Writes the context `[length, hidden]` of a text over `context`, from its queries, keys and values, `query_key_value`
/// `[length, 3 · hidden]`. All of the text's tokens see each other.
pub(super) fn attend(
    simd: V3,
    query_key_value: &[f32],
    context: &mut [f32],
    hidden: usize,
    heads: usize,
    scratch: &mut AttentionScratch,
) {
    simd.vectorize(Attend { simd, query_key_value, context, hidden, heads, scratch });
}

struct Attend<'a> {
    simd: V3,
    query_key_value: &'a [f32],
    context: &'a mut [f32],
    hidden: usize,
    heads: usize,
    scratch: &'a mut AttentionScratch,
}

impl NullaryFnOnce for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn call(mut self) {
        for head in 0..self.heads {
            self.score(head);
            self.weigh(head);
        }
    }
}

impl Attend<'_> {
    #[inline(always)]
    fn length(&self) -> usize {
        self.context.len() / self.hidden
    }

    /// Width of the scores' rows.
    #[inline(always)]
    fn stride(&self) -> usize {
        self.length().next_multiple_of(TILE_COLUMNS)
    }

    /// The numbers of a head in the query (0), key (1) or value (2) of a token, and what follows them.
    #[inline(always)]
    fn vector(&self, part: usize, head: usize, token: usize) -> &[f32] {
        &self.query_key_value[(3 * token + part) * self.hidden + head * (self.hidden / self.heads)..]
    }

    /// The attention weights of a head, into the scratch.
    #[inline(always)]
    fn score(&mut self, head: usize) {
        let (length, stride, size) = (self.length(), self.stride(), self.hidden / self.heads);
        let scale = 1.0 / (size as f32).sqrt();
        let mut keys = std::mem::take(&mut self.scratch.keys);
        keys.clear();
        keys.resize(length.div_ceil(TILE_COLUMNS) * size, Columns::ZERO);
        for (panel, keys) in keys.chunks_exact_mut(size).enumerate() {
            let first = panel * TILE_COLUMNS;
            for lane in 0..TILE_COLUMNS.min(length - first) {
                for (columns, &number) in keys.iter_mut().zip(self.vector(1, head, first + lane)) {
                    columns.0[lane] = number * scale;
                }
            }
        }
        self.scratch.scores.resize(length * stride, 0.0);
        for first in (0..length).step_by(TILE_ROWS) {
            let count = TILE_ROWS.min(length - first);
            let queries = tile_rows(&self.query_key_value[head * size..], 3 * self.hidden, first, count);
            for (panel, keys) in keys.chunks_exact(size).enumerate() {
                let sums = tile(self.simd, queries, keys, zeros(self.simd));
                let scores = &mut self.scratch.scores[first * stride + panel * TILE_COLUMNS..];
                store_tile(scores, stride, (count, TILE_COLUMNS), sums);
            }
        }
        self.scratch.keys = keys;
        for row in self.scratch.scores.chunks_exact_mut(stride) {
            row[length..].fill(f32::NEG_INFINITY);
            softmax(self.simd, row);
        }
    }

    /// The values of a head in the shares of the scratch, into the context.
    #[inline(always)]
    fn weigh(&mut self, head: usize) {
        let (length, stride, size) = (self.length(), self.stride(), self.hidden / self.heads);
        let mut values = std::mem::take(&mut self.scratch.values);
        values.clear();
        for first in (0..size).step_by(TILE_COLUMNS) {
            let columns = TILE_COLUMNS.min(size - first);
            for token in 0..length {
                values.push(load(&self.vector(2, head, token)[first..], columns));
            }
        }
        for first in (0..length).step_by(TILE_ROWS) {
            let count = TILE_ROWS.min(length - first);
            let shares = tile_rows(&self.scratch.scores, stride, first, count);
            for (panel, values) in values.chunks_exact(length).enumerate() {
                let columns = TILE_COLUMNS.min(size - panel * TILE_COLUMNS);
                let sums = tile(self.simd, shares, values, zeros(self.simd));
                let place = first * self.hidden + head * size + panel * TILE_COLUMNS;
                store_tile(&mut self.context[place..], self.hidden, (count, columns), sums);
            }
        }
        self.scratch.values = values;
    }
}

#[inline(always)]
fn zeros(simd: V3) -> Tile {
    [[simd.splat_f32x8(0.0); 2]; TILE_ROWS]
}
