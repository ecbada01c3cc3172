//! A block that came in: its parts checked, and kept until its height is decided.

use std::collections::BTreeSet;

use super::{Outbox, Received, Surroundings, Witness};
use crate::codec::Shared;
use crate::crypto::sealed::SealError;
use crate::epochs::DraftReference;
use crate::epochs::adoption::{self, ProvenEntry};
use crate::epochs::entries::Judge;
use crate::exchange::Payload;
use crate::ids::{BrandId, Epoch, HeaderHash, Height, LeafIndex};
use crate::log::block::{BlockReference, ColumnContent, ColumnOpening, Header, PublicEntry};
use crate::log::fragments::Shape;
use crate::log::resolution::DisputeResolved;
use crate::recovery::held::HeldBlock;
use crate::witness::allowed::{Adjusted, Allowed};
use crate::witness::build::OwnBlock;
use crate::witness::guards::{Guard, Guards};
use crate::witness::message::{CertifiedHeader, Delivery, LeafRun};
use crate::witness::record::{Opened, Record};
use crate::witness::rules::{self, CertifiedTotals, Known, Violation};
use crate::witness::statement::Certificate;

/// How a block came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// It is proposed, and judged before a vote.
    Fresh,
    /// It is forced by a lock, was missed, or is replayed from the record of its vote.
    Late,
    /// It was here before.
    Again {
        /// Whether this node was a restored one then.
        restored: bool,
        /// Whether it was read as an offer to end a dispute that there was then.
        offered: bool,
    },
}

impl Received {
    /// What a vote would name it by.
    pub(super) fn reference(&self, log: BrandId, header: HeaderHash) -> BlockReference {
        let Header { epoch, height, .. } = self.header;
        let (size, root) = (self.frontier.size(), self.frontier.root());
        BlockReference { log, epoch, height, header, size, root }
    }
}

/// Most different blocks of one height a witness keeps. An honest writer goes on with its last one;
/// whichever is dropped and becomes final after all is asked for again.
const BLOCKS_PER_HEIGHT_MAX: usize = 16;

impl<G: Guards> Witness<G> {
    /// Checks a block's parts and keeps it; a fresh one is also judged by what only a vote needs. A block
    /// that was voted for without that, or missed, is judged all the same as far as it can be: it stands
    /// with its certificate, and what is wrong with it is told.
    pub(super) fn receive(
        &mut self,
        at: &Surroundings<'_>,
        block: &BlockReference,
        delivery: &Delivery,
        how: How,
    ) -> Result<(), Violation> {
        let fresh = how == How::Fresh;
        let restored = match how {
            How::Again { restored, .. } => restored,
            How::Fresh | How::Late => at.standing.was_restored(),
        };
        let header = Header::from_bytes(&delivery.header)?;
        let id = crate::log::merkle::leaf_hash(&delivery.header).of_header();
        let names = (header.log, header.height, header.epoch, id);
        if names != (block.log, block.height, block.epoch, block.header) {
            return Err(Violation::Previous);
        }
        let frontier = rules::check_tree::<G>(&self.tip, &header, block, &delivery.extension)?;
        let mut kept = None;
        if let Some(position) =
            at.constitution.committee().witnesses(self.log).position(|witness| witness == at.me)
        {
            let number = u32::try_from(position).unwrap_or(u32::MAX);
            let fragment = &delivery.fragment;
            Shape::of(at.constitution.committee())
                .check(fragment, number, header.body_bytes, &header.fragments)
                .or_else(|error| G::found(error.into()))?;
            kept = Some(fragment.clone());
        }
        let public = rules::check_public(&header, delivery.public.as_ref())?;
        let proven = proven(&header, delivery.public.as_ref(), &public);
        let opening = self.opening(at, &header, id);
        let was_offered = matches!(how, How::Again { offered: true, .. });
        let offered = (was_offered || self.dispute.is_some()).then(|| self.offered(at.me, &public));
        let offered = offered.flatten();
        // a restored node may have lost the key that an old block was sealed to, which is nobody's fault but
        // its own: a quorum has seen that it was the right one
        let unread = !fresh && restored && matches!(opening, Err(SealError::KeyNotHeld));
        let column = if unread {
            Ok((Vec::new(), ColumnContent::nothing()))
        } else {
            self.check_own_column(at, &header, &opening, delivery, &public)
        };
        if let Err(violation @ Violation::Delivered { .. }) = &column {
            return Err(violation.clone());
        }
        let unsound = if fresh {
            check_brought(at, &delivery.recognised)?;
            let brought = read_certified(at, &header, &delivery.recognised);
            self.judge(at, &header, &public, Some(&brought))?;
            rules::check_clock::<G>(&header, at.now)?;
            if let Err(violation) = &column
                && !G::allow(Guard::OwnColumn, column.is_ok())
            {
                return Err(violation.clone());
            }
            None
        } else {
            self.judge(at, &header, &public, None)
                .err()
                .filter(|violation| !is_of_knowledge(violation))
        };
        let opening = opening.ok();
        let salvaged = match (&column, &opening) {
            (Err(_), Some(opening)) => {
                let run = delivery.column.as_ref();
                rules::salvage(at.constitution, &header, at.me, opening, run)
            }
            _ => Vec::new(),
        };
        let received = Received {
            judged: fresh,
            header,
            frontier,
            public,
            proven,
            column,
            opening,
            fragment: kept,
            unread,
            salvaged,
            offered,
            committed: self.tip.column(at.me).map(|column| column.content),
            unsound,
            delivery: None,
            restored,
        };
        self.keep(id, received);
        Ok(())
    }

