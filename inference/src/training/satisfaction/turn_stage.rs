//! Fitting the turn encoder: principal components of the states, and three logistic regressions.

use tch::{Kind, Tensor};

use crate::conversation::CLASSES;
use crate::conversation::lexicon::{inverse_document_frequency, ngrams, tf_idf};
use crate::conversation::turn_encoder::{TurnEncoder, TurnSizes};
use crate::error::Result;
use crate::training::satisfaction::softmax_regression::{Fit, Rows, balanced, fit};

/// Texts that must have an n-gram before it counts.
const NGRAM_TEXTS_MIN: u32 = 2;
/// Smallest deviation of a state that is not taken for constant.
const DEVIATION_MIN: f64 = 1e-6;

/// How strongly each part is held back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TurnPenalties {
    /// L2 penalty of the lexicon.
    pub(crate) lexicon: f64,
    /// L2 penalty of the logits for customers' turns.
    pub(crate) customer: f64,
    /// L2 penalty of the logits after agents' turns.
    pub(crate) agent: f64,
    /// Value of a dialogue's own offset in training: raters differ in how strict they are, and a dialogue has one.
    pub(crate) dialogue: f32,
}

/// Every distinct text with its pooled states and n-grams.
pub(crate) struct Texts {
    /// Pooled states per text.
    pub(crate) states: Vec<Vec<f32>>,
    /// N-grams per text.
    pub(crate) ngrams: Vec<Vec<(usize, f32)>>,
}

impl Texts {
    pub(crate) fn new(states: Vec<Vec<f32>>, texts: &[&str], buckets: usize) -> Self {
        let ngrams = texts.iter().map(|text| ngrams(text, buckets)).collect();
        Self { states, ngrams }
    }
}

/// A rated turn: its text, that of the agent's turn it answers, its class and dialogue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) text: usize,
    pub(crate) agent: Option<usize>,
    pub(crate) class: usize,
    pub(crate) dialogue: usize,
}

/// Where the states vary: their mean and deviation, and the directions of greatest variance.
pub(crate) struct Basis {
    mean: Vec<f32>,
    inverse_deviation: Vec<f32>,
    /// Directions `[components, states]`, scaled so that a text's components have length 1 in the mean.
    directions: Vec<Vec<f64>>,
    /// Components per text, of all texts.
    components: Vec<Vec<f32>>,
}

impl Basis {
    /// The first `count` principal components of the standardised states of the texts `members`.
    pub(crate) fn new(states: &[Vec<f32>], members: &[usize], count: usize) -> Result<Self> {
        let width = states.first().map_or(0, Vec::len) as i64;
        let rows = |indices: &mut dyn Iterator<Item = usize>| -> Vec<f32> {
            indices.flat_map(|index| states[index].iter().copied()).collect()
        };
        let known = Tensor::f_from_slice(&rows(&mut members.iter().copied()))?.f_view([-1, width])?;
        let known = known.f_to_kind(Kind::Double)?;
        let mean = known.f_mean_dim([0_i64].as_slice(), false, Kind::Double)?;
        let inverse = known.f_std_dim([0_i64].as_slice(), false, false)?.f_clamp_min(DEVIATION_MIN)?.f_reciprocal()?;
        let standardised = known.f_sub(&mean)?.f_mul(&inverse)?;
        let covariance = standardised.f_transpose(0, 1)?.f_matmul(&standardised)?.f_div_scalar(members.len() as f64)?;
        let (variances, directions) = covariance.f_linalg_eigh("L")?;
        let count = (count as i64).min(width);
        let kept = variances.f_narrow(0, width - count, count)?.f_sum(Kind::Double)?.f_sqrt()?;
        let directions = directions
            .f_narrow(1, width - count, count)?
            .f_flip([1_i64].as_slice())?
            .f_transpose(0, 1)?
            .f_div(&kept)?;
        let all = Tensor::f_from_slice(&rows(&mut (0..states.len())))?.f_view([-1, width])?.f_to_kind(Kind::Double)?;
        let components = all.f_sub(&mean)?.f_mul(&inverse)?.f_matmul(&directions.f_transpose(0, 1)?)?;
        let single = |tensor: &Tensor| crate::weights::values(tensor);
        let chunks = |values: Vec<f32>, size: i64| -> Vec<Vec<f32>> {
            values.chunks(size.max(1) as usize).map(<[f32]>::to_vec).collect()
        };
        let doubles: Vec<Vec<f64>> = chunks(single(&directions.f_contiguous()?)?, width)
            .into_iter()
            .map(|row| row.into_iter().map(f64::from).collect())
            .collect();
        Ok(Self {
            mean: single(&mean)?,
            inverse_deviation: single(&inverse)?,
            directions: doubles,
            components: chunks(single(&components)?, count),
        })
    }

