//! Balances that members bring from a programme of before, a request of many members at a time.
//!
//! All that could fail is asked before anything is entered; what is entered is one record. A member who brings
//! nothing is told, and keeps no other back.

use std::collections::BTreeSet;

use ::programme::Account;
use ::programme::calendar::Day;
use ::programme::openings::{OpeningBalance, OpeningLot};
use ::programme::state::{Event, OpeningStep, Refusal};
use protocol::amount::Points;
use protocol::time::Timestamp;

use super::programme::{ProgrammeError, random, refused};
use super::programme_service::points;
use super::{Core, Turn, TurnError, internal, vault_error};
use crate::exchange::points::account;
use crate::purchases::opening_day;
use crate::service::*;
use crate::vault::{Identifier, IdentifierKind, Tombstones};

/// Why somebody brings nothing.
enum Wrong {
    /// It is the row's.
    Row(Box<RefusedOpening>),
    /// It is the node's: nothing is done.
    Node(ServiceError),
}

/// What is said in Chinese of codes that have no words of their own here.
fn in_chinese(code: &str) -> Option<&'static str> {
    Some(match code {
        "member_unknown" => "没有会员持有此卡号",
        "card_malformed" => "卡号格式不符",
        "consent_missing" => "会员未同意参加积分计划",
        "points_range" => "积分数超出范围",
        _ => return None,
    })
}

fn row(field: Option<&str>, error: ServiceError) -> RefusedOpening {
    let ServiceError { code, message, remedy, chinese, .. } = error;
    let zh = match (chinese, in_chinese(code)) {
        (Some(said), _) => said.message,
        (None, Some(known)) => known.to_owned(),
        (None, None) => message.clone(),
    };
    RefusedOpening {
        place: 0,
        field: field.map(str::to_owned),
        code: code.to_owned(),
        reason: Bilingual { zh, en: message },
        remedy,
    }
}

/// A refusal of the row's, or a fault of the node's.
fn of_field(field: &'static str) -> impl Fn(ServiceError) -> Wrong + Copy {
    move |error| match error.kind {
        ErrorKind::Internal | ErrorKind::Unavailable => Wrong::Node(error),
        _ => Wrong::Row(Box::new(row(Some(field), error))),
    }
}

fn of_row(field: &str, code: &str, (zh, en): (&str, &str), remedy: &str) -> RefusedOpening {
    RefusedOpening {
        place: 0,
        field: Some(field.to_owned()),
        code: code.to_owned(),
        reason: Bilingual { zh: zh.to_owned(), en: en.to_owned() },
        remedy: remedy.to_owned(),
    }
}

/// What the programme refuses.
fn of_refusal(refusal: &Refusal) -> RefusedOpening {
    let field = match refusal {
        Refusal::OpeningExpired { .. } => Some("expires_on"),
        Refusal::OpeningEmpty | Refusal::OpeningLots { .. } => Some("lots"),
        Refusal::Points(_) => Some("points"),
        _ => None,
    };
    row(field, refused(refusal))
}

