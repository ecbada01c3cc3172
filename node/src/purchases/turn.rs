//! Turns: a long import of files lets small ones, of rows that were sent, in between two of its chunks.
//!
//! At most two imports are not done, each in a place of its own. The long one gives a turn where it holds nothing in
//! memory that it has not written: after each chunk, and between two records of what it tells, or of what it removes
//! of another that it gives up. Whoever waits is then imported to the end, read, counted and told, and seen at once; of
//! the long one nothing is seen before it counts.
//!
//! **Which order it comes to.** As if the file had been cut there: its rows before the turn, the small import, the rows
//! after it. A small one reads what counts and no basket that the long one has changed: it has nothing of what does
//! not count yet, so that it is the same whether the long one comes to count, goes on after a crash, or is given up. In
//! turn the rows after it see what it has left, as that of any import before them; a row that both bring counts once.
//!
//! **What is kept apart.** A small import of which a row is of a basket that the long one has changed (or takes such a
//! one back, or is the same order within moments as one that the long one has read) does not go through: nothing of
//! it is kept but whom the vault knows by it, and it is [`ImportError::Held`]. Baskets therefore have at most one
//! change that does not count, what the long one has written of them is never based anew, and changes of a basket are
//! told in their order.
//!
//! **After a crash.** A small one that was half read has not been answered: whoever works next removes it, and it is
//! sent again. One that counts is told to its end before anything else. The long one goes on as ever; a small one
//! never gives it up.

use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::basket::StoredBasket;
use super::catalogue::Place;
use super::import::{Facts, ImportError};
use super::orders::{Memory, Order, Orders, Seen};
use super::report::Sightings;

/// Who waits for a turn while a long import works.
pub trait Between {
    /// Whether somebody waits.
    fn is_wanted(&self) -> bool;
    /// Lets in whoever waits, one after the other; returns when it is the long import's turn again.
    fn give(&self);
}

/// Which turn an import takes.
#[derive(Clone, Copy)]
pub enum Turn<'a> {
    /// A small one, which comes between the chunks of a long one and gives none up.
    Small,
    /// One that gives up another that is half done, and gives no turns.
    Long,
    /// The same, which gives turns.
    Giving(&'a dyn Between),
}

impl Turn<'_> {
    /// Gives a turn, if it gives any and somebody waits for one: where nothing is at work on the facts.
    pub fn pause(self) {
        if let Self::Giving(between) = self
            && between.is_wanted()
        {
            between.give();
        }
    }
}

/// Of rows from which a small import keeps off; what they have said of people is known where they are read.
pub(super) fn held() -> ImportError {
    ImportError::Held { said: Sightings::default() }
}

/// Is counted among those at work on the store, as long as it is.
struct AtWork<'a>(&'a AtomicU32);

impl<'a> AtWork<'a> {
    /// Says too whether another is.
    fn begin(count: &'a AtomicU32) -> (Self, bool) {
        let others = count.fetch_add(1, Ordering::AcqRel);
        (Self(count), others > 0)
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An import at work: nobody else reads, changes and writes baskets, but while it gives a turn.
pub(super) struct Work<'a> {
    pub(super) facts: &'a Facts,
    turn: Turn<'a>,
    place: Place,
    /// The long import from which this small one keeps off.
    off: Option<u32>,
    /// Ends before the lock does: whoever is next is not between.
    _at_work: AtWork<'a>,
    /// None while a turn is given.
    memory: Option<MutexGuard<'a, Memory>>,
    /// Orders that this small import has read.
    read: Orders,
    /// How long others have had turns.
    given: Duration,
    /// It has a turn that a long one gives.
    is_between: bool,
}

impl<'a> Work<'a> {
    /// Waits until nobody else is at work.
    pub(super) fn begin(facts: &'a Facts, turn: Turn<'a>) -> Self {
        let memory = facts.memory();
        let (at_work, is_between) = AtWork::begin(&facts.under_way);
        Self {
            facts,
            turn,
            place: Place::Long,
            off: None,
            _at_work: at_work,
            memory: Some(memory),
            read: Orders::default(),
            given: Duration::ZERO,
            is_between,
        }
    }

    pub(super) const fn place(&self) -> Place {
        self.place
    }

    /// Says what it imports, and so where it stands. Aside of one at work it keeps off nothing, since it shows what
    /// that one has come to.
    pub(super) fn stand(&mut self, digest: &[u8; 32], is_beside: bool) -> Result<(), ImportError> {
        if !matches!(self.turn, Turn::Small) {
            return Ok(());
        }
        self.place = Place::Small;
        if is_beside {
            return Ok(());
        }
        match self.facts.catalogue().open(Place::Long)? {
            // the very rows that the long one reads
            Some((open, _)) if open == *digest && self.is_between => return Err(held()),
            // they were interrupted, and go on
            Some((open, _)) if open == *digest => self.place = Place::Long,
            open => self.off = open.map(|(_, import)| import.number),
        }
        Ok(())
    }

    /// It begins anew: what a long one has read that was given up is forgotten.
    pub(super) fn afresh(&mut self) {
        let place = self.place;
        if let Some(memory) = self.memory.as_deref_mut().filter(|_| place == Place::Long) {
            memory.long = Orders::default();
        }
    }

    /// Whether a basket is one from which it keeps off.
    pub(super) fn is_off(&self, basket: &StoredBasket) -> bool {
        self.off.is_some_and(|long| basket.import == long)
    }

    /// Whether a member's same order came within so many seconds in another basket; else it is remembered.
    pub(super) fn is_repeated(
        &mut self,
        order: Order,
        seen: Seen,
        within: u32,
    ) -> Result<bool, ImportError> {
        // it is there whenever rows are read
        let Some(memory) = self.memory.as_deref_mut() else { return Ok(false) };
        let own = match self.place {
            Place::Long => &mut memory.long,
            // what does not count yet is no reason to drop what would
            Place::Small if self.off.is_some() && memory.long.has(order, seen, within) => {
                return Err(held());
            }
            Place::Small => &mut self.read,
        };
        if own.has(order, seen, within) || memory.counted.has(order, seen, within) {
            return Ok(true);
        }
        own.remember(order, seen);
        Ok(false)
    }

    /// It counts, and so do the orders that it has read.
    pub(super) fn count(&mut self) {
        let read = std::mem::take(&mut self.read);
        let Some(memory) = self.memory.as_deref_mut() else { return };
        match self.place {
            Place::Long => memory.count_long(),
            Place::Small => memory.count(read),
        }
    }

    /// Gives a turn, if it gives any and somebody waits for one. If so, what was read of the store and the vault is to
    /// be read again.
    pub(super) fn give(&mut self) -> Result<bool, ImportError> {
        let Turn::Giving(between) = self.turn else { return Ok(false) };
        if !between.is_wanted() {
            return Ok(false);
        }
        let began = Instant::now();
        self.memory = None;
        between.give();
        self.memory = Some(self.facts.memory());
        self.given += began.elapsed();
        self.facts.end_small()?;
        Ok(true)
    }

    /// How long others have had turns since this was asked.
    pub(super) fn take_given(&mut self) -> Duration {
        std::mem::take(&mut self.given)
    }
}
