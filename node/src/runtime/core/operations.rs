//! What staff and members ask of a node: members by card, link codes, links, exchanges,
//! receipts.
//!
//! Each operation checks what only this brand can check, then records and submits in the turn it is
//! given; what it answers is told when that turn is durable. Errors say what was wrong and what would be
//! right, and nothing of whom it was about.

use std::sync::Arc;

use ::programme::state::Refusal;
use protocol::amount::Points;
use protocol::crypto::sha256;
use protocol::exchange::{Exchange, Link, Payload, PayloadError};
use protocol::ids::{BrandId, LeafIndex, RequestHash, RequestId};
use protocol::log::tlog_proof::TlogProof;
use protocol::time::{Milliseconds, Timestamp};
use protocol::witness::writer::SubmitError;

use super::programme::refused;
use super::{Core, Turn};
use crate::exchange::book::BookedExchange;
use crate::exchange::cold::ColdError;
use crate::exchange::points::account;
use crate::exchange::record::{NodeRecord, Requested, Submission};
use crate::service::{ErrorKind, ExchangeRequest, ExchangeView, KeyedExchange, ServiceError};
use crate::vault::{CardNumber, KeyError, LinkCode, LinkState, MemberId, Standing, VaultError};

/// How long a link code is valid.
const LINK_CODE_VALID: Milliseconds = Milliseconds::from_seconds(15 * 60);

/// What became of a request.
enum Taken {
    /// It was taken before.
    Before(RequestId),
    /// It is new: entered, and to be recorded.
    Now(Requested),
}

impl Core {
    /// The member with a card number.
    ///
    /// # Errors
    /// When the number is malformed or nobody has it.
    pub fn member(&self, card: &str) -> Result<MemberId, ServiceError> {
        if let Some(id) = card.strip_prefix('~') {
            return self.member_by_id(id);
        }
        self.vault.by_card(&card_number(card)?).map_err(vault_error)?.ok_or_else(member_unknown)
    }

    /// The member whom this node numbers so: pages name members without their cards.
    fn member_by_id(&self, id: &str) -> Result<MemberId, ServiceError> {
        let bytes = crate::desk::from_hex(id).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
        let id = MemberId::from_bytes(bytes.ok_or_else(member_unknown)?);
        // unknown and erased ones are nobody
        match self.vault.consents(id) {
            Ok(_) => Ok(id),
            Err(VaultError::UnknownMember) => Err(member_unknown()),
            Err(error) => Err(vault_error(error)),
        }
    }

    /// What an exchange asks of the member with a card number.
    fn standing(&self, card: &str) -> Result<Arc<Standing>, ServiceError> {
        let found = self.vault.standing_by_card(&card_number(card)?).map_err(vault_error)?;
        found.ok_or_else(member_unknown)
    }

    /// Another brand by its id.
    ///
    /// # Errors
    /// When it is no other brand of the alliance.
    pub fn counterparty(&self, brand: &str) -> Result<BrandId, ServiceError> {
        let others = || -> Vec<String> {
            let committee = self.ledger.constitution().committee();
            committee.witnesses(self.me()).map(|brand| brand.to_string()).collect()
        };
        BrandId::new(brand)
            .ok()
            .filter(|id| *id != self.me() && self.ledger.constitution().brand(*id).is_some())
            .ok_or_else(|| {
                ServiceError::new(
                    ErrorKind::Invalid,
                    "brand_unknown",
                    "this is no other brand of the alliance",
                    format!("the other brands are {}", others().join(", ")),
                )
            })
    }

    /// A code with which the member links this account from another brand.
    ///
    /// # Errors
    /// When there is no such member or brand.
    pub fn link_code(
        &self,
        card: &str,
        brand: &str,
        now: Timestamp,
    ) -> Result<(String, Timestamp), ServiceError> {
        let (member, brand) = (self.member(card)?, self.counterparty(brand)?);
        self.require_running(brand)?;
        let code =
            self.vault.issue_link_code(member, brand, now, LINK_CODE_VALID).map_err(vault_error)?;
        Ok((code.to_string(), now.plus(LINK_CODE_VALID)))
    }

