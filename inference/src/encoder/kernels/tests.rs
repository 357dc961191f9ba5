//! The kernels against LibTorch, and the bits of a text against its surroundings.

use pulp::x86::{V3, V4};
use pulp::{NullaryFnOnce, cast};
use tch::{Kind, Tensor, no_grad};

use super::lines::Instructions;
use super::pointwise::{add_and_normalise, gelu, softmax};
use super::product::{Activation, PackedWeight};
use super::x86::Kernels;
use crate::batching::BatchInput;
use crate::encoder::tiny::{TinySizes, encoder, wave};
use crate::packing::Packing;
use crate::weights::values;

/// Every set of instructions that this processor has.
fn instructions() -> Vec<Instructions> {
    let all = [V3::try_new().map(Instructions::V3), V4::try_new().map(Instructions::V4)];
    let all: Vec<Instructions> = all.into_iter().flatten().collect();
    if all.is_empty() {
        eprintln!("this processor has no AVX2 and FMA: there is nothing to test");
    }
    all
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
fn products_agree_with_libtorch_and_bit_for_bit_with_each_other_for_every_remainder() {
    let sizes =
        [(1, 1, 1), (5, 8, 15), (6, 16, 16), (7, 384, 17), (8, 384, 96), (9, 20, 100), (72, 385, 48), (73, 1536, 40)];
    for (rows, input, output) in sizes {
        let (weight, bias) = (wave(&[output, input], 0.1, 0.5), wave(&[output], 0.2, 0.5));
        let left = wave(&[rows, input], 0.3, 0.5);
        let [weights, biases, lefts] = [&weight, &bias, &left].map(|tensor| values(tensor).expect("values"));
        let double = |tensor: &Tensor| tensor.to_kind(Kind::Double);
        let expected = double(&left).linear(&double(&weight), Some(&double(&bias)));
        for (activation, expected) in
            [(Activation::Identity, expected.copy()), (Activation::Gelu, expected.gelu("none"))]
        {
            let mut before: Option<Vec<f32>> = None;
            for instructions in instructions() {
                let packed = PackedWeight::new(instructions, &weights, &biases);
                let mut product = vec![f32::NAN; (rows * output) as usize];
                packed.multiply(&lefts, &mut product, activation);
                let tensor = Tensor::from_slice(&product).view([rows, output]);
                // The terms swing together, so that the sums are up to 190.
                let far = apart(&tensor, &expected) / (1.0 + expected.abs().max().double_value(&[]));
                assert!(far < 4e-6, "{rows} × {input} × {output}, {activation:?}, {instructions:?}: {far}");
                assert!(before.is_none_or(|before| before == product), "{rows} × {input} × {output}: other bits");
                before = Some(product);
            }
        }
    }
}

#[test]
fn gelu_softmax_and_normalisation_agree_with_libtorch_in_double_precision() {
    let Some(simd) = V3::try_new() else { return };
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
    let encoder = encoder(SIZES);
    let batches = [batch(&[1, 7, 33, 7]), batch(&[16, 2])];
    let packing = Packing::of(&batches).expect("packs").expect("the ones are first");
    let layers = [0, 1, 2];
    let torch = no_grad(|| encoder.forward_packed(&batches, &packing, &layers)).expect("LibTorch");
    for instructions in instructions() {
        let kernels = Kernels::with(instructions);
        let own = no_grad(|| encoder.forward_by_kernels(&kernels, &batches, &packing, &layers)).expect("kernels");
        for ((own, torch), batch) in own.iter().zip(&torch).zip(&batches) {
            let visible = batch.attention_mask.unsqueeze(2).unsqueeze(3).to_kind(Kind::Double);
            assert_eq!(own.size(), torch.size());
            let far = apart(&(own * &visible), &(torch * &visible));
            assert!(far < 1e-5, "{far}, {instructions:?}");
        }
    }
}

#[test]
fn the_bits_of_a_text_do_not_depend_on_its_neighbours_on_threads_or_on_the_instructions() {
    let encoder = encoder(SIZES);
    let lengths: Vec<i64> = (0..90).map(|index| 1 + (index * 37) % 60).collect();
    let states = |instructions: Instructions, lengths: &[i64], threads: i32| {
        tch::set_num_threads(threads);
        let kernels = Kernels::with(instructions);
        let batches = [batch(lengths)];
        let packing = Packing::of(&batches).expect("packs").expect("the ones are first");
        let states = no_grad(|| encoder.forward_by_kernels(&kernels, &batches, &packing, &[1, 2])).expect("kernels");
        let row = |row: usize| values(&states[0].get(row as i64).narrow(0, 0, lengths[row])).expect("values");
        (0..lengths.len()).map(row).collect::<Vec<Vec<f32>>>()
    };
    let all = instructions();
    let Some(&first) = all.first() else { return };
    let expected = states(first, &lengths, 1);
    for &instructions in &all {
        for threads in [1, 2, 3] {
            assert!(states(instructions, &lengths, threads) == expected, "{instructions:?}, {threads} threads");
        }
        for (length, expected) in lengths.iter().zip(&expected).take(12) {
            assert!(states(instructions, &[*length], 1)[0] == *expected, "{instructions:?}: alone, {length} tokens");
        }
    }
}
