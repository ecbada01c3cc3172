//! How many public entries of each kind a block may have, and which of them say something a second time.
//!
//! Everyone reads public entries, and every node keeps what some of them say: a writer who may put as many of them
//! into a block as it has leaves has all others work for it. This is the one place where it is said: witnesses and
//! the audit judge blocks by it, and a writer fills its blocks by it, so that what is too much for one block waits
//! for the next.
//!
//! Which kinds there are is the form of an entry ([`PublicEntry`], `exchange::Payload`): what only its parties may
//! read, links, exchanges, returns, has no public form, and what is public no sealed one; a leaf of the other form
//! at a place is [`Violation::PublicLeaves`]. Statements on constitutions, resolutions and closings out are limited by the
//! rules that judge them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::guards::Guards;
use super::Violation;
use crate::constitution::Constitution;
use crate::ids::{BrandId, LeafIndex};
use crate::log::block::{APPLICATION_MAX, PublicEntry};
use crate::time::Timestamp;

/// Most public entries of a block. A writer takes fewer of those that wait (see `writer::submissions`), to which a
/// constitution that is due adds what takes it up.
pub const PUBLIC_ENTRIES_MAX: usize = 512;
/// Most closings of a block, and most heads of the operation log: one of each counts, and of a log that stood still for
/// a while several may have been said at once.
pub const ONE_OF_MAX: usize = 16;
/// Most clearing statements of a block, each for another cut-off: a brand has one a cut-off to make.
pub const STATEMENTS_MAX: usize = 64;
/// Most payments that a block states as payer, and most that it confirms as payee: more than a statement asks of one
/// brand in the largest alliance.
pub const PAYMENTS_MAX: usize = 64;
/// Most disclosures of a block.
pub const DISCLOSURES_MAX: usize = 32;

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Closing,
    Statement,
    Evidence,
    Settled,
    Confirmed,
    Dispute,
    Disclosure,
    OperationLogHead,
    /// Entries of applications, certificates, and what rules of their own limit.
    Other,
}

impl Kind {
    const fn of(entry: &PublicEntry) -> Self {
        match entry {
            PublicEntry::Closing(_) => Self::Closing,
            PublicEntry::Statement(_) => Self::Statement,
            PublicEntry::Evidence(_) => Self::Evidence,
            PublicEntry::Settled(_) => Self::Settled,
            PublicEntry::SettlementConfirmed(_) => Self::Confirmed,
            PublicEntry::DisputeOpened(_) => Self::Dispute,
            PublicEntry::Disclosure(_) => Self::Disclosure,
            PublicEntry::OperationLogHead(_) => Self::OperationLogHead,
            PublicEntry::Application(_)
            | PublicEntry::Answered(_)
            | PublicEntry::DisputeResolved(_)
            | PublicEntry::ClosedOut(_)
            | PublicEntry::Adopted(_)
            | PublicEntry::Declined(_)
            | PublicEntry::Ballot(_)
            | PublicEntry::Switch(_) => Self::Other,
        }
    }

    /// How many a block may have in an alliance of so many brands, and what is said of more.
    const fn most(self, brands: usize) -> (usize, &'static str) {
        match self {
            Self::Closing => (ONE_OF_MAX, "a block has at most 16 closings"),
            Self::Statement => (STATEMENTS_MAX, "a block has at most 64 clearing statements"),
            Self::Evidence => (brands, "a block has no more evidence than there are brands"),
            Self::Settled => (PAYMENTS_MAX, "a block states at most 64 payments"),
            Self::Confirmed => (PAYMENTS_MAX, "a block confirms at most 64 payments"),
            Self::Dispute => (brands, "a block opens no more disputes than there are brands"),
            Self::Disclosure => (DISCLOSURES_MAX, "a block has at most 32 disclosures"),
            Self::OperationLogHead => {
                (ONE_OF_MAX, "a block has at most 16 heads of the operation log")
            }
            Self::Other => (PUBLIC_ENTRIES_MAX, "a block has at most 512 public entries"),
        }
    }
}

/// What a block says once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    /// A statement for a cut-off.
    Statement(Timestamp),
    /// Of a cut-off, that one brand paid another.
    Settled(Timestamp, BrandId, BrandId),
    /// The same as payee.
    Confirmed(Timestamp, BrandId, BrandId),
    /// That a log is disputed.
    Dispute(BrandId),
}

