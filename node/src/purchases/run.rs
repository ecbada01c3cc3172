//! One run of an import through its file: resolve, clean, take into baskets, write.
//!
//! What becomes of a member's row hangs on that member's rows alone, so that a joint answer's promise is one about
//! members. A basket is a number's and a member's together: who shares a number shares no basket, and a refund leads
//! to a basket of its own member or to none. An order is what follows each other among its member's rows, whatever of
//! others stands between. What others' rows do decide is where a chunk ends, and what [`orders`](super::orders) still
//! remembers: only in files of more than a chunk, and beyond that memory.
//!
//! A chunk ends after so many rows, whatever became of them, so that whoever waits for a turn waits for no more. When
//! it is written nothing that was read of the file is in memory but what is remembered of orders and of how many lines
//! baskets have had: a long import gives its turns there ([`turn`](super::turn)), and then asks anew who everybody is and what their baskets are.
//!
//! Who a row's member is where it has no card, or more than a card, the vault says by its rules before anything is
//! looked for under that member. So rows of others reach a member's by that one way: where they tell who somebody is.
//!
//! Memory is bounded by one chunk of rows, a batch, and what is remembered of orders.

mod buyers;
mod chunks;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use protocol::time::Timestamp;

use super::basket::{Basket, LINES_MAX, NewLine, StoredBasket, Taken};
use super::catalogue::{
    Chunk, FILE_ROWS_MAX, File, Import, Stage, list_chunk, put_import, put_removed,
};
use super::clean::{Adjustment, DropReason, Dropped, Issue};
use super::details::Details;
use super::facts::{Row, Rows};
use super::formats::{Batch, OpenSource, Progress};
use super::import::{Facts, ImportError, ImportTerms, Pace};
use super::line::{Columns, Line, print};
use super::mapping::{Channel, PurchasesMapping};
use super::orders::Places;
use super::times::Moment;
use super::turn::{Work, held};
use super::{BasketChange, BasketKey, Fen};
use crate::store::Write;
use crate::vault::{BlindIndex, MemberId, Tombstones, Vault, VaultError};

/// Cards remembered at a time, and as many sets of other identifiers.
const CARDS_MAX: usize = 100_000;
const DAY_MS: u64 = 86_400_000;
/// Bytes of one transaction, about; it may be some way above, and the store takes four times as much.
const CHUNK_BYTES: usize = 8 << 20;
/// Baskets read from the store at a time.
const BASKETS_AT_ONCE: usize = 1_024;

/// A member who bought.
#[derive(Clone)]
struct Member {
    id: MemberId,
    /// The number that stands for the member in facts.
    subject: i64,
    /// The numbers of members who were merged into this one.
    merged: Arc<[i64]>,
}

/// Who bought: a member, or a guest.
type Buyer = Option<Member>;

/// Whose a basket is: the member, with the number in facts. Of a merged member's basket, the merged one, so that it
/// goes back when the merge is undone.
type Owner = Option<(MemberId, i64)>;

/// The keys under which a buyer's basket of a number may be.
#[derive(Clone)]
struct Keys {
    /// The buyer's own.
    own: BasketKey,
    /// As earlier versions had it: the number's, whoever bought.
    former: BasketKey,
    /// Those of members who were merged into the buyer, as the buyer's record has them.
    merged: Vec<BasketKey>,
}

impl Keys {
    fn of(vault: &Vault, number: &str, buyer: Option<&Member>) -> Result<Self, VaultError> {
        let key = |index: BlindIndex, value: &[u8]| -> Result<BasketKey, VaultError> {
            let mut bytes = [0; 16];
            bytes.iter_mut().zip(vault.blind(index, value)?).for_each(|(to, from)| *to = from);
            Ok(BasketKey::from_bytes(bytes))
        };
        // whose it is has one length, or says that it is a guest's: no two read the same
        let of = |whose: &[u8]| key(BlindIndex::BasketOf, &[whose, number.as_bytes()].concat());
        let members = |subject: i64| of(&[[1_u8].as_slice(), &subject.to_be_bytes()].concat());
        let merged = |member: &Member| -> Result<Vec<BasketKey>, VaultError> {
            member.merged.iter().map(|subject| members(*subject)).collect()
        };
        Ok(Self {
            own: buyer.map_or_else(|| of(&[0]), |member| members(member.subject))?,
            former: key(BlindIndex::Basket, number.as_bytes())?,
            merged: buyer.map_or_else(|| Ok(Vec::new()), merged)?,
        })
    }

