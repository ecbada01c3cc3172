//! How an audit uses several cores without knowing what a thread is: the caller does what does not
//! depend on each other, on as many as it has.

/// Does things that do not depend on each other, in whatever order and wherever it likes.
pub trait Cores: Sync {
    /// Does `work` for each of the things; gives the results in the order of the things.
    fn each<'t, T: Sync, R: Send>(
        &self,
        things: &'t [T],
        work: impl Fn(&'t T) -> R + Sync,
    ) -> Vec<R>;
}

/// One thing after another.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneCore;

impl Cores for OneCore {
    fn each<'t, T: Sync, R: Send>(
        &self,
        things: &'t [T],
        work: impl Fn(&'t T) -> R + Sync,
    ) -> Vec<R> {
        things.iter().map(work).collect()
    }
}
