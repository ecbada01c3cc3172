//! A member as staff see one: each field as the table of fields says, read under an entry of the log.

use std::collections::BTreeMap;

use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::export::{ConsentView, ExportedIdentifier, MergeView, RequestView};
use super::operations::{Deed, Note};
use super::requests::{Request, RequestState};
use super::{Desk, DeskError, certificate_hash, hex, member_name, names};
use crate::auth::{MemberField, Role, Sight};
use crate::service::LinkView;
use crate::vault::{
    Attribute, Consent, ConsentSource, HeldIdentifier, IdentifierKind, MemberId, Merge, Pair, Why,
    masked,
};

/// What somebody with certain roles sees of a member. What is not seen is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberRecordView {
    /// The member, as this node numbers members; other routes take it in place of a card number.
    pub member: String,
    /// Identifiers, masked.
    pub identifiers: Vec<IdentifierView>,
    /// What else is known; names, addresses and birth dates masked.
    pub attributes: BTreeMap<String, String>,
    /// Points that can be spent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub points_available: Option<u64>,
    /// Links to other brands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub links: Option<Vec<LinkView>>,
    /// Decisions in force and before, oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consents: Option<Vec<ConsentView>>,
    /// Requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Vec<RequestView>>,
    /// Members who were merged into this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merges: Option<Vec<MergeView>>,
    /// Why nothing may be erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub legal_hold: Option<String>,
}

/// One identifier as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IdentifierView {
    /// Its kind, such as `phone`.
    pub kind: String,
    /// Its ends, such as `138****5678`.
    pub shown: String,
    /// When it was first seen, Unix milliseconds, if that is known.
    pub first_seen_ms: Option<u64>,
    /// When it was last seen, Unix milliseconds, if that is known.
    pub last_seen_ms: Option<u64>,
}

/// A pair of members who may be one person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PairView {
    /// One of them.
    pub one: String,
    /// The other.
    pub other: String,
    /// `proofs`, `phone` or `shared`: in what they meet.
    pub reason: String,
    /// Since when, Unix milliseconds.
    pub since_ms: u64,
}

impl From<&Pair> for PairView {
    fn from(pair: &Pair) -> Self {
        Self {
            one: member_name(pair.one),
            other: member_name(pair.other),
            reason: pair.reason.name().to_owned(),
            since_ms: pair.at.unix_ms(),
        }
    }
}

/// The field that decides who sees an identifier.
const fn field_of(kind: IdentifierKind) -> MemberField {
    match kind {
        IdentifierKind::Phone => MemberField::Phone,
        IdentifierKind::Card => MemberField::Card,
        IdentifierKind::MatchKey
        | IdentifierKind::Device
        | IdentifierKind::FaceToken
        | IdentifierKind::PaymentToken => MemberField::Tokens,
        IdentifierKind::WechatOpenId
        | IdentifierKind::WechatUnionId
        | IdentifierKind::AlipayUserId
        | IdentifierKind::AppUserId
        | IdentifierKind::Email
        | IdentifierKind::EcommerceAccount
        | IdentifierKind::LicencePlate => MemberField::Identifiers,
    }
}

const fn field_of_attribute(attribute: Attribute) -> MemberField {
    match attribute {
        Attribute::Name => MemberField::Name,
        Attribute::Address => MemberField::Address,
        Attribute::BirthDate => MemberField::BirthDate,
        Attribute::FirstPurchase
        | Attribute::AgeBand
        | Attribute::IncomeBand
        | Attribute::HomeOwnership
        | Attribute::MaritalStatus
        | Attribute::HouseholdSize
        | Attribute::HouseholdComposition
        | Attribute::KidsCount => MemberField::Profile,
    }
}

/// An attribute as it is shown masked.
fn masked_attribute(attribute: Attribute, value: &str) -> String {
    match attribute {
        Attribute::Name => {
            let first = value.chars().next().map_or_else(String::new, String::from);
            format!("{first}**")
        }
        Attribute::BirthDate => {
            format!("{}-**-**", value.split('-').next().unwrap_or_default())
        }
        _ => masked(value),
    }
}

impl Desk {
    /// A member as somebody with these roles sees one; entered in the operation log first. Points and
    /// links are added by who knows them.
    ///
    /// # Errors
    /// When there is no such member, or the store or a key fails.
    pub fn record(
        &self,
        by: &str,
        roles: &[Role],
        member: MemberId,
        at: Timestamp,
    ) -> Result<MemberRecordView, DeskError> {
        self.note(Note::new(by, Deed::Read, "the member's record").about(member), at)?;
        let sees = |field: MemberField| field.seen_by_any(roles);
        let identifiers = self.vault.identifiers(member)?;
        let identifiers = identifiers.iter().filter_map(|held| {
            let shown = match sees(field_of(held.kind)) {
                Sight::Nothing => return None,
                Sight::Masked => held.masked(),
                Sight::Whole => {
                    held.value.as_ref().map_or_else(|| held.masked(), |it| it.to_string())
                }
            };
            Some(IdentifierView {
                kind: held.kind.name().to_owned(),
                shown,
                first_seen_ms: held.first_seen.map(Timestamp::unix_ms),
                last_seen_ms: held.last_seen.map(Timestamp::unix_ms),
            })
        });
        let identifiers = identifiers.collect();
        let profile = self.vault.profile(member)?;
        let attributes = profile.attributes.iter().filter_map(|(attribute, value)| {
            let shown = match sees(field_of_attribute(*attribute)) {
                Sight::Nothing => return None,
                Sight::Masked => masked_attribute(*attribute, value),
                Sight::Whole => value.to_string(),
            };
            Some((attribute.column().to_owned(), shown))
        });
        let attributes = attributes.collect();
        let whole = |field| sees(field) == Sight::Whole;
        let consents = whole(MemberField::Consents).then(|| self.consent_views(member));
        let requests = whole(MemberField::Requests).then(|| self.request_views(member, at));
        let merges = whole(MemberField::Merges).then(|| self.merge_views(member));
        let hold = whole(MemberField::Hold).then(|| self.vault.hold(member));
        Ok(MemberRecordView {
            member: member_name(member),
            identifiers,
            attributes,
            points_available: None,
            links: None,
            consents: consents.transpose()?,
            requests: requests.transpose()?,
            merges: merges.transpose()?,
            legal_hold: hold.transpose()?.flatten().map(|hold| hold.reason),
        })
    }

