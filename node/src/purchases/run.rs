//! One run of an import through its file: resolve, clean, take into baskets, write.
//!
//! Memory is bounded by one chunk of rows, a batch, and what [`Orders`] remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::basket::{Basket, LINES_MAX, NewLine, StoredBasket, Taken};
use super::catalogue::{
    Chunk, FILE_ROWS_MAX, File, Import, Stage, list_chunk, put_import, put_removed,
};
use super::clean::{Adjustment, DropReason, Dropped, Issue};
use super::facts::{Row, Rows};
use super::formats::{Batch, OpenSource, Progress};
use super::import::{Facts, ImportError, ImportTerms, Pace};
use super::line::{Columns, Line, print};
use super::mapping::{Channel, PurchasesMapping};
use super::orders::{Orders, Places};
use super::times::Moment;
use super::{BasketChange, BasketKey, Fen};
use crate::store::Write;
use crate::vault::{BlindIndex, CardNumber, MemberId, Vault, VaultError};

/// Cards remembered at a time.
const CARDS_MAX: usize = 100_000;
/// Bytes of one transaction, about; it may be some way above, and the store takes four times as much.
const CHUNK_BYTES: usize = 8 << 20;
/// Baskets read from the store at a time.
const BASKETS_AT_ONCE: usize = 1_024;

/// Who bought: a member with the number that stands for the member in facts, or a guest.
type Buyer = Option<(MemberId, i64)>;

/// A line that waits for the rest of its order.
struct Waiting {
    place: u64,
    number: u32,
    buyer: Buyer,
    at: Moment,
    department: Arc<str>,
    named: bool,
    quantity: i64,
    measured: bool,
    amount: Fen,
    channel: Channel,
    under_cost: bool,
    print: i64,
    /// The same without the day.
    timeless: i64,
    original: Option<BasketKey>,
}