impl Said {
    fn of(entry: &PublicEntry) -> Option<Self> {
        match entry {
            PublicEntry::Statement(it) => Some(Self::Statement(it.cut_off)),
            PublicEntry::Settled(it) => Some(Self::Settled(it.cut_off, it.payer, it.payee)),
            PublicEntry::SettlementConfirmed(it) => {
                Some(Self::Confirmed(it.cut_off, it.payer, it.payee))
            }
            PublicEntry::DisputeOpened(it) => Some(Self::Dispute(it.log)),
            _ => None,
        }
    }
}

/// Public entries of one block, counted one after another.
#[derive(Clone, Debug)]
pub struct Kinds {
    brands: usize,
    all: usize,
    counts: BTreeMap<Kind, usize>,
    said: BTreeSet<Said>,
}

impl Kinds {
    /// Of a block under a constitution, before its first entry.
    #[must_use]
    pub fn new(constitution: &Constitution) -> Self {
        let brands = constitution.committee().size();
        Self { brands, all: 0, counts: BTreeMap::new(), said: BTreeSet::new() }
    }

    /// Counts an entry, if the block may have it after those before it.
    ///
    /// # Errors
    /// Why it may not; then it is not counted.
    pub fn admit(&mut self, entry: &PublicEntry) -> Result<(), &'static str> {
        if let PublicEntry::Application(application) = entry
            && application.body.len() > APPLICATION_MAX
        {
            return Err("an application's entry is larger than 16 KiB");
        }
        let kind = Kind::of(entry);
        let count = self.counts.get(&kind).copied().unwrap_or(0);
        let (most, why) = kind.most(self.brands);
        if count >= most {
            return Err(why);
        }
        if self.all >= PUBLIC_ENTRIES_MAX {
            return Err("a block has at most 512 public entries");
        }
        if let Some(said) = Said::of(entry)
            && !self.said.insert(said)
        {
            return Err("the block says it a second time");
        }
        self.counts.insert(kind, count.saturating_add(1));
        self.all = self.all.saturating_add(1);
        Ok(())
    }
}

