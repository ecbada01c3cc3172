//! What changes from one constitution to the next, and what that asks for.
//!
//! The one place where changes are told apart: what touches members takes effect only after they were
//! told for the notice period; keys and freezes alone may take effect at once, as everything else may
//! that only the brands themselves feel. Every field of a constitution is taken apart here by name
//! ([`differences`]): one more does not compile before somebody has decided whom it touches. Does not
//! know the words in which people read a change.

use std::collections::BTreeSet;

use super::SuccessionError;
use crate::amount::{Rate, Value};
use crate::constitution::{Brand, BrandKeys, Constitution, Draft, Succession, WrittenOff};
use crate::crypto::sealed::Cipher;
use crate::ids::{BrandId, Epoch};
use crate::time::{Milliseconds, Timestamp};

/// One difference between two constitutions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A brand rotates a key of this role.
    Key {
        /// Whose.
        brand: BrandId,
        /// Which.
        role: &'static str,
    },
    /// A brand's log closes: it failed or cheated.
    Freeze(BrandId),
    /// A debt of or to a brand that writes no more is settled: paid outside, or the creditor's loss.
    WrittenOff(WrittenOff),
    /// A brand joins.
    Join(BrandId),
    /// A brand leaves.
    Leave(BrandId),
    /// Two brands exchange that did not, one of them new or both there before.
    RateAdded {
        /// From.
        from: BrandId,
        /// To.
        to: BrandId,
        /// At which rate.
        rate: Rate,
    },
    /// Another rate, or none any more, between brands that stay.
    Rate {
        /// From.
        from: BrandId,
        /// To.
        to: BrandId,
        /// Before.
        before: Rate,
        /// From then on; none when they exchange no more.
        after: Option<Rate>,
    },
    /// A brand's point is worth something else when brands settle.
    PointValue(BrandId),
    /// A brand may owe another more or less.
    PairLimit {
        /// The brand.
        brand: BrandId,
        /// Before.
        before: Value,
        /// From then on.
        after: Value,
    },
    /// A brand may owe all others together more or less.
    TotalLimit {
        /// The brand.
        brand: BrandId,
        /// Before.
        before: Value,
        /// From then on.
        after: Value,
    },
    /// An exchange may be returned for a longer or shorter time.
    ReturnWindow {
        /// Before.
        before: Milliseconds,
        /// From then on.
        after: Milliseconds,
    },
    /// Members are told a longer or shorter time before.
    Notice {
        /// Before.
        before: Milliseconds,
        /// From then on.
        after: Milliseconds,
    },
    /// Other terms that the ledger does not read: the clean room's contract, how long payloads can be
    /// read.
    Terms,
    /// An auditor is there or not, or has another key.
    Auditors,
    /// The step of public totals.
    TotalStep,
    /// The size of sealed payloads.
    PayloadSize,
    /// The version of every block.
    ProtocolVersion {
        /// Before.
        before: u16,
        /// From then on.
        after: u16,
    },
    /// What seals entries.
    Cipher {
        /// Before.
        before: Cipher,
        /// From then on.
        after: Cipher,
    },
}

/// Who a change touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Keys and freezes: may be needed at once.
    Urgent,
    /// The brands among themselves.
    Brands,
    /// Members: they are told before it takes effect.
    Members,
}

impl Change {
    /// Who it touches.
    #[must_use]
    pub const fn reach(&self) -> Reach {
        match self {
            Self::Key { .. } | Self::Freeze(_) => Reach::Urgent,
            Self::Join(_)
            | Self::WrittenOff(_)
            | Self::RateAdded { .. }
            | Self::PointValue(_)
            | Self::PairLimit { .. }
            | Self::TotalLimit { .. }
            | Self::TotalStep
            | Self::PayloadSize
            | Self::ProtocolVersion { .. }
            | Self::Cipher { .. } => Reach::Brands,
            Self::Leave(_)
            | Self::Rate { .. }
            | Self::ReturnWindow { .. }
            | Self::Notice { .. }
            | Self::Terms
            | Self::Auditors => Reach::Members,
        }
    }
}

/// All that changes from one constitution to the next; made by [`Changes::between`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    list: Vec<Change>,
    notice: Milliseconds,
    effective: Timestamp,
}

impl Changes {
    /// Compares two constitutions of one alliance.
    ///
    /// # Errors
    /// When the second may not follow the first.
    pub fn between(old: &Constitution, new: &Constitution) -> Result<Self, SuccessionError> {
        check_place(old, new)?;
        let list = differences(old.draft(), new.draft());
        let left = list.iter().filter(|change| matches!(change, Change::Leave(_))).count();
        let most = old.committee().size().saturating_sub(old.committee().quorum());
        if left > most {
            return Err(SuccessionError::Removed { found: left, most });
        }
        // the old notice: a shorter one is itself a change that members are told of
        let notice = old.succession().notice;
        Ok(Self { list, notice, effective: new.succession().effective })
    }

