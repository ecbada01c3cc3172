//! The HTTPS surface: one route for each operation of the node, the published log, the console.
//!
//! Knows routes, who may call them, and how refusals look. Decides nothing and stores nothing: the
//! operations are in [`crate::service`], the checks in [`crate::auth`], the pages in
//! [`crate::console`]. HTTP/1.1 over TLS alone.
//!
//! Routes, their documentation and their permissions are one table, in this file. A handler asks for
//! its permission by its first argument; a test calls every route as every role and holds the table
//! against what it finds.

mod administration_pages;
mod answers;
mod api;
mod audits;
mod backups;
mod cleanroom;
mod codes;
mod conditional;
mod connections;
mod counter;
mod deliveries;
mod draft_pages;
mod drafts;
mod events;
mod examples;
mod extract;
mod figure_pages;
mod figures;
mod imports;
mod limits;
mod listed;
mod manager_pages;
mod members;
mod metrics;
mod multipart;
mod openapi;
mod own_pages;
mod own_password;
mod pages;
mod people;
mod problem;
mod programme;
mod programme_pages;
mod programme_staff;
mod published;
mod question_pages;
mod rates;
mod ready;
mod record_pages;
mod review_pages;
mod schemas;
mod second_factor_pages;
mod user_pages;
mod users;
mod visitor;
mod webhooks;
mod witnessing;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::TokioTimer;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use utoipa::OpenApi;

use crate::auth::{Auth, Permission, Role, perm};
use crate::metrics::Metrics;
use crate::service::Node;
use crate::tls::ServerTls;
use crate::webhooks::Webhooks;
pub use api::{CardPage, Health, LinkCodeRequest, LinkRequest, SessionRequest, SessionView};
pub use cleanroom::{FiguresRequest, FillRequest, PlanRequest, QueryRequest};
use connections::{Limited, WithCertificate};
pub use members::{
    CodeRequest, MemberSessionRequest, MemberSessionView, OwnErasureRequest, SecondFactorView,
};
pub use metrics::serve_metrics;
use openapi::FromTable;
pub use own_password::OwnPasswordRequest;
pub use problem::{PROBLEM_JSON, Problem, ProblemType};
pub use rates::{RateLimit, RateLimits};
pub use ready::Readiness;

/// Most bytes of a request's body.
const BODY_MAX: usize = 64 * 1024;
/// Longest time until the head of a request has come, also on a connection kept open.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// How long requests under way may go on when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// What handlers share.
#[derive(Clone)]
struct App {
    node: Node,
    auth: Auth,
    places: Arc<Semaphore>,
    // for requests of other logs: they must not crowd out people's
    witnessing: Arc<Semaphore>,
    rates: Arc<rates::Rates>,
    metrics: Metrics,
    // rules are looked at and replaced by one request at a time
    replacing: Arc<tokio::sync::Mutex<()>>,
    streams: events::Streams,
    webhooks: Webhooks,
    tls: ServerTls,
}

/// Who may call a route.
#[derive(Clone, Copy, Debug)]
enum Access {
    /// Anyone. A page may show more to who is signed in.
    Public,
    /// Users with this permission.
    Needs {
        #[cfg_attr(not(test), expect(dead_code, reason = "the tests' messages name it"))]
        permission: &'static str,
        roles: &'static [Role],
    },
    /// A page for users with this permission, by the session in their browser's cookie.
    Page {
        #[cfg_attr(not(test), expect(dead_code, reason = "the tests' messages name it"))]
        permission: &'static str,
        roles: &'static [Role],
    },
    /// A member, about nothing but the member's own.
    Member,
    /// A page for a member, by the session in the browser's cookie.
    MemberPage,
}

/// As [`needs`], for a page: the session is in the browser's cookie.
const fn page<P: Permission>() -> Access {
    Access::Page { permission: P::NAME, roles: P::ROLES }
}

