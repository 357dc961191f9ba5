//! What can go wrong: one variant per decision a caller makes.

use std::path::{Path, PathBuf};

use tch::TchError;

/// Result of this crate's functions.
pub type Result<T> = std::result::Result<T, InferenceError>;

/// Errors of loading, scoring and training. No variant ever carries the text of a message.
#[derive(Debug, thiserror::Error)]
pub enum InferenceError {
    /// A file of the model or of the labels cannot be read.
    #[error("cannot read {path}: {source} ({hint})")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
        /// What the caller can do about it.
        hint: &'static str,
    },
    /// A file cannot be written.
    #[error("cannot write {path}: {source} (does the folder exist, is it writable, is the disk full?)")]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A file is there, but it does not hold what it should.
    #[error("{path} is not usable: {reason}")]
    Malformed {
        /// The file, or `built-in head` for the embedded one.
        path: PathBuf,
        /// What was expected and what was found.
        reason: String,
    },
    /// A file's SHA-256 is not the configured one.
    #[error(
        "{path} has SHA-256 {found}, but {expected} is configured; fetch the file again or correct the configuration"
    )]
    HashMismatch {
        /// The file.
        path: PathBuf,
        /// Configured digest, lower-case hexadecimal.
        expected: String,
        /// Digest of the file, lower-case hexadecimal.
        found: String,
    },
    /// A tensor the architecture needs is not in the weights file.
    #[error("{path}: tensor `{name}` (expected shape {expected:?}) is missing")]
    MissingTensor {
        /// The weights file.
        path: PathBuf,
        /// Name of the tensor, without prefix.
        name: String,
        /// Shape it should have.
        expected: Vec<i64>,
    },
    /// A tensor has another shape than config.json implies.
    #[error("{path}: tensor `{name}` has shape {found:?}, expected {expected:?}")]
    TensorShape {
        /// The weights file.
        path: PathBuf,
        /// Name of the tensor as it stands in the file.
        name: String,
        /// Shape it should have.
        expected: Vec<i64>,
        /// Shape it has.
        found: Vec<i64>,
    },
    /// The head was trained on another encoder than the configured one.
    #[error(
        "the head was trained on encoder {expected}, but the configured encoder is {found}; use that encoder (corrections count too: `adapter = \"none\"` is the encoder as it is) or train a head for this one"
    )]
    EncoderMismatch {
        /// SHA-256 of the encoder weights the head was trained on.
        expected: String,
        /// SHA-256 of the configured encoder weights.
        found: String,
    },
    /// The configuration asks for something that cannot be.
    #[error("invalid inference configuration: {0}")]
    Config(String),
    /// Labelled data cannot be used for training or evaluation.
    #[error("labelled data: {0}")]
    Labels(String),
    /// The tokenizer failed on one text.
    #[error("tokenizer: {0}")]
    Tokenize(String),
    /// A conversation cannot be scored; the reason is about its turns, not its texts.
    #[error("conversation: {0}")]
    Sequence(&'static str),
    /// LibTorch reported an error.
    #[error("LibTorch: {0}")]
    Torch(String),
    /// A device, or the machine, has no memory left for what was asked.
    #[error("out of memory: {0}")]
    OutOfMemory(String),
    /// A device thread could not be started or has stopped.
    #[error("inference thread: {0}")]
    Thread(String),
}

impl From<TchError> for InferenceError {
    fn from(error: TchError) -> Self {
        // LibTorch appends a C++ stack trace; the first line says what happened.
        let message = error.to_string();
        let first = message.lines().next().unwrap_or_default().to_owned();
        // LibTorch has a C++ class for it, of which only the message comes through the bindings: of the CUDA allocator,
        // of cuBLAS, and of the CPU's allocator.
        const OUT_OF_MEMORY: [&str; 3] = ["out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "can't allocate memory"];
        if OUT_OF_MEMORY.iter().any(|mark| first.contains(mark)) {
            Self::OutOfMemory(first)
        } else {
            Self::Torch(first)
        }
    }
}

/// Reads a whole file; the error says what to do.
pub(crate) fn read_file(path: &Path, hint: &'static str) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| InferenceError::Read { path: path.to_owned(), source, hint })
}

/// A [`InferenceError::Malformed`] of `path`.
pub(crate) fn malformed(path: &Path, reason: impl ToString) -> InferenceError {
    InferenceError::Malformed { path: path.to_owned(), reason: reason.to_string() }
}

/// Writes a file so that a crash leaves the old one or the new one, never half of it.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let partial = path.with_extension("partial");
    let written = std::fs::write(&partial, bytes).and_then(|()| std::fs::rename(&partial, path));
    written.map_err(|source| InferenceError::Write { path: path.to_owned(), source })
}