    /// The differences.
    #[must_use]
    pub fn list(&self) -> &[Change] {
        &self.list
    }
    /// The widest reach among them.
    #[must_use]
    pub fn reach(&self) -> Reach {
        self.list.iter().map(Change::reach).max().unwrap_or(Reach::Urgent)
    }
    /// How long before it takes effect it is announced.
    #[must_use]
    pub fn notice(&self) -> Milliseconds {
        match self.reach() {
            Reach::Members => self.notice,
            Reach::Urgent | Reach::Brands => Milliseconds::new(0),
        }
    }
    /// When it takes effect if it was announced at this time: by the q-th certified adoption.
    #[must_use]
    pub fn effect(&self, announced: Timestamp) -> Timestamp {
        announced.plus(self.notice()).max(self.effective)
    }
}

fn check_place(old: &Constitution, new: &Constitution) -> Result<(), SuccessionError> {
    let (found, newest): (Epoch, Epoch) = (new.epoch(), old.epoch());
    if Some(found) != newest.next() {
        return Err(SuccessionError::Epoch { found, newest });
    }
    let expected = old.hash();
    if new.succession().previous != Some(expected) {
        return Err(SuccessionError::Previous { expected });
    }
    if new.alliance() != old.alliance() {
        return Err(SuccessionError::Alliance { expected: old.alliance() });
    }
    // what was shown as a multiple of the old step is one of the new: no public total falls
    if new.total_step().ceiling_to(old.total_step()) != Ok(new.total_step()) {
        return Err(SuccessionError::TotalStep { before: old.total_step() });
    }
    let frozen = &old.succession().frozen;
    let thawed = frozen
        .iter()
        .find(|brand| new.brand(**brand).is_some() && !new.succession().frozen.contains(brand));
    thawed.map_or(Ok(()), |brand| Err(SuccessionError::Thawed(*brand)))
}

/// All that differs. Both are of one alliance, and one follows the other: their numbers, hashes and
/// times of effect differ as they must.
fn differences(old: &Draft, new: &Draft) -> Vec<Change> {
    let Draft {
        alliance: _,
        epoch: _,
        hash: _,
        brands: _,
        rates: _,
        total_step,
        payload_size,
        return_window,
        protocol_version,
        cipher,
        auditors,
        succession,
    } = old;
    let Succession { previous: _, effective: _, notice, frozen: _, written_off: _, terms } =
        succession;
    let mut list = Vec::new();
    brands(old, new, &mut list);
    rates(old, new, &mut list);
    if *return_window != new.return_window {
        list.push(Change::ReturnWindow { before: *return_window, after: new.return_window });
    }
    if *notice != new.succession.notice {
        list.push(Change::Notice { before: *notice, after: new.succession.notice });
    }
    if *terms != new.succession.terms {
        list.push(Change::Terms);
    }
    // each is an act of its own constitution
    list.extend(new.succession.written_off.iter().copied().map(Change::WrittenOff));
    if *auditors != new.auditors {
        list.push(Change::Auditors);
    }
    if *total_step != new.total_step {
        list.push(Change::TotalStep);
    }
    if *payload_size != new.payload_size {
        list.push(Change::PayloadSize);
    }
    let (before, after) = (*protocol_version, new.protocol_version);
    if before != after {
        list.push(Change::ProtocolVersion { before, after });
    }
    let (before, after) = (*cipher, new.cipher);
    if before != after {
        list.push(Change::Cipher { before, after });
    }
    list
}

fn brands(old: &Draft, new: &Draft, list: &mut Vec<Change>) {
    let members: BTreeSet<BrandId> = old.brands.keys().chain(new.brands.keys()).copied().collect();
    for brand in members {
        match (old.brands.get(&brand), new.brands.get(&brand)) {
            (Some(before), Some(after)) => standing(brand, before, after, list),
            (Some(_), None) => list.push(Change::Leave(brand)),
            (None, _) => list.push(Change::Join(brand)),
        }
        let frozen = |of: &Draft| of.succession.frozen.contains(&brand);
        if frozen(new) && !frozen(old) {
            list.push(Change::Freeze(brand));
        }
    }
}

