//! Self-attention of one text.

use super::lines::{Instructions, LINE, Line, Lines, Work};
use super::pointwise::softmax;
use super::product::{load, store_tile, tile, tile_rows};

/// Room that is used again from text to text.
#[derive(Debug, Default)]
pub(super) struct AttentionScratch {
    keys: Vec<Line>,
    values: Vec<Line>,
    /// `[length, stride]`, the stride a multiple of [`LINE`].
    scores: Vec<f32>,
}

/// Writes the context `[length, hidden]` of a text over `context`, from its queries, keys and values, `query_key_value`
/// `[length, 3 · hidden]`. All of the text's tokens see each other.
pub(super) fn attend(
    instructions: Instructions,
    query_key_value: &[f32],
    context: &mut [f32],
    hidden: usize,
    heads: usize,
    scratch: &mut AttentionScratch,
) {
    instructions.run(Attend { query_key_value, context, hidden, heads, scratch });
}

/// In tiles one line wide, as heads are narrow.
struct Attend<'a> {
    query_key_value: &'a [f32],
    context: &'a mut [f32],
    hidden: usize,
    heads: usize,
    scratch: &'a mut AttentionScratch,
}

impl Work for Attend<'_> {
    #[inline(always)]
    fn run<S: Lines, const ROWS: usize, const LINES: usize>(mut self, simd: S) {
        for head in 0..self.heads {
            self.score::<S, ROWS>(simd, head);
            self.weigh::<S, ROWS>(simd, head);
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
        self.length().next_multiple_of(LINE)
    }

    /// The numbers of a head in the query (0), key (1) or value (2) of a token, and what follows them.
    #[inline(always)]
    fn vector(&self, part: usize, head: usize, token: usize) -> &[f32] {
        &self.query_key_value[(3 * token + part) * self.hidden + head * (self.hidden / self.heads)..]
    }

    /// The attention weights of a head, into the scratch.
    #[inline(always)]
    fn score<S: Lines, const ROWS: usize>(&mut self, simd: S, head: usize) {
        let (length, stride, size) = (self.length(), self.stride(), self.hidden / self.heads);
        let scale = 1.0 / (size as f32).sqrt();
        let mut keys = std::mem::take(&mut self.scratch.keys);
        keys.clear();
        keys.resize(length.div_ceil(LINE) * size, Line::ZERO);
        for (panel, keys) in keys.chunks_exact_mut(size).enumerate() {
            let first = panel * LINE;
            for lane in 0..LINE.min(length - first) {
                for (line, &number) in keys.iter_mut().zip(self.vector(1, head, first + lane)) {
                    line.0[lane] = number * scale;
                }
            }
        }
        self.scratch.scores.resize(length * stride, 0.0);
        for first in (0..length).step_by(ROWS) {
            let count = ROWS.min(length - first);
            let queries = tile_rows::<ROWS>(&self.query_key_value[head * size..], 3 * self.hidden, first, count);
            for (panel, keys) in keys.chunks_exact(size).enumerate() {
                let sums = tile(simd, queries, keys.as_chunks::<1>().0, [[simd.zero()]; ROWS]);
                let scores = &mut self.scratch.scores[first * stride + panel * LINE..];
                store_tile(simd, scores, stride, (count, LINE), sums);
            }
        }
        self.scratch.keys = keys;
        for row in self.scratch.scores.chunks_exact_mut(stride) {
            row[length..].fill(f32::NEG_INFINITY);
            softmax(simd.common(), row);
        }
    }

    /// The values of a head in the shares of the scratch, into the context.
    #[inline(always)]
    fn weigh<S: Lines, const ROWS: usize>(&mut self, simd: S, head: usize) {
        let (length, stride, size) = (self.length(), self.stride(), self.hidden / self.heads);
        let mut values = std::mem::take(&mut self.scratch.values);
        values.clear();
        for first in (0..size).step_by(LINE) {
            let columns = LINE.min(size - first);
            for token in 0..length {
                values.push(load(&self.vector(2, head, token)[first..][..columns]));
            }
        }
        for first in (0..length).step_by(ROWS) {
            let count = ROWS.min(length - first);
            let shares = tile_rows::<ROWS>(&self.scratch.scores, stride, first, count);
            for (panel, values) in values.chunks_exact(length).enumerate() {
                let columns = LINE.min(size - panel * LINE);
                let sums = tile(simd, shares, values.as_chunks::<1>().0, [[simd.zero()]; ROWS]);
                let place = first * self.hidden + head * size + panel * LINE;
                store_tile(simd, &mut self.context[place..], self.hidden, (count, columns), sums);
            }
        }
        self.scratch.values = values;
    }
}
