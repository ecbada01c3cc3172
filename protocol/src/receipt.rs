//! A receipt that shows what one entry says: for a member, in a dispute, to a court.
//!
//! A C2SP tlog-proof with an extra line that only we write: the leaf, its one key, and the place that
//! the key is for. Stock tools verify the proof and pass over the line; whoever has the alliance's
//! constitutions verifies both, offline. The key opens this entry and no other: not the one beside it,
//! not the same brand's, not the same block's.
//!
//! Says nothing of whom the entry was for: only the writer and that brand can tell.

use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

use crate::codec::{self, DecodeError, ENTRY_MAX};
use crate::crypto::sealed::{Cipher, ColumnKey, EntryKey, SealError, SealingContext};
use crate::epochs::Constitutions;
use crate::exchange::Payload;
use crate::ids::{BlockNonce, BrandId, LeafIndex};
use crate::ledger::log_verifier;
use crate::log::block::{Entry, Header, PublicEntry};
use crate::log::merkle::leaf_hash;
use crate::log::tlog_proof::{TlogProof, TlogProofError};

/// Most bytes of the extra line.
const OPENING_MAX: usize = ENTRY_MAX + 256;

/// What opens one entry.
#[derive(Encode, Decode)]
#[cbor(array)]
struct Opening {
    #[n(0)]
    log: BrandId,
    #[n(1)]
    nonce: BlockNonce,
    #[n(2)]
    cipher: Cipher,
    #[cbor(n(3), with = "minicbor::bytes")]
    key: Vec<u8>,
    #[cbor(n(4), with = "minicbor::bytes")]
    leaf: Vec<u8>,
}

/// An entry that everyone may read, beside the proof that it is in a log.
#[derive(Encode, Decode)]
#[cbor(array)]
struct ShownLeaf {
    #[n(0)]
    log: BrandId,
    #[cbor(n(1), with = "minicbor::bytes")]
    leaf: Vec<u8>,
}

