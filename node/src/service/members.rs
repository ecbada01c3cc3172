//! What people, programs and members ask of the desk.
//!
//! Each operation runs where it may block, and leaves an entry in the operation log there. Who may ask
//! was checked before; what somebody sees of a member, the table of fields decides.

use std::collections::BTreeMap;

use protocol::ids::BrandId;
use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ConsentRequest, ErrorKind, ExchangeView, LinkView, Node, ReceivedView, ServiceError};
use crate::auth::{MemberField, Role, Sight};
use crate::desk::{
    Assessment, Breach, Deed, Desk, DeskError, ExportedLine, MEMBER, MemberExport,
    MemberRecordView, Note, Occasion, Operation, PairView, RequestKind, RequestNumber,
    RequestState, RequestView, hex, member_name, request_view,
};
use crate::purchases::Compacted;
use crate::runtime::core::vault_error;
use crate::runtime::now;
use crate::vault::{
    Attribute, Consent, ConsentSource, Guardian, Identifier, IdentifierError, IdentifierKind,
    MemberId, MergeError, Purpose,
};

/// Most entries of one page.
const PAGE_MAX: u32 = 1_000;

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
    /// Whether nobody had them before.
    pub new: bool,
    /// How many members without a name were merged into this one.
    pub absorbed: u64,
    /// How many pairs wait for a person's review.
    pub to_review: u64,
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

/// A request of a member's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestRequest {
    /// `access`, `correction`, `erasure` or `explanation`.
    pub kind: String,
    /// The member's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
}

/// How a request is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerRequest {
    /// `done`: erases, where the request asks for that; else it says that it was done. `answered`: only
    /// stops the first clock. `refused`: with the reason that the law gives.
    pub outcome: String,
    /// Why it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A certificate and, once it is in the log, the receipt of its entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateView {
    /// The certificate, JSON as text: its SHA-256 over these bytes is in the brand's log.
    pub certificate: String,
    /// Its SHA-256, hexadecimal.
    pub hash: String,
    /// The receipt, a C2SP tlog-proof with the entry; none until the entry is certified.
    pub receipt: Option<String>,
}

/// Whether a member is under a legal hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldRequest {
    /// The law, order or dispute; none lifts the hold.
    pub reason: Option<String>,
}

/// One entry of the operation log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OperationView {
    /// Its number, from 1.
    pub number: u64,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// Who: a user, `member`, or `coalition` for the node itself.
    pub by: String,
    /// What kind of thing was done.
    pub deed: String,
    /// The member, as this node numbers members.
    pub member: Option<String>,
    /// How many members it was about.
    pub members: u32,
    /// What was done.
    pub what: String,
    /// What it was before, masked.
    pub before: Option<String>,
    /// What it is now, masked.
    pub after: Option<String>,
}

/// Something unusual.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertView {
    /// Number of its entry in the operation log.
    pub number: u64,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// `mass_reading`, `off_hours` or `points_growth`.
    pub kind: String,
    /// The user, where one is meant.
    pub user: Option<String>,
    /// The member, where one is meant.
    pub member: Option<String>,
    /// How many members or points.
    pub count: u64,
}

/// What an officer has to look at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertsView {
    /// What is so now, in English and Chinese.
    pub standing: Vec<String>,
    /// What was found in the operation log and in points, oldest first.
    pub alerts: Vec<AlertView>,
}

/// An assessment (PIPL art. 55, 56).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AssessmentRequest {
    /// `sensitive`, `automated`, `provided`, `abroad` or `other`.
    pub occasion: String,
    /// What is processed, for what, and why that is lawful and needed.
    pub purpose: String,
    /// What it does to people, and the risks.
    pub risks: String,
    /// What protects them.
    pub measures: String,
}

/// An assessment on record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AssessmentView {
    /// Its number.
    pub number: u32,
    /// When it was entered, Unix milliseconds.
    pub at_ms: u64,
    /// By whom.
    pub by: String,
    /// Why it was needed.
    pub occasion: String,
    /// What is processed, for what.
    pub purpose: String,
    /// What it does to people, and the risks.
    pub risks: String,
    /// What protects them.
    pub measures: String,
    /// Until when it must be kept, Unix milliseconds.
    pub keep_until_ms: u64,
}

