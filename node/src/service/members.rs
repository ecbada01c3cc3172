//! What people, programs and members ask of the desk.
//!
//! Each operation runs where it may block, and leaves an entry in the operation log there. Who may ask
//! was checked before; what somebody sees of a member, the table of fields decides.

use std::collections::BTreeMap;

use protocol::ids::BrandId;
use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ConsentRequest, ErrorKind, ExchangeView, LinkView, ListPage, ListRequest, Node,
    ProgrammeExport, ProgrammeMemberView, ReceivedView, ServiceError, page_length,
};
use crate::auth::{MemberField, Role, Sight};
use crate::desk::{
    Deed, Desk, DeskError, ExportedLine, MEMBER, MemberExport, MemberRecordView, Newcomer, Note,
    PairView, member_name,
};
use crate::purchases::Compacted;
use crate::runtime::core::vault_error;
use crate::runtime::now;
use crate::vault::{
    Attribute, CardNumber, Consent, ConsentSource, Guardian, Identifier, IdentifierError,
    IdentifierKind, KeyError, MemberId, MergeError, PairKey, Purpose, Strength, VaultError,
};

/// Most entries of one page.
pub(super) const PAGE_MAX: u32 = 1_000;

/// Most identifiers of one enrolment.
const ENROLLED_BY: usize = 32;

/// Who asks: a user of the node with roles.
#[derive(Debug, Clone)]
pub struct Asker {
    /// The user's name.
    pub user: String,
    /// The user's roles.
    pub roles: Vec<Role>,
}

/// A member's points, links and exchanges.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HoldingsView {
    /// Points that can be spent.
    pub available: u64,
    /// Points promised to an exchange under way.
    pub held: u64,
    /// Links to other brands.
    pub links: Vec<LinkView>,
    /// Exchanges to other brands, newest first.
    pub exchanges: Vec<ExchangeView>,
    /// Exchanges from other brands, newest first.
    pub received: Vec<ReceivedView>,
}

/// An identifier.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentifierRequest {
    /// `phone`, `card`, `match_key`, `wechat_open_id`, `wechat_union_id`, `alipay_user_id`,
    /// `app_user_id`, `email`, `device`, `face_token`, `ecommerce_account`, `licence_plate` or
    /// `payment_token`.
    pub kind: String,
    /// Its value, as people write it.
    pub value: String,
}

impl std::fmt::Debug for IdentifierRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IdentifierRequest({}, ..)", self.kind)
    }
}

/// Identifiers that were seen together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SightingRequest {
    /// 1 to 64 of them.
    pub identifiers: Vec<IdentifierRequest>,
}

/// Whose they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SightingView {
    /// The member, as this node numbers members.
    pub member: String,
    /// The number by which a till names the member, for the brand's app: the card, or what the node gave to who has
    /// none (`M-...`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// Whether nobody had them before.
    pub new: bool,
    /// How many members without a name were merged into this one.
    pub absorbed: u64,
    /// How many pairs wait for a person's review.
    pub to_review: u64,
}

/// A person who is enrolled at the counter.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrolmentRequest {
    /// The number of the card that the person was given. Without it a phone number or an account says who it is, and
    /// the node gives a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// By what else the person is known, at most 32. What was bought with them alone before is the member's then.
    #[serde(default)]
    pub identifiers: Vec<IdentifierRequest>,
    /// What the person says of itself, such as `birth_date`.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// What the person decided, as of now; of a child under 14 with `guardian`.
    #[serde(default)]
    pub consents: Vec<ConsentRequest>,
}

impl std::fmt::Debug for EnrolmentRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EnrolmentRequest(..)")
    }
}

/// What became of an enrolment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnrolmentView {
    /// The member, as this node numbers members; other routes take it in place of a card number.
    pub member: String,
    /// Whether the member is new; else what had been decided before stands.
    pub new: bool,
    /// How many members who were never enrolled, with what they bought, were merged into this one.
    pub absorbed: u64,
    /// How many pairs wait for a person's review.
    pub to_review: u64,
    /// Kinds of the identifiers that were not entered: another member has them, or the member has another of a kind
    /// of which a person has one.
    pub refused: Vec<String>,
}

