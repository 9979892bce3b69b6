//! Conversations of several questions: which one is under way, and what the ones before it have found.

use super::Next;
use std::sync::Arc;

/// A question of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Contracts that can still be traded.
    Active,
    /// Contracts that have expired.
    Expired,
    /// Bars of the contracts.
    Bars,
    /// Splits.
    Splits,
    /// Dividends.
    Dividends,
}

/// Where a conversation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The question.
    pub stage: Stage,
    /// The contracts found so far.
    pub found: Arc<Vec<String>>,
    /// Of the bars: the first contract of the batch that is asked for.
    pub at: usize,
    /// The page of this very question; None is its first.
    pub page: Option<Box<Next>>,
}

impl Step {
    /// The first page of a question about nothing that was found.
    pub(super) fn first(stage: Stage) -> Self {
        Self { stage, found: Arc::default(), at: 0, page: None }
    }

    /// The step that a `next` stands for; None where there is none (yet).
    pub(super) fn of(next: Option<&Next>) -> Option<&Step> {
        if let Some(Next::Step(s)) = next { Some(s) } else { None }
    }

    /// The same question's next page.
    pub(super) fn paged(&self, page: Next) -> Next {
        Next::Step(Arc::new(Self { page: Some(Box::new(page)), ..self.clone() }))
    }

    /// The first page of the next question.
    pub(super) fn then(&self, stage: Stage, found: Arc<Vec<String>>, at: usize) -> Next {
        Next::Step(Arc::new(Self { stage, found, at, page: None }))
    }

    /// The contracts of the batch that is asked for, at most `size`.
    pub(super) fn batch(&self, size: usize) -> &[String] {
        let end = self.at.saturating_add(size).min(self.found.len());
        self.found.get(self.at..end).unwrap_or(&[])
    }

    /// The batch after this one; None after the last.
    pub(super) fn next_batch(&self, size: usize) -> Option<Next> {
        let at = self.at.saturating_add(size);
        (at < self.found.len()).then(|| self.then(Stage::Bars, self.found.clone(), at))
    }
}
