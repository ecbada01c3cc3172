//! One brand's part in the alliance's ledger: the writer of its own log and a witness of every log.
//!
//! The whole state machine, sans-IO: a message, a submission or a tick goes in; records to sync,
//! messages to send after that, and final blocks come out ([`Outbox`]). The node and the simulations
//! run this very code. Knows nothing of members and balances: it hands over what a final block says,
//! and hears through [`Ledger::applied`] when that has been dealt with.

mod cosigning;
mod disputes;
mod ends;
mod epochs;
mod evidence;
mod outside;
mod past;
mod recovery;
mod snapshot;
mod start;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use self::cosigning::{log_verifier, witness_name, witness_verifier};
use self::disputes::Agreements;
pub use self::disputes::OfferError;
pub use self::ends::{CLOSE_AFTER, CloseOutError};
pub use self::epochs::{DraftProgress, StanceError};

pub use self::outside::Granted;
use self::recovery::Recovery;
pub use self::recovery::ReopenError;
pub use self::snapshot::ReplayError;
pub use self::start::Starting;
use crate::clearing;
use crate::constitution::Constitution;
use crate::crypto::SigningKey;
use crate::crypto::sealed::{KeyRing, SealError, SealingKey, SealingSecret};
use crate::epochs::{Adoption, Constitutions};
use crate::exchange::{Payload, Return};
use crate::ids::{BrandId, ConstitutionHash, Epoch, HeaderHash, Height};
use crate::log::block::{Closing, ColumnContent, Header, PublicEntry};
use crate::log::checkpoint::SignedCheckpoint;
use crate::log::settlement::Discharge;
use crate::recovery::collector::HoldingsError;
use crate::recovery::held::{HeldBlock, Recall};
use crate::time::{Milliseconds, Timestamp};
use crate::witness::build::OwnBlock;
use crate::witness::cases::Cases;
use crate::witness::certified::CertifiedHeaders;
use crate::witness::closer::Closer;
use crate::witness::closing;
use crate::witness::guards::{Guards, Upheld};
use crate::witness::handshake::Handshake;
use crate::witness::message::{CATCH_UP_BLOCKS_MAX, CatchUp, CertifiedHeader, Message};
use crate::witness::record::Record;
use crate::witness::rules::Violation;
use crate::witness::standing::Standing;
use crate::witness::state::{Next, Outbox, Surroundings, Witness};
use crate::witness::statement::{Open, Statement as _, UnverifiedCertificate, VotingKeys};
use crate::witness::writer::{Entropy, SubmitError, Writer};

/// After how long without traffic that carries it a checkpoint is sent for cosignatures.
pub const COSIGN_AFTER: Milliseconds = Milliseconds::from_seconds(1);
/// How often a node asks a log that has been silent whether it has missed anything.
pub const ASK_AFTER: Milliseconds = Milliseconds::from_seconds(5);
/// A node's private keys for the ledger, when it begins.
#[derive(Debug)]
pub struct LedgerKeys {
    /// For agreement.
    pub voting: VotingKeys,
    /// Signs checkpoints of the own log.
    pub checkpoint: SigningKey,
    /// Signs cosignatures.
    pub witness: SigningKey,
    /// Opens what is sealed to this brand.
    pub sealing: KeyRing,
}

/// The private keys with which a node signs under a constitution that names their public halves.
#[derive(Debug)]
pub struct SigningKeys {
    /// For agreement.
    pub voting: VotingKeys,
    /// Signs checkpoints of the own log.
    pub checkpoint: SigningKey,
    /// Signs cosignatures.
    pub witness: SigningKey,
}

/// Final blocks, wherever they are kept.
pub trait Archive {
    /// The own final block at a height with its certificate.
    fn block(&self, height: Height) -> Option<(OwnBlock, UnverifiedCertificate)>;

    /// What is held of the first block of another's log from a height on, if any is: nothing where
    /// nothing is kept.
    fn held(&self, log: BrandId, from: Height) -> Option<HeldBlock> {
        let _ = (log, from);
        None
    }
}

