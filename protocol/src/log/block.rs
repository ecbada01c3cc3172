//! Entries, the header that ends a block, and what a block says about its columns.
//!
//! A block is a run of leaves: public entries first, then each counterparty's sealed entries side by
//! side, then padding, then the header. Third parties see neither where a column begins nor how many
//! entries it has: the header carries a ceiling and a salted commitment for every counterparty, always
//! for all of them. Leaves come to a power of two, at least [`BLOCK_LEAVES_MIN`].
//!
//! Knows shapes and the arithmetic inside one block. What may follow what is `witness`'s business.

use std::fmt;

use minicbor::{Decode, Encode};

use super::closed_out::{ClosedOut, ClosedOutBefore};
use super::dispute::{DisputeOpened, OPENING_BYTES};
use super::kept::{Answered, OperationLogHead};
use super::merkle::{Frontier, HashReader, NodeHash, leaf_hash};
use super::resolution::DisputeResolved;
use super::settlement::{Discharge, Payment};
use crate::amount::Value;
use crate::codec::{self, DecodeError, ENTRY_MAX};
use crate::crypto::sealed::{
    BlockSecret, ColumnKey, KeyRing, SealError, SealedEntry, Sealing, SealingContext, Wrapped,
};
use crate::crypto::sha256;
use crate::disclosure::Disclosure;
use crate::epochs::{CertifiedEntry, DraftReference};
use crate::ids::{
    BlockNonce, BrandId, Commitment, Epoch, FragmentsRoot, HeaderHash, Height, LeafHash, LeafIndex,
    RootHash, StatementHash, TreeSize,
};
use crate::time::Timestamp;
use crate::witness::evidence::Evidence;

/// Fewest leaves of a block, header included.
pub const BLOCK_LEAVES_MIN: u64 = 8;
/// Most leaves of a block, header included.
pub const BLOCK_LEAVES_MAX: u64 = 65_536;
/// Most bytes of a block's body: its leaves without the header, each with its length. Where nobody
/// may fail every witness keeps the whole body as its fragment, so that a message holds the body and,
/// if all of it is for one brand, the same again as its column.
pub const BODY_MAX: usize = 15 * 1024 * 1024;
/// Largest body of an application's entry, in bytes.
pub const APPLICATION_MAX: usize = 16 * 1024;