/// A breach (PIPL art. 57).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BreachRequest {
    /// When it was found, Unix milliseconds; now if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found_ms: Option<u64>,
    /// Which kinds of data, why, and what harm it may do.
    pub what: String,
    /// What was done, and what members can do.
    pub measures: String,
    /// How many members, as far as that is known.
    pub members: u64,
}

/// Who was told of a breach.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToldRequest {
    /// The authority was told, now.
    #[serde(default)]
    pub authority: bool,
    /// The members were told, now.
    #[serde(default)]
    pub members: bool,
    /// Why members need not be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_told_because: Option<String>,
}

/// A breach on record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BreachView {
    /// Its number.
    pub number: u32,
    /// When it was found, Unix milliseconds.
    pub found_ms: u64,
    /// Who entered it.
    pub by: String,
    /// What happened.
    pub what: String,
    /// What was done.
    pub measures: String,
    /// How many members.
    pub members: u64,
    /// By when authority and members must have been told, Unix milliseconds.
    pub tell_by_ms: u64,
    /// When the authority was told, Unix milliseconds.
    pub authority_told_ms: Option<u64>,
    /// When the members were told, Unix milliseconds.
    pub members_told_ms: Option<u64>,
    /// Why members need not be told.
    pub not_told_because: Option<String>,
    /// Whether somebody has still to be told.
    pub open: bool,
    /// Whether the time for that has passed.
    pub overdue: bool,
}

/// The rotation of the vault's key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RotationView {
    /// Whether one is under way.
    pub rotating: bool,
}

impl From<&Operation> for OperationView {
    fn from(it: &Operation) -> Self {
        Self {
            number: it.number,
            at_ms: it.at.unix_ms(),
            by: it.by.clone(),
            deed: it.deed.name().to_owned(),
            member: it.member.map(member_name),
            members: it.members,
            what: it.what.clone(),
            before: it.before.clone(),
            after: it.after.clone(),
        }
    }
}

impl OperationView {
    /// The entry whose hash is chained, read back; none when a field is not one.
    #[must_use]
    pub fn to_operation(&self) -> Option<Operation> {
        let member = match &self.member {
            None => None,
            Some(name) => {
                let bytes = crate::desk::from_hex(name.strip_prefix('~')?)?;
                Some(MemberId::from_bytes(bytes.try_into().ok()?))
            }
        };
        Some(Operation {
            number: self.number,
            at: Timestamp::from_unix_ms(self.at_ms),
            by: self.by.clone(),
            deed: Deed::from_name(&self.deed)?,
            member,
            members: self.members,
            what: self.what.clone(),
            before: self.before.clone(),
            after: self.after.clone(),
        })
    }
}

impl From<&Assessment> for AssessmentView {
    fn from(it: &Assessment) -> Self {
        Self {
            number: it.number,
            at_ms: it.at.unix_ms(),
            by: it.by.clone(),
            occasion: it.occasion.name().to_owned(),
            purpose: it.purpose.clone(),
            risks: it.risks.clone(),
            measures: it.measures.clone(),
            keep_until_ms: it.keep_until.unix_ms(),
        }
    }
}

fn breach_view(it: &Breach, at: Timestamp) -> BreachView {
    BreachView {
        number: it.number,
        found_ms: it.found.unix_ms(),
        by: it.by.clone(),
        what: it.what.clone(),
        measures: it.measures.clone(),
        members: it.members,
        tell_by_ms: it.tell_by.unix_ms(),
        authority_told_ms: it.authority_told.map(Timestamp::unix_ms),
        members_told_ms: it.members_told.map(Timestamp::unix_ms),
        not_told_because: it.not_told_because.clone(),
        open: it.is_open(),
        overdue: it.is_open() && at > it.tell_by,
    }
}

