//! The kernels against LibTorch, and the bits of a text against its surroundings.

use pulp::x86::V3;
use pulp::{NullaryFnOnce, cast};
use tch::{Kind, Tensor, no_grad};

use super::pointwise::{add_and_normalise, gelu, softmax};
use super::product::{Activation, PackedWeight};
use super::x86::Kernels;
use crate::batching::BatchInput;
use crate::encoder::tiny::{TinySizes, encoder, wave};
use crate::packing::Packing;
use crate::weights::values;

fn simd() -> Option<V3> {
    let simd = V3::try_new();
    if simd.is_none() {
        eprintln!("this processor has no AVX2 and FMA: there is nothing to test");
    }
    simd
}

fn apart(a: &Tensor, b: &Tensor) -> f64 {
    (a.to_kind(Kind::Double) - b.to_kind(Kind::Double)).abs().max().double_value(&[])
}

/// Applies `to` to numbers where the instructions may be used.
struct Apply<F>(F);

impl<F: FnOnce()> NullaryFnOnce for Apply<F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        (self.0)();
    }
}

#[test]
fn products_agree_with_libtorch_for_every_remainder_of_rows_columns_and_depth() {
    let Some(simd) = simd() else { return };
    for (rows, input, output) in [(1, 1, 1), (5, 8, 15), (6, 16, 16), (7, 384, 17), (72, 385, 48), (73, 1536, 40)] {
        let (weight, bias) = (wave(&[output, input], 0.1, 0.5), wave(&[output], 0.2, 0.5));
        let left = wave(&[rows, input], 0.3, 0.5);
        let packed = PackedWeight::new(&values(&weight).expect("values"), &values(&bias).expect("values"));
        let double = |tensor: &Tensor| tensor.to_kind(Kind::Double);
        let expected = double(&left).linear(&double(&weight), Some(&double(&bias)));
        for (activation, expected) in
            [(Activation::Identity, expected.copy()), (Activation::Gelu, expected.gelu("none"))]
        {
            let mut product = vec![f32::NAN; (rows * output) as usize];
            packed.multiply(simd, &values(&left).expect("values"), &mut product, activation);
            let product = Tensor::from_slice(&product).view([rows, output]);
            // The terms swing together, so that the sums are up to 190.
            let far = apart(&product, &expected) / (1.0 + expected.abs().max().double_value(&[]));
            assert!(far < 4e-6, "{rows} × {input} × {output}, {activation:?}: {far}");
        }
    }
}

#[test]
fn gelu_softmax_and_normalisation_agree_with_libtorch_in_double_precision() {
    let Some(simd) = simd() else { return };
    let inputs: Vec<f32> = (-8000..8000).map(|step| step as f32 / 1000.0).collect();
    let mut outputs = inputs.clone();
    simd.vectorize(Apply(|| {
        for eight in outputs.as_chunks_mut::<8>().0 {
            *eight = cast(gelu(simd, cast(*eight)));
        }
    }));
    let double = Tensor::from_slice(&inputs).to_kind(Kind::Double);
    assert!(apart(&Tensor::from_slice(&outputs), &double.gelu("none")) < 1e-6);

    for (length, size) in [(1, 1.0), (13, 1.0), (128, 30.0)] {
        let scores = wave(&[length], 0.4, size);
        let mut row = values(&scores).expect("values");
        row.resize(length.unsigned_abs().next_multiple_of(16) as usize, f32::NEG_INFINITY);
        simd.vectorize(Apply(|| softmax(simd, &mut row)));
        let (shares, padding) = row.split_at(length as usize);
        assert!(apart(&Tensor::from_slice(shares), &scores.to_kind(Kind::Double).softmax(0, None)) < 2e-7);
        assert!(padding.iter().all(|&share| share == 0.0), "what does not count has no share");
    }

    for width in [8, 12, 384] {
        let (row, residual) = (wave(&[width], 0.5, 3.0), wave(&[width], 0.6, 2.0));
        let (weight, bias) = (wave(&[width], 0.7, 1.0), wave(&[width], 0.8, 1.0));
        let [mut own, other, scale, shift] =
            [&row, &residual, &weight, &bias].map(|tensor| values(tensor).expect("values"));
        simd.vectorize(Apply(|| add_and_normalise(simd, &mut own, Some(&other), (&scale, &shift, 1e-12))));
        let [row, residual, weight, bias] = [row, residual, weight, bias].map(|tensor| tensor.to_kind(Kind::Double));
        let expected = (row + residual).layer_norm([width], Some(weight), Some(bias), 1e-12, false);
        assert!(apart(&Tensor::from_slice(&own), &expected) < 5e-6, "{width}");
    }
}

