//! The budget page: every brand's accounts of a calendar year, by analyst account.

use askama::Template;

use super::words::Words;
use super::{Frame, Language, Page, text};
use crate::auth::{Authorized, perm};
use crate::service::{AccountView, BudgetsView, Status};

/// One row of the table of accounts.
struct AccountRow<'a> {
    brand: &'a str,
    kind: &'static str,
    /// None for the brand's whole account.
    analyst: Option<&'a str>,
    quota: Option<String>,
    reserved: String,
    charged: String,
    left: Option<String>,
}

#[derive(Template)]
#[template(path = "budget.html")]
struct BudgetPage<'a> {
    frame: Frame<'a>,
    budgets: &'a BudgetsView,
    per_year: String,
    rows: Vec<AccountRow<'a>>,
}

/// Every brand's accounts of a calendar year; none only if rendering fails.
#[must_use]
pub fn budget_page(
    status: &Status,
    budgets: &BudgetsView,
    language: Language,
    proof: &Authorized<perm::ReadBudgets>,
    pages: &[Page],
) -> Option<String> {
    let words = Words::of(language);
    let mut rows = Vec::new();
    for of in &budgets.brands {
        let mut row = |kind, analyst, account: &AccountView| {
            rows.push(AccountRow {
                brand: &of.brand,
                kind,
                analyst,
                quota: account.quota_pico_rho.map(text::rho),
                reserved: text::rho(account.reserved_pico_rho),
                charged: text::rho(account.charged_pico_rho),
                left: account.left_pico_rho.map(text::rho),
            });
        };
        row(words.budget_joint, None, &of.joint);
        row(words.budget_local, None, &of.local);
        for analyst in &of.analysts {
            row(words.budget_joint, Some(analyst.analyst.as_str()), &analyst.joint);
            row(words.budget_local, Some(analyst.analyst.as_str()), &analyst.local);
        }
    }
    let frame = Frame {
        user: Some(proof.user()),
        path: "/budget",
        pages: pages.to_vec(),
        ..Frame::new(status, language)
    };
    let per_year = text::rho(budgets.rho_per_year);
    BudgetPage { frame, budgets, per_year, rows }.render().ok()
}