impl From<DeskError> for ServiceError {
    fn from(error: DeskError) -> Self {
        let text = error.to_string();
        let (kind, code, remedy) = match error {
            DeskError::Vault(error) => return vault_error(error),
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

fn invalid(code: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> ServiceError {
    ServiceError::new(ErrorKind::Invalid, code, what, remedy)
}

fn names<const N: usize>(names: [&str; N]) -> String {
    format!("one of {}", names.join(", "))
}

fn identifier(request: &IdentifierRequest) -> Result<Identifier, ServiceError> {
    let kind = IdentifierKind::from_name(&request.kind).ok_or_else(|| {
        let kinds = names(IdentifierKind::ALL.map(IdentifierKind::name));
        invalid("identifier_kind", "there is no such kind of identifier", kinds)
    })?;
    Identifier::parse(kind, &request.value)
        .map_err(|error| invalid("identifier_invalid", error.to_string(), kind.looks_like()))
}

fn request_id(text: &str) -> Result<RequestNumber, ServiceError> {
    RequestNumber::parse(text).ok_or_else(|| DeskError::UnknownRequest.into())
}

fn request_kind(text: &str) -> Result<RequestKind, ServiceError> {
    RequestKind::from_name(text).ok_or_else(|| {
        let kinds = names(RequestKind::ALL.map(RequestKind::name));
        invalid("request_kind", "there is no such kind of request", kinds)
    })
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

    fn others(&self) -> Vec<BrandId> {
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

    /// Enters that somebody read so many members.
    ///
    /// # Errors
    /// When it cannot be written: then they must not be shown.
    pub async fn note_many(
        &self,
        asker: &Asker,
        what: &'static str,
        members: usize,
    ) -> Result<(), ServiceError> {
        let (by, at) = (asker.user.clone(), now());
        let members = u32::try_from(members).unwrap_or(u32::MAX);
        self.at_desk(move |desk| {
            desk.note(Note::new(&by, Deed::Read, what).about_many(members), at).map(drop)
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
        let member = self
            .at_desk(move |desk| {
                desk.vault().by_identifier(&identifier)?.ok_or(DeskError::UnknownMember)
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
        });
        let holdings = self.holdings(member).await?;
        Ok(MemberExport {
            points_available: holdings.available,
            points_held: holdings.held,
            links: holdings.links,
            exchanges: holdings.exchanges,
            received: holdings.received,
            purchases: purchases.collect(),
            ..export
        })
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
        self.at_desk(move |desk| desk.decide(&by, desk.member(&card)?, decision)).await
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
        let (by, at) = (by.to_owned(), now());
        self.at_desk(move |desk| {
            let member = desk.member(&card)?;
            if !values.is_empty() {
                desk.correct(&by, member, &values, at)?;
            }
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
        let sighting = self.at_desk(move |desk| desk.sight(&by, &identifiers, at)).await?;
        Ok(SightingView {
            member: member_name(sighting.member),
            new: sighting.is_new,
            absorbed: sighting.absorbed.len() as u64,
            to_review: sighting.to_review.len() as u64,
        })
    }

    /// Pairs of members who may be one person.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn pairs(&self, limit: u32) -> Result<Vec<PairView>, ServiceError> {
        let most = usize::try_from(limit.min(PAGE_MAX)).unwrap_or(0);
        let pairs = self.at_desk(move |desk| Ok(desk.vault().pairs_to_review(None, most)?)).await?;
        Ok(pairs.iter().map(PairView::from).collect())
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
    /// See [`ServiceError`]; also when the member who would go has points, which have no way to the
    /// other yet.
    pub async fn merge_members(
        &self,
        asker: &Asker,
        card: String,
        request: MergeRequest,
    ) -> Result<(), ServiceError> {
        let (by, at) = (asker.user.clone(), now());
        let (into, absorbed) = self
            .at_desk(move |desk| Ok((desk.member(&card)?, desk.member(&request.absorbed)?)))
            .await?;
        let holdings = self.holdings(absorbed).await?;
        if holdings.available > 0 || holdings.held > 0 {
            return Err(ServiceError::new(
                ErrorKind::Refused,
                "member_has_points",
                "the member who would be merged has points",
                "let the member spend or exchange them first",
            ));
        }
        self.at_desk(move |desk| desk.merge(&by, (into, absorbed), at)).await
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

    /// Enters a request of a member's.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn open_request(
        &self,
        by: &str,
        card: String,
        request: RequestRequest,
    ) -> Result<RequestView, ServiceError> {
        let kind = request_kind(&request.kind)?;
        let (by, at) = (by.to_owned(), now());
        self.at_desk(move |desk| {
            let member = desk.member(&card)?;
            let what = format!("request for {} entered", kind.name());
            desk.note(Note::new(&by, Deed::Request, what).about(member), at)?;
            let opened = desk.open_request(&by, member, kind, request.words, at)?;
            Ok(request_view(&opened, at))
        })
        .await
    }

    /// Open requests, those that are due first; or all of one member.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn requests(
        &self,
        card: Option<String>,
        limit: u32,
    ) -> Result<Vec<RequestView>, ServiceError> {
        let (most, at) = (usize::try_from(limit.min(PAGE_MAX)).unwrap_or(0), now());
        self.at_desk(move |desk| match card {
            Some(card) => desk.request_views(desk.member(&card)?, at),
            None => {
                let open = desk.open_requests(most)?;
                Ok(open.iter().map(|request| request_view(request, at)).collect())
            }
        })
        .await
    }

    /// One request.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn request(&self, id: String) -> Result<RequestView, ServiceError> {
        let (id, at) = (request_id(&id)?, now());
        self.at_desk(move |desk| Ok(request_view(&desk.request(id)?, at))).await
    }

    /// Answers a request: done, answered first, or refused.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn answer_request(
        &self,
        by: &str,
        id: String,
        answer: AnswerRequest,
    ) -> Result<RequestView, ServiceError> {
        let (id, by, at) = (request_id(&id)?, by.to_owned(), now());
        let outcomes = ["done", "answered", "refused"];
        if !outcomes.contains(&answer.outcome.as_str()) {
            return Err(invalid("outcome_unknown", "there is no such outcome", names(outcomes)));
        }
        let why = answer.why.filter(|why| !why.trim().is_empty());
        if answer.outcome == "refused" && why.is_none() {
            return Err(invalid(
                "reason_missing",
                "a refusal needs the reason that the law gives",
                "send it as why",
            ));
        }
        self.at_desk(move |desk| desk.answer(&by, id, &answer.outcome, why, at)).await
    }

    /// A certificate and, once it is in the log, its receipt.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn certificate(&self, hash: String) -> Result<CertificateView, ServiceError> {
        let unknown = || {
            ServiceError::new(
                ErrorKind::NotFound,
                "certificate_unknown",
                "there is no certificate with this hash",
                "ask by the SHA-256 of the certificate, in hexadecimal",
            )
        };
        let bytes = crate::desk::from_hex(&hash).and_then(|it| <[u8; 32]>::try_from(it).ok());
        let bytes = bytes.ok_or_else(unknown)?;
        let certificate = self.at_desk(move |desk| desk.certificate(&bytes)).await?;
        let certificate = certificate.ok_or_else(unknown)?;
        let receipt = match self.answered(bytes).await {
            Ok(receipt) => Some(receipt),
            Err(error) if error.code == "not_final" => None,
            Err(error) => return Err(error),
        };
        Ok(CertificateView { certificate, hash: hex(&bytes), receipt })
    }

    /// Entries of the operation log after a number.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn operations(
        &self,
        after: u64,
        limit: u32,
    ) -> Result<Vec<OperationView>, ServiceError> {
        let most = usize::try_from(limit.min(PAGE_MAX)).unwrap_or(0);
        let operations = self.at_desk(move |desk| desk.log().read(after, most)).await?;
        Ok(operations.iter().map(OperationView::from).collect())
    }

    /// What an officer has to look at.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn alerts(&self, after: u64, limit: u32) -> Result<AlertsView, ServiceError> {
        let (most, at) = (usize::try_from(limit.min(PAGE_MAX)).unwrap_or(0), now());
        self.at_desk(move |desk| {
            let alerts = desk.alerts(after, most)?;
            let view = |alert: crate::desk::Alert| AlertView {
                number: alert.number,
                at_ms: alert.at.unix_ms(),
                kind: alert.kind,
                user: alert.user,
                member: alert.member.map(member_name),
                count: alert.count,
            };
            let alerts = alerts.into_iter().map(view).collect();
            Ok(AlertsView { standing: desk.standing(at)?, alerts })
        })
        .await
    }

    /// Enters an assessment.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn assess(
        &self,
        asker: &Asker,
        request: AssessmentRequest,
    ) -> Result<AssessmentView, ServiceError> {
        let occasion = Occasion::from_name(&request.occasion).ok_or_else(|| {
            let known = names(Occasion::ALL.map(Occasion::name));
            invalid("occasion_unknown", "there is no such occasion", known)
        })?;
        let texts = [request.purpose, request.risks, request.measures];
        let (by, at) = (asker.user.clone(), now());
        let entered = self.at_desk(move |desk| desk.assess(&by, occasion, texts, at)).await?;
        Ok(AssessmentView::from(&entered))
    }

    /// Every assessment, oldest first.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn assessments(&self) -> Result<Vec<AssessmentView>, ServiceError> {
        let all = self.at_desk(Desk::assessments).await?;
        Ok(all.iter().map(AssessmentView::from).collect())
    }

    /// Enters a breach.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn enter_breach(
        &self,
        asker: &Asker,
        request: BreachRequest,
    ) -> Result<BreachView, ServiceError> {
        let (by, at) = (asker.user.clone(), now());
        let found = request.found_ms.map_or(at, Timestamp::from_unix_ms);
        if found > at {
            let remedy = "give the moment at which it was found";
            return Err(invalid("time_in_future", "found_ms has not come yet", remedy));
        }
        let (texts, members) = ([request.what, request.measures], request.members);
        let entered = self.at_desk(move |desk| desk.breach(&by, found, texts, members, at)).await?;
        Ok(breach_view(&entered, at))
    }

