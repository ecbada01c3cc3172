//! A block of the own log with what only its writer knows of it, and each receiver's view of it.
//!
//! What follows from a block's bytes (tree, fragments) is computed once and shared by all that is cut
//! from it; a copy of a block shares it too. Does not build blocks and does not judge them.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use minicbor::{Decode, Encode};

use super::allowed::Adjusted;
use super::build::BuildError;
use super::message::{CertifiedHeader, Delivery, Extension, LeafRun};
use super::state::{Brought, Surroundings, read_certified};
use crate::codec;
use crate::constitution::{Constitution, PAYLOAD_MAX};
use crate::crypto::sealed::{BlockSecret, SealError, SealedLeaf};
use crate::exchange::Payload;
use crate::ids::{BrandId, HeaderHash, LeafHash, LeafIndex, RootHash, TreeSize};
use crate::log::block::{
    BlockReference, BlockTree, ColumnContent, ColumnOpening, Entry, Header, PublicEntry,
    Recognised, hash_of_leaves,
};
use crate::log::entries::Entries;
use crate::log::fragments::{Fragment, Shape};
use crate::log::merkle::{EntryTooLong, Frontier, LeafRef, leaf_hash};
use crate::log::proof::ConsistencyProof;
use crate::log::range::{HeaderProof, RangeProof};
use crate::time::Timestamp;

/// A block of the own log with what only its writer knows of it. As a record it is all that is
/// needed to propose the block again, byte for byte, after a crash; payloads are in it once, sealed,
/// beside the secret that opens them. Copies share the block.
#[derive(Clone, Debug)]
pub struct OwnBlock {
    parts: Arc<Parts>,
    derived: Arc<OnceLock<Derived>>,
}

/// What a block is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) header: Vec<u8>,
    pub(super) body: Entries,
    // none when the block came back from the log's tiles: then payloads are not known either
    pub(super) secret: Option<BlockSecret>,
    pub(super) payloads: Vec<SentPayload>,
    pub(super) contents: Vec<ColumnContent>,
    pub(super) before: Frontier,
    pub(super) recognised: Vec<CertifiedHeader>,
    pub(super) reference: BlockReference,
}

/// What follows from the parts.
#[derive(Debug)]
pub(super) struct Derived {
    tree: BlockTree,
    body: Frontier,
    fragments: Vec<Fragment>,
}

impl Derived {
    pub(super) fn new(
        before: &Frontier,
        leaves: &[LeafHash],
        body_size: TreeSize,
        fragments: Vec<Fragment>,
    ) -> Result<Self, BuildError> {
        let tree = BlockTree::new(before, leaves);
        let body = Frontier::read(&tree, body_size)?;
        Ok(Self { tree, body, fragments })
    }

    /// The root after the body.
    pub(super) fn body_root(&self) -> RootHash {
        self.body.root()
    }

    /// What is voted on, with this header after the body.
    pub(super) fn reference(
        &self,
        header: &Header,
        id: HeaderHash,
    ) -> Result<BlockReference, BuildError> {
        let mut whole = self.body.clone();
        whole.append(id.as_leaf())?;
        Ok(BlockReference {
            log: header.log,
            epoch: header.epoch,
            height: header.height,
            header: id,
            size: whole.size(),
            root: whole.root(),
        })
    }
}

/// One payload of an own block, at its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentPayload {
    /// Its index in the own log.
    pub index: LeafIndex,
    /// To whom.
    pub to: BrandId,
    /// What it says.
    pub payload: Payload,
}

impl PartialEq for OwnBlock {
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts
    }
}
impl Eq for OwnBlock {}

impl OwnBlock {
    pub(super) fn from_parts(parts: Parts, derived: Option<Derived>) -> Self {
        let known = derived.map_or_else(OnceLock::new, OnceLock::from);
        Self { parts: Arc::new(parts), derived: Arc::new(known) }
    }

    /// A final block read back from the log's tiles, enough to hand it to those who missed it. What
    /// only mattered until it was final (payloads in clear, certificates it carried) is gone.
    #[must_use]
    pub fn restore(
        reference: BlockReference,
        leaves: Vec<Vec<u8>>,
        contents: Vec<ColumnContent>,
        before: Frontier,
    ) -> Option<Self> {
        let (header, leaves) = leaves.split_last()?;
        let mut body = Entries::new();
        for leaf in leaves {
            body.push(leaf).ok()?;
        }
        Some(Self::of_body(reference, (header.clone(), body), contents, before))
    }

