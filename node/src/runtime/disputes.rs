//! Disputes: what this node's own checks found in a certified block, what others have put on record, what
//! was offered to end them, and which have ended.
//!
//! What is found is entered in the own log once, with the evidence that lets everyone check it. From the
//! block on nothing of that log is credited until both sides have entered the same resolution. Knows what
//! is on record; what it means for points is the ledger's and the book's.
//!
//! Between two brands one dispute of a log is open at a time, and of those that have ended the last few are
//! kept: whatever a brand writes, what is kept for it is a few entries a pair.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};
use protocol::ids::{BrandId, Height};
use protocol::log::dispute::DisputeOpened;
use protocol::log::resolution::DisputeResolved;

use crate::service::{Bilingual, DisputeView};

/// Most disputes that are kept of a pair, the one that is open counted.
const KEPT_MAX: usize = 4;
/// Most disputes that are told to the operator, those first that are this brand's.
const ALERTS_MAX: usize = 8;

/// Accuser, accused, and the first block in dispute.
type Key = (BrandId, BrandId, Height);

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(array)]
pub struct Disputes {
    #[n(0)]
    found: BTreeMap<(BrandId, Height), DisputeOpened>,
    // rule numbers
    #[n(1)]
    certified: BTreeMap<Key, u16>,
    // what the accused last entered in its log
    #[n(2)]
    offered: BTreeMap<Key, DisputeResolved>,
    #[n(3)]
    resolved: BTreeSet<Key>,
}

impl Disputes {
    /// This node's own checks have found a final block wanting.
    pub fn found(&mut self, dispute: &DisputeOpened) {
        self.found.insert((dispute.log, dispute.height), dispute.clone());
    }

    /// A certified entry about a block there is. Another of the pair counts when the first has ended.
    pub fn certified(&mut self, accuser: BrandId, dispute: &DisputeOpened) {
        let log = dispute.log;
        if self.open_by(accuser, log).is_some() {
            return;
        }
        self.certified.entry((accuser, log, dispute.height)).or_insert(dispute.rule);
        while self.of_pair(accuser, log).count() > KEPT_MAX {
            let oldest = self.of_pair(accuser, log).find(|it| self.resolved.contains(it));
            let Some(oldest) = oldest else { break };
            self.certified.remove(&oldest);
            self.offered.remove(&oldest);
            self.resolved.remove(&oldest);
        }
    }

    /// A certified resolution, in the log of one of its sides, of a dispute that is on record.
    pub fn resolution(&mut self, log: BrandId, it: &DisputeResolved) {
        let key = (it.accuser, it.accused, it.began);
        if !self.certified.contains_key(&key) || self.resolved.contains(&key) {
            return;
        }
        if log == it.accused {
            self.offered.insert(key, it.clone());
        } else if log == it.accuser {
            self.resolved.insert(key);
            self.found.remove(&(it.accused, it.began));
        }
    }

    /// Those of a pair, in the order of their blocks.
    fn of_pair(&self, accuser: BrandId, log: BrandId) -> impl Iterator<Item = Key> {
        let first = (accuser, log, Height::new(0));
        let last = (accuser, log, Height::new(u64::MAX));
        self.certified.range(first..=last).map(|(key, _)| *key)
    }

    /// All of it in parts, one a pair: [`Self::take_up`] puts them together again.
    pub fn parts(&self) -> impl Iterator<Item = Self> {
        let pairs: BTreeSet<_> = self.certified.keys().map(|(by, log, _)| (*by, *log)).collect();
        let found =
            (!self.found.is_empty()).then(|| Self { found: self.found.clone(), ..Self::default() });
        let of_pair = move |(accuser, log)| {
            let mut part = Self::default();
            for key in self.of_pair(accuser, log) {
                part.certified.extend(self.certified.get(&key).map(|rule| (key, *rule)));
                part.offered.extend(self.offered.get(&key).map(|offer| (key, offer.clone())));
                part.resolved.extend(self.resolved.get(&key).copied());
            }
            part
        };
        found.into_iter().chain(pairs.into_iter().map(of_pair))
    }

    /// Takes up a part from a snapshot.
    pub fn take_up(&mut self, part: Self) {
        self.found.extend(part.found);
        self.certified.extend(part.certified);
        self.offered.extend(part.offered);
        self.resolved.extend(part.resolved);
    }

    /// Whether a brand has put on record that it disputes a log, and it is not resolved.
    #[must_use]
    pub fn is_disputed_by(&self, accuser: BrandId, log: BrandId) -> bool {
        self.open_by(accuser, log).is_some()
    }

    /// The dispute of a log that a brand has put on record and that is not resolved.
    #[must_use]
    pub fn open_by(&self, accuser: BrandId, log: BrandId) -> Option<Height> {
        let mut known = self.of_pair(accuser, log);
        known.find(|key| !self.resolved.contains(key)).map(|(.., height)| height)
    }

