//! Makes a block of the own log, and each receiver's view of it.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use super::message::{CertifiedHeader, Delivery, EntryBytes, Extension, LeafRun};
use super::rules::Tip;
use crate::amount::AmountError;
use crate::codec::WIRE_VERSION;
use crate::constitution::Constitution;
use crate::crypto::sealed::{BlockSecret, SealError};
use crate::epochs::Constitutions;
use crate::exchange::Payload;
use crate::ids::{BlockNonce, BrandId, HeaderHash, LeafHash, LeafIndex, RootHash, TreeSize};
use crate::log::block::{
    BLOCK_LEAVES_MAX, BLOCK_LEAVES_MIN, BODY_MAX, BlockReference, BlockTree, Column, ColumnContent,
    ColumnOpening, Entry, Header, PublicEntry, Recognised, hash_of_leaves,
};
use crate::log::fragments::{Fragment, FragmentError, Shape};
use crate::log::merkle::{Frontier, FrontierError, MissingHash, leaf_hash};
use crate::log::proof::{ConsistencyProof, ProveError};
use crate::log::range::{HeaderProof, RangeProof};
use crate::time::Timestamp;

/// Recipient name of the recovery key.
pub const RECOVERY: &str = "recovery";

/// What goes into a block.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In clear, for everyone.
    pub public: Vec<PublicEntry>,
    /// Sealed, by counterparty, in order.
    pub sealed: BTreeMap<BrandId, Vec<Payload>>,
    /// Blocks of other logs that are recognised from now on.
    pub recognised: BTreeMap<BrandId, (Recognised, CertifiedHeader)>,
    /// When it is built.
    pub time: Timestamp,
    /// Fresh random.
    pub secret: BlockSecret,
    /// Fresh random.
    pub nonce: BlockNonce,
}

