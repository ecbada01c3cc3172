//! What the law asks a brand to keep of its work with members' data: operations, what is unusual in them,
//! impact assessments, breaches.

use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::members::{PAGE_MAX, invalid, names};
use super::{Asker, ListPage, ListRequest, Node, ServiceError, cut_page, page_length};
use crate::desk::{Assessment, Breach, Deed, Desk, Occasion, Operation, member_name};
use crate::runtime::now;
use crate::vault::MemberId;

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

impl Node {
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

    /// How many entries the operation log has.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn operation_count(&self) -> Result<u64, ServiceError> {
        self.at_desk(|desk| Ok(desk.log().head().entries)).await
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

    /// Assessments, oldest first.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn assessments_page(
        &self,
        request: ListRequest,
    ) -> Result<ListPage<AssessmentView>, ServiceError> {
        let list = self.list("assessments");
        let (after, limit) = (list.read(&request)?, page_length(request.limit));
        let most = limit.saturating_add(1);
        let all = self.at_desk(move |desk| desk.assessments_after(after, most)).await?;
        let rows = all.iter().map(|it| (it.number, AssessmentView::from(it))).collect();
        list.page(cut_page(rows, limit))
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

    /// Breaches, oldest first.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn breaches_page(
        &self,
        request: ListRequest,
    ) -> Result<ListPage<BreachView>, ServiceError> {
        let list = self.list("breaches");
        let (after, limit) = (list.read(&request)?, page_length(request.limit));
        let (most, at) = (limit.saturating_add(1), now());
        let all = self.at_desk(move |desk| desk.breaches_after(after, most)).await?;
        let rows = all.iter().map(|it| (it.number, breach_view(it, at))).collect();
        list.page(cut_page(rows, limit))
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
}