    /// Every breach, oldest first.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn breaches(&self) -> Result<Vec<BreachView>, ServiceError> {
        let (all, at) = (self.at_desk(Desk::breaches).await?, now());
        Ok(all.iter().map(|breach| breach_view(breach, at)).collect())
    }

    /// Enters who was told of a breach.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn breach_told(
        &self,
        asker: &Asker,
        number: u32,
        request: ToldRequest,
    ) -> Result<BreachView, ServiceError> {
        let (by, at) = (asker.user.clone(), now());
        let told = (request.authority, request.members);
        let why = request.not_told_because;
        let breach = self.at_desk(move |desk| desk.told(&by, number, told, why, at)).await?;
        Ok(breach_view(&breach, at))
    }

    /// Begins to rotate the vault's key; the node wraps everything again while it runs.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn rotate_vault_key(&self, asker: &Asker) -> Result<RotationView, ServiceError> {
        let (by, at) = (asker.user.clone(), now());
        let begun = self
            .at_desk(move |desk| match desk.begin_rotation(&by, at) {
                Err(DeskError::Key(crate::vault::KeyError::Rotation(why))) => Ok(Some(why)),
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
        self.at_desk(|desk| Ok(RotationView { rotating: desk.is_rotating() })).await
    }
}

impl Desk {
    /// Answers a request as an officer says.
    fn answer(
        &self,
        by: &str,
        id: RequestNumber,
        outcome: &str,
        why: Option<String>,
        at: Timestamp,
    ) -> Result<RequestView, DeskError> {
        let request = self.request(id)?;
        let what = format!("request for {}: {outcome}", request.kind.name());
        let note = Note::new(by, Deed::Request, what).about(request.member);
        self.note(note.changed(None, why.clone()), at)?;
        let request = match (outcome, why) {
            ("answered", _) => self.answer_request(id, at)?,
            ("refused", Some(why)) => {
                let state = RequestState::Refused { at, by: by.to_owned(), why };
                self.close_request(id, state, at)?
            }
            _ if request.kind == RequestKind::Erasure => {
                self.erase(by, id, at)?;
                self.request(id)?
            }
            _ => {
                let state = RequestState::Done { at, by: by.to_owned(), certificate: None };
                self.close_request(id, state, at)?
            }
        };
        Ok(request_view(&request, at))
    }
}

/// A day as `YYYY-MM-DD`.
fn day_text(days: i32) -> String {
    use jiff::ToSpan as _;
    let epoch = jiff::civil::date(1970, 1, 1);
    epoch.checked_add(days.days()).map_or_else(|_| days.to_string(), |day| day.to_string())
}
