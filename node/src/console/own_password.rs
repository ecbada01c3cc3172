//! The page on which somebody sets the own password, and which is all there is for whoever has one of somebody else's.

use askama::Template;

use super::{Frame, Language, Page, say};
use crate::auth::{Authorized, PASSWORD_MAX, PASSWORD_MIN, perm};
use crate::service::Status;

/// What the page says.
#[derive(Debug, Default)]
pub struct OwnPasswordViews {
    /// Whether the present one was set by somebody else, and opens nothing but this page.
    pub is_one_use: bool,
    /// Whether the new one was not entered the same twice.
    pub is_other_again: bool,
    /// Why it was not set, in the node's words.
    pub problem: Option<String>,
}

#[derive(Template)]
#[template(path = "own_password.html")]
struct OwnPasswordPage<'a> {
    frame: Frame<'a>,
    views: &'a OwnPasswordViews,
    language: Language,
    least: usize,
    most: usize,
}

say!(OwnPasswordPage);

/// The page; none only if rendering fails.
#[must_use]
pub fn own_password_page(
    status: &Status,
    views: &OwnPasswordViews,
    language: Language,
    proof: &Authorized<perm::SetOwnPassword>,
    pages: &[Page],
) -> Option<String> {
    let frame = Frame {
        user: Some(proof.user()),
        path: "/password",
        pages: pages.to_vec(),
        ..Frame::new(status, language)
    };
    OwnPasswordPage { frame, views, language, least: PASSWORD_MIN, most: PASSWORD_MAX }
        .render()
        .ok()
}
