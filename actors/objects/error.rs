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
    /// The store says that the clocks do not agree.
    Clock,
    /// There is no space, or the quota is used up.
    Full,
    /// Everything that may be otherwise later: no route, timeout, 5xx, slow down.
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
        let text = innermost(e);
        let fault = fault_of(e, &text);
        Self { fault, url: url.to_owned(), what: what.into(), why: in_words(&text), advice: advice(fault) }
    }

    /// An answer came too slowly to be waited for.
    pub fn slow(url: &str, what: impl Into<String>, why: String) -> Self {
        let fault = Fault::Unavailable;
        Self { fault, url: url.to_owned(), what: what.into(), why, advice: advice(fault) }
    }

    /// A store did not answer within the time that it was given.
    pub fn silent(url: &str, what: impl Into<String>, seconds: u64) -> Self {
        let why = format!("no answer within {seconds} s");
        let fault = Fault::Unavailable;
        Self { fault, url: url.to_owned(), what: what.into(), why, advice: advice(fault) }
    }
}

/// What codes and texts mean, whatever the status is that they come with.
const CODES: [(Fault, &[&str]); 4] = [
    (Fault::Clock, &["RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"]),
    (
        Fault::Credentials,
        &[
            "ExpiredToken",
            "InvalidToken",
            "TokenRefreshRequired",
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "AccessDenied",
        ],
    ),
    (Fault::Full, &["QuotaExceeded", "InsufficientStorage", "StorageFull", "No space left", "quota exceeded"]),
    (Fault::NotFound, &["NoSuchBucket", "ContainerNotFound"]),
];

fn fault_of(e: &Store, text: &str) -> Fault {
    if let Some((fault, _)) = CODES.iter().find(|(_, words)| words.iter().any(|w| text.contains(w))) {
        return *fault;
    }
    // Some operations tell their status in words only.
    match status(text).and_then(|s| s.split(' ').next()) {
        Some("401" | "403") => return Fault::Credentials,
        Some("404") => return Fault::NotFound,
        Some("507") => return Fault::Full,
        _ => {}
    }
    match e {
        Store::NotFound { .. } => Fault::NotFound,
        Store::AlreadyExists { .. } | Store::Precondition { .. } | Store::NotModified { .. } => Fault::Exists,
        Store::PermissionDenied { .. } | Store::Unauthenticated { .. } => Fault::Credentials,
        Store::NotSupported { .. } | Store::NotImplemented { .. } => Fault::Unsupported,
        Store::InvalidPath { .. } | Store::UnknownConfigurationKey { .. } => Fault::Usage,
        _ => Fault::Unavailable,
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
        Fault::Clock => "; set this machine's clock (timedatectl set-ntp true), then run it again",
        Fault::Full => "; make room there, or raise the quota: what has arrived stays, and the next run goes on",
        Fault::Unavailable => "; nothing is lost: what has arrived stays, and the next run goes on",
    }
}

/// The innermost cause says the most.
fn innermost(e: &Store) -> String {
    let mut cause: &dyn std::error::Error = e;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn status(text: &str) -> Option<&str> {
    text.split_once("status code: ").map(|(_, rest)| rest.split(':').next().unwrap_or_default().trim())
}

/// Of an XML answer its code and message alone: the rest may repeat what was signed. A URL may hold a signature, and is cut off.
fn in_words(text: &str) -> String {
    let between = |open: &str, close: &str| {
        let (_, rest) = text.split_once(open)?;
        rest.split_once(close).map(|(inner, _)| inner.trim().to_owned())
    };
    let status = status(text);
    let told = match (between("<Code>", "</Code>"), between("<Message>", "</Message>")) {
        (Some(code), Some(message)) => format!("{}: {code}: {message}", status.unwrap_or("refused")),
        (Some(code), None) => format!("{}: {code}", status.unwrap_or("refused")),
        _ => text.to_owned(),
    };
    let words: Vec<&str> = told.split_whitespace().map(|w| if w.contains("://") { "(url)" } else { w }).collect();
    let mut out = words.join(" ");
    if let Some((end, _)) = out.char_indices().nth(300) {
        out.truncate(end);
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> ObjectError {
        ObjectError::of("s3://packs", "put x", &Store::Generic { store: "S3", source: text.to_owned().into() })
    }

    #[test]
    fn a_code_decides_what_is_wrong_and_nothing_that_was_signed_is_repeated() {
        let xml = |code: &str| {
            format!(
                "Server returned non-2xx status code: 400 Bad Request: <?xml version=\"1.0\"?><Error><Code>{code}</Code>\
                 <Message>No.</Message><StringToSign>AWS4-HMAC-SHA256 hush</StringToSign></Error>"
            )
        };
        for (code, fault, says) in [
            ("ExpiredToken", Fault::Credentials, "ship reload"),
            ("RequestTimeTooSkewed", Fault::Clock, "timedatectl"),
            ("QuotaExceeded", Fault::Full, "make room"),
            ("NoSuchBucket", Fault::NotFound, "bucket or folder exists"),
            ("SlowDown", Fault::Unavailable, "the next run goes on"),
        ] {
            let e = of(&xml(code));
            let text = e.to_string();
            assert_eq!(e.fault, fault, "{code}");
            assert!(text.contains(says) && text.contains(&format!("400 Bad Request: {code}: No.")), "{text}");
            assert!(!text.contains("hush"), "{text}");
        }
        let refused = of("Server returned non-2xx status code: 403 Forbidden: <Error><Code>NotSignedUp</Code></Error>");
        assert_eq!(refused.fault, Fault::Credentials);
        assert_eq!(of("No space left on device (os error 28)").fault, Fault::Full);
        assert!(!of("GET https://x/y?X-Amz-Signature=hush failed").to_string().contains("hush"));
    }
}