/// Why a block cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// An amount left its range.
    #[error(transparent)]
    Amount(#[from] AmountError),
    /// The fragments cannot be made.
    #[error(transparent)]
    Fragments(#[from] FragmentError),
    /// The tree is full.
    #[error(transparent)]
    Tree(#[from] FrontierError),
    /// A proof cannot be made.
    #[error(transparent)]
    Proof(#[from] ProveError),
    /// A hash is not at hand.
    #[error(transparent)]
    Hash(#[from] MissingHash),
    /// More entries or bytes than one block takes.
    #[error("more entries than one block takes")]
    TooLarge,
    /// The writer or a receiver is no brand of the constitution, or not one of the block.
    #[error("{0} is no party to the block")]
    Stranger(BrandId),
}

/// A block of the own log with what only its writer knows of it. As a record it is all that is
/// needed to propose the block again, byte for byte, after a crash.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct OwnBlock {
    #[cbor(n(0), with = "minicbor::bytes")]
    header: Vec<u8>,
    #[n(1)]
    body: Vec<EntryBytes>,
    #[n(2)]
    payloads: Vec<SentPayload>,
    #[n(3)]
    contents: Vec<ColumnContent>,
    #[n(4)]
    before: Frontier,
    #[n(5)]
    recognised: Vec<CertifiedHeader>,
    #[n(6)]
    reference: BlockReference,
}

/// One payload of an own block, at its place.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SentPayload {
    /// Its index in the own log.
    #[n(0)]
    pub index: LeafIndex,
    /// To whom.
    #[n(1)]
    pub to: BrandId,
    /// What it says.
    #[n(2)]
    pub payload: Payload,
}

impl OwnBlock {
    /// Builds the block after `tip`; `contents` are the exact contents of the last block's columns.
    ///
    /// # Errors
    /// When there is too much for one block or an amount leaves its range.
    pub fn build(
        constitution: &Constitution,
        log: BrandId,
        tip: &Tip,
        contents: &BTreeMap<BrandId, ColumnContent>,
        plan: Plan,
    ) -> Result<Self, BuildError> {
        let stranger = BuildError::Stranger(log);
        let brand = constitution.brand(log).ok_or(stranger)?;
        let context = crate::crypto::sealed::SealingContext { log, nonce: plan.nonce };
        let mut body = Body::new(tip, plan.public.iter());
        let mut payloads = Vec::new();
        let mut columns = Vec::new();
        let mut new_contents = Vec::new();
        for counterparty in constitution.committee().witnesses(log) {
            let keys =
                &constitution.brand(counterparty).ok_or(BuildError::Stranger(counterparty))?.keys;
            let key = context.column_key(&plan.secret, counterparty);
            let mut content =
                contents.get(&counterparty).copied().unwrap_or_else(ColumnContent::nothing);
            let start = body.leaves.len();
            content.first = body.offset()?;
            for payload in plan.sealed.get(&counterparty).into_iter().flatten() {
                let index = body.next_index()?;
                let size = constitution.payload_size();
                let sealed = context.seal(&key, index, &payload.to_bytes(), size)?;
                body.push(Entry::Sealed(sealed).to_bytes());
                content.sent = content.sent.plus(payload.value())?;
                let payload = payload.clone();
                payloads.push(SentPayload { index, to: counterparty, payload });
            }
            let leaves = body.leaves.get(start..).unwrap_or_default();
            content.count = u32::try_from(leaves.len()).map_err(|_| BuildError::TooLarge)?;
            content.leaves = hash_of_leaves(leaves);
            content.entries = content
                .entries
                .checked_add(u64::from(content.count))
                .ok_or(BuildError::TooLarge)?;
            let opening = ColumnOpening { key, content };
            let salt = context.totals_salt(&opening.key);
            columns.push(Column {
                counterparty,
                opening: context.wrap(
                    counterparty.as_str(),
                    &keys.sealing,
                    plan.secret.expose(),
                    &opening.to_bytes(),
                )?,
                key: context.column_commitment(&opening.key, counterparty),
                content: content.commitment(&salt),
                sent: content.sent.ceiling_to(constitution.total_step())?,
                recognised: plan
                    .recognised
                    .get(&counterparty)
                    .map_or_else(|| tip.recognised(counterparty), |(recognised, _)| *recognised),
            });
            new_contents.push(content);
        }
        body.pad(constitution, &context, &plan.secret)?;
        let shape = Shape::of(constitution.committee());
        let bytes = body.bytes()?;
        let (fragments, _) = shape.cut(&bytes)?;
        let mut readers =
            vec![(RECOVERY, &brand.keys.recovery), (log.as_str(), &brand.keys.sealing)];
        let auditors = constitution.auditors().iter();
        readers.extend(auditors.map(|auditor| (auditor.name.as_str(), &auditor.sealing)));
        let secrets = readers
            .into_iter()
            .map(|(name, key)| context.wrap(name, key, plan.secret.expose(), plan.secret.expose()))
            .collect::<Result<_, _>>()?;
        let tree = BlockTree::new(&tip.frontier, &body.leaves);
        let body_size = TreeSize::new(body.next_index()?.get());
        let header = Header {
            version: WIRE_VERSION,
            log,
            height: tip.height.next().ok_or(BuildError::TooLarge)?,
            epoch: constitution.epoch(),
            time: plan.time.max(tip.time),
            first: body.first,
            body_leaves: body.offset()?,
            public_leaves: u32::try_from(plan.public.len()).map_err(|_| BuildError::TooLarge)?,
            body_bytes: u32::try_from(bytes.len()).map_err(|_| BuildError::TooLarge)?,
            previous: tip.header,
            previous_root: tip.frontier.root(),
            body_root: Frontier::read(&tree, body_size)?.root(),
            nonce: plan.nonce,
            fragments,
            secrets,
            columns,
        };
        let (bytes, id) = header.to_leaf();
        let reference = reference(&header, id, &tree)?;
        let recognised = plan.recognised.into_values().map(|(_, header)| header).collect();
        Ok(Self {
            header: bytes,
            body: body.entries,
            payloads,
            contents: new_contents,
            before: tip.frontier.clone(),
            recognised,
            reference,
        })
    }

    /// A final block read back from the log's tiles, enough to hand it to those who missed it. What
    /// only mattered until it was final (payloads in clear, certificates it carried) is gone.
    #[must_use]
    pub fn restore(
        reference: BlockReference,
        mut leaves: Vec<Vec<u8>>,
        contents: Vec<ColumnContent>,
        before: Frontier,
    ) -> Option<Self> {
        let header = leaves.pop()?;
        let body = leaves.into_iter().map(EntryBytes).collect();
        let (payloads, recognised) = (Vec::new(), Vec::new());
        Some(Self { header, body, payloads, contents, before, recognised, reference })
    }

    /// What is proposed, voted on and certified.
    #[must_use]
    pub const fn reference(&self) -> BlockReference {
        self.reference
    }
    /// When it was built, as its header says.
    #[must_use]
    pub fn time(&self) -> Option<Timestamp> {
        Header::from_bytes(&self.header).ok().map(|header| header.time)
    }
    /// The header leaf.
    #[must_use]
    pub fn header_leaf(&self) -> &[u8] {
        &self.header
    }
    /// The payloads with their places.
    #[must_use]
    pub fn payloads(&self) -> &[SentPayload] {
        &self.payloads
    }
    /// The exact contents of the columns, in the order of the header's columns.
    #[must_use]
    pub fn contents(&self) -> &[ColumnContent] {
        &self.contents
    }
    /// What was submitted into the block, in order.
    #[must_use]
    pub fn submissions(&self) -> (Vec<PublicEntry>, Vec<(BrandId, Payload)>) {
        let public = self.body.iter().map_while(|entry| match Entry::from_bytes(&entry.0) {
            Ok(Entry::Public(public)) => Some(public),
            _ => None,
        });
        let sealed = self.payloads.iter().map(|sent| (sent.to, sent.payload.clone()));
        (public.collect(), sealed.collect())
    }
    /// The tree's right edge before the block.
    #[must_use]
    pub const fn before(&self) -> &Frontier {
        &self.before
    }
    /// All leaves in order, the header last.
    pub fn leaves(&self) -> impl Iterator<Item = &[u8]> {
        self.body.iter().map(|entry| &entry.0[..]).chain([&self.header[..]])
    }

    /// The certified headers of other logs that this block recognises, those that stand.
    #[must_use]
    pub fn recognised(&self, constitutions: &Constitutions) -> Vec<(HeaderHash, Header)> {
        super::state::read_certified(constitutions, &self.recognised)
    }

    /// Prepares the proofs and fragments that every receiver's view is cut from.
    ///
    /// # Errors
    /// When the block's own parts do not fit together.
    pub fn deliveries<'a>(
        &'a self,
        constitution: &'a Constitution,
    ) -> Result<Deliveries<'a>, BuildError> {
        let header = Header::from_bytes(&self.header)
            .map_err(|_| BuildError::Stranger(self.reference.log))?;
        let leaves: Vec<LeafHash> = self.body.iter().map(|entry| leaf_hash(&entry.0)).collect();
        let tree = BlockTree::new(&self.before, &leaves);
        let body = Frontier::read(&tree, header.body_size())?;
        let consistency = match self.before.size() {
            size if size == TreeSize::new(0) => None,
            size => Some(ConsistencyProof::prove(&tree, size, header.body_size())?),
        };
        let extension = Extension { consistency, header: HeaderProof::new(body) };
        let entries = self.body.iter().map(|entry| &entry.0[..]);
        let shape = Shape::of(constitution.committee());
        let (_, fragments) = shape.cut(&body_bytes(entries)?)?;
        Ok(Deliveries { block: self, constitution, header, tree, extension, fragments })
    }
}

