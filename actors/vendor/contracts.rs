//! What the vendors of options have in common: first the contracts of an underlier, then the bars of the contracts.

use super::steps::{Stage, Step};
use super::{Ask, Next, Page, Refusal, occ};
use std::sync::Arc;

/// A page of contracts: notes those of the underlier, and says what comes next: the next page, the next list, or the bars.
/// `rest` is the next page of the same list.
///
/// # Errors
/// More contracts than are followed.
pub(super) fn listed<'a>(
    ask: &Ask,
    step: &Step,
    symbols: impl Iterator<Item = &'a str>,
    rest: Option<Next>,
) -> Result<Page, Refusal> {
    let underlier = ask.symbols.first().map_or("", String::as_str);
    let mut page = Page::default();
    let mut found = step.found.as_ref().clone();
    for contract in symbols {
        if occ::is_of(contract, underlier) {
            found.push(contract.to_owned());
        } else {
            page.rejects.add(|| format!("{contract:?} is no contract of {underlier}"));
        }
    }
    if found.len() > occ::MAX_CONTRACTS {
        return Err(Refusal::unparsable(format!("{underlier} has more than {} contracts", occ::MAX_CONTRACTS)));
    }
    page.next = match (rest, step.stage) {
        (Some(rest), _) => Some(Step { found: Arc::new(found), ..step.clone() }.paged(rest)),
        (None, Stage::Active) => Some(step.then(Stage::Expired, Arc::new(found), 0)),
        (None, _) => {
            // Both lists may have one that expires today.
            found.sort_unstable();
            found.dedup();
            (!found.is_empty()).then(|| step.then(Stage::Bars, Arc::new(found), 0))
        }
    };
    Ok(page)
}
