//! An alliance's published logs, as large as one likes: written by the very ledgers that nodes run, in
//! one thread and without a network, straight into tiles.
//!
//! Every block is built, sealed, voted on and certified; every brand exchanges with every other, links
//! come first, some exchanges are sent back, each block recognises the others' last, and at the end
//! there is a clearing: closings, statements, payments stated and confirmed, discharges. Nothing is
//! synced: what a crash leaves is of no use to anyone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use protocol::amount::Points;
use protocol::audit::{CERTIFICATES_FILE, CHECKPOINT_FILE};
use protocol::clearing::{Absent, CheckedClosing, Settlement, Statement, check_closing};
use protocol::codec;
use protocol::constitution::Constitution;
use protocol::exchange::{Exchange, Link, Payload, Return, ReturnReason};
use protocol::ids::{BrandId, HeaderHash, Height, MemberHandle, RequestId};
use protocol::ledger::{Archive, Context, Ledger, LedgerKeys};
use protocol::log::block::{ColumnContent, Header, PublicEntry, StatementEntry};
use protocol::log::merkle::Leaf;
use protocol::log::settlement::{Payment, PaymentReference};
use protocol::log::tiles::{TileFile, TilePath, TileWriter};
use protocol::time::{Milliseconds, Timestamp};
use protocol::witness::build::OwnBlock;
use protocol::witness::message::Message;
use protocol::witness::state::{FinalBlock, Outbox};
use protocol::witness::statement::{Certificate, UnverifiedCertificate};
use protocol::witness::writer::Entropy;
use ring::rand::{SecureRandom as _, SystemRandom};

/// Of so many exchanges one is sent back.
const RETURNED: u64 = 100;
/// Members that a brand exchanges for.
const MEMBERS: u64 = 100_000;
/// Between blocks of one log.
const PACE: Milliseconds = Milliseconds::from_seconds(1);
/// Ticks after the last block, and the time between them: enough for checkpoints to be cosigned.
const TICKS: u32 = 60;
const TICK: Milliseconds = Milliseconds::new(50);

/// Why logs could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// A file.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Ledgers did what honest ones never do to each other.
    #[error("the ledgers did not go on: {0}")]
    Ledger(String),
}

fn stuck(problem: impl std::fmt::Display) -> LogsError {
    LogsError::Ledger(problem.to_string())
}

/// Nobody falls behind here.
struct NoPast;
impl Archive for NoPast {
    fn block(&self, _: Height) -> Option<(OwnBlock, UnverifiedCertificate)> {
        None
    }
}

struct System(SystemRandom);
impl Entropy for System {
    fn fill(&mut self, bytes: &mut [u8]) {
        assert!(self.0.fill(bytes).is_ok(), "the system's random generator failed");
    }
}

/// The last block of a log, for its closing.
struct Last {
    header: Header,
    id: HeaderHash,
    contents: Vec<ColumnContent>,
}

/// One brand's ledger with its log.
struct Party {
    ledger: Ledger,
    files: LogFiles,
    last: Option<Last>,
    closing: Option<CheckedClosing>,
    // that go into its next block
    returns: usize,
}

/// An alliance of ledgers that write their logs.
pub struct Writers<'a> {
    constitution: &'a Constitution,
    brands: Vec<BrandId>,
    parties: BTreeMap<BrandId, Party>,
    messages: VecDeque<(BrandId, BrandId, Message)>,
    entropy: System,
    now: Timestamp,
    next: u64,
}

impl<'a> Writers<'a> {
    /// Every brand's ledger starts, with a folder of its own for its log.
    ///
    /// # Errors
    /// When a folder cannot be made.
    pub fn start(
        folder: &Path,
        constitution: &'a Constitution,
        keys: Vec<(BrandId, LedgerKeys)>,
    ) -> Result<Self, LogsError> {
        let brands = keys.iter().map(|(brand, _)| *brand).collect();
        let mut parties = BTreeMap::new();
        for (brand, keys) in keys {
            let party = Party {
                ledger: Ledger::new(brand, constitution.clone(), keys),
                files: LogFiles::create(folder.join(brand.as_str()))?,
                last: None,
                closing: None,
                returns: 0,
            };
            parties.insert(brand, party);
        }
        let mut writers = Self {
            constitution,
            brands,
            parties,
            messages: VecDeque::new(),
            entropy: System(SystemRandom::new()),
            now: Timestamp::from_unix_ms(1_700_000_000_000),
            next: 0,
        };
        for brand in writers.brands.clone() {
            writers.act(brand, |ledger, context, out| ledger.resume(context, out))?;
        }
        writers.deliver()?;
        Ok(writers)
    }