    /// Asks another brand to link the member's account there by the code it gave.
    ///
    /// # Errors
    /// When the code is malformed, or there is no such member or brand.
    pub fn link(
        &mut self,
        card: &str,
        brand: &str,
        code: &str,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<BrandId, ServiceError> {
        let (member, brand) = (self.member(card)?, self.counterparty(brand)?);
        self.require_running(brand)?;
        let code: LinkCode = code.parse().map_err(|_| {
            ServiceError::new(
                ErrorKind::Invalid,
                "link_code_malformed",
                "this is not a link code",
                "a link code has ten letters and digits; ask the other brand for a new one",
            )
        })?;
        self.require_consent(&*self.vault.standing(member).map_err(vault_error)?, brand)?;
        let handle = self.vault.handle(member, brand).map_err(vault_error)?;
        let link = Link { code: code.as_str().to_owned(), handle };
        let submission = Submission::Sealed(brand, Payload::Link(link));
        // what the ledger does not take leaves no trace in the vault
        self.submit_to_ledger(submission.clone()).map_err(submit_error)?;
        if let Err(error) = self.vault.request_link(member, brand, now) {
            // taken and not recorded: this turn must never have been
            self.failure = Some(error.into());
            return Err(internal());
        }
        self.enter(NodeRecord::Submitted(submission), turn);
        Ok(brand)
    }

    /// Nothing leaves for another brand from an account that is stopped or held for review.
    pub(super) fn require_free(&self, member: MemberId) -> Result<(), ServiceError> {
        let account = account(member);
        if self.programme.is_stopped(account) {
            return Err(ServiceError::new(
                ErrorKind::Refused,
                "account_stopped",
                "the account is stopped until its case is reviewed",
                "let whoever reviews cases of fraud look at it",
            ));
        }
        match self.programme.held_for_review(account) {
            Some(case) => Err(refused(&Refusal::HeldForReview { case })),
            None => Ok(()),
        }
    }

    /// Whatever goes to another brand needs the purpose's consent and one that names the brand (PIPL
    /// art. 23).
    fn require_consent(&self, standing: &Standing, to: BrandId) -> Result<(), ServiceError> {
        let missing = if !standing.may_exchange {
            "the member has not consented to exchanging points with other brands".to_owned()
        } else if !standing.may_send_to(to) {
            format!(
                "the member has not consented by name to {to} receiving what an exchange tells it"
            )
        } else {
            return Ok(());
        };
        Err(ServiceError::new(
            ErrorKind::Refused,
            "consent_missing",
            missing,
            "ask the member for the consent, enter it, and repeat the request",
        ))
    }

    /// Takes a member's request to exchange points: holds them and puts the exchange into the next
    /// block. The same key with the same request gives the same exchange.
    ///
    /// # Errors
    /// When a rule refuses it: then nothing was held.
    pub fn exchange(
        &mut self,
        key: &str,
        request: &ExchangeRequest,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<ExchangeView, ServiceError> {
        let id = self.take_exchange(key, request, now).map(|taken| match taken {
            Taken::Before(id) => id,
            Taken::Now(requested) => {
                let id = requested.id;
                turn.record(NodeRecord::Requested(vec![requested]));
                id
            }
        });
        let booked = self.book.exchange(id?).map_err(cold_error)?;
        booked.map(|booked| booked.view()).ok_or_else(internal)
    }

    /// Takes many requests, each as [`Self::exchange`] does, in one record. Answers for each in order.
    pub fn exchange_batch(
        &mut self,
        requests: &[KeyedExchange],
        now: Timestamp,
        turn: &mut Turn,
    ) -> Vec<Result<RequestId, ServiceError>> {
        let mut fresh = Vec::with_capacity(requests.len());
        let answers = requests
            .iter()
            .map(|one| {
                self.take_exchange(&one.key, &one.request, now).map(|taken| match taken {
                    Taken::Before(id) => id,
                    Taken::Now(requested) => {
                        let id = requested.id;
                        fresh.push(requested);
                        id
                    }
                })
            })
            .collect();
        if !fresh.is_empty() {
            turn.record(NodeRecord::Requested(fresh));
        }
        answers
    }

    /// Takes a request, unless it was taken before. What it gives is entered, and still to be
    /// recorded in the same turn.
    fn take_exchange(
        &mut self,
        key: &str,
        request: &ExchangeRequest,
        now: Timestamp,
    ) -> Result<Taken, ServiceError> {
        let taken = self.try_exchange(key, request, now);
        if matches!(&taken, Err(error) if error.kind == ErrorKind::Refused) {
            self.book.count_refusal();
        }
        taken
    }

    fn try_exchange(
        &mut self,
        key: &str,
        request: &ExchangeRequest,
        now: Timestamp,
    ) -> Result<Taken, ServiceError> {
        let id = request_id(key)?;
        let hash = request_hash(request);
        if let Some(known) = self.book.exchange(id).map_err(cold_error)? {
            let (to, points) = (known.requested.to.as_str(), known.requested.sent.get());
            // a rebuilt log has the exchange and not the words it was asked for in
            let same = known.requested.request.map_or_else(
                || to == request.to && points == request.points,
                |known| known == hash,
            );
            return if same {
                Ok(Taken::Before(id))
            } else {
                Err(ServiceError::new(
                    ErrorKind::Conflict,
                    "idempotency_key_reused",
                    "this idempotency key was used with another request",
                    "use a new key for a new request",
                ))
            };
        }
        let standing = self.standing(&request.card)?;
        let to = self.counterparty(&request.to)?;
        let sent = Points::new(request.points).map_err(|error| {
            ServiceError::new(
                ErrorKind::Invalid,
                "points_out_of_range",
                error.to_string(),
                "exchange fewer points",
            )
        })?;
        self.require_consent(&standing, to)?;
        self.require_running(to)?;
        if self.disputes.is_disputed_by(to, self.me()) {
            // it credits nothing of this log: the member's points would be gone, and none come in
            return Err(ServiceError::new(
                ErrorKind::Refused,
                "log_disputed",
                format!("{to} disputes a block of this brand's log and credits nothing from it"),
                "the operators of both brands must settle the dispute; other brands still exchange",
            ));
        }
        let Some((LinkState::Accepted, handle)) = standing.outgoing(to) else {
            return Err(ServiceError::new(
                ErrorKind::Refused,
                "not_linked",
                format!("the member's account is not linked to {to}"),
                format!("let the member ask {to} for a link code and enter it here"),
            ));
        };
        let member = standing.member;
        self.require_free(member)?;
        let pair = (self.me(), to);
        let exchange = Exchange::price(self.ledger.constitution(), pair, handle, id, sent)
            .map_err(price_error)?;
        let balance = self.points.balance(member);
        if balance.available < sent || balance.held.plus(sent).is_err() {
            return Err(ServiceError::new(
                ErrorKind::Refused,
                "balance_too_low",
                "the member has fewer points than asked for",
                "exchange at most what the member's page shows as available",
            ));
        }
        let requested = Requested {
            id,
            request: Some(hash),
            member: Some(member),
            to,
            sent,
            received: exchange.received,
            owed: exchange.owed,
            at: now,
            handle,
        };
        self.ledger.submit_sealed(to, Payload::Exchange(exchange)).map_err(submit_error)?;
        if let Err(error) = self.book.request(&requested, &mut self.points) {
            self.alert_error(&error);
        }
        Ok(Taken::Now(requested))
    }

    /// An exchange by its id.
    ///
    /// # Errors
    /// When there is none.
    pub fn exchange_by_id(&self, id: &str) -> Result<BookedExchange, ServiceError> {
        let found = parse_id(id).map(|id| self.book.exchange(id).map_err(cold_error));
        found.transpose()?.flatten().ok_or_else(|| {
            ServiceError::new(
                ErrorKind::NotFound,
                "exchange_unknown",
                "there is no exchange with this id at this brand",
                "an id has 32 hexadecimal digits and is given by the answer to the request",
            )
        })
    }

    /// The receipt of a final exchange: a C2SP tlog-proof.
    ///
    /// # Errors
    /// When the exchange is not final, or the log cannot be read.
    pub fn receipt(&self, id: &str) -> Result<String, ServiceError> {
        self.tlog_proof(id).map(|proof| proof.to_string())
    }

    /// The same, as it is.
    ///
    /// # Errors
    /// As [`Self::receipt`].
    pub(in crate::runtime) fn tlog_proof(&self, id: &str) -> Result<TlogProof, ServiceError> {
        self.tlog_proof_at(self.exchange_by_id(id)?.leaf().ok_or_else(not_final)?)
    }

    /// The proof that an entry of the own log is there.
    ///
    /// # Errors
    /// When it is in no certified block yet, or the log cannot be read.
    pub(in crate::runtime) fn tlog_proof_at(
        &self,
        leaf: LeafIndex,
    ) -> Result<TlogProof, ServiceError> {
        use protocol::log::proof::InclusionProof;
        // the one that was written: the leaves under it are there
        let checkpoint = self.checkpoint.clone().ok_or_else(not_final)?;
        let size = checkpoint.unverified().size();
        if leaf.get() >= size.get() {
            return Err(not_final());
        }
        let reader = self.published.reader(size);
        let proof = InclusionProof::prove(&reader, leaf, size).map_err(|_| internal())?;
        Ok(TlogProof::new(leaf, proof, checkpoint))
    }
}

fn not_final() -> ServiceError {
    ServiceError::new(
        ErrorKind::Refused,
        "not_final",
        "this is not in a certified block yet",
        "ask again in a moment",
    )
}

/// The id that an exchange has under an idempotency key, as its view shows it.
#[must_use]
pub fn exchange_id(key: &str) -> String {
    id_of_key(key).to_string()
}

fn card_number(card: &str) -> Result<CardNumber, ServiceError> {
    CardNumber::new(card).map_err(|error| {
        ServiceError::new(
            ErrorKind::Invalid,
            "card_malformed",
            error.to_string(),
            "give the card number as it is printed on the card",
        )
    })
}

fn member_unknown() -> ServiceError {
    ServiceError::new(
        ErrorKind::NotFound,
        "member_unknown",
        "no member has this card number",
        "check the number; a member who was erased cannot be found any more",
    )
}

pub(super) fn request_id(key: &str) -> Result<RequestId, ServiceError> {
    if !(1..=128).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ServiceError::new(
            ErrorKind::Invalid,
            "idempotency_key_malformed",
            "an idempotency key has 1 to 128 visible ASCII characters",
            "send a fresh UUID as Idempotency-Key",
        ));
    }
    Ok(id_of_key(key))
}

