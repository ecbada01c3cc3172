//! What pages show, what they keep back, and that they need nothing from elsewhere.

mod administration;
mod figures;
mod manager;
mod officer;
mod questions;

use super::*;
use crate::auth::{Auth, Role};
use crate::desk::{IdentifierView, MemberRecordView, RequestView as LegalRequestView};
use crate::service::*;

const PAGES: [Page; 14] = [
    Page::Status,
    Page::Partner,
    Page::Questions,
    Page::Officer,
    Page::Records,
    Page::Figures,
    Page::Programme,
    Page::Rules,
    Page::Segments,
    Page::Campaigns,
    Page::Reviews,
    Page::Staff,
    Page::Administration,
    Page::Budget,
];

fn words(zh: &str, en: &str) -> Bilingual {
    Bilingual { zh: zh.to_owned(), en: en.to_owned() }
}

fn programme() -> ProgrammeViews {
    let month = |month: Option<&str>, points| MonthView { month: month.map(str::to_owned), points };
    ProgrammeViews {
        status: samples::status(),
        rules: RulesView {
            version: 3,
            title: words("会员积分计划", "Points programme"),
            rules: vec![words("每消费 1 元得 1 积分。", "Purchases earn 1 point for each yuan.")],
            announced: vec![words("规则将变更。", "The rules change.")],
            announced_from_ms: Some(1),
        },
        report: ProgrammeReportView {
            liability_points: 1_234_567,
            liability_fen: 1_234_567,
            breakage_per_mille: Some(37),
            accounts: vec![SideView { account: "expired".to_owned(), points: -4_321 }],
            expiring: vec![month(Some("2026-12"), 1_000), month(None, 500)],
            ..ProgrammeReportView::default()
        },
        campaigns: CampaignsView {
            coupons: vec![CouponKindView { kind: "five_off".to_owned(), given: 7, redeemed: 5 }],
            ..CampaignsView::default()
        },
        adjustments: vec![AdjustmentView {
            number: 8,
            card: "FS0****Z7EN".to_owned(),
            points: -600,
            reason: "<script>".to_owned(),
            by: "li".to_owned(),
            at_ms: 1_790_000_000_000,
            state: "agreed".to_owned(),
            decided_by: Some("wang".to_owned()),
            decided_ms: None,
        }],
    }
}

fn rules() -> RulesViews {
    RulesViews {
        status: samples::status(),
        rules: programme().rules,
        file: RulesFileView { version: 3, notice_days: 30, ..RulesFileView::default() },
        text: "version = 4\n# </textarea><script>".to_owned(),
        check: Some(RulesCheckView {
            version: 4,
            differences: vec![RuleDifferenceView {
                key: "expiry".to_owned(),
                words: words("原为：365 天", "Was: 365 days"),
                needs_notice: true,
            }],
            earliest_ms: 1_790_000_000_000,
            ..RulesCheckView::default()
        }),
        simulation: Some(SimulationView { purchases: 4_321, ..SimulationView::default() }),
        ..RulesViews::default()
    }
}

fn segments() -> SegmentsViews {
    let terms = SegmentRequest {
        zh: "流失会员".to_owned(),
        en: "Lost members".to_owned(),
        quiet_days: Some(30),
        spent_at_least_fen: Some(100_000),
        hours: Some("evening".to_owned()),
        ..SegmentRequest::default()
    };
    let segment = |name: &str, in_rules, members| SegmentView {
        name: name.to_owned(),
        terms: terms.clone(),
        in_rules,
        members,
    };
    SegmentsViews {
        status: samples::status(),
        segments: SegmentsView {
            members: 2_000,
            segments: vec![segment("lost", true, 500), segment("away", false, 7)],
            asked: None,
            tiers: vec!["gold".to_owned()],
        },
        draft: SegmentRequest { tier_at_least: Some("gold".to_owned()), ..terms },
        done: Some(Managed::Counted { inside: 7, members: 2_000 }),
        ..SegmentsViews::default()
    }
}

