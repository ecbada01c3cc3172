//! The compliance officer's page: every log's certified head with its root, evidence and alerts, rule
//! changes under notice, this brand's keys, budget accounts, and how to check all of it without trusting
//! this node. As a page, and as a file that can be printed, signed and filed.

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

macro_rules! reports {
    ($($path:literal $name:ident { $($field:ident: $type:ty)? })*) => {$(
        #[derive(Template)]
        #[template(path = $path)]
        struct $name<'a> {
            frame: Frame<'a>,
            views: &'a OfficerViews,
            now: String,
            language: Language,
            $($field: $type,)?
        }

        impl $name<'_> {
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
    )*};
}

reports! {
    "officer.html" OfficerPage {}
    "report.html" ReportFile { style: &'static str }
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

/// The report as a file that stands by itself, to be signed and filed: without scripts, and asking nobody for anything.
/// None only if rendering fails.
#[must_use]
pub fn report_file(
    views: &OfficerViews,
    language: Language,
    _: &Authorized<perm::SeeOfficerPage>,
) -> Option<String> {
    let frame = Frame::new(&views.status, language);
    let now = utc(views.status.now_ms).unwrap_or_default();
    ReportFile { frame, views, now, language, style: super::STYLE_SHEET }.render().ok()
}