    /// One block of every log, `leaves` each, header included. Gives how many entries all logs have.
    ///
    /// # Errors
    /// When a ledger refuses what an honest one never should, or a file cannot be written.
    pub fn fill(&mut self, leaves: usize) -> Result<u64, LogsError> {
        let first = self.next == 0;
        for from in self.brands.clone() {
            let mut room = leaves.saturating_sub(1);
            room = room.saturating_sub(std::mem::take(&mut self.party(from)?.returns));
            let others: Vec<BrandId> =
                self.brands.iter().copied().filter(|to| *to != from).collect();
            for to in others.iter().filter(|_| first) {
                let (code, handle) = (format!("LINK-{:08}", self.next), self.member());
                let link = Payload::Link(Link { code, handle });
                self.party(from)?.ledger.submit_sealed(*to, link).map_err(stuck)?;
                room = room.saturating_sub(1);
            }
            for to in others.iter().cycle().take(room) {
                let exchange = self.exchange(from, *to)?;
                self.party(from)?.ledger.submit_sealed(*to, exchange).map_err(stuck)?;
            }
        }
        self.round()?;
        Ok(self.parties.values().map(|party| party.files.tiles.size().get()).sum())
    }

    /// Closes all accounts, states and confirms what is to be paid, and discharges it.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub fn clear(&mut self) -> Result<(), LogsError> {
        let cut_off = self.now;
        self.now = self.now.plus(PACE);
        for brand in self.brands.clone() {
            let Party { ledger, last, .. } = self.party(brand)?;
            let closed = last.as_ref().map(|last| (&last.header, last.id));
            let contents = last.as_ref().map_or(&[][..], |last| &last.contents);
            let closing = ledger.close(cut_off, closed, contents).map_err(stuck)?;
            ledger.submit_public(PublicEntry::Closing(closing)).map_err(stuck)?;
        }
        self.round()?;
        let closings = self.parties.values().filter_map(|party| party.closing.as_ref());
        let constitutions = self.constitution.clone().into();
        let statement = Statement::derive(&constitutions, cut_off, closings, &Absent::default())
            .map_err(stuck)?;
        let mut settlement = Settlement::new(statement, &Absent::default());
        let statement = settlement.hash();
        for brand in self.brands.clone() {
            let entry = PublicEntry::Statement(StatementEntry { cut_off, statement });
            self.party(brand)?.ledger.submit_public(entry).map_err(stuck)?;
            settlement.agree(brand, statement);
        }
        self.round()?;
        let reference = PaymentReference::new("BENCH-AUDIT").map_err(stuck)?;
        for it in settlement.statement().instructions.clone() {
            let (payer, payee, value) = (it.payer, it.payee, it.value);
            let reference = reference.clone();
            let payment = Payment { cut_off, statement, payer, payee, value, reference };
            let settled = PublicEntry::Settled(payment.clone());
            self.party(payer)?.ledger.submit_public(settled).map_err(stuck)?;
            settlement.confirm(&payment).map_err(stuck)?;
            let confirmed = PublicEntry::SettlementConfirmed(payment);
            self.party(payee)?.ledger.submit_public(confirmed).map_err(stuck)?;
        }
        self.round()?;
        for brand in self.brands.clone() {
            let granted = settlement.discharges(brand);
            self.party(brand)?.ledger.discharge(granted);
        }
        // granted in one block, recognised in the next
        self.round()?;
        self.round()
    }

    /// Has the last checkpoints cosigned and writes what is still to be written.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub fn finish(mut self) -> Result<(), LogsError> {
        for _ in 0..TICKS {
            for brand in self.brands.clone() {
                self.act(brand, |ledger, context, out| ledger.tick(context, out))?;
            }
            self.deliver()?;
            self.now = self.now.plus(TICK);
        }
        for (brand, party) in self.parties {
            let checkpoint = party.ledger.checkpoint();
            let checkpoint =
                checkpoint.ok_or_else(|| stuck(format_args!("{brand} signed none")))?;
            party.files.finish(&checkpoint.to_string())?;
        }
        Ok(())
    }

    fn party(&mut self, brand: BrandId) -> Result<&mut Party, LogsError> {
        self.parties.get_mut(&brand).ok_or_else(|| stuck(format_args!("no brand {brand}")))
    }

    fn id(number: u64) -> [u8; 16] {
        let mut id = [7; 16];
        id.iter_mut().zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
        id
    }

    fn member(&mut self) -> MemberHandle {
        self.next += 1;
        MemberHandle::from_bytes(Self::id(self.next % MEMBERS))
    }

    fn exchange(&mut self, from: BrandId, to: BrandId) -> Result<Payload, LogsError> {
        let handle = self.member();
        let points = Points::new(1 + self.next % 500).map_err(stuck)?;
        let request = RequestId::from_bytes(Self::id(self.next));
        let exchange = Exchange::price(self.constitution, (from, to), handle, request, points);
        Ok(Payload::Exchange(exchange.map_err(stuck)?))
    }

    /// Everyone builds a block, and all of them become final.
    fn round(&mut self) -> Result<(), LogsError> {
        let height = |party: &Party| party.last.as_ref().map(|last| last.header.height);
        let before: Vec<_> = self.parties.values().map(height).collect();
        for brand in self.brands.clone() {
            self.act(brand, |ledger, context, out| ledger.poll(context, out))?;
        }
        self.deliver()?;
        self.now = self.now.plus(PACE);
        let is_final = self.parties.values().map(height).ne(before.iter().copied());
        is_final.then_some(()).ok_or_else(|| stuck("no block became final"))
    }

    fn deliver(&mut self) -> Result<(), LogsError> {
        while let Some((from, to, message)) = self.messages.pop_front() {
            let mut fault = None;
            self.act(to, |ledger, context, out| {
                fault = ledger.handle(from, message, context, out).err();
            })?;
            if let Some(fault) = fault {
                return Err(stuck(fault));
            }
        }
        Ok(())
    }

    fn act(
        &mut self,
        brand: BrandId,
        action: impl FnOnce(&mut Ledger, &mut Context<'_>, &mut Outbox),
    ) -> Result<(), LogsError> {
        let Some(party) = self.parties.get_mut(&brand) else { return Ok(()) };
        let mut out = Outbox::default();
        let mut context = Context { now: self.now, entropy: &mut self.entropy, archive: &NoPast };
        action(&mut party.ledger, &mut context, &mut out);
        self.messages.extend(out.messages.into_iter().map(|(to, message)| (brand, to, message)));
        for block in &out.written {
            party.publish(block, &out.finals)?;
        }
        for block in out.finals.iter().filter(|block| block.block.log != brand) {
            party.apply(block)?;
        }
        Ok(())
    }
}