/// Corrections of what is known of a member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CorrectionRequest {
    /// Attributes with their new values, such as `birth_date`; null removes one.
    #[serde(default)]
    pub attributes: BTreeMap<String, Option<String>>,
    /// Identifiers to enter.
    #[serde(default)]
    pub add: Vec<IdentifierRequest>,
    /// Identifiers to remove.
    #[serde(default)]
    pub remove: Vec<IdentifierRequest>,
}

/// Two members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MergeRequest {
    /// The member who is merged, or parted again: a card number, or `~` and the id.
    pub absorbed: String,
}

/// What a person found of a pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JudgementRequest {
    /// One of them; who stays if they are one.
    pub one: String,
    /// The other.
    pub other: String,
    /// Whether they are one person.
    pub same: bool,
}

/// Whether a member is under a legal hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldRequest {
    /// The law, order or dispute; none lifts the hold.
    pub reason: Option<String>,
}

/// The rotation of the vault's key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RotationView {
    /// Whether one is under way.
    pub rotating: bool,
}

impl From<DeskError> for ServiceError {
    fn from(error: DeskError) -> Self {
        let text = error.to_string();
        let (kind, code, remedy) = match error {
            DeskError::Vault(error) => return vault_error(error),
            DeskError::Key(error @ KeyError::Service(_)) => {
                return vault_error(VaultError::Key(error));
            }
            DeskError::Identifier(IdentifierError::Vault(error))
            | DeskError::Merge(MergeError::Vault(error))
            | DeskError::Correction(crate::vault::CorrectionError::Vault(error)) => {
                return vault_error(error);
            }
            DeskError::Identifier(error) => match error {
                IdentifierError::Taken(_) => {
                    (ErrorKind::Conflict, "identifier_taken", "review the pair")
                }
                IdentifierError::Absent(_) => {
                    (ErrorKind::NotFound, "identifier_unknown", "look at the member's record")
                }
                _ => (ErrorKind::Refused, "identifier_refused", "look at the member's record"),
            },
            DeskError::Merge(error) => match error {
                MergeError::UnknownPair | MergeError::UnknownMerge => {
                    (ErrorKind::NotFound, "merge_unknown", "look at the pairs and merges there are")
                }
                MergeError::OnHold => {
                    (ErrorKind::Refused, "legal_hold", "the compliance officer lifts a hold")
                }
                _ => (ErrorKind::Refused, "merge_refused", "look at the member's record"),
            },
            DeskError::Correction(_) => {
                (ErrorKind::Invalid, "attribute_invalid", "send it as it says")
            }
            DeskError::Taken => (
                ErrorKind::Conflict,
                "card_taken",
                "look the member up by the card, and give this person another one",
            ),
            DeskError::UnknownMember => (
                ErrorKind::NotFound,
                "member_unknown",
                "check the number; a member who was erased cannot be found any more",
            ),
            DeskError::UnknownRequest => {
                (ErrorKind::NotFound, "request_unknown", "look at the list of requests")
            }
            DeskError::UnknownRecord => {
                (ErrorKind::NotFound, "record_unknown", "look at the list of records")
            }
            DeskError::Closed => {
                (ErrorKind::Conflict, "request_closed", "open a new request if need be")
            }
            DeskError::OtherKind => {
                (ErrorKind::Refused, "request_kind", "look at what the request asks for")
            }
            DeskError::TooManyRequests => {
                (ErrorKind::Refused, "too_many_requests", "answer those that are open")
            }
            DeskError::Text => (ErrorKind::Invalid, "text_invalid", "send what fits"),
            DeskError::Store(_) | DeskError::Key(_) | DeskError::Damaged(_) => {
                tracing::error!(error = %text, "the desk failed");
                return crate::runtime::core::internal();
            }
        };
        Self::new(kind, code, text, remedy)
    }
}

pub(super) fn invalid(
    code: &'static str,
    what: impl Into<String>,
    remedy: impl Into<String>,
) -> ServiceError {
    ServiceError::new(ErrorKind::Invalid, code, what, remedy)
}

pub(super) fn names<const N: usize>(names: [&str; N]) -> String {
    format!("one of {}", names.join(", "))
}

pub(super) fn identifier(request: &IdentifierRequest) -> Result<Identifier, ServiceError> {
    let kind = IdentifierKind::from_name(&request.kind).ok_or_else(|| {
        let kinds = names(IdentifierKind::ALL.map(IdentifierKind::name));
        invalid("identifier_kind", "there is no such kind of identifier", kinds)
    })?;
    Identifier::parse(kind, &request.value)
        .map_err(|error| invalid("identifier_invalid", error.to_string(), kind.looks_like()))
}