    /// What was found and is not certified in the own log, of logs of which nothing is in dispute there.
    pub fn due(&self, me: BrandId) -> impl Iterator<Item = &DisputeOpened> {
        let new = move |(log, height): &(BrandId, Height)| {
            self.open_by(me, *log).is_none() && !self.certified.contains_key(&(me, *log, *height))
        };
        self.found.iter().filter(move |(key, _)| new(key)).map(|(_, dispute)| dispute)
    }

    /// All that are on record, as people see them at this brand.
    #[must_use]
    pub fn views(&self, me: BrandId) -> Vec<DisputeView> {
        self.certified.iter().map(|(key, rule)| self.view(me, key, *rule)).collect()
    }

    fn view(&self, me: BrandId, key: &Key, rule: u16) -> DisputeView {
        let (accuser, accused, began) = *key;
        let offer = self.offered.get(key);
        let state = match (self.resolved.contains(key), offer) {
            (true, _) => "resolved",
            (false, Some(_)) => "offered",
            (false, None) => "open",
        };
        DisputeView {
            accuser: accuser.to_string(),
            accused: accused.to_string(),
            began: began.get(),
            rule,
            state: state.to_owned(),
            last: offer.map(|it| it.last.get()),
            leaves_counted: offer.map(DisputeResolved::leaves),
            counted_micro_fen: offer.map(|it| it.counted.get()),
            void_micro_fen: offer.map(|it| it.void.get()),
            next: next_step(state, me, (accuser, accused)),
        }
    }

    /// What an operator has to look at: this brand's first, and of many the first few.
    #[must_use]
    pub fn alerts(&self, me: BrandId) -> Vec<String> {
        let is_own = |(by, log, _): &Key| *by == me || *log == me;
        let open = || self.certified.iter().filter(|(key, _)| !self.resolved.contains(*key));
        let first = open().filter(|(key, _)| is_own(key));
        let first = first.chain(open().filter(|(key, _)| !is_own(key))).take(ALERTS_MAX);
        let words = first.map(|(key, rule)| {
            let view = self.view(me, key, *rule);
            let DisputeView { accuser, accused, began, rule, next, .. } = view;
            format!(
                "{accuser} disputes block {began} of {accused} by rule {rule}, on record: {} / {accuser} \
                 对 {accused} 的区块 {began} 提出争议（规则 {rule}），已入日志：{}",
                next.en, next.zh
            )
        });
        let mut words: Vec<String> = words.collect();
        let more = open().count().saturating_sub(words.len());
        if more > 0 {
            words.push(format!(
                "{more} more disputes are on record: `coalition dispute list` / \
                 另有 {more} 项争议在案：请执行 coalition dispute list"
            ));
        }
        words
    }
}

