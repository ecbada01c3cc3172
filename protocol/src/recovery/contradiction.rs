//! Fragments that decode to another body than their header speaks of: only a writer that lied makes them.
//!
//! A witness checks its own fragment against the header's root and cannot see that all of them together
//! are the body. Who decodes sees it: the body is cut again and must give the same root, and its leaves
//! must make the tree that the header names. Where they do not, the header, the writer's signature on it
//! and the fragments that were decoded prove it to anyone ([`Contradiction::prove`]).

use minicbor::{Decode, Encode};

use crate::constitution::Constitution;
use crate::crypto::Signed;
use crate::ids::{BrandId, HeaderHash};
use crate::log::block::Header;
use crate::log::entries::Entries;
use crate::log::fragments::{Fragment, FragmentError, Shape};
use crate::log::merkle::{Frontier, leaf_hash};
use crate::witness::statement::{Proposal, Statement as _};

/// Most bytes of a contradiction: it has the body in it. Larger than an entry of a log may be, so that
/// most are kept and passed on, and not entered.
pub const CONTRADICTION_MAX: usize = 18 * 1024 * 1024;

/// A block's header with fragments that contradict it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Contradiction {
    /// The writer's proposal of the block.
    #[n(0)]
    pub proposal: Signed<Proposal>,
    /// The header leaf.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub header: Vec<u8>,
    /// The tree's right edge before the block.
    #[n(2)]
    pub before: Frontier,
    /// As many fragments as rebuild a body, each under the header's root.
    #[n(3)]
    pub fragments: Vec<Fragment>,
}

/// Why fragments give no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// There are too few, or the code cannot be computed.
    #[error(transparent)]
    Fragments(FragmentError),
    /// They decode to another body than the header says.
    #[error("the fragments decode to another body than the header says")]
    Contradicts,
}

/// Decodes a body from checked fragments and compares it with its header. `before` is the tree before
/// the block, which the header must name.
///
/// # Errors
/// See [`BodyError`].
pub fn decode_body(
    header: &Header,
    shape: Shape,
    before: &Frontier,
    fragments: &[Fragment],
) -> Result<Entries, BodyError> {
    let bytes = match shape.rebuild(fragments, header.body_bytes, &header.fragments) {
        Ok(bytes) => bytes,
        Err(FragmentError::NotCommitted { .. }) => return Err(BodyError::Contradicts),
        Err(error) => return Err(BodyError::Fragments(error)),
    };
    let body = Entries::from_bytes(bytes).ok_or(BodyError::Contradicts)?;
    let mut tree = before.clone();
    for leaf in body.hashes() {
        tree.append(leaf).map_err(|_| BodyError::Contradicts)?;
    }
    let fits = u32::try_from(body.len()) == Ok(header.body_leaves)
        && tree.size() == header.body_size()
        && tree.root() == header.body_root;
    if fits { Ok(body) } else { Err(BodyError::Contradicts) }
}

impl Contradiction {
    /// Whose log it is about, before anything is checked.
    #[must_use]
    pub const fn log(&self) -> BrandId {
        self.proposal.body.0.block.log
    }

    /// Which block it is about, before anything is checked.
    #[must_use]
    pub const fn block(&self) -> HeaderHash {
        self.proposal.body.0.block.header
    }

    /// Whether it stands under the constitution of the block's epoch: the log's own brand has signed the
    /// header, which names that tree before it, every fragment is under the header's root, and they decode
    /// to something else. None when a signature is wrong, false when nothing is contradicted.
    #[must_use]
    pub fn prove(&self, constitution: &Constitution) -> Option<bool> {
        let proposal = Proposal::verify(self.proposal.clone(), constitution).ok()?;
        let block = proposal.body().0.block;
        if proposal.signer() != block.log || block.epoch != constitution.epoch() {
            return None;
        }
        Some(self.contradicts(constitution).unwrap_or(false))
    }

    fn contradicts(&self, constitution: &Constitution) -> Option<bool> {
        let block = self.proposal.body.0.block;
        let header = Header::from_bytes(&self.header).ok()?;
        let shape = Shape::of(constitution.committee());
        let is_its = leaf_hash(&self.header).of_header() == block.header
            && (header.log, header.height, header.epoch) == (block.log, block.height, block.epoch);
        let continues = self.before.size().get() == header.first.get()
            && self.before.root() == header.previous_root;
        if !is_its || !continues || self.fragments.len() != shape.needed() {
            return None;
        }
        let mut numbers = std::collections::BTreeSet::new();
        for fragment in &self.fragments {
            let number = fragment.number();
            shape.check(fragment, number, header.body_bytes, &header.fragments).ok()?;
            numbers.insert(number);
        }
        if numbers.len() != shape.needed() {
            return None;
        }
        let decoded = decode_body(&header, shape, &self.before, &self.fragments);
        Some(matches!(decoded, Err(BodyError::Contradicts)))
    }
}