fn campaigns() -> CampaignsViews {
    let group = |name: &str, coupon: Option<&str>, buyers| CampaignGroupView {
        name: name.to_owned(),
        share: 1,
        coupon: coupon.map(str::to_owned),
        members: 100,
        buyers,
        fen: 123_400,
        coupons_given: 100,
        coupons_redeemed: 41,
        ..CampaignGroupView::default()
    };
    let campaign = |name: &str, stage: &str| CampaignView {
        name: name.to_owned(),
        words: words("春季", "Spring"),
        segment: "away".to_owned(),
        stage: stage.to_owned(),
        from: "2026-12-01".to_owned(),
        to: "2026-12-31".to_owned(),
        count_days: 30,
        by: "mia".to_owned(),
        left_out: 4_711,
        groups: vec![group("a", Some("ten"), 30), group("control", None, 20)],
        ..CampaignView::default()
    };
    CampaignsViews {
        status: samples::status(),
        campaigns: CampaignsView {
            kinds: vec![CouponOfferView {
                kind: "ten".to_owned(),
                words: words("十元券", "Ten off"),
            }],
            triggers: vec![TriggerView { trigger: "win_back".to_owned(), left_out: 58 }],
            campaigns: vec![campaign("spring", "running"), campaign("autumn", "ended")],
            ..CampaignsView::default()
        },
        segments: segments().segments,
        today: "2026-11-29".to_owned(),
        ..CampaignsViews::default()
    }
}

fn reviews() -> ReviewsViews {
    let case = |number, verdict: Option<&str>| CaseView {
        number,
        sign: "device".to_owned(),
        action: "hold".to_owned(),
        cards: vec!["FS0****Z7EN".to_owned()],
        accounts: 6,
        due_ms: 1,
        verdict: verdict.map(str::to_owned),
        closed_ms: verdict.map(|_| 1_790_000_000_000),
        reviewer: verdict.map(|_| "eva".to_owned()),
        reason: verdict.map(|_| "one phone".to_owned()),
        ..CaseView::default()
    };
    ReviewsViews {
        status: samples::status(),
        open: vec![case(1, None)],
        closed: vec![case(2, Some("stopped"))],
        waiting: programme().adjustments,
        requests: vec![RequestView {
            number: 5,
            about: "complaint".to_owned(),
            text: "<img src=x>".to_owned(),
            ..RequestView::default()
        }],
        ..ReviewsViews::default()
    }
}

fn counter() -> StaffViews {
    StaffViews {
        status: samples::status(),
        record: Some(MemberRecordView {
            member: "~0a0b".to_owned(),
            identifiers: vec![IdentifierView {
                kind: "phone".to_owned(),
                shown: "138****5678".to_owned(),
                first_seen_ms: None,
                last_seen_ms: None,
            }],
            ..MemberRecordView::default()
        }),
        code: Some(MemberCodeView {
            code: "7QZ4-M3KD-0X9V".to_owned(),
            path: "/my/sign-in?code=7QZ4-M3KD-0X9V".to_owned(),
            expires_ms: 1,
        }),
        member: Some(ProgrammeMemberView {
            card: "FS0****Z7EN".to_owned(),
            available: 4_711,
            owed: 3,
            lots: vec![LotView { points: 4_711, expires_ms: Some(1_790_000_000_000) }],
            tier_words: Some(words("金卡", "Gold")),
            next_tier: Some(NextTierView {
                words: words("黑卡", "Black"),
                points: 99,
                ..NextTierView::default()
            }),
            coupons: vec![CouponView {
                code: "0000-0000-0000-0000".to_owned(),
                words: words("五元券", "Five yuan off"),
                worth_fen: 500,
                ..CouponView::default()
            }],
            holds: vec![HoldView {
                hold: "a1b2c3".to_owned(),
                reward: "mug".to_owned(),
                words: words("马克杯", "Mug"),
                points: 900,
                until_ms: 1_790_000_000_000,
            }],
            ..ProgrammeMemberView::default()
        }),
        links: vec![LinkView { brand: "kids".to_owned(), state: "linked".to_owned() }],
        received: came_in(),
        consents: vec![
            OwnConsentView {
                purpose: "marketing".to_owned(),
                granted: true,
                at_ms: Some(1_790_000_000_000),
                notice_version: Some(3),
                ..OwnConsentView::default()
            },
            OwnConsentView {
                purpose: "exchange".to_owned(),
                receiver: Some("kids".to_owned()),
                ..OwnConsentView::default()
            },
        ],
        notice_version: 4,
        kinds: vec![CouponOfferView {
            kind: "ten".to_owned(), words: words("十元券", "Ten off")
        }],
        link_code: Some(LinkCodeView { code: "K7M2Q4XW9P".to_owned(), expires_ms: 1 }),
        done: Some(words("已录入", "Entered")),
        problem: Some("why not".to_owned()),
        key: "00".to_owned(),
        now: "2026-11-28T10:00".to_owned(),
    }
}