/// What a brand wants to be told of the past.
#[derive(Clone, Copy)]
enum Asked {
    /// Own blocks.
    Blocks(CatchUp),
    /// What is held of others'.
    Held(Recall),
}

/// What is passed in with every call: the time, randomness, and own blocks of the past.
pub struct Context<'a> {
    /// The time now.
    pub now: Timestamp,
    /// Random bytes.
    pub entropy: &'a mut dyn Entropy,
    /// Own final blocks.
    pub archive: &'a dyn Archive,
}

/// One brand's part in the ledger.
pub struct Ledger<G = Upheld> {
    me: BrandId,
    constitutions: Constitutions,
    // files that may become the next constitution
    drafts: BTreeMap<ConstitutionHash, Constitution>,
    // what is known of how each constitution after the first was adopted
    adoptions: BTreeMap<Epoch, Adoption>,
    // sets of this epoch, and of those before and after
    signing: Vec<SigningKeys>,
    // one for all epochs: which of its keys others seal to, this log's blocks say
    sealing: KeyRing,
    writer: Writer<G>,
    witnesses: BTreeMap<BrandId, Witness<G>>,
    certified: CertifiedHeaders,
    // the own log's last checkpoint, with the cosignatures that have come in
    checkpoint: Option<SignedCheckpoint>,
    checkpoint_sent: Timestamp,
    // when a log was last asked or seen to move, and how far it was then
    asked: BTreeMap<BrandId, (Timestamp, Height)>,
    // who wants to be told of the past: of each brand the last request of a kind, the one whose turn it
    // is first
    asking: VecDeque<(BrandId, Asked)>,
    standing: Standing,
    // since this node has begun to start
    handshake: Option<Handshake>,
    cases: Cases,
    // logs that this brand has agreed to close, and its part in that, with when it last asked
    closes: BTreeSet<BrandId>,
    closers: BTreeMap<BrandId, (Closer, Timestamp)>,
    recovery: Recovery,
    agreements: Agreements,
}

/// Something a peer sent that cannot stand: told to the operator, never acted upon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerFault {
    /// A final block that does not hang together with its certificate or its log.
    #[error("log {log}: the block sent for catching up breaks a rule: {violation}")]
    CatchUp {
        /// Whose log.
        log: BrandId,
        /// Which rule.
        violation: Violation,
    },
    /// What a brand holds of a log does not stand.
    #[error("log {log}: what {from} holds of it does not stand: {error}")]
    Holdings {
        /// Who sent it.
        from: BrandId,
        /// Whose log.
        log: BrandId,
        /// What is wrong.
        error: HoldingsError,
    },
    /// A block's fragments are those of another body: its writer lied.
    #[error("log {log}: the fragments of a block decode to another body than its header says")]
    Contradiction {
        /// Whose log.
        log: BrandId,
    },
    /// A certified block does not continue the log as it is known here.
    #[error("log {log}: a certified block does not continue what this node has of it")]
    NotContinuing {
        /// Whose log.
        log: BrandId,
    },
    /// A block of the own log cannot be taken back.
    #[error(transparent)]
    Reopen(#[from] ReopenError),
}

impl Ledger {
    /// The state before anything has happened.
    #[must_use]
    pub fn new(me: BrandId, constitutions: impl Into<Constitutions>, keys: LedgerKeys) -> Self {
        Self::with_guards(me, constitutions, keys)
    }
}

impl<G: Guards> Ledger<G> {
    /// The same, under these guards.
    #[must_use]
    pub fn with_guards(
        me: BrandId,
        constitutions: impl Into<Constitutions>,
        keys: LedgerKeys,
    ) -> Self {
        let constitutions = constitutions.into();
        let witnesses = epochs::witnesses(me, &constitutions);
        let LedgerKeys { voting, checkpoint, witness, sealing } = keys;
        Self {
            me,
            constitutions,
            drafts: BTreeMap::new(),
            adoptions: BTreeMap::new(),
            signing: vec![SigningKeys { voting, checkpoint, witness }],
            sealing,
            writer: Writer::new(),
            witnesses,
            certified: CertifiedHeaders::default(),
            checkpoint: None,
            checkpoint_sent: Timestamp::default(),
            asked: BTreeMap::new(),
            asking: VecDeque::new(),
            standing: Standing::default(),
            handshake: None,
            cases: Cases::default(),
            closes: BTreeSet::new(),
            closers: BTreeMap::new(),
            recovery: Recovery::default(),
            agreements: Agreements::default(),
        }
    }

