//! Who looks at a page: the session in the browser's cookie, and what its roles let it see.
//!
//! A page's handler asks for a [`Visitor`] as an API's handler asks for an `Authorized`. Who is not
//! signed in is led to the sign-in page, who may not see it is told which role it takes.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};

use super::App;
use super::extract::Credentials;
use super::pages::{PageQuery, cookie, rendered};
use crate::auth::{AuthError, Authorized, Permission, Session, perm};
use crate::console::{self, Language, Page};

/// Somebody signed in who may see a page.
pub(super) struct Visitor<P> {
    pub(super) proof: Authorized<P>,
    /// For what else on the page has a permission of its own.
    pub(super) session: Session,
    pub(super) language: Language,
    /// The pages there are for it.
    pub(super) pages: Vec<Page>,
}

impl<P: Permission> FromRequestParts<App> for Visitor<P> {
    type Rejection = Response;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let language = PageQuery::of(parts).language(&parts.headers);
        let session = cookie(app, &parts.headers).and_then(|token| app.auth.session(token).ok());
        // a program's session is no person's, wherever programs have to show a certificate
        let credentials = Credentials::of(&parts.headers, &parts.extensions);
        let session = session.filter(|session| credentials.fit(app, session).is_ok());
        let Some(session) = session else {
            let path = format!("/sign-in?lang={}", language.tag());
            return Err(Redirect::to(&path).into_response());
        };
        let pages = pages_of(&session);
        match session.authorize() {
            Ok(proof) => Ok(Self { proof, session, language, pages }),
            // what is missing is in the user's own hands
            Err(AuthError::PasswordOneUse) => {
                let path = format!("/password?lang={}", language.tag());
                Err(Redirect::to(&path).into_response())
            }
            Err(AuthError::SecondFactorMissing) => {
                let path = format!("/second-factor?lang={}", language.tag());
                Err(Redirect::to(&path).into_response())
            }
            Err(_) => {
                let status = app.node.status();
                let needed: Vec<&str> = P::ROLES.iter().map(|role| role.name()).collect();
                let page =
                    console::refused_page(&status, language, session.user(), &needed, &pages);
                Err(rendered(page, StatusCode::FORBIDDEN).into_response())
            }
        }
    }
}

/// The pages that a session's roles let it see.
pub(super) fn pages_of(session: &Session) -> Vec<Page> {
    let sees = [
        (Page::Status, session.authorize::<perm::ReadStatus>().is_ok()),
        (Page::Partner, session.authorize::<perm::SeePartnerPage>().is_ok()),
        (Page::Questions, session.authorize::<perm::RunQueries>().is_ok()),
        (Page::Officer, session.authorize::<perm::SeeOfficerPage>().is_ok()),
        (Page::Records, session.authorize::<perm::UseRecordsPage>().is_ok()),
        (Page::Figures, session.authorize::<perm::ReadFigures>().is_ok()),
        (Page::Programme, session.authorize::<perm::ReadProgramme>().is_ok()),
        (Page::Rules, session.authorize::<perm::UseProgrammePages>().is_ok()),
        (Page::Segments, session.authorize::<perm::UseProgrammePages>().is_ok()),
        (Page::Campaigns, session.authorize::<perm::UseProgrammePages>().is_ok()),
        (Page::Reviews, session.authorize::<perm::UseReviewsPage>().is_ok()),
        (Page::Staff, session.authorize::<perm::UseCounterPage>().is_ok()),
        (Page::Administration, session.authorize::<perm::UseAdministrationPage>().is_ok()),
        (Page::Budget, session.authorize::<perm::ReadBudgets>().is_ok()),
    ];
    sees.into_iter().filter_map(|(page, seen)| seen.then_some(page)).collect()
}
