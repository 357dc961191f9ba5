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
    /// The bucket, container or folder has to be created, or its name corrected.
    #[error("the bucket, container or folder of {url} does not exist (any more); create it, then start the job again")]
    NoBucket {
        /// What was written or listed.
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

impl StoreError {
    /// The error of a request that needs no object to be there: what is missing then is the bucket.
    pub(super) fn on_write(self) -> Self {
        match self {
            Self::Missing { url } => Self::NoBucket { url },
            other => other,
        }
    }
}

/// What a store refuses for good, however often it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no such bucket or container.
    NoBucket,
    /// The credentials do not open it.
    Denied,
}

/// The refusal an error stands for, by the code that S3, Azure and Google Cloud Storage put into their answers:
/// `object_store` tells listings that are refused like servers that are ill.
pub(super) fn refusal(error: &object_store::Error) -> Option<Refusal> {
    match element(&cause(error), "Code")?.as_str() {
        "NoSuchBucket" | "ContainerNotFound" | "ContainerBeingDeleted" => Some(Refusal::NoBucket),
        "AccessDenied"
        | "SignatureDoesNotMatch"
        | "InvalidAccessKeyId"
        | "NotSignedUp"
        | "InvalidToken"
        | "ExpiredToken"
        | "AuthenticationFailed"
        | "AuthorizationFailure"
        | "AuthorizationPermissionMismatch" => Some(Refusal::Denied),
        _ => None,
    }
}

/// The cause behind the layers of an error.
fn cause(error: &object_store::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// The cause on one line, without the queries of URLs, which may hold signatures.
pub(super) fn innermost(error: &object_store::Error) -> String {
    let line = redacted(&told(&cause(error)).replace(['\n', '\r'], " "));
    line.chars().take(300).collect()
}

/// What an answer of a store says, without the XML around it and the signature that some repeat in it.
fn told(text: &str) -> String {
    match (element(text, "Code"), element(text, "Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code,
        (None, _) => text.to_owned(),
    }
}

/// The content of the first XML element called `name`.
fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once('<').map(|(content, _)| content.to_owned())
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