/// One exchange of which some can go back, and one too late for it.
fn came_in() -> Vec<ReceivedView> {
    let one = ReceivedView {
        from: "kids".to_owned(),
        leaf: 5_321,
        points_received: 40,
        points_back: 15,
        returnable_until_ms: u64::MAX,
        ..ReceivedView::default()
    };
    vec![ReceivedView { leaf: 5_320, returnable_until_ms: 1, ..one.clone() }, one]
}

fn own() -> OwnViews {
    let counter = counter();
    OwnViews {
        status: samples::status(),
        account: OwnAccountView {
            card: "FS0****Z7EN".to_owned(),
            programme: counter.member.map(|member| ProgrammeMemberView {
                claimable: vec![ClaimView {
                    kind: "five_off".to_owned(),
                    words: words("五元券", "Five yuan off"),
                    price_points: 500,
                    worth_fen: 500,
                }],
                holds: vec![HoldView {
                    reward: "towel_2".to_owned(),
                    words: words("毛巾", "Beach towel"),
                    ..HoldView::default()
                }],
                ..member
            }),
            links: vec![LinkView { brand: "kids".to_owned(), state: "linked".to_owned() }],
            exchanges: samples::partner().exchanges,
            received: came_in(),
            consents: vec![
                OwnConsentView {
                    purpose: "marketing".to_owned(),
                    granted: true,
                    at_ms: Some(1_790_000_000_000),
                    notice_version: Some(3),
                    ..OwnConsentView::default()
                },
                OwnConsentView {
                    purpose: "exchange".to_owned(),
                    receiver: Some("kids".to_owned()),
                    ..OwnConsentView::default()
                },
            ],
            notice_version: 4,
            requests: vec![LegalRequestView {
                kind: "correction".to_owned(),
                state: "open".to_owned(),
                opened_ms: 1_790_000_000_000,
                ..LegalRequestView::default()
            }],
            ..OwnAccountView::default()
        },
        rules: programme().rules,
        key: "k".to_owned(),
        done: Some(words("已同意。", "You have agreed.")),
        problem: Some(member_words("other", None, None, "<script>")),
        link_code: Some(LinkCodeView { code: "K7M2Q4XW9P".to_owned(), expires_ms: 1 }),
    }
}

fn proof<P: crate::auth::Permission>() -> Authorized<P> {
    let directory = tempfile::tempdir().unwrap();
    let auth = Auth::open(&directory.path().join("users.json")).unwrap();
    auth.session(&auth.token_for(&Role::ALL)).unwrap().authorize().unwrap()
}

fn second_factor() -> SecondFactorViews {
    let setup = crate::auth::SecondFactorSetup {
        secret: "JBSWY3DPEHPK3PXP".into(),
        uri: "otpauth://totp/Coalition:ann?secret=JBSWY3DPEHPK3PXP".into(),
        recovery_codes: vec!["aaaa-bbbb".into(), "cccc-dddd".into()],
    };
    SecondFactorViews { must_have_one: true, setup: Some(setup), ..SecondFactorViews::default() }
}

