//! The lexical branch of a head: a linear model over the words and character sequences of a text.
//!
//! It knows exactly which words were in the training data, and how they were spelt, which a frozen encoder blurs; the
//! encoder knows what words mean that were not. Their errors differ, so a head adds the logits of both.

mod branch;
mod ngrams;

pub use branch::LexicalMetadata;
pub use ngrams::NgramSpec;

pub(crate) use branch::{LEXICAL_PARAMETERS, LexicalBranch};
pub(crate) use ngrams::{Gram, grams};
