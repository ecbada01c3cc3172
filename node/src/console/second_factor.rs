//! The page on which somebody sets up the own second factor: what an authenticator needs, shown once, and its first code.

use askama::Template;

use super::{Frame, Language, Page, say};
use crate::auth::{Authorized, SecondFactorSetup, perm};
use crate::service::Status;

/// How far it has come.
#[derive(Debug, Default)]
pub struct SecondFactorViews {
    /// Whether one is in use.
    pub in_use: bool,
    /// Whether one of the user's roles may do nothing without.
    pub must_have_one: bool,
    /// What was just made.
    pub setup: Option<SecondFactorSetup>,
    /// Whether the first code was wrong.
    pub wrong_code: bool,
    /// Why it cannot be set up, in the node's words.
    pub problem: Option<String>,
}

#[derive(Template)]
#[template(path = "second_factor.html")]
struct SecondFactorPage<'a> {
    frame: Frame<'a>,
    views: &'a SecondFactorViews,
    language: Language,
}

say!(SecondFactorPage);

impl SecondFactorPage<'_> {
    /// The secret in groups of four, as it is typed.
    fn grouped(&self, secret: &str) -> String {
        let letters: Vec<char> = secret.chars().collect();
        let groups = letters.chunks(4).map(|group| group.iter().collect::<String>());
        groups.collect::<Vec<_>>().join(" ")
    }
}

/// The page; none only if rendering fails.
#[must_use]
pub fn second_factor_page(
    status: &Status,
    views: &SecondFactorViews,
    language: Language,
    proof: &Authorized<perm::SetUpSecondFactor>,
    pages: &[Page],
) -> Option<String> {
    let frame = Frame {
        user: Some(proof.user()),
        path: "/second-factor",
        pages: pages.to_vec(),
        ..Frame::new(status, language)
    };
    SecondFactorPage { frame, views, language }.render().ok()
}
