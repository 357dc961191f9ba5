//! Figures of an existing head on labelled texts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use contactflow_schemas::prediction::TextHead;
use tch::{Device, no_grad};

use crate::config::ModelConfig;
use crate::error::{InferenceError, Result};
use crate::head::{Head, HeadAnswer};
use crate::language::Language;
use crate::scorer::head_model_id;
use crate::text_encoder::{TextEncoder, rows};
use crate::tokenizer::TokenizedText;
use crate::training::Progress;
use crate::training::labels::{LabelledText, read_labelled};
use crate::training::metrics::ClassificationReport;
use crate::training::train::class_of;

/// Which head to measure on what.
#[derive(Clone, Debug)]
pub struct EvaluateOptions {
    /// The encoders; head files in it are not used.
    pub model: ModelConfig,
    /// Which head.
    pub head: TextHead,
    /// Its file; the built-in one if absent.
    pub head_file: Option<PathBuf>,
    /// Labelled files, see [`read_labelled`]; repeated texts all count.
    pub inputs: Vec<PathBuf>,
    /// Whose encoder and head; only rows in this language count. If absent, each text goes where scoring sends it.
    pub language: Option<Language>,
}

/// An encoder and a head on it.
struct Measured {
    text_encoder: TextEncoder,
    head: Head,
}

/// Scores every row as [`Scorer`](crate::Scorer) would and compares with its label.
///
/// # Errors
/// Unreadable or malformed files, a label the head does not know, no rows at all, a model that does not load.
pub fn evaluate(
    options: &EvaluateOptions,
    device: Device,
    progress: &mut dyn FnMut(Progress),
) -> Result<ClassificationReport> {
    let mut labelled = Vec::new();
    for path in &options.inputs {
        labelled.extend(read_labelled(path)?);
    }
    labelled.retain(|row| options.language.is_none_or(|language| row.is_in(language)));
    if labelled.is_empty() {
        return Err(InferenceError::Labels("there are no rows to evaluate (files, language?)".to_owned()));
    }
    let mut by_language: BTreeMap<Language, Vec<usize>> = BTreeMap::new();
    for (index, row) in labelled.iter().enumerate() {
        let language = options.language.unwrap_or_else(|| options.route(&row.text));
        by_language.entry(language).or_default().push(index);
    }
    let mut models = Vec::new();
    for (language, members) in by_language {
        models.push((Measured::load(options, language, device)?, members));
    }
    report(&labelled, &models, progress)
}

impl EvaluateOptions {
    /// Where scoring sends a text: to its own language's encoder, if that is there and has such a head.
    fn route(&self, text: &str) -> Language {
        let own = Language::of(text);
        let has_head = self.head_file.is_some() || Head::is_built_in(self.head, own);
        if self.model.has_encoder(own) && has_head { own } else { Language::En }
    }
}

impl Measured {
    fn load(options: &EvaluateOptions, language: Language, device: Device) -> Result<Self> {
        let head = match &options.head_file {
            Some(path) => Some(Head::load(path, device)?),
            None => Head::built_in(options.head, language, device)?,
        };
        let (name, language_name) = (options.head.as_str(), language.as_str());
        let missing = || InferenceError::Config(format!("there is no built-in {name} head for {language_name}"));
        let head = head.ok_or_else(missing)?;
        if head.name()? != options.head {
            return Err(InferenceError::Config(format!("the head file holds a {} head", head.metadata().name)));
        }
        let text_encoder = TextEncoder::load(&options.model, language, device)?;
        head.check_encoder(text_encoder.encoder.weights_sha256())?;
        Ok(Self { text_encoder, head })
    }
}

/// Figures over all rows; each model has scored the rows listed with it.
fn report(
    labelled: &[LabelledText],
    models: &[(Measured, Vec<usize>)],
    progress: &mut dyn FnMut(Progress),
) -> Result<ClassificationReport> {
    // Of several heads, the one with the most labels comes first and knows those of the others.
    let all = models.iter().map(|(model, _)| &model.head.metadata().labels).max_by_key(|labels| labels.len());
    let labels = all.cloned().unwrap_or_default();
    let classes = labelled.iter().map(|row| class_of(row, &labels)).collect::<Result<Vec<usize>>>()?;
    let mut scored = Vec::with_capacity(labelled.len());
    let mut decisions = Vec::with_capacity(labelled.len());
    let (mut failed, mut done) = (0, 0);
    for (model, members) in models {
        let own = &model.head.metadata().labels;
        let texts: Vec<&str> = members.iter().map(|&member| labelled[member].text.as_str()).collect();
        let mut advance = |texts| progress(Progress::Encoding { done: done + texts, total: labelled.len() });
        for (&member, answer) in members.iter().zip(model.score(&texts, &mut advance)?) {
            let Some(HeadAnswer { probabilities, label }) = answer else {
                failed += 1;
                continue;
            };
            let of =
                |label: &String| own.iter().position(|other| other == label).map_or(0.0, |index| probabilities[index]);
            scored.push((classes[member], labels.iter().map(of).collect::<Vec<f64>>()));
            decisions.push(labels.iter().position(|other| *other == own[label]).unwrap_or_default());
        }
        done += members.len();
    }
    let ids: Vec<String> = models.iter().map(|(model, _)| head_model_id(&model.text_encoder, &model.head)).collect();
    Ok(ClassificationReport::of_decisions(&ids.join("+"), &labels, &scored, &decisions, failed))
}

impl Measured {
    /// What the head says of each text, `None` for texts that cannot be scored.
    fn score(&self, texts: &[&str], advance: &mut dyn FnMut(usize)) -> Result<Vec<Option<HeadAnswer>>> {
        let mut tokenized: Vec<(usize, TokenizedText)> = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            if let Ok(tokens) = self.text_encoder.tokenize(text) {
                tokenized.push((index, tokens));
            }
        }
        let counts: Vec<usize> = tokenized.iter().map(|(_, tokens)| tokens.ids.len()).collect();
        let mut scored = vec![None; texts.len()];
        let mut done = 0;
        for batch in self.text_encoder.shapes.plan(&counts) {
            let members: Vec<&TokenizedText> = batch.members.iter().map(|&member| &tokenized[member].1).collect();
            let layers = &self.head.metadata().encoder_layers;
            let (input, hidden) = self.text_encoder.encode(&members, batch.shape, layers)?;
            let logits = no_grad(|| self.head.forward(&hidden, &input.attention_mask))?;
            for (&member, row) in batch.members.iter().zip(rows(&logits, members.len())?) {
                let index = tokenized[member].0;
                scored[index] = self.head.answer(&row, texts[index]);
            }
            done += members.len();
            advance(done);
        }
        Ok(scored)
    }
}
