//! Blocks that are false in one way each: every [`Lie`] is something that a witness, or the counterparty,
//! must refuse. How they are brought before witnesses is [`super::counterfeiter`]'s.

use std::collections::BTreeMap;

use protocol::amount::{Points, Value};
use protocol::constitution::Committee;
use protocol::crypto::sealed::{BlockSecret, Cipher};
use protocol::disclosure::Disclosure;
use protocol::epochs::DraftReference;
use protocol::epochs::adoption::DRAFTS_MAX;
use protocol::exchange::{Exchange, Payload};
use protocol::ids::{
    BlockNonce, BrandId, ConstitutionHash, Epoch, FragmentsRoot, HeaderHash, Height, MemberHandle,
    RequestId, RootHash, StatementHash,
};
use protocol::ledger::Ledger;
use protocol::log::block::{BlockReference, ColumnContent, Header, PublicEntry, Recognised};
use protocol::log::fragments::Shape;
use protocol::log::kept::OperationLogHead;
use protocol::log::merkle::leaf_hash;
use protocol::log::settlement::{Discharge, Payment, PaymentReference};
use protocol::time::{Milliseconds, Timestamp};
use protocol::witness::build::{OwnBlock, Plan, body_bytes};
use protocol::witness::guards::Guards;
use protocol::witness::message::CertifiedHeader;
use protocol::witness::writer::Entropy as _;

use super::counterfeiter::Counterfeiter;

/// What is false about a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Another price than the constitution's.
    Price,
    /// Exact totals that do not add up.
    Totals,
    /// More owed to one brand than the limit.
    PairLimit,
    /// More owed to all together than the limit.
    TotalLimit,
    /// More recognised of another log than it has sent.
    Recognised,
    /// A time that has not come yet.
    Future,
    /// A time before the last block's.
    Past,
    /// Another block before it.
    Predecessor,
    /// Another tree before it.
    Root,
    /// A public total that is no multiple of the step.
    PublicTotal,
    /// No column for some brand.
    Columns,
    /// Fragments that rebuild nothing.
    Fragments,
    /// Two drafts adopted that may follow the same constitution.
    TwoDrafts,
    /// A constitution taken up that too few have adopted.
    Usurped,
    /// A constitution taken up before it is in effect.
    Hasty,
    /// Payments confirmed that no entry confirms.
    Confirmed,
    /// More discharged than was ever sent.
    Discharged,
    /// A payment confirmed for another brand.
    ForAnother,
    /// Terms of a dispute that there is not, or not any more.
    Resolution,
    /// A partner closed out whose log goes on.
    ClosedOut,
    /// A version that is not the constitution's.
    Version,
    /// Leaves that are no power of two.
    Leaves,
    /// Sealed, as it says, with another cipher.
    Cipher,
    /// A sealing key said to be as old as the block.
    SealingKey,
    /// A secret wrapped to another key than its reader has.
    ReaderKey,
    /// Something disclosed to nobody.
    Stranger,
    /// A draft adopted that cannot follow the log's constitution.
    OddEpoch,
    /// A draft adopted and declined.
    SaidTwice,
    /// Something said of more drafts than there may be.
    ManyDrafts,
    /// A statement of another log shown that is not certified.
    FalseBallot,
    /// More public entries of a kind than a block may have.
    Crowd,
    /// Nothing but that it is final: it is shown as certified with fewer commits than a quorum's. Told when
    /// it is asked for alone, and so none of [`Lie::ALL`].
    Commits,
}

impl Lie {
    /// All that are about blocks themselves.
    pub const ALL: [Self; 31] = [
        Self::Price,
        Self::Totals,
        Self::PairLimit,
        Self::TotalLimit,
        Self::Recognised,
        Self::Future,
        Self::Past,
        Self::Predecessor,
        Self::Root,
        Self::PublicTotal,
        Self::Columns,
        Self::Fragments,
        Self::TwoDrafts,
        Self::Usurped,
        Self::Hasty,
        Self::Confirmed,
        Self::Discharged,
        Self::ForAnother,
        Self::Resolution,
        Self::ClosedOut,
        Self::Version,
        Self::Leaves,
        Self::Cipher,
        Self::SealingKey,
        Self::ReaderKey,
        Self::Stranger,
        Self::OddEpoch,
        Self::SaidTwice,
        Self::ManyDrafts,
        Self::FalseBallot,
        Self::Crowd,
    ];