    fn all(&self) -> impl Iterator<Item = BasketKey> + '_ {
        [self.own, self.former].into_iter().chain(self.merged.iter().copied())
    }
}

/// Who bought a line, and where its basket may be.
struct Bought {
    buyer: Buyer,
    keys: Keys,
    /// Where the basket may be that a refund takes back.
    original: Option<Keys>,
}

impl Bought {
    fn keys(&self) -> impl Iterator<Item = BasketKey> + '_ {
        self.keys.all().chain(self.original.iter().flat_map(|keys| keys.all()))
    }

    /// The key of a new basket that is `owner`'s: the buyer's, or that of somebody merged into the buyer.
    fn key_of(&self, owner: Owner) -> BasketKey {
        let merged = self.buyer.as_ref().zip(owner).and_then(|(buyer, (_, subject))| {
            let at = buyer.merged.iter().position(|known| *known == subject)?;
            self.keys.merged.get(at).copied()
        });
        merged.unwrap_or(self.keys.own)
    }

    fn owner(&self) -> Owner {
        self.buyer.as_ref().map(|member| (member.id, member.subject))
    }
}

/// A line that waits for the rest of its order.
struct Waiting {
    place: u64,
    number: u32,
    bought: Bought,
    at: Moment,
    department: Arc<str>,
    named: bool,
    quantity: i64,
    measured: bool,
    amount: Fen,
    channel: Channel,
    coupon: Option<Fen>,
    electronic_card: Option<bool>,
    details: Details<Arc<str>>,
    hour: Option<u32>,
    under_cost: bool,
    /// Some identifier of it could not be read.
    unread: bool,
    print: i64,
    /// The same without the day.
    timeless: i64,
}

impl Waiting {
    /// What it takes of a transaction and of memory, about.
    fn bytes(&self) -> usize {
        let details = self.details.named().into_iter().filter_map(|(_, text)| text);
        128 + self.department.len() + details.map(|text| text.len()).sum::<usize>()
    }
}

/// The lines of one basket that follow each other among the lines of their member.
struct Order {
    /// Its buyer's own key of the basket.
    key: BasketKey,
    lines: Vec<Waiting>,
    /// What it will take of a transaction, about.
    bytes: usize,
}

/// A row of a batch, and who bought it.
type Read<'l> = Result<(Line<'l>, Option<Bought>), Issue>;

/// Where a line was taken.
struct Kept {
    basket: BasketKey,
    owner: Owner,
    /// The fact that it replaces.
    replaces: Option<i64>,
    /// It is a refund that names a basket in which its member has nothing.
    alone: bool,
}

/// A basket of the present chunk.
struct Open {
    /// As it was before this import.
    before: Option<Basket>,
    /// As it was before this chunk, for what it counts.
    counted: Fen,
    sum: i64,
    basket: Basket,
    changed: bool,
}