const fn needs<P: Permission>() -> Access {
    Access::Needs { permission: P::NAME, roles: P::ROLES }
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
struct Route {
    method: &'static str,
    path: &'static str,
    access: Access,
}

macro_rules! routes {
    ($($method:ident $path:literal $module:ident::$handler:ident $access:expr;)*) => {
        /// Every route.
        const ROUTES: &[Route] =
            &[$(Route { method: stringify!($method), path: $path, access: $access }),*];

        fn routes() -> Router<App> {
            Router::new()$(.route($path, routing::$method($module::$handler)))*
        }

        #[derive(OpenApi)]
        #[openapi(
            info(
                title = "Coalition node",
                description = "What a brand's node offers its people and their programs. \
                    Where a route needs a session, a program may come with a client certificate that is \
                    on record for its user in place of the token. \
                    Refusals are problem+json with `code` and `remedy`; `x-error-codes` of an operation has the \
                    codes of each status, that of the whole what they mean. Every answer but those about \
                    health has `RateLimit` and `RateLimit-Policy` \
                    (draft-ietf-httpapi-ratelimit-headers): what the caller may still ask.",
            ),
            paths($($module::$handler),*),
            components(schemas(Problem)),
            modifiers(&FromTable),
        )]
        struct Document;
    };
}

