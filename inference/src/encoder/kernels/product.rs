//! Products of row-major activations with weights laid out for them.
//!
//! A tile of some rows by some lines of columns stays in the vector registers while it runs through the inner dimension, the
//! inmost scheme of Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008). The weights never
//! change, so they are laid out in the order of reading once and for all; rows are read where they are.

use super::lines::{Instructions, LINE, Line, Lines, Work};

/// Inner dimension that is run through at a time: so much of a panel fits the nearest caches.
const DEPTH: usize = 384;

/// What is done to a sum before it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    Identity,
    Gelu,
}

/// Sums of a tile.
pub(super) type Tile<R, const ROWS: usize, const LINES: usize> = [[R; LINES]; ROWS];

/// `start[i] + Σ rows[i][k] · panel[k]` for `k` below the panel's length, added in that order; a panel has as many lines for
/// every `k` as the tile.
#[inline(always)]
pub(super) fn tile<S: Lines, const ROWS: usize, const LINES: usize>(
    simd: S,
    rows: [&[f32]; ROWS],
    panel: &[[Line; LINES]],
    start: Tile<S::Registers, ROWS, LINES>,
) -> Tile<S::Registers, ROWS, LINES> {
    // One length for all, so that the loop needs no checks.
    let mut rows = rows;
    for row in &mut rows {
        *row = &row[..panel.len()];
    }
    let mut sums = start;
    for (k, lines) in panel.iter().enumerate() {
        let mut columns = [simd.zero(); LINES];
        for (column, line) in columns.iter_mut().zip(lines) {
            *column = simd.load(&line.0);
        }
        for (sums, row) in sums.iter_mut().zip(&rows) {
            let factor = simd.splat(row[k]);
            for (sum, column) in sums.iter_mut().zip(columns) {
                *sum = simd.mul_add(factor, column, *sum);
            }
        }
    }
    sums
}

/// Rows `first..` of a row-major matrix, as far as there are some, the last again in place of missing ones.
#[inline(always)]
pub(super) fn tile_rows<const ROWS: usize>(
    matrix: &[f32],
    stride: usize,
    first: usize,
    count: usize,
) -> [&[f32]; ROWS] {
    let mut rows = [matrix; ROWS];
    for (row, numbers) in rows.iter_mut().enumerate() {
        *numbers = &matrix[(first + row.min(count - 1)) * stride..];
    }
    rows
}

/// A dense layer's weight and bias, laid out for [`multiply`](Self::multiply).
#[derive(Debug)]
pub(super) struct PackedWeight {
    instructions: Instructions,
    input_size: usize,
    output_size: usize,
    /// Per part of the inner dimension ([`DEPTH`]), per panel of columns, per place, per line of a tile.
    lines: Vec<Line>,
    /// Per panel, per line of a tile; zeros beyond the last column, as in `lines`.
    bias: Vec<Line>,
}

impl PackedWeight {
    /// Of a weight `[output, input]`, row-major, and a bias `[output]`.
    pub(super) fn new(instructions: Instructions, weight: &[f32], bias: &[f32]) -> Self {
        let (output_size, input_size) = (bias.len(), weight.len() / bias.len().max(1));
        let (_, tile_lines) = instructions.tile();
        let panels = output_size.div_ceil(tile_lines * LINE);
        let of_columns = |panel: usize, line: usize, number: &dyn Fn(usize) -> f32| {
            let first = (panel * tile_lines + line) * LINE;
            Line(std::array::from_fn(|lane| if first + lane < output_size { number(first + lane) } else { 0.0 }))
        };
        let mut lines = Vec::with_capacity(panels * tile_lines * input_size);
        for depth in (0..input_size).step_by(DEPTH) {
            for panel in 0..panels {
                for place in depth..(depth + DEPTH).min(input_size) {
                    let number = |output: usize| weight[output * input_size + place];
                    lines.extend((0..tile_lines).map(|line| of_columns(panel, line, &number)));
                }
            }
        }
        let of_panel = |panel: usize| (0..tile_lines).map(move |line| of_columns(panel, line, &|output| bias[output]));
        let bias = (0..panels).flat_map(of_panel).collect();
        Self { instructions, input_size, output_size, lines, bias }
    }

    pub(super) fn input_size(&self) -> usize {
        self.input_size
    }

    pub(super) fn output_size(&self) -> usize {
        self.output_size
    }

    /// Writes `activation(input · weightᵀ + bias)` over `output`; both row-major and as wide as the weight is, with the
    /// same number of rows; for how many at a time see [`Instructions::block_rows`].
    pub(super) fn multiply(&self, input: &[f32], output: &mut [f32], activation: Activation) {
        self.instructions.run(Multiply { weight: self, input, output, activation });
    }
}

struct Multiply<'a> {
    weight: &'a PackedWeight,
    input: &'a [f32],
    output: &'a mut [f32],
    activation: Activation,
}