#[test]
fn a_second_factor_is_set_up_on_a_page() {
    for (language, said) in [
        (Language::Chinese, ["必须设置第二因素", "恢复码", "动态码"]),
        (Language::English, ["needs a second factor", "recovery codes", "Code of the second"]),
    ] {
        let page =
            second_factor_page(&samples::status(), &second_factor(), language, &proof(), &PAGES);
        let page = page.unwrap();
        for words in said.iter().chain(&["JBSW Y3DP EHPK 3PXP", "cccc-dddd", "one-time-code"]) {
            assert!(page.contains(words), "{words}");
        }
        let in_use = SecondFactorViews { in_use: true, ..SecondFactorViews::default() };
        let page = second_factor_page(&samples::status(), &in_use, language, &proof(), &PAGES);
        assert!(!page.unwrap().contains("value=\"begin\""), "there is one already");
    }
    let asked = |notice| sign_in_page(&samples::status(), Language::English, Some(notice)).unwrap();
    assert!(asked(Notice::CodeNeeded).contains("aria-invalid"));
    assert!(!asked(Notice::Refused).contains("aria-invalid"));
}

fn own_password() -> OwnPasswordViews {
    OwnPasswordViews { is_one_use: true, is_other_again: true, problem: Some("why".into()) }
}

#[test]
fn an_administrator_sees_whose_password_is_for_one_use() {
    for (language, words) in
        [(Language::Chinese, "一次性口令"), (Language::English, "password for one use")]
    {
        let mut views = samples::administration();
        let page = |views: &AdministrationViews| {
            administration_page(views, language, &proof(), &PAGES).unwrap()
        };
        assert_eq!(page(&views).matches(words).count(), 1);
        views.people.iter_mut().for_each(|person| person.one_use_password = false);
        assert!(!page(&views).contains(words));
    }
}

fn pages() -> Vec<(Language, String)> {
    let status = samples::status();
    let notice = Some(Notice::Throttled { retry_seconds: 8 });
    [Language::Chinese, Language::English]
        .into_iter()
        .flat_map(|language| {
            [
                status_page(&status, language, &proof(), true, &PAGES),
                heads_page(&status, language, true),
                sign_in_page(&status, language, notice),
                refused_page(&status, language, "ann", &["officer"], &PAGES),
                partner_page(&samples::partner(), language, &proof(), &PAGES),
                officer_page(&samples::officer(), language, &proof(), &PAGES),
                programme_page(&programme(), language, &proof(), &PAGES),
                staff_page(&counter(), language, &proof(), &PAGES),
                own_page(&own(), language),
                own_sign_in_page(&status, "7QZ4", true, language),
                own_erased_page(&status, &LegalRequestView::default(), language),
                rules_page(&rules(), language, &proof(), &PAGES),
                segments_page(&segments(), language, &proof(), &PAGES),
                campaigns_page(&campaigns(), language, &proof(), &PAGES),
                reviews_page(&reviews(), language, &proof(), &PAGES),
                administration_page(&samples::administration(), language, &proof(), &PAGES),
                draft_page(&draft_views(), language, &proof(), &PAGES),
                user_page(&user_views(), language, &proof(), &PAGES),
                records_page(&samples::records(), language, &proof(), &PAGES),
                second_factor_page(&status, &second_factor(), language, &proof(), &PAGES),
                own_password_page(&status, &own_password(), language, &proof(), &PAGES),
                questions_page(&samples::questions(), language, &proof(), &PAGES),
                question_page(&status, &samples::answered(), language, true, &proof(), &PAGES),
                figures_page(&figures::sample(), language, &proof(), &PAGES),
                dashboard_page(&figures::dashboard(), language, &proof(), &PAGES),
            ]
            .map(|page| (language, page.unwrap()))
        })
        .collect()
}