    /// What is false about a block that breaks a rule of blocks; none where no lie does, or several do.
    #[must_use]
    pub const fn against(rule: u16) -> Option<Self> {
        Some(match rule {
            2 => Self::Version,
            5 => Self::Predecessor,
            7 => Self::Leaves,
            8 => Self::Past,
            9 => Self::Future,
            10 => Self::Columns,
            11 => Self::PublicTotal,
            12 => Self::Recognised,
            13 => Self::PairLimit,
            14 => Self::TotalLimit,
            16 => Self::Fragments,
            30 => Self::OddEpoch,
            31 => Self::SaidTwice,
            32 => Self::ManyDrafts,
            33 => Self::FalseBallot,
            34 => Self::TwoDrafts,
            35 => Self::Usurped,
            36 => Self::Hasty,
            45 => Self::Confirmed,
            46 => Self::Discharged,
            47 => Self::ForAnother,
            55 => Self::Cipher,
            56 => Self::SealingKey,
            57 => Self::ReaderKey,
            58 => Self::Stranger,
            59 => Self::Crowd,
            65 => Self::Resolution,
            66 => Self::ClosedOut,
            _ => return None,
        })
    }

    /// Whether the header is altered after the block was built: certificates that it carries are lost.
    const fn is_of_header(self) -> bool {
        matches!(
            self,
            Self::Past
                | Self::Predecessor
                | Self::Root
                | Self::PublicTotal
                | Self::Columns
                | Self::Fragments
                | Self::Confirmed
                | Self::Version
                | Self::Leaves
                | Self::Cipher
                | Self::SealingKey
                | Self::ReaderKey
        )
    }
}

/// A block as its false writer knows it.
#[derive(Clone)]
pub struct Counterfeit {
    /// The block.
    pub block: OwnBlock,
    /// Its header.
    pub header: Header,
    /// Whom it tells something false, and what that brand had verified before.
    pub deceived: Option<(BrandId, ColumnContent)>,
}

