//! What brands have closed out before somebody joined, said again in their closings.
//!
//! Who was there holds it against what it has seen itself: a closing that says something else, or leaves
//! something out, does not count there, so that there is no statement. One without any list
//! counts, also where it is needed: for who joined it is as none. Who joined later takes it as it is said,
//! until the brand's next closing, and only of logs that the constitutions have ended: a brand can be
//! lied to about pairs of the one that lies, and never told that somebody is gone who is not. Where two tell
//! of different ends of one log it has no statement either.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::{Absent, Gone, Pair};
use crate::clearing::closing::{CheckedClosing, ClosingError};
use crate::clearing::statement::ClosedBlock;
use crate::epochs::Constitutions;
use crate::ids::{BrandId, Height};
use crate::log::block::{Closing, Header};
use crate::log::closed_out::{CLOSED_OUT_BEFORE_MAX, ClosedOutBefore, ConfirmedOf};

impl Absent {
    /// What a brand's closing says again when it closes this block (none for none): all that it has closed out in
    /// it or before, of logs that a constitution has ended. None where every brand of the newest
    /// constitution had a column in the last block of each, or of more than [`CLOSED_OUT_BEFORE_MAX`].
    #[must_use]
    pub fn say_again(
        &self,
        by: BrandId,
        closed: Option<&Header>,
        constitutions: &Constitutions,
    ) -> Option<Vec<ClosedOutBefore>> {
        let all = self.all_before(by, closed, constitutions);
        all.filter(|all| all.len() <= CLOSED_OUT_BEFORE_MAX)
    }

    /// Whether that is needed of more logs than one closing says: brands that were not there then, and do not read the
    /// former blocks, cannot settle with them.
    #[must_use]
    pub fn is_too_much_to_say(
        &self,
        by: BrandId,
        closed: Option<&Header>,
        constitutions: &Constitutions,
    ) -> bool {
        let all = self.all_before(by, closed, constitutions);
        all.is_some_and(|all| all.len() > CLOSED_OUT_BEFORE_MAX)
    }

    fn all_before(
        &self,
        by: BrandId,
        closed: Option<&Header>,
        constitutions: &Constitutions,
    ) -> Option<Vec<ClosedOutBefore>> {
        let closed = closed?;
        let newest = constitutions.newest();
        let said = |(log, gone): (&BrandId, &Gone)| {
            let pair = gone.pairs.get(&by).filter(|pair| pair.height <= closed.height)?;
            let paid = self.confirmed.get(&(by, *log)).copied().unwrap_or_default();
            Some(ClosedOutBefore {
                log: *log,
                height: pair.height,
                last: gone.block.height,
                block: gone.block.block,
                confirmed: gone.confirmed_of().collect(),
                received: pair.received,
                total: pair.sent,
                paid: closed.column(*log).is_none().then_some(paid),
            })
        };
        let all: Vec<ClosedOutBefore> =
            self.gone.iter().filter(|(log, _)| !newest.writes(**log)).filter_map(said).collect();
        let brands = newest.committee().brands();
        let saw = |it: &ClosedOutBefore, brand: BrandId| {
            brand == it.log || brand == by || it.confirmed.iter().any(|of| of.payer == brand)
        };
        let is_needed = all.iter().any(|it| brands.iter().any(|brand| !saw(it, *brand)));
        is_needed.then_some(all)
    }

    /// From which block on a brand was shown a log: it knows everything that the log entered from there.
    #[must_use]
    pub fn follows(&self, me: BrandId, log: BrandId, constitutions: &Constitutions) -> Height {
        if constitutions.first().brand(me).is_some() {
            return Height::new(1);
        }
        let began = self.began.as_ref().and_then(|began| began.get(&log));
        began.copied().unwrap_or(Height::new(u64::MAX))
    }