    /// A row per sample of the components of its text, as sparse rows.
    fn rows(&self, texts: impl Iterator<Item = usize>) -> Vec<Vec<(usize, f32)>> {
        texts.map(|text| self.components[text].iter().copied().enumerate().collect()).collect()
    }

    /// Weights of standardised states that give the centred logits of `fit`, `[3, states]`.
    fn on_states(&self, fit: &Fit) -> Vec<f32> {
        let mut weights = Vec::new();
        for of_class in centred_weights(fit).chunks_exact(self.directions.len().max(1)) {
            let mut row = vec![0.0; self.mean.len()];
            for (weight, direction) in of_class.iter().zip(&self.directions) {
                row.iter_mut().zip(direction).for_each(|(sum, d)| *sum += weight * d);
            }
            weights.extend(row.into_iter().map(|sum| sum as f32));
        }
        weights
    }
}

/// A turn encoder fitted on `samples`, with the first components of `basis`.
pub(crate) fn fit_turn_encoder(
    texts: &Texts,
    basis: &Basis,
    samples: &[Sample],
    sizes: TurnSizes,
    penalties: TurnPenalties,
) -> TurnEncoder {
    let (lexicon, idf) = fit_lexicon(texts, samples, sizes.buckets, penalties);
    let (customer, agent) = fit_states(basis, samples, penalties);
    let mut projection = basis.on_states(&customer);
    projection.extend(basis.on_states(&agent));
    for direction in basis.directions.iter().take(sizes.components) {
        projection.extend(direction.iter().map(|&d| d as f32));
    }
    let mut projection_bias: Vec<f32> = centred_bias(&customer).into_iter().chain(centred_bias(&agent)).collect();
    projection_bias.resize(sizes.projected(), 0.0);
    let mut encoder = TurnEncoder {
        sizes,
        mean: basis.mean.clone(),
        inverse_deviation: basis.inverse_deviation.clone(),
        projection,
        projection_bias,
        idf,
        lexicon: centred_weights(&lexicon).into_iter().map(|weight| weight as f32).collect(),
        lexicon_bias: centred_bias(&lexicon).to_vec(),
        step: vec![1.0; sizes.vector()],
    };
    encoder.step = steps(&encoder, texts, samples);
    encoder
}

/// The weights less their mean over the classes, which no probability depends on.
fn centred_weights(fit: &Fit) -> Vec<f64> {
    let width = fit.weight.len() / CLASSES;
    let mean =
        |feature: usize| (0..CLASSES).map(|class| fit.weight[class * width + feature]).sum::<f64>() / CLASSES as f64;
    let means: Vec<f64> = (0..width).map(mean).collect();
    fit.weight.iter().zip(means.iter().cycle()).map(|(weight, mean)| weight - mean).collect()
}

/// The class biases less their mean.
fn centred_bias(fit: &Fit) -> [f32; CLASSES] {
    let mean = fit.bias.iter().sum::<f64>() / CLASSES as f64;
    fit.bias.map(|bias| (bias - mean) as f32)
}

