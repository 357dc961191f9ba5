//! Products of row-major activations with weights laid out for them.
//!
//! A tile of six rows by sixteen columns stays in twelve vector registers while it runs through the inner dimension, the
//! inmost scheme of Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008). The weights never
//! change, so they are laid out in the order of reading once and for all; rows are read where they are.

use pulp::x86::V3;
use pulp::{NullaryFnOnce, cast, f32x8};

use super::pointwise::gelu;

/// Rows of a tile: twelve sums, two columns' vectors and a row's number fill the sixteen registers.
pub(super) const TILE_ROWS: usize = 6;
/// Columns of a tile: two vectors.
pub(super) const TILE_COLUMNS: usize = 16;
/// Inner dimension that is run through at a time: so much of a panel fits the first-level cache.
const DEPTH: usize = 384;

/// The weights of a panel's columns at one place of the inner dimension; a line of the cache.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Columns(pub(super) [f32; TILE_COLUMNS]);

impl Columns {
    pub(super) const ZERO: Self = Self([0.0; TILE_COLUMNS]);

    #[inline(always)]
    fn vectors(&self) -> [f32x8; 2] {
        let (halves, _) = self.0.as_chunks::<8>();
        [cast(halves[0]), cast(halves[1])]
    }
}

/// What is done to a sum before it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    Identity,
    Gelu,
}

/// Sums of a tile.
pub(super) type Tile = [[f32x8; 2]; TILE_ROWS];

/// `start[i] + Σ rows[i][k] · panel[k]` for `k` below the panel's length, added in that order.
#[inline(always)]
pub(super) fn tile(simd: V3, rows: [&[f32]; TILE_ROWS], panel: &[Columns], start: Tile) -> Tile {
    // One length for all, so that the loop needs no checks.
    let mut rows = rows;
    for row in &mut rows {
        *row = &row[..panel.len()];
    }
    let mut sums = start;
    for (k, columns) in panel.iter().enumerate() {
        let [left, right] = columns.vectors();
        for (sum, row) in sums.iter_mut().zip(&rows) {
            let value = simd.splat_f32x8(row[k]);
            *sum = [simd.mul_add_f32x8(value, left, sum[0]), simd.mul_add_f32x8(value, right, sum[1])];
        }
    }
    sums
}

/// Rows `first..` of a row-major matrix, as far as there are some, the last again in place of missing ones.
#[inline(always)]
pub(super) fn tile_rows(matrix: &[f32], stride: usize, first: usize, count: usize) -> [&[f32]; TILE_ROWS] {
    let mut rows = [matrix; TILE_ROWS];
    for (row, numbers) in rows.iter_mut().enumerate() {
        *numbers = &matrix[(first + row.min(count - 1)) * stride..];
    }
    rows
}

/// A dense layer's weight and bias, laid out for [`multiply`](Self::multiply).
#[derive(Debug)]
pub(super) struct PackedWeight {
    input_size: usize,
    output_size: usize,
    /// Per part of the inner dimension ([`DEPTH`]), per panel of columns, per place.
    columns: Vec<Columns>,
    /// Per panel; zeros beyond the last column, as in `columns`.
    bias: Vec<Columns>,
}

impl PackedWeight {
    /// Of a weight `[output, input]`, row-major, and a bias `[output]`.
    pub(super) fn new(weight: &[f32], bias: &[f32]) -> Self {
        let (output_size, input_size) = (bias.len(), weight.len() / bias.len().max(1));
        let panels = output_size.div_ceil(TILE_COLUMNS);
        let mut columns = Vec::with_capacity(panels * input_size);
        for depth in (0..input_size).step_by(DEPTH) {
            for panel in 0..panels {
                let column = |k: usize, lane: usize| {
                    let output = panel * TILE_COLUMNS + lane;
                    if output < output_size { weight[output * input_size + k] } else { 0.0 }
                };
                let places = depth..(depth + DEPTH).min(input_size);
                columns.extend(places.map(|k| Columns(std::array::from_fn(|lane| column(k, lane)))));
            }
        }
        let of_panel = |panel: usize| {
            Columns(std::array::from_fn(|lane| bias.get(panel * TILE_COLUMNS + lane).copied().unwrap_or_default()))
        };
        Self { input_size, output_size, columns, bias: (0..panels).map(of_panel).collect() }
    }

