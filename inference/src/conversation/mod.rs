//! Quality of conversations: how satisfied the customer is after a turn, and which turns say so.
//!
//! Two stages. The [`turn_encoder`] makes a small quantised [`TurnVector`] of every text, once, in the encoder pass that
//! scores it; the dataflow keeps those. The [`network`], a causal LSTM with attention, reads the vectors of a
//! conversation in order. Training uses the same quantised vectors, so both agree.
//!
//! [`TurnVector`]: contactflow_schemas::prediction::TurnVector

pub(crate) mod calibration;
pub(crate) mod head;
pub(crate) mod lexicon;
pub(crate) mod network;
pub(crate) mod scorer;
pub(crate) mod turn_encoder;

pub use head::{ConversationHead, ConversationHeadMetadata};
pub use scorer::ConversationScorer;

/// Classes of satisfaction: dissatisfied, neutral, satisfied.
pub(crate) const CLASSES: usize = 3;