fn id_of_key(key: &str) -> RequestId {
    let hash = sha256(&[b"coalition/0/request-id", key.as_bytes()]);
    let mut id = [0; 16];
    id.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    RequestId::from_bytes(id)
}

fn request_hash(request: &ExchangeRequest) -> RequestHash {
    RequestHash::from_bytes(sha256(&[
        b"coalition/0/exchange-request",
        request.card.as_bytes(),
        &[0],
        request.to.as_bytes(),
        &[0],
        &request.points.to_be_bytes(),
    ]))
}

fn parse_id(text: &str) -> Option<RequestId> {
    let mut bytes = [0; 16];
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(RequestId::from_bytes(bytes))
}

/// A fault of this node; what it was is in the log, not in the answer.
pub fn internal() -> ServiceError {
    ServiceError::new(
        ErrorKind::Internal,
        "internal",
        "the node could not do this",
        "look at the node's log, and tell its operator",
    )
}

/// The store cannot say what an exchange was.
pub fn cold_error(error: ColdError) -> ServiceError {
    tracing::error!(error = %error, "an exchange cannot be looked up");
    internal()
}

/// A failure of the vault, without what it was about.
pub fn vault_error(error: VaultError) -> ServiceError {
    match error {
        VaultError::UnknownMember => ServiceError::new(
            ErrorKind::NotFound,
            "member_unknown",
            error.to_string(),
            "check the card number",
        ),
        VaultError::TooManyDecisions => ServiceError::new(
            ErrorKind::Refused,
            "too_many_decisions",
            error.to_string(),
            "tell the compliance officer",
        ),
        VaultError::NoIdentifier | VaultError::TooLong { .. } => ServiceError::new(
            ErrorKind::Invalid,
            "member_data_invalid",
            error.to_string(),
            "send what fits",
        ),
        VaultError::GuardianNeeded => ServiceError::new(
            ErrorKind::Refused,
            "guardian_needed",
            error.to_string(),
            "enter the decision with guardian: parent or other",
        ),
        VaultError::OnHold => ServiceError::new(
            ErrorKind::Refused,
            "legal_hold",
            error.to_string(),
            "the compliance officer lifts a hold when its reason is gone",
        ),
        VaultError::Key(error @ KeyError::Service(_)) => {
            tracing::error!(error = %error, "the vault cannot use its key");
            ServiceError::new(
                ErrorKind::Unavailable,
                "key_service",
                error.to_string(),
                "nothing was done; try again when the operator's key service answers",
            )
        }
        VaultError::Store(_) | VaultError::Key(_) | VaultError::Damaged { .. } => {
            tracing::error!(error = %error, "the vault failed");
            internal()
        }
    }
}

pub(in crate::runtime) fn submit_error(error: SubmitError) -> ServiceError {
    let (kind, code) = match error {
        SubmitError::CreditLimit { .. } => (ErrorKind::Refused, "credit_limit"),
        SubmitError::Ended { .. } => (ErrorKind::Refused, "brand_ended"),
        SubmitError::NoCounterparty(_) => (ErrorKind::Invalid, "brand_unknown"),
        SubmitError::OtherPrice { .. } => (ErrorKind::Refused, "rate_changed"),
        SubmitError::QueueFull => (ErrorKind::Unavailable, "queue_full"),
        SubmitError::EntryTooLarge { .. } => (ErrorKind::Invalid, "entry_too_large"),
    };
    ServiceError::new(kind, code, error.to_string(), "nothing was held or sent")
}

fn price_error(error: PayloadError) -> ServiceError {
    ServiceError::new(
        ErrorKind::Refused,
        "no_price",
        error.to_string(),
        "the constitution states which brands exchange and at which rates",
    )
}
