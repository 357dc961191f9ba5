//! What can go wrong with a store, told as what to do about it.

/// Why a store cannot be used; each variant asks something else of the person who started the job.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL has to be corrected.
    #[error(
        "{url} cannot be opened: {detail}; give a local path, file:///path, s3://bucket/prefix, az://container/prefix or gs://bucket/prefix"
    )]
    BadUrl {
        /// As given, without credentials.
        url: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The environment has to be completed.
    #[error("{url} cannot be opened: {detail}; complete the AWS_*, AZURE_* or GOOGLE_* variables of the environment")]
    Configuration {
        /// The store.
        url: String,
        /// What is missing.
        detail: String,
    },
    /// It has to be created, or its name corrected.
    #[error("{url} does not exist; check the name")]
    Missing {
        /// What was looked for.
        url: String,
    },
    /// Access has to be granted.
    #[error(
        "access to {url} was refused ({detail}); check the credentials in the environment, or the permissions of the file"
    )]
    Denied {
        /// What was asked for.
        url: String,
        /// What the store said.
        detail: String,
    },
    /// The store has to come back.
    #[error("{url} cannot be reached ({detail}); check endpoint and network, then start the job again")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What failed.
        detail: String,
    },
    /// The local disk needs attention.
    #[error("{path} cannot be read or written ({detail}); check free space and permissions")]
    LocalDisk {
        /// A file or folder; the folder of temporary files is set by `TMPDIR`.
        path: String,
        /// What the system said.
        detail: String,
    },
}

/// The cause behind the layers of an error, on one line, without the queries of URLs, which may hold signatures.
pub(super) fn innermost(error: &object_store::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let line = redacted(&cause.to_string().replace(['\n', '\r'], " "));
    line.chars().take(300).collect()
}

/// `text` without what may be secret in URLs: user information and queries.
pub(super) fn redacted(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let word = word.split_once('?').map_or(word, |(before, _)| before);
        match (word.split_once("://"), word.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
            _ => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}
