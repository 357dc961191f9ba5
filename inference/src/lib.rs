//! Scores of texts by a BERT encoder and its heads, quality of conversations by an LSTM over their turns: the only crate that uses LibTorch and tokenizers.

mod batching;
mod config;
mod conversation;
mod device;
mod encoder;
mod error;
mod head;
mod quantise;
mod scorer;
mod tokenizer;
mod training;
mod weights;

pub use batching::{BatchInput, BatchShape, BatchShapes, BatchStats, PlannedBatch};
pub use config::{ModelConfig, default_encoder_dir};
pub use conversation::{ConversationHead, ConversationHeadMetadata, ConversationScorer};
pub use device::{DeviceHandle, DevicePool, Placement, PoolLimits};
pub use encoder::{Encoder, EncoderConfig};
pub use error::{InferenceError, Result};
pub use head::{Head, HeadMetadata};
pub use scorer::{Scorer, TextScorer};
pub use tch::Device;
pub use tokenizer::{TextTokenizer, TokenizedText};
pub use training::{
    ClassMetrics, ClassificationReport, EvaluateOptions, LabelledText, Progress, SatisfactionEpoch,
    SatisfactionEvaluateOptions, SatisfactionOptions, SatisfactionReport, SatisfactionTrainReport, TrainOptions,
    TrainReport, evaluate, evaluate_satisfaction, read_labelled, train, train_rows, train_satisfaction,
};
