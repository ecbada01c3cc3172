//! Entries that change a pair's totals beside its payloads: a dispute that is resolved, a partner that is
//! closed out. What they must be, and what a header may say in a block with them that it otherwise may not.
//!
//! Judged from the block, the block before and the constitutions alone. That both sides of a dispute
//! agree, that what is opened is what was committed to in blocks further back, is for the audit, which has
//! both logs; nothing that one side enters alone gives it anything.

use std::collections::BTreeMap;

use super::ending::{EndError, EndedLog};
use super::guards::Guards;
use super::rules::{Tip, Violation};
use crate::amount::{AmountError, Value};
use crate::constitution::Constitution;
use crate::epochs::Constitutions;
use crate::ids::BrandId;
use crate::log::block::{ColumnContent, Header, PublicEntry, Recognised};
use crate::log::closed_out::ClosedOut;
use crate::log::resolution::DisputeResolved;

/// What a block's header may say by its entries.
#[derive(Debug, Default)]
pub struct Allowed {
    // to what a public total may fall
    floors: BTreeMap<BrandId, Value>,
}

impl Allowed {
    /// Judges a block's entries of these kinds.
    ///
    /// # Errors
    /// [`Violation::Resolution`] or [`Violation::ClosedOut`].
    pub fn by<'a, G: Guards>(
        (constitution, constitutions): (&Constitution, &Constitutions),
        tip: &Tip,
        header: &Header,
        entries: impl IntoIterator<Item = &'a PublicEntry>,
    ) -> Result<Self, Violation> {
        let mut allowed = Self::default();
        let mut about: Vec<BrandId> = Vec::new();
        for entry in entries {
            let other = match entry {
                PublicEntry::DisputeResolved(it) if header.log == it.accused => it.accuser,
                PublicEntry::DisputeResolved(it) => it.accused,
                PublicEntry::ClosedOut(closed) => closed.log,
                _ => continue,
            };
            // before any signature is looked at
            if about.contains(&other) {
                G::found(Violation::Resolution { why: "one pair is spoken of twice in a block" })?;
                continue;
            }
            about.push(other);
            let checked = match entry {
                PublicEntry::DisputeResolved(resolution) => {
                    let checked = check_resolution(constitution, tip, header, resolution);
                    checked.map_err(|why| Violation::Resolution { why })
                }
                PublicEntry::ClosedOut(closed) => {
                    let checked = ended(constitutions, closed).and_then(|end| {
                        check_closed_out(constitution, tip, header, (closed, &end))
                            .map_err(|why| Violation::ClosedOut { why })
                    });
                    checked.map(|floor| {
                        allowed.floors.insert(closed.log, floor);
                    })
                }
                _ => Ok(()),
            };
            checked.or_else(G::found)?;
        }
        Ok(allowed)
    }

    /// The least that the public total for a counterparty may be, after what it was.
    #[must_use]
    pub fn least(&self, counterparty: BrandId, before: Value) -> Value {
        self.floors.get(&counterparty).map_or(before, |floor| before.min(*floor))
    }
}

fn check_resolution(
    constitution: &Constitution,
    tip: &Tip,
    header: &Header,
    it: &DisputeResolved,
) -> Result<(), &'static str> {
    let step = constitution.total_step();
    it.check().map_err(|_| "it does not add up, or names no blocks or leaves in order")?;
    let out_of_range = |_: AmountError| "its total leaves its range";
    if header.log == it.accused {
        let column = header.column(it.accuser).ok_or("the accuser is no brand")?;
        if (it.last, it.block) != (tip.height, tip.header) {
            return Err("it must consider every block before the one that it is in");
        }
        let shown = tip.column(it.accuser).map_or(Value::ZERO, |column| column.sent);
        let agreed = it.total().and_then(|total| total.ceiling_to(step)).map_err(out_of_range)?;
        if agreed < shown || agreed > column.sent {
            return Err("the agreed total is not what the header's continues from");
        }
        Ok(())
    } else if header.log == it.accuser {
        let column = header.column(it.accused).ok_or("the accused is no brand")?;
        if tip.recognised(it.accused).height >= it.began {
            return Err("the block in dispute is recognised already");
        }
        if column.recognised.height <= it.last {
            return Err("the block must recognise the accused's log beyond what is considered");
        }
        // to a step, which is all that third parties see
        let before = tip.column(it.accused).map_or(Value::ZERO, |column| column.sent);
        let given = before.plus(it.void).map_err(out_of_range)?;
        let shown = column.sent.plus(step).map_err(out_of_range)?;
        if column.sent < it.void || shown < given {
            return Err("what is void is not given back by the public total");
        }
        Ok(())
    } else {
        Err("it is in the log of neither side")
    }
}