impl Core {
    /// Brings balances of members, from who may enter them or agrees to what another has entered.
    ///
    /// # Errors
    /// When the request has too many members or none, or the vault cannot be read; then nothing is entered.
    pub(super) fn bring_openings(
        &mut self,
        request: &OpeningsRequest,
        (by, enters): (&str, bool),
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<OpeningsView, ServiceError> {
        let count = request.members.len();
        if !(1..=OPENINGS_MAX).contains(&count) {
            return Err(ServiceError::new(
                ErrorKind::Invalid,
                "openings_count",
                format!("a request has 1 to {OPENINGS_MAX} members (found {count})"),
                "send the others in requests of their own",
            ));
        }
        let erased = self.vault.tombstones().map_err(vault_error)?;
        let mut view = OpeningsView {
            dry_run: request.dry_run,
            members: u64::try_from(count).unwrap_or(u64::MAX),
            ..OpeningsView::default()
        };
        let (mut ready, mut seen) = (Vec::with_capacity(count), BTreeSet::new());
        for (place, asked) in (1_u64..).zip(&request.members) {
            let wrong = match self.opening_of(asked, &erased) {
                Ok((account, balance)) => {
                    if seen.insert(account) {
                        ready.push((place, account, balance));
                        continue;
                    }
                    let words =
                        ("同一会员在请求中出现多次", "the member is in the request more than once");
                    of_row("card", "opening_twice", words, "send all lots of a member as one")
                }
                Err(Wrong::Row(wrong)) => *wrong,
                Err(Wrong::Node(error)) => return Err(error),
            };
            view.refused.push(RefusedOpening { place, ..wrong });
        }
        self.follow_points(now, turn);
        let mut changes = Vec::new();
        for (place, account, balance) in ready {
            let replaces = request.replace;
            let may = (enters, replaces);
            let step = match self.programme.opening_step(account, &balance, by, may, now) {
                Ok(step) => step,
                Err(refusal) => {
                    view.refused.push(RefusedOpening { place, ..of_refusal(&refusal) });
                    continue;
                }
            };
            let points = balance.points().map_or(0, Points::get);
            match step {
                OpeningStep::Known => view.already_there += 1,
                OpeningStep::Given => {
                    view.given += 1;
                    view.points_given += points;
                }
                OpeningStep::Entered | OpeningStep::Waiting => {
                    view.waiting += 1;
                    view.points_waiting += points;
                }
            }
            let is_news = matches!(step, OpeningStep::Entered | OpeningStep::Given);
            if request.dry_run || !is_news {
                continue;
            }
            let by = by.to_owned();
            let event = Event::BringOpening { account, balance, by, enters, replaces };
            // to bring it makes no offer
            let nobody = |_: Account| false;
            let done = self.programme.handle(event, now, &mut random, &nobody, &mut changes);
            if let Err(error) = done {
                // it was decided a moment ago
                self.failure = Some(TurnError::Programme(ProgrammeError::Changes(error)));
                return Err(internal());
            }
        }
        self.record_programme(&changes, turn);
        view.refused.sort_by_key(|refused| refused.place);
        Ok(view)
    }

    /// Whose it is, and what: of a member who takes part. A card of somebody who was erased brings nothing, whoever
    /// has it now: a list is of the past (PIPL art. 47).
    fn opening_of(
        &self,
        asked: &OpeningRequest,
        erased: &Tombstones,
    ) -> Result<(Account, OpeningBalance), Wrong> {
        let of_card = of_field("card");
        let member = self.member(&asked.card).map_err(of_card)?;
        if let Ok(card) = Identifier::parse(IdentifierKind::Card, &asked.card) {
            let is_erased = self.vault.is_erased(erased, &[card]).map_err(vault_error);
            if is_erased.map_err(of_card)? {
                let words =
                    ("此卡的会员已被删除", "whoever had this card was erased, and brings nothing");
                let remedy = "take the person out of the file; a balance can be corrected";
                return Err(Wrong::Row(Box::new(of_row("card", "erased", words, remedy))));
            }
        }
        self.require_programme(member).map_err(of_card)?;
        let mut lots = Vec::with_capacity(asked.lots.len());
        for lot in &asked.lots {
            let last_day = match &lot.expires_on {
                None => None,
                Some(text) => match opening_day(text) {
                    Some(day) => Some(Day::new(day)),
                    None => {
                        let words = ("不是日期", "this is no date from 1970 to 2199");
                        let remedy = "write it YYYY-MM-DD, as in 2027-03-31";
                        let wrong = of_row("expires_on", "date_malformed", words, remedy);
                        return Err(Wrong::Row(Box::new(wrong)));
                    }
                },
            };
            let points = points(lot.points).map_err(of_field("points"))?;
            lots.push(OpeningLot { last_day, points });
        }
        let tier_points = points(asked.tier_points).map_err(of_field("tier_points"))?;
        Ok((account(member), OpeningBalance::new(lots, tier_points)))
    }
}