    /// What a checked closing says again of ended logs: it is what the log has entered, as far as that was shown
    /// here, `from` this block of the log on. What was not is believed until its writer's next closing.
    ///
    /// # Errors
    /// When it is not; then nothing of it is taken.
    pub fn said_again(
        &mut self,
        (closing, checked): (&Closing, &CheckedClosing),
        from: Height,
        constitutions: &Constitutions,
    ) -> Result<(), ClosingError> {
        let by = checked.debtor();
        let Some(said) = &closing.closed_out else {
            self.forget_said_again(by);
            return Ok(());
        };
        let is_in_order = said.is_sorted_by(|one, next| one.log < next.log)
            && said.iter().all(|it| it.confirmed.is_sorted_by(|one, next| one.payer < next.payer));
        let is_past = |it: &ClosedOutBefore| {
            it.log != by && it.height.get() > 0 && it.height <= closing.height
        };
        let is_sized = (1..=CLOSED_OUT_BEFORE_MAX).contains(&said.len());
        if !is_sized || !is_in_order || !said.iter().all(is_past) {
            return Err(ClosingError::ClosedOutForm);
        }
        for it in said {
            let has_column = checked.sent().contains_key(&it.log);
            if it.paid.is_some() == has_column || !self.bears_out(by, it, from) {
                return Err(ClosingError::ClosedOut(it.log));
            }
        }
        let closed_out =
            |gone: &Gone| gone.pairs.get(&by).is_some_and(|pair| pair.height <= closing.height);
        // whether a later constitution was known to its writer is not known here
        let under = constitutions.of(checked.epoch());
        let had_ended = |log: BrandId| under.is_some_and(|it| !it.writes(log));
        let known = self.gone.iter().filter(|(log, gone)| closed_out(gone) && had_ended(**log));
        for (log, _) in known {
            if said.iter().all(|it| it.log != *log) {
                return Err(ClosingError::LeftOut(*log));
            }
        }
        self.said_again.get_or_insert_with(BTreeMap::new).insert(by, said.clone());
        Ok(())
    }

    fn forget_said_again(&mut self, by: BrandId) {
        if let Some(all) = &mut self.said_again {
            all.remove(&by);
            if all.is_empty() {
                self.said_again = None;
            }
        }
    }

    /// Whether nothing that was seen here says otherwise.
    fn bears_out(&self, by: BrandId, it: &ClosedOutBefore, from: Height) -> bool {
        let gone = self.gone.get(&it.log);
        let is_same_end = |gone: &Gone| {
            let block = (gone.block.height, gone.block.block) == (it.last, it.block);
            block && gone.confirmed_of().eq(it.confirmed.iter().copied())
        };
        let entered = match gone.and_then(|gone| gone.pairs.get(&by)) {
            Some(pair) => {
                (pair.height, pair.received, pair.sent) == (it.height, it.received, it.total)
            }
            // it was not shown here, or the constitution by which the log ended is not known yet
            None => it.height < from || self.waits_for(by, it.log),
        };
        // of a log that was not followed from its beginning a column may have gone before
        let seen = match self.confirmed.get(&(by, it.log)).copied() {
            None if from > Height::new(1) => it.paid,
            seen => it.paid.map(|_| seen.unwrap_or_default()),
        };
        gone.is_none_or(is_same_end) && entered && seen == it.paid
    }

    fn waits_for(&self, by: BrandId, log: BrandId) -> bool {
        let mut waiting = self.waiting.iter().flatten();
        waiting.any(|known| (known.by, known.entry.log) == (by, log))
    }

    /// Everything that is known, with what closings say again where nothing else is.
    pub(in crate::clearing) fn with_said_again(&self) -> Cow<'_, Self> {
        let Some(said) = &self.said_again else { return Cow::Borrowed(self) };
        let mut whole = self.clone();
        let mut in_doubt = BTreeSet::new();
        let all = said.iter().flat_map(|(by, all)| all.iter().map(move |it| (*by, it)));
        for (by, it) in all.filter(|(_, it)| self.ended.contains(&it.log)) {
            let told = Gone::told(it);
            let known = whole.gone.entry(it.log).or_insert_with(|| told.clone());
            if (known.block, &known.confirmed) != (told.block, &told.confirmed) {
                // what was seen here stands
                if !self.gone.contains_key(&it.log) {
                    in_doubt.insert(it.log);
                }
                continue;
            }
            let (height, received, sent) = (it.height, it.received, it.total);
            known.pairs.entry(by).or_insert(Pair { height, received, sent });
            if let Some(paid) = it.paid {
                let known = whole.confirmed.entry((by, it.log)).or_default();
                *known = paid.max(*known);
            }
        }
        whole.gone.retain(|log, _| !in_doubt.contains(log));
        Cow::Owned(whole)
    }
}

impl Gone {
    fn confirmed_of(&self) -> impl Iterator<Item = ConfirmedOf> {
        self.confirmed.iter().map(|(payer, value)| ConfirmedOf { payer: *payer, value: *value })
    }

    fn told(it: &ClosedOutBefore) -> Self {
        Self {
            block: ClosedBlock { debtor: it.log, height: it.last, block: it.block },
            confirmed: it.confirmed.iter().map(|of| (of.payer, of.value)).collect(),
            pairs: BTreeMap::new(),
        }
    }
}
