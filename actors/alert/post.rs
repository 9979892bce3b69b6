//! POSTs of alerts and traces. The address may be a secret (who knows a webhook may write to it), so no error repeats it, nor what was answered.

use std::time::Duration;

/// An HTTP client of its own, so that a receiver that hangs keeps no vendor waiting.
#[derive(Clone)]
pub struct Poster(reqwest::Client);

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Posted {
    /// The receiver took it.
    Taken(u16),
    /// It answered with another status than 2xx.
    Refused(u16),
    /// It did not answer: in words without the address.
    Failed(&'static str),
}

impl Poster {
    /// A client; `timeout` is that of a whole request.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn new(timeout: Duration) -> Result<Self, String> {
        // A second call finds the provider installed; that is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::builder()
            .user_agent(concat!("datanode/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(timeout.min(Duration::from_secs(5)))
            .timeout(timeout)
            .build()
            .map(Self)
            .map_err(|e| format!("the HTTP client cannot be made: {}", e.without_url()))
    }

    /// Sends `body`; None asks by GET. The answer's body is not read.
    pub async fn send(&self, url: &str, headers: &[(&str, &str)], body: Option<Vec<u8>>) -> Posted {
        let mut request = match body {
            Some(b) => self.0.post(url).body(b),
            None => self.0.get(url),
        };
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        match request.send().await {
            Ok(a) if a.status().is_success() => Posted::Taken(a.status().as_u16()),
            Ok(a) => Posted::Refused(a.status().as_u16()),
            Err(e) if e.is_builder() => Posted::Failed("the address is no URL, or a header holds what none may"),
            Err(e) if e.is_timeout() => Posted::Failed("no answer in time"),
            Err(e) if e.is_connect() => Posted::Failed("no connection"),
            Err(_) => Posted::Failed("broken off"),
        }
    }
}

impl std::fmt::Display for Posted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Posted::Taken(status) => write!(f, "taken ({status})"),
            Posted::Refused(status) => write!(f, "refused with status {status}"),
            Posted::Failed(why) => f.write_str(why),
        }
    }
}