    pub(super) fn input_size(&self) -> usize {
        self.input_size
    }

    pub(super) fn output_size(&self) -> usize {
        self.output_size
    }

    /// Writes `activation(input · weightᵀ + bias)` over `output`; both row-major and as wide as the weight is, with the
    /// same number of rows; some tens of them at a time, so that they stay in a cache, are the fastest.
    pub(super) fn multiply(&self, simd: V3, input: &[f32], output: &mut [f32], activation: Activation) {
        simd.vectorize(Multiply { weight: self, simd, input, output, activation });
    }
}

struct Multiply<'a> {
    weight: &'a PackedWeight,
    simd: V3,
    input: &'a [f32],
    output: &'a mut [f32],
    activation: Activation,
}

impl NullaryFnOnce for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn call(mut self) {
        let PackedWeight { input_size, columns, bias, .. } = self.weight;
        let mut laid_out = columns.as_slice();
        for depth in (0..*input_size).step_by(DEPTH) {
            let places = DEPTH.min(input_size - depth);
            let (part, rest) = laid_out.split_at(bias.len() * places);
            laid_out = rest;
            for (index, panel) in part.chunks_exact(places).enumerate() {
                self.panel(depth, index, panel);
            }
        }
    }
}

impl Multiply<'_> {
    /// Adds what the inner dimension from `depth` on, in `panel`, brings to the columns of the panel `index`.
    #[inline(always)]
    fn panel(&mut self, depth: usize, index: usize, panel: &[Columns]) {
        let (depth_max, width) = (self.weight.input_size, self.weight.output_size);
        let act = depth + panel.len() == depth_max && self.activation == Activation::Gelu;
        let column = index * TILE_COLUMNS;
        let columns = TILE_COLUMNS.min(width - column);
        let rows = self.output.len() / width;
        for first in (0..rows).step_by(TILE_ROWS) {
            let count = TILE_ROWS.min(rows - first);
            let mut sums = [self.weight.bias[index].vectors(); TILE_ROWS];
            let output = &mut self.output[first * width + column..];
            if depth > 0 {
                for (row, sum) in sums.iter_mut().enumerate() {
                    *sum = load(&output[row.min(count - 1) * width..], columns).vectors();
                }
            }
            sums = tile(self.simd, tile_rows(&self.input[depth..], depth_max, first, count), panel, sums);
            if act {
                for sum in &mut sums {
                    *sum = [gelu(self.simd, sum[0]), gelu(self.simd, sum[1])];
                }
            }
            store_tile(output, width, (count, columns), sums);
        }
    }
}

/// Writes the first rows and columns of a tile to a row-major matrix.
#[inline(always)]
pub(super) fn store_tile(to: &mut [f32], stride: usize, (count, columns): (usize, usize), sums: Tile) {
    if count == TILE_ROWS {
        // Of a length known beforehand, so that the sums stay in their registers.
        for (row, &sum) in sums.iter().enumerate() {
            store(&mut to[row * stride..], columns, sum);
        }
    } else {
        for (row, &sum) in sums.iter().enumerate().take(count) {
            store(&mut to[row * stride..], columns, sum);
        }
    }
}

/// The first `columns` numbers, zeros after them.
#[inline(always)]
pub(super) fn load(from: &[f32], columns: usize) -> Columns {
    let mut all = Columns::ZERO;
    match from.first_chunk::<TILE_COLUMNS>() {
        Some(whole) if columns == TILE_COLUMNS => all.0 = *whole,
        _ => all.0.iter_mut().zip(from).take(columns).for_each(|(number, &from)| *number = from),
    }
    all
}

/// Writes the first `columns` numbers of a tile's row.
#[inline(always)]
pub(super) fn store(to: &mut [f32], columns: usize, sums: [f32x8; 2]) {
    if columns == TILE_COLUMNS
        && let [left, right, ..] = to.as_chunks_mut::<8>().0
    {
        (*left, *right) = (cast(sums[0]), cast(sums[1]));
        return;
    }
    let halves: [[f32; 8]; 2] = [cast(sums[0]), cast(sums[1])];
    to.iter_mut().zip(halves.as_flattened()).take(columns).for_each(|(number, &sum)| *number = sum);
}