    /// Whose node this is.
    #[must_use]
    pub const fn me(&self) -> BrandId {
        self.me
    }
    /// The constitution that the own log's next block is made under.
    #[must_use]
    pub fn constitution(&self) -> &Constitution {
        self.constitution_of(self.me).unwrap_or(self.constitutions.first())
    }
    /// The constitution that a log's next block is made under, if it is known.
    #[must_use]
    pub fn constitution_of(&self, log: BrandId) -> Option<&Constitution> {
        self.constitutions.of(self.witnesses.get(&log)?.epoch())
    }
    /// All constitutions that are known.
    #[must_use]
    pub const fn constitutions(&self) -> &Constitutions {
        &self.constitutions
    }
    /// This node's state for a log.
    #[must_use]
    pub fn witness(&self, log: BrandId) -> Option<&Witness<G>> {
        self.witnesses.get(&log)
    }
    /// All logs.
    pub fn witnesses(&self) -> impl Iterator<Item = (BrandId, &Witness<G>)> {
        self.witnesses.iter().map(|(log, witness)| (*log, witness))
    }
    /// The writer of the own log.
    #[must_use]
    pub const fn writer(&self) -> &Writer<G> {
        &self.writer
    }
    /// The own log's last checkpoint with the cosignatures so far.
    #[must_use]
    pub const fn checkpoint(&self) -> Option<&SignedCheckpoint> {
        self.checkpoint.as_ref()
    }

    /// The own sealing keys: the current one is stated in every header, the others open what was
    /// sealed to them before.
    #[must_use]
    pub const fn sealing_keys(&self) -> &KeyRing {
        &self.sealing
    }

    /// Turns to a new sealing key: the next own block states it, and who recognises that block seals
    /// to it. The private half must be on disk.
    ///
    /// # Errors
    /// [`SealError::Recipient`] when it is no key.
    pub fn turn_sealing_key(&mut self, secret: SealingSecret) -> Result<SealingKey, SealError> {
        self.sealing.turn_to(secret)
    }

    /// Whether something may still come sealed to this own key: it is the current one or the one last
    /// stated, or a log has not recognised a later one, or a draft names it, under which a brand may
    /// join that seals to it first. Such a key must not be destroyed.
    #[must_use]
    pub fn is_sealing_key_in_use(&self, key: &SealingKey) -> bool {
        let of_me = self.constitutions.iter().filter_map(|known| known.brand(self.me));
        let is_first = of_me.map(|brand| brand.keys.sealing).any(|first| first == *key);
        let used = |log: BrandId, witness: &Witness<G>| {
            let column = witness.tip().columns.iter().find(|to| to.counterparty == self.me);
            let stated = witness.tip().sealing.filter(|_| log == self.me);
            match (stated.map(|own| own.key), column.map(|column| column.opening.key())) {
                (Some(used), _) | (None, Some(used)) => used == *key,
                (None, None) => is_first,
            }
        };
        let of_drafts = self.drafts.values().filter_map(|draft| draft.brand(self.me));
        *key == self.sealing.current()
            || of_drafts.map(|brand| brand.keys.sealing).any(|named| named == *key)
            || self.witnesses.iter().any(|(log, witness)| used(*log, witness))
    }

    /// Forgets an own sealing key: what was sealed to it does not open again here. False when it is
    /// in use or not held.
    pub fn forget_sealing_key(&mut self, key: &SealingKey) -> bool {
        !self.is_sealing_key_in_use(key) && self.sealing.forget(key)
    }