#[test]
fn the_whole_page_has_the_figures_in_both_languages() {
    let status = samples::status();
    for (language, words) in [
        (Language::Chinese, ["鲜品超市", "隐私预算", "已冻结", "以会员为单位的差分隐私"]),
        (Language::English, ["Fresh Grocer", "Privacy budget", "Held", "Differentially private"]),
    ] {
        let page = status_page(&status, language, &proof(), true, &PAGES).unwrap();
        for word in words {
            assert!(page.contains(word), "{word}");
        }
        // 500 - 62.5 - 31.25 of 500; exchanges acknowledged; a noised value and its interval
        for figure in ["81.25%", "0.40625", "1,204", "1,469,307", "11,873", "11,233 … 12,513"] {
            assert!(page.contains(figure), "{figure}");
        }
        assert!(page.contains("n = 5, f = 1, q = 4"));
        assert!(page.contains("the log of kids is disputed"));
    }
}

#[test]
fn the_budget_page_has_every_account_in_both_languages() {
    let account = |quota| AccountView {
        quota_pico_rho: quota,
        reserved_pico_rho: 1_000_000_000,
        charged_pico_rho: 2_000_000_000,
        left_pico_rho: quota.map(|quota: u64| quota - 3_000_000_000),
    };
    let analyst = AnalystBudgetView {
        analyst: "desk<1>".to_owned(),
        joint: account(None),
        local: account(Some(6_000_000_000)),
    };
    let brand = BrandBudgetView {
        brand: "grocer".to_owned(),
        joint: account(Some(18_000_000_000)),
        local: account(Some(12_000_000_000)),
        analysts: vec![analyst],
        ..BrandBudgetView::default()
    };
    let budgets = BudgetsView {
        year: 2026,
        years: vec![2025, 2026],
        brands: vec![brand],
        next: Some("desk_2".to_owned()),
        ..BudgetsView::default()
    };
    for (language, word) in [(Language::Chinese, "本地"), (Language::English, "local")] {
        let page = budget_page(&samples::status(), &budgets, language, &proof(), &PAGES).unwrap();
        for shown in [
            word,
            "0.018",
            "0.015",
            "0.012",
            "0.003",
            "year=2025",
            "desk&#60;1&#62;",
            "–",
            "year=2026&amp;after=desk_2",
        ] {
            assert!(page.contains(shown), "{shown}\n{page}");
        }
        let last = BudgetsView { next: None, ..budgets.clone() };
        let page = budget_page(&samples::status(), &last, language, &proof(), &PAGES).unwrap();
        assert!(!page.contains("after="), "{page}");
    }
}

#[test]
fn strangers_see_heads_and_no_business() {
    let page = heads_page(&samples::status(), Language::English, true).unwrap();
    assert!(page.contains("52,736") && page.contains("Sign in"));
    for kept_back in
        ["1,469,307", "1,204", "2,469", "0.40625", "11,873", "evidence", "Privacy budget"]
    {
        assert!(!page.contains(kept_back), "{kept_back}");
    }
}

#[test]
fn a_small_alliance_is_told_the_truth() {
    let mut status = samples::status();
    status.committee = CommitteeView { brands: 3, faults_tolerated: 0, quorum: 2 };
    let english = heads_page(&status, Language::English, true).unwrap();
    assert!(english.contains("a fork is detected, not prevented"));
    let chinese = heads_page(&status, Language::Chinese, true).unwrap();
    assert!(chinese.contains("分叉只能被发现，不能被阻止"));
}

#[test]
fn what_others_wrote_is_escaped() {
    let mut status = samples::status();
    let attack = "<script>alert(1)</script>\"><img src=x>";
    status.alliance = attack.to_owned();
    status.alerts = vec![attack.to_owned()];
    status.heads[0].name_en = attack.to_owned();
    let release = status.latest_release.as_mut().unwrap();
    release.rows[0].keys[0] = attack.to_owned();
    release.statement.en = attack.to_owned();
    let page = status_page(&status, Language::English, &proof(), true, &PAGES).unwrap();
    assert!(!page.contains("<script") && !page.contains("<img"));
    assert!(page.matches("&#60;script").count() >= 5);
}

