//! The partner's page: positions and limits with each brand, exchanges with their receipts, clearing
//! statements to look at and to download, disputes.

use askama::Template;

use super::chart::NetBar;
use super::text::{self, signed_yuan, yuan};
use super::{Frame, Language, Page, name};
use crate::auth::{Authorized, perm};
use crate::service::{DisputeView, ExchangeView, PartnerView, ReceivedView, StatementView, Status};

/// Everything that the page is made from.
#[derive(Debug, Default)]
pub struct PartnerViews {
    /// The state of the node.
    pub status: Status,
    /// Every other brand.
    pub partners: Vec<PartnerView>,
    /// The latest exchanges of this brand's members.
    pub exchanges: Vec<ExchangeView>,
    /// The latest that came in.
    pub received: Vec<ReceivedView>,
    /// Disputes on record.
    pub disputes: Vec<DisputeView>,
    /// A statement that was asked for.
    pub statement: Option<StatementView>,
    /// Why there is none, in the node's words.
    pub statement_problem: Option<String>,
    /// The cut-off as it was typed.
    pub cut_off: String,
}

struct PartnerRow<'a> {
    name: &'a str,
    view: &'a PartnerView,
    next: &'a str,
    net: String,
    limit: Option<(String, String)>,
    bar: NetBar,
}

#[derive(Template)]
#[template(path = "partner.html")]
struct PartnerPage<'a> {
    frame: Frame<'a>,
    views: &'a PartnerViews,
    rows: Vec<PartnerRow<'a>>,
    bars_height: u32,
    language: Language,
}

impl PartnerPage<'_> {
    fn name<'n>(&'n self, brand: &'n str) -> &'n str {
        brand_name(&self.views.status, brand, self.language)
    }
    /// Whether the exchange has a receipt.
    fn is_final(&self, exchange: &ExchangeView) -> bool {
        exchange.final_ms.is_some()
    }
}

/// A brand's name, or its id.
pub(super) fn brand_name<'a>(status: &'a Status, brand: &'a str, language: Language) -> &'a str {
    let head = status.heads.iter().find(|head| head.brand == brand);
    head.map_or(brand, |head| name(head, language))
}

/// The partner's page; none only if rendering fails.
#[must_use]
pub fn partner_page(
    views: &PartnerViews,
    language: Language,
    proof: &Authorized<perm::SeePartnerPage>,
    pages: &[Page],
) -> Option<String> {
    let net = |view: &PartnerView| {
        i128::from(view.they_owe_micro_fen) - i128::from(view.we_owe_micro_fen)
    };
    let most = views.partners.iter().map(|view| net(view).unsigned_abs()).max().unwrap_or(0);
    let rows: Vec<PartnerRow<'_>> = views
        .partners
        .iter()
        .enumerate()
        .map(|(position, view)| {
            let exposure = views.status.exposures.iter().find(|it| it.brand == view.brand);
            let limit = exposure.filter(|it| it.limit_micro_fen > 0).map(|it| {
                let used = text::percent(it.public_micro_fen, it.limit_micro_fen);
                (used, yuan(it.limit_micro_fen))
            });
            PartnerRow {
                name: brand_name(&views.status, &view.brand, language),
                view,
                next: match language {
                    Language::Chinese => &view.next.zh,
                    Language::English => &view.next.en,
                },
                net: signed_yuan(net(view)),
                limit,
                bar: NetBar::of(position, net(view), most),
            }
        })
        .collect();
    let bars_height = NetBar::height(rows.len());
    let frame = Frame {
        user: Some(proof.user()),
        path: "/partner",
        pages: pages.to_vec(),
        ..Frame::new(&views.status, language)
    };
    PartnerPage { frame, views, rows, bars_height, language }.render().ok()
}
