//! The compliance officer's page: every log's certified head with its root, evidence and alerts, rule
//! changes under notice, this brand's keys, budget accounts, and how to check all of it without trusting
//! this node. Laid out so that it can be printed, signed and filed.

use askama::Template;

use super::partner::brand_name;
use super::text::{self, utc};
use super::{Frame, Language, Page};
use crate::auth::{Authorized, perm};
use crate::service::{ConstitutionView, DisputeView, PartnerView, SealingKeyView, Status};

/// Everything that the page is made from.
#[derive(Debug, Default)]
pub struct OfficerViews {
    /// The state of the node.
    pub status: Status,
    /// Every other brand.
    pub partners: Vec<PartnerView>,
    /// Disputes on record.
    pub disputes: Vec<DisputeView>,
    /// Constitutions after the first, and drafts.
    pub constitutions: Vec<ConstitutionView>,
    /// This brand's sealing keys.
    pub sealing_keys: Vec<SealingKeyView>,
}

#[derive(Template)]
#[template(path = "officer.html")]
struct OfficerPage<'a> {
    frame: Frame<'a>,
    views: &'a OfficerViews,
    now: String,
    language: Language,
}

impl OfficerPage<'_> {
    fn name<'n>(&'n self, brand: &'n str) -> &'n str {
        brand_name(&self.views.status, brand, self.language)
    }
    fn time(&self, milliseconds: &u64) -> String {
        utc(*milliseconds).unwrap_or_else(|| "–".to_owned())
    }
    fn effect(&self, milliseconds: &Option<u64>) -> String {
        milliseconds.and_then(utc).unwrap_or_else(|| "–".to_owned())
    }
}

/// The officer's page; none only if rendering fails.
#[must_use]
pub fn officer_page(
    views: &OfficerViews,
    language: Language,
    proof: &Authorized<perm::SeeOfficerPage>,
    pages: &[Page],
) -> Option<String> {
    let frame = Frame {
        user: Some(proof.user()),
        path: "/officer",
        pages: pages.to_vec(),
        ..Frame::new(&views.status, language)
    };
    let now = utc(views.status.now_ms).unwrap_or_default();
    OfficerPage { frame, views, now, language }.render().ok()
}