/// One leaf of a log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub enum Entry {
    /// The last leaf of every block.
    #[n(0)]
    Header(#[n(0)] Header),
    /// What everyone may read.
    #[n(1)]
    Public(#[n(0)] PublicEntry),
    /// What only its parties can read, or padding.
    #[n(2)]
    Sealed(#[n(0)] SealedEntry),
}

impl Entry {
    /// Reads a leaf.
    ///
    /// # Errors
    /// When it is not the deterministic form of an entry.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode("a log entry", bytes, ENTRY_MAX)
    }
    /// The bytes of the leaf.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }
}

/// An entry in clear.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub enum PublicEntry {
    /// Opens the exact totals of the writer's last block before a cut-off.
    #[n(0)]
    Closing(#[n(0)] Closing),
    /// The hash of the statement this brand arrived at.
    #[n(1)]
    Statement(#[n(0)] StatementEntry),
    /// Bytes of another application that wants its entries certified: the clean room.
    #[n(2)]
    Application(#[n(0)] ApplicationEntry),
    /// A brand is proved to have lied.
    #[n(3)]
    Evidence(#[n(0)] Box<Evidence>),
    /// As payer: a payment of a clearing statement was made. Lowers nothing.
    #[n(11)]
    Settled(#[n(0)] Payment),
    /// As payee: a payment of a clearing statement has arrived.
    #[n(12)]
    SettlementConfirmed(#[n(0)] Payment),
    /// A block of another log said something to this brand that cannot stand.
    #[n(13)]
    DisputeOpened(#[n(0)] Box<DisputeOpened>),
    /// What a dispute comes to, as both sides enter it.
    #[n(14)]
    DisputeResolved(#[n(0)] Box<DisputeResolved>),
    /// A partner whose log has ended is closed out.
    #[n(16)]
    ClosedOut(#[n(0)] Box<ClosedOut>),
    /// Lets an auditor open blocks of this log.
    #[n(15)]
    Disclosure(#[n(0)] Disclosure),
    /// This brand adopts a draft of the next constitution.
    #[n(6)]
    Adopted(#[n(0)] DraftReference),
    /// This brand does not adopt a draft of the next constitution.
    #[n(7)]
    Declined(#[n(0)] DraftReference),
    /// What another brand's log says of a draft, carried where it counts.
    #[n(8)]
    Ballot(#[n(0)] Box<CertifiedEntry>),
    /// This log takes up the next constitution: its next block is under it.
    #[n(9)]
    Switch(#[n(0)] DraftReference),
    /// How far this brand's operation log has come.
    #[n(20)]
    OperationLogHead(#[n(0)] OperationLogHead),
    /// A member's request was answered, and the member has a certificate with this hash.
    #[n(21)]
    Answered(#[n(0)] Answered),
}

/// Totals of one writer at a cut-off, opened so that everyone can net them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Closing {
    /// The cut-off.
    #[n(0)]
    pub cut_off: Timestamp,
    /// The writer's last block with a time not after it; 0 if there is none.
    #[n(1)]
    pub height: Height,
    /// That block.
    #[n(2)]
    pub block: HeaderHash,
    /// One opening a counterparty, in the order of the header's columns; none when height is 0.
    #[n(3)]
    pub columns: Vec<ColumnDisclosure>,
    /// What the writer has closed out in or before that block, in the order of logs, where somebody joined who
    /// was not shown it; never none of them in a list.
    #[n(4)]
    pub closed_out: Option<Vec<ClosedOutBefore>>,
}

/// One column's exact totals with what is needed to check them against the header.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct ColumnDisclosure {
    /// The counterparty.
    #[n(0)]
    pub counterparty: BrandId,
    /// What was committed to.
    #[n(1)]
    pub content: ColumnContent,
    /// The salt it was committed with. Opens the totals, and nothing that is sealed.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub salt: [u8; 32],
}

/// That this brand derived this statement for this cut-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct StatementEntry {
    /// The cut-off.
    #[n(0)]
    pub cut_off: Timestamp,
    /// Hash of the statement.
    #[n(1)]
    pub statement: StatementHash,
}

/// An entry the ledger certifies and does not read.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct ApplicationEntry {
    /// Which application.
    #[n(0)]
    pub application: u16,
    /// Its bytes, at most [`APPLICATION_MAX`].
    #[cbor(n(1), with = "minicbor::bytes")]
    pub body: Vec<u8>,
}

impl fmt::Debug for ApplicationEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApplicationEntry({}, {} bytes)", self.application, self.body.len())
    }
}

/// The header of a block: its last leaf. Has no round, so that a proposal made again is identical.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Header {
    /// [`codec::WIRE_VERSION`].
    #[n(0)]
    pub version: u16,
    /// Whose log.
    #[n(1)]
    pub log: BrandId,
    /// Its number.
    #[n(2)]
    pub height: Height,
    /// The constitution it was made under.
    #[n(3)]
    pub epoch: Epoch,
    /// When the writer built it.
    #[n(4)]
    pub time: Timestamp,
    /// Index of its first leaf: the size of the tree before it.
    #[n(5)]
    pub first: LeafIndex,
    /// Number of leaves before the header.
    #[n(6)]
    pub body_leaves: u32,
    /// How many of them, from the first, are public.
    #[n(7)]
    pub public_leaves: u32,
    /// Bytes of the body as it is cut into fragments.
    #[n(8)]
    pub body_bytes: u32,
    /// The block before, [`HeaderHash::GENESIS`] for the first.
    #[n(9)]
    pub previous: HeaderHash,
    /// Root before this block.
    #[n(10)]
    pub previous_root: RootHash,
    /// Root after the body, before the header.
    #[n(11)]
    pub body_root: RootHash,
    /// Fresh random bytes.
    #[n(12)]
    pub nonce: BlockNonce,
    /// Root over the fragments, one a witness in the committee's order.
    #[n(13)]
    pub fragments: FragmentsRoot,
    /// The block secret, wrapped to the writer's recovery key, its sealing key, and each standing
    /// auditor in the constitution's order.
    #[n(14)]
    pub secrets: Vec<Wrapped>,
    /// One column a counterparty, in the committee's order.
    #[n(15)]
    pub columns: Vec<Column>,
    /// How it is sealed, and the key that others are to seal to its writer with.
    #[n(16)]
    pub sealing: Sealing,
}

/// What a header says of one counterparty.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Column {
    /// The counterparty.
    #[n(0)]
    pub counterparty: BrandId,
    /// [`ColumnOpening`] wrapped to it.
    #[n(1)]
    pub opening: Wrapped,
    /// Commitment to the column's key.
    #[n(2)]
    pub key: Commitment,
    /// Salted commitment to [`ColumnContent`].
    #[n(3)]
    pub content: Commitment,
    /// Ceiling of the value ever sent, in the constitution's steps.
    #[n(4)]
    pub sent: Value,
    /// How far the writer has recognised the counterparty's log.
    #[n(5)]
    pub recognised: Recognised,
    /// What the writer has ever confirmed as payee of the counterparty's payments.
    #[n(6)]
    pub confirmed: Value,
    /// What of the pair's totals a settled statement discharges, as the writer grants it.
    #[n(7)]
    pub discharged: Discharge,
}

/// How far one log has been read by another: everything up to this block is applied or returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Recognised {
    /// Height, 0 for none.
    #[n(0)]
    pub height: Height,
    /// The block at that height.
    #[n(1)]
    pub block: HeaderHash,
    /// What that block's header says its writer ever sent to the reader: the ceiling that third
    /// parties see.
    #[n(2)]
    pub sent: Value,
    /// What that header grants the reader as discharged: the payee's word, which alone counts.
    #[n(3)]
    pub discharged: Discharge,
}

impl Recognised {
    /// Nothing read yet.
    pub const NOTHING: Self = Self {
        height: Height::new(0),
        block: HeaderHash::GENESIS,
        sent: Value::ZERO,
        discharged: Discharge::NOTHING,
    };
}

/// The exact content of one column, known to its two parties and the auditors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct ColumnContent {
    /// Entries ever addressed to the counterparty, this block's included.
    #[n(0)]
    pub entries: u64,
    /// Value ever sent to it.
    #[n(1)]
    pub sent: Value,
    /// First of this block's leaves for it, counted from the block's first leaf.
    #[n(2)]
    pub first: u32,
    /// How many of this block's leaves are for it.
    #[n(3)]
    pub count: u32,
    /// SHA-256 over their leaf hashes, in order.
    #[n(4)]
    pub leaves: LeafHash,
}

pub(crate) const CONTENT_BYTES: usize = 8 + 8 + 4 + 4 + 32;

impl ColumnContent {
    /// Nothing was ever sent.
    #[must_use]
    pub fn nothing() -> Self {
        Self { entries: 0, sent: Value::ZERO, first: 0, count: 0, leaves: hash_of_leaves(&[]) }
    }

    // one length for every content, so that the wrapped opening's length says nothing
    pub(crate) fn to_bytes(self) -> [u8; CONTENT_BYTES] {
        let mut bytes = [0; CONTENT_BYTES];
        let parts: [&[u8]; 5] = [
            &self.entries.to_be_bytes(),
            &self.sent.get().to_be_bytes(),
            &self.first.to_be_bytes(),
            &self.count.to_be_bytes(),
            self.leaves.as_bytes(),
        ];
        let all = parts.into_iter().flatten();
        bytes.iter_mut().zip(all).for_each(|(to, from)| *to = *from);
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (entries, rest) = bytes.split_first_chunk()?;
        let (sent, rest) = rest.split_first_chunk()?;
        let (first, rest) = rest.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        Some(Self {
            entries: u64::from_be_bytes(*entries),
            sent: Value::new(u64::from_be_bytes(*sent)).ok()?,
            first: u32::from_be_bytes(*first),
            count: u32::from_be_bytes(*count),
            leaves: LeafHash::from_bytes(rest.try_into().ok()?),
        })
    }

    /// The commitment a header carries.
    #[must_use]
    pub fn commitment(&self, salt: &[u8; 32]) -> Commitment {
        Commitment::from_bytes(sha256(&[b"coalition/0/column-content", salt, &self.to_bytes()]))
    }
}

/// What the writer tells one counterparty: the key of its column and the column's exact content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnOpening {
    /// Opens the column's entries.
    pub key: ColumnKey,
    /// The exact content.
    pub content: ColumnContent,
}

impl ColumnOpening {
    /// The fixed-length form that is wrapped.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; OPENING_BYTES] {
        let mut bytes = [0; OPENING_BYTES];
        let content = self.content.to_bytes();
        let all = self.key.expose().iter().chain(&content);
        bytes.iter_mut().zip(all).for_each(|(to, from)| *to = *from);
        bytes
    }

    /// Reads the form that is wrapped.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (key, content) = bytes.split_first_chunk::<32>()?;
        Some(Self {
            key: ColumnKey::from_bytes(*key),
            content: ColumnContent::from_bytes(content)?,
        })
    }

    /// Whether the column commits to just this key and this content.
    ///
    /// # Errors
    /// [`SealError::WrongKey`] when it does not.
    pub fn check(&self, context: &SealingContext, column: &Column) -> Result<(), SealError> {
        let key = context.column_commitment(&self.key, column.counterparty);
        let content = self.content.commitment(&context.totals_salt(&self.key));
        if key == column.key && content == column.content {
            Ok(())
        } else {
            Err(SealError::WrongKey)
        }
    }
}

/// SHA-256 over leaf hashes in order.
#[must_use]
pub fn hash_of_leaves(leaves: &[LeafHash]) -> LeafHash {
    let mut bytes = Vec::with_capacity(leaves.len().saturating_mul(32));
    leaves.iter().for_each(|leaf| bytes.extend_from_slice(leaf.as_bytes()));
    LeafHash::from_bytes(sha256(&[&bytes]))
}

impl Header {
    /// Reads a header leaf.
    ///
    /// # Errors
    /// When it is no entry, or an entry of another kind.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        match Entry::from_bytes(bytes)? {
            Entry::Header(header) => Ok(header),
            Entry::Public(_) | Entry::Sealed(_) => {
                Err(DecodeError::Malformed { what: "a header", position: 0 })
            }
        }
    }

    /// The bytes of the leaf and the block's id.
    #[must_use]
    pub fn to_leaf(&self) -> (Vec<u8>, HeaderHash) {
        let bytes = codec::encode(&HeaderEntry(self));
        let id = leaf_hash(&bytes).of_header();
        (bytes, id)
    }

    /// Number of leaves before the header.
    #[must_use]
    pub fn body_size(&self) -> TreeSize {
        TreeSize::new(self.first.get().saturating_add(u64::from(self.body_leaves)))
    }

    /// Number of leaves with the header.
    #[must_use]
    pub fn size(&self) -> TreeSize {
        TreeSize::new(self.body_size().get().saturating_add(1))
    }

    /// Where its entries are sealed.
    #[must_use]
    pub const fn context(&self) -> SealingContext {
        SealingContext { log: self.log, nonce: self.nonce, cipher: self.sealing.cipher }
    }

    /// Whether the header commits to a key that follows from this secret. If to none, the secret is
    /// another block's, or made up.
    #[must_use]
    pub fn is_sealed_with(&self, secret: &BlockSecret) -> bool {
        let context = self.context();
        self.columns.iter().any(|column| {
            let key = context.column_key(secret, column.counterparty);
            context.column_commitment(&key, column.counterparty) == column.key
        })
    }

    /// The column of one counterparty.
    #[must_use]
    pub fn column(&self, counterparty: BrandId) -> Option<&Column> {
        self.columns.iter().find(|column| column.counterparty == counterparty)
    }

    /// Opens the column of a counterparty with its private sealing keys, and checks the opening
    /// against the header.
    ///
    /// # Errors
    /// When there is no such column, it does not open, or it opens to something else.
    pub fn open_column(
        &self,
        counterparty: BrandId,
        keys: &KeyRing,
    ) -> Result<ColumnOpening, SealError> {
        let column = self.column(counterparty).ok_or(SealError::NotOpened)?;
        let context = self.context();
        let bytes = context.unwrap(counterparty.as_str(), keys, &column.opening)?;
        let opening = ColumnOpening::from_bytes(&bytes).ok_or(SealError::NotOpened)?;
        opening.check(&context, column)?;
        Ok(opening)
    }
}

// encodes like `Entry::Header` without taking the header by value
struct HeaderEntry<'a>(&'a Header);
impl<C> Encode<C> for HeaderEntry<'_> {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(2)?.u8(0)?.array(1)?;
        self.0.encode(e, ctx)
    }
}