/// The log that is closed out, as far as it is shown to have ended.
fn ended(constitutions: &Constitutions, closed: &ClosedOut) -> Result<EndedLog, Violation> {
    closed.end.verify(constitutions).map_err(|error| match (error, closed.end.taken_up()) {
        (EndError::UnknownConstitution, Some(draft)) => Violation::UnknownConstitution { draft },
        _ => Violation::ClosedOut { why: "the log is not shown to have ended" },
    })
}

/// Gives what the public total for the ended log may fall to: what that log has recognised.
fn check_closed_out(
    constitution: &Constitution,
    tip: &Tip,
    header: &Header,
    (it, end): (&ClosedOut, &EndedLog),
) -> Result<Value, &'static str> {
    let step = constitution.total_step();
    if end.log() != it.log || it.log == header.log {
        return Err("it is about another log than the one that has ended");
    }
    let theirs = end.column(header.log);
    let read = theirs.map_or(Recognised::NOTHING, |column| column.recognised);
    if it.sent.height != read.height {
        return Err("it opens another block than the last one that was recognised there");
    }
    let opened = it.sent.content.sent.ceiling_to(step);
    if opened != read.sent.ceiling_to(step) || it.total < it.sent.content.sent {
        return Err("less than what was recognised there would be owed");
    }
    if it.received.height == end.height()
        && let Some(column) = theirs
        && it.received.content.commitment(&it.received.salt) != column.content
    {
        return Err("what it received is not what the ended log commits to");
    }
    if it.received.height > end.height() {
        return Err("it received nothing after the log had ended");
    }
    if let Some(column) = header.column(it.log) {
        let before = tip.column(it.log).map_or(Value::ZERO, |column| column.sent);
        let ceiling = |value: Value| value.ceiling_to(step);
        let whole = it.total.plus(it.void).and_then(ceiling);
        if ceiling(it.total) != Ok(column.sent) || whole != Ok(before) {
            return Err("the public total does not fall by what is void");
        }
        if it.received.height < column.recognised.height {
            return Err("it opens less of the ended log than the block recognises");
        }
    }
    Ok(read.sent)
}

/// What a block's entries change of the exact totals of the pair of its writer and a counterparty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adjusted {
    /// From what its column continues instead of the block before: as agreed with the counterparty.
    pub restated: Option<ColumnContent>,
    given: Value,
    taken: Value,
}

impl Adjusted {
    /// What the entries of one block say of it. Amounts out of range were refused with the entry.
    #[must_use]
    pub fn by<'a>(
        log: BrandId,
        counterparty: BrandId,
        entries: impl IntoIterator<Item = &'a PublicEntry>,
    ) -> Self {
        let mut adjusted = Self::default();
        for entry in entries {
            match entry {
                PublicEntry::DisputeResolved(it) if it.sides() == (log, counterparty) => {
                    adjusted.restated = it.content().ok();
                }
                PublicEntry::DisputeResolved(it) if it.sides() == (counterparty, log) => {
                    adjusted.given = adjusted.given.plus(it.void).unwrap_or(Value::MAX);
                }
                PublicEntry::ClosedOut(it) if it.log == counterparty => {
                    adjusted.taken = adjusted.taken.plus(it.void).unwrap_or(Value::MAX);
                }
                _ => {}
            }
        }
        adjusted
    }

    /// From what the column's payloads count on.
    ///
    /// # Errors
    /// When it leaves its range.
    pub fn base(&self, before: &ColumnContent) -> Result<ColumnContent, AmountError> {
        let base = self.restated.unwrap_or(*before);
        let sent = base.sent.plus(self.given)?.minus(self.taken)?;
        Ok(ColumnContent { sent, ..base })
    }
}
