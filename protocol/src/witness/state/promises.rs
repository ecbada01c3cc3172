//! Promises of one opening: which of them count, and the highest lock that they tell of.

use crate::constitution::Constitution;
use crate::witness::guards::{Guard, Guards};
use crate::witness::message::PromiseMessage;
use crate::witness::statement::{Open, Pledge, Promise, Statement as _};

/// How many valid promises of this opening there are, by different brands, and the highest lock
/// among them. A promise with an invalid lock is void.
pub fn count_promises<G: Guards>(
    constitution: &Constitution,
    open: &Open,
    promises: &[PromiseMessage],
) -> (usize, Option<Pledge>) {
    let mut signers = std::collections::BTreeSet::new();
    let mut highest: Option<Pledge> = None;
    for message in promises {
        let Some(lock) = valid_promise::<G>(constitution, open, message) else { continue };
        signers.insert(message.promise.signer);
        if let Some(lock) = lock
            && highest
                .is_none_or(|highest| G::allow(Guard::HighestLock, highest.round < lock.round))
        {
            highest = Some(lock);
        }
    }
    (signers.len(), highest)
}

/// Whether a promise answers this opening, with a lock that stands or none; gives that lock.
pub fn valid_promise<G: Guards>(
    constitution: &Constitution,
    open: &Open,
    message: &PromiseMessage,
) -> Option<Option<Pledge>> {
    let promise = Promise::verify(message.promise.clone(), constitution).ok()?;
    if !G::allow(Guard::PromiseOfOpening, promise.body().open == *open) {
        return None;
    }
    match (promise.body().lock, &message.lock) {
        (None, None) => Some(None),
        (Some(named), Some(lock)) if lock.pledge == named => {
            let below = named.round < open.round;
            let same = named.block.log == open.log && named.block.height == open.height;
            let proven = below && same && lock.clone().verify(constitution).is_ok();
            G::allow(Guard::LockProven, proven).then_some(Some(named))
        }
        _ => None,
    }
}
