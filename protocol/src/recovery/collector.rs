//! Collects one log's blocks from what others hold of them, and gives each that comes next, whole.
//!
//! Pure state: who is to be asked comes out, answers and the time go in. Bounded: a brand is asked no
//! further than [`AHEAD_MAX`] heights above the last whole block, nor while [`BUFFERED_MAX`] bytes of its
//! fragments wait. Knows no disk and no key but those of the constitutions.

use std::collections::BTreeMap;

use super::contradiction::{BodyError, Contradiction, decode_body};
use super::held::{HELD_BLOCKS_MAX, HeldBlock, Holdings, Recall};
use crate::constitution::Constitution;
use crate::crypto::Signed;
use crate::epochs::Constitutions;
use crate::ids::{BrandId, Epoch, HeaderHash, Height};
use crate::log::block::{BlockReference, Header};
use crate::log::entries::Entries;
use crate::log::fragments::{Fragment, FragmentError, Shape};
use crate::log::merkle::leaf_hash;
use crate::time::{Milliseconds, Timestamp};
use crate::witness::rules::Tip;
use crate::witness::statement::{Certificate, Proposal, UnverifiedCertificate};

/// How many heights above the last whole block are collected at most.
pub const AHEAD_MAX: u64 = 256;
/// Bytes of one brand's fragments that wait for others', after which it is asked for no more.
pub const BUFFERED_MAX: usize = 32 * 1024 * 1024;
/// After how long without an answer, or after one that held nothing, a brand is asked again.
pub const ASK_AGAIN_AFTER: Milliseconds = Milliseconds::from_seconds(5);

/// What of an answer does not hold. It is ignored; the rest of the answer counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HoldingsError {
    /// More than an answer may have.
    #[error("more than {HELD_BLOCKS_MAX} blocks in one answer")]
    TooMany,
    /// The header or certificate is not that of a block of the log.
    #[error("block {0} comes with a header or a certificate that does not stand")]
    NotCertified(Height),
    /// The fragment is not the one that this brand was given.
    #[error("block {height}: {error}")]
    Fragment {
        /// Which block.
        height: Height,
        /// What is wrong with it.
        error: FragmentError,
    },
}

/// A block with its body, as its header says it is.
#[derive(Clone, Debug)]
pub struct WholeBlock {
    /// What it is.
    pub reference: BlockReference,
    /// Its certificate; none for the one that a lock forces.
    pub certificate: Option<Certificate>,
    /// The header leaf.
    pub leaf: Vec<u8>,
    /// The same, read.
    pub header: Header,
    /// The leaves before it.
    pub body: Entries,
}

/// What cannot be decoded although the fragments are there.
#[derive(Clone, Debug)]
pub enum Spoiled {
    /// They contradict the header; the proof, if the writer itself had proposed the block.
    Contradiction(Option<Box<Contradiction>>),
    /// The certified header does not continue the log as it is known here.
    NotContinuing,
}

struct Collected {
    reference: BlockReference,
    certificate: Option<Certificate>,
    leaf: Vec<u8>,
    header: Header,
    fragments: BTreeMap<BrandId, Fragment>,
    spoiled: bool,
}

#[derive(Clone, Copy, Default)]
struct Peer {
    // what it was asked last, and when; whether the answer has come
    asked: Option<(Recall, Timestamp)>,
    answered: bool,
    // the first height not had from it
    next: Height,
    // it held nothing from there on
    nothing_from: Option<Height>,
}

/// Where the collection stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The highest height that a certificate was shown for.
    pub certified: Height,
    /// Brands that hold nothing above the last whole block.
    pub exhausted: Vec<BrandId>,
    /// Brands whose fragment of the next block is here.
    pub holding: Vec<BrandId>,
    /// The lowest height above the last whole block that somebody holds.
    pub lowest: Option<Height>,
    /// The next block is of this constitution, which is not known here.
    pub lacks: Option<Epoch>,
    /// What came for the next block contradicts its header or the log before it.
    pub spoiled: bool,
}

