//! Pages of the programme's manager and of who reviews.

use super::*;

#[test]
fn a_manager_sees_rules_liability_expiry_and_corrections() {
    for (language, said) in [
        (Language::Chinese, ["每消费 1 元得 1 积分。", "长期有效", "经同意记账 wang", "何时到期"]),
        (
            Language::English,
            [
                "1 point for each yuan",
                "never",
                "booked with the consent of wang",
                "When points expire",
            ],
        ),
    ] {
        let page = programme_page(&programme(), language, &proof(), &PAGES).unwrap();
        for word in said {
            assert!(page.contains(word), "{word}");
        }
        for figure in ["1,234,567", "12,345.67", "3.7%", "−4,321", "−600", "\n1,000\n", "\n500\n"]
        {
            assert!(page.contains(figure), "{figure}");
        }
        assert!(page.contains("&#60;script") && !page.contains("role=\"alert\""));
    }
    let wrong = ProgrammeViews {
        report: ProgrammeReportView { differences: 1, ..ProgrammeReportView::default() },
        ..ProgrammeViews::default()
    };
    let page = programme_page(&wrong, Language::English, &proof(), &PAGES).unwrap();
    assert!(page.contains("The books do not balance"));
}

#[test]
fn a_manager_sees_what_a_change_of_rules_needs_before_it_is_proposed() {
    for (language, said) in [
        (Language::Chinese, ["须公告", "最早生效", "4,321", "2026-09-21", "原为：365 天"]),
        (
            Language::English,
            ["needs notice", "at the earliest", "4,321", "2026-09-21", "Was: 365 days"],
        ),
    ] {
        let page = rules_page(&rules(), language, &proof(), &PAGES).unwrap();
        for word in said {
            assert!(page.contains(word), "{word}");
        }
        assert!(page.contains("&#60;script") && page.matches("</textarea>").count() == 1);
    }
}

#[test]
fn a_manager_sees_how_many_are_in_a_segment_and_how_groups_of_a_campaign_do() {
    for (language, said) in [
        (
            Language::Chinese,
            ["25.0%", "30 天未消费", "1,000.00", "多在晚上", "共 2,000 名会员中有 7 名"],
        ),
        (
            Language::English,
            [
                "25.0%",
                "no purchase for 30 days",
                "1,000.00",
                "in the evening",
                "7 of 2,000 members",
            ],
        ),
    ] {
        let page = segments_page(&segments(), language, &proof(), &PAGES).unwrap();
        for word in said {
            assert!(page.contains(word), "{word}");
        }
        assert_eq!(
            page.matches("value=\"drop\"").count(),
            1,
            "the rules' own are not dropped here"
        );
        assert_eq!(page.matches(" selected").count(), 2, "tier and hours of the draft");
    }
    for (language, said) in [
        (Language::Chinese, ["十元券", "对照（无）", "进行中", "已结束"]),
        (Language::English, ["Ten off", "nothing: control", "running", "ended"]),
    ] {
        let page = campaigns_page(&campaigns(), language, &proof(), &PAGES).unwrap();
        let figures = ["30.0%", "+10.0 [−2.1, +21.7]", "12.34", "41 / 100"];
        // how many were left out, and nobody who
        let left_out = ["4,711", "win_back", "58"];
        for word in said.into_iter().chain(figures).chain(left_out) {
            assert!(page.contains(word), "{word}");
        }
        assert_eq!(page.matches("value=\"end\"").count(), 1, "what has ended is not ended again");
    }
}

#[test]
fn who_reviews_sees_cases_reasons_corrections_and_requests() {
    for (language, said) in [
        (Language::Chinese, ["同一设备", "停用", "已逾期", "待第二人同意", "不能支出或兑换"]),
        (
            Language::English,
            ["one device", "stopped", "overdue", "second person", "held for review"],
        ),
    ] {
        let page = reviews_page(&reviews(), language, &proof(), &PAGES).unwrap();
        for word in said.into_iter().chain(["FS0****Z7EN", "one phone", "eva", "−600", "complaint"])
        {
            assert!(page.contains(word), "{word}");
        }
        assert!(page.contains("&#60;img") && !page.contains("<img"));
    }
}
