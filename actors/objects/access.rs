//! From a URL and secrets to a bucket.

use super::ObjectError;
use object_store::ObjectStore;
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum};
use object_store::azure::{MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder};
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::signer::{SignedUrlOptions, Signer};
use object_store::{ClientOptions, RetryConfig};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use url::Url;
use zeroize::Zeroizing;

/// Where a bucket is, and how one gets in. Without `key` and `token` requests are not signed.
#[derive(Clone, Default)]
pub struct Access {
    /// See the module's doc.
    pub url: String,
    /// The address of an S3-compatible service, or of an emulator; empty: the provider's own.
    pub endpoint: String,
    /// S3: the region; empty: us-east-1.
    pub region: String,
    /// S3: access key id. Azure: account name.
    pub key: Zeroizing<String>,
    /// S3: secret access key. GCS: the service account's JSON. Azure: access key.
    pub secret: Zeroizing<String>,
    /// S3: session token. HTTP: bearer token.
    pub token: Zeroizing<String>,
}

/// What kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketKind {
    /// A folder of this machine.
    Folder,
    /// S3 or compatible.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
    /// Plain HTTP(S): get, no list, no put.
    Http,
}

/// A store with a prefix.
#[derive(Clone)]
pub struct Bucket {
    /// What kind.
    pub kind: BucketKind,
    /// As configured; it holds no secret.
    pub url: String,
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    prefix: Key,
    /// The store once more, for what only its own kind can do.
    pub(super) own: Own,
    /// Whether requests are signed.
    has_key: bool,
    /// How long an answer may say nothing; None where the caller decides.
    pub(super) silence: Option<Duration>,
}

// By hand: a store's own Debug prints the credentials that it signs with.
impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket").field("kind", &self.kind).field("url", &self.url).finish_non_exhaustive()
    }
}

/// A store by its kind.
#[derive(Clone)]
pub(super) enum Own {
    Folder(Arc<LocalFileSystem>),
    S3(Arc<AmazonS3>),
    Gcs(Arc<GoogleCloudStorage>),
    Azure(Arc<MicrosoftAzure>),
    Http,
}

/// A connection that cannot be made in this time is given up.
const CONNECT: Duration = Duration::from_secs(10);
/// An answer of which nothing comes for so long is given up; it is no limit for a whole object.
pub const SILENCE: Duration = Duration::from_secs(60);

/// How requests are made, and made again.
struct Way {
    client: ClientOptions,
    retry: RetryConfig,
}

impl Access {
    /// The bucket, for reading.
    ///
    /// # Errors
    /// The URL is none of the known forms, or a secret has not the form that the store needs.
    pub fn open(&self) -> Result<Bucket, ObjectError> {
        self.open_for(SILENCE)
    }

    /// The bucket, for reading; an answer of which nothing comes for `silence` is given up.
    ///
    /// # Errors
    /// As [`Access::open`].
    pub fn open_for(&self, silence: Duration) -> Result<Bucket, ObjectError> {
        self.open_with(Some(silence))
    }

    /// The bucket, for writing: it waits for an answer as long as the caller does. The client's own limit of silence counts from
    /// a request's first byte, and would end every upload that takes longer.
    ///
    /// # Errors
    /// As [`Access::open`].
    pub fn open_to_send(&self) -> Result<Bucket, ObjectError> {
        self.open_with(None)
    }

    /// The folder that is meant.
    ///
    /// # Errors
    /// It is no folder.
    pub fn folder_path(&self) -> Result<PathBuf, ObjectError> {
        let wrong = || ObjectError::usage(&self.url, "cannot be used", "not a path on this machine");
        match self.parsed()? {
            None => Ok(PathBuf::from(&self.url)),
            Some(url) if url.scheme() == "file" => url.to_file_path().map_err(|()| wrong()),
            Some(_) => Err(wrong()),
        }
    }

    /// The place that is meant, as far as it can be told without asking: what it is in, and the path below that. A folder's path goes
    /// through no link, as far as it is there.
    ///
    /// # Errors
    /// It is no URL.
    pub fn place(&self) -> Result<(String, PathBuf), ObjectError> {
        if let Ok(path) = self.folder_path() {
            return Ok((String::new(), real(&path)));
        }
        let Some(url) = self.parsed()? else { return Ok((String::new(), real(&PathBuf::from(&self.url)))) };
        let prefix = Key::from_url_path(url.path());
        let prefix = prefix.map_err(|e| ObjectError::usage(&self.url, "cannot be used", e.to_string()))?;
        let endpoint = self.endpoint.trim_end_matches('/').to_ascii_lowercase();
        // A container's name is its account's alone.
        let account = if url.scheme() == "az" { self.key.as_str() } else { "" };
        let host = url.host_str().unwrap_or_default();
        Ok((format!("{} {endpoint} {account} {host}", url.scheme()), PathBuf::from(prefix.to_string())))
    }

