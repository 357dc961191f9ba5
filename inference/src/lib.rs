//! What models say of texts and conversations, by BERT encoders with LSTM and lexical heads: the only crate that uses LibTorch and tokenizers.

mod adapter;
mod batching;
mod config;
mod conversation;
mod device;
mod emoji;
mod encoder;
mod error;
mod group;
mod head;
mod highlights;
mod language;
mod lexical;
mod packing;
mod pooling;
mod precision;
mod quantise;
mod scorer;
mod text_encoder;
mod tokenizer;
mod training;
mod weights;

pub use adapter::{Adapter, AdapterMetadata};
pub use batching::{BatchInput, BatchShape, BatchShapes, BatchStats, PlannedBatch, passes};
pub use config::{AdapterSetting, ModelConfig, Multilingual, MultilingualConfig, default_encoder_dir};
pub use conversation::{ConversationHead, ConversationHeadMetadata, ConversationScorer};
pub use device::{DeviceHandle, DevicePool, Placement, PoolLimits};
pub use encoder::{Encoder, EncoderConfig};
pub use error::{InferenceError, Result};
pub use head::{Head, HeadMetadata};
pub use language::Language;
pub use lexical::{LexicalMetadata, NgramSpec};
pub use pooling::EncoderOutput;
pub use precision::{NumericProfile, Precision};
pub use scorer::{DeviceScorer, Scorer};
pub use tch::Device;
pub use tokenizer::{TextTokenizer, TokenizedText};
pub use training::{
    AdaptOptions, AdaptReport, Baseline, ClassMetrics, ClassificationReport, CorrectionOptions, EpochFigures,
    EvaluateOptions, LabelledText, LexicalOptions, Progress, SatisfactionEvaluateOptions, SatisfactionOptions,
    SatisfactionReport, SatisfactionTrainReport, TrainOptions, TrainReport, Trained, adapt, adapt_rows, evaluate,
    evaluate_satisfaction, read_labelled, train, train_rows, train_satisfaction,
};