/// The lines of one basket that follow each other.
struct Order {
    key: BasketKey,
    lines: Vec<Waiting>,
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
    orders: &'a mut Orders,
    digest: [u8; 32],
    import: Import,
    next_file: u32,
    first_fact: i64,
    cards: BTreeMap<String, Buyer>,
    departments: BTreeSet<Arc<str>>,
    places: Places,
    rows: Rows,
    removed: Vec<i64>,
    /// Baskets of this chunk.
    open: BTreeMap<BasketKey, Open>,
    /// Baskets of this batch as they are stored.
    loaded: BTreeMap<BasketKey, Option<StoredBasket>>,
    bytes: usize,
    last_basket: Option<(String, BasketKey)>,
    order: Option<Order>,
    dropped: Dropped,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        facts: &'a Facts,
        vault: &'a Vault,
        mapping: &'a PurchasesMapping,
        terms: &ImportTerms<'_>,
        orders: &'a mut Orders,
        digest: [u8; 32],
        import: Import,
    ) -> Result<Self, ImportError> {
        let counts = import.report.dropped.clone();
        let issues = import.report.issues.clone();
        Ok(Self {
            facts,
            vault,
            mapping,
            today: terms.today,
            orders,
            digest,
            next_file: facts.catalogue().next_file()?,
            first_fact: i64::from(import.first_file) * FILE_ROWS_MAX,
            import,
            cards: BTreeMap::new(),
            departments: BTreeSet::new(),
            places: Places::default(),
            rows: Rows::default(),
            removed: Vec::new(),
            open: BTreeMap::new(),
            loaded: BTreeMap::new(),
            bytes: 0,
            last_basket: None,
            order: None,
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
            pace.rest(began.elapsed());
            began = Instant::now();
        }
        self.end_order()
    }

    /// Writes what is left, and makes the import count.
    pub(super) fn count(mut self) -> Result<Import, ImportError> {
        self.import.stage = Stage::Telling;
        self.commit()?;
        Ok(self.import)
    }

    fn batch(&mut self, file: &str, batch: &Batch) -> Result<(), ImportError> {
        let columns = Columns::of(file, &batch.columns, self.mapping, self.today)?;
        let mut lines = Vec::with_capacity(batch.places.len());
        for row in 0..batch.places.len() {
            lines.push(columns.line(row).map(|line| {
                let key = self.basket_key(line.basket);
                let original = line.original.map(|number| self.basket_key(number));
                (line, key, original)
            }));
        }
        self.load(
            lines
                .iter()
                .flatten()
                .flat_map(|(_, key, original)| std::iter::once(*key).chain(*original)),
        )?;
        let mut broken = batch.broken.iter().peekable();
        for (place, line) in batch.places.iter().copied().zip(lines) {
            while let Some((at, problem)) = broken.next_if(|(at, _)| *at < place) {
                self.refuse(*at, Issue::broken(*problem));
            }
            match line {
                Err(issue) => self.refuse(place, issue),
                Ok((line, key, original)) => self.line(place, &line, key, original)?,
            }
        }
        for (at, problem) in broken {
            self.refuse(*at, Issue::broken(*problem));
        }
        Ok(())
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
        key: BasketKey,
        original: Option<BasketKey>,
    ) -> Result<(), ImportError> {
        if self.order.as_ref().is_some_and(|order| order.key != key) {
            self.end_order()?;
            if self.rows.len() as u64 >= self.facts.chunk_rows || self.bytes >= CHUNK_BYTES {
                // all rows before this one are in baskets or in the report
                self.import.place_done = self.import.place_done.max(place - 1);
                self.commit()?;
            }
        }
        let number = match line.number {
            Some(number) => number,
            None => self.places.next(key),
        };
        if line.quantity == 0 && line.amount == Fen::ZERO {
            self.refuse(place, Issue::row(DropReason::NothingSold));
            return Ok(());
        }
        if line.under_cost && !self.mapping.cleaning.keep_under_cost {
            self.refuse(place, Issue::row(DropReason::UnderCost));
            return Ok(());
        }
        let buyer = match &line.card {
            None => None,
            Some(card) => match self.member(card)? {
                None => {
                    self.refuse(place, Issue::row(DropReason::UnknownMember));
                    return Ok(());
                }
                known => known,
            },
        };
        if self.order.as_ref().is_some_and(|order| order.lines.len() >= LINES_MAX) {
            self.refuse(place, Issue::row(DropReason::BasketTooLarge));
            return Ok(());
        }
        let named = line.department.is_some();
        let department = self.department(line.department.as_deref().unwrap_or("UNKNOWN"));
        let (quantity, measured) = self.mapping.cleaning.pieces(&department, line.quantity);
        let waiting = Waiting {
            place,
            number,
            buyer,
            at: line.at,
            named,
            quantity,
            measured,
            amount: line.amount,
            channel: line.channel,
            under_cost: line.under_cost,
            print: print(line, &department, line.at),
            timeless: print(line, &department, Moment { day: 0, second: None }),
            original: original.filter(|_| line.is_refund()),
            department,
        };
        let order = self.order.get_or_insert_with(|| Order { key, lines: Vec::new() });
        order.lines.push(waiting);
        Ok(())
    }

    /// Takes the lines that wait into their basket, unless the order came a moment ago.
    fn end_order(&mut self) -> Result<(), ImportError> {
        let Some(Order { key, lines }) = self.order.take() else { return Ok(()) };
        let repeated = self.is_repeated(key, &lines);
        for line in lines {
            if self.is_done(line.place) {
                continue;
            }
            if repeated {
                self.refuse(line.place, Issue::row(DropReason::SameOrderTwice));
                continue;
            }
            let line = self.as_before_merge(key, line)?;
            match self.take(key, &line)? {
                Err(reason) => self.refuse(line.place, Issue::row(reason)),
                Ok(replaces) => self.keep(key, &line, replaces),
            }
        }
        Ok(())
    }

    fn is_repeated(&mut self, key: BasketKey, lines: &[Waiting]) -> bool {
        let within = self.mapping.cleaning.same_order_within_seconds;
        let Some(first) = lines.first().filter(|_| within > 0) else { return false };
        let (Some((member, _)), Some(at)) = (first.buyer, first.at.local_seconds()) else {
            return false;
        };
        if lines.iter().any(|line| line.buyer != first.buyer) {
            return false;
        }
        // the same lines in any order, whenever they were
        let content = lines.iter().fold(0_i64, |sum, line| sum.wrapping_add(line.timeless));
        self.orders.is_repeated(member, content, at, key, within)
    }

    /// A line of a basket of somebody who was merged into the buyer meanwhile, or of a refund that
    /// names one: it stays with the basket, so that both go back together when the merge is undone.
    fn as_before_merge(
        &mut self,
        key: BasketKey,
        mut line: Waiting,
    ) -> Result<Waiting, ImportError> {
        for basket in [Some(key), line.original].into_iter().flatten() {
            self.open_basket(basket)?;
            let owner = self.open.get(&basket).and_then(|open| open.basket.member);
            let (Some(owner), Some((buyer, _))) = (owner, line.buyer) else { continue };
            if owner != buyer
                && let Some((into, subject)) = self.vault.merged_into(owner)?
                && into == buyer
            {
                line.buyer = Some((owner, subject.get()));
            }
        }
        Ok(line)
    }

    /// Takes a line into its basket: gives the fact that it replaces, if any, or says why not.
    fn take(
        &mut self,
        key: BasketKey,
        line: &Waiting,
    ) -> Result<Result<Option<i64>, DropReason>, ImportError> {
        let member = line.buyer.map(|(id, _)| id);
        if let Some(original) = line.original {
            self.open_basket(original)?;
            let others = self.open.get(&original).is_some_and(|open| open.basket.member != member);
            if others {
                return Ok(Err(DropReason::OthersBasket));
            }
        }
        let lowers = line.original.filter(|original| self.open.contains_key(original));
        let fact = i64::from(self.next_file) * FILE_ROWS_MAX
            + i64::try_from(self.rows.len()).unwrap_or(FILE_ROWS_MAX);
        self.open_basket(key)?;
        let open = self.open.entry(key).or_insert_with(|| {
            let mut basket = Basket::new(member, line.at.day, line.channel);
            basket.lowers = lowers.filter(|original| *original != key);
            Open { before: None, counted: Fen::ZERO, sum: 0, basket, changed: false }
        });
        if open.basket.member != member {
            return Ok(Err(DropReason::OthersBasket));
        }
        let new = NewLine {
            number: line.number,
            fact,
            fen: line.amount.get(),
            department: &line.department,
            print: line.print,
        };
        let replaces = match open.basket.take(&new, self.first_fact) {
            Taken::New => None,
            Taken::Replaces(fact) => Some(fact),
            Taken::Known => return Ok(Err(DropReason::Duplicate)),
            Taken::Contradicts => return Ok(Err(DropReason::Contradiction)),
            Taken::TooLarge => return Ok(Err(DropReason::BasketTooLarge)),
        };
        open.changed = true;
        self.bytes += 128 + line.department.len();
        Ok(Ok(replaces))
    }

    fn keep(&mut self, key: BasketKey, line: &Waiting, replaces: Option<i64>) {
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
        if let Some(fact) = replaces {
            adjusted(Adjustment::Corrected);
            self.removed.push(fact);
        }
        let refund = line.amount < Fen::ZERO || line.quantity < 0;
        if refund {
            adjusted(Adjustment::Refund);
        }
        report.rows_read += 1;
        report.rows_kept += 1;
        report.refund_rows += u64::from(refund);
        report.guest_rows += u64::from(line.buyer.is_none());
        report.amount_fen = report.amount_fen.saturating_add(line.amount.get());
        let fact = i64::from(self.next_file) * FILE_ROWS_MAX
            + i64::try_from(self.rows.len()).unwrap_or(FILE_ROWS_MAX);
        self.rows.push(&Row {
            member: line.buyer.map(|(_, subject)| subject),
            day: line.at.day,
            department: &line.department,
            basket: key.fact_number(),
            quantity: line.quantity,
            amount_fen: line.amount.get(),
            channel: Some(line.channel.name()),
            fact: Some(fact),
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
        let open =
            Open { before, counted: now.counted()?, sum: now.sum(), basket: now, changed: false };
        self.open.insert(key, open);
        Ok(())
    }

    /// Reads the baskets that are neither open nor read.
    fn load(&mut self, keys: impl Iterator<Item = BasketKey>) -> Result<(), ImportError> {
        let keys: BTreeSet<BasketKey> = keys.filter(|key| !self.open.contains_key(key)).collect();
        if keys.len() > 1 {
            self.loaded.clear();
        }
        let keys: Vec<BasketKey> = keys.into_iter().collect();
        for keys in keys.chunks(BASKETS_AT_ONCE) {
            let found = self.facts.catalogue().baskets(keys)?;
            self.loaded.extend(keys.iter().copied().zip(found));
        }
        Ok(())
    }

    fn member(&mut self, card: &CardNumber) -> Result<Buyer, ImportError> {
        if let Some(known) = self.cards.get(card.expose()) {
            return Ok(*known);
        }
        let found = match self.vault.by_card(card)? {
            // erased between the one and the other
            Some(id) => match self.vault.subject(id) {
                Err(VaultError::UnknownMember) => None,
                subject => Some((id, subject?.get())),
            },
            None => None,
        };
        if self.cards.len() >= CARDS_MAX {
            self.cards.clear();
        }
        self.cards.insert(card.expose().to_owned(), found);
        Ok(found)
    }

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

    fn basket_key(&mut self, number: &str) -> BasketKey {
        match &self.last_basket {
            // lines of a basket mostly follow each other
            Some((last, key)) if last == number => *key,
            _ => {
                let hash = self.vault.blind(BlindIndex::Basket, number.as_bytes());
                let mut bytes = [0; 16];
                bytes.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
                let key = BasketKey::from_bytes(bytes);
                self.last_basket = Some((number.to_owned(), key));
                key
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
    }
}