/// The views of one block, one for each receiver.
#[derive(Debug)]
pub struct Deliveries<'a> {
    block: &'a OwnBlock,
    constitution: &'a Constitution,
    header: Header,
    tree: BlockTree,
    extension: Extension,
    fragments: Vec<Fragment>,
}

impl Deliveries<'_> {
    /// The block as `to` may see it. `fresh` adds the certificates by which a witness judges what
    /// is recognised; a final block is not judged again.
    ///
    /// # Errors
    /// When `to` is no witness of this log.
    pub fn to(&self, to: BrandId, fresh: bool) -> Result<Delivery, BuildError> {
        let stranger = BuildError::Stranger(to);
        let position = self
            .constitution
            .committee()
            .witnesses(self.header.log)
            .position(|witness| witness == to)
            .ok_or(stranger.clone())?;
        let content = self.block.contents.get(position).ok_or(stranger.clone())?;
        let recognised = if fresh { self.block.recognised.clone() } else { Vec::new() };
        Ok(Delivery {
            header: self.block.header.clone(),
            extension: self.extension.clone(),
            fragment: self.fragments.get(position).cloned().ok_or(stranger)?,
            public: self.run(0, self.header.public_leaves)?,
            column: self.run(content.first, content.count)?,
            recognised,
        })
    }

    fn run(&self, offset: u32, count: u32) -> Result<Option<LeafRun>, BuildError> {
        if count == 0 {
            return Ok(None);
        }
        let too_large = |_| BuildError::TooLarge;
        let start = usize::try_from(offset).map_err(too_large)?;
        let end = start.saturating_add(usize::try_from(count).map_err(too_large)?);
        let entries = self.block.body.get(start..end).ok_or(BuildError::TooLarge)?.to_vec();
        let first = self.header.first.get().checked_add(u64::from(offset));
        let first = LeafIndex::new(first.ok_or(BuildError::TooLarge)?);
        let size = self.header.body_size();
        let proof = RangeProof::prove(&self.tree, first, u64::from(count), size)?;
        Ok(Some(LeafRun { first, entries, proof }))
    }
}

