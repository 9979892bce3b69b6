//! Reading from a bucket that may be anybody's: what never ends is given up, and nothing but plain files is opened.

use super::access::{Bucket, Own};
use super::error::ObjectError;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::{Error as Store, GetOptions, GetResult};
use std::time::Duration;

/// An object that comes slower is given up, bytes a second: silence alone is no measure, since a byte now and then breaks it.
const SLOWEST: u64 = 16 << 10;
/// The longest list of one folder, names.
const MAX_NAMES: usize = 100_000;
/// The longest list of one folder, pages.
const MAX_PAGES: usize = 1_000;
/// What one page of a list may weigh, bytes, for the time that it may take.
const PAGE: u64 = 4 << 20;

impl Bucket {
    /// How long so many bytes may take; None where the caller waits as long as it likes. Within it the store may ask again.
    fn limit(&self, bytes: u64) -> Option<Duration> {
        let silence = self.silence?;
        Some(silence.saturating_mul(2).saturating_add(Duration::from_secs(bytes / SLOWEST)))
    }

    /// What `work`, of so many bytes, gives; an error of which more may come where they come too slowly.
    ///
    /// # Errors
    /// It took too long.
    pub async fn in_time<T>(
        &self,
        what: &str,
        bytes: u64,
        work: impl Future<Output = T> + Send,
    ) -> Result<T, ObjectError> {
        match self.limit(bytes) {
            None => Ok(work.await),
            Some(limit) => tokio::time::timeout(limit, work).await.map_err(|_| {
                let why = format!("fewer than {} KiB a second came for {} s", SLOWEST >> 10, limit.as_secs());
                ObjectError::slow(&self.url, what, why)
            }),
        }
    }

    /// An object, as the store gives it. In a folder of this machine only plain files are opened: a pipe would hold whoever does.
    ///
    /// # Errors
    /// The store's.
    pub async fn get(&self, name: &str, options: GetOptions) -> object_store::Result<GetResult> {
        let key = self.key(name);
        if let Own::Folder(folder) = &self.own {
            let found = std::fs::metadata(folder.path_to_filesystem(&key)?);
            if found.is_ok_and(|m| !m.is_file() && !m.is_dir()) {
                return Err(Store::NotSupported { source: "not a plain file".into() });
            }
        }
        self.store.get_opts(&key, options).await
    }

    /// An object of at most `most` bytes, whole; None where there is none.
    ///
    /// # Errors
    /// The store's, or the object is longer, or comes too slowly.
    pub async fn read(&self, name: &str, most: u64) -> Result<Option<bytes::Bytes>, ObjectError> {
        let what = format!("get {name}");
        let failed = |e: &Store| ObjectError::of(&self.url, what.as_str(), e);
        let got = match self.get(name, GetOptions::default()).await {
            Ok(got) => got,
            Err(Store::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(failed(&e)),
        };
        let size = got.meta.size;
        if size > most {
            return Err(ObjectError::usage(&self.url, what, format!("{size} bytes, more than {most} are refused")));
        }
        self.in_time(&what, size, got.bytes()).await?.map(Some).map_err(|e| failed(&e))
    }

    /// The folders right below `prefix`, by name.
    ///
    /// # Errors
    /// The store's, or the list does not end.
    pub async fn folders(&self, prefix: &str) -> Result<Vec<String>, ObjectError> {
        let (key, what) = (self.key(prefix), format!("list {prefix}"));
        let failed = |e: &Store| ObjectError::of(&self.url, what.as_str(), e);
        let names = |of: &[object_store::path::Path]| -> Vec<String> {
            of.iter().filter_map(|p| p.filename().map(str::to_owned)).collect()
        };
        let root = key.as_ref().is_empty();
        let pages: &dyn PaginatedListStore = match &self.own {
            Own::S3(s) => s.as_ref(),
            Own::Gcs(s) => s.as_ref(),
            Own::Azure(s) => s.as_ref(),
            Own::Folder(_) | Own::Http => {
                let all = self.store.list_with_delimiter(Some(&key).filter(|_| !root)).await;
                return all.map(|l| names(&l.common_prefixes)).map_err(|e| failed(&e));
            }
        };
        let below = format!("{key}/");
        let (mut out, mut listed, mut token) = (Vec::new(), 0usize, None);
        for _ in 0..MAX_PAGES {
            let options = PaginatedListOptions {
                delimiter: Some("/".into()),
                page_token: token.clone(),
                ..PaginatedListOptions::default()
            };
            let asked = pages.list_paginated(Some(below.as_str()).filter(|_| !root), options);
            let page = self.in_time(&what, PAGE, asked).await?.map_err(|e| failed(&e))?;
            let found = page.result;
            listed = listed.saturating_add(found.objects.len()).saturating_add(found.common_prefixes.len());
            out.extend(names(&found.common_prefixes));
            if page.page_token.is_none() {
                return Ok(out);
            }
            if page.page_token == token || listed > MAX_NAMES {
                break;
            }
            token = page.page_token;
        }
        let why = format!("the list does not end: {listed} names, and the server says that there are more");
        Err(failed(&Store::NotSupported { source: why.into() }))
    }
}