/// What every vote and certificate is about: one block and the tree it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(array)]
pub struct BlockReference {
    /// Whose log.
    #[n(0)]
    pub log: BrandId,
    /// Under which constitution.
    #[n(1)]
    pub epoch: Epoch,
    /// Which height.
    #[n(2)]
    pub height: Height,
    /// The block's id.
    #[n(3)]
    pub header: HeaderHash,
    /// Number of leaves with the block.
    #[n(4)]
    pub size: TreeSize,
    /// Root with the block.
    #[n(5)]
    pub root: RootHash,
}

/// The part of a growing tree that a new block needs: the old tree's right edge and the new leaves.
/// Serves every proof about the new block.
#[derive(Clone, Debug)]
pub struct BlockTree {
    // for each level, the index of the first known node and the nodes from there on
    levels: Vec<(u64, Vec<NodeHash>)>,
}

impl BlockTree {
    /// Hashes the new leaves onto the old right edge.
    #[must_use]
    pub fn new(old: &Frontier, leaves: &[LeafHash]) -> Self {
        let size = old.size().get();
        let mut peaks = old.peaks().iter().rev();
        let mut level = 0_u32;
        let mut nodes: Vec<NodeHash> = leaves.iter().copied().map(NodeHash::from).collect();
        let mut first = size;
        let mut levels = Vec::new();
        while level < u64::BITS {
            // the old tree has a peak at this level where its size has the bit
            if size.checked_shr(level).unwrap_or(0) & 1 == 1
                && let Some(peak) = peaks.next()
            {
                nodes.insert(0, *peak);
                first = first.saturating_sub(1);
            }
            let above: Vec<NodeHash> = nodes
                .chunks_exact(2)
                .map(|pair| match pair {
                    [left, right] => NodeHash::over(left, right),
                    _ => NodeHash::from_bytes([0; 32]),
                })
                .collect();
            let exhausted = above.is_empty() && peaks.len() == 0;
            levels.push((first, nodes));
            if exhausted {
                break;
            }
            first = first.div_ceil(2);
            nodes = above;
            level = level.saturating_add(1);
        }
        Self { levels }
    }