impl Party {
    fn publish(&mut self, block: &OwnBlock, finals: &[FinalBlock]) -> Result<(), LogsError> {
        let reference = block.reference();
        let same = finals.iter().find(|same| same.block == reference);
        let same = same.ok_or_else(|| stuck("a block was written and is not final"))?;
        self.files.append(block, &same.certificate)?;
        let before = self.last.as_ref().map(|last| (&last.header, last.id));
        for (_, entry) in &same.public {
            if let PublicEntry::Closing(closing) = entry {
                self.closing = Some(check_closing(closing, before, &same.header).map_err(stuck)?);
            }
        }
        let (header, contents) = (same.header.clone(), block.contents().to_vec());
        self.last = Some(Last { header, id: reference.header, contents });
        Ok(())
    }

    fn apply(&mut self, block: &FinalBlock) -> Result<(), LogsError> {
        let payloads = block.payloads.as_ref().map_err(stuck)?;
        let back = |(index, payload): &(_, Payload)| match payload {
            Payload::Exchange(exchange) if exchange.sent.get() % RETURNED == 7 => {
                Return::whole(*index, ReturnReason::NotLinked, payload)
            }
            _ => None,
        };
        let returns: Vec<Return> = payloads.iter().filter_map(back).collect();
        self.returns += returns.len();
        self.ledger.applied(block.block.log, returns, !payloads.is_empty()).map_err(stuck)
    }
}

/// One log's folder while it is written.
struct LogFiles {
    folder: PathBuf,
    tiles: TileWriter,
    // by the full tile that will take its place
    partial: BTreeMap<TilePath, TileFile>,
    folders: BTreeSet<PathBuf>,
    certificates: std::io::BufWriter<fs::File>,
}

impl LogFiles {
    fn create(folder: PathBuf) -> Result<Self, LogsError> {
        let wrong = |source| LogsError::File { path: folder.clone(), source };
        fs::create_dir_all(&folder).map_err(wrong)?;
        let certificates = fs::File::create_new(folder.join(CERTIFICATES_FILE)).map_err(wrong)?;
        Ok(Self {
            folder,
            tiles: TileWriter::empty(),
            partial: BTreeMap::new(),
            folders: BTreeSet::new(),
            certificates: std::io::BufWriter::new(certificates),
        })
    }

    fn append(&mut self, block: &OwnBlock, certificate: &Certificate) -> Result<(), LogsError> {
        let leaves = block.leaves().map(|leaf| Leaf::new(leaf.to_vec()));
        let leaves = leaves.collect::<Result<Vec<_>, _>>().map_err(stuck)?;
        for file in self.tiles.append(&leaves).map_err(stuck)?.files {
            if file.path.is_full() {
                self.partial.remove(&file.path);
                self.write(&file.path.to_string(), &file.bytes)?;
            } else {
                // the next block may replace it
                self.partial.insert(file.path.full(), file);
            }
        }
        let bytes = codec::encode(certificate.as_unverified());
        self.certificates.write_all(&bytes).map_err(|source| self.wrong(source))
    }

    fn finish(mut self, checkpoint: &str) -> Result<(), LogsError> {
        for file in std::mem::take(&mut self.partial).into_values() {
            self.write(&file.path.to_string(), &file.bytes)?;
        }
        self.write(CHECKPOINT_FILE, checkpoint.as_bytes())?;
        self.certificates.flush().map_err(|source| self.wrong(source))
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), LogsError> {
        let path = self.folder.join(name);
        let wrong = |source| LogsError::File { path: path.clone(), source };
        if let Some(folder) = path.parent()
            && !self.folders.contains(folder)
        {
            fs::create_dir_all(folder).map_err(wrong)?;
            self.folders.insert(folder.to_path_buf());
        }
        fs::write(&path, bytes).map_err(wrong)
    }

    fn wrong(&self, source: std::io::Error) -> LogsError {
        LogsError::File { path: self.folder.join(CERTIFICATES_FILE), source }
    }
}
