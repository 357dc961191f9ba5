//! Sixteen numbers at a time, in the registers that the processor has for them.
//!
//! What is done to each of the sixteen is the same operation of IEEE 754 with either set of instructions, so the bits of
//! every result are too.

use pulp::x86::{V3, V4};
use pulp::{NullaryFnOnce, cast, f32x8, f32x16};

use super::pointwise::gelu;

/// Numbers of a line: what a line of the cache holds.
pub(super) const LINE: usize = 16;

/// Sixteen numbers in memory, a line of the cache.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Line(pub(super) [f32; LINE]);

impl Line {
    pub(super) const ZERO: Self = Self([0.0; LINE]);
}

/// Rows and lines of a product's tile with AVX2: twelve sums, two columns' vectors and a row's number fill the sixteen registers.
pub(super) const V3_TILE: (usize, usize) = (6, 1);
/// The same with AVX-512: twenty-four sums, three columns' vectors and a row's number, of thirty-two registers.
pub(super) const V4_TILE: (usize, usize) = (8, 3);

/// The instructions that the kernels were written for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Instructions {
    /// AVX2 and FMA: sixteen registers of eight numbers.
    V3(V3),
    /// AVX-512: thirty-two registers of sixteen numbers.
    V4(V4),
}

impl Instructions {
    /// The widest that this processor has.
    pub(super) fn of_processor() -> Option<Self> {
        V4::try_new().map(Self::V4).or_else(|| V3::try_new().map(Self::V3))
    }

    /// Rows and lines of a product's tile.
    pub(super) fn tile(self) -> (usize, usize) {
        match self {
            Self::V3(_) => V3_TILE,
            Self::V4(_) => V4_TILE,
        }
    }

    /// How `rows` are divided into blocks, as rows of a block. The results of a block are to stay in the nearer caches from one
    /// product to the next; but the more rows it has, the less often the weights have to come from farther away, which
    /// matters the more the wider the instructions are.
    pub(super) fn block_rows(self, rows: usize) -> usize {
        let wanted = match self {
            Self::V3(_) => 72,
            Self::V4(_) => 576,
        };
        rows.div_ceil((rows / wanted).max(1)).next_multiple_of(self.tile().0)
    }

    /// Those that every set has.
    pub(super) fn common(self) -> V3 {
        match self {
            Self::V3(simd) => simd,
            Self::V4(simd) => *simd,
        }
    }

    /// Does `work` with these instructions.
    pub(super) fn run(self, work: impl Work) {
        match self {
            Self::V3(simd) => simd.vectorize(Tiled::<_, _, { V3_TILE.0 }, { V3_TILE.1 }> { simd, work }),
            Self::V4(simd) => simd.vectorize(Tiled::<_, _, { V4_TILE.0 }, { V4_TILE.1 }> { simd, work }),
        }
    }
}

/// What is done in tiles. Everything on the way from `run` to the arithmetic has to be inlined, to be compiled for the
/// instructions.
pub(super) trait Work {
    fn run<S: Lines, const ROWS: usize, const LINES: usize>(self, simd: S);
}

struct Tiled<S, W, const ROWS: usize, const LINES: usize> {
    simd: S,
    work: W,
}

impl<S: Lines, W: Work, const ROWS: usize, const LINES: usize> NullaryFnOnce for Tiled<S, W, ROWS, LINES> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.work.run::<S, ROWS, LINES>(self.simd);
    }
}

/// Arithmetic on lines.
pub(super) trait Lines: Copy {
    /// A line in registers.
    type Registers: Copy;
    /// A number in every place of a register.
    type Splat: Copy;

    /// The instructions that every set has.
    fn common(self) -> V3;
    fn zero(self) -> Self::Registers;
    fn load(self, line: &[f32; LINE]) -> Self::Registers;
    fn numbers(self, registers: Self::Registers) -> [f32; LINE];
    fn splat(self, number: f32) -> Self::Splat;
    /// `factor · line + sum`, rounded once.
    fn mul_add(self, factor: Self::Splat, line: Self::Registers, sum: Self::Registers) -> Self::Registers;
    fn gelu(self, line: Self::Registers) -> Self::Registers;
}

impl Lines for V3 {
    type Registers = [f32x8; 2];
    type Splat = f32x8;

    #[inline(always)]
    fn common(self) -> V3 {
        self
    }

    #[inline(always)]
    fn zero(self) -> Self::Registers {
        [self.splat_f32x8(0.0); 2]
    }

    #[inline(always)]
    fn load(self, line: &[f32; LINE]) -> Self::Registers {
        let (halves, _) = line.as_chunks::<8>();
        [cast(halves[0]), cast(halves[1])]
    }

    #[inline(always)]
    fn numbers(self, registers: Self::Registers) -> [f32; LINE] {
        cast(registers)
    }

    #[inline(always)]
    fn splat(self, number: f32) -> f32x8 {
        self.splat_f32x8(number)
    }

    #[inline(always)]
    fn mul_add(self, factor: f32x8, line: Self::Registers, sum: Self::Registers) -> Self::Registers {
        [self.mul_add_f32x8(factor, line[0], sum[0]), self.mul_add_f32x8(factor, line[1], sum[1])]
    }

    #[inline(always)]
    fn gelu(self, line: Self::Registers) -> Self::Registers {
        [gelu(self, line[0]), gelu(self, line[1])]
    }
}

impl Lines for V4 {
    type Registers = f32x16;
    type Splat = f32x16;

    #[inline(always)]
    fn common(self) -> V3 {
        *self
    }

    #[inline(always)]
    fn zero(self) -> f32x16 {
        self.splat_f32x16(0.0)
    }

    #[inline(always)]
    fn load(self, line: &[f32; LINE]) -> f32x16 {
        cast(*line)
    }

    #[inline(always)]
    fn numbers(self, registers: f32x16) -> [f32; LINE] {
        cast(registers)
    }

    #[inline(always)]
    fn splat(self, number: f32) -> f32x16 {
        self.splat_f32x16(number)
    }

    #[inline(always)]
    fn mul_add(self, factor: f32x16, line: f32x16, sum: f32x16) -> f32x16 {
        self.mul_add_f32x16(factor, line, sum)
    }

    #[inline(always)]
    fn gelu(self, line: f32x16) -> f32x16 {
        gelu(self, line)
    }
}
