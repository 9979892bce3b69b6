//! Sharing a list of work among a few threads.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What is left of the list; every item is given out once.
pub struct Share<'a, T> {
    items: &'a [T],
    next: AtomicUsize,
}

impl<'a, T> Share<'a, T> {
    /// The next item.
    pub fn next(&self) -> Option<&'a T> {
        self.items.get(self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// Runs `worker` on `threads` threads over one shared list, and gives what each returned. A panic ends the process, as
/// everywhere.
pub fn each<'a, T: Sync, R: Send>(
    threads: usize,
    items: &'a [T],
    worker: impl Fn(&Share<'a, T>) -> R + Sync,
) -> Vec<R> {
    let share = Share { items, next: AtomicUsize::new(0) };
    let threads = threads.clamp(1, items.len().max(1));
    if threads == 1 {
        return vec![worker(&share)];
    }
    std::thread::scope(|s| {
        let running: Vec<_> = (0..threads).map(|_| s.spawn(|| worker(&share))).collect();
        running.into_iter().filter_map(|t| t.join().ok()).collect()
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_item_is_worked_on_once() {
        let items: Vec<u64> = (1..=100).collect();
        let sums = super::each(3, &items, |share| {
            let mut sum = 0;
            while let Some(n) = share.next() {
                sum += n;
            }
            sum
        });
        assert_eq!(sums.iter().sum::<u64>(), 5050);
    }
}
