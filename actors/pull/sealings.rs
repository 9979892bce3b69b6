//! Which sealings a bucket has, and where.

use super::{PullError, PullPlan};
use crate::objects::BucketKind;
use crate::seal::PackUid;

/// The sealing of this name.
pub(super) fn uid_of(name: &str) -> Option<PackUid> {
    let mut uid = PackUid::default();
    hex::decode_to_slice(name, &mut uid).ok().map(|()| uid)
}

/// Where the sealings are, and their ids. Where nothing can be listed: where they must be.
pub(super) async fn sealings(plan: &PullPlan) -> Result<(String, Vec<PackUid>), PullError> {
    let uids = |names: &[String]| names.iter().filter_map(|n| uid_of(n)).collect::<Vec<_>>();
    if plan.bucket.kind == BucketKind::Http {
        let base = plan.source.as_ref().map(|s| format!("sealed/{s}/")).unwrap_or_default();
        return Ok((base, Vec::new()));
    }
    let top = plan.bucket.folders("").await?;
    let here = uids(&top);
    if !here.is_empty() {
        return Ok((String::new(), here));
    }
    let sources = plan.bucket.folders("sealed").await?;
    let sources: Vec<&String> = sources.iter().filter(|s| plan.source.as_ref().is_none_or(|w| w == *s)).collect();
    match sources.as_slice() {
        [one] => {
            let base = format!("sealed/{one}/");
            let found = uids(&plan.bucket.folders(&base).await?);
            Ok((base, found))
        }
        [] => Err(PullError::not_found(format!(
            "{}: there is no sealed pack; check the URL, and whether the node ships them",
            plan.bucket.url
        ))),
        all => {
            let names: Vec<&str> = all.iter().map(|s| s.as_str()).collect();
            Err(PullError::usage(format!(
                "{}: several sources; choose with --source: {}",
                plan.bucket.url,
                names.join(", ").escape_debug()
            )))
        }
    }
}