#[test]
fn a_partner_sees_positions_exchanges_and_the_statement() {
    for (language, words) in [
        (Language::Chinese, ["康宁药房", "已确认", "各方一致", "待付款", "与各品牌的往来"]),
        (
            Language::English,
            ["Corning Drugstore", "acknowledged", "agreed by all", "asked for", "Positions"],
        ),
    ] {
        let page = partner_page(&samples::partner(), language, &proof(), &PAGES).unwrap();
        for word in words {
            assert!(page.contains(word), "{word}");
        }
        // net, owed, the limit used, points of an exchange, a payment
        for figure in ["+12.00", "−3.50", "62.5%", "1,200", "8.50"] {
            assert!(page.contains(figure), "{figure}");
        }
        let exchange = &samples::partner().exchanges[0].id;
        assert!(page.contains(&format!("/partner/exchanges/{exchange}/receipt")));
        assert_eq!(page.matches("/receipt\"").count(), 1, "what is not final has no receipt");
        for format in ["csv", "pacs.029", "camt.053"] {
            assert!(page.contains(&format!("/partner/clearings/1795219200000/{format}")));
        }
        // every cut-off with a way to its statement, and to those before
        for (cut_off, shown) in [
            (1_796_054_399_999_u64, "2026-11-30T15:59:59.999Z"),
            (1_795_219_200_000, "2026-11-21T00:00:00.000Z"),
            (1_793_462_399_999, "2026-10-31T15:59:59.999Z"),
        ] {
            assert!(
                page.contains(&format!("cut_off={cut_off}#statement\">{shown}</a>")),
                "{shown}"
            );
        }
        assert!(page.contains("&amp;before=1793462399999#clearing-title"));
        let superseded = match language {
            Language::Chinese => "由后一期清算单涵盖",
            Language::English => "in a later statement",
        };
        assert_eq!(page.matches(superseded).count(), 1);
        assert!(page.contains("aria-current=\"page\""));
    }
    let listing = |place: Option<&str>, trail: &[&str]| ExchangeListing {
        to: "drug".to_owned(),
        state: ListedState::from_name("held"),
        place: place.map(str::to_owned),
        trail: trail.iter().map(|it| (*it).to_owned()).collect(),
        next: Some("c3".to_owned()),
    };
    let shown = |listing| {
        let views = PartnerViews { listing, ..samples::partner() };
        let page = partner_page(&views, Language::English, &proof(), &PAGES).unwrap();
        page.replace("&#38;", "&")
    };
    let chosen = "/partner?lang=en&to=drug&state=held";
    let first = shown(listing(None, &[]));
    assert!(first.contains(&format!("rel=\"next\" href=\"{chosen}&exchanges=c3#latest-title\"")));
    assert!(!first.contains("rel=\"prev\"") && first.contains("<option value=\"held\" selected>"));
    assert!(first.contains("<option value=\"drug\" selected>"));
    let third = shown(listing(Some("c2"), &["c1"]));
    let older = format!("{chosen}&exchanges=c3&trail=c1.c2#latest-title");
    let newer = format!("{chosen}&exchanges=c1#latest-title");
    assert!(third.contains(&older) && third.contains(&newer), "{third}");
    let second = shown(listing(Some("c1"), &[]));
    assert!(second.contains(&format!("rel=\"prev\" href=\"{chosen}#latest-title\"")));
    let long: Vec<String> = (0..60).map(|number| format!("t{number}")).collect();
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    let deep = shown(listing(Some("c2"), &long));
    assert!(deep.contains("trail=t21.t22.") && deep.contains(".t59.c2#"), "{deep}");
    let mut quiet = samples::partner();
    quiet.partners[0].silent = true;
    let page = partner_page(&quiet, Language::English, &proof(), &PAGES).unwrap();
    assert_eq!(page.matches("silent for over 24 h").count(), 1);
    let nothing = PartnerViews {
        statement_problem: Some("the cut-off has not passed: wait".into()),
        ..PartnerViews::default()
    };
    let page = partner_page(&nothing, Language::English, &proof(), &PAGES).unwrap();
    assert!(page.contains("the cut-off has not passed") && !page.contains("/receipt\""));
}

