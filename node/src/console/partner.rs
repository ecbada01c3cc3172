//! The partner's page: positions and limits with each brand, exchanges with their receipts, clearing
//! statements to look at and to download, disputes.

use askama::Template;

use super::chart::{self, Net, Payment};
use super::text::{self, signed_yuan, yuan};
use super::{Frame, Language, Page, name};
use crate::auth::{Authorized, perm};
use crate::service::{
    ClearingPage, DisputeView, ExchangeView, ListedState, PartnerView, ReceivedView, StatementView,
    Status,
};

/// Pages that the way back to the newest exchanges leads over, at most.
const TRAIL_MAX: usize = 40;

/// Which exchanges are shown, and where the pages before and behind them begin.
#[derive(Debug, Default)]
pub struct ExchangeListing {
    /// Only those to this brand, if it is not empty.
    pub to: String,
    /// Only those that have come so far.
    pub state: Option<ListedState>,
    /// Where the page begins; at the newest without it.
    pub place: Option<String>,
    /// Where the pages before it begin, but for the first, the newest first.
    pub trail: Vec<String>,
    /// Where the next page begins.
    pub next: Option<String>,
}

impl ExchangeListing {
    /// Whether there may be exchanges that are not in it.
    fn is_narrowed(&self) -> bool {
        !self.to.is_empty() || self.state.is_some() || self.place.is_some()
    }

    fn link(&self, language: Language, place: Option<&str>, trail: &[String]) -> String {
        let mut link = format!("/partner?lang={}", language.tag());
        for (name, value) in [
            ("to", self.to.as_str()),
            ("state", self.state.map(ListedState::name).unwrap_or_default()),
            ("exchanges", place.unwrap_or_default()),
            ("trail", &trail.join(".")),
        ] {
            if !value.is_empty() {
                link.extend(["&", name, "=", value]);
            }
        }
        link + "#latest-title"
    }

    fn older(&self, language: Language) -> Option<String> {
        let next = self.next.as_deref()?;
        let trail: Vec<String> = self.trail.iter().chain(&self.place).cloned().collect();
        let kept = trail.get(trail.len().saturating_sub(TRAIL_MAX)..).unwrap_or_default();
        Some(self.link(language, Some(next), kept))
    }

    fn newer(&self, language: Language) -> Option<String> {
        self.place.as_ref()?;
        Some(match self.trail.split_last() {
            Some((place, trail)) => self.link(language, Some(place), trail),
            None => self.link(language, None, &[]),
        })
    }
}

/// Everything that the page is made from.
#[derive(Debug, Default)]
pub struct PartnerViews {
    /// The state of the node.
    pub status: Status,
    /// Every other brand.
    pub partners: Vec<PartnerView>,
    /// Exchanges of this brand's members, a page of them.
    pub exchanges: Vec<ExchangeView>,
    /// Which these are.
    pub listing: ExchangeListing,
    /// The latest that came in.
    pub received: Vec<ReceivedView>,
    /// Disputes on record.
    pub disputes: Vec<DisputeView>,
    /// The cut-offs that are known, a page of them.
    pub clearings: ClearingPage,
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
}

/// Something to choose in a list.
struct Choice<'a> {
    value: &'a str,
    name: &'a str,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "partner.html")]
struct PartnerPage<'a> {
    frame: Frame<'a>,
    brands: Vec<Choice<'a>>,
    states: Vec<Choice<'a>>,
    newer: Option<String>,
    older: Option<String>,
    views: &'a PartnerViews,
    rows: Vec<PartnerRow<'a>>,
    net_flow: Option<String>,
    payment_flow: Option<String>,
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
    let rows: Vec<PartnerRow<'_>> = views
        .partners
        .iter()
        .map(|view| {
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
            }
        })
        .collect();
    let name_of = |brand| brand_name(&views.status, brand, language);
    let nets: Vec<Net<'_>> =
        rows.iter().map(|row| Net { name: row.name, micro_fen: net(row.view) }).collect();
    let net_flow = chart::net_flow(name_of(views.status.brand.as_str()), &nets, language);
    let payments = views.statement.iter().flat_map(|statement| &statement.payments);
    let payments = payments.map(|it| Payment {
        payer: name_of(it.payer.as_str()),
        payee: name_of(it.payee.as_str()),
        micro_fen: it.micro_fen,
        is_own: it.payer == views.status.brand,
    });
    let payment_flow = chart::payment_flow(&payments.collect::<Vec<_>>(), language);
    let frame = Frame {
        user: Some(proof.user()),
        path: "/partner",
        pages: pages.to_vec(),
        ..Frame::new(&views.status, language)
    };
    let listing = &views.listing;
    let brands = rows.iter().map(|row| Choice {
        value: &row.view.brand,
        name: row.name,
        chosen: row.view.brand == listing.to,
    });
    let brands = brands.collect();
    let states = ListedState::ALL.map(|state| Choice {
        value: state.name(),
        name: frame.words.exchange_state(state.name()),
        chosen: listing.state == Some(state),
    });
    let (newer, older) = (listing.newer(language), listing.older(language));
    let states = states.into();
    PartnerPage {
        frame,
        brands,
        states,
        newer,
        older,
        views,
        rows,
        net_flow,
        payment_flow,
        language,
    }
    .render()
    .ok()
}