    /// The part of a member's export that the vault and the desk hold; entered in the operation log
    /// first.
    ///
    /// # Errors
    /// When there is no such member, or the store or a key fails.
    pub fn export(
        &self,
        by: &str,
        member: MemberId,
        at: Timestamp,
    ) -> Result<super::MemberExport, DeskError> {
        self.note(Note::new(by, Deed::Export, "all that is held").about(member), at)?;
        let identifiers = self.vault.identifiers(member)?.into_iter().map(exported).collect();
        let profile = self.vault.profile(member)?;
        let attributes = profile.attributes.iter();
        Ok(super::MemberExport {
            export: "coalition member v0".to_owned(),
            brand: self.vault.brand().to_string(),
            made_ms: at.unix_ms(),
            identifiers,
            attributes: attributes
                .map(|(attribute, value)| (attribute.column().to_owned(), value.to_string()))
                .collect(),
            consents: self.consent_views(member)?,
            linked_from: names(&self.vault.links(member)?.incoming),
            requests: self.request_views(member, at)?,
            merges: self.merge_views(member)?,
            legal_hold: self.vault.hold(member)?.map(|hold| hold.reason),
            ..super::MemberExport::default()
        })
    }

    fn consent_views(&self, member: MemberId) -> Result<Vec<ConsentView>, DeskError> {
        Ok(self.vault.consents(member)?.decisions().iter().map(ConsentView::from).collect())
    }

    /// A member's requests.
    ///
    /// # Errors
    /// When the store or a key fails.
    pub fn request_views(
        &self,
        member: MemberId,
        at: Timestamp,
    ) -> Result<Vec<RequestView>, DeskError> {
        Ok(self.requests_of(member)?.iter().map(|request| request_view(request, at)).collect())
    }

    fn merge_views(&self, member: MemberId) -> Result<Vec<MergeView>, DeskError> {
        Ok(self.vault.merges(member)?.iter().map(MergeView::from).collect())
    }
}

fn exported(held: HeldIdentifier) -> ExportedIdentifier {
    ExportedIdentifier {
        kind: held.kind.name().to_owned(),
        value: held.value.map(|value| value.to_string()),
        first_seen_ms: held.first_seen.map(Timestamp::unix_ms),
        last_seen_ms: held.last_seen.map(Timestamp::unix_ms),
    }
}

impl From<&Consent> for ConsentView {
    fn from(decision: &Consent) -> Self {
        let source = match decision.source {
            ConsentSource::Member => "member",
            ConsentSource::Staff => "staff",
            ConsentSource::SampleRule => "sample_rule",
        };
        Self {
            purpose: decision.purpose.name().to_owned(),
            granted: decision.granted,
            notice_version: decision.notice_version,
            at_ms: decision.at.unix_ms(),
            source: source.to_owned(),
            receiver: decision.receiver.map(|brand| brand.to_string()),
            guardian: decision.guardian.map(|guardian| guardian.name().to_owned()),
        }
    }
}

impl From<&Merge> for MergeView {
    fn from(merge: &Merge) -> Self {
        let why = match merge.why {
            Why::NoName => "no_name",
            Why::Reviewed => "reviewed",
            Why::Halves => "halves",
        };
        Self {
            absorbed: member_name(merge.absorbed),
            at_ms: merge.at.unix_ms(),
            why: why.to_owned(),
            parted_ms: merge.parted.as_ref().map(|parted| parted.at.unix_ms()),
        }
    }
}

/// A request as it is shown.
pub(crate) fn request_view(request: &Request, at: Timestamp) -> RequestView {
    let (state, why, certificate) = match &request.state {
        RequestState::Open => ("open", None, None),
        RequestState::Done { certificate, .. } => {
            let hash = certificate.as_ref().map(|text| hex(&certificate_hash(text)));
            ("done", None, hash)
        }
        RequestState::Refused { why, .. } => ("refused", Some(why.clone()), None),
    };
    RequestView {
        id: request.id.to_string(),
        kind: request.kind.name().to_owned(),
        member: member_name(request.member),
        opened_ms: request.opened.unix_ms(),
        answer_by_ms: request.answer_by.unix_ms(),
        done_by_ms: request.done_by.unix_ms(),
        answered_ms: request.answered.map(Timestamp::unix_ms),
        overdue: request.is_overdue(at),
        state: state.to_owned(),
        why,
        words: request.words.clone(),
        certificate,
    }
}