fn reference(
    header: &Header,
    id: HeaderHash,
    tree: &BlockTree,
) -> Result<BlockReference, BuildError> {
    let mut whole = Frontier::read(tree, header.body_size())?;
    whole.append(id.as_leaf())?;
    let root: RootHash = whole.root();
    Ok(BlockReference {
        log: header.log,
        epoch: header.epoch,
        height: header.height,
        header: id,
        size: whole.size(),
        root,
    })
}

struct Body {
    first: LeafIndex,
    entries: Vec<EntryBytes>,
    leaves: Vec<LeafHash>,
}

impl Body {
    fn new<'a>(tip: &Tip, public: impl Iterator<Item = &'a PublicEntry>) -> Self {
        let first = LeafIndex::new(tip.frontier.size().get());
        let mut body = Self { first, entries: Vec::new(), leaves: Vec::new() };
        for entry in public {
            body.push(Entry::Public(entry.clone()).to_bytes());
        }
        body
    }

    fn push(&mut self, entry: Vec<u8>) {
        self.leaves.push(leaf_hash(&entry));
        self.entries.push(EntryBytes(entry));
    }

    fn offset(&self) -> Result<u32, BuildError> {
        u32::try_from(self.entries.len()).map_err(|_| BuildError::TooLarge)
    }

    fn next_index(&self) -> Result<LeafIndex, BuildError> {
        let index = self.first.get().checked_add(u64::from(self.offset()?));
        index.map(LeafIndex::new).ok_or(BuildError::TooLarge)
    }

    fn pad(
        &mut self,
        constitution: &Constitution,
        context: &crate::crypto::sealed::SealingContext,
        secret: &BlockSecret,
    ) -> Result<(), BuildError> {
        let with_header = u64::from(self.offset()?).saturating_add(1);
        let leaves = with_header.next_power_of_two().max(BLOCK_LEAVES_MIN);
        if leaves > BLOCK_LEAVES_MAX {
            return Err(BuildError::TooLarge);
        }
        for _ in with_header..leaves {
            let index = self.next_index()?;
            let padding = context.padding(secret, index, constitution.payload_size());
            self.push(Entry::Sealed(padding).to_bytes());
        }
        Ok(())
    }

    fn bytes(&self) -> Result<Vec<u8>, BuildError> {
        let bytes = body_bytes(self.entries.iter().map(|entry| &entry.0[..]))?;
        if bytes.len() > BODY_MAX { Err(BuildError::TooLarge) } else { Ok(bytes) }
    }
}

/// A body as it is cut into fragments: each leaf with its length before it, as in an entry bundle
/// of C2SP tlog-tiles.
///
/// # Errors
/// [`BuildError::TooLarge`] when a leaf is longer than an entry may be.
pub fn body_bytes<'a>(entries: impl Iterator<Item = &'a [u8]>) -> Result<Vec<u8>, BuildError> {
    let mut bytes = Vec::new();
    for entry in entries {
        let length = u16::try_from(entry.len()).map_err(|_| BuildError::TooLarge)?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    Ok(bytes)
}
