//! What a store's answer means, and what to do. No key, no token and no signed URL is in any of it.

use object_store::Error as Store;

/// What is wrong, for whoever decides whether to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The credentials are refused, or expired.
    Credentials,
    /// There is no such object, bucket or folder.
    NotFound,
    /// An object of that name is there already.
    Exists,
    /// The URL or a setting cannot be used.
    Usage,
    /// The store cannot do this.
    Unsupported,
    /// Everything that may be otherwise later: no route, timeout, 5xx, slow down, no space.
    Unavailable,
}

/// An operation on a bucket failed.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {what}: {why}{advice}")]
pub struct ObjectError {
    /// What kind of failure.
    pub fault: Fault,
    /// The bucket, as it is configured.
    pub url: String,
    /// The operation and its object.
    pub what: String,
    why: String,
    advice: &'static str,
}

impl ObjectError {
    /// A setting that cannot be used.
    pub fn usage(url: &str, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { fault: Fault::Usage, url: url.to_owned(), what: what.into(), why: why.into(), advice: "" }
    }

    /// What happened to what, without what a node is to do about it.
    pub fn bare(&self) -> String {
        format!("{}: {}: {}", self.url, self.what, self.why)
    }

    /// What a store said of an operation.
    pub fn of(url: &str, what: impl Into<String>, e: &Store) -> Self {
        let fault = fault_of(e);
        Self { fault, url: url.to_owned(), what: what.into(), why: in_words(e), advice: advice(fault) }
    }
}

fn fault_of(e: &Store) -> Fault {
    match e {
        Store::NotFound { .. } => Fault::NotFound,
        Store::AlreadyExists { .. } | Store::Precondition { .. } | Store::NotModified { .. } => Fault::Exists,
        Store::PermissionDenied { .. } | Store::Unauthenticated { .. } => Fault::Credentials,
        Store::NotSupported { .. } | Store::NotImplemented { .. } => Fault::Unsupported,
        Store::InvalidPath { .. } | Store::UnknownConfigurationKey { .. } => Fault::Usage,
        other => fault_of_status(&in_words(other)),
    }
}

/// Answers to a listing keep their status in the text alone.
fn fault_of_status(text: &str) -> Fault {
    let says = |words: &[&str]| words.iter().any(|w| text.contains(w));
    if says(&["status code: 404", "NoSuchBucket"]) {
        Fault::NotFound
    } else if says(&["status code: 401", "status code: 403"]) {
        Fault::Credentials
    } else {
        Fault::Unavailable
    }
}

fn advice(fault: Fault) -> &'static str {
    match fault {
        Fault::Credentials => {
            "; the credentials are refused or expired: change what the reference leads to, then `datanode-admin ship reload`"
        }
        Fault::NotFound => "; check the URL, and that the bucket or folder exists",
        Fault::Exists | Fault::Usage => "",
        Fault::Unsupported => "; the store cannot do this, choose another",
        Fault::Unavailable => "; nothing is lost: what has arrived stays, and the next run goes on",
    }
}

/// The innermost cause says the most; a URL in it may hold a signature, and is cut off.
fn in_words(e: &Store) -> String {
    let mut cause: &dyn std::error::Error = e;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let text = cause.to_string();
    let words: Vec<&str> = text.split_whitespace().map(|w| if w.contains("://") { "(url)" } else { w }).collect();
    let mut out = words.join(" ");
    if let Some((end, _)) = out.char_indices().nth(300) {
        out.truncate(end);
        out.push('…');
    }
    out
}
