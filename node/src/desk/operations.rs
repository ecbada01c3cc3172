//! The operation log: who did what with members' data, when, and what it was before and after, masked.
//!
//! Entries are chained by hash as `protocol/spec/block.md` says, and the head goes into the brand's own
//! certified log, so that whoever gets the entries can tell whether one was changed, left out or put
//! in after the fact. At rest they are sealed under a key of the brand's. Holds no value in clear: who
//! writes an entry masks it first.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use minicbor::{Decode, Encode};
use protocol::codec;
use protocol::time::Timestamp;
use ring::digest::{Context, SHA256, digest};

use super::DeskError;
use crate::store::{Keyspace, Store, Write};
use crate::vault::{DataKey, MemberId, Random};

const OPERATIONS: Keyspace = "operation";
/// Longest text of an entry, in bytes; what is longer is cut.
const TEXT_MAX: usize = 512;
const STORED_MAX: usize = crate::store::VALUE_MAX;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Deed {
    /// Members were read.
    #[n(0)]
    Read,
    /// A member's data was exported.
    #[n(1)]
    Export,
    /// A member's data was corrected.
    #[n(2)]
    Correct,
    /// A consent was entered.
    #[n(3)]
    Consent,
    /// A request was entered or answered.
    #[n(4)]
    Request,
    /// A member was erased.
    #[n(5)]
    Erase,
    /// A legal hold was put on or lifted.
    #[n(6)]
    Hold,
    /// Members were merged, parted or reviewed.
    #[n(7)]
    Merge,
    /// A link to another brand was asked for or coded.
    #[n(8)]
    Link,
    /// Points of a member were moved.
    #[n(9)]
    Exchange,
    /// A session of a member was begun.
    #[n(10)]
    Session,
    /// A record of assessments or breaches was kept.
    #[n(11)]
    Record,
    /// Keys of the vault were rotated.
    #[n(12)]
    Keys,
    /// Something unusual was found in this log.
    #[n(13)]
    Alert,
    /// What looked like fraud was reviewed: accounts go on, or are stopped.
    #[n(14)]
    Review,
    /// A draft of the next constitution was signed, adopted or declined.
    #[n(15)]
    Constitution,
    /// Something was done in the points programme: a correction, a coupon, an action for a member, rules, stock, a
    /// campaign.
    #[n(16)]
    Programme,
    /// Members or purchases came in: an import, a batch, a purchase at the counter, somebody seen for the first time.
    #[n(17)]
    Intake,
    /// A member was enrolled.
    #[n(18)]
    Enrol,
    /// Who may sign in was changed: a user, its roles or a way in.
    #[n(19)]
    User,
}

impl Deed {
    /// Every deed.
    pub const ALL: [Self; 20] = [
        Self::Read,
        Self::Export,
        Self::Correct,
        Self::Consent,
        Self::Request,
        Self::Erase,
        Self::Hold,
        Self::Merge,
        Self::Link,
        Self::Exchange,
        Self::Session,
        Self::Record,
        Self::Keys,
        Self::Alert,
        Self::Review,
        Self::Constitution,
        Self::Programme,
        Self::Intake,
        Self::Enrol,
        Self::User,
    ];

    /// Its name in answers and files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Export => "export",
            Self::Correct => "correct",
            Self::Consent => "consent",
            Self::Request => "request",
            Self::Erase => "erase",
            Self::Hold => "hold",
            Self::Merge => "merge",
            Self::Link => "link",
            Self::Exchange => "exchange",
            Self::Session => "session",
            Self::Record => "record",
            Self::Keys => "keys",
            Self::Alert => "alert",
            Self::Review => "review",
            Self::Constitution => "constitution",
            Self::Programme => "programme",
            Self::Intake => "intake",
            Self::Enrol => "enrol",
            Self::User => "user",
        }
    }

    /// The deed of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|deed| deed.name() == name)
    }
}

