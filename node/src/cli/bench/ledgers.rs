//! An alliance of ledgers in one thread: what the protocol costs without disk and network, by role.
//!
//! The very state machines that nodes run, with messages passed as the bytes that would travel and
//! records encoded as they would be written. Time is read around each call and booked to whoever's
//! work it was.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use protocol::amount::{Points, Rate, Value};
use protocol::constitution::{
    Brand, BrandKeys, Constitution, ConstitutionError, Draft, PAYLOAD_MIN, Succession,
};
use protocol::crypto::sealed::{Cipher, KeyRing, SealingSecret};
use protocol::crypto::{SignatureError, SigningKey};
use protocol::exchange::{Exchange, Payload, PayloadError};
use protocol::ids::{BrandId, ConstitutionHash, Epoch, Height, MemberHandle, RequestId};
use protocol::ledger::{Archive, Context, Ledger, LedgerKeys, PeerFault};
use protocol::time::{Milliseconds, Timestamp};
use protocol::witness::build::OwnBlock;
use protocol::witness::message::Message;
use protocol::witness::state::Outbox;
use protocol::witness::statement::{UnverifiedCertificate, VotingKeys};
use protocol::witness::writer::{Entropy, SubmitError};
use ring::rand::{SecureRandom as _, SystemRandom};

/// Whose work something was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Taking submissions.
    Submit,
    /// Building, sealing and proposing a block.
    Build,
    /// The writer's part once witnesses answer.
    Conclude,
    /// Encoding the writer's messages.
    WriterEncode,
    /// The writer's records.
    WriterRecords,
    /// Reading a message, at a brand that the block says something to.
    ReceiverDecode,
    /// Judging a block that says something to this brand.
    Receiver,
    /// The receiver's records.
    ReceiverRecords,
    /// Reading a message, at any other brand.
    WitnessDecode,
    /// Judging a block that says nothing to this brand.
    Witness,
    /// The witness's records.
    WitnessRecords,
}