routes! {
    get    "/healthz"                                  api::health           Access::Public;
    get    "/readyz"                                   ready::ready          Access::Public;
    get    "/api/v1/openapi.json"                      api::openapi          Access::Public;
    post   "/api/v1/sessions"                          api::sign_in          Access::Public;
    delete "/api/v1/sessions"                          api::sign_out         needs::<perm::EndSession>();
    get    "/api/v1/status"                            api::status           needs::<perm::ReadStatus>();
    post   "/api/v1/imports"                           imports::import       needs::<perm::ImportData>();
    get    "/api/v1/imports/latest"                    imports::import_progress needs::<perm::ImportData>();
    post   "/api/v1/imports/batches"                   imports::import_batch needs::<perm::SendBatches>();
    get    "/api/v1/members"                           api::cards            needs::<perm::ReadMembers>();
    post   "/api/v1/members"                           members::enrol        needs::<perm::EnrolMembers>();
    get    "/api/v1/members/{card}"                    api::member           needs::<perm::ReadMembers>();
    post   "/api/v1/members/{card}/link-codes"         api::link_code        needs::<perm::ManageMembers>();
    post   "/api/v1/members/{card}/links"              api::link             needs::<perm::ManageMembers>();
    post   "/api/v1/members/{card}/consents"           api::consent          needs::<perm::ManageMembers>();
    get    "/api/v1/members/{card}/record"             members::record       needs::<perm::ReadMemberRecords>();
    post   "/api/v1/members/look-up"                   members::look_up      needs::<perm::ReadMemberRecords>();
    post   "/api/v1/members/{card}/corrections"        members::correct      needs::<perm::CorrectMembers>();
    post   "/api/v1/members/{card}/merges"             members::merge        needs::<perm::CorrectMembers>();
    post   "/api/v1/members/{card}/partings"           members::part         needs::<perm::CorrectMembers>();
    get    "/api/v1/members/{card}/export"             members::export_member     needs::<perm::AnswerRequests>();
    post   "/api/v1/members/{card}/hold"               members::hold         needs::<perm::AnswerRequests>();
    post   "/api/v1/members/{card}/requests"           members::open_request needs::<perm::TakeRequests>();
    post   "/api/v1/sightings"                         members::sight        needs::<perm::BeginMemberSessions>();
    get    "/api/v1/pairs"                             members::pairs        needs::<perm::CorrectMembers>();
    post   "/api/v1/pairs/judgements"                  members::judge        needs::<perm::CorrectMembers>();
    get    "/api/v1/requests"                          members::requests     needs::<perm::AnswerRequests>();
    get    "/api/v1/requests/{id}"                     members::request      needs::<perm::AnswerRequests>();
    post   "/api/v1/requests/{id}/answer"              members::answer       needs::<perm::AnswerRequests>();
    get    "/api/v1/certificates/{hash}"               members::certificate  Access::Public;
    get    "/api/v1/operations"                        members::operations   needs::<perm::ReadOperations>();
    get    "/api/v1/alerts"                            members::alerts       needs::<perm::ReadOperations>();
    post   "/api/v1/assessments"                       members::assess       needs::<perm::KeepRecords>();
    get    "/api/v1/assessments"                       members::assessments  needs::<perm::KeepRecords>();
    post   "/api/v1/breaches"                          members::enter_breach needs::<perm::KeepRecords>();
    get    "/api/v1/breaches"                          members::breaches     needs::<perm::KeepRecords>();
    post   "/api/v1/breaches/{number}/notices"         members::breach_told  needs::<perm::KeepRecords>();
    post   "/api/v1/vault/rotation"                    members::rotate       needs::<perm::RotateVaultKey>();
    get    "/api/v1/vault/rotation"                    members::rotation     needs::<perm::RotateVaultKey>();
    post   "/api/v1/password"                          own_password::set_own_password needs::<perm::SetOwnPassword>();
    post   "/api/v1/second-factor"                     members::second_factor needs::<perm::SetUpSecondFactor>();
    post   "/api/v1/second-factor/confirmation"        members::confirm_second_factor needs::<perm::SetUpSecondFactor>();
    post   "/api/v1/member-sessions"                   members::begin_session needs::<perm::BeginMemberSessions>();
    post   "/api/v1/member-codes"                      members::hand_out_code needs::<perm::HandOutMemberCodes>();
    post   "/api/v1/member-second-steps"               members::hand_out_second_step needs::<perm::BeginMemberSessions>();
    get    "/api/v1/me/account"                        members::own_account  Access::Member;
    get    "/api/v1/me/exchanges/{id}/receipt"         members::own_receipt  Access::Member;
    post   "/api/v1/me/actions"                        members::own_action   Access::Member;
    get    "/api/v1/me"                                members::own_data     Access::Member;
    post   "/api/v1/me/consents"                       members::own_consent  Access::Member;
    post   "/api/v1/me/corrections"                    members::own_correction Access::Member;
    get    "/api/v1/me/requests"                       members::own_requests Access::Member;
    post   "/api/v1/me/requests"                       members::own_request  Access::Member;
    post   "/api/v1/me/erasure"                        members::own_erasure  Access::Member;
    post   "/api/v1/exchanges"                         api::exchange         needs::<perm::ExchangePoints>();
    get    "/api/v1/exchanges"                         api::exchanges        needs::<perm::ReadExchanges>();
    get    "/api/v1/exchanges/received"                api::received         needs::<perm::ReadExchanges>();
    post   "/api/v1/exchanges/received/returns"        api::send_back        needs::<perm::ExchangePoints>();
    get    "/api/v1/exchanges/{id}"                    api::exchange_by_id   needs::<perm::ReadExchanges>();
    get    "/api/v1/exchanges/{id}/receipt"            api::receipt          needs::<perm::ReadExchanges>();
    get    "/api/v1/exchanges/{id}/opened-receipt"     api::opened_receipt   needs::<perm::ReadExchanges>();
    get    "/api/v1/constitutions"                     api::constitutions    needs::<perm::ReadConstitutions>();
    post   "/api/v1/constitutions"                     api::read_constitutions needs::<perm::TakeConstitutions>();
    get    "/api/v1/constitutions/drafts"              drafts::constitution_drafts needs::<perm::ReadConstitutions>();
    post   "/api/v1/constitutions/drafts"              drafts::upload_draft     needs::<perm::TakeConstitutions>();
    get    "/api/v1/constitutions/drafts/{hash}"       drafts::constitution_draft needs::<perm::ReadConstitutions>();
    delete "/api/v1/constitutions/drafts/{hash}"       drafts::remove_draft     needs::<perm::TakeConstitutions>();
    get    "/api/v1/constitutions/drafts/{hash}/constitution" drafts::draft_constitution needs::<perm::ReadConstitutions>();
    get    "/api/v1/constitutions/drafts/{hash}/signatures" drafts::draft_signatures needs::<perm::ReadConstitutions>();
    post   "/api/v1/constitutions/drafts/{hash}/signatures" drafts::add_draft_signatures needs::<perm::TakeConstitutions>();
    post   "/api/v1/constitutions/drafts/{hash}/signature" drafts::sign_draft needs::<perm::TakeConstitutions>();
    post   "/api/v1/constitutions/drafts/{hash}/decision" drafts::decide_draft needs::<perm::TakeConstitutions>();
    post   "/api/v1/disclosures"                       api::disclose         needs::<perm::Disclose>();
    get    "/api/v1/sealing-keys"                      api::sealing_keys     needs::<perm::ReadKeys>();
    post   "/api/v1/sealing-keys"                      api::turn_sealing_key needs::<perm::ManageKeys>();
    post   "/api/v1/sealing-keys/destruction"          api::destroy_sealing_keys needs::<perm::ManageKeys>();
    get    "/api/v1/clearings"                         api::clearings        needs::<perm::ReadClearings>();
    post   "/api/v1/clearings/{cut_off_ms}/closing"    api::close            needs::<perm::CloseCycle>();
    get    "/api/v1/clearings/{cut_off_ms}"            api::statement        needs::<perm::ReadClearings>();
    post   "/api/v1/clearings/{cut_off_ms}/payments"   api::settled          needs::<perm::SettleClearings>();
    post   "/api/v1/clearings/{cut_off_ms}/confirmations" api::confirm       needs::<perm::SettleClearings>();
    get    "/api/v1/clearings/{cut_off_ms}/export"     api::export           needs::<perm::ReadClearings>();
    get    "/api/v1/disputes"                          api::disputes         needs::<perm::ReadPartners>();
    post   "/api/v1/disputes/{brand}/proposal"         api::propose          needs::<perm::ResolveDisputes>();
    post   "/api/v1/disputes/{brand}/agreement"        api::agree            needs::<perm::ResolveDisputes>();
    get    "/api/v1/partners"                          api::partners         needs::<perm::ReadPartners>();
    post   "/api/v1/partners/{brand}/closing"          api::close_partner    needs::<perm::ClosePartners>();
    post   "/api/v1/partners/{brand}/readmission"      api::readmit_partner  needs::<perm::ReadmitPartners>();
    post   "/api/v1/queries/plan"                      cleanroom::plan       needs::<perm::RunQueries>();
    post   "/api/v1/queries"                           cleanroom::query      needs::<perm::RunQueries>();
    get    "/api/v1/queries"                           cleanroom::queries    needs::<perm::ReadQueries>();
    get    "/api/v1/queries/{id}"                      cleanroom::query_by_id needs::<perm::ReadQueries>();
    get    "/api/v1/events"                            events::events        needs::<perm::ReadEvents>();
    post   "/api/v1/webhooks"                          webhooks::register_webhook    needs::<perm::ManageWebhooks>();
    get    "/api/v1/webhooks"                          webhooks::webhooks    needs::<perm::ManageWebhooks>();
    get    "/api/v1/webhooks/{id}"                     webhooks::webhook     needs::<perm::ManageWebhooks>();
    delete "/api/v1/webhooks/{id}"                     webhooks::remove_webhook      needs::<perm::ManageWebhooks>();
    post   "/api/v1/webhooks/{id}/secret"              webhooks::rotate_secret      needs::<perm::ManageWebhooks>();
    post   "/api/v1/webhooks/{id}/enabling"            webhooks::enable_webhook      needs::<perm::ManageWebhooks>();
    get    "/api/v1/webhooks/{id}/deliveries"          webhooks::webhook_deliveries  needs::<perm::ManageWebhooks>();
    get    "/api/v1/budgets"                           cleanroom::budgets    needs::<perm::ReadBudgets>();
    get    "/api/v1/datasets"                          cleanroom::datasets   needs::<perm::ReadDatasets>();
    get    "/api/v1/templates"                         cleanroom::templates  needs::<perm::ReadDatasets>();
    post   "/api/v1/templates/{id}/question"           cleanroom::fill       needs::<perm::ReadDatasets>();
    post   "/api/v1/templates/{id}/figures"            cleanroom::figures    needs::<perm::ReadFigures>();
    get    "/api/v1/figures"                           figures::period_figures needs::<perm::ReadFigures>();
    get    "/api/v1/figures/csv"                       figures::period_figures_file needs::<perm::ReadFigures>();
    get    "/api/v1/policy"                            cleanroom::policy     needs::<perm::ReadPolicy>();
    post   "/api/v1/policy"                            cleanroom::read_policy needs::<perm::TakePolicy>();
    post   "/api/v1/backups"                           backups::back_up      needs::<perm::BackUp>();
    get    "/api/v1/backups/latest"                    backups::backup_progress needs::<perm::BackUp>();
    get    "/api/v1/programme/rules"                   programme::rules      Access::Public;
    post   "/api/v1/programme/rules"                   programme::take_rules needs::<perm::ManageProgramme>();
    get    "/api/v1/programme/report"                  programme::report     needs::<perm::ReadProgramme>();
    get    "/api/v1/programme/campaigns"               programme::campaigns  needs::<perm::ReadProgramme>();
    get    "/api/v1/programme/segments"                programme::segments   needs::<perm::ReadProgramme>();
    post   "/api/v1/programme/segments/count"          programme::count_segment needs::<perm::ManageProgramme>();
    get    "/api/v1/programme/rules/file"              programme::rules_file needs::<perm::ManageProgramme>();
    post   "/api/v1/programme/actions"                 programme::manage     needs::<perm::ManageProgramme>();
    get    "/api/v1/programme/members/{card}"          programme::member     needs::<perm::ReadMembers>();
    post   "/api/v1/programme/members/{card}/actions"  programme::for_member needs::<perm::ManageMembers>();
    post   "/api/v1/programme/members/{card}/app-actions" programme::for_apps_member needs::<perm::ActForAppsMembers>();
    post   "/api/v1/programme/till"                    programme::till       needs::<perm::ManageMembers>();
    get    "/api/v1/programme/notices"                 programme::notices    needs::<perm::PushNotices>();
    post   "/api/v1/programme/rules/check"             programme_staff::check_rules needs::<perm::ManageProgramme>();
    post   "/api/v1/programme/rules/simulation"        programme_staff::simulate_rules needs::<perm::ManageProgramme>();
    post   "/api/v1/programme/members/{card}/adjustments" programme_staff::adjust needs::<perm::AdjustPoints>();
    get    "/api/v1/programme/adjustments"             programme_staff::adjustments needs::<perm::ReadAdjustments>();
    post   "/api/v1/programme/adjustments/{number}/decision" programme_staff::decide needs::<perm::DecideAdjustments>();
    post   "/api/v1/programme/members/{card}/coupons"  programme_staff::give_coupon needs::<perm::ManageProgramme>();
    post   "/api/v1/programme/opening-balances"        programme_staff::bring_openings needs::<perm::BringOpenings>();
    get    "/api/v1/programme/coupons"                 programme_staff::coupons needs::<perm::ReadProgramme>();
    post   "/api/v1/purchases"                         programme_staff::enter_purchase needs::<perm::EnterPurchases>();
    get    "/api/v1/programme/cases"                   programme::cases      needs::<perm::ReviewProgramme>();
    get    "/api/v1/programme/requests"                programme::requests   needs::<perm::ReviewProgramme>();
    post   "/api/v1/programme/reviews"                 programme::review     needs::<perm::ReviewProgramme>();
    get    "/api/v1/report"                            people::compliance_report needs::<perm::SeeOfficerPage>();
    get    "/api/v1/users"                             users::users          needs::<perm::ManageUsers>();
    post   "/api/v1/users"                             users::add_user       needs::<perm::ManageUsers>();
    post   "/api/v1/users/{user}/roles"                users::set_user_roles needs::<perm::ManageUsers>();
    post   "/api/v1/users/{user}/password"             users::replace_user_password needs::<perm::ManageUsers>();
    post   "/api/v1/users/{user}/second-factor-removal" users::remove_user_second_factor needs::<perm::ManageUsers>();
    post   "/api/v1/users/{user}/removal"              users::remove_user    needs::<perm::ManageUsers>();
    delete "/api/v1/users/{user}/sessions"             users::end_user_sessions needs::<perm::ManageUsers>();
    post   "/api/v1/audits"                            audits::start_audit   needs::<perm::AuditLogs>();
    get    "/api/v1/audits/latest"                     audits::audit_progress needs::<perm::AuditLogs>();
    get    "/api/v1/audits/latest/report"              audits::audit_report  needs::<perm::AuditLogs>();
    post   "/api/v1/stop"                              api::stop             needs::<perm::StopNode>();
    get    "/checkpoint"                               published::checkpoint Access::Public;
    get    "/checkpoint.witnessed"                     published::witnessed  Access::Public;
    get    "/certificates"                             published::certificates Access::Public;
    get    "/tile/{*path}"                             published::tile       Access::Public;
    post   "/add-checkpoint"                           witnessing::add_checkpoint Access::Public;
    get    "/{origin_hash}/checkpoint"                 witnessing::cosigned  Access::Public;
    get    "/"                                         pages::status         Access::Public;
    get    "/sign-in"                                  pages::sign_in_page   Access::Public;
    post   "/sign-in"                                  pages::sign_in        Access::Public;
    post   "/sign-out"                                 pages::sign_out       Access::Public;
    get    "/partner"                                  people::partner       page::<perm::SeePartnerPage>();
    get    "/partner/events"                           events::partner_events page::<perm::SeePartnerPage>();
    get    "/partner/exchanges/{id}/receipt"           people::receipt       page::<perm::SeePartnerPage>();
    get    "/partner/exchanges/{id}/opened-receipt"    people::opened_receipt page::<perm::SeePartnerPage>();
    get    "/partner/clearings/{cut_off_ms}/{format}"  people::statement     page::<perm::SeePartnerPage>();
    get    "/questions"                                question_pages::questions page::<perm::RunQueries>();
    post   "/questions"                                question_pages::question_form page::<perm::RunQueries>();
    get    "/questions/{id}"                           question_pages::question_by_id page::<perm::RunQueries>();
    get    "/questions/{id}/{format}"                  question_pages::answer page::<perm::RunQueries>();
    get    "/budget"                                   cleanroom::budget_page page::<perm::ReadBudgets>();
    get    "/figures"                                  figure_pages::figures_page page::<perm::ReadFigures>();
    get    "/figures/csv"                              figure_pages::figures_file page::<perm::ReadFigures>();
    get    "/figures/dashboards/{id}"                  figure_pages::dashboard page::<perm::ReadFigures>();
    get    "/figures/dashboards/{id}/csv"              figure_pages::dashboard_file page::<perm::ReadFigures>();
    get    "/programme"                                programme_pages::programme page::<perm::ReadProgramme>();
    get    "/programme/rules"                          manager_pages::rules page::<perm::UseProgrammePages>();
    post   "/programme/rules"                          manager_pages::rules_form page::<perm::UseProgrammePages>();
    get    "/programme/segments"                       manager_pages::segments page::<perm::UseProgrammePages>();
    post   "/programme/segments"                       manager_pages::segments_form page::<perm::UseProgrammePages>();
    get    "/programme/campaigns"                      manager_pages::campaigns page::<perm::UseProgrammePages>();
    post   "/programme/campaigns"                      manager_pages::campaigns_form page::<perm::UseProgrammePages>();
    get    "/programme/reviews"                        review_pages::reviews page::<perm::UseReviewsPage>();
    post   "/programme/reviews"                        review_pages::reviews_form page::<perm::UseReviewsPage>();
    get    "/staff"                                    programme_pages::staff page::<perm::UseCounterPage>();
    post   "/staff"                                    programme_pages::staff_form page::<perm::UseCounterPage>();
    get    "/administration"                           administration_pages::administration page::<perm::UseAdministrationPage>();
    post   "/administration"                           administration_pages::administration_form page::<perm::UseAdministrationPage>();
    post   "/administration/users"                     user_pages::user_added page::<perm::UseAdministrationPage>();
    get    "/administration/users/{user}"              user_pages::user      page::<perm::UseAdministrationPage>();
    post   "/administration/users/{user}"              user_pages::user_form page::<perm::UseAdministrationPage>();
    post   "/administration/drafts"                    draft_pages::draft_upload page::<perm::UseAdministrationPage>();
    get    "/administration/drafts/{hash}"             draft_pages::draft page::<perm::UseAdministrationPage>();
    post   "/administration/drafts/{hash}"             draft_pages::draft_form page::<perm::UseAdministrationPage>();
    get    "/administration/drafts/{hash}/constitution" draft_pages::draft_file page::<perm::UseAdministrationPage>();
    get    "/administration/drafts/{hash}/signatures"  draft_pages::draft_signatures_file page::<perm::UseAdministrationPage>();
    post   "/administration/drafts/{hash}/signatures"  draft_pages::draft_signatures_upload page::<perm::UseAdministrationPage>();
    get    "/password"                                 own_password::own_password_page page::<perm::SetOwnPassword>();
    post   "/password"                                 own_password::own_password_form page::<perm::SetOwnPassword>();
    get    "/second-factor"                            second_factor_pages::second_factor_page page::<perm::SetUpSecondFactor>();
    post   "/second-factor"                            second_factor_pages::second_factor_form page::<perm::SetUpSecondFactor>();
    get    "/records"                                  record_pages::records page::<perm::UseRecordsPage>();
    post   "/records"                                  record_pages::record_form page::<perm::UseRecordsPage>();
    get    "/officer"                                  people::officer       page::<perm::SeeOfficerPage>();
    get    "/my"                                       own_pages::account    Access::MemberPage;
    post   "/my"                                       own_pages::account_form Access::MemberPage;
    get    "/my/export"                                own_pages::own_export   Access::MemberPage;
    get    "/my/exchanges/{id}/receipt"                own_pages::own_receipt  Access::MemberPage;
    get    "/my/sign-in"                               own_pages::own_sign_in_form Access::Public;
    post   "/my/sign-in"                               own_pages::own_sign_in Access::Public;
    post   "/my/sign-out"                              own_pages::own_sign_out Access::Public;
    post   "/officer/own-audit"                        people::officer_own_audit page::<perm::SeeOfficerPage>();
    post   "/officer/audit"                            people::officer_audit page::<perm::SeeOfficerPage>();
    get    "/officer/report"                           people::officer_report page::<perm::SeeOfficerPage>();
    get    "/console.css"                              pages::style_sheet    Access::Public;
    get    "/verify"                                   pages::verify         Access::Public;
    get    "/receipt.js"                               pages::receipt_script Access::Public;
    get    "/console.js"                               pages::script         Access::Public;
    get    "/partner.js"                               pages::partner_script Access::Public;
    get    "/icon.svg"                                 pages::icon           Access::Public;
}