    /// The same from its header leaf and its body.
    #[must_use]
    pub fn of_body(
        reference: BlockReference,
        (header, body): (Vec<u8>, Entries),
        contents: Vec<ColumnContent>,
        before: Frontier,
    ) -> Self {
        let parts = Parts {
            header,
            body,
            secret: None,
            payloads: Vec::new(),
            contents,
            before,
            recognised: Vec::new(),
            reference,
        };
        Self::from_parts(parts, None)
    }

    /// A block of the own log with all that its writer knows of it, from its secret: which leaves are
    /// whose, what they say, the exact totals. `contents` are those of the block before. None when the
    /// secret is another block's, or what it opens is not what the header commits to.
    #[must_use]
    pub fn reopen(
        reference: BlockReference,
        (leaf, body): (Vec<u8>, Entries),
        before: Frontier,
        secret: BlockSecret,
        contents: &BTreeMap<BrandId, ColumnContent>,
    ) -> Option<Self> {
        let header = Header::from_bytes(&leaf).ok()?;
        let context = header.context();
        let hashes = body.hashes();
        let mut next = usize::try_from(header.public_leaves).ok()?;
        let public = public_entries(&body);
        let mut leaves = body.iter().skip(next).peekable();
        let mut opened = Vec::with_capacity(header.columns.len());
        for column in &header.columns {
            let counterparty = column.counterparty;
            let key = context.column_key(&secret, counterparty);
            let mut cipher = context.column(&key);
            let before =
                contents.get(&counterparty).copied().unwrap_or_else(ColumnContent::nothing);
            // a resolved dispute or a partner closed out changes the totals beside the payloads
            let adjusted = Adjusted::by(header.log, counterparty, &public);
            let mut content = adjusted.base(&before).ok()?;
            let start = next;
            content.first = u32::try_from(start).ok()?;
            // a leaf is the column's when it commits to the key that the column gives for its place
            while let Some(leaf) = leaves.peek() {
                let index = header.first.get().checked_add(u64::try_from(next).ok()?)?;
                let SealedLeaf::Sealed(sealed) =
                    codec::decode("a sealed entry", leaf, codec::ENTRY_MAX).ok()?;
                let bytes = match cipher.open(LeafIndex::new(index), sealed) {
                    Err(SealError::WrongKey) => break,
                    opened => opened.ok()?,
                };
                let payload: Payload =
                    codec::decode("a sealed payload", bytes, PAYLOAD_MAX).ok()?;
                content.sent = content.sent.plus(payload.value()).ok()?;
                leaves.next();
                next = next.checked_add(1)?;
            }
            content.count = u32::try_from(next.checked_sub(start)?).ok()?;
            content.entries = content.entries.checked_add(u64::from(content.count))?;
            content.leaves = hash_of_leaves(hashes.get(start..next)?);
            let opening = ColumnOpening { key, content };
            opening.check(&context, column).ok()?;
            opened.push(content);
        }
        let mut parts = Parts {
            header: leaf,
            body,
            secret: Some(secret),
            payloads: Vec::new(),
            contents: opened,
            before,
            recognised: Vec::new(),
            reference,
        };
        parts.payloads = parts.open()?;
        Some(Self::from_parts(parts, None))
    }

    /// What is proposed, voted on and certified.
    #[must_use]
    pub fn reference(&self) -> BlockReference {
        self.parts.reference
    }
    /// When it was built, as its header says.
    #[must_use]
    pub fn time(&self) -> Option<Timestamp> {
        Header::from_bytes(&self.parts.header).ok().map(|header| header.time)
    }
    /// The header leaf.
    #[must_use]
    pub fn header_leaf(&self) -> &[u8] {
        &self.parts.header
    }
    /// The leaves before the header.
    #[must_use]
    pub fn body(&self) -> &Entries {
        &self.parts.body
    }
    /// The payloads with their places.
    #[must_use]
    pub fn payloads(&self) -> &[SentPayload] {
        &self.parts.payloads
    }
    /// The exact contents of the columns, in the order of the header's columns.
    #[must_use]
    pub fn contents(&self) -> &[ColumnContent] {
        &self.parts.contents
    }
    /// The public entries that were submitted into the block, in order.
    #[must_use]
    pub fn public(&self) -> Vec<PublicEntry> {
        public_entries(&self.parts.body)
    }
    /// What was submitted into the block, in order.
    #[must_use]
    pub fn submissions(&self) -> (Vec<PublicEntry>, Vec<(BrandId, Payload)>) {
        let sealed = self.payloads().iter().map(|sent| (sent.to, sent.payload.clone()));
        (self.public(), sealed.collect())
    }
    /// The public leaves with their proof, if there are any.
    #[must_use]
    pub fn public_run(&self, constitution: &Constitution) -> Option<LeafRun> {
        let deliveries = self.deliveries(constitution).ok()?;
        deliveries.run(0, deliveries.header.public_leaves).ok()?
    }
    /// The tree's right edge before the block.
    #[must_use]
    pub fn before(&self) -> &Frontier {
        &self.parts.before
    }
    /// All leaves in order, the header last.
    pub fn leaves(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.body.iter().chain([&self.parts.header[..]])
    }