    fn open_with(&self, silence: Option<Duration>) -> Result<Bucket, ObjectError> {
        let wrong = |why: &str| ObjectError::usage(&self.url, "cannot be used", why);
        let Some(url) = self.parsed()? else {
            return self.folder(PathBuf::from(&self.url));
        };
        let kind = match url.scheme() {
            "file" => return self.folder(url.to_file_path().map_err(|()| wrong("not a path on this machine"))?),
            "s3" => BucketKind::S3,
            "gs" => BucketKind::Gcs,
            "az" => BucketKind::Azure,
            "http" | "https" => BucketKind::Http,
            _ => return Err(wrong("known are s3://, gs://, az://, https://, http://, file:// and plain paths")),
        };
        let prefix = Key::from_url_path(url.path()).map_err(|e| wrong(&e.to_string()))?;
        let host = url.host_str().unwrap_or_default();
        if host.is_empty() {
            return Err(wrong("it names no bucket"));
        }
        // A second call finds the provider installed; that is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let way = Way { client: self.client(silence), retry: retry(silence) };
        let made: object_store::Result<(Arc<dyn ObjectStore>, Own)> = match kind {
            BucketKind::S3 => self.s3(host, way).map(|s| (s.clone() as _, Own::S3(s))),
            BucketKind::Gcs => self.gcs(host, way).map(|s| (s.clone() as _, Own::Gcs(s))),
            BucketKind::Azure => self.azure(host, way).map(|s| (s.clone() as _, Own::Azure(s))),
            BucketKind::Http | BucketKind::Folder => self.http(&url, way).map(|s| (s, Own::Http)),
        };
        // What the builders say of a secret that they cannot use may repeat it.
        let (store, own) = made.map_err(|e| match kind {
            BucketKind::Gcs => wrong("the secret is not a service account's JSON"),
            _ => ObjectError::of(&self.url, "cannot be used", &e),
        })?;
        // The HTTP store's own base has the path already.
        let prefix = if kind == BucketKind::Http { Key::default() } else { prefix };
        let has_key = !self.key.is_empty();
        Ok(Bucket { kind, url: self.url.clone(), store, prefix, own, has_key, silence })
    }

    /// None for a plain path.
    fn parsed(&self) -> Result<Option<Url>, ObjectError> {
        if self.url.is_empty() {
            return Err(ObjectError::usage(&self.url, "no URL", "write s3://bucket/prefix, or a folder"));
        }
        if !self.url.contains("://") {
            return Ok(None);
        }
        let shown = self.url.rsplit_once('@').map_or(self.url.as_str(), |(_, host)| host);
        let url = Url::parse(&self.url).map_err(|e| ObjectError::usage(shown, "not a URL", e.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            let url = format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default());
            return Err(ObjectError::usage(&url, "cannot be used", "secrets and queries do not belong into a URL"));
        }
        Ok(Some(url))
    }

    fn folder(&self, path: PathBuf) -> Result<Bucket, ObjectError> {
        if !path.is_dir() {
            return Err(ObjectError::usage(&self.url, "no such folder", "make it, or mount what it is on"));
        }
        let store = LocalFileSystem::new_with_prefix(&path)
            .map_err(|e| ObjectError::of(&self.url, "cannot be used", &e))?
            .with_fsync(true)
            .with_automatic_cleanup(true);
        let (kind, url, store) = (BucketKind::Folder, self.url.clone(), Arc::new(store));
        let (prefix, own) = (Key::default(), Own::Folder(store.clone()));
        Ok(Bucket { kind, url, store, prefix, own, has_key: false, silence: None })
    }

    fn client(&self, silence: Option<Duration>) -> ClientOptions {
        let connect = CONNECT.min(silence.unwrap_or(CONNECT));
        let options = ClientOptions::new().with_timeout_disabled().with_connect_timeout(connect).with_http1_only();
        let options = match silence {
            Some(limit) => options.with_read_timeout(limit),
            None => options,
        };
        // The address says whether it is encrypted: an endpoint of http:// is meant.
        options.with_allow_http(self.endpoint.starts_with("http://") || self.url.starts_with("http://"))
    }

