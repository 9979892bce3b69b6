//! Buckets and folders as one thing: what the exporter ships to, retention removes from, and consumers pull from.
//!
//! `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, `https://host/prefix` (reading only), `file:///folder` or a
//! plain path. This folder is the only place that names `object_store`'s builders.
//!
//! | file | owns |
//! |---|---|
//! | `access` | from a URL and secrets to a [`Bucket`] |
//! | `error` | what a store's answer means, and what to do |
//! | `layout` | which object is where |
//! | `pieces` | a file as a stream |
//! | `read` | reading what may be anybody's: what never ends is given up |
//! | `pointer` | the registry pointer: which pack a consumer is to use |

mod access;
mod error;
pub mod layout;
pub mod pieces;
pub mod pointer;
mod read;

pub use access::{Access, Bucket, BucketKind, SILENCE, real};
pub use error::{Fault, ObjectError};