/// What others hold of one log.
pub struct Collector {
    log: BrandId,
    heights: BTreeMap<Height, Collected>,
    peers: BTreeMap<BrandId, Peer>,
    certified: Height,
    wanted: Option<BlockReference>,
    lacks: Option<(Height, Epoch)>,
    // the lowest height above all that may be collected now
    beyond: Option<Height>,
}

impl Collector {
    /// Nothing collected yet.
    #[must_use]
    pub const fn new(log: BrandId) -> Self {
        Self {
            log,
            heights: BTreeMap::new(),
            peers: BTreeMap::new(),
            certified: Height::new(0),
            wanted: None,
            lacks: None,
            beyond: None,
        }
    }

    /// The highest height that a certificate was shown for.
    #[must_use]
    pub const fn certified(&self) -> Height {
        self.certified
    }

    /// The certificate that was shown for a height.
    #[must_use]
    pub fn certificate(&self, height: Height) -> Option<&Certificate> {
        self.heights.get(&height)?.certificate.as_ref()
    }

    /// Collects this block, whether or not it is final, and nothing else until it is whole.
    pub fn want(&mut self, block: Option<BlockReference>) {
        if self.wanted != block {
            self.wanted = block;
            self.peers.values_mut().for_each(|peer| peer.asked = None);
        }
    }

    /// What is to be asked now of these, of each at most one thing at a time.
    pub fn requests(
        &mut self,
        tip: Height,
        others: impl Iterator<Item = BrandId>,
        now: Timestamp,
    ) -> Vec<(BrandId, Recall)> {
        let Some(after) = tip.next() else { return Vec::new() };
        let log = self.log;
        let mut requests = Vec::new();
        for to in others.filter(|to| *to != log) {
            let buffered = self.buffered(to);
            let peer = self.peers.entry(to).or_default();
            peer.next = peer.next.max(after);
            let recall = match self.wanted {
                Some(block) => Recall { log, from: block.height, block: Some(block.header) },
                None => Recall { log, from: peer.next, block: None },
            };
            let has_enough = self.wanted.is_none()
                && (buffered > BUFFERED_MAX
                    || peer.next.get() > tip.get().saturating_add(AHEAD_MAX));
            let (waits, nothing) = match peer.asked {
                Some((asked, at)) => {
                    let recent = now.distance(at) < ASK_AGAIN_AFTER;
                    (recent && !peer.answered, recent && peer.answered && asked == recall)
                }
                None => (false, false),
            };
            if waits || nothing || has_enough {
                continue;
            }
            peer.asked = Some((recall, now));
            peer.answered = false;
            requests.push((to, recall));
        }
        requests
    }

    fn buffered(&self, from: BrandId) -> usize {
        let mine = self.heights.values().filter_map(|collected| collected.fragments.get(&from));
        mine.fold(0, |sum, fragment| sum.saturating_add(fragment.bytes().len()))
    }

    /// Takes a brand's answer. What does not hold in it is left out, and the first such thing told.
    ///
    /// # Errors
    /// See [`HoldingsError`].
    pub fn take(
        &mut self,
        from: BrandId,
        answer: Holdings,
        tip: Height,
        constitutions: &Constitutions,
    ) -> Result<(), HoldingsError> {
        if answer.held.len() > HELD_BLOCKS_MAX {
            return Err(HoldingsError::TooMany);
        }
        // an answer that comes late, or twice, or was asked for in a former life, is nobody's fault
        let Some(peer) = self.peers.get_mut(&from) else { return Ok(()) };
        let is_asked = peer.asked.is_some_and(|(asked, _)| asked == answer.asked);
        if !is_asked || peer.answered {
            return Ok(());
        }
        peer.answered = true;
        let asked = answer.asked;
        peer.nothing_from = answer.held.is_empty().then_some(asked.from);
        let mut result = Ok(());
        let mut next = asked.from;
        for held in answer.held {
            let taken = if asked.block.is_some() {
                self.take_wanted(from, held, constitutions)
            } else {
                self.take_certified(from, held, (tip, &mut next), constitutions)
            };
            result = result.and(taken);
        }
        if asked.block.is_none()
            && let Some(peer) = self.peers.get_mut(&from)
        {
            // an answer that brings nothing forward is as good as none
            peer.next = peer.next.max(next);
        }
        result
    }