    fn s3(&self, bucket: &str, way: Way) -> object_store::Result<Arc<AmazonS3>> {
        let mut b = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(if self.region.is_empty() { "us-east-1" } else { &self.region })
            .with_checksum_algorithm(Checksum::SHA256)
            // The checksum is a header, and signed: signing the body as well would have both sides hash it once more.
            .with_unsigned_payload(true)
            .with_retry(way.retry)
            .with_client_options(way.client);
        if !self.endpoint.is_empty() {
            b = b.with_endpoint(&self.endpoint);
        }
        b = if self.key.is_empty() {
            b.with_skip_signature(true)
        } else {
            b.with_access_key_id(self.key.as_str()).with_secret_access_key(self.secret.as_str())
        };
        if !self.token.is_empty() {
            b = b.with_token(self.token.as_str());
        }
        Ok(Arc::new(b.build()?))
    }

    fn gcs(&self, bucket: &str, way: Way) -> object_store::Result<Arc<GoogleCloudStorage>> {
        let b = GoogleCloudStorageBuilder::new()
            .with_bucket_name(bucket)
            .with_retry(way.retry)
            .with_client_options(way.client);
        let b = if self.endpoint.is_empty() { b } else { b.with_base_url(&self.endpoint) };
        let b = if self.secret.is_empty() {
            b.with_skip_signature(true)
        } else {
            b.with_service_account_key(self.secret.as_str())
        };
        Ok(Arc::new(b.build()?))
    }

    fn azure(&self, container: &str, way: Way) -> object_store::Result<Arc<MicrosoftAzure>> {
        let b = MicrosoftAzureBuilder::new()
            .with_container_name(container)
            .with_account(self.key.as_str())
            .with_retry(way.retry)
            .with_client_options(way.client);
        let b = if self.endpoint.is_empty() { b } else { b.with_endpoint(self.endpoint.clone()) };
        let b =
            if self.secret.is_empty() { b.with_skip_signature(true) } else { b.with_access_key(self.secret.as_str()) };
        Ok(Arc::new(b.build()?))
    }

    fn http(&self, url: &Url, way: Way) -> object_store::Result<Arc<dyn ObjectStore>> {
        let mut options = way.client;
        if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", self.token.as_str()))
            && !self.token.is_empty()
        {
            value.set_sensitive(true);
            options = options.with_default_headers(HeaderMap::from_iter([(AUTHORIZATION, value)]));
        }
        let b = HttpBuilder::new().with_url(url.as_str()).with_retry(way.retry).with_client_options(options);
        Ok(Arc::new(b.build()?))
    }
}

/// A hiccup is waited out here; a longer outage ends the attempt, and the next run goes on.
fn retry(silence: Option<Duration>) -> RetryConfig {
    let retry_timeout = silence.unwrap_or(Duration::from_secs(30));
    RetryConfig { max_retries: 6, retry_timeout, ..RetryConfig::default() }
}

/// A path without links and dots, as far as it is there.
pub fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut rest = PathBuf::new();
    for there in path.ancestors() {
        if let Ok(real) = there.canonicalize() {
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
        let name = there.file_name().map(PathBuf::from).unwrap_or_default();
        rest = if rest.as_os_str().is_empty() { name } else { name.join(rest) };
    }
    path
}

impl Bucket {
    /// The address at which anyone may PUT the object `name` for some minutes with exactly this header; None where the store is not
    /// S3, or is used without a key. The address is a secret.
    ///
    /// # Errors
    /// It cannot be signed.
    pub async fn signed_put(&self, name: &str, header: (&'static str, String)) -> Result<Option<Url>, ObjectError> {
        let Own::S3(signer) = &self.own else { return Ok(None) };
        if !self.has_key {
            return Ok(None);
        }
        let value = HeaderValue::from_str(&header.1)
            .map_err(|_| ObjectError::usage(&self.url, format!("sign {name}"), "no header value"))?;
        let options = SignedUrlOptions::new().with_signed_header(HeaderName::from_static(header.0), value);
        let signed = signer.signed_url_opts(Method::PUT, &self.key(name), Duration::from_secs(300), &options).await;
        signed.map(Some).map_err(|e| ObjectError::of(&self.url, format!("sign {name}"), &e))
    }

    /// The whole key of an object that [`super::layout`] names.
    pub fn key(&self, name: &str) -> Key {
        let parts = self.prefix.parts().chain(name.split('/').filter(|p| !p.is_empty()).map(Into::into));
        parts.collect()
    }
}