    /// The leaves in order, the header last, with their hashes: those that were computed when it was built,
    /// if it was in this life of the node.
    ///
    /// # Errors
    /// When the header is longer than an entry may be.
    pub fn hashed_leaves(&self) -> Result<impl Iterator<Item = LeafRef<'_>>, EntryTooLong> {
        let parts = &self.parts;
        let hashes =
            self.derived.get().map(|derived| derived.tree.leaves_from(parts.before.size()));
        let mut hashes = hashes.filter(|known| known.len() == parts.body.len()).map(<[_]>::iter);
        let body = parts.body.iter().map(move |entry| {
            let known = hashes.as_mut().and_then(Iterator::next).copied();
            LeafRef::of_entry(entry, known.unwrap_or_else(|| leaf_hash(entry).into()))
        });
        let header = LeafRef::new(&parts.header, leaf_hash(&parts.header))?;
        Ok(body.chain([header]))
    }

    /// What is known of the tree over the body, on the log before it; none until something asked for it.
    #[must_use]
    pub fn tree(&self) -> Option<&BlockTree> {
        self.derived.get().map(|derived| &derived.tree)
    }

    /// What this block recognises of each other log, with the proof it carries for it, if it does.
    #[must_use]
    pub fn recognises(&self) -> BTreeMap<BrandId, (Recognised, Option<CertifiedHeader>)> {
        let proof = |log: BrandId| {
            let of = |it: &&CertifiedHeader| it.certificate.pledge.block.log == log;
            self.parts.recognised.iter().find(of).cloned()
        };
        let header = Header::from_bytes(&self.parts.header);
        let columns = header.map(|header| header.columns).unwrap_or_default().into_iter();
        columns.map(|it| (it.counterparty, (it.recognised, proof(it.counterparty)))).collect()
    }

    /// The certified headers of other logs that this block recognises, as far as they stand.
    pub(super) fn recognised(&self, at: &Surroundings<'_>, header: &Header) -> Brought {
        read_certified(at, header, &self.parts.recognised)
    }

    /// Prepares the proofs and fragments that every receiver's view is cut from.
    ///
    /// # Errors
    /// When the block's own parts do not fit together.
    pub fn deliveries<'a>(
        &'a self,
        constitution: &'a Constitution,
    ) -> Result<Deliveries<'a>, BuildError> {
        let header = Header::from_bytes(&self.parts.header)
            .map_err(|_| BuildError::Stranger(self.parts.reference.log))?;
        let derived = self.derived(constitution, &header)?;
        let before = self.parts.before.size();
        let consistency = match before {
            size if size == TreeSize::new(0) => None,
            size => Some(ConsistencyProof::prove(&derived.tree, size, header.body_size())?),
        };
        let extension = Extension { consistency, header: HeaderProof::new(derived.body.clone()) };
        Ok(Deliveries { block: &self.parts, derived, constitution, header, extension })
    }

    fn derived(
        &self,
        constitution: &Constitution,
        header: &Header,
    ) -> Result<&Derived, BuildError> {
        if let Some(derived) = self.derived.get() {
            return Ok(derived);
        }
        let parts = &self.parts;
        let (_, fragments) = Shape::of(constitution.committee()).cut(parts.body.as_bytes())?;
        let leaves = parts.body.hashes();
        let derived = Derived::new(&parts.before, &leaves, header.body_size(), fragments)?;
        Ok(self.derived.get_or_init(|| derived))
    }

    /// The tree's right edge with the block.
    ///
    /// # Errors
    /// When the tree is full.
    pub fn after(&self) -> Result<Frontier, BuildError> {
        let mut whole = match self.derived.get() {
            Some(derived) => derived.body.clone(),
            None => {
                let mut body = self.parts.before.clone();
                for leaf in self.parts.body.hashes() {
                    body.append(leaf)?;
                }
                body
            }
        };
        whole.append(leaf_hash(&self.parts.header))?;
        Ok(whole)
    }
}