/// One entry of the operation log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Operation {
    /// Its number, from 1.
    #[n(0)]
    pub number: u64,
    /// When.
    #[n(1)]
    pub at: Timestamp,
    /// Who: a user of the node, `member` for the member's own session, `coalition` for the node.
    #[n(2)]
    pub by: String,
    /// What.
    #[n(3)]
    pub deed: Deed,
    /// Whose data, as this node numbers members; nobody outside can tell who that is.
    #[n(4)]
    pub member: Option<MemberId>,
    /// How many members it was about.
    #[n(5)]
    pub members: u32,
    /// What exactly, in words that hold no value in clear.
    #[n(6)]
    pub what: String,
    /// What it was before, masked.
    #[n(7)]
    pub before: Option<String>,
    /// What it is now, masked.
    #[n(8)]
    pub after: Option<String>,
}

/// An entry that is to be written.
#[derive(Clone, Debug)]
pub struct Note {
    by: String,
    deed: Deed,
    member: Option<MemberId>,
    members: u32,
    what: String,
    before: Option<String>,
    after: Option<String>,
}

impl Note {
    /// That somebody did something.
    #[must_use]
    pub fn new(by: &str, deed: Deed, what: impl Into<String>) -> Self {
        let (by, what) = (by.to_owned(), what.into());
        Self { by, deed, member: None, members: 0, what, before: None, after: None }
    }
    /// To whom.
    #[must_use]
    pub const fn about(mut self, member: MemberId) -> Self {
        self.member = Some(member);
        self.members = 1;
        self
    }
    /// To how many.
    #[must_use]
    pub const fn about_many(mut self, members: u32) -> Self {
        self.members = members;
        self
    }
    /// What it was and is, masked.
    #[must_use]
    pub fn changed(mut self, before: Option<String>, after: Option<String>) -> Self {
        self.before = before;
        self.after = after;
        self
    }
}

/// How far the log has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// How many entries.
    pub entries: u64,
    /// Hash of the last, 32 zeros when there is none.
    pub hash: [u8; 32],
}

impl Head {
    /// The head after one more entry: `protocol/spec/block.md`, "What a brand keeps".
    #[must_use]
    pub fn after(self, operation: &Operation) -> Self {
        let entry = digest(&SHA256, &codec::encode(operation));
        let mut context = Context::new(&SHA256);
        context.update(b"coalition operation v0\0");
        context.update(&self.hash);
        context.update(entry.as_ref());
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        Self { entries: operation.number, hash }
    }
}

/// The operation log of one brand.
pub struct OperationLog {
    store: Arc<dyn Store>,
    key: DataKey,
    random: Random,
    head: Mutex<Head>,
    // entries of those who wait for the head
    waiting: Mutex<Vec<Waiting>>,
}

/// An entry that somebody waits for; what has become of it once it is on the disk.
#[derive(Clone)]
struct Waiting {
    note: Note,
    at: Timestamp,
    written: Arc<OnceLock<Operation>>,
}

impl std::fmt::Debug for OperationLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OperationLog").finish_non_exhaustive()
    }
}

impl OperationLog {
    /// Opens the log of a store; reads it once, from its beginning.
    ///
    /// # Errors
    /// When the store fails, or an entry cannot be opened.
    pub fn open(store: Arc<dyn Store>, key: DataKey, random: Random) -> Result<Self, DeskError> {
        let log = Self { store, key, random, head: Mutex::default(), waiting: Mutex::default() };
        let mut head = Head::default();
        loop {
            let page = log.read(head.entries, 1_024)?;
            if page.is_empty() {
                break;
            }
            for operation in &page {
                if operation.number != head.entries + 1 {
                    return Err(DeskError::Damaged("operation log"));
                }
                head = head.after(operation);
            }
        }
        *log.lock() = head;
        Ok(log)
    }

    /// Writes an entry; it is on the disk when this returns. Whoever has the head writes for all who wait for
    /// it, in one transaction: a disk syncs some hundred times a second, and tills ask more often.
    ///
    /// # Errors
    /// When the store, the key or the generator fails: then what it is about must not be done either.
    pub fn write(&self, note: Note, at: Timestamp) -> Result<Operation, DeskError> {
        let written = Arc::new(OnceLock::new());
        let own = Waiting { note, at, written: Arc::clone(&written) };
        self.waiting().push(own.clone());
        let mut head = self.lock();
        if let Some(operation) = written.get() {
            return Ok(operation.clone());
        }
        let mut group = std::mem::take(&mut *self.waiting());
        if !group.iter().any(|one| Arc::ptr_eq(&one.written, &written)) {
            // whoever took it failed, and says only that of its own
            group.push(own);
        }
        self.write_group(&mut head, &group, &[])?;
        written.get().cloned().ok_or(DeskError::Damaged("operation log"))
    }