/// The largest value of every component over the samples' texts is 100 steps: unseen ones may go a little further.
fn steps(encoder: &TurnEncoder, texts: &Texts, samples: &[Sample]) -> Vec<f32> {
    let mut largest = vec![0.0_f32; encoder.sizes.vector()];
    let members = samples.iter().flat_map(|sample| [Some(sample.text), sample.agent]).flatten();
    for text in members {
        let values = encoder.exact(&texts.states[text], &texts.ngrams[text]);
        largest.iter_mut().zip(values).for_each(|(most, value)| *most = most.max(value.abs()));
    }
    largest.into_iter().map(|most| if most > 0.0 { most / 100.0 } else { 1.0 }).collect()
}

/// Appends a feature of the dialogue of each sample, with the value `offset`.
fn with_dialogues(rows: &mut [Vec<(usize, f32)>], samples: &[&Sample], width: usize, offset: f32) -> usize {
    let dialogues = samples.iter().map(|sample| sample.dialogue + 1).max().unwrap_or_default();
    for (row, sample) in rows.iter_mut().zip(samples) {
        row.push((width + sample.dialogue, offset));
    }
    width + dialogues
}

/// A fit without the features from `width` on.
fn without_dialogues(fit: Fit, width: usize) -> Fit {
    let whole = fit.weight.len() / CLASSES;
    let weight = (0..CLASSES).flat_map(|class| fit.weight[class * whole..class * whole + width].to_vec()).collect();
    Fit { weight, bias: fit.bias }
}

fn fit_rows(mut rows: Vec<Vec<(usize, f32)>>, samples: &[&Sample], width: usize, l2: f64, offset: f32) -> Fit {
    let whole = with_dialogues(&mut rows, samples, width, offset);
    let classes: Vec<usize> = samples.iter().map(|sample| sample.class).collect();
    let weights = balanced(&classes);
    let rows = Rows { features: &rows, classes: &classes, weights: &weights, width: whole };
    without_dialogues(fit(&rows, l2), width)
}

fn fit_lexicon(texts: &Texts, samples: &[Sample], buckets: usize, penalties: TurnPenalties) -> (Fit, Vec<f32>) {
    let documents: Vec<Vec<(usize, f32)>> = samples.iter().map(|sample| texts.ngrams[sample.text].clone()).collect();
    let idf = inverse_document_frequency(&documents, buckets, NGRAM_TEXTS_MIN);
    let rows = documents.iter().map(|ngrams| tf_idf(ngrams, &idf)).collect();
    let all: Vec<&Sample> = samples.iter().collect();
    (fit_rows(rows, &all, buckets, penalties.lexicon, penalties.dialogue), idf)
}

fn fit_states(basis: &Basis, samples: &[Sample], penalties: TurnPenalties) -> (Fit, Fit) {
    let width = basis.directions.len();
    let all: Vec<&Sample> = samples.iter().collect();
    let rows = basis.rows(samples.iter().map(|sample| sample.text));
    let customer = fit_rows(rows, &all, width, penalties.customer, penalties.dialogue);
    let (answering, agents): (Vec<&Sample>, Vec<usize>) =
        samples.iter().filter_map(|sample| sample.agent.map(|agent| (sample, agent))).unzip();
    let agent = fit_rows(basis.rows(agents.into_iter()), &answering, width, penalties.agent, penalties.dialogue);
    (customer, agent)
}

/// A converged logistic regression on the n-grams of the rated turn alone: what every head must beat. Returns the
/// probabilities of `held_out`, fitted on `samples`.
pub(crate) fn bag_of_ngrams(
    texts: &Texts,
    samples: &[Sample],
    held_out: &[Sample],
    buckets: usize,
    l2: f64,
) -> Vec<[f64; CLASSES]> {
    let penalties = TurnPenalties { lexicon: l2, customer: 1.0, agent: 1.0, dialogue: 0.0 };
    let (fit, idf) = fit_lexicon(texts, samples, buckets, penalties);
    let logits = held_out.iter().map(|sample| fit.logits(&tf_idf(&texts.ngrams[sample.text], &idf)));
    logits.map(crate::conversation::calibration::normalised_exponentials).collect()
}