/// Why a receipt does not show what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Not a tlog-proof, or one that does not verify.
    #[error(transparent)]
    Proof(#[from] TlogProofError),
    /// A receipt that does not open its entry.
    #[error("the receipt proves an entry and does not open it; ask the brand for one that does")]
    NotOpened,
    /// The extra line cannot be read.
    #[error("the receipt's extra line: {0}")]
    Unreadable(#[from] DecodeError),
    /// A log of no brand of the alliance.
    #[error("{0} is no brand of the alliance")]
    Stranger(BrandId),
    /// The key does not open the entry.
    #[error("the entry: {0}")]
    Sealed(#[from] SealError),
    /// What the entry says is not a payload.
    #[error("what the entry says: {0}")]
    Payload(DecodeError),
}

/// Adds to a receipt what opens its entry. `leaf` is the entry at the receipt's index, in a block with
/// this header; `column` the key of the column it is in.
///
/// # Errors
/// When the leaf is not sealed in this column, or the proof cannot carry it.
pub fn open(
    receipt: TlogProof,
    header: &Header,
    column: &ColumnKey,
    leaf: &[u8],
) -> Result<TlogProof, ReceiptError> {
    let (context, index) = (header.context(), receipt.index());
    let key = context.entry_key(column, index);
    unseal(&context, &key, index, leaf)?;
    let SealingContext { log, nonce, cipher } = context;
    let opening = Opening { log, nonce, cipher, key: key.expose().to_vec(), leaf: leaf.to_vec() };
    Ok(receipt.with_extra(codec::encode(&opening))?)
}

/// What a receipt shows.
#[derive(Debug)]
pub struct Shown {
    /// In whose log.
    pub log: BrandId,
    /// At which index.
    pub index: LeafIndex,
    /// What was said there.
    pub payload: Payload,
    /// The one key, for whoever wants to open the entry by other means.
    pub key: EntryKey,
}

/// Verifies a receipt that opens its entry: that the entry is in the log of a brand of the alliance, as
/// its checkpoint says, and what it says.
///
/// # Errors
/// The first thing that does not hold.
pub fn verify(receipt: &[u8], constitutions: &Constitutions) -> Result<Shown, ReceiptError> {
    let receipt = TlogProof::parse(receipt)?;
    let extra = receipt.extra().ok_or(ReceiptError::NotOpened)?;
    let opening: Opening = codec::decode("what opens the entry", extra, OPENING_MAX)?;
    let Opening { log, nonce, cipher, leaf, key } = opening;
    let (key, index) = (Zeroizing::new(key), receipt.index());
    in_log(&receipt, log, &leaf, constitutions)?;
    let context = SealingContext { log, nonce, cipher };
    let key = EntryKey::from_bytes(cipher, &key).ok_or(SealError::WrongKey)?;
    let payload = unseal(&context, &key, index, &leaf)?;
    let payload = Payload::decode(&payload).map_err(ReceiptError::Payload)?;
    Ok(Shown { log, index, payload, key })
}

/// Adds to a receipt the entry itself, where it is one that everyone may read.
///
/// # Errors
/// When the leaf is none such, or the proof cannot carry it.
pub fn show(receipt: TlogProof, log: BrandId, leaf: &[u8]) -> Result<TlogProof, ReceiptError> {
    public(leaf)?;
    Ok(receipt.with_extra(codec::encode(&ShownLeaf { log, leaf: leaf.to_vec() }))?)
}

/// Verifies a receipt that shows an entry that everyone may read: that the entry is in the log of a
/// brand of the alliance, as its checkpoint says; gives the log, the place and the entry.
///
/// # Errors
/// The first thing that does not hold.
pub fn verify_public(
    receipt: &[u8],
    constitutions: &Constitutions,
) -> Result<(BrandId, LeafIndex, PublicEntry), ReceiptError> {
    let receipt = TlogProof::parse(receipt)?;
    let extra = receipt.extra().ok_or(ReceiptError::NotOpened)?;
    let shown: ShownLeaf = codec::decode("the entry that is shown", extra, OPENING_MAX)?;
    in_log(&receipt, shown.log, &shown.leaf, constitutions)?;
    Ok((shown.log, receipt.index(), public(&shown.leaf)?))
}

fn public(leaf: &[u8]) -> Result<PublicEntry, ReceiptError> {
    match Entry::from_bytes(leaf)? {
        Entry::Public(entry) => Ok(entry),
        Entry::Header(_) | Entry::Sealed(_) => Err(ReceiptError::NotOpened),
    }
}

fn in_log(
    receipt: &TlogProof,
    log: BrandId,
    leaf: &[u8],
    constitutions: &Constitutions,
) -> Result<(), ReceiptError> {
    // a log's key may have changed since: any that the alliance agreed on for it does
    let keys = constitutions.iter().filter_map(|known| log_verifier(known, log));
    let mut verified = Err(ReceiptError::Stranger(log));
    for verifier in keys {
        verified = receipt.verify(leaf_hash(leaf), &verifier).map(drop).map_err(Into::into);
        if verified.is_ok() {
            break;
        }
    }
    verified
}

fn unseal(
    context: &SealingContext,
    key: &EntryKey,
    index: LeafIndex,
    leaf: &[u8],
) -> Result<Vec<u8>, ReceiptError> {
    match Entry::from_bytes(leaf)? {
        Entry::Sealed(sealed) => Ok(context.open(key, index, &sealed)?),
        Entry::Header(_) | Entry::Public(_) => Err(SealError::NotOpened.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::amount::Points;
    use crate::constitution::Constitution;
    use crate::constitution::tests::{draft, seed};
    use crate::crypto::SigningKey;
    use crate::crypto::sealed::{BlockSecret, SealingSecret};
    use crate::exchange::Exchange;
    use crate::ids::{MemberHandle, RequestId};
    use crate::log::block::BlockTree;
    use crate::log::checkpoint::{Checkpoint, SignedCheckpoint};
    use crate::log::merkle::Frontier;
    use crate::log::note::KeyName;
    use crate::log::proof::InclusionProof;
    use crate::time::Timestamp;
    use crate::witness::build::{OwnBlock, Plan};
    use crate::witness::rules::Tip;

    /// A block of `a`: two exchanges for `b`, one for `c`, padding.
    struct World {
        constitutions: Constitutions,
        block: OwnBlock,
        header: Header,
        leaves: Vec<Vec<u8>>,
    }

    const SECRET: BlockSecret = BlockSecret::from_bytes([1; 32]);

    fn world(cipher: Cipher) -> World {
        world_with(cipher, Vec::new())
    }

    fn world_with(cipher: Cipher, public: Vec<PublicEntry>) -> World {
        let constitution =
            Constitution::new(crate::constitution::Draft { cipher, ..draft(4) }).unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|id| BrandId::new(id).unwrap());
        let exchange = |to, points| {
            let (handle, request) =
                (MemberHandle::from_bytes([1; 16]), RequestId::from_bytes([2; 16]));
            let points = Points::new(points).unwrap();
            let priced = Exchange::price(&constitution, (a, to), handle, request, points);
            Payload::Exchange(priced.unwrap())
        };
        let plan = Plan {
            public,
            sealed: [(b, vec![exchange(b, 3), exchange(b, 3)]), (c, vec![exchange(c, 5)])].into(),
            recognised: BTreeMap::new(),
            discharged: BTreeMap::new(),
            sealing: SealingSecret::derive(&seed(0, 6)).1,
            time: Timestamp::from_unix_ms(1),
            secret: SECRET,
            nonce: BlockNonce::from_bytes([1; 16]),
        };
        let block =
            OwnBlock::build(&constitution, a, &Tip::genesis(), &BTreeMap::new(), plan).unwrap();
        let header = Header::from_bytes(block.header_leaf()).unwrap();
        let leaves = block.leaves().map(<[u8]>::to_vec).collect();
        World { constitutions: constitution.into(), block, header, leaves }
    }

    impl World {
        fn receipt(&self, index: u64) -> TlogProof {
            let (index, block) = (LeafIndex::new(index), self.block.reference());
            let hashes: Vec<_> = self.leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
            let tree = BlockTree::new(&Frontier::empty(), &hashes);
            let proof = InclusionProof::prove(&tree, index, block.size).unwrap();
            let origin = KeyName::new(&self.constitutions.first().origin(block.log)).unwrap();
            let checkpoint = Checkpoint::new(&origin, block.size, block.root);
            let key = SigningKey::from_seed(&seed(0, 2)).unwrap();
            let checkpoint = SignedCheckpoint::sign(checkpoint, &key).unwrap();
            TlogProof::new(index, proof, checkpoint)
        }

        fn column(&self, to: &str) -> ColumnKey {
            self.header.context().column_key(&SECRET, BrandId::new(to).unwrap())
        }

        fn opened(&self, index: usize) -> Result<TlogProof, ReceiptError> {
            let receipt = self.receipt(index as u64);
            open(receipt, &self.header, &self.column("b"), &self.leaves[index])
        }

        fn verify(&self, receipt: &TlogProof) -> Result<Shown, ReceiptError> {
            verify(receipt.to_string().as_bytes(), &self.constitutions)
        }
    }

    #[test]
    fn an_opened_receipt_shows_its_entry_and_opens_no_other() {
        for cipher in Cipher::ALL {
            let world = world(cipher);
            let shown = world.verify(&world.opened(0).unwrap()).unwrap();
            assert_eq!((shown.log.as_str(), shown.index), ("a", LeafIndex::new(0)));
            assert_eq!(shown.payload, world.block.payloads()[0].payload);
            let context = world.header.context();
            let opens = |index: usize| {
                let at = LeafIndex::new(index as u64);
                unseal(&context, &shown.key, at, &world.leaves[index]).is_ok()
            };
            // the very same exchange again, another brand's, padding, the header
            assert_eq!((0..8).filter(|index| opens(*index)).collect::<Vec<_>>(), [0]);
            // nor by its bytes alone, whatever the leaf commits to
            for index in 1..7_usize {
                let Ok(Entry::Sealed(mut other)) = Entry::from_bytes(&world.leaves[index]) else {
                    panic!("all are sealed")
                };
                let Ok(Entry::Sealed(own)) = Entry::from_bytes(&world.leaves[0]) else { panic!() };
                other.commitment = own.commitment;
                for at in [0, index as u64].map(LeafIndex::new) {
                    let opened = context.open(&shown.key, at, &other);
                    assert_eq!(opened, Err(SealError::NotOpened));
                }
            }
        }
    }

    #[test]
    fn a_receipt_shows_an_entry_that_everyone_may_read() {
        use crate::log::kept::Answered;
        let entry = PublicEntry::Answered(Answered { certificate: [5; 32] });
        let world = world_with(Cipher::default(), vec![entry.clone()]);
        let a = BrandId::new("a").unwrap();
        let verify = |receipt: &TlogProof| {
            verify_public(receipt.to_string().as_bytes(), &world.constitutions)
        };
        let shown = show(world.receipt(0), a, &world.leaves[0]).unwrap();
        assert_eq!(verify(&shown), Ok((a, LeafIndex::new(0), entry)));
        // another certificate under the same proof, another log, an entry that is sealed, none at all
        let other = Entry::Public(PublicEntry::Answered(Answered { certificate: [6; 32] }));
        let forged = show(world.receipt(0), a, &other.to_bytes()).unwrap();
        assert!(matches!(verify(&forged), Err(ReceiptError::Proof(_))));
        let moved = show(world.receipt(0), BrandId::new("b").unwrap(), &world.leaves[0]).unwrap();
        assert!(matches!(verify(&moved), Err(ReceiptError::Proof(_))));
        let sealed = show(world.receipt(1), a, &world.leaves[1]);
        assert_eq!(sealed.err(), Some(ReceiptError::NotOpened));
        assert_eq!(verify(&world.receipt(0)), Err(ReceiptError::NotOpened));
    }

    #[test]
    fn a_receipt_that_does_not_show_what_it_proves_is_refused() {
        let world = world(Cipher::default());
        let plain = world.verify(&world.receipt(0)).unwrap_err();
        assert_eq!(plain, ReceiptError::NotOpened);
        // an entry of another column, and padding, do not open with this one's key
        for index in [2, 3, 6] {
            let error = world.opened(index).unwrap_err();
            assert_eq!(error, ReceiptError::Sealed(SealError::WrongKey));
        }
        // one entry's opening under another's proof
        let extra = world.opened(0).unwrap().extra().unwrap().to_vec();
        let moved = world.receipt(1).with_extra(extra.clone()).unwrap();
        assert!(matches!(world.verify(&moved), Err(ReceiptError::Proof(_))));
        let mut opening: Opening = codec::decode("", &extra, OPENING_MAX).unwrap();
        let again = |opening: &Opening| {
            world.verify(&world.receipt(0).with_extra(codec::encode(opening)).unwrap())
        };
        assert!(again(&opening).is_ok());
        opening.key[0] ^= 1;
        assert_eq!(again(&opening).unwrap_err(), ReceiptError::Sealed(SealError::WrongKey));
        opening.key[0] ^= 1;
        opening.nonce = BlockNonce::from_bytes([9; 16]);
        assert_eq!(again(&opening).unwrap_err(), ReceiptError::Sealed(SealError::NotOpened));
        opening.log = BrandId::new("stranger").unwrap();
        assert!(matches!(again(&opening), Err(ReceiptError::Stranger(_))));
        opening.log = BrandId::new("b").unwrap();
        assert!(matches!(again(&opening), Err(ReceiptError::Proof(_))));
    }
}