/// What a server is given beside the node.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// How many requests each caller may make.
    pub rate_limits: RateLimits,
    /// Where what is counted goes.
    pub metrics: Metrics,
    /// Who is sent what happens.
    pub webhooks: Webhooks,
}

fn router(node: Node, auth: Auth, tls: ServerTls, options: ServeOptions) -> Router {
    let places = |most| Arc::new(Semaphore::new(most));
    let app = App {
        node,
        auth,
        places: places(limits::REQUESTS_MAX),
        witnessing: places(limits::WITNESSING_MAX),
        rates: Arc::new(rates::Rates::new(options.rate_limits)),
        metrics: options.metrics,
        replacing: Arc::default(),
        streams: events::Streams::default(),
        webhooks: options.webhooks,
        tls,
    };
    routes()
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn(conditional::around))
        .layer(from_fn_with_state(app.clone(), limits::around))
        .with_state(app)
}

async fn no_such_route(method: Method, uri: Uri) -> Problem {
    Problem::no_such_route(method.as_str(), uri.path().starts_with("/api/"))
}

async fn no_such_method(method: Method) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("this path does not take {method}"),
        "the header Allow has the methods it takes",
    )
}

/// A server that runs.
pub struct Served {
    /// Where it listens: with a port asked for as 0, the one the system gave.
    pub address: SocketAddr,
    /// Ends when the server has stopped.
    pub task: JoinHandle<io::Result<()>>,
    /// Stops it.
    pub shutdown: Shutdown,
}

