//! The page that verifies a receipt: for anyone who was handed one.
//!
//! The page brings the keys along; the browser does the rest. What it verifies is what `coalition receipt verify` does.

use askama::Template;
use serde::Serialize;

use super::{Frame, Language, Page, name, say};
use crate::service::{LogKeysView, Status};

#[derive(Template)]
#[template(path = "receipt.html")]
struct ReceiptPage<'a> {
    frame: Frame<'a>,
    alliance: String,
    language: Language,
}

say!(ReceiptPage);

/// What the script goes by.
#[derive(Serialize)]
struct Alliance<'a> {
    quorum: u32,
    brands: Vec<BrandKeys<'a>>,
}

#[derive(Serialize)]
struct BrandKeys<'a> {
    brand: &'a str,
    name: &'a str,
    origin: &'a str,
    log: &'a [String],
    witness: &'a [String],
}

/// The page, for who is signed in and who is not; none only if rendering fails.
#[must_use]
pub fn receipt_page(
    status: &Status,
    keys: &[LogKeysView],
    language: Language,
    user: Option<(&str, &[Page])>,
) -> Option<String> {
    let brands = keys.iter().map(|keys| {
        let LogKeysView { brand, origin, log, witness } = keys;
        let head = status.heads.iter().find(|head| head.brand == *brand);
        BrandKeys {
            brand,
            name: head.map_or(brand, |head| name(head, language)),
            origin,
            log,
            witness,
        }
    });
    let alliance = Alliance { quorum: status.committee.quorum, brands: brands.collect() };
    let alliance = serde_json::to_string(&alliance).ok()?;
    let (user, pages) =
        user.map_or((None, Vec::new()), |(user, pages)| (Some(user), pages.to_vec()));
    let frame = Frame { user, pages, path: "/verify", ..Frame::new(status, language) };
    ReceiptPage { frame, alliance, language }.render().ok()
}