pub(super) struct Run<'a> {
    facts: &'a Facts,
    vault: &'a Vault,
    mapping: &'a PurchasesMapping,
    today: i32,
    /// The day of the import, as the time at which its identifiers are seen: the minute of a purchase is not kept,
    /// and at a counter it would be the import's.
    seen_on: Timestamp,
    work: Work<'a>,
    digest: [u8; 32],
    import: Import,
    next_file: u32,
    cards: BTreeMap<String, Option<Member>>,
    /// Whose identifiers are, by all of a row's, the card among them.
    sighted: BTreeMap<String, Option<Member>>,
    /// Whose erasures are known, as of this batch: not there until somebody is asked for.
    tombstones: Option<Tombstones>,
    departments: BTreeSet<Arc<str>>,
    places: Places,
    rows: Rows,
    removed: Vec<i64>,
    /// Baskets of this chunk.
    open: BTreeMap<BasketKey, Open>,
    /// Baskets of this batch as they are stored.
    loaded: BTreeMap<BasketKey, Option<StoredBasket>>,
    bytes: usize,
    last_keys: Option<(String, Option<MemberId>, Keys)>,
    /// The order of each buyer that is not known to have ended.
    waiting: BTreeMap<Option<MemberId>, Order>,
    waiting_bytes: usize,
    /// Rows of the file since the chunk began, whatever became of them.
    rows_read: u64,
    /// The basket of the line before.
    last: Option<BasketKey>,
    dropped: Dropped,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        work: Work<'a>,
        vault: &'a Vault,
        mapping: &'a PurchasesMapping,
        terms: &ImportTerms<'_>,
        digest: [u8; 32],
        import: Import,
    ) -> Result<Self, ImportError> {
        let counts = import.report.dropped.clone();
        let issues = import.report.issues.clone();
        let facts = work.facts;
        Ok(Self {
            facts,
            vault,
            mapping,
            today: terms.today,
            seen_on: Timestamp::from_unix_ms(
                u64::try_from(terms.today).unwrap_or(0).saturating_mul(DAY_MS),
            ),
            work,
            digest,
            next_file: facts.next_file()?,
            import,
            cards: BTreeMap::new(),
            sighted: BTreeMap::new(),
            tombstones: None,
            departments: BTreeSet::new(),
            places: Places::default(),
            rows: Rows::default(),
            removed: Vec::new(),
            open: BTreeMap::new(),
            loaded: BTreeMap::new(),
            bytes: 0,
            last_keys: None,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            rows_read: 0,
            last: None,
            dropped: Dropped { counts, issues, ..Dropped::default() },
        })
    }

    /// Reads the file to its end.
    pub(super) fn read(
        &mut self,
        file: &str,
        opened: OpenSource,
        pace: Pace,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), ImportError> {
        self.dropped.counted = opened.counted;
        let mut began = Instant::now();
        for batch in opened.batches {
            let batch = batch?;
            self.batch(file, &batch)?;
            progress(batch.progress);
            pace.rest(began.elapsed().saturating_sub(self.work.take_given()));
            began = Instant::now();
        }
        self.end_orders()
    }

    /// An error of these rows: of those that are held, with what they have said of who people are.
    pub(super) fn held(&self, error: ImportError) -> ImportError {
        match error {
            ImportError::Held { .. } => {
                ImportError::Held { said: self.import.report.sightings.unwrap_or_default() }
            }
            other => other,
        }
    }

    /// Writes what is left, and makes the import count.
    pub(super) fn count(mut self) -> Result<(Import, Work<'a>), ImportError> {
        self.import.stage = Stage::Telling;
        self.commit()?;
        self.work.count();
        Ok((self.import, self.work))
    }

    fn batch(&mut self, file: &str, batch: &Batch) -> Result<(), ImportError> {
        let columns = Columns::of(file, &batch.columns, self.mapping, self.today)?;
        // whoever was erased meanwhile is known as such from the next batch on
        self.tombstones = None;
        let mut lines: VecDeque<Read<'_>> = VecDeque::with_capacity(batch.places.len());
        for row in 0..batch.places.len() {
            lines.push_back(match columns.line(row) {
                Ok(line) => {
                    let bought = self.bought(&line)?;
                    Ok((line, bought))
                }
                Err(issue) => Err(issue),
            });
        }
        self.loaded.clear();
        self.load_all(None, &lines)?;
        let mut broken = batch.broken.iter().peekable();
        for place in batch.places.iter().copied() {
            while let Some((at, problem)) = broken.next_if(|(at, _)| *at < place) {
                self.refuse(*at, Issue::broken(*problem));
                self.rows_read += 1;
            }
            match lines.pop_front() {
                None => break,
                Some(Err(issue)) => self.refuse(place, issue),
                Some(Ok((line, mut bought))) => {
                    let own = bought.as_ref().map(|bought| bought.keys.own);
                    if let Some(own) = own
                        && self.make_room(place, own)?
                    {
                        bought = self.bought(&line)?;
                        for (line, bought) in lines.iter_mut().flatten() {
                            *bought = self.bought(line)?;
                        }
                        self.load_all(bought.as_ref(), &lines)?;
                        self.last = bought.as_ref().map(|bought| bought.keys.own);
                    }
                    self.line(place, &line, bought)?;
                }
            }
            self.rows_read += 1;
        }
        for (at, problem) in broken {
            self.refuse(*at, Issue::broken(*problem));
            self.rows_read += 1;
        }
        // however few of the rows were somebody's, and whatever baskets they are of
        let last = batch.places.last().copied().max(batch.broken.last().map(|(at, _)| *at));
        let most = self.facts.chunk_rows.saturating_add(LINES_MAX as u64);
        if let Some(last) = last
            && self.rows_read >= most
        {
            self.end_chunk(last)?;
        }
        Ok(())
    }

    /// Reads the baskets that lines may be of.
    fn load_all(
        &mut self,
        first: Option<&Bought>,
        lines: &VecDeque<Read<'_>>,
    ) -> Result<(), ImportError> {
        let others = lines.iter().flatten().filter_map(|(_, bought)| bought.as_ref());
        self.load(first.into_iter().chain(others).flat_map(|bought| bought.keys()))
    }

    /// Whether a row was in a part that an earlier run has done.
    fn is_done(&self, place: u64) -> bool {
        place <= self.import.place_done
    }

    fn refuse(&mut self, place: u64, issue: Issue) {
        if !self.is_done(place) {
            self.import.report.rows_read += 1;
            self.dropped.add(place, issue);
        }
    }

    fn line(
        &mut self,
        place: u64,
        line: &Line<'_>,
        bought: Option<Bought>,
    ) -> Result<(), ImportError> {
        // a line of no member and no guest has no place in a basket
        let number = match &bought {
            None => None,
            Some(bought) => {
                let counted = || self.places.next(bought.keys.own);
                Some(line.number.unwrap_or_else(counted))
            }
        };
        if line.quantity == 0 && line.amount == Fen::ZERO {
            self.refuse(place, Issue::row(DropReason::NothingSold));
            return Ok(());
        }
        if line.under_cost && !self.mapping.cleaning.keep_under_cost {
            self.refuse(place, Issue::row(DropReason::UnderCost));
            return Ok(());
        }
        let (Some(bought), Some(number)) = (bought, number) else {
            self.refuse(place, Issue::row(DropReason::UnknownMember));
            return Ok(());
        };
        let named = line.department.is_some();
        let department = self.department(line.department.as_deref().unwrap_or("UNKNOWN"));
        let details = line.details.map(|text| self.department(text));
        let (quantity, measured) = self.mapping.cleaning.pieces(&department, line.quantity);
        self.wait(Waiting {
            place,
            number,
            bought,
            at: line.at,
            named,
            quantity,
            measured,
            amount: line.amount,
            channel: line.channel,
            coupon: line.coupon,
            electronic_card: line.electronic_card,
            details,
            hour: line.hour,
            under_cost: line.under_cost,
            unread: line.unread,
            print: print(line, &department, line.at),
            timeless: print(line, &department, Moment { day: 0, second: None }),
            department,
        })
    }

    /// The basket that a buyer has under a number, if there is one, and whose it is: the buyer's, or of somebody who
    /// was merged into the buyer meanwhile. Of several the one that has the line (its number and print), else the
    /// first. Baskets of anybody else are as if they were not there.
    fn find(
        &mut self,
        keys: &Keys,
        buyer: Option<&Member>,
        line: Option<(u32, i64)>,
    ) -> Result<Option<(BasketKey, Owner)>, ImportError> {
        let mut first = None;
        for key in keys.all() {
            let Some(basket) = self.known(key)? else { continue };
            let has = line.is_none_or(|(number, print)| basket.has(number, print));
            let member = basket.member;
            let Some(owner) = self.as_theirs(member, buyer)? else { continue };
            if has {
                return Ok(Some((key, owner)));
            }
            first = first.or(Some((key, owner)));
        }
        Ok(first)
    }

    /// The owner of a basket, if that is the buyer or was merged into the buyer.
    fn as_theirs(
        &self,
        member: Option<MemberId>,
        buyer: Option<&Member>,
    ) -> Result<Option<Owner>, ImportError> {
        Ok(match (member, buyer) {
            (None, None) => Some(None),
            (Some(member), Some(buyer)) if member == buyer.id => {
                Some(Some((buyer.id, buyer.subject)))
            }
            (Some(member), Some(buyer)) if !buyer.merged.is_empty() => {
                let into = self.vault.merged_into(member)?;
                let into = into.filter(|(into, _)| *into == buyer.id);
                into.map(|(_, subject)| Some((member, subject.get())))
            }
            _ => None,
        })
    }

    /// Takes a line into its basket, or says why not.
    fn take(&mut self, line: &Waiting) -> Result<Result<Kept, DropReason>, ImportError> {
        let bought = &line.bought;
        let buyer = bought.buyer.as_ref();
        let found = self.find(&bought.keys, buyer, Some((line.number, line.print)))?;
        let lowers = match &bought.original {
            Some(original) => self.find(original, buyer, None)?,
            None => None,
        };
        let (key, owner) = match (found, lowers) {
            (Some(found), _) => found,
            // a refund of what somebody bought who was merged into the buyer since: both go back together when the
            // merge is undone
            (None, Some((_, owner))) => (bought.key_of(owner), owner),
            (None, None) => (bought.keys.own, bought.owner()),
        };
        let fact = self.next_fact();
        self.open_basket(key)?;
        let open = self.open.entry(key).or_insert_with(|| {
            let member = owner.map(|(member, _)| member);
            let mut basket = Basket::new(member, line.at.day, line.channel);
            basket.hour = line.hour;
            basket.lowers = lowers.map(|(original, _)| original).filter(|it| *it != key);
            Open { before: None, counted: Fen::ZERO, sum: 0, basket, changed: false }
        });
        if open.basket.member != owner.map(|(member, _)| member) {
            return Err(ImportError::Damaged { what: "basket" });
        }
        let new = NewLine {
            number: line.number,
            fact,
            fen: line.amount.get(),
            department: &line.department,
            print: line.print,
            // a file that is read once more has nothing newer than what was read since
            corrects: self.import.again.is_none(),
        };
        let replaces = match open.basket.take(&new, open.before.as_ref()) {
            Taken::New => None,
            Taken::Replaces(fact) => Some(fact),
            Taken::Known => return Ok(Err(DropReason::Duplicate)),
            Taken::Contradicts => return Ok(Err(DropReason::Contradiction)),
            Taken::TooLarge => return Ok(Err(DropReason::BasketTooLarge)),
        };
        open.changed = true;
        let lowered = open.basket.lowers;
        self.bytes += line.bytes();
        if let Some(original) = lowered {
            // it changes with this one
            self.open_basket(original)?;
        }
        let alone = bought.original.is_some() && lowers.is_none();
        Ok(Ok(Kept { basket: key, owner, replaces, alone }))
    }

    /// The number of the next row.
    fn next_fact(&self) -> i64 {
        i64::from(self.next_file) * FILE_ROWS_MAX
            + i64::try_from(self.rows.len()).unwrap_or(FILE_ROWS_MAX)
    }

    fn keep(&mut self, line: &Waiting, kept: &Kept) {
        let fact = self.next_fact();
        let report = &mut self.import.report;
        let mut adjusted = |what| *report.adjusted.entry(what).or_default() += 1;
        if line.measured {
            adjusted(Adjustment::Measured);
        }
        if !line.named {
            adjusted(Adjustment::NoDepartment);
        }
        if line.under_cost {
            adjusted(Adjustment::UnderCost);
        }
        if line.unread {
            adjusted(Adjustment::IdentifierNotRead);
        }
        if let Some(fact) = kept.replaces {
            adjusted(Adjustment::Corrected);
            self.removed.push(fact);
        }
        if kept.alone {
            adjusted(Adjustment::RefundAlone);
        }
        let refund = line.amount < Fen::ZERO || line.quantity < 0;
        if refund {
            adjusted(Adjustment::Refund);
        }
        report.rows_read += 1;
        report.rows_kept += 1;
        report.refund_rows += u64::from(refund);
        report.guest_rows += u64::from(kept.owner.is_none());
        report.amount_fen = report.amount_fen.saturating_add(line.amount.get());
        self.rows.push(&Row {
            member: kept.owner.map(|(_, subject)| subject),
            day: line.at.day,
            department: &line.department,
            basket: kept.basket.fact_number(),
            quantity: line.quantity,
            amount_fen: line.amount.get(),
            channel: Some(line.channel.name()),
            fact: Some(fact),
            coupon_fen: line.coupon.map(Fen::get),
            electronic_card: line.electronic_card,
            details: line.details.map(|text| &**text),
            hour: line.hour.map(i64::from),
        });
    }

    /// Makes the chunk durable, and with it how far the file is done.
    fn commit(&mut self) -> Result<(), ImportError> {
        let mut writes = Vec::new();
        let rows = std::mem::take(&mut self.rows);
        if rows.len() > 0 {
            let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
            let import = Some(self.import.number);
            let (source, version) = (self.digest, None);
            let path = self.facts.folder.join(File { sequence: self.next_file, version }.name());
            self.facts.take_number(self.next_file);
            let digest = rows.write(&path, &self.facts.key)?;
            let chunk = Chunk { source, pass: 0, rows: count, digest, import, version };
            writes.extend(list_chunk(self.next_file, &chunk));
            self.next_file += 1;
        }
        for fact in std::mem::take(&mut self.removed) {
            writes.push(put_removed(self.import.number, fact));
        }
        let changes = self.changes(&mut writes)?;
        self.import.report.baskets += u64::try_from(changes.len()).unwrap_or(u64::MAX);
        self.import.report.take(&self.dropped);
        let catalogue = self.facts.catalogue();
        writes.extend(catalogue.put_changes(&mut self.import, &changes)?);
        writes.push(put_import(&self.digest, &self.import));
        self.bytes = 0;
        Ok(self.facts.store.transaction(&writes)?)
    }

    /// What changed in the chunk's baskets, which are written.
    fn changes(&mut self, writes: &mut Vec<Write>) -> Result<Vec<BasketChange>, ImportError> {
        let mut changes = Vec::new();
        let refunds: Vec<(BasketKey, BasketKey, i64)> = self
            .open
            .iter()
            .filter(|(_, open)| open.changed)
            .filter_map(|(key, open)| {
                Some((*key, open.basket.lowers?, open.basket.sum() - open.sum))
            })
            .collect();
        for (key, open) in &mut self.open {
            if open.changed && open.basket.lowers.is_none() {
                let after = open.basket.counted()?;
                changes.push(change(*key, &mut open.basket, open.counted, after, None));
                open.counted = after;
            }
        }
        for (key, original, moved) in refunds {
            if let Some(open) = self.open.get_mut(&original) {
                open.basket.given_back -= moved;
                let after = open.basket.counted()?;
                changes.push(change(original, &mut open.basket, open.counted, after, Some(key)));
                open.counted = after;
                open.changed = true;
            }
        }
        let sealer = self.facts.catalogue().sealer;
        for (key, open) in std::mem::take(&mut self.open) {
            let Open { before, basket, changed, .. } = open;
            if !changed {
                continue;
            }
            let stored = StoredBasket { import: self.import.number, now: basket, before };
            writes.push(sealer.put(key, &stored)?);
            self.loaded.insert(key, Some(stored));
        }
        Ok(changes)
    }

    /// Opens a basket that is there.
    fn open_basket(&mut self, key: BasketKey) -> Result<(), ImportError> {
        if self.open.contains_key(&key) {
            return Ok(());
        }
        if !self.loaded.contains_key(&key) {
            // its order began in an earlier batch
            self.load(std::iter::once(key))?;
        }
        let Some(Some(stored)) = self.loaded.get(&key) else { return Ok(()) };
        let now = stored.now.clone();
        let before = if stored.import == self.import.number {
            stored.before.clone()
        } else {
            Some(now.clone())
        };
        self.bytes += 64 * (1 + now.lines.len());
        let (counted, sum) = (now.counted()?, now.sum());
        let open = Open { before, counted, sum, basket: now, changed: false };
        self.open.insert(key, open);
        Ok(())
    }

    /// A basket that is there, as it is now.
    fn known(&mut self, key: BasketKey) -> Result<Option<&Basket>, ImportError> {
        if !self.open.contains_key(&key) && !self.loaded.contains_key(&key) {
            self.load(std::iter::once(key))?;
        }
        if let Some(open) = self.open.get(&key) {
            return Ok(Some(&open.basket));
        }
        Ok(self.loaded.get(&key).and_then(Option::as_ref).map(|stored| &stored.now))
    }

    /// Reads the baskets that are neither open nor read.
    fn load(&mut self, keys: impl Iterator<Item = BasketKey>) -> Result<(), ImportError> {
        let unread =
            |key: &BasketKey| !self.open.contains_key(key) && !self.loaded.contains_key(key);
        let keys: BTreeSet<BasketKey> = keys.filter(unread).collect();
        let keys: Vec<BasketKey> = keys.into_iter().collect();
        for keys in keys.chunks(BASKETS_AT_ONCE) {
            let found = self.facts.catalogue().baskets(keys)?;
            if found.iter().flatten().any(|stored| self.work.is_off(stored)) {
                return Err(held());
            }
            self.loaded.extend(keys.iter().copied().zip(found));
        }
        Ok(())
    }

    /// Who bought a line, and where its basket may be; none when no member has the card.
    fn bought(&mut self, line: &Line<'_>) -> Result<Option<Bought>, ImportError> {
        let found = match (&line.card, line.identifiers.as_slice()) {
            (None, []) => Some(None),
            (Some(card), []) => self.member(card)?.map(Some),
            (card, identifiers) => self.sighted(card.as_ref(), identifiers)?.map(Some),
        };
        let Some(buyer) = found else { return Ok(None) };
        let keys = self.keys(line.basket, buyer.as_ref())?;
        let original = line.original.filter(|_| line.is_refund());
        let original = original.map(|number| Keys::of(self.vault, number, buyer.as_ref()));
        let original = original.transpose()?;
        Ok(Some(Bought { buyer, keys, original }))
    }

    /// A name that many lines have, once in memory: of a department, a store or the like.
    fn department(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.departments.get(name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        if self.departments.len() >= CARDS_MAX {
            self.departments.clear();
        }
        self.departments.insert(Arc::clone(&name));
        name
    }

    fn keys(&mut self, number: &str, buyer: Option<&Member>) -> Result<Keys, VaultError> {
        let whose = buyer.map(|member| member.id);
        match &self.last_keys {
            // lines of a basket mostly follow each other
            Some((last, of, keys)) if last == number && *of == whose => Ok(keys.clone()),
            _ => {
                let keys = Keys::of(self.vault, number, buyer)?;
                self.last_keys = Some((number.to_owned(), whose, keys.clone()));
                Ok(keys)
            }
        }
    }
}

fn change(
    key: BasketKey,
    basket: &mut Basket,
    before: Fen,
    after: Fen,
    refund: Option<BasketKey>,
) -> BasketChange {
    let part = basket.parts;
    basket.parts += 1;
    BasketChange {
        member: basket.member,
        basket: key,
        part,
        before,
        after,
        refund,
        day: basket.day,
        channel: basket.channel,
        departments: basket.departments.clone(),
        hour: basket.hour,
    }
}