    /// Keeps how a block came in: it is on record, and stays with its height.
    pub(super) fn keep_delivery(&mut self, block: HeaderHash, delivery: &Shared<Delivery>) {
        if let Some(received) = self.received.get_mut(&block) {
            received.delivery = Some(delivery.clone());
        }
    }

    /// A block by itself and against the one before. `brought` are the certified headers of other logs
    /// that came with it; none when it came without, as a block does that is final.
    fn judge(
        &self,
        at: &Surroundings<'_>,
        header: &Header,
        public: &[(LeafIndex, PublicEntry)],
        brought: Option<&Brought>,
    ) -> Result<(), Violation> {
        let entries = || public.iter().map(|(_, entry)| entry);
        let known = (at.constitution, at.constitutions);
        // before any signature in them is looked at
        rules::check_kinds::<G>(at.constitution, public)?;
        let allowed = Allowed::by::<G>(known, &self.tip, header, entries())?;
        rules::check_header::<G>(at.constitution, &self.tip, header, &allowed, |log, height| {
            brought.map_or(Known::NotBrought, |brought| brought.known(log, height))
        })?;
        rules::check_payments::<G>(at.constitution, &self.tip, header, public)?;
        rules::check_entries::<G>(at.constitution, header, entries())?;
        self.judge_entries(at, header, public)
    }

    /// What the log offers this node as the end of a dispute.
    fn offered(
        &self,
        me: BrandId,
        public: &[(LeafIndex, PublicEntry)],
    ) -> Option<Box<DisputeResolved>> {
        public.iter().find_map(|(_, entry)| match entry {
            PublicEntry::DisputeResolved(it) if it.sides() == (self.log, me) => Some(it.clone()),
            _ => None,
        })
    }

    /// Puts on record what opened the own column of a block that came in: the sealing key will be
    /// destroyed some day, and the records must still give the same state.
    pub(super) fn record_opening(&self, block: HeaderHash, out: &mut Outbox) {
        let opening = self.received.get(&block).and_then(|received| received.opening.as_ref());
        if let Some(opening) = opening {
            let (log, opening) = (self.log, opening.to_bytes().to_vec());
            out.records.push(Record::Opened(Opened { log, block, opening }));
        }
    }

    /// What the writer wrapped to this node, or on replay what is on record of it.
    fn opening(
        &self,
        at: &Surroundings<'_>,
        header: &Header,
        id: HeaderHash,
    ) -> Result<ColumnOpening, SealError> {
        match header.open_column(at.me, at.sealing) {
            Err(SealError::KeyNotHeld) => {
                self.opened.get(&id).cloned().ok_or(SealError::KeyNotHeld)
            }
            opened => opened,
        }
    }

    /// What the block says of constitutions, and whether it had to take one up.
    fn judge_entries(
        &self,
        at: &Surroundings<'_>,
        header: &Header,
        public: &[(LeafIndex, PublicEntry)],
    ) -> Result<(), Violation> {
        let judge = Judge {
            constitution: at.constitution,
            constitutions: at.constitutions,
            draft: |draft: &DraftReference| at.next.drafts?.get(&draft.constitution),
            stances: &self.stances,
        };
        let entries = || public.iter().map(|(_, entry)| entry);
        judge.judge(header, entries()).or_else(G::found)?;
        let first = header.height == Height::new(1);
        if first && header.time < at.next.in_effect {
            G::found(Violation::TooEarly { effect: at.next.in_effect })?;
        }
        match at.next.due::<G>(header.time) {
            Some(due) if adoption::switch(entries()) != Some(due.draft()) => {
                G::found(Violation::SwitchDue { draft: due.draft().constitution })
            }
            _ => Ok(()),
        }
    }