    fn take_certified(
        &mut self,
        from: BrandId,
        held: HeldBlock,
        (tip, next): (Height, &mut Height),
        constitutions: &Constitutions,
    ) -> Result<(), HoldingsError> {
        let Some((log, height)) = held.place() else {
            return Err(HoldingsError::NotCertified(*next));
        };
        let wrong = HoldingsError::NotCertified(height);
        if log != self.log || height < *next {
            return Err(wrong);
        }
        let most = tip.get().saturating_add(AHEAD_MAX);
        if height.get() > most.saturating_add(u64::try_from(HELD_BLOCKS_MAX).unwrap_or(0)) {
            // what is below is not held any more
            self.beyond = Some(self.beyond.unwrap_or(height).min(height));
            return Ok(());
        }
        let Some(certificate) = held.certificate else { return Err(wrong) };
        let epoch = certificate.pledge.block.epoch;
        let Some(constitution) = constitutions.of(epoch) else {
            // asked for again when the file is there
            self.lacks = Some(self.lacks.unwrap_or((height, epoch)).min((height, epoch)));
            return Ok(());
        };
        if !self.heights.contains_key(&height) {
            let collected = certified(self.log, certificate, held.header, constitution);
            self.heights.insert(height, collected.ok_or(wrong)?);
        }
        self.certified = self.certified.max(height);
        let collected = self.heights.get_mut(&height);
        collected.map_or(Ok(()), |collected| collected.add(from, held.fragment, constitution))?;
        *next = height.next().unwrap_or(height);
        Ok(())
    }

    fn take_wanted(
        &mut self,
        from: BrandId,
        held: HeldBlock,
        constitutions: &Constitutions,
    ) -> Result<(), HoldingsError> {
        let Some(wanted) = self.wanted else { return Ok(()) };
        let wrong = HoldingsError::NotCertified(wanted.height);
        let constitution = constitutions.of(wanted.epoch).ok_or(wrong.clone())?;
        let known = self.heights.get(&wanted.height).map(|known| known.reference);
        if known != Some(wanted) {
            let collected = read(wanted, None, held.header).ok_or(wrong)?;
            self.heights.insert(wanted.height, collected);
        }
        let collected = self.heights.get_mut(&wanted.height);
        collected.map_or(Ok(()), |collected| collected.add(from, held.fragment, constitution))
    }

    /// How large the body after `tip` is, as far as its header is here.
    #[must_use]
    pub fn next_bytes(&self, tip: Height) -> usize {
        let next = tip.next().and_then(|next| self.heights.get(&next));
        next.map_or(0, |next| usize::try_from(next.header.body_bytes).unwrap_or(usize::MAX))
    }

    /// The block after `tip`, when there are fragments enough. Under the constitution of that height.
    ///
    /// # Errors
    /// When they give no block; told once.
    pub fn next(
        &mut self,
        tip: &Tip,
        constitution: &Constitution,
    ) -> Result<Option<WholeBlock>, Spoiled> {
        let Some(height) = tip.height.next() else { return Ok(None) };
        self.heights = self.heights.split_off(&height);
        if self.lacks.is_some_and(|(lacking, _)| lacking < height) {
            self.lacks = None;
        }
        let shape = Shape::of(constitution.committee());
        let Some(collected) = self.heights.get_mut(&height) else { return Ok(None) };
        let enough = collected.fragments.len() >= shape.needed();
        if collected.spoiled || !enough || collected.header.epoch != constitution.epoch() {
            return Ok(None);
        }
        let header = &collected.header;
        if header.previous != tip.header
            || header.previous_root != tip.frontier.root()
            || header.first.get() != tip.frontier.size().get()
        {
            collected.spoiled = true;
            return Err(Spoiled::NotContinuing);
        }
        let fragments: Vec<Fragment> =
            collected.fragments.values().take(shape.needed()).cloned().collect();
        match decode_body(header, shape, &tip.frontier, &fragments) {
            Ok(body) => {
                let Some(collected) = self.heights.remove(&height) else { return Ok(None) };
                if self.wanted == Some(collected.reference) {
                    self.wanted = None;
                }
                Ok(Some(WholeBlock {
                    reference: collected.reference,
                    certificate: collected.certificate,
                    leaf: collected.leaf,
                    header: collected.header,
                    body,
                }))
            }
            Err(BodyError::Contradicts) => {
                collected.spoiled = true;
                let proof = proposal_of(self.log, collected).map(|proposal| {
                    let header = collected.leaf.clone();
                    let before = tip.frontier.clone();
                    Box::new(Contradiction { proposal, header, before, fragments })
                });
                Err(Spoiled::Contradiction(proof))
            }
            // the code is the same for all committees of this size
            Err(BodyError::Fragments(_)) => Ok(None),
        }
    }

