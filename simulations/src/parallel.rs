//! Runs over several cores, with results that do not depend on how many there are.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

/// As many threads as there are cores.
#[must_use]
pub fn cores() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Applies a function to every item on so many threads, and gives the results to `each` in the items'
/// order. Results that are early wait for those before them.
pub fn map<T: Sync, R: Send>(
    items: &[T],
    threads: NonZeroUsize,
    function: impl Fn(&T) -> R + Sync,
    mut each: impl FnMut(&T, R),
) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for _ in 0..threads.get().min(items.len()) {
            let (sender, next, function) = (sender.clone(), &next, &function);
            scope.spawn(move || {
                while let Some(item) = {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    items.get(place).map(|item| (place, item))
                } {
                    let (place, item) = item;
                    // nobody listens when the caller has panicked
                    if sender.send((place, function(item))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let mut early = std::collections::BTreeMap::new();
        let mut due = items.iter().enumerate();
        let mut waiting = due.next();
        for (place, result) in receiver {
            early.insert(place, result);
            while let Some((place, item)) = waiting
                && let Some(result) = early.remove(&place)
            {
                each(item, result);
                waiting = due.next();
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_whatever_the_threads() {
        let items: Vec<u64> = (0..100).collect();
        for threads in [1, 2, 7] {
            let mut seen = Vec::new();
            let threads = NonZeroUsize::new(threads).expect("not zero");
            map(&items, threads, |item| item * item, |item, square| seen.push((*item, square)));
            assert!(seen.iter().copied().eq(items.iter().map(|item| (*item, item * item))));
        }
    }
}