    /// Keeps a block, and drops another if there are too many; never the locked one.
    fn keep(&mut self, id: HeaderHash, received: Received) {
        let locked = self.lock.as_ref().map(|lock| lock.pledge().block.header);
        if self.received.len() >= BLOCKS_PER_HEIGHT_MAX
            && let Some(other) = self.received.keys().find(|other| Some(**other) != locked).copied()
        {
            self.received.remove(&other);
        }
        self.received.insert(id, received);
    }

    fn check_own_column(
        &self,
        at: &Surroundings<'_>,
        header: &Header,
        opening: &Result<ColumnOpening, SealError>,
        delivery: &Delivery,
        public: &[(LeafIndex, PublicEntry)],
    ) -> Result<(Vec<(LeafIndex, Payload)>, ColumnContent), Violation> {
        let counterparty = at.me;
        let entries = public.iter().map(|(_, entry)| entry);
        let mut adjusted = Adjusted::by(self.log, at.me, entries);
        // what is not in dispute is not restated
        adjusted.restated = adjusted.restated.filter(|_| self.dispute.is_some());
        // a block that could not be read leaves the content unknown
        let content = match &self.dispute {
            Some(dispute) => adjusted.restated.or(dispute.content()),
            None => self.opened().map(|(content, _)| content),
        };
        let before = content.map(|content| adjusted.base(&content)).transpose()?;
        let opening =
            opening.as_ref().map_err(|error| Violation::Opening { counterparty, error: *error })?;
        let run = delivery.column.as_ref();
        let payloads = rules::check_column::<G>(
            at.constitution,
            header,
            at.me,
            opening,
            before.as_ref(),
            run,
        )?;
        Ok((payloads, opening.content))
    }

    /// As writer: takes an own block as received. The writer judges it by its witnesses' rules.
    ///
    /// # Errors
    /// The rule that its witnesses would refuse it by.
    pub fn receive_own(
        &mut self,
        at: &Surroundings<'_>,
        block: &OwnBlock,
    ) -> Result<(), Violation> {
        let received = own_received(at, block)?;
        let brought = block.recognised(at, &received.header);
        self.judge(at, &received.header, &received.public, Some(&brought))?;
        self.keep(block.reference().header, received);
        Ok(())
    }

    /// As writer: takes a block that this node had made in a former life. With its certificate it is
    /// final; without, it is there for a lock to force. It was judged when it was voted for.
    ///
    /// # Errors
    /// When it does not continue the log, or the certificate is not its own.
    pub fn rebuilt(
        &mut self,
        at: &Surroundings<'_>,
        block: &OwnBlock,
        certificate: Option<Certificate>,
        out: &mut Outbox,
    ) -> Result<(), Violation> {
        let reference = block.reference();
        let received = own_received(at, block)?;
        let continues = reference.log == self.log
            && Some(reference.height) == self.tip.height.next()
            && received.header.previous == self.tip.header
            && *block.before() == self.tip.frontier;
        let tree = (received.frontier.size(), received.frontier.root());
        let is_its = certificate.as_ref().is_none_or(|known| known.block() == reference);
        if !continues || !is_its || tree != (reference.size, reference.root) {
            return Err(Violation::Previous);
        }
        self.keep(reference.header, received);
        if let Some(certificate) = certificate {
            self.conclude(certificate, out);
        }
        Ok(())
    }

    /// What this node holds of a block of the open height that it has taken, for the writer that has
    /// lost it.
    #[must_use]
    pub fn held_open(&self, height: Height, block: HeaderHash) -> Option<HeldBlock> {
        let received = self.received.get(&block)?;
        let fragment = received.fragment.clone()?;
        let header = received.header.to_leaf().0;
        let open = Some(height) == self.tip.height.next();
        open.then_some(HeldBlock { header, certificate: None, fragment })
    }
}