    /// Where the collection stands, for people and for whoever decides that it has ended.
    #[must_use]
    pub fn progress(&self, tip: Height) -> Progress {
        let next = tip.next().unwrap_or(tip);
        let exhausted = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.nothing_from.is_some_and(|height| height <= next));
        let here = self.heights.get(&next);
        Progress {
            certified: self.certified,
            exhausted: exhausted.map(|(brand, _)| *brand).collect(),
            holding: here.map(|it| it.fragments.keys().copied().collect()).unwrap_or_default(),
            lowest: self.heights.range(next..).next().map(|(height, _)| *height).or(self.beyond),
            lacks: self.lacks.map(|(_, epoch)| epoch),
            spoiled: here.is_some_and(|here| here.spoiled),
        }
    }
}

impl Collected {
    /// Takes the fragment of the brand that it was given to.
    fn add(
        &mut self,
        from: BrandId,
        fragment: Fragment,
        constitution: &Constitution,
    ) -> Result<(), HoldingsError> {
        let (height, committee) = (self.header.height, constitution.committee());
        let number = committee.witnesses(self.header.log).position(|witness| witness == from);
        let number = number.and_then(|number| u32::try_from(number).ok()).unwrap_or(u32::MAX);
        Shape::of(committee)
            .check(&fragment, number, self.header.body_bytes, &self.header.fragments)
            .map_err(|error| HoldingsError::Fragment { height, error })?;
        self.fragments.insert(from, fragment);
        Ok(())
    }
}

fn certified(
    log: BrandId,
    certificate: UnverifiedCertificate,
    leaf: Vec<u8>,
    constitution: &Constitution,
) -> Option<Collected> {
    let reference = certificate.pledge.block;
    if reference.log != log || reference.header == HeaderHash::NOTHING {
        return None;
    }
    let certificate = certificate.verify(constitution).ok()?;
    read(reference, Some(certificate), leaf)
}

fn read(
    reference: BlockReference,
    certificate: Option<Certificate>,
    leaf: Vec<u8>,
) -> Option<Collected> {
    let header = Header::from_bytes(&leaf).ok()?;
    let names = (header.log, header.height, header.epoch, leaf_hash(&leaf).of_header());
    let expected = (reference.log, reference.height, reference.epoch, reference.header);
    let (fragments, spoiled) = (BTreeMap::new(), false);
    (names == expected).then_some(Collected {
        reference,
        certificate,
        leaf,
        header,
        fragments,
        spoiled,
    })
}

/// The writer's own proposal of a block that was certified in one of its rounds.
fn proposal_of(log: BrandId, collected: &Collected) -> Option<Signed<Proposal>> {
    let certificate = collected.certificate.as_ref()?.as_unverified();
    let pledge = certificate.pledge;
    let is_writers = !crate::witness::closing::is_last(pledge.round);
    is_writers.then_some(Signed {
        signer: log,
        body: Proposal(pledge),
        signature: certificate.proposal,
    })
}