    /// Makes the own closing for a cut-off; see [`clearing::close`].
    ///
    /// # Errors
    /// When the block was not sealed to this brand's sealing key, or commits to other contents.
    pub fn close(
        &self,
        cut_off: Timestamp,
        last: Option<(&Header, HeaderHash)>,
        contents: &[ColumnContent],
    ) -> Result<Closing, SealError> {
        clearing::close(cut_off, last, &self.sealing, contents)
    }

    /// Splits into what the handlers need at once for one log; none when the log or the constitution
    /// of its open height is not known.
    fn parts(
        &mut self,
        log: BrandId,
        now: Timestamp,
    ) -> Option<(Surroundings<'_>, &mut Writer<G>, &mut Witness<G>)> {
        for (log, witness) in &self.witnesses {
            self.certified.note(*log, witness.tip().header);
        }
        self.parts_for_submitting(log, now)
    }

    /// The same for what judges no header: which ones are certified is as it was when a message was last
    /// handled.
    fn parts_for_submitting(
        &mut self,
        log: BrandId,
        now: Timestamp,
    ) -> Option<(Surroundings<'_>, &mut Writer<G>, &mut Witness<G>)> {
        let closes = self.closes(log, now);
        let witness = self.witnesses.get_mut(&log)?;
        let epoch = witness.epoch();
        let constitution = self.constitutions.of(epoch)?;
        if !constitution.writes(log) {
            return None;
        }
        let keys = epochs::keys_for(&self.signing, constitution, self.me)?;
        let next = Next {
            drafts: Some(&self.drafts),
            adoption: epoch.next().and_then(|next| self.adoptions.get(&next)),
            in_effect: self.adoptions.get(&epoch).map(Adoption::effect).unwrap_or_default(),
        };
        let at = Surroundings {
            me: self.me,
            constitution,
            constitutions: &self.constitutions,
            next,
            certified: &self.certified,
            keys: &keys.voting,
            sealing: &self.sealing,
            standing: &self.standing,
            frozen: self.cases.is_frozen(log),
            closes,
            now,
        };
        Some((at, &mut self.writer, witness))
    }

    /// Handles one message from a peer that the network has authenticated.
    ///
    /// # Errors
    /// When a peer's block cannot stand. Anything else that does not fit is dropped: messages may be
    /// lost, late, repeated and out of order, and every one can come again.
    pub fn handle(
        &mut self,
        from: BrandId,
        message: Message,
        context: &mut Context<'_>,
        out: &mut Outbox,
    ) -> Result<(), PeerFault> {
        let before = self.own_height();
        let (finals, written) = (out.finals.len(), out.written.len());
        let me = self.me;
        if from == me || !self.constitutions.have(from) {
            return Ok(());
        }
        let handled = match message {
            Message::CatchUp(request) => {
                self.note_request(from, Asked::Blocks(request));
                Ok(())
            }
            Message::Recall(recall) => {
                self.note_request(from, Asked::Held(recall));
                Ok(())
            }
            Message::Holdings(holdings) => self.on_holdings(from, *holdings, context.now, out),
            Message::Checkpoint(note) => {
                self.on_checkpoint(from, &note, context.now, out);
                Ok(())
            }
            Message::Head(head) => {
                self.on_head(from, *head, out);
                Ok(())
            }
            Message::Evidence(evidence) => {
                self.on_evidence(*evidence, out);
                Ok(())
            }
            Message::Start(start) => {
                self.on_start(from, start, out);
                Ok(())
            }
            Message::Acknowledgement(answer) => {
                self.on_acknowledgement(from, *answer, context, out);
                Ok(())
            }
            message if self.has_a_claim(from, &message, out) => {
                self.on_agreement(from, message, context, out)
            }
            _ => Ok(()),
        };
        self.look_after((finals, written, before), out);
        handled
    }

    /// After each call: what has become final in it, from these places on, and whether the own log is
    /// above that height.
    fn look_after(&mut self, (finals, written, height): (usize, usize, Height), out: &mut Outbox) {
        self.take_note(out.finals.get(finals..).unwrap_or_default());
        self.note_recognised(out.finals.get(finals..).unwrap_or_default());
        self.note_agreements(out.finals.get(finals..).unwrap_or_default());
        if out.finals.len() > finals {
            self.agree_again(out);
        }
        self.look_for_evidence(finals, written, out);
        if self.own_height() > height {
            self.sign_checkpoint();
        }
    }