#[test]
fn a_counter_sees_a_masked_member_and_no_coupons_code() {
    let page = staff_page(&counter(), Language::English, &proof(), &PAGES).unwrap();
    for word in ["FS0****Z7EN", "4,711", "Gold", "99 points", "Five yuan off", "2026-09-21"] {
        assert!(page.contains(word), "{word}");
    }
    assert!(!page.contains("0000-0000"), "a code is the member's to show");
    assert!(page.contains("138****5678") && page.contains("7QZ4-M3KD-0X9V"));
    // forms name the member by the node's own number
    assert_eq!(page.matches("name=\"member\" value=\"~0a0b\"").count(), 13);
    assert!(page.contains("mug") && !page.contains("a1b2c3"), "a code is the member's to show");
    for form in [
        "exchange",
        "send_back",
        "link",
        "link_code",
        "adjust",
        "give",
        "request",
        "consent",
        "pay",
        "hand_over",
    ] {
        let action = format!("name=\"action\" value=\"{form}\"");
        assert_eq!(page.matches(&action).count(), 1, "{form}");
    }
    // of the brands only the one that is linked takes points, and only what is left goes back
    let (_, to) = page.split_once("id=\"exchange-to\"").unwrap();
    let (to, _) = to.split_once("</select>").unwrap();
    assert!(to.contains("value=\"kids\"") && !to.contains("value=\"drug\""), "{to}");
    assert!(page.contains("name=\"leaf\" value=\"5321\"") && page.contains("value=\"25\""));
    assert!(page.contains("K7M2Q4XW9P") && page.contains("value=\"exchange kids\""));
    let poor = StaffViews { links: Vec::new(), kinds: Vec::new(), ..counter() };
    let poor = staff_page(&poor, Language::English, &proof(), &PAGES).unwrap();
    for form in ["exchange", "give"] {
        assert!(!poor.contains(&format!("name=\"action\" value=\"{form}\"")), "{form}");
    }
    let nobody = staff_page(&StaffViews::default(), Language::English, &proof(), &PAGES).unwrap();
    assert_eq!(nobody.matches("<form").count(), 3, "signing out, looking up, and enrolling");
}

#[test]
fn a_member_sees_the_own_account_and_decides_on_it() {
    for (language, said) in [
        (
            Language::Chinese,
            ["可用积分", "金卡", "99 积分", "五元券", "接收优惠信息", "立即删除", "第 4 版"],
        ),
        (
            Language::English,
            [
                "Points to spend",
                "Gold",
                "99 points",
                "Five yuan off",
                "Offers made to you",
                "At once, and for good",
                "version 4",
            ],
        ),
    ] {
        let page = own_page(&own(), language).unwrap();
        for word in said.into_iter().chain(["4,711", "FS0****Z7EN", "0000-0000-0000-0000"]) {
            assert!(page.contains(word), "{word}\n{page}");
        }
        // a reward by its words, not by its name in the rules
        let towel = if language == Language::Chinese { "毛巾" } else { "Beach towel" };
        assert!(page.contains(towel) && !page.contains("towel_2"), "{page}");
        // what was agreed to, when, and to which notice
        let of_notice = match language {
            Language::Chinese => "2026-09-21，告知书第 3 版",
            Language::English => "2026-09-21, notice version 3",
        };
        let at_counter = staff_page(&counter(), language, &proof(), &PAGES).unwrap();
        assert!(page.contains(of_notice) && at_counter.contains(of_notice), "{page}{at_counter}");
        let exchange = &own().account.exchanges[0].id;
        assert!(page.contains(&format!("/my/exchanges/{exchange}/receipt")));
        assert_eq!(page.matches("/receipt\"").count(), 1, "what is under way has no receipt");
        assert_eq!(page.matches("name=\"granted\" value=\"no\"").count(), 1);
        assert_eq!(page.matches("name=\"granted\" value=\"yes\"").count(), 1);
        // a form for each of what a member does with other brands, each under a key of its own
        for key in ["k-exchange", "k-link", "k-code", "k-back-kids-5321"] {
            assert_eq!(page.matches(&format!("name=\"key\" value=\"{key}\"")).count(), 1, "{key}");
        }
        assert!(page.contains("K7M2Q4XW9P") && !page.contains("k-back-kids-5320"));
        assert!(page.contains("&#60;script") && !page.contains("<script"));
        // nothing of the console's: no page of it, no way to sign in to it
        assert!(!page.contains("href=\"/sign-in") && !page.contains("/partner"));
    }
    let held = OwnViews {
        account: OwnAccountView { on_hold: true, ..OwnAccountView::default() },
        ..OwnViews::default()
    };
    let page = own_page(&held, Language::English).unwrap();
    assert!(page.contains("keeps this account") && !page.contains("name=\"confirm\""));
}