/// An own block as received, before it is judged.
fn own_received(at: &Surroundings<'_>, block: &OwnBlock) -> Result<Received, Violation> {
    let header = Header::from_bytes(block.header_leaf())?;
    let public: Vec<(LeafIndex, PublicEntry)> =
        (header.first.get()..).map(LeafIndex::new).zip(block.public()).collect();
    let frontier = block.after().map_err(|_| Violation::FirstLeaf)?;
    let shown = public.iter().any(|(_, entry)| ProvenEntry::is_shown(entry));
    let run = if shown { block.public_run(at.constitution) } else { None };
    let proven = proven(&header, run.as_ref(), &public);
    Ok(Received {
        judged: true,
        header,
        frontier,
        public,
        proven,
        column: Ok((Vec::new(), ColumnContent::nothing())),
        opening: None,
        fragment: None,
        unread: false,
        salvaged: Vec::new(),
        offered: None,
        committed: None,
        unsound: None,
        delivery: None,
        restored: false,
    })
}

/// Whether a rule is about what the judge knows of constitutions, rather than about the block.
const fn is_of_knowledge(violation: &Violation) -> bool {
    matches!(
        violation,
        Violation::UnknownConstitution { .. }
            | Violation::UnknownEpoch { .. }
            | Violation::SwitchDue { .. }
    )
}

/// Public entries that are shown to others, each with its proof.
fn proven(
    header: &Header,
    run: Option<&LeafRun>,
    public: &[(LeafIndex, PublicEntry)],
) -> Vec<(PublicEntry, ProvenEntry)> {
    let shown = public.iter().filter(|(_, entry)| ProvenEntry::is_shown(entry)).collect::<Vec<_>>();
    let (Some(run), false) = (run, shown.is_empty()) else { return Vec::new() };
    let leaves = run.entries.hashes();
    let entries = shown.into_iter().filter_map(|(index, entry)| {
        let place = index.get().checked_sub(run.first.get())?;
        let bytes = run.entries.iter().nth(usize::try_from(place).ok()?)?.to_vec();
        let proof = run.proof.narrow(run.first, &leaves, header.body_size(), *index)?;
        Some((entry.clone(), ProvenEntry { index: *index, entry: bytes, proof }))
    });
    entries.collect()
}

/// Headers of other logs that came with a block.
#[derive(Default)]
pub(in crate::witness) struct Brought {
    certified: Vec<(HeaderHash, Header)>,
    // under constitutions that are not known here
    unjudged: Vec<(BrandId, Height, Epoch)>,
}

impl Brought {
    fn known(&self, log: BrandId, height: Height) -> Known<'_> {
        let mut certified = self.certified.iter();
        if let Some((id, content)) = certified.find(|(_, it)| (it.log, it.height) == (log, height))
        {
            return Known::Certified(CertifiedTotals { header: *id, content });
        }
        let mut unjudged = self.unjudged.iter();
        let found = unjudged.find(|(of, at, _)| (*of, *at) == (log, height));
        found.map_or(Known::Missing, |(.., epoch)| Known::Unjudged(*epoch))
    }
}

/// No more blocks of other logs than there are other logs, one of each: every one is a quorum's signatures,
/// and none is looked at before that.
fn check_brought(at: &Surroundings<'_>, carried: &[CertifiedHeader]) -> Result<(), Violation> {
    let mut logs = BTreeSet::new();
    let mut again = carried.iter().filter(|it| !logs.insert(it.certificate.pledge.block.log));
    let most = at.constitution.committee().size().saturating_sub(1);
    if carried.len() > most || again.next().is_some() {
        return Err(Violation::Brought { found: carried.len() });
    }
    Ok(())
}

/// Reads headers that `by` recognises and whose certificates stand, each under the constitution of its own
/// epoch. A header that is known to be certified needs no second look at its certificate.
pub(in crate::witness) fn read_certified(
    at: &Surroundings<'_>,
    by: &Header,
    carried: &[CertifiedHeader],
) -> Brought {
    let mut brought = Brought::default();
    for carried in carried {
        let id = crate::log::merkle::leaf_hash(&carried.header).of_header();
        let Ok(header) = Header::from_bytes(&carried.header) else { continue };
        let pledged = carried.certificate.pledge.block;
        let named = by.column(header.log).is_some_and(|column| column.recognised.block == id);
        if !named || (pledged.log, pledged.header) != (header.log, id) {
            continue;
        }
        if at.certified.contains(header.log, id) {
            brought.certified.push((id, header));
            continue;
        }
        let Some(constitution) = at.constitutions.of(pledged.epoch) else {
            brought.unjudged.push((header.log, header.height, pledged.epoch));
            continue;
        };
        if carried.certificate.clone().verify(constitution).is_ok() {
            brought.certified.push((id, header));
        }
    }
    brought
}