impl Counterfeiter {
    /// Builds a block for the open height, false in this way or sound.
    pub fn build<G: Guards>(
        &mut self,
        ledger: &Ledger<G>,
        now: Timestamp,
        lie: Option<Lie>,
    ) -> Option<Counterfeit> {
        let others: Vec<BrandId> = self.constitution.committee().witnesses(self.me).collect();
        let to = *others.get(self.prng.below(others.len()))?;
        let recognised = match lie {
            Some(lie) if lie.is_of_header() => BTreeMap::new(),
            _ => self.recognised(ledger, lie == Some(Lie::Recognised)),
        };
        let mut contents = self.contents.clone();
        // goes on as if the false block had said nothing to whom it deceived
        let deceived = self.deceived.filter(|(deceived, _)| others.contains(deceived));
        let to = deceived.map_or(to, |(deceived, before)| {
            contents.insert(deceived, before);
            deceived
        });
        let verified = contents.get(&to).copied().unwrap_or_else(ColumnContent::nothing);
        if lie == Some(Lie::Totals) {
            let content = contents.entry(to).or_insert_with(ColumnContent::nothing);
            content.sent = content.sent.plus(Value::new(1).ok()?).ok()?;
        }
        let deceives = matches!(lie, Some(Lie::Price | Lie::Totals));
        let deceived = deceives.then_some((to, verified));
        let receivers = if lie == Some(Lie::TotalLimit) { others } else { vec![to] };
        let sealed: Option<Vec<(BrandId, Vec<Payload>)>> =
            receivers.into_iter().map(|to| Some((to, vec![self.payload(to, lie)?]))).collect();
        let sealed = sealed?;
        let (mut secret, mut nonce) = ([0; 32], [0; 16]);
        self.prng.fill(&mut secret);
        self.prng.fill(&mut nonce);
        let hour = Milliseconds::from_seconds(3600);
        let mut public = self.entries(ledger, now, lie, to);
        match lie {
            Some(Lie::Resolution) => public.extend(self.false_terms(to)),
            Some(Lie::ClosedOut) => public.extend(self.false_end(ledger, to)),
            None => public.extend(self.offer(ledger)),
            Some(_) => {}
        }
        let plan = Plan {
            public,
            sealed: sealed.into_iter().collect(),
            recognised,
            discharged: self.discharged(now, lie, to),
            sealing: ledger.sealing_keys().current(),
            time: if lie == Some(Lie::Future) { now.plus(hour) } else { now },
            secret: BlockSecret::from_bytes(secret),
            nonce: BlockNonce::from_bytes(nonce),
        };
        let block =
            OwnBlock::build(&self.constitution, self.me, &self.tip, &contents, plan).ok()?;
        let payloads = block.payloads().to_vec();
        let mut header = Header::from_bytes(block.header_leaf()).ok()?;
        let is_altered = self.alter(&mut header, lie);
        let block = match lie {
            Some(Lie::Leaves) => shorter(&block, &mut header, self.constitution.committee())?,
            _ if is_altered => altered(&block, &header)?,
            _ => block,
        };
        let built = (block.reference().header, payloads, block.contents().to_vec());
        self.built.push(built);
        Some(Counterfeit { block, header, deceived })
    }

    fn payload(&mut self, to: BrandId, lie: Option<Lie>) -> Option<Payload> {
        self.requests += 1;
        let (mut handle, mut request) = ([0; 16], [0xff; 16]);
        self.prng.fill(&mut handle);
        request[..8].copy_from_slice(&self.requests.to_be_bytes());
        let pair = (self.me, to);
        let (handle, request) = (MemberHandle::from_bytes(handle), RequestId::from_bytes(request));
        let price = |points: u64| {
            let points = Points::new(points).ok()?;
            Exchange::price(&self.constitution, pair, handle, request, points).ok()
        };
        // a debt goes with the points that are sent
        let worth = price(100)?.owed.get() / 100;
        let points = match lie {
            Some(Lie::PairLimit) => crate::alliance::PAIR_LIMIT * 5 / 4 / worth,
            // below the pair's limit, and over the whole one with any two of them
            Some(Lie::TotalLimit) => crate::alliance::TOTAL_LIMIT * 3 / 5 / worth,
            _ => 3 + self.prng.below(10) as u64,
        };
        let mut exchange = price(points)?;
        if lie == Some(Lie::Price) {
            exchange.received = Points::new(points * 100).ok()?;
        }
        Some(Payload::Exchange(exchange))
    }

    fn recognised<G: Guards>(
        &self,
        ledger: &Ledger<G>,
        inflated: bool,
    ) -> BTreeMap<BrandId, (Recognised, CertifiedHeader)> {
        let newer = ledger.witnesses().filter_map(|(log, witness)| {
            let mut recognised = witness.recognisable(self.me)?;
            let certificate = witness.certificate()?.as_unverified().clone();
            let header = witness.header_leaf()?.to_vec();
            let newer = recognised.height > self.tip.recognised(log).height;
            if log == self.me || !newer {
                return None;
            }
            if inflated {
                let more = Value::new(crate::alliance::PAIR_LIMIT / 2).ok()?;
                recognised.sent = recognised.sent.plus(more).ok()?;
            }
            Some((log, (recognised, CertifiedHeader { header, certificate })))
        });
        newer.collect()
    }