    /// Writes entries and what they tell of, all of it or nothing; it is on the disk when this returns.
    ///
    /// # Errors
    /// When the store, the key or the generator fails.
    pub(super) fn write_with(
        &self,
        notes: Vec<Note>,
        told: &[Write],
        at: Timestamp,
    ) -> Result<Vec<Operation>, DeskError> {
        let group: Vec<Waiting> =
            notes.into_iter().map(|note| Waiting { note, at, written: Arc::default() }).collect();
        self.write_group(&mut self.lock(), &group, told)?;
        Ok(group.iter().filter_map(|one| one.written.get().cloned()).collect())
    }

    fn write_group(
        &self,
        head: &mut Head,
        group: &[Waiting],
        told: &[Write],
    ) -> Result<(), DeskError> {
        let (mut after, mut writes, mut operations) = (*head, told.to_vec(), Vec::new());
        for one in group {
            let number = after.entries.saturating_add(1);
            let operation = Self::operation(number, one);
            let key = number.to_be_bytes();
            let sealed =
                self.key.seal(&codec::encode(&operation), &place(number), &*self.random)?;
            writes.push(Write::require_absent(OPERATIONS, key));
            writes.push(Write::put(OPERATIONS, key, sealed));
            after = after.after(&operation);
            operations.push(operation);
        }
        self.store.transaction(&writes)?;
        *head = after;
        for (one, operation) in group.iter().zip(operations) {
            // each is in one group only
            let _ = one.written.set(operation);
        }
        Ok(())
    }

    fn operation(number: u64, Waiting { note, at, .. }: &Waiting) -> Operation {
        let note = note.clone();
        Operation {
            number,
            at: *at,
            by: cut(note.by),
            deed: note.deed,
            member: note.member,
            members: note.members,
            what: cut(note.what),
            before: note.before.map(cut),
            after: note.after.map(cut),
        }
    }

    /// The entries after a number, at most `most`.
    ///
    /// # Errors
    /// When the store fails, or an entry cannot be opened.
    pub fn read(&self, after: u64, most: usize) -> Result<Vec<Operation>, DeskError> {
        let after = after.to_be_bytes();
        let pairs = self.store.scan_prefix(OPERATIONS, &[], Some(&after), most)?;
        let open = |(key, sealed): &(Vec<u8>, Vec<u8>)| {
            let number = <[u8; 8]>::try_from(key.as_slice()).map(u64::from_be_bytes);
            let number = number.map_err(|_| DeskError::Damaged("operation log"))?;
            let bytes = self.key.open(sealed, &place(number))?;
            codec::decode("an operation", &bytes, STORED_MAX)
                .map_err(|_| DeskError::Damaged("operation log"))
        };
        pairs.iter().map(open).collect()
    }

