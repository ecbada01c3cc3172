//! What people and programs ask of the programme: words in, views out.

use ::programme::calendar::{DAY_MS, DayOfYear};
use ::programme::coupons::{Code, Coupon};
use ::programme::fraud::{Trace, Verdict};
use ::programme::plain::{self, Concern};
use ::programme::requests::{Key, Request};
use ::programme::rules::{CouponKind, Rules, Words};
use ::programme::state::{Answer, Event, Notice, Told};
use ::programme::tiers::{self, Distance};
use ::programme::{Account, Fen, InvalidName, NAME_MAX, Name, report, segments};
use protocol::amount::Points;
use protocol::time::Timestamp;

use super::super::answer;
use super::super::simulation::months;
use super::campaigns::segment_terms;
use super::operations::vault_error;
use super::programme::request_key;
use super::programme_staff::decided;
use super::{Core, Turn};
use crate::exchange::points::account;
use crate::service::*;
use crate::vault::{BlindIndex, MemberId};

/// Cards shown of a case.
const CARDS_SHOWN: usize = 20;
/// Notices and requests of one answer.
pub(super) const LIST_MAX: usize = 1000;

/// How many items of a page, as a length: what is asked for within the node may be all.
fn length(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

pub(super) fn words(words: &Words) -> Bilingual {
    Bilingual { zh: words.zh.clone(), en: words.en.clone() }
}

fn invalid(code: &'static str, message: String, remedy: &str) -> ServiceError {
    ServiceError::new(ErrorKind::Invalid, code, message, remedy)
}

pub(super) fn name(text: &str, field: &str) -> Result<Name, ServiceError> {
    let wrong = |error: InvalidName| {
        invalid("name_malformed", format!("{field}: {error}"), "take a name that the rules have")
            .in_chinese(
                format!("{field}：名称为 1 至 {NAME_MAX} 个 a–z、0–9、_、- 字符"),
                "使用规则中的名称",
            )
    };
    Name::new(text).map_err(wrong)
}

pub(super) fn fen(number: u64, field: &str) -> Result<Fen, ServiceError> {
    let wrong = |error: programme::InvalidFen| {
        invalid("amount_range", format!("{field}: {error}"), "give the amount in fen")
    };
    Fen::new(number).map_err(wrong)
}

pub(super) fn points(number: u64) -> Result<Points, ServiceError> {
    let wrong = |error: protocol::amount::AmountError| {
        invalid("points_range", error.to_string(), "give a number of points")
    };
    Points::new(number).map_err(wrong)
}

/// What something set aside is handed over by: 32 hexadecimal digits.
fn hold_name(key: Key) -> String {
    key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hold_key(text: &str) -> Result<Key, ServiceError> {
    let bytes = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32);
    let bytes = bytes.ok_or_else(|| {
        invalid(
            "hold_malformed",
            "this names nothing set aside".to_owned(),
            "32 hexadecimal digits",
        )
    })?;
    Ok(Key::from_bytes(bytes.to_be_bytes()))
}

fn code_of(text: &str) -> Result<Code, ServiceError> {
    let wrong = |error: ::programme::coupons::InvalidCode| {
        let remedy = "type the code again as it is on the coupon";
        invalid("coupon_code_malformed", error.to_string(), remedy)
    };
    text.parse().map_err(wrong)
}

fn birthday(text: &str) -> Result<DayOfYear, ServiceError> {
    let day = text
        .split_once('-')
        .and_then(|(month, day)| DayOfYear::new(month.parse().ok()?, day.parse().ok()?));
    day.ok_or_else(|| {
        invalid(
            "birthday_malformed",
            "this is no day of a year".to_owned(),
            "write it MM-DD, as in 02-29",
        )
    })
}

pub(super) fn done(done: Answer, hold: Option<Key>) -> DoneView {
    let mut view = DoneView { state: "done".to_owned(), ..DoneView::default() };
    match done {
        Answer::Done | Answer::Waits => {}
        Answer::Repeated => "repeated".clone_into(&mut view.state),
        Answer::Entered => "waiting".clone_into(&mut view.state),
        Answer::Earned { earned, .. } => view.earned = Some(earned.get()),
        Answer::Coupon { code, expires } => {
            view.code = Some(code.to_string());
            view.until_ms = Some(expires.unix_ms());
        }
        Answer::TakesOff { worth } => view.takes_off_fen = Some(worth.get()),
        Answer::SetAside { until } => {
            view.until_ms = Some(until.unix_ms());
            view.hold = hold.map(hold_name);
        }
        Answer::Number(number) => view.number = Some(number),
        Answer::Adjusted { number, booked } => {
            if !booked {
                "waiting".clone_into(&mut view.state);
            }
            view.number = Some(number);
        }
        Answer::SecondStepNeeded { case } => {
            "second_step_needed".clone_into(&mut view.state);
            view.number = Some(case);
        }
        Answer::UnderReview { case } => {
            "held_for_review".clone_into(&mut view.state);
            view.number = Some(case);
        }
    }
    view
}

impl Core {
    /// Does one operation of the programme.
    pub fn programme_command(
        &mut self,
        command: ProgrammeCommand,
        now: Timestamp,
        turn: &mut Turn,
    ) {
        use ProgrammeCommand as C;
        match command {
            C::Rules { reply } => answer(turn, reply, Ok(self.rules_view())),
            C::TakeRules { request, reply } => {
                let taken = self.rules_from(&request, now, turn).map(|()| self.rules_view());
                answer(turn, reply, taken);
            }
            C::Report { reply } => {
                self.follow_points(now, turn);
                answer(turn, reply, Ok(self.report_view(now)));
            }
            C::Member { card, reply } => {
                self.follow_points(now, turn);
                answer(turn, reply, self.programme_member(&card, now));
            }
            C::History { member, reply } => {
                self.follow_points(now, turn);
                let asked = self.programme_history(member);
                // as every answer when what it says is durable
                turn.answers.push(Box::new(move || asked.answer(reply)));
            }
            C::ForMember { key, card, action, reply } => {
                let did = self.for_member(&key, &card, action, now, turn);
                answer(turn, reply, did);
            }
            C::AtTill { key, action, reply } => {
                let did = self.at_till(&key, action, now, turn);
                answer(turn, reply, did);
            }
            C::Manage { action, by, reply } => {
                let event = match action {
                    ManagerAction::Stock { reward, total } => {
                        name(&reward, "reward").map(|reward| Event::Stock { reward, total })
                    }
                    ManagerAction::WithdrawRules {} => Ok(Event::WithdrawRules),
                    ManagerAction::KeepSegment { name: segment, terms } => name(&segment, "name")
                        .and_then(|name| {
                            Ok(Event::KeepSegment { name, terms: segment_terms(terms)? })
                        }),
                    ManagerAction::DropSegment { name: segment } => {
                        name(&segment, "name").map(|name| Event::DropSegment { name })
                    }
                    ManagerAction::MakeCampaign { name: campaign, terms } => {
                        self.campaign_event(&campaign, terms, by)
                    }
                    ManagerAction::EndCampaign { name: campaign } => {
                        name(&campaign, "name").map(|name| Event::EndCampaign { name })
                    }
                };
                let did = event.and_then(|event| self.happen(event, now, turn));
                answer(turn, reply, did.map(|it| done(it, None)));
            }
            C::Review { action, by, reply } => {
                let event = match action {
                    ReviewAction::Review { case, stop, reason } => {
                        let verdict = if stop { Verdict::Stopped } else { Verdict::Cleared };
                        let reason = reason.filter(|reason| !reason.trim().is_empty());
                        Event::Review { case, verdict, by, reason }
                    }
                    ReviewAction::Answer { request, text } => Event::Answer { request, text },
                };
                let did = self.happen(event, now, turn);
                answer(turn, reply, did.map(|it| done(it, None)));
            }
            C::Campaigns { reply } => answer(turn, reply, Ok(self.campaigns_view(now))),
            C::Check { file, reply } => answer(turn, reply, self.check_view(&file.rules, now)),
            // on threads of their own: see `runtime::simulation` and `runtime::segments`
            C::Simulate { reply, .. } => drop(reply),
            C::Segments { reply, .. } => drop(reply),
            C::RulesFile { reply } => answer(turn, reply, Ok(self.rules_file_view())),
            C::Adjust { key, card, by, request, reply } => {
                let did = self.adjust_points((&key, by), &card, request, now, turn);
                answer(turn, reply, did);
            }
            C::Decide { number, agrees, by, reply } => {
                let event = Event::DecideAdjustment { number, agrees, by };
                let did = self.happen(event, now, turn);
                answer(turn, reply, did.map(|it| decided(agrees, it)));
            }
            C::Adjustments { before, limit, reply } => {
                answer(turn, reply, Ok(self.adjustment_views(before, length(limit))));
            }
            C::GiveCoupon { key, card, kind, reply } => {
                let did = self.give_coupon(&key, &card, &kind, now, turn);
                answer(turn, reply, did);
            }
            C::Openings { request, by, enters, reply } => {
                let brought = self.bring_openings(&request, (&by, enters), now, turn);
                answer(turn, reply, brought);
            }
            C::Coupons { kind, before, limit, reply } => {
                let views = self.coupon_views(kind.as_deref(), before, length(limit));
                answer(turn, reply, views);
            }
            C::Cases { closed, after, limit, reply } => {
                answer(turn, reply, Ok(self.case_views(closed, after, length(limit))));
            }
            C::Requests { after, limit, reply } => {
                answer(turn, reply, Ok(self.request_views(after, length(limit))));
            }
            C::Notices { after, reply } => answer(turn, reply, Ok(self.notice_views(after))),
        }
    }

    fn rules_from(
        &mut self,
        request: &RulesRequest,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<(), ServiceError> {
        let earliest = self.notice_period().earliest(now);
        let effective = request.effective_ms.map_or(earliest, Timestamp::from_unix_ms);
        self.take_rules(&request.rules, effective, now, turn)
    }

    pub(super) fn for_member(
        &mut self,
        key: &str,
        card: &str,
        action: MemberAction,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<DoneView, ServiceError> {
        let whose = self.member(card)?;
        // what a member has stays the member's: it can be spent, and the service asked, by who does not take part too
        let is_of_what_is_there = matches!(
            action,
            MemberAction::Pay { .. }
                | MemberAction::ReversePayment { .. }
                | MemberAction::HoldReward { .. }
                | MemberAction::Ask { .. }
        );
        if !is_of_what_is_there {
            self.require_programme(whose)?;
        }
        let account = account(whose);
        // a key is the member's own: another's cannot be taken
        let key = |kind: &str| request_key(kind, &format!("{card}\0{key}"));
        let mut hold = None;
        let event = match action {
            MemberAction::Join { birthday: day, referrer, device, address } => Event::Joined {
                account,
                birthday: {
                    let told = day.as_deref().map(birthday).transpose()?;
                    // a birth date that the brand has goes before what is told
                    self.birthday_kept(account)?.or(told)
                },
                referrer: match referrer {
                    Some(card) => Some(crate::exchange::points::account(self.member(&card)?)),
                    None => None,
                },
                device: device.map(|device| self.trace("device", &device)).transpose()?,
                address: address.map(|address| self.trace("address", &address)).transpose()?,
            },
            MemberAction::SignIn {} => Event::SignedIn { account },
            MemberAction::Activity { name: activity } => {
                Event::Did { account, activity: name(&activity, "name")? }
            }
            MemberAction::Pay { points: paid, basket_fen } => Event::Pay {
                key: key("pay"),
                account,
                points: points(paid)?,
                basket: fen(basket_fen, "basket_fen")?,
            },
            MemberAction::ClaimCoupon { kind } => {
                Event::ClaimCoupon { key: key("claim"), account, kind: name(&kind, "kind")? }
            }
            MemberAction::HoldReward { reward, second_step, code: _ } => {
                let key = key("hold");
                hold = Some(key);
                let reward = name(&reward, "reward")?;
                Event::HoldReward { key, account, reward, second_step }
            }
            MemberAction::ReversePayment { payment } => {
                let key = request_key("pay", &format!("{card}\0{payment}"));
                Event::ReversePayment { key, account }
            }
            MemberAction::Ask { about, text } => {
                Event::Ask { account, about: name(&about, "about")?, text }
            }
        };
        let answer = self.happen(event, now, turn)?;
        self.meet(account, now, turn);
        Ok(done(answer, hold))
    }

    /// Who does not take part in the programme is not acted for in it.
    pub(super) fn require_programme(&self, member: MemberId) -> Result<(), ServiceError> {
        let consents = self.vault.consents(member).map_err(vault_error)?;
        if consents.allows(crate::vault::Purpose::Programme) {
            return Ok(());
        }
        Err(ServiceError::new(
            ErrorKind::Refused,
            "consent_missing",
            "the member has not agreed to take part in the programme",
            "enter the member's consent to the purpose programme first",
        ))
    }

    fn trace(&self, kind: &str, text: &str) -> Result<Trace, ServiceError> {
        let hash = self.vault.blind(BlindIndex::Programme, format!("{kind}\0{text}").as_bytes());
        let hash = hash.map_err(vault_error)?;
        Ok(Trace::from_bytes(hash.first_chunk::<16>().copied().unwrap_or_default()))
    }

    pub(super) fn at_till(
        &mut self,
        key: &str,
        action: TillAction,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<DoneView, ServiceError> {
        let event = match action {
            TillAction::ReopenCoupon { code, redemption } => Event::ReopenCoupon {
                key: request_key("redeem", &redemption),
                code: code_of(&code)?,
            },
            TillAction::RedeemCoupon { code, basket_fen, place } => {
                let code = code_of(&code)?;
                let (key, basket) = (request_key("redeem", key), fen(basket_fen, "basket_fen")?);
                Event::RedeemCoupon { key, code, basket, place: name(&place, "place")? }
            }
            TillAction::HandOver { hold } => Event::HandOver { key: hold_key(&hold)? },
            TillAction::GiveUp { hold } => Event::GiveUp { key: hold_key(&hold)? },
        };
        self.happen(event, now, turn).map(|it| done(it, None))
    }

    // --- views

    fn rules_view(&self) -> RulesView {
        let Some(rules) = self.programme.rules() else { return RulesView::default() };
        let shown = plain::statements(rules);
        let shown = shown.iter().filter(|it| it.concern != Concern::Internal);
        let announced = self.programme.announced();
        RulesView {
            version: rules.version,
            title: words(&rules.title),
            rules: shown.map(|statement| words(&statement.words)).collect(),
            announced: announced
                .map(|(_, change)| plain::notice(rules, change).iter().map(words).collect())
                .unwrap_or_default(),
            announced_from_ms: announced.map(|(_, change)| change.effective.unix_ms()),
        }
    }

    fn report_view(&self, now: Timestamp) -> ProgrammeReportView {
        let report = report::report(&self.programme, now);
        let small = |number: u128| u64::try_from(number).unwrap_or(u64::MAX);
        let open = self.programme.rules().is_some();
        let differences = if open { self.points.differences(&self.programme) } else { 0 };
        ProgrammeReportView {
            at_ms: report.at.unix_ms(),
            trial_balance: i64::try_from(report.trial_balance).unwrap_or(i64::MAX),
            differences: u64::try_from(differences).unwrap_or(u64::MAX),
            accounts: report
                .sides
                .iter()
                .map(|(side, points)| SideView { account: side.name().to_owned(), points: *points })
                .collect(),
            liability_points: small(report.liability_points),
            liability_fen: small(report.liability_fen),
            owed_points: small(report.owed_points),
            maturities: report
                .maturities
                .iter()
                .map(|it| MaturityView {
                    from_days: it.from_days,
                    to_days: it.to_days,
                    points: small(it.points),
                })
                .collect(),
            expiring: months(&report.expiring),
            issued_points: small(report.issued_points),
            opening_points: small(report.opening_points),
            expired_points: small(report.expired_points),
            breakage_per_mille: report.breakage_per_mille().map(small),
        }
    }

    fn programme_member(
        &self,
        card: &str,
        now: Timestamp,
    ) -> Result<ProgrammeMemberView, ServiceError> {
        let member = account(self.member(card)?);
        let shown = self.masked_card(member);
        let programme = &self.programme;
        let no_rules = ::programme::state::Refusal::NoRules;
        let rules = programme.rules().ok_or_else(|| super::programme::refused(&no_rules))?;
        let (balance, profile) = (programme.accounts().balance(member), programme.profile(member));
        let notice = u64::from(rules.expiry.notice_days).saturating_mul(DAY_MS);
        let soon = Timestamp::from_unix_ms(now.unix_ms().saturating_add(notice));
        let standing = tiers::standing(rules, &profile, now);
        let open = programme.coupons().of(member);
        let open = open.filter(|(_, it)| it.redeemed.is_none() && it.expires > now);
        let requests = programme.requests().iter().filter(|(_, request)| request.account == member);
        let inside = segments::of(rules, &profile, programme.names(), now);
        Ok(ProgrammeMemberView {
            card: shown.clone(),
            available: balance.available().get(),
            held: balance.held().get(),
            owed: balance.owed().get(),
            lots: balance
                .lots()
                .as_slice()
                .iter()
                .map(|lot| LotView {
                    points: lot.left.get(),
                    expires_ms: lot.expires.map(Timestamp::unix_ms),
                })
                .collect(),
            expiring_soon: balance.lots().until(soon).get(),
            tier: standing.tier.map(|tier| tier.name.to_string()),
            tier_words: standing.tier.map(|tier| words(&tier.words)),
            next_tier: standing.next.map(|(tier, distance)| {
                let (points, purchases, fen) = match distance {
                    Distance::Points(points) => (points, 0, 0),
                    Distance::Rfm { purchases, fen, recent } => {
                        (0, purchases.max(u32::from(recent)), fen)
                    }
                };
                let (name, words) = (tier.name.to_string(), words(&tier.words));
                NextTierView { name, words, points, purchases, fen }
            }),
            coupons: open.map(|(code, coupon)| coupon_view(rules, code, coupon)).collect(),
            holds: programme
                .rewards()
                .waiting(member)
                .map(|(key, hold)| HoldView {
                    hold: hold_name(key),
                    reward: hold.reward.to_string(),
                    words: reward_words(rules, &hold.reward),
                    points: hold.points.get(),
                    until_ms: hold.until.unix_ms(),
                })
                .collect(),
            segments: inside.into_iter().map(ToString::to_string).collect(),
            streak: profile.streak,
            stopped: profile.stopped,
            held_for_review: profile.held,
            requests: requests
                .map(|(number, request)| request_view(number, request, shown.clone()))
                .collect(),
            claimable: claimable(rules),
            rewards: self.reward_offers(rules),
        })
    }

    fn reward_offers(&self, rules: &Rules) -> Vec<RewardOfferView> {
        let offers = rules.rewards.iter().map(|(name, reward)| RewardOfferView {
            reward: name.to_string(),
            words: words(&reward.words),
            price_points: reward.price.get(),
            left: self.programme.rewards().stock(name).left(),
        });
        offers.filter(|offer| offer.left > 0).collect()
    }

    pub(super) fn masked_card(&self, account: Account) -> String {
        // who was erased has no card
        let card = self.vault.masked_card(MemberId::from_bytes(*account.as_bytes()));
        card.unwrap_or_else(|_| "****".to_owned())
    }

    fn campaigns_view(&self, now: Timestamp) -> CampaignsView {
        let Some(rules) = self.programme.rules() else { return CampaignsView::default() };
        let stock = rules.rewards.iter().map(|(name, reward)| {
            let stock = self.programme.rewards().stock(name);
            StockView {
                reward: name.to_string(),
                words: words(&reward.words),
                total: stock.total,
                held: stock.held,
                handed_over: stock.handed_over,
                left: stock.left(),
            }
        });
        let kinds = self.programme.coupons().kinds().map(|(kind, count)| CouponKindView {
            kind: kind.to_string(),
            given: count.given,
            redeemed: count.redeemed,
        });
        let of_rules = self.programme.results();
        let of_rules = of_rules.filter(|(test, ..)| !self.programme.is_campaign(test));
        let experiments = of_rules.map(|(test, group, result)| {
            let groups = rules.experiments.get(test).map(|test| test.groups.as_slice());
            let named = groups.and_then(|groups| groups.get(usize::from(group)));
            GroupView {
                experiment: test.to_string(),
                group: named.map_or_else(|| group.to_string(), |group| group.name.to_string()),
                members: result.members,
                buyers: result.buyers,
                purchases: result.purchases,
                fen: result.fen,
            }
        });
        CampaignsView {
            stock: stock.collect(),
            coupons: kinds.collect(),
            experiments: experiments.collect(),
            kinds: rules
                .coupons
                .iter()
                .map(|(kind, it)| CouponOfferView {
                    kind: kind.to_string(),
                    words: words(&it.words),
                })
                .collect(),
            triggers: self.trigger_views(rules),
            campaigns: self.campaign_list(now),
        }
    }

    /// Open cases, the most urgent first; or those that are closed, the latest first.
    fn case_views(
        &self,
        closed: bool,
        after: Option<CaseKey>,
        limit: usize,
    ) -> Rows<CaseView, CaseKey> {
        let cases = self.programme.watch().cases();
        let cases = cases.filter(|(_, case)| case.closed.is_some() == closed);
        let keyed = cases.map(|(number, case)| {
            // closed ones the latest first
            let closed = case.closed.map(|(at, _)| u64::MAX - at.unix_ms());
            ((closed.unwrap_or(case.due.unix_ms()), number), (number, case))
        });
        let (cases, next) = page_after(keyed, after.as_ref(), limit);
        let views = cases
            .into_iter()
            .map(|(number, case)| CaseView {
                number,
                sign: case.sign.name().to_owned(),
                action: case.action().name().to_owned(),
                cards: case
                    .accounts
                    .iter()
                    .take(CARDS_SHOWN)
                    .map(|it| self.masked_card(*it))
                    .collect(),
                accounts: u64::try_from(case.accounts.len()).unwrap_or(u64::MAX),
                opened_ms: case.opened.unix_ms(),
                due_ms: case.due.unix_ms(),
                verdict: case.closed.map(|(_, verdict)| verdict.name().to_owned()),
                closed_ms: case.closed.map(|(at, _)| at.unix_ms()),
                reviewer: case.reviewer.clone(),
                reason: case.reason.clone(),
            })
            .collect();
        (views, next)
    }

    fn request_views(
        &self,
        after: Option<ServiceRequestKey>,
        limit: usize,
    ) -> Rows<RequestView, ServiceRequestKey> {
        let all = self.programme.requests().iter().map(|(number, request)| {
            ((request.answer.is_some(), request.due.unix_ms(), number), (number, request))
        });
        let (all, next) = page_after(all, after.as_ref(), limit);
        let view = |(number, request): (u64, &Request)| {
            request_view(number, request, self.masked_card(request.account))
        };
        (all.into_iter().map(view).collect(), next)
    }

    /// Notices that may be pushed now: of offers that are marketing only those of members who consent still.
    /// And from which on they are kept, if some of what was asked for is not: whoever pushes came too late.
    pub(super) fn notice_views(&mut self, after: u64) -> NoticesView {
        let lost_before = self.programme.notices_lost_before(after);
        if let Some(first) = lost_before {
            let (told, lost) = self.notices_lost;
            // what was told before is not lost once more
            let from = after.saturating_add(1).max(told);
            self.notices_lost = (first.max(told), lost.saturating_add(first.saturating_sub(from)));
        }
        let may_be_pushed = |told: &&Told| {
            let consents = || told.account.is_some_and(|account| self.may_be_offered(account));
            !told.notice.is_marketing() || consents()
        };
        let notices = self.programme.notices(after).filter(may_be_pushed);
        let notices = notices.take(LIST_MAX).map(|told| self.notice_view(told)).collect();
        NoticesView { lost_before, notices }
    }

    /// The number of the newest notice there was.
    pub(in crate::runtime) const fn last_notice(&self) -> u64 {
        self.programme.last_notice()
    }

    /// What is told of the notices after a number: of which kinds there are how many, from which on.
    pub(in crate::runtime) fn notices_after(&self, after: u64) -> Vec<Happened> {
        let mut kinds: Vec<(u64, u64, &'static str)> = Vec::new();
        for told in self.programme.notices(after) {
            let kind = told.notice.name();
            match kinds.iter_mut().find(|(_, _, known)| *known == kind) {
                Some((_, count, _)) => *count += 1,
                None => kinds.push((told.number, 1, kind)),
            }
        }
        kinds
            .into_iter()
            .map(|(first, count, kind)| Happened::Notices { first, count, kind })
            .collect()
    }

    /// Notices that somebody asked for and that were kept no longer, since the start.
    pub(in crate::runtime) const fn notices_lost(&self) -> u64 {
        self.notices_lost.1
    }

    fn notice_view(&self, told: &Told) -> NoticeView {
        let member = told.account.map(|account| MemberId::from_bytes(*account.as_bytes()));
        let profile = member.and_then(|member| self.vault.profile(member).ok());
        NoticeView {
            number: told.number,
            card: profile.map(|profile| profile.card.expose().to_owned()),
            member: None,
            at_ms: told.at.unix_ms(),
            words: notice_words(self.programme.rules(), &told.notice),
        }
    }
}

/// What members may claim.
fn claimable(rules: &Rules) -> Vec<ClaimView> {
    let kinds = rules.coupons.iter().filter(|(_, kind)| kind.claimable);
    let view = |(name, kind): (&Name, &CouponKind)| ClaimView {
        kind: name.to_string(),
        words: words(&kind.words),
        price_points: kind.price.get(),
        worth_fen: kind.worth.get(),
    };
    kinds.map(view).collect()
}

/// What members read of a reward; its name where the rules have it no longer.
fn reward_words(rules: &Rules, reward: &Name) -> Bilingual {
    let name = || Bilingual { zh: reward.to_string(), en: reward.to_string() };
    rules.rewards.get(reward).map_or_else(name, |reward| words(&reward.words))
}

fn coupon_view(rules: &Rules, code: Code, coupon: &Coupon) -> CouponView {
    let kind = rules.coupons.get(&coupon.kind);
    CouponView {
        code: code.to_string(),
        kind: coupon.kind.to_string(),
        words: kind.map(|kind| words(&kind.words)).unwrap_or_default(),
        worth_fen: coupon.worth.get(),
        minimum_basket_fen: coupon.minimum_basket.get(),
        expires_ms: coupon.expires.unix_ms(),
        redeemed_ms: coupon.redeemed.as_ref().map(|it| it.at.unix_ms()),
    }
}

fn request_view(number: u64, request: &Request, card: String) -> RequestView {
    RequestView {
        number,
        card,
        about: request.about.to_string(),
        text: request.text.clone(),
        asked_ms: request.at.unix_ms(),
        due_ms: request.due.unix_ms(),
        answered_ms: request.answer.as_ref().map(|(at, _)| at.unix_ms()),
        answer: request.answer.as_ref().map(|(_, text)| text.clone()),
    }
}

/// A notice in words, with those that the rules have for things.
pub(super) fn notice_words(rules: Option<&Rules>, notice: &Notice) -> Bilingual {
    let day = |at: &Timestamp| {
        let zone = rules.map(|rules| rules.zone).unwrap_or_default();
        zone.day(*at).date().to_string()
    };
    // the last valid day, not the first moment after it
    let until = |at: &Timestamp| day(&Timestamp::from_unix_ms(at.unix_ms().saturating_sub(1)));
    let (zh, en) = match notice {
        Notice::PointsExpire { points, at } => (
            format!("您有 {} 积分将于 {} 前到期", points.get(), until(at)),
            format!("{} of your points expire by {}", points.get(), until(at)),
        ),
        Notice::TierReached { tier } => {
            let found = rules.and_then(|rules| {
                rules.tiers.of_rank(rules.tiers.rank(tier)?).map(|tier| tier.words.clone())
            });
            let words = found.unwrap_or_default();
            (format!("恭喜升级为{}", words.zh), format!("You have reached {}", words.en))
        }
        Notice::CouponGiven { kind, expires, .. } => {
            let found = rules.and_then(|rules| rules.coupons.get(kind));
            let words = found.map(|kind| kind.words.clone()).unwrap_or_default();
            (
                format!("您获得优惠券「{}」，有效期至 {}", words.zh, until(expires)),
                format!("You have a coupon \"{}\", valid until {}", words.en, until(expires)),
            )
        }
        Notice::PointsGiven { points, .. } => (
            format!("您获得 {} 积分", points.get()),
            format!("You have been given {} points", points.get()),
        ),
        Notice::Rules { version, effective } => (
            format!("积分规则第 {version} 版将于 {} 生效", day(effective)),
            format!("Version {version} of the rules holds from {}", day(effective)),
        ),
        Notice::Review { case } => {
            (format!("有新的复核事项 {case}"), format!("Case {case} is to be reviewed"))
        }
        Notice::Stopped => (
            "您的账户已暂停使用，待人工复核".to_owned(),
            "Your account is stopped until it has been reviewed".to_owned(),
        ),
        Notice::HeldForReview => (
            "您的账户待人工复核，复核前积分与优惠券不能使用".to_owned(),
            "Your account is held for review: nothing can be spent until then".to_owned(),
        ),
        Notice::Answered { request } => (
            format!("您的服务请求 {request} 已答复"),
            format!("Your request {request} has been answered"),
        ),
        Notice::Late { request, case } => {
            let (zh, en, number) = match (request, case) {
                (Some(number), _) => ("服务请求", "Request", *number),
                (None, number) => ("复核事项", "Case", number.unwrap_or_default()),
            };
            (format!("{zh} {number} 已超期"), format!("{en} {number} is overdue"))
        }
        Notice::HoldEnded { reward } => {
            let named = rules.map(|rules| reward_words(rules, reward));
            let Bilingual { zh, en } = named.unwrap_or_default();
            (
                format!("预留的礼品「{zh}」未领取，积分已退回"),
                format!("\"{en}\" was not fetched; its points are yours again"),
            )
        }
    };
    Bilingual { zh, en }
}
