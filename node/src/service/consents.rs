//! How many members have agreed to what: for the officer, without anybody's name.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Node, ServiceError};
use crate::vault::Agreed;

/// Most versions of the notice that are shown of one use of the data: the newest.
const VERSIONS_SHOWN: usize = 20;

/// Who agreed to one version of the notice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgreedVersionView {
    /// The version they were shown.
    pub notice_version: u32,
    /// Members who agree now.
    pub members: u64,
    /// When the first of them said so, Unix milliseconds.
    pub first_ms: u64,
    /// When the last did, Unix milliseconds.
    pub last_ms: u64,
}

/// How many members have decided what on one use of the data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConsentCountView {
    /// `programme`, `exchange`, `joint_analytics` or `marketing`.
    pub purpose: String,
    /// The brand that receives data for it, where this is the separate consent to that.
    pub receiver: Option<String>,
    /// Members who agree now.
    pub given: u64,
    /// Members who have taken it back, or said no.
    pub withdrawn: u64,
    /// Members who never said anything, which is no.
    pub never: u64,
    /// Those who agree by the version of the notice and when they said so; the newest version first.
    pub versions: Vec<AgreedVersionView>,
}

impl Node {
    /// How many members have decided what: each purpose, and for exchanges each brand that would receive data. Opens
    /// every record.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn consent_counts(&self) -> Result<Vec<ConsentCountView>, ServiceError> {
        let others = self.others();
        let counts = self.at_desk(move |desk| Ok(desk.vault().consent_counts(&others)?)).await?;
        let version = |(version, agreed): (&u32, &Agreed)| AgreedVersionView {
            notice_version: *version,
            members: agreed.members,
            first_ms: agreed.first.unix_ms(),
            last_ms: agreed.last.unix_ms(),
        };
        let views = counts.into_iter().map(|count| ConsentCountView {
            versions: count.versions.iter().rev().take(VERSIONS_SHOWN).map(version).collect(),
            purpose: count.purpose.name().to_owned(),
            receiver: count.receiver.map(|brand| brand.to_string()),
            given: count.given,
            withdrawn: count.withdrawn,
            never: count.never,
        });
        Ok(views.collect())
    }
}