/// None a multiple of a tile's.
const SIZES: TinySizes = TinySizes { vocabulary: 40, hidden: 20, layers: 2, heads: 2, inner: 36, positions: 64 };

/// Texts of these lengths, padded to the longest; the token ids follow from the length and the place.
fn batch(lengths: &[i64]) -> BatchInput {
    let longest = lengths.iter().copied().max().unwrap_or_default();
    let row = |length: &i64| {
        let id = |place: i64| if place < *length { (3 * length + 7 * place) % 40 } else { 0 };
        (0..longest).map(id).collect::<Vec<i64>>()
    };
    let ids: Vec<i64> = lengths.iter().flat_map(row).collect();
    let mask = lengths.iter().flat_map(|length| (0..longest).map(move |place| i64::from(place < *length)));
    let shape = [lengths.len() as i64, longest];
    BatchInput {
        input_ids: Tensor::from_slice(&ids).view(shape),
        attention_mask: Tensor::from_slice(&mask.collect::<Vec<i64>>()).view(shape),
    }
}

#[test]
fn an_encoder_computes_by_the_kernels_what_it_computes_by_libtorch() {
    let Some(kernels) = Kernels::possible() else { return };
    let encoder = encoder(SIZES);
    let batches = [batch(&[1, 7, 33, 7]), batch(&[16, 2])];
    let packing = Packing::of(&batches).expect("packs").expect("the ones are first");
    let layers = [0, 1, 2];
    let own = no_grad(|| encoder.forward_by_kernels(&kernels, &batches, &packing, &layers)).expect("kernels");
    let torch = no_grad(|| encoder.forward_packed(&batches, &packing, &layers)).expect("LibTorch");
    for ((own, torch), batch) in own.iter().zip(&torch).zip(&batches) {
        let visible = batch.attention_mask.unsqueeze(2).unsqueeze(3).to_kind(Kind::Double);
        assert_eq!(own.size(), torch.size());
        let far = apart(&(own * &visible), &(torch * &visible));
        assert!(far < 1e-5, "{far}");
    }
}

#[test]
fn the_bits_of_a_text_do_not_depend_on_its_neighbours_or_on_threads() {
    let Some(kernels) = Kernels::possible() else { return };
    let encoder = encoder(SIZES);
    let lengths: Vec<i64> = (0..90).map(|index| 1 + (index * 37) % 60).collect();
    let states = |lengths: &[i64], threads: i32| {
        tch::set_num_threads(threads);
        let batches = [batch(lengths)];
        let packing = Packing::of(&batches).expect("packs").expect("the ones are first");
        let states = no_grad(|| encoder.forward_by_kernels(&kernels, &batches, &packing, &[1, 2])).expect("kernels");
        let row = |row: usize| values(&states[0].get(row as i64).narrow(0, 0, lengths[row])).expect("values");
        (0..lengths.len()).map(row).collect::<Vec<Vec<f32>>>()
    };
    let expected = states(&lengths, 1);
    for threads in [2, 3] {
        assert!(states(&lengths, threads) == expected, "{threads} threads");
    }
    for (length, expected) in lengths.iter().zip(&expected).take(12) {
        assert!(states(&[*length], 1)[0] == *expected, "alone, {length} tokens");
    }
}