    /// Alters a sound header; false if this lie is not in the header.
    fn alter(&mut self, header: &mut Header, lie: Option<Lie>) -> bool {
        let mut noise = [0; 32];
        self.prng.fill(&mut noise);
        match lie {
            Some(Lie::Past) => {
                let before = self.tip.time.unix_ms().saturating_sub(1);
                header.time = Timestamp::from_unix_ms(before);
            }
            Some(Lie::Predecessor) => {
                header.previous = HeaderHash::from_bytes(noise);
            }
            Some(Lie::Root) => header.previous_root = RootHash::from_bytes(noise),
            Some(Lie::PublicTotal) => {
                let Some(column) = header.columns.first_mut() else { return false };
                let Ok(one) = Value::new(1) else { return false };
                column.sent = column.sent.plus(one).unwrap_or(column.sent);
            }
            Some(Lie::Confirmed) => {
                let Some(column) = header.columns.first_mut() else { return false };
                let Ok(fen) = Value::new(1_000_000) else { return false };
                column.confirmed = column.confirmed.plus(fen).unwrap_or(column.confirmed);
            }
            Some(Lie::Columns) => drop(header.columns.pop()),
            Some(Lie::Version) => header.version = header.version.saturating_add(1),
            Some(Lie::Cipher) => {
                header.sealing.cipher = match header.sealing.cipher {
                    Cipher::Aes256Gcm => Cipher::Sm4Gcm,
                    Cipher::Sm4Gcm => Cipher::Aes256Gcm,
                };
            }
            Some(Lie::SealingKey) => {
                header.sealing.since = header.time.plus(Milliseconds::new(1));
            }
            Some(Lie::ReaderKey) => {
                let Some(own) = header.secrets.get(1).cloned() else { return false };
                let Some(recovery) = header.secrets.first_mut() else { return false };
                *recovery = own;
            }
            Some(Lie::Fragments) => header.fragments = FragmentsRoot::from_bytes(noise),
            _ => return false,
        }
        true
    }

    /// What everyone reads in the block: what takes up the constitution that is due, or what is false.
    fn entries<G: Guards>(
        &self,
        ledger: &Ledger<G>,
        now: Timestamp,
        lie: Option<Lie>,
        other: BrandId,
    ) -> Vec<PublicEntry> {
        let next = self.constitution.epoch().next();
        let adoption = next.and_then(|next| ledger.adoption(next));
        let follows = |draft: &DraftReference| Some(draft.epoch) == next;
        let drafts = ledger.progress().into_iter().map(|it| it.draft).filter(follows);
        match lie {
            Some(Lie::TwoDrafts) => drafts.take(2).map(PublicEntry::Adopted).collect(),
            Some(Lie::Usurped) => drafts.take(1).map(PublicEntry::Switch).collect(),
            Some(Lie::Hasty) => {
                let early = adoption.filter(|adoption| adoption.effect() > now);
                early.map(|adoption| adoption.entries()).unwrap_or_default()
            }
            Some(Lie::Stranger) => {
                let (auditor, first) = ("nobody".to_owned(), Height::new(1));
                let disclosure = Disclosure { auditor, first, secrets: Vec::new() };
                vec![PublicEntry::Disclosure(disclosure)]
            }
            Some(Lie::Crowd) => {
                let head = |entries| OperationLogHead { entries, head: [0; 32] };
                (1..=17).map(|entries| PublicEntry::OperationLogHead(head(entries))).collect()
            }
            Some(Lie::OddEpoch) => {
                let after_next = next.and_then(Epoch::next).map(|epoch| made_up(epoch, now, 0));
                after_next.map(PublicEntry::Adopted).into_iter().collect()
            }
            Some(Lie::SaidTwice) => {
                let draft = next.map(|epoch| made_up(epoch, now, 0));
                let both = |draft| [PublicEntry::Declined(draft), PublicEntry::Adopted(draft)];
                draft.into_iter().flat_map(both).collect()
            }
            Some(Lie::ManyDrafts) => {
                let Some(epoch) = next else { return Vec::new() };
                let most = u8::try_from(DRAFTS_MAX).unwrap_or(u8::MAX);
                (0..=most).map(|it| PublicEntry::Declined(made_up(epoch, now, it))).collect()
            }
            Some(Lie::FalseBallot) => {
                let Some(epoch) = next else { return Vec::new() };
                let shown = ledger.witnesses().find_map(|(_, witness)| {
                    let (draft, stance) = witness.stances().of_epoch(epoch).next()?;
                    Some(witness.stances().shown(draft, stance)?.1.clone())
                });
                let Some(mut ballot) = shown else { return Vec::new() };
                ballot.certificate.commits.clear();
                let declined = PublicEntry::Declined(made_up(epoch, now, 0));
                vec![declined, PublicEntry::Ballot(Box::new(ballot))]
            }
            Some(Lie::ForAnother) => {
                let Ok(value) = Value::new(1_000_000) else { return Vec::new() };
                let Ok(reference) = PaymentReference::new("false") else { return Vec::new() };
                let statement = StatementHash::from_bytes([0; 32]);
                let (payer, payee) = (self.me, other);
                let payment = Payment { cut_off: now, statement, payer, payee, value, reference };
                vec![PublicEntry::SettlementConfirmed(payment)]
            }
            _ => {
                let due = adoption.filter(|adoption| adoption.effect() <= now);
                due.map(|adoption| adoption.entries()).unwrap_or_default()
            }
        }
    }