/// A decision as it was sent, with the brand it names among the alliance's.
fn decision(
    request: &ConsentRequest,
    source: ConsentSource,
    brands: &[BrandId],
    at: Timestamp,
) -> Result<Consent, ServiceError> {
    let purpose = Purpose::from_name(&request.purpose).ok_or_else(|| {
        let purposes = names(Purpose::ALL.map(Purpose::name));
        invalid("purpose_unknown", "there is no such purpose", purposes)
    })?;
    let receiver = request.receiver.as_deref().map(|name| {
        brands.iter().find(|brand| brand.as_str() == name).copied().ok_or_else(|| {
            let others: Vec<&str> = brands.iter().map(BrandId::as_str).collect();
            let others = format!("the other brands are {}", others.join(", "));
            invalid("brand_unknown", "this is no other brand of the alliance", others)
        })
    });
    let guardian = request.guardian.as_deref().map(|name| {
        Guardian::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let kinds = names(Guardian::ALL.map(Guardian::name));
            invalid("guardian_unknown", "there is no such kind of guardian", kinds)
        })
    });
    Ok(Consent {
        source,
        receiver: receiver.transpose()?,
        guardian: guardian.transpose()?,
        ..Consent::new(purpose, request.granted, request.notice_version, at)
    })
}

/// A person as an enrolment names one.
fn newcomer(
    request: &EnrolmentRequest,
    others: &[BrandId],
    at: Timestamp,
) -> Result<Newcomer, ServiceError> {
    if request.identifiers.len() > ENROLLED_BY {
        let problem = format!("identifiers: at most {ENROLLED_BY}");
        return Err(invalid("identifiers_too_many", problem, "enter further ones at the record"));
    }
    let identifiers = request.identifiers.iter().map(identifier).collect::<Result<Vec<_>, _>>()?;
    let card = request.card.as_deref().map(str::trim).filter(|card| !card.is_empty());
    let card = card.map(CardNumber::new).transpose().map_err(|error| {
        invalid("card_invalid", error.to_string(), IdentifierKind::Card.looks_like())
    })?;
    let says_who = |it: &Identifier| it.kind().strength() >= Strength::Phone;
    if card.is_none() && !identifiers.iter().any(says_who) {
        let remedy = "give a card, or a phone number or account among the identifiers";
        return Err(invalid("enrolment_nobodys", "nothing says who the member is", remedy));
    }
    let mut attributes = BTreeMap::new();
    for (name, value) in &request.attributes {
        let attribute = Attribute::from_column(name).ok_or_else(|| {
            let known = names(Attribute::ALL.map(Attribute::column));
            invalid("attribute_unknown", "there is no such attribute", known)
        })?;
        attributes.insert(attribute, value.clone());
    }
    let decided = |it: &ConsentRequest| decision(it, ConsentSource::Staff, others, at);
    let consents = request.consents.iter().map(decided).collect::<Result<Vec<_>, _>>()?;
    Ok(Newcomer { card, identifiers, attributes, consents })
}