fn user_views() -> UserViews {
    let person = samples::administration().people.remove(1);
    let (status, name) = (samples::status(), person.name.clone());
    let ticked =
        |role: Role| RoleBox { name: role.name(), is_ticked: person.roles.contains(&role) };
    let roles = Role::ALL.map(ticked).to_vec();
    UserViews { status, name, roles, person: Some(person), ..UserViews::default() }
}

fn draft_views() -> DraftViews {
    DraftViews {
        status: samples::status(),
        draft: samples::draft(),
        has_second_factor: true,
        ..DraftViews::default()
    }
}

#[test]
fn an_empty_node_has_a_page() {
    let page = status_page(&Status::default(), Language::Chinese, &proof(), false, &PAGES).unwrap();
    assert!(page.contains("还没有发布过联合查询结果"));
    assert!(!page.contains("http-equiv=\"refresh\""), "refreshing was turned off");
}

#[test]
fn pages_stand_under_the_strict_policy_and_for_screen_readers() {
    for (language, page) in pages() {
        let script = |name| format!("<script src=\"/{name}.js\" defer></script>");
        let own = ["console", "receipt", "partner"].map(script);
        let page = own.iter().fold(page, |page, script| page.replace(script, ""));
        for forbidden in [
            "<script",
            " style=",
            "<style",
            "onclick",
            "javascript:",
            "http://",
            "https://",
            "//cdn",
        ] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        assert!(page.contains(&format!("<html lang=\"{}\">", language.html_tag())));
        assert!(page.contains("<main id=\"main\">") && page.contains("<nav aria-label="));
        assert_eq!(page.matches("<h1").count(), 1);
        assert_eq!(page.matches("<table").count(), page.matches("<caption>").count());
        assert_eq!(page.matches("<svg").count(), page.matches("role=\"img\" aria-label=").count());
        // what is sent along, and the name that a password manager looks for
        let hidden = ["type=\"hidden\"", "readonly hidden>"].map(|it| page.matches(it).count());
        let fields = ["<input", "<select", "<textarea"].map(|field| page.matches(field).count());
        let labels = page.matches("<label for=").count();
        assert_eq!(fields.iter().sum::<usize>() - hidden.iter().sum::<usize>(), labels);
    }
}

/// Of several tabs, and to who listens, a title says which page it is (WCAG 2.2, 2.4.2).
#[test]
fn every_page_has_a_title_of_its_own() {
    let mut titles = std::collections::BTreeSet::new();
    for (language, page) in pages() {
        let title = page.split("<title>").nth(1).unwrap().split("</title>").next().unwrap();
        assert!(!title.contains("  ") && title.contains(" · "), "{title:?}");
        assert!(
            titles.insert((language.tag(), title.to_owned())),
            "{title:?} is that of two pages"
        );
    }
}

#[test]
fn the_style_sheet_loads_nothing() {
    assert!(!STYLE_SHEET.contains("url(") && !STYLE_SHEET.contains("@import"));
}