/// What the operator of this brand can do next.
fn next_step(state: &str, me: BrandId, (accuser, accused): (BrandId, BrandId)) -> Bilingual {
    let (en, zh) = match state {
        "resolved" => {
            ("both sides have entered the same terms".to_owned(), "双方已登记相同的条款".to_owned())
        }
        _ if me == accused && state == "open" => (
            format!(
                "agree on terms with {accuser}, then `coalition dispute propose --with {accuser}`"
            ),
            format!("与 {accuser} 商定条款后执行 coalition dispute propose --with {accuser}"),
        ),
        _ if me == accused => (
            format!("{accuser} has to agree to what was proposed"),
            format!("等待 {accuser} 同意已提出的条款"),
        ),
        "offered" if me == accuser => (
            format!("compare the terms, then `coalition dispute agree --with {accused}`"),
            format!("核对条款后执行 coalition dispute agree --with {accused}"),
        ),
        _ if me == accuser => (
            format!("{accused} has to propose terms: ask its operator"),
            format!("需由 {accused} 提出条款：请联系其运营方"),
        ),
        _ => (
            "it is between these two: nothing is to be done here".to_owned(),
            "属双方之间的争议，本品牌无需处理".to_owned(),
        ),
    };
    Bilingual { zh, en }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::amount::Value;
    use protocol::ids::{HeaderHash, LeafIndex};
    use protocol::log::block::ColumnContent;

    fn brand(id: &str) -> BrandId {
        BrandId::new(id).unwrap()
    }

    fn of(log: &str, height: u64) -> DisputeOpened {
        DisputeOpened {
            log: brand(log),
            height: Height::new(height),
            block: HeaderHash::GENESIS,
            first: LeafIndex::new(0),
            count: 0,
            rule: 20,
            evidence: None,
        }
    }

    fn resolution(height: u64) -> DisputeResolved {
        DisputeResolved {
            accused: brand("b"),
            accuser: brand("a"),
            began: Height::new(height),
            last: Height::new(height),
            block: HeaderHash::GENESIS,
            before: ColumnContent::nothing(),
            salt: [0; 32],
            stands: Vec::new(),
            counted: Value::ZERO,
            void: Value::new(9).unwrap(),
            entries: 1,
        }
    }

    #[test]
    fn a_dispute_is_entered_once_and_is_of_one_log_by_one_brand() {
        let mut disputes = Disputes::default();
        disputes.found(&of("b", 3));
        assert_eq!(disputes.due(brand("a")).count(), 1);
        // another brand's entry about the same block is not this one's
        disputes.certified(brand("c"), &of("b", 3));
        assert_eq!(disputes.due(brand("a")).count(), 1);
        disputes.certified(brand("a"), &of("b", 3));
        assert_eq!(disputes.due(brand("a")).count(), 0);
        let by = |accuser, log| disputes.is_disputed_by(brand(accuser), brand(log));
        assert!(by("a", "b") && by("c", "b"));
        assert!(!by("b", "a") && !by("a", "c"));
        assert_eq!(disputes.alerts(brand("a")).len(), 2);
    }

    #[test]
    fn a_dispute_ends_when_its_accuser_enters_what_was_offered() {
        let mut disputes = Disputes::default();
        disputes.certified(brand("a"), &of("b", 3));
        let state = |disputes: &Disputes| disputes.views(brand("a"))[0].state.clone();
        assert_eq!(state(&disputes), "open");
        disputes.resolution(brand("b"), &resolution(3));
        assert_eq!(state(&disputes), "offered");
        assert!(disputes.is_disputed_by(brand("a"), brand("b")));
        assert!(disputes.views(brand("a"))[0].next.en.contains("agree --with b"));
        // one about another dispute ends none
        disputes.resolution(brand("a"), &resolution(4));
        assert!(disputes.is_disputed_by(brand("a"), brand("b")));
        disputes.resolution(brand("a"), &resolution(3));
        assert_eq!(state(&disputes), "resolved");
        assert!(!disputes.is_disputed_by(brand("a"), brand("b")));
        assert!(disputes.alerts(brand("a")).is_empty());
        // a later one is another
        disputes.certified(brand("a"), &of("b", 8));
        assert_eq!(disputes.open_by(brand("a"), brand("b")), Some(Height::new(8)));
    }

    /// What is found while a dispute is open waits until it has ended, and is entered once.
    #[test]
    fn what_is_found_again_waits_for_the_end_of_the_first() {
        let mut disputes = Disputes::default();
        disputes.found(&of("b", 3));
        disputes.certified(brand("a"), &of("b", 3));
        disputes.found(&of("b", 8));
        assert_eq!(disputes.due(brand("a")).count(), 0);
        disputes.resolution(brand("a"), &resolution(3));
        let due: Vec<_> = disputes.due(brand("a")).map(|it| it.height.get()).collect();
        assert_eq!(due, [8]);
        disputes.certified(brand("a"), &of("b", 8));
        assert_eq!(disputes.due(brand("a")).count(), 0);
    }

    /// One brand writes as many entries as it likes: what is kept and told stays small, and what others
    /// have on record stays.
    #[test]
    fn junk_takes_no_room_and_hides_nothing() {
        let mut disputes = Disputes::default();
        disputes.certified(brand("a"), &of("b", 3));
        disputes.certified(brand("c"), &of("a", 2));
        for height in 1..=60_000 {
            disputes.certified(brand("c"), &of("b", height));
            disputes.resolution(brand("b"), &resolution(height));
        }
        assert_eq!(disputes.certified.len(), 3);
        assert_eq!(disputes.offered.len(), 1, "a's own, whom b offers what it likes");
        // ended ones make room for those after them
        for height in 10..100 {
            disputes.certified(brand("a"), &of("b", height));
            let open = disputes.open_by(brand("a"), brand("b")).unwrap();
            disputes.resolution(brand("a"), &resolution(open.get()));
        }
        assert!(disputes.certified.len() <= 2 + KEPT_MAX);
        // twenty brands at odds with each other
        for number in 0..400 {
            let side = |number: usize| brand(&format!("z{number}"));
            let log = format!("z{}", number % 20);
            if number / 20 != number % 20 {
                disputes.certified(side(number / 20), &of(&log, 5));
            }
        }
        let alerts = disputes.alerts(brand("a"));
        assert_eq!(alerts.len(), ALERTS_MAX + 1);
        assert!(alerts[0].starts_with("c disputes block 2 of a"), "{}", alerts[0]);
        assert!(alerts[ALERTS_MAX].contains("more disputes"), "{}", alerts[ALERTS_MAX]);
        // and it is put together again from its parts
        let mut again = Disputes::default();
        disputes.parts().for_each(|part| again.take_up(part));
        assert_eq!(again, disputes);
    }
}