impl Node {
    /// Does something at the desk, where it may block.
    ///
    /// # Errors
    /// As the desk says; when the node is stopping.
    pub async fn at_desk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Desk) -> Result<T, DeskError> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let desk = self.desk.upgrade().ok_or_else(ServiceError::stopped)?;
        let done = tokio::task::spawn_blocking(move || work(&desk)).await;
        Ok(done.map_err(|_| ServiceError::stopped())??)
    }

    /// Removes the rows of erased members from files of facts.
    ///
    /// # Errors
    /// When the store or a file fails.
    pub async fn compact(&self, at: Timestamp) -> Result<Compacted, ServiceError> {
        let desk = self.desk.upgrade().ok_or_else(ServiceError::stopped)?;
        let facts = self.facts.upgrade().ok_or_else(ServiceError::stopped)?;
        let done = tokio::task::spawn_blocking(move || facts.compact(desk.vault(), at)).await;
        done.map_err(|_| ServiceError::stopped())?.map_err(|error| {
            tracing::error!(error = %error, "facts could not be compacted");
            crate::runtime::core::internal()
        })
    }

    pub(super) fn others(&self) -> Vec<BrandId> {
        let brands = self.status().heads;
        let ids = brands.iter().filter_map(|head| BrandId::new(&head.brand).ok());
        ids.filter(|id| *id != self.brand()).collect()
    }

    /// Enters what somebody does to a member that is done elsewhere.
    ///
    /// # Errors
    /// When there is no such member, or it cannot be written: then it must not be done.
    pub async fn note(
        &self,
        asker: &Asker,
        deed: Deed,
        what: &'static str,
        card: &str,
    ) -> Result<(), ServiceError> {
        let (by, card, at) = (asker.user.clone(), card.to_owned(), now());
        self.at_desk(move |desk| {
            let note = Note::new(&by, deed, what);
            let note = match desk.member(&card) {
                Ok(member) => note.about(member),
                Err(DeskError::UnknownMember | DeskError::Vault(_)) => note,
                Err(error) => return Err(error),
            };
            desk.note(note, at).map(drop)
        })
        .await
    }

    /// A member as somebody sees one.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn member_record(
        &self,
        asker: &Asker,
        card: String,
    ) -> Result<MemberRecordView, ServiceError> {
        let member = self.at_desk(move |desk| desk.member(&card)).await?;
        self.record_of(asker, member).await
    }

    /// The member who has an identifier, as somebody sees one.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn look_up(
        &self,
        asker: &Asker,
        request: IdentifierRequest,
    ) -> Result<MemberRecordView, ServiceError> {
        let identifier = identifier(&request)?;
        let (by, at) = (asker.user.clone(), now());
        let member = self
            .at_desk(move |desk| match desk.vault().by_identifier(&identifier)? {
                Some(member) => Ok(member),
                None => {
                    // who tries numbers leaves a trace, too; the number is in none
                    desk.note(Note::new(&by, Deed::Read, "a look-up that found nobody"), at)?;
                    Err(DeskError::UnknownMember)
                }
            })
            .await?;
        self.record_of(asker, member).await
    }

    async fn record_of(
        &self,
        asker: &Asker,
        member: MemberId,
    ) -> Result<MemberRecordView, ServiceError> {
        let (by, at) = (asker.clone(), now());
        let record = self.at_desk(move |desk| desk.record(&by.user, &by.roles, member, at)).await?;
        let holdings = self.holdings(member).await?;
        let sees = |field: MemberField| field.seen_by_any(&asker.roles) == Sight::Whole;
        Ok(MemberRecordView {
            points_available: sees(MemberField::Points).then_some(holdings.available),
            links: sees(MemberField::Links).then_some(holdings.links),
            ..record
        })
    }

    /// Everything that is held of a member.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn export_member(
        &self,
        by: &str,
        card: String,
    ) -> Result<MemberExport, ServiceError> {
        let (by, at) = (by.to_owned(), now());
        let (member, export, subjects) = self
            .at_desk(move |desk| {
                let member = desk.member(&card)?;
                let subjects = desk.vault().subjects(member)?;
                Ok((member, desk.export(&by, member, at)?, subjects))
            })
            .await?;
        let facts = self.facts.upgrade().ok_or_else(ServiceError::stopped)?;
        let lines = tokio::task::spawn_blocking(move || facts.lines_of(&subjects)).await;
        let lines = lines.map_err(|_| ServiceError::stopped())?.map_err(|error| {
            tracing::error!(error = %error, "facts could not be read for an export");
            crate::runtime::core::internal()
        })?;
        let purchases = lines.into_iter().map(|line| ExportedLine {
            day: day_text(line.day),
            department: line.department,
            basket: line.basket,
            quantity: line.quantity,
            amount_fen: line.amount_fen,
            channel: line.channel,
            coupon_fen: line.coupon_fen,
            electronic_card: line.electronic_card,
            store: line.store,
            region: line.region,
            label: line.label,
            hour: line.hour,
        });
        let holdings = self.holdings(member).await?;
        let programme = self.programme_export(member).await?;
        Ok(MemberExport {
            programme,
            points_available: holdings.available,
            points_held: holdings.held,
            links: holdings.links,
            exchanges: holdings.exchanges,
            received: holdings.received,
            purchases: purchases.collect(),
            ..export
        })
    }

    async fn programme_export(
        &self,
        member: MemberId,
    ) -> Result<Option<ProgrammeExport>, ServiceError> {
        let standing = match self.programme_member(member_name(member)).await {
            Ok(standing) => standing,
            Err(error) if error.code == "programme_without_rules" => return Ok(None),
            Err(error) => return Err(error),
        };
        // what every member may claim or ask for is nobody's
        let (claimable, rewards) = (Vec::new(), Vec::new());
        let standing = ProgrammeMemberView { claimable, rewards, ..standing };
        let history = self.programme_history(member).await?;
        Ok(Some(ProgrammeExport { standing, history }))
    }

    /// Enters a member's decision, by staff or by the member.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn decide(
        &self,
        by: &str,
        card: String,
        request: ConsentRequest,
    ) -> Result<(), ServiceError> {
        let source = if by == MEMBER { ConsentSource::Member } else { ConsentSource::Staff };
        let decision = decision(&request, source, &self.others(), now())?;
        let by = by.to_owned();
        let is_taking_part = decision.purpose == Purpose::Programme;
        let member = self
            .at_desk(move |desk| {
                let member = desk.member(&card)?;
                desk.decide(&by, member, decision)?;
                Ok(member)
            })
            .await?;
        // the decision stands whatever comes next: the programme looks at everybody again from time to time
        if is_taking_part { self.consent_decided(member).await } else { Ok(()) }
    }

    /// Corrects what is known of a member.
    ///
    /// # Errors
    /// See [`ServiceError`]; what was corrected before the error stays so.
    pub async fn correct_member(
        &self,
        by: &str,
        card: String,
        request: CorrectionRequest,
    ) -> Result<(), ServiceError> {
        let mut values = BTreeMap::new();
        for (name, value) in request.attributes {
            let attribute = Attribute::from_column(&name).ok_or_else(|| {
                let known = names(Attribute::ALL.map(Attribute::column));
                invalid("attribute_unknown", "there is no such attribute", known)
            })?;
            values.insert(attribute, value);
        }
        let read = |list: &[IdentifierRequest]| {
            list.iter().map(identifier).collect::<Result<Vec<_>, ServiceError>>()
        };
        let (add, remove) = (read(&request.add)?, read(&request.remove)?);
        let (corrects, at) = (by.to_owned(), now());
        let born = values.contains_key(&Attribute::BirthDate);
        let member = self
            .at_desk(move |desk| {
                let member = desk.member(&card)?;
                if !values.is_empty() {
                    desk.correct(&corrects, member, &values, at)?;
                }
                Ok(member)
            })
            .await?;
        // before anything else may fail; who repeats a request that was not answered tells it again
        if born {
            self.follow_birthday(member).await?;
        }
        let by = by.to_owned();
        self.at_desk(move |desk| {
            for identifier in &add {
                desk.add_identifier(&by, member, identifier, at)?;
            }
            for identifier in &remove {
                desk.remove_identifier(&by, member, identifier, at)?;
            }
            Ok(())
        })
        .await
    }

    /// Tells what was seen of somebody.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn sight(
        &self,
        asker: &Asker,
        request: SightingRequest,
    ) -> Result<SightingView, ServiceError> {
        let identifiers =
            request.identifiers.iter().map(identifier).collect::<Result<Vec<_>, _>>()?;
        let (by, at) = (asker.user.clone(), now());
        let sees = MemberField::AddressedCard.seen_by_any(&asker.roles) == Sight::Whole;
        let (sighting, card) = self
            .at_desk(move |desk| {
                let sighting = desk.sight(&by, &identifiers, at)?;
                let card = sees.then(|| desk.reference(&by, sighting.member, at)).transpose()?;
                Ok((sighting, card))
            })
            .await?;
        Ok(SightingView {
            member: member_name(sighting.member),
            card: card.map(|card| card.to_string()),
            new: sighting.is_new,
            absorbed: sighting.absorbed.len() as u64,
            to_review: sighting.to_review.len() as u64,
        })
    }

    /// Enrols a person at the counter.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn enrol(
        &self,
        asker: &Asker,
        request: EnrolmentRequest,
    ) -> Result<EnrolmentView, ServiceError> {
        let (others, at) = (self.others(), now());
        let newcomer = newcomer(&request, &others, at)?;
        let by = asker.user.clone();
        let born = newcomer.attributes.contains_key(&Attribute::BirthDate);
        let done = self.at_desk(move |desk| desk.enrol(&by, &newcomer, at)).await?;
        self.consent_decided(done.member).await?;
        if born {
            self.follow_birthday(done.member).await?;
        }
        let (absorbed, to_review, refused) = match done.sighting {
            Some(it) => (it.absorbed.len(), it.to_review.len(), it.refused),
            None => (0, 0, Vec::new()),
        };
        Ok(EnrolmentView {
            member: member_name(done.member),
            new: done.is_new,
            absorbed: absorbed as u64,
            to_review: to_review as u64,
            refused: refused.into_iter().map(|kind| kind.name().to_owned()).collect(),
        })
    }

    /// Pairs of members who may be one person.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn pairs_page(
        &self,
        request: ListRequest,
    ) -> Result<ListPage<PairView>, ServiceError> {
        let list = self.list("pairs");
        let after: Option<PairKey> = list.read(&request)?;
        let limit = page_length(request.limit);
        let rows = self.at_desk(move |desk| {
            let (pairs, next) = desk.vault().pairs_page(after, limit)?;
            Ok((pairs.iter().map(PairView::from).collect(), next))
        });
        list.page(rows.await?)
    }

    /// Enters what a person found of a pair.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn judge(
        &self,
        asker: &Asker,
        request: JudgementRequest,
    ) -> Result<(), ServiceError> {
        let (by, at) = (asker.user.clone(), now());
        self.at_desk(move |desk| {
            let pair = (desk.member(&request.one)?, desk.member(&request.other)?);
            desk.judge(&by, pair, request.same, at)
        })
        .await
    }

    /// Merges a member into another.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn merge_members(
        &self,
        asker: &Asker,
        card: String,
        request: MergeRequest,
    ) -> Result<(), ServiceError> {
        let (by, at) = (asker.user.clone(), now());
        self.at_desk(move |desk| {
            let (into, absorbed) = (desk.member(&card)?, desk.member(&request.absorbed)?);
            desk.merge(&by, (into, absorbed), at)
        })
        .await
    }

    /// Undoes a merge.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn part_members(
        &self,
        asker: &Asker,
        card: String,
        request: MergeRequest,
    ) -> Result<(), ServiceError> {
        let (by, at) = (asker.user.clone(), now());
        self.at_desk(move |desk| {
            let into = desk.member(&card)?;
            // who was merged is nobody by a card: only by the id that the record shows
            let absorbed = request.absorbed.strip_prefix('~').and_then(crate::desk::from_hex);
            let absorbed = absorbed.and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
            let absorbed = MemberId::from_bytes(absorbed.ok_or(DeskError::UnknownMember)?);
            desk.part(&by, (into, absorbed), at)
        })
        .await
    }

    /// Puts a member under a legal hold, or lifts it.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn hold_member(
        &self,
        asker: &Asker,
        card: String,
        request: HoldRequest,
    ) -> Result<(), ServiceError> {
        let (by, at) = (asker.user.clone(), now());
        self.at_desk(move |desk| desk.set_hold(&by, desk.member(&card)?, request.reason, at)).await
    }

    /// Begins to rotate the vault's key; the node wraps everything again while it runs.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn rotate_vault_key(&self, asker: &Asker) -> Result<RotationView, ServiceError> {
        let (by, at) = (asker.user.clone(), now());
        let begun = self
            .at_desk(move |desk| match desk.begin_rotation(&by, at) {
                Err(DeskError::Key(KeyError::Rotation(why))) => Ok(Some(why)),
                done => done.map(|()| None),
            })
            .await?;
        match begun {
            None => Ok(RotationView { rotating: true }),
            Some(why) => Err(ServiceError::new(
                ErrorKind::Conflict,
                "rotation_refused",
                format!("the vault's key cannot be rotated now: {why}"),
                "look at GET /api/v1/vault/rotation",
            )),
        }
    }

    /// Whether the vault's key is being rotated.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn rotation(&self) -> Result<RotationView, ServiceError> {
        self.at_desk(|desk| Ok(RotationView { rotating: desk.is_rotating()? })).await
    }
}

/// A day as `YYYY-MM-DD`.
fn day_text(days: i32) -> String {
    use jiff::ToSpan as _;
    let epoch = jiff::civil::date(1970, 1, 1);
    epoch.checked_add(days.days()).map_or_else(|_| days.to_string(), |day| day.to_string())
}