/// That the block has no more public entries of a kind than it may.
///
/// # Errors
/// [`Violation::Kinds`], with the first entry that is too much.
pub fn check_kinds<G: Guards>(
    constitution: &Constitution,
    public: &[(LeafIndex, PublicEntry)],
) -> Result<(), Violation> {
    let mut kinds = Kinds::new(constitution);
    for (index, entry) in public {
        if let Err(why) = kinds.admit(entry) {
            G::found(Violation::Kinds { index: *index, why })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amount::Value;
    use crate::constitution::tests::draft;
    use crate::exchange::{Link, Payload, Return, ReturnReason, Unlink};
    use crate::ids::{HeaderHash, Height, MemberHandle, StatementHash};
    use crate::log::block::{ApplicationEntry, Closing, Entry, StatementEntry};
    use crate::log::dispute::DisputeOpened;
    use crate::log::kept::{Answered, OperationLogHead};
    use crate::log::settlement::{Payment, PaymentReference};
    use crate::witness::guards::Upheld;
    use proptest::prelude::*;

    const BRANDS: u8 = 4;

    fn constitution() -> Constitution {
        Constitution::new(draft(BRANDS)).unwrap()
    }

    fn brand(number: u8) -> BrandId {
        BrandId::new(&char::from(b'a' + number % BRANDS).to_string()).unwrap()
    }

    fn payment(number: u8) -> Payment {
        Payment {
            cut_off: Timestamp::from_unix_ms(u64::from(number / BRANDS)),
            statement: StatementHash::from_bytes([1; 32]),
            payer: brand(number),
            payee: brand(number.wrapping_add(1)),
            value: Value::new(1_000_000).unwrap(),
            reference: PaymentReference::new("HVPS-1").unwrap(),
        }
    }

    /// An entry of one of eight kinds.
    fn entry(kind: u8, number: u8) -> PublicEntry {
        let cut_off = Timestamp::from_unix_ms(u64::from(number));
        match kind {
            0 => {
                let (height, block) = (Height::new(0), HeaderHash::GENESIS);
                let (columns, closed_out) = (Vec::new(), None);
                PublicEntry::Closing(Closing { cut_off, height, block, columns, closed_out })
            }
            1 => {
                let statement = StatementHash::from_bytes([1; 32]);
                PublicEntry::Statement(StatementEntry { cut_off, statement })
            }
            2 => {
                let body = vec![number; APPLICATION_MAX + usize::from(number) % 2];
                PublicEntry::Application(ApplicationEntry { application: 1, body })
            }
            3 => PublicEntry::Settled(payment(number)),
            4 => PublicEntry::SettlementConfirmed(payment(number)),
            5 => PublicEntry::DisputeOpened(Box::new(DisputeOpened {
                log: brand(number),
                height: Height::new(u64::from(number)),
                block: HeaderHash::GENESIS,
                first: LeafIndex::new(0),
                count: 0,
                rule: 18,
                evidence: None,
            })),
            6 => {
                let entries = u64::from(number);
                PublicEntry::OperationLogHead(OperationLogHead { entries, head: [number; 32] })
            }
            _ => PublicEntry::Answered(Answered { certificate: [number; 32] }),
        }
    }

    fn judged(constitution: &Constitution, entries: &[PublicEntry]) -> Result<(), Violation> {
        let public: Vec<(LeafIndex, PublicEntry)> =
            (0..).map(LeafIndex::new).zip(entries.iter().cloned()).collect();
        check_kinds::<Upheld>(constitution, &public)
    }

    proptest! {
        /// What a writer takes by this count is never refused by it, and what it leaves would be.
        #[test]
        fn a_block_of_what_was_admitted_stands_and_one_entry_more_does_not(
            which in prop::collection::vec((0_u8..8, any::<u8>()), 0..200),
        ) {
            let constitution = constitution();
            let mut kinds = Kinds::new(&constitution);
            let all = which.into_iter().map(|(kind, number)| entry(kind, number));
            let (taken, left): (Vec<_>, Vec<_>) =
                all.partition(|entry| kinds.admit(entry).is_ok());
            prop_assert_eq!(judged(&constitution, &taken), Ok(()));
            let last = LeafIndex::new(taken.len() as u64);
            // few of them: each is judged with the whole block
            for entry in left.into_iter().take(8) {
                let more: Vec<PublicEntry> = taken.iter().cloned().chain([entry]).collect();
                let refused = judged(&constitution, &more);
                prop_assert!(
                    matches!(refused, Err(Violation::Kinds { index, .. }) if index == last),
                    "{:?}", refused
                );
            }
        }
    }

    #[test]
    fn each_kind_has_its_number_and_is_said_once() {
        let constitution = constitution();
        let most = |kind: u8, number: &dyn Fn(u16) -> u8| {
            let mut kinds = Kinds::new(&constitution);
            let all = (0..600_u16).filter(|it| kinds.admit(&entry(kind, number(*it))).is_ok());
            all.count()
        };
        let each = |it: u16| u8::try_from(it % 256).unwrap();
        assert_eq!(most(0, &each), ONE_OF_MAX);
        assert_eq!(most(1, &each), STATEMENTS_MAX);
        assert_eq!(most(1, &|_| 7), 1);
        // of every other one the body is too long
        assert_eq!(most(2, &each), 300);
        assert_eq!(most(2, &|_| 1), 0);
        assert_eq!((most(3, &each), most(4, &each)), (PAYMENTS_MAX, PAYMENTS_MAX));
        assert_eq!((most(3, &|_| 7), most(4, &|_| 7)), (1, 1));
        // one a log, and there are four
        assert_eq!(most(5, &each), usize::from(BRANDS));
        assert_eq!(most(6, &each), ONE_OF_MAX);
        assert_eq!(most(7, &each), PUBLIC_ENTRIES_MAX);
    }

    /// What only its parties may read cannot be written as a public entry.
    #[test]
    fn what_is_to_be_sealed_has_no_public_form() {
        let handle = MemberHandle::from_bytes([7; 16]);
        let link = Payload::Link(Link { code: "X7K2".to_owned(), handle });
        let back = Return::whole(LeafIndex::new(1), ReturnReason::NotLinked, &link).unwrap();
        for payload in [link, Payload::Return(back), Payload::Unlink(Unlink { handle })] {
            // a choice of two elements, number 1, and what it is in one element
            let leaf = [&[0x82, 0x01, 0x81][..], &payload.to_bytes()].concat();
            assert!(Entry::from_bytes(&leaf).is_err(), "{payload:?}");
        }
        // the form by itself is right
        let public = crate::codec::encode(&entry(6, 1));
        let leaf = [&[0x82, 0x01, 0x81][..], &public].concat();
        assert_eq!(Entry::from_bytes(&leaf), Ok(Entry::Public(entry(6, 1))));
    }
}
