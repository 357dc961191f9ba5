//! What happens to numbers one by one, and to rows as a whole.

use pulp::x86::V3;
use pulp::{Simd, cast, f32x8, u32x8};

/// `x · Φ(x)`, exact but for rounding (Hendrycks and Gimpel 2016, <https://arxiv.org/abs/1606.08415>, in its erf form).
#[inline(always)]
pub(super) fn gelu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let scaled = simd.mul_f32s(x, simd.splat_f32s(std::f32::consts::FRAC_1_SQRT_2));
    let half = simd.mul_f32s(x, simd.splat_f32s(0.5));
    simd.mul_add_f32s(half, erf(simd, scaled), half)
}

/// The error function by the rational approximation of Eigen (`generic_fast_erf_float`), within 3e-7.
#[inline(always)]
fn erf<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const NUMERATOR: [f32; 7] = [
        -2.726_142e-10,
        2.770_681_4e-8,
        -2.101_024_1e-6,
        -5.692_506_3e-5,
        -7.349_906_4e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    const DENOMINATOR: [f32; 5] = [-1.456_607_2e-5, -2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2];
    // Beyond four it is one to the last bit.
    let x = simd.max_f32s(simd.min_f32s(x, simd.splat_f32s(4.0)), simd.splat_f32s(-4.0));
    let square = simd.mul_f32s(x, x);
    let numerator = simd.mul_f32s(polynomial(simd, square, NUMERATOR), x);
    simd.div_f32s(numerator, polynomial(simd, square, DENOMINATOR))
}

/// Horner's scheme; the coefficient of the highest power first.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(simd: S, x: S::f32s, coefficients: [f32; N]) -> S::f32s {
    let mut sum = simd.splat_f32s(coefficients[0]);
    for coefficient in &coefficients[1..] {
        sum = simd.mul_add_f32s(sum, x, simd.splat_f32s(*coefficient));
    }
    sum
}

/// `eˣ` of numbers up to 0, within 2 units in the last place; 0 below −87 (Cephes, `expf`).
#[inline(always)]
fn exp(simd: V3, x: f32x8) -> f32x8 {
    const COEFFICIENTS: [f32; 8] =
        [1.987_569_2e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5, 1.0, 1.0];
    // Adding it leaves the nearest whole number in the lowest bits.
    const ROUNDER: f32 = 12_582_912.0;
    let least = simd.splat_f32x8(-87.0);
    let tiny = simd.cmp_lt_f32x8(x, least);
    let x = simd.max_f32x8(x, least);
    let rounder = simd.splat_f32x8(ROUNDER);
    let shifted = simd.mul_add_f32x8(x, simd.splat_f32x8(std::f32::consts::LOG2_E), rounder);
    let whole = simd.sub_f32x8(shifted, rounder);
    // ln 2 in two parts, so that the difference is exact.
    let rest = simd.mul_add_f32x8(whole, simd.splat_f32x8(-0.693_359_4), x);
    let rest = simd.mul_add_f32x8(whole, simd.splat_f32x8(2.121_944_4e-4), rest);
    let exponent: u32x8 = simd.shl_const_u32x8::<23>(cast(shifted));
    let value = cast(simd.wrapping_add_u32x8(cast(polynomial(simd, rest, COEFFICIENTS)), exponent));
    simd.select_f32x8(tiny, simd.splat_f32x8(0.0), value)
}

/// A sum of eight in a fixed order.
#[inline(always)]
fn sum(values: f32x8) -> f32 {
    let [a, b, c, d, e, f, g, h]: [f32; 8] = cast(values);
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// The row's softmax, in its place; its length is a multiple of eight, the places that do not count hold −∞.
#[inline(always)]
pub(super) fn softmax(simd: V3, row: &mut [f32]) {
    let mut most = simd.splat_f32x8(f32::MIN);
    for &values in row.as_chunks::<8>().0 {
        most = simd.max_f32x8(cast(values), most);
    }
    let eight: [f32; 8] = cast(most);
    let most = simd.splat_f32x8(eight.into_iter().fold(f32::MIN, f32::max));
    let mut total = simd.splat_f32x8(0.0);
    for values in row.as_chunks_mut::<8>().0 {
        let share = exp(simd, simd.sub_f32x8(cast(*values), most));
        total = simd.add_f32x8(total, share);
        *values = cast(share);
    }
    let factor = simd.splat_f32x8(1.0 / sum(total));
    for values in row.as_chunks_mut::<8>().0 {
        *values = cast(simd.mul_f32x8(cast(*values), factor));
    }
}

/// Layer normalisation of `row + residual`, in the place of `row` (Ba, Kiros and Hinton 2016,
/// <https://arxiv.org/abs/1607.06450>). All of one length.
#[inline(always)]
pub(super) fn add_and_normalise(
    simd: V3,
    row: &mut [f32],
    residual: Option<&[f32]>,
    (weight, bias, eps): (&[f32], &[f32], f32),
) {
    if let Some(residual) = residual {
        row.iter_mut().zip(residual).for_each(|(value, other)| *value += other);
    }
    let (eights, odd) = row.as_chunks::<8>();
    let count = row.len() as f32;
    let mut total = simd.splat_f32x8(0.0);
    for &values in eights {
        total = simd.add_f32x8(total, cast(values));
    }
    let mean = (sum(total) + odd.iter().sum::<f32>()) / count;
    let means = simd.splat_f32x8(mean);
    let mut squares = simd.splat_f32x8(0.0);
    for &values in eights {
        let apart = simd.sub_f32x8(cast(values), means);
        squares = simd.mul_add_f32x8(apart, apart, squares);
    }
    let odd: f32 = odd.iter().map(|value| (value - mean) * (value - mean)).sum();
    let scale = 1.0 / ((sum(squares) + odd) / count + eps).sqrt();
    for ((value, weight), bias) in row.iter_mut().zip(weight).zip(bias) {
        *value = ((*value - mean) * scale).mul_add(*weight, *bias);
    }
}