    fn discharged(
        &self,
        now: Timestamp,
        lie: Option<Lie>,
        to: BrandId,
    ) -> BTreeMap<BrandId, Discharge> {
        let much = Value::new(crate::alliance::PAIR_LIMIT * 10).unwrap_or_default();
        let granted = Discharge { cut_off: now, sent: much, received: much };
        let false_grant = lie == Some(Lie::Discharged);
        if false_grant { BTreeMap::from([(to, granted)]) } else { BTreeMap::new() }
    }
}

/// A draft that nobody has the file of; another one at another time.
fn made_up(epoch: Epoch, now: Timestamp, number: u8) -> DraftReference {
    let mut hash = [number; 32];
    hash[..8].copy_from_slice(&now.unix_ms().to_be_bytes());
    DraftReference { epoch, constitution: ConstitutionHash::from_bytes(hash) }
}

/// The same without its last leaf, which is padding in small blocks.
fn shorter(block: &OwnBlock, header: &mut Header, committee: &Committee) -> Option<OwnBlock> {
    let mut leaves: Vec<Vec<u8>> = block.body().iter().map(<[u8]>::to_vec).collect();
    leaves.pop()?;
    let mut frontier = block.before().clone();
    for leaf in &leaves {
        frontier.append(leaf_hash(leaf)).ok()?;
    }
    let bytes = body_bytes(leaves.iter().map(Vec::as_slice)).ok()?;
    header.body_leaves = u32::try_from(leaves.len()).ok()?;
    header.body_bytes = u32::try_from(bytes.len()).ok()?;
    header.body_root = frontier.root();
    header.fragments = Shape::of(committee).cut(&bytes).ok()?.0;
    let (bytes, id) = header.to_leaf();
    frontier.append(leaf_hash(&bytes)).ok()?;
    leaves.push(bytes);
    let (size, root) = (frontier.size(), frontier.root());
    let reference = BlockReference { header: id, size, root, ..block.reference() };
    OwnBlock::restore(reference, leaves, block.contents().to_vec(), block.before().clone())
}

/// The same leaves under another header.
fn altered(block: &OwnBlock, header: &Header) -> Option<OwnBlock> {
    let (bytes, id) = header.to_leaf();
    let mut leaves: Vec<Vec<u8>> = block.leaves().map(<[u8]>::to_vec).collect();
    *leaves.last_mut()? = bytes;
    let mut frontier = block.before().clone();
    for leaf in &leaves {
        frontier.append(leaf_hash(leaf)).ok()?;
    }
    let reference = BlockReference { header: id, root: frontier.root(), ..block.reference() };
    OwnBlock::restore(reference, leaves, block.contents().to_vec(), block.before().clone())
}