/// Why an alliance of ledgers stopped.
#[derive(Debug, thiserror::Error)]
pub enum LedgersError {
    /// No such alliance.
    #[error(transparent)]
    Constitution(#[from] ConstitutionError),
    /// A key.
    #[error(transparent)]
    Key(#[from] SignatureError),
    /// No price.
    #[error(transparent)]
    Price(#[from] PayloadError),
    /// Not taken.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// A peer's block.
    #[error(transparent)]
    Peer(#[from] PeerFault),
    /// An amount or an id.
    #[error("{0}")]
    Other(String),
}

fn other(error: impl std::fmt::Display) -> LedgersError {
    LedgersError::Other(error.to_string())
}

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

/// What was spent.
#[derive(Clone, Debug, Default)]
pub struct Costs {
    /// Time by work, of all blocks.
    pub spent: BTreeMap<Work, Duration>,
    /// Time by work, of the block for which it was least: what else ran on the machine is not in it.
    pub least: BTreeMap<Work, Duration>,
    // of the block at hand
    block: BTreeMap<Work, Duration>,
    /// Bytes of all messages.
    pub message_bytes: u64,
    /// Bytes of messages to brands that the block says nothing to, but for their fragments.
    pub witness_bytes: u64,
    /// Bytes of all records.
    pub record_bytes: u64,
    /// Leaves of all blocks.
    pub leaves: u64,
}

/// An alliance of ledgers.
pub struct Ledgers {
    constitution: Constitution,
    ledgers: BTreeMap<BrandId, Ledger>,
    entropy: System,
    now: Timestamp,
    next_request: u64,
    /// Bytes of the fragment that a brand to which a block says nothing got last.
    pub fragment_bytes: u64,
    /// What was spent so far.
    pub costs: Costs,
}

fn seed(number: u8, role: u8) -> [u8; 32] {
    let mut seed = [role; 32];
    seed[0] = number;
    seed
}

impl Ledgers {
    /// An alliance of `brands` brands.
    ///
    /// # Errors
    /// For fewer than 2 brands or more than 21.
    pub fn new(brands: u8) -> Result<Self, LedgersError> {
        let ids = (0..brands)
            .map(|number| BrandId::new(&format!("brand-{number:02}")).map_err(other))
            .collect::<Result<Vec<_>, _>>()?;
        let one = Rate::new(1, 1).map_err(other)?;
        let limit = Value::new(1_000_000_000_000_000).map_err(other)?;
        let mut members = BTreeMap::new();
        for (number, id) in (1_u8..).zip(&ids) {
            let sign = |role| SigningKey::from_seed(&seed(number, role)).map(|key| key.public());
            let keys = BrandKeys {
                log: sign(0)?,
                vote: sign(1)?,
                checkpoint: sign(2)?,
                witness: sign(3)?,
                governance: sign(4)?,
                network: sign(5)?,
                sealing: SealingSecret::derive(&seed(number, 6)).1,
                recovery: SealingSecret::derive(&seed(number, 7)).1,
            };
            let point_value = Rate::new(1_000_000, 1).map_err(other)?;
            let brand = Brand { keys, point_value, pair_limit: limit, total_limit: limit };
            members.insert(*id, brand);
        }
        let pairs = ids.iter().flat_map(|from| ids.iter().map(move |to| (*from, *to)));
        let constitution = Constitution::new(Draft {
            alliance: BrandId::new("bench").map_err(other)?,
            epoch: Epoch::new(1),
            hash: ConstitutionHash::from_bytes([1; 32]),
            brands: members,
            rates: pairs.filter(|(from, to)| from != to).map(|pair| (pair, one)).collect(),
            total_step: Value::new(100_000_000_000).map_err(other)?,
            payload_size: PAYLOAD_MIN,
            return_window: Milliseconds::from_seconds(86_400),
            protocol_version: 0,
            cipher: Cipher::default(),
            auditors: Vec::new(),
            succession: Succession::default(),
        })?;
        let mut ledgers = BTreeMap::new();
        for (number, id) in (1_u8..).zip(&ids) {
            let key = |role| SigningKey::from_seed(&seed(number, role));
            let keys = LedgerKeys {
                voting: VotingKeys { log: key(0)?, vote: key(1)? },
                checkpoint: key(2)?,
                witness: key(3)?,
                sealing: KeyRing::new(SealingSecret::derive(&seed(number, 6)).0).map_err(other)?,
            };
            ledgers.insert(*id, Ledger::new(*id, constitution.clone(), keys));
        }
        let mut alliance = Self {
            constitution,
            ledgers,
            entropy: System(SystemRandom::new()),
            now: Timestamp::from_unix_ms(1_700_000_000_000),
            next_request: 0,
            fragment_bytes: 0,
            costs: Costs::default(),
        };
        alliance.start();
        Ok(alliance)
    }

    /// Every node announces its start and hears the others' acknowledgements.
    fn start(&mut self) {
        let mut queue = VecDeque::new();
        for (id, ledger) in &mut self.ledgers {
            let mut out = Outbox::default();
            let (now, entropy) = (self.now, &mut self.entropy);
            ledger.resume(&mut Context { now, entropy, archive: &NoPast }, &mut out);
            queue.extend(out.messages.into_iter().map(|(to, message)| (*id, to, message)));
        }
        while let Some((from, to, message)) = queue.pop_front() {
            let Some(ledger) = self.ledgers.get_mut(&to) else { continue };
            let mut out = Outbox::default();
            let (now, entropy) = (self.now, &mut self.entropy);
            let mut context = Context { now, entropy, archive: &NoPast };
            // nothing but starts and their acknowledgements is under way
            let _ = ledger.handle(from, message, &mut context, &mut out);
            queue.extend(out.messages.into_iter().map(|(next, message)| (to, next, message)));
        }
    }

    /// The brands.
    #[must_use]
    pub fn brands(&self) -> &[BrandId] {
        self.constitution.committee().brands()
    }

    /// Height of the last certified block of a log, as its writer knows it.
    #[must_use]
    pub fn height(&self, log: BrandId) -> u64 {
        let own = self.ledgers.get(&log).and_then(|ledger| ledger.witness(log));
        own.map_or(0, |own| own.tip().height.get())
    }

    fn book(&mut self, work: Work, began: Instant) {
        *self.costs.block.entry(work).or_default() += began.elapsed();
    }

    /// One block of `writer` with `count` exchanges to `to`, until everyone has it certified.
    ///
    /// # Errors
    /// When a ledger refuses what an honest one never should.
    pub fn block(
        &mut self,
        writer: BrandId,
        to: BrandId,
        count: usize,
    ) -> Result<(), LedgersError> {
        let payloads = (0..count)
            .map(|_| self.exchange(writer, to))
            .collect::<Result<Vec<_>, LedgersError>>()?;
        self.now = self.now.plus(Milliseconds::new(100));
        let began = Instant::now();
        let ledger = self.ledgers.get_mut(&writer).ok_or_else(|| other("no such brand"))?;
        for payload in payloads {
            ledger.submit_sealed(to, payload)?;
        }
        self.book(Work::Submit, began);
        let mut out = Outbox::default();
        let began = Instant::now();
        let ledger = self.ledgers.get_mut(&writer).ok_or_else(|| other("no such brand"))?;
        let mut context = Context { now: self.now, entropy: &mut self.entropy, archive: &NoPast };
        ledger.poll(&mut context, &mut out);
        self.book(Work::Build, began);
        let mut queue = VecDeque::new();
        self.take_out(writer, (writer, to), out, &mut queue);
        while let Some((from, at, bytes)) = queue.pop_front() {
            self.deliver((writer, to), from, at, &bytes, &mut queue)?;
        }
        for (work, time) in std::mem::take(&mut self.costs.block) {
            *self.costs.spent.entry(work).or_default() += time;
            let least = self.costs.least.entry(work).or_insert(time);
            *least = time.min(*least);
        }
        Ok(())
    }

    fn exchange(&mut self, from: BrandId, to: BrandId) -> Result<Payload, LedgersError> {
        self.next_request += 1;
        let mut id = [7; 16];
        id[..8].copy_from_slice(&self.next_request.to_be_bytes());
        let exchange = Exchange::price(
            &self.constitution,
            (from, to),
            MemberHandle::from_bytes(id),
            RequestId::from_bytes(id),
            Points::new(100).map_err(other)?,
        )?;
        Ok(Payload::Exchange(exchange))
    }

    fn deliver(
        &mut self,
        pair: (BrandId, BrandId),
        from: BrandId,
        at: BrandId,
        bytes: &[u8],
        queue: &mut VecDeque<(BrandId, BrandId, Vec<u8>)>,
    ) -> Result<(), LedgersError> {
        let (read, judge) = if at == pair.0 {
            (Work::Conclude, Work::Conclude)
        } else if at == pair.1 {
            (Work::ReceiverDecode, Work::Receiver)
        } else {
            (Work::WitnessDecode, Work::Witness)
        };
        let began = Instant::now();
        let message = Message::from_bytes(bytes).map_err(other)?;
        self.book(read, began);
        if judge == Work::Witness {
            let mut but_fragment = bytes.len() as u64;
            if let Message::Proposal(proposal) = &message {
                self.fragment_bytes = proposal.delivery.fragment.bytes().len() as u64;
                but_fragment = but_fragment.saturating_sub(self.fragment_bytes);
            }
            self.costs.witness_bytes += but_fragment;
        }
        let began = Instant::now();
        let ledger = self.ledgers.get_mut(&at).ok_or_else(|| other("no such brand"))?;
        let mut context = Context { now: self.now, entropy: &mut self.entropy, archive: &NoPast };
        let mut out = Outbox::default();
        ledger.handle(from, message, &mut context, &mut out)?;
        self.book(judge, began);
        self.take_out(at, pair, out, queue);
        Ok(())
    }

    fn take_out(
        &mut self,
        at: BrandId,
        pair: (BrandId, BrandId),
        out: Outbox,
        queue: &mut VecDeque<(BrandId, BrandId, Vec<u8>)>,
    ) {
        let work = if at == pair.0 {
            Work::WriterRecords
        } else if at == pair.1 {
            Work::ReceiverRecords
        } else {
            Work::WitnessRecords
        };
        let began = Instant::now();
        for record in &out.records {
            self.costs.record_bytes += record.to_bytes().len() as u64;
        }
        self.book(work, began);
        let began = Instant::now();
        for (to, message) in out.messages {
            let bytes = message.into_bytes();
            self.costs.message_bytes += bytes.len() as u64;
            queue.push_back((at, to, bytes));
        }
        let work = if at == pair.0 { Work::WriterEncode } else { work };
        self.book(work, began);
        for block in out.written {
            self.costs.leaves += block.leaves().count() as u64;
        }
    }
}