    /// Handles what is about the open height of one log.
    fn on_agreement(
        &mut self,
        from: BrandId,
        message: Message,
        context: &mut Context<'_>,
        out: &mut Outbox,
    ) -> Result<(), PeerFault> {
        let me = self.me;
        let log = match &message {
            Message::Blocks(_) => from,
            Message::Certified(certificate) => certificate.pledge.block.log,
            Message::Open(open) => open.body.log,
            Message::Proposal(message) => message.proposal.body.0.block.log,
            Message::LastProposal(message) => message.proposal.body.0.block.log,
            Message::Lock(lock) => lock.pledge.block.log,
            Message::Promise(message) => message.promise.body.open.log,
            Message::Vote(vote) => vote.body.0.block.log,
            Message::Commit(commit) => commit.body.0.block.log,
            _ => me,
        };
        if log != me {
            if let Message::Promise(_) | Message::Vote(_) | Message::Commit(_) = &message {
                self.on_last_round(log, message, context, out);
                return Ok(());
            }
        } else if let Message::Open(_)
        | Message::Proposal(_)
        | Message::LastProposal(_)
        | Message::Lock(_) = &message
        {
            // nobody but this node leads its log, and the last rounds are the others'
            return Ok(());
        }
        if let Message::Proposal(proposal) = &message
            && let Some(previous) = &proposal.previous
            && let Some((at, _, witness)) = self.parts(log, context.now)
            && previous.pledge.block.log == log
            && previous.pledge.block.height < proposal.proposal.body.0.block.height
        {
            witness.previous(&at, previous.clone(), out);
        }
        let Some((at, writer, witness)) = self.parts(log, context.now) else { return Ok(()) };
        match message {
            Message::Open(open) => {
                let leader = closing::leader(at.constitution.committee(), log, open.body.round);
                if let Ok(open) = Open::verify(open, at.constitution)
                    && open.signer() == from
                    && leader == from
                {
                    witness.open(&at, &open, out);
                }
            }
            Message::Proposal(proposal) => witness.proposal(&at, *proposal, out),
            Message::LastProposal(proposal) => witness.last_proposal(&at, *proposal, out),
            Message::Lock(lock) => witness.lock_made(&at, lock, out),
            Message::Certified(certificate)
                if log == me && certificate.pledge.block.header == HeaderHash::NOTHING =>
            {
                if let Ok(certificate) = certificate.verify_under::<G>(at.constitution) {
                    witness.certified(certificate, out);
                    writer.abandon();
                }
            }
            Message::Certified(certificate) if log == me => {
                writer.certified(&at, witness, certificate, out);
            }
            Message::Certified(certificate) => {
                let height = certificate.pledge.block.height;
                if height > witness.tip().height
                    && let Ok(certificate) = certificate.verify_under::<G>(at.constitution)
                {
                    witness.certified(certificate, out);
                    self.note_certified(log, height);
                }
            }
            Message::Blocks(blocks) => {
                let before = witness.tip().height;
                for block in blocks.into_iter().take(CATCH_UP_BLOCKS_MAX) {
                    witness
                        .caught_up(&at, block, out)
                        .map_err(|violation| PeerFault::CatchUp { log, violation })?;
                }
                // there may be more than one answer takes
                if witness.tip().height > before {
                    witness.ask_for_blocks(out);
                }
            }
            Message::Promise(message) if message.promise.signer == from => {
                writer.promised(&at, witness, *message, context.entropy, out);
            }
            Message::Vote(vote) if vote.signer == from => writer.vote(&at, witness, vote, out),
            Message::Commit(commit) if commit.signer == from => {
                writer.commit(&at, witness, commit, out);
            }
            Message::Refusal(refusal) if refusal.log == me => {
                writer.refused(&at, witness, from, refusal, context.entropy, out);
            }
            // said in another's name, or not for the ledger
            Message::Promise(_)
            | Message::Vote(_)
            | Message::Commit(_)
            | Message::Refusal(_)
            | Message::CatchUp(_)
            | Message::Checkpoint(_)
            | Message::Head(_)
            | Message::Recall(_)
            | Message::Holdings(_)
            | Message::Application(_)
            | Message::Start(_)
            | Message::Acknowledgement(_)
            | Message::Evidence(_) => {}
        }
        Ok(())
    }