/// The public entries of a body, which come first.
fn public_entries(body: &Entries) -> Vec<PublicEntry> {
    let public = body.iter().map_while(|entry| match Entry::from_bytes(entry) {
        Ok(Entry::Public(public)) => Some(public),
        _ => None,
    });
    public.collect()
}

impl<C> Encode<C> for OwnBlock {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let parts = &*self.parts;
        e.array(7)?.bytes(&parts.header)?.encode_with(&parts.body, ctx)?;
        match &parts.secret {
            Some(secret) => e.bytes(secret.expose())?,
            None => e.null()?,
        };
        e.encode_with(&parts.contents, ctx)?
            .encode_with(&parts.before, ctx)?
            .encode_with(&parts.recognised, ctx)?
            .encode_with(parts.reference, ctx)?
            .ok()
    }
}

impl<'b, C> Decode<'b, C> for OwnBlock {
    fn decode(d: &mut minicbor::Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let position = d.position();
        let wrong = |message: &'static str| minicbor::decode::Error::message(message).at(position);
        if d.array()? != Some(7) {
            return Err(wrong("a block is an array of seven"));
        }
        let header = d.bytes()?.to_vec();
        let body = d.decode_with(ctx)?;
        let secret: Option<minicbor::bytes::ByteArray<32>> = d.decode_with(ctx)?;
        let mut parts = Parts {
            header,
            body,
            secret: secret.map(|bytes| BlockSecret::from_bytes(*bytes)),
            payloads: Vec::new(),
            contents: d.decode_with(ctx)?,
            before: d.decode_with(ctx)?,
            recognised: d.decode_with(ctx)?,
            reference: d.decode_with(ctx)?,
        };
        parts.payloads =
            parts.open().ok_or_else(|| wrong("a block whose secret does not open it"))?;
        Ok(Self::from_parts(parts, None))
    }
}

impl Parts {
    /// The payloads, opened with the block's secret.
    fn open(&self) -> Option<Vec<SentPayload>> {
        let Some(secret) = &self.secret else { return Some(Vec::new()) };
        let header = Header::from_bytes(&self.header).ok()?;
        let context = header.context();
        let mut payloads = Vec::new();
        for (column, content) in header.columns.iter().zip(&self.contents) {
            let key = context.column_key(secret, column.counterparty);
            let mut cipher = context.column(&key);
            let first = usize::try_from(content.first).ok()?;
            let run = self.body.run(first, usize::try_from(content.count).ok()?)?;
            let indexes = header.first.get().checked_add(u64::from(content.first))?..;
            for (index, leaf) in indexes.zip(&run) {
                let index = LeafIndex::new(index);
                let SealedLeaf::Sealed(sealed) =
                    codec::decode("a sealed entry", leaf, codec::ENTRY_MAX).ok()?;
                let bytes = cipher.open(index, sealed).ok()?;
                let payload = codec::decode("a sealed payload", bytes, PAYLOAD_MAX).ok()?;
                payloads.push(SentPayload { index, to: column.counterparty, payload });
            }
        }
        Some(payloads)
    }
}

/// The views of one block, one for each receiver.
#[derive(Debug)]
pub struct Deliveries<'a> {
    block: &'a Parts,
    derived: &'a Derived,
    constitution: &'a Constitution,
    header: Header,
    extension: Extension,
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
            fragment: self.derived.fragments.get(position).cloned().ok_or(stranger)?,
            public: self.run(0, self.header.public_leaves)?,
            column: self.run(content.first, content.count)?,
            recognised,
        })
    }

    fn run(&self, offset: u32, count: u32) -> Result<Option<LeafRun>, BuildError> {
        if count == 0 {
            return Ok(None);
        }
        let place = |number: u32| usize::try_from(number).map_err(|_| BuildError::TooLarge);
        let entries =
            self.block.body.run(place(offset)?, place(count)?).ok_or(BuildError::TooLarge)?;
        let first = self.header.first.get().checked_add(u64::from(offset));
        let first = LeafIndex::new(first.ok_or(BuildError::TooLarge)?);
        let size = self.header.body_size();
        let proof = RangeProof::prove(&self.derived.tree, first, u64::from(count), size)?;
        Ok(Some(LeafRun { first, entries, proof }))
    }
}