    /// The leaves from an index on, as far as they are in it.
    #[must_use]
    pub fn leaves_from(&self, first: TreeSize) -> &[NodeHash] {
        // the first may be the peak of the last leaf before the block
        let Some((known_from, nodes)) = self.levels.first() else { return &[] };
        let skipped = first.get().checked_sub(*known_from).and_then(|it| usize::try_from(it).ok());
        skipped.and_then(|skipped| nodes.get(skipped..)).unwrap_or_default()
    }
}

impl HashReader for BlockTree {
    fn hash(&self, level: u8, index: u64) -> Option<NodeHash> {
        let (first, nodes) = self.levels.get(usize::from(level))?;
        let offset = usize::try_from(index.checked_sub(*first)?).ok()?;
        nodes.get(offset).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leaf(number: u64) -> LeafHash {
        leaf_hash(&number.to_be_bytes())
    }

    proptest! {
        /// Whatever the size before and the number of new leaves, the block's own tree gives the
        /// roots that appending one by one gives.
        #[test]
        fn a_block_tree_agrees_with_appending(old in 0..600u64, new in 1..70u64) {
            let mut frontier = Frontier::empty();
            for number in 0..old {
                frontier.append(leaf(number)).unwrap();
            }
            let leaves: Vec<LeafHash> = (old..old + new).map(leaf).collect();
            let tree = BlockTree::new(&frontier, &leaves);
            for number in &leaves {
                frontier.append(*number).unwrap();
            }
            let read = Frontier::read(&tree, frontier.size()).unwrap();
            prop_assert_eq!(read.root(), frontier.root());
        }
    }

    #[test]
    fn an_opening_has_one_length_and_survives_its_bytes() {
        let content = |sent| ColumnContent {
            entries: 3,
            sent: Value::new(sent).unwrap(),
            first: 1,
            count: 2,
            leaves: hash_of_leaves(&[leaf(1)]),
        };
        let of =
            |sent| ColumnOpening { key: ColumnKey::from_bytes([4; 32]), content: content(sent) };
        assert_eq!(of(1).to_bytes().len(), of(1 << 50).to_bytes().len());
        assert_eq!(ColumnOpening::from_bytes(&of(9).to_bytes()), Some(of(9)));
        assert_eq!(ColumnOpening::from_bytes(&of(9).to_bytes()[1..]), None);
    }
}
