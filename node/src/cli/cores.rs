//! All cores of the machine, for work that is handed out in pieces.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};

use protocol::audit::Cores;

/// Threads are started where there are things to do and cores free, and never more at a time than there
/// are cores, however deep the work is nested: whoever has several things to do goes on alone while
/// others keep the cores busy, and has their help as soon as they are done.
#[derive(Debug)]
pub struct AllCores {
    // threads that may still be started
    free: AtomicUsize,
}

impl AllCores {
    /// As many as this process may use.
    #[must_use]
    pub fn of_machine() -> Self {
        Self::new(std::thread::available_parallelism().map_or(1, NonZero::get))
    }

    fn new(cores: usize) -> Self {
        Self { free: AtomicUsize::new(cores.saturating_sub(1)) }
    }

    /// Takes up to `most` of the free cores.
    fn take(&self, most: usize) -> usize {
        let mut free = self.free.load(Ordering::Relaxed);
        loop {
            let taken = free.min(most);
            let left = free - taken;
            match self.free.compare_exchange_weak(free, left, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return taken,
                Err(now) => free = now,
            }
        }
    }
}

impl Cores for AllCores {
    fn each<'t, T: Sync, R: Send>(
        &self,
        things: &'t [T],
        work: impl Fn(&'t T) -> R + Sync,
    ) -> Vec<R> {
        let helpers = self.take(things.len().saturating_sub(1));
        if helpers == 0 {
            return things.iter().map(work).collect();
        }
        let next = AtomicUsize::new(0);
        let worker = || {
            let mut done = Vec::new();
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(thing) = things.get(place) else { return done };
                done.push((place, work(thing)));
            }
        };
        let helper = || {
            let done = worker();
            // not when all are done: others may need it before
            self.free.fetch_add(1, Ordering::Relaxed);
            done
        };
        let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
            let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(helper)).collect();
            let mut done = worker();
            for thread in helpers {
                match thread.join() {
                    Ok(more) => done.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            done
        });
        done.sort_unstable_by_key(|(place, _)| *place);
        done.into_iter().map(|(_, result)| result).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many threads there are, and however the work is nested, results are in order and every
    /// core is free again.
    #[test]
    fn results_are_in_the_order_of_the_things() {
        for count in 1..5 {
            let cores = AllCores::new(count);
            let (outer, inner): (Vec<u32>, Vec<u32>) = ((0..9).collect(), (0..50).collect());
            let busy = AtomicUsize::new(0);
            let squares = cores.each(&outer, |a| {
                cores.each(&inner, |b| {
                    assert!(busy.fetch_add(1, Ordering::SeqCst) < count);
                    busy.fetch_sub(1, Ordering::SeqCst);
                    a * b
                })
            });
            for (a, row) in (0..).zip(&squares) {
                assert!(row.iter().copied().eq(inner.iter().map(|b| a * b)));
            }
            assert_eq!(cores.free.load(Ordering::Relaxed), count - 1);
            assert!(cores.each(&[], |thing: &u32| *thing).is_empty());
        }
    }
}