fn standing(brand: BrandId, before: &Brand, after: &Brand, list: &mut Vec<Change>) {
    let Brand { keys: known, point_value, pair_limit, total_limit } = before;
    keys(brand, known, &after.keys, list);
    if *point_value != after.point_value {
        list.push(Change::PointValue(brand));
    }
    let (was, is) = (*pair_limit, after.pair_limit);
    if was != is {
        list.push(Change::PairLimit { brand, before: was, after: is });
    }
    let (was, is) = (*total_limit, after.total_limit);
    if was != is {
        list.push(Change::TotalLimit { brand, before: was, after: is });
    }
}

fn keys(brand: BrandId, before: &BrandKeys, after: &BrandKeys, list: &mut Vec<Change>) {
    for ((role, before), (_, after)) in before.roles().into_iter().zip(after.roles()) {
        if before != after {
            list.push(Change::Key { brand, role });
        }
    }
}

fn rates(old: &Draft, new: &Draft, list: &mut Vec<Change>) {
    for ((from, to), before) in &old.rates {
        let (from, to, before) = (*from, *to, *before);
        let after = new.rates.get(&(from, to)).copied();
        let both_stay = new.brands.contains_key(&from) && new.brands.contains_key(&to);
        // that no rate goes to a brand that leaves is said by its leaving
        if after != Some(before) && both_stay {
            list.push(Change::Rate { from, to, before, after });
        }
    }
    for ((from, to), rate) in &new.rates {
        if !old.rates.contains_key(&(*from, *to)) {
            list.push(Change::RateAdded { from: *from, to: *to, rate: *rate });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constitution::tests::draft;
    use crate::constitution::{Access, Auditor};
    use crate::crypto::SigningKey;
    use crate::crypto::sealed::SealingSecret;
    use crate::ids::ConstitutionHash;

    fn id(text: &str) -> BrandId {
        BrandId::new(text).unwrap()
    }

    fn next(n: u8, change: impl FnOnce(&mut Draft)) -> Result<Changes, SuccessionError> {
        let old = Constitution::new(draft(4)).unwrap();
        let mut new = draft(n);
        new.epoch = Epoch::new(2);
        new.hash = ConstitutionHash::from_bytes([2; 32]);
        new.succession.previous = Some(old.hash());
        change(&mut new);
        Changes::between(&old, &Constitution::new(new).unwrap())
    }

    fn reach(change: impl FnOnce(&mut Draft)) -> Reach {
        let changes = next(4, change).unwrap();
        assert_eq!(changes.list().len(), 1, "{changes:?}");
        changes.reach()
    }

    #[test]
    fn what_touches_members_waits_for_the_notice() {
        let member = |brand: &str, change: fn(&mut Brand)| {
            let brand = id(brand);
            reach(|it| change(it.brands.get_mut(&brand).unwrap()))
        };
        let pair = (id("a"), id("b"));
        assert_eq!(reach(|it| it.rates.retain(|of, _| *of != pair)), Reach::Members);
        let rate = Rate::new(9, 10).unwrap();
        assert_eq!(reach(|it| it.rates.extend([(pair, rate)])), Reach::Members);
        assert_eq!(reach(|it| it.return_window = Milliseconds::new(1)), Reach::Members);
        assert_eq!(reach(|it| it.succession.notice = Milliseconds::new(1)), Reach::Members);
        assert_eq!(reach(|it| it.succession.terms = [1; 32]), Reach::Members);
        assert_eq!(reach(|it| it.payload_size = 200), Reach::Brands);
        assert_eq!(reach(|it| it.cipher = Cipher::Sm4Gcm), Reach::Brands);
        assert_eq!(reach(|it| it.auditors = vec![auditor()]), Reach::Members);
        assert_eq!(reach(|it| it.succession.frozen.extend([id("b")])), Reach::Urgent);
        // a debt is settled between brands, of somebody who left long ago as well
        let loss = WrittenOff { debtor: id("x"), creditor: id("a"), value: Value::new(5).unwrap() };
        assert_eq!(reach(|it| it.succession.written_off.push(loss)), Reach::Brands);
        let limit = |brand: &mut Brand| brand.pair_limit = Value::new(10_000_000).unwrap();
        assert_eq!(member("a", limit), Reach::Brands);
        let rotated =
            |brand: &mut Brand| brand.keys.log = SigningKey::from_seed(&[99; 32]).unwrap().public();
        assert_eq!(member("c", rotated), Reach::Urgent);

        let leave = next(3, |_| {}).unwrap();
        assert_eq!((leave.list(), leave.reach()), (&[Change::Leave(id("d"))][..], Reach::Members));
        let month = draft(4).succession.notice;
        let announced = Timestamp::from_unix_ms(1_000);
        assert_eq!(leave.effect(announced), announced.plus(month));
        let late = next(3, |it| it.succession.effective = Timestamp::from_unix_ms(u64::MAX));
        assert_eq!(late.unwrap().effect(announced), Timestamp::from_unix_ms(u64::MAX));
        let join = next(5, |_| {}).unwrap();
        assert_eq!((join.reach(), join.effect(announced)), (Reach::Brands, announced));
    }

    fn auditor() -> Auditor {
        let name = "regulator".to_owned();
        let sealing = SealingSecret::derive(&[200; 32]).1;
        Auditor { name, access: Access::Standing, sealing, later: Vec::new() }
    }

    /// Nothing travels with an emergency: whatever else a constitution changes with a key or a freeze
    /// is told as if it came alone.
    #[test]
    fn an_emergency_is_keys_and_freezes_and_nothing_beside() {
        let (a, b) = (id("a"), id("b"));
        let urgent = |it: &mut Draft| {
            it.succession.frozen.extend([b]);
            for (place, brand) in it.brands.values_mut().enumerate() {
                let seed = |role: u8| [role, place as u8].repeat(16).try_into().unwrap();
                let key = |role| SigningKey::from_seed(&seed(role)).unwrap().public();
                let sealing = |role| SealingSecret::derive(&seed(role)).1;
                brand.keys = BrandKeys {
                    log: key(100),
                    vote: key(101),
                    checkpoint: key(102),
                    witness: key(103),
                    governance: key(104),
                    network: key(105),
                    sealing: sealing(106),
                    recovery: sealing(107),
                };
            }
        };
        let alone = next(4, urgent).unwrap();
        assert_eq!((alone.list().len(), alone.reach()), (4 * 8 + 1, Reach::Urgent));
        let rate = Rate::new(9, 10).unwrap();
        let value = |number| Value::new(number).unwrap();
        type Edit<'a> = Box<dyn Fn(&mut Draft) + 'a>;
        let brand = |edit: fn(&mut Brand, Rate)| -> Edit<'_> {
            Box::new(move |it| edit(it.brands.get_mut(&a).unwrap(), rate))
        };
        let members: [Edit<'_>; 7] = [
            Box::new(|it| it.rates.extend([((a, b), rate)])),
            Box::new(|it| it.rates.retain(|pair, _| *pair != (a, b))),
            Box::new(|it| it.return_window = Milliseconds::new(1)),
            Box::new(|it| it.succession.notice = Milliseconds::new(1)),
            Box::new(|it| it.succession.terms = [1; 32]),
            Box::new(|it| it.auditors = vec![auditor()]),
            Box::new(|it| {
                let gone = id("d");
                it.brands.remove(&gone);
                it.rates.retain(|(from, to), _| *from != gone && *to != gone);
            }),
        ];
        let brands: [Edit<'_>; 6] = [
            brand(|it, rate| it.point_value = rate),
            brand(|it, _| it.pair_limit = Value::new(990_000_000).unwrap()),
            brand(|it, _| it.total_limit = Value::new(990_000_000).unwrap()),
            Box::new(|it| it.total_step = value(20_000_000)),
            Box::new(|it| it.payload_size = 200),
            Box::new(|it| it.cipher = Cipher::Sm4Gcm),
        ];
        let announced = Timestamp::from_unix_ms(1_000);
        let month = draft(4).succession.notice;
        for (edits, reach, notice) in [
            (&members[..], Reach::Members, month),
            (&brands[..], Reach::Brands, Milliseconds::new(0)),
        ] {
            for (place, edit) in edits.iter().enumerate() {
                let both = next(4, |it| {
                    urgent(it);
                    edit(it);
                });
                let both = both.unwrap();
                assert_eq!(both.reach(), reach, "{reach:?} {place}");
                assert_eq!(both.effect(announced), announced.plus(notice), "{reach:?} {place}");
            }
        }
    }

    #[test]
    fn what_may_not_follow_is_refused() {
        // of four brands one may leave at once
        let removed = SuccessionError::Removed { found: 2, most: 1 };
        assert_eq!(next(2, |_| {}), Err(removed));
        let before = draft(4).total_step;
        let halved = next(4, |it| it.total_step = Value::new(5_000_000).unwrap());
        assert_eq!(halved, Err(SuccessionError::TotalStep { before }));
        let doubled = next(4, |it| it.total_step = Value::new(20_000_000).unwrap());
        assert_eq!(doubled.unwrap().list(), [Change::TotalStep]);
        let other = next(4, |it| it.alliance = id("other"));
        assert_eq!(other, Err(SuccessionError::Alliance { expected: id("test") }));
        let expected = draft(4).hash;
        let orphan = next(4, |it| it.succession.previous = None);
        assert_eq!(orphan, Err(SuccessionError::Previous { expected }));
    }
}