    /// How far it has come.
    #[must_use]
    pub fn head(&self) -> Head {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Head> {
        // it changes after the entries are on the disk, in one step
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        // nothing can fail while it is held
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a sealed entry is bound to.
fn place(number: u64) -> Vec<u8> {
    [b"coalition operation v0\0".as_slice(), &number.to_be_bytes()].concat()
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT_MAX {
        let end = (0..=TEXT_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use ring::rand::SystemRandom;

    use super::*;
    use crate::store::watched::{Watch, Watched};
    use crate::store::{MemoryStore, StoreError};

    fn log(store: &Arc<MemoryStore>, key: [u8; 32]) -> Result<OperationLog, DeskError> {
        let key = DataKey::from_bytes(key);
        OperationLog::open(store.clone(), key, Arc::new(SystemRandom::new()))
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    #[test]
    fn what_was_done_is_read_back_and_the_head_is_the_chains() {
        let store = Arc::new(MemoryStore::new());
        let operations = log(&store, [1; 32]).unwrap();
        assert_eq!(operations.head(), Head::default());
        let member = MemberId::from_bytes([3; 16]);
        let note = Note::new("ann", Deed::Correct, "phone").about(member);
        let note = note.changed(Some("138****5678".into()), Some("139****0000".into()));
        let first = operations.write(note, at(5)).unwrap();
        let second =
            operations.write(Note::new("olga", Deed::Read, "x".repeat(900)), at(6)).unwrap();
        assert_eq!((first.number, first.members, second.number), (1, 1, 2));
        assert_eq!(second.what.len(), TEXT_MAX);
        assert_eq!(operations.read(0, 10).unwrap(), [first.clone(), second.clone()]);
        assert_eq!(operations.read(1, 10).unwrap(), std::slice::from_ref(&second));
        let head = Head::default().after(&first).after(&second);
        assert_eq!(operations.head(), head);
        // a restart finds the same head
        assert_eq!(log(&store, [1; 32]).unwrap().head(), head);
        assert!(log(&store, [2; 32]).is_err());
        // and any other entry another one
        for changed in [
            Operation { by: "bob".into(), ..first.clone() },
            Operation { before: None, ..first.clone() },
            Operation { at: at(4), ..first },
        ] {
            assert_ne!(Head::default().after(&changed).after(&second), head);
        }
    }

    #[test]
    fn an_entry_that_is_taken_out_of_the_store_is_missed() {
        let store = Arc::new(MemoryStore::new());
        let operations = log(&store, [1; 32]).unwrap();
        for _ in 0..3 {
            operations.write(Note::new("ann", Deed::Read, "a member"), at(5)).unwrap();
        }
        store.transaction(&[Write::delete(OPERATIONS, 2_u64.to_be_bytes())]).unwrap();
        assert!(matches!(log(&store, [1; 32]), Err(DeskError::Damaged(_))));
    }

    /// Takes a while, and refuses every third transaction.
    struct SlowAndFailing(AtomicU64);

    impl Watch for SlowAndFailing {
        fn writes(&self, _: &[Write]) -> Result<(), StoreError> {
            std::thread::sleep(Duration::from_millis(2));
            match self.0.fetch_add(1, Ordering::Relaxed) % 3 {
                2 => Err(StoreError::Conflict { keyspace: OPERATIONS }),
                _ => Ok(()),
            }
        }
    }

    #[test]
    fn who_write_at_once_share_a_transaction_and_each_hears_of_its_own_entry() {
        let store = Arc::new(Watched::by(SlowAndFailing(AtomicU64::new(0))));
        let key = DataKey::from_bytes([1; 32]);
        let operations =
            OperationLog::open(Arc::clone(&store) as _, key, Arc::new(SystemRandom::new()))
                .unwrap();
        let ended = std::thread::scope(|scope| {
            let of_one = |user: usize| {
                let operations = &operations;
                move || {
                    let note =
                        |time| Note::new(&format!("user {user}"), Deed::Read, format!("{time}"));
                    let write = |time| (time, operations.write(note(time), at(time)));
                    (0..25).map(write).collect::<Vec<_>>()
                }
            };
            let users: Vec<_> = (0..8).map(|user| scope.spawn(of_one(user))).collect();
            users.into_iter().map(|user| user.join().unwrap()).collect::<Vec<_>>()
        });
        let mut written = Vec::new();
        let mut failed = 0;
        for (user, of_one) in ended.into_iter().enumerate() {
            for (time, result) in of_one {
                match result {
                    Ok(operation) => {
                        let said = (operation.by.clone(), operation.what.clone(), operation.at);
                        assert_eq!(said, (format!("user {user}"), format!("{time}"), at(time)));
                        written.push(operation);
                    }
                    Err(error) => {
                        assert!(matches!(error, DeskError::Store(StoreError::Conflict { .. })));
                        failed += 1;
                    }
                }
            }
        }
        written.sort_by_key(|operation| operation.number);
        // what was said to be written is there, what was said to have failed is not
        assert_eq!(operations.read(0, 1_000).unwrap(), written);
        assert_eq!(written.len() + failed, 200);
        let transactions = store.watch.0.load(Ordering::Relaxed);
        assert_eq!(failed as u64, transactions / 3, "a failure is one entry's");
        assert!(
            transactions < 190,
            "{transactions} for 200 entries of eight who do not wait for each other"
        );
        let head = written.iter().fold(Head::default(), |head, operation| head.after(operation));
        assert_eq!(operations.head(), head);
    }
}