impl Work for Multiply<'_> {
    #[inline(always)]
    fn run<S: Lines, const ROWS: usize, const LINES: usize>(mut self, simd: S) {
        let PackedWeight { input_size, lines, bias, .. } = self.weight;
        let mut laid_out = lines.as_chunks::<LINES>().0;
        let bias = bias.as_chunks::<LINES>().0;
        for depth in (0..*input_size).step_by(DEPTH) {
            let places = DEPTH.min(input_size - depth);
            let (part, rest) = laid_out.split_at(bias.len() * places);
            laid_out = rest;
            for (index, panel) in part.chunks_exact(places).enumerate() {
                self.panel::<S, ROWS, LINES>(simd, (depth, index), panel, &bias[index]);
            }
        }
    }
}

impl Multiply<'_> {
    /// Adds what the inner dimension from `depth` on, in `panel`, brings to the columns of the panel `index`.
    #[inline(always)]
    fn panel<S: Lines, const ROWS: usize, const LINES: usize>(
        &mut self,
        simd: S,
        (depth, index): (usize, usize),
        panel: &[[Line; LINES]],
        bias: &[Line; LINES],
    ) {
        let (depth_max, width) = (self.weight.input_size, self.weight.output_size);
        let act = depth + panel.len() == depth_max && self.activation == Activation::Gelu;
        let column = index * LINES * LINE;
        let columns = (LINES * LINE).min(width - column);
        let rows = self.output.len() / width;
        let start = [bias.map(|line| simd.load(&line.0)); ROWS];
        for first in (0..rows).step_by(ROWS) {
            let count = ROWS.min(rows - first);
            let rows = tile_rows(&self.input[depth..], depth_max, first, count);
            let output = &mut self.output[first * width + column..];
            // Of sizes known beforehand, so that the sums never leave their registers.
            if count == ROWS && columns == LINES * LINE {
                let start = if depth == 0 { start } else { load_tile(simd, output, width, (ROWS, LINES * LINE)) };
                store_tile(simd, output, width, (ROWS, LINES * LINE), tile(simd, rows, panel, start));
            } else {
                let start = if depth == 0 { start } else { load_tile(simd, output, width, (count, columns)) };
                store_tile(simd, output, width, (count, columns), tile(simd, rows, panel, start));
            }
            if act {
                for row in output.chunks_mut(width).take(count) {
                    activate(simd, &mut row[..columns]);
                }
            }
        }
    }
}

/// The activation of each number, in its place.
#[inline(always)]
fn activate<S: Lines>(simd: S, row: &mut [f32]) {
    let (lines, rest) = row.as_chunks_mut::<LINE>();
    for line in lines {
        *line = simd.numbers(simd.gelu(simd.load(line)));
    }
    if !rest.is_empty() {
        let numbers = simd.numbers(simd.gelu(simd.load(&load(rest).0)));
        rest.copy_from_slice(&numbers[..rest.len()]);
    }
}

/// The first rows and columns of a row-major matrix, zeros in place of missing ones.
#[inline(always)]
fn load_tile<S: Lines, const ROWS: usize, const LINES: usize>(
    simd: S,
    from: &[f32],
    stride: usize,
    (count, columns): (usize, usize),
) -> Tile<S::Registers, ROWS, LINES> {
    let mut sums = [[simd.zero(); LINES]; ROWS];
    for (sums, from) in sums.iter_mut().zip(from.chunks(stride)).take(count) {
        let (lines, rest) = from[..columns].as_chunks::<LINE>();
        for (sum, line) in sums.iter_mut().zip(lines) {
            *sum = simd.load(line);
        }
        if !rest.is_empty() {
            sums[lines.len()] = simd.load(&load(rest).0);
        }
    }
    sums
}

/// Writes the first rows and columns of a tile to a row-major matrix.
#[inline(always)]
pub(super) fn store_tile<S: Lines, const ROWS: usize, const LINES: usize>(
    simd: S,
    to: &mut [f32],
    stride: usize,
    (count, columns): (usize, usize),
    sums: Tile<S::Registers, ROWS, LINES>,
) {
    for (sums, to) in sums.iter().zip(to.chunks_mut(stride)).take(count) {
        let (lines, rest) = to[..columns].as_chunks_mut::<LINE>();
        for (line, sum) in lines.iter_mut().zip(sums) {
            *line = simd.numbers(*sum);
        }
        if !rest.is_empty() {
            let numbers = simd.numbers(sums[lines.len()]);
            rest.copy_from_slice(&numbers[..rest.len()]);
        }
    }
}

/// The first numbers, up to a line of them, zeros after the last.
#[inline(always)]
pub(super) fn load(from: &[f32]) -> Line {
    let mut line = Line::ZERO;
    match from.first_chunk::<LINE>() {
        Some(whole) => line.0 = *whole,
        None => line.0.iter_mut().zip(from).for_each(|(number, &from)| *number = from),
    }
    line
}