    fn own_height(&self) -> Height {
        self.witnesses.get(&self.me).map(|own| own.tip().height).unwrap_or_default()
    }

    /// Takes a public entry into the next block of the own log.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub fn submit_public(&mut self, entry: PublicEntry) -> Result<(), SubmitError> {
        self.writer.submit_public(entry)
    }

    /// Takes a sealed payload into the next block of the own log.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub fn submit_sealed(&mut self, to: BrandId, payload: Payload) -> Result<(), SubmitError> {
        let me = self.me;
        let parts = self.parts_for_submitting(me, Timestamp::default());
        let (at, writer, own) = parts.ok_or(SubmitError::NoCounterparty(me))?;
        writer.submit_sealed(&at, own, to, payload)
    }

    /// After the last record: takes a sealed payload that was taken before the restart.
    ///
    /// # Errors
    /// When the counterparty is none.
    pub fn submit_again(&mut self, to: BrandId, payload: Payload) -> Result<(), SubmitError> {
        let me = self.me;
        let parts = self.parts(me, Timestamp::default());
        let (at, writer, _) = parts.ok_or(SubmitError::NoCounterparty(me))?;
        writer.submit_again(&at, to, payload)
    }

    /// The node has applied a log's blocks up to its tip; what it could not apply goes back as
    /// `returns`, in the block that recognises them. `answer` says that the writer is owed an answer:
    /// one of those blocks said something to this brand.
    ///
    /// # Errors
    /// When the returns are not taken; then nothing is recognised either.
    pub fn applied(
        &mut self,
        log: BrandId,
        returns: Vec<Return>,
        answer: bool,
    ) -> Result<(), SubmitError> {
        for back in returns {
            self.submit_sealed(log, Payload::Return(back))?;
        }
        let Some(witness) = self.witnesses.get(&log) else { return Ok(()) };
        // a log in dispute is recognised no further: nothing of it is credited
        if witness.is_disputed() || log == self.me {
            return Ok(());
        }
        // what a former life of this node has recognised stands
        let own = self.witnesses.get(&self.me).map(|own| own.tip().recognised(log).height);
        if own.is_some_and(|recognised| witness.tip().height <= recognised) {
            return Ok(());
        }
        if let (Some(recognised), Some(certificate), Some(header)) =
            (witness.recognisable(self.me), witness.certificate(), witness.header_leaf())
        {
            let certificate = certificate.as_unverified().clone();
            let proof = CertifiedHeader { header: header.to_vec(), certificate };
            let own = self.witnesses.get(&self.me);
            let known = own.map(|own| own.tip().recognised(log).discharged);
            // a discharge counts from the block that recognises it
            let granted = Some(recognised.discharged) != known;
            self.writer.recognise(log, recognised, proof, answer || granted);
        }
        Ok(())
    }

    /// Grants, from the next block on, what a settled statement discharges between this brand and
    /// each of these. Told again, it changes nothing.
    pub fn discharge(&mut self, granted: BTreeMap<BrandId, Discharge>) {
        self.writer.discharge(granted);
    }

    /// Builds and proposes a block if there is anything to say and no height is open, and tells one
    /// brand of the past that has asked. Called after submissions, so that all that came together goes
    /// into one block.
    pub fn poll(&mut self, context: &mut Context<'_>, out: &mut Outbox) {
        self.enter_evidence();
        self.end_ended(out);
        let me = self.me;
        if let Some((at, writer, own)) = self.parts(me, context.now) {
            writer.poll(&at, own, context.entropy, out);
        }
        self.answer(context, out);
    }

    /// Lets time pass: repeats what was not answered, asks for what may have been missed, and for
    /// cosignatures until a quorum has signed the checkpoint (a note has no room for every brand's).
    pub fn tick(&mut self, context: &mut Context<'_>, out: &mut Outbox) {
        self.enter_evidence();
        self.end_ended(out);
        let me = self.me;
        if let Some((at, writer, own)) = self.parts(me, context.now) {
            writer.tick(&at, own, context.entropy, out);
        }
        self.announce(context.now, out);
        self.lead_last_rounds(context, out);
        let before = (out.finals.len(), out.written.len(), self.own_height());
        self.seek_what_lags(context.now, out);
        self.look_after(before, out);
        for (log, witness) in &self.witnesses {
            let tip = witness.tip().height;
            let (asked, seen) = self.asked.entry(*log).or_insert((Timestamp::default(), tip));
            // a log that moves is not silent: what it would send again is on its way
            if std::mem::replace(seen, tip) != tip {
                *asked = context.now;
            } else if *log != me && context.now.distance(*asked) >= ASK_AFTER {
                *asked = context.now;
                witness.ask_for_blocks(out);
            }
        }
        let constitution = self.constitution_of_tip(me).unwrap_or(self.constitution());
        let committee = constitution.committee();
        if let Some(checkpoint) = &self.checkpoint
            && context.now.distance(self.checkpoint_sent) >= COSIGN_AFTER
            && !self.is_cosigned_by_quorum(checkpoint)
        {
            let note = checkpoint.to_string().into_bytes();
            for to in committee.witnesses(me) {
                out.messages.push((to, Message::Checkpoint(note.clone())));
            }
            self.checkpoint_sent = context.now;
        }
    }

    /// Asks one log's writer for what comes after the tip: on connecting, say.
    pub fn ask(&self, log: BrandId, out: &mut Outbox) {
        if let Some(witness) = self.witnesses.get(&log)
            && log != self.me
        {
            witness.ask_for_blocks(out);
        }
    }

    /// Brings the state to where a record left it. Final blocks come out again, so that the node can
    /// see which of them it had not dealt with.
    ///
    /// # Errors
    /// When a record does not fit the ones before: the journal is not this node's, or damaged.
    pub fn replay(&mut self, record: &Record, out: &mut Outbox) -> Result<(), ReplayError> {
        let me = self.me;
        let logs = self.witnesses.keys().copied();
        self.standing.replay(record, logs);
        match record {
            Record::Kept(kept) => self.replay_kept(kept, out),
            Record::NodeState(state) => self.take_up_chain(state)?,
            Record::LogState(state) => return Ok(self.take_up_log(state)?),
            Record::Withheld(withheld) => return Ok(self.take_up_withheld(withheld)?),
            // of a log that has ended, too, which nothing else is replayed for
            Record::WriterState(state) => self.writer.take_up_contents(state),
            _ => {}
        }
        let Some(log) = record.log() else { return Ok(()) };
        let before = out.written.len();
        let finals = out.finals.len();
        let Some((at, writer, witness)) = self.parts(log, Timestamp::default()) else {
            return Ok(());
        };
        witness.replay(&at, record, out)?;
        if log == me {
            writer.replay(&at, witness, record, out);
        }
        if let Record::Rebuilt(rebuilt) = record
            && rebuilt.certificate.is_some()
        {
            self.follow_switch(&rebuilt.block);
        }
        self.take_note(out.finals.get(finals..).unwrap_or_default());
        self.note_recognised(out.finals.get(finals..).unwrap_or_default());
        self.note_agreements(out.finals.get(finals..).unwrap_or_default());
        self.forget_settled();
        out.found.clear();
        self.note_entered(out.written.get(before..).unwrap_or_default());
        Ok(())
    }

    /// After the last record: announces that the node starts. It goes on where it stopped when the
    /// others have acknowledged that ([`Ledger::starting`]).
    pub fn resume(&mut self, context: &mut Context<'_>, out: &mut Outbox) {
        self.begin_incarnation(self.standing.incarnation(), context, out);
        self.sign_checkpoint();
    }
}