/// Stops a server.
#[derive(Clone, Debug)]
pub struct Shutdown(Handle<SocketAddr>);

impl Shutdown {
    /// Takes no more connections; what is under way may finish for some seconds.
    pub fn begin(&self) {
        self.0.graceful_shutdown(Some(STOP_GRACE));
    }
}

/// Serves a node at an address. Must be called within a tokio runtime.
///
/// # Errors
/// When the address cannot be listened at.
pub fn serve(
    node: Node,
    auth: Auth,
    address: SocketAddr,
    tls: ServerTls,
    options: ServeOptions,
) -> io::Result<Served> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let handle = Handle::new();
    let mut changes = tls.watch();
    let config = RustlsConfig::from_config(Arc::clone(&changes.borrow_and_update().https));
    let renewed = config.clone();
    // ends with the last that could change it
    tokio::spawn(async move {
        while changes.changed().await.is_ok() {
            renewed.reload_from_config(Arc::clone(&changes.borrow_and_update().https));
        }
    });
    let acceptor = RustlsAcceptor::new(config).acceptor(Limited::default());
    let mut server = axum_server::from_tcp(listener)?
        .acceptor(WithCertificate::new(acceptor, tls.clone()))
        .handle(handle.clone())
        .http1_only();
    server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let router = router(node, auth, tls, options);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let task = tokio::spawn(server.serve(service));
    Ok(Served { address, task, shutdown: Shutdown(handle) })
}
