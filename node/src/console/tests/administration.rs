//! Pages of the administrator: users, keys, backups, constitutions and drafts of the next.

use super::*;

#[test]
fn an_administrator_sees_users_keys_backup_and_constitutions() {
    let views = samples::administration();
    for (language, said) in [
        (Language::Chinese, ["必须设置", "缺少，先取得文件", "最近一次已完成", "正常"]),
        (
            Language::English,
            ["must be set up", "missing: get the file", "the latest is complete", "in order"],
        ),
    ] {
        let page = administration_page(&views, language, &proof(), &PAGES).unwrap();
        for word in said {
            assert!(page.contains(word), "{word}");
        }
        for shown in [
            "officer, analyst",
            "3 / 4",
            "52,736",
            "&#60;/var&#62;",
            "rotate_vault_key",
            "value=\"end_sessions\"",
            // the database password's, the certificate's, the first authority's and the shown one's last day
            "2026-09-21",
            "2027-01-15",
            "2026-11-18",
            "2027-05-11",
        ] {
            assert!(page.contains(shown), "{shown}");
        }
        assert_eq!(page.matches("必须设置").count() + page.matches("must be set up").count(), 1);
    }
    let import = ImportView {
        failed: Some("<away>: cannot be read".to_owned()),
        failed_zh: Some("<away>：无法读取".to_owned()),
        mapping: "till".to_owned(),
        dropped: vec![DroppedRows {
            file: "<lines>".to_owned(),
            code: "negative".to_owned(),
            reason: "a quantity is negative".to_owned(),
            reason_zh: "数量为负".to_owned(),
            rows: 4_711,
            remedy: "say how refunds are told".to_owned(),
            remedy_zh: "说明如何标明退货".to_owned(),
        }],
        adjusted: vec![AdjustedRows {
            what: "counts as one piece".to_owned(),
            what_zh: "按一件计".to_owned(),
            ..AdjustedRows::default()
        }],
        rejected: vec!["<lines>, row 7: is empty".to_owned()],
        rejected_zh: vec!["<lines>，第 7 条：为空".to_owned()],
        ..ImportView::default()
    };
    let imported = AdministrationViews { import, ..AdministrationViews::default() };
    let page = |language| administration_page(&imported, language, &proof(), &PAGES).unwrap();
    let (chinese, english) = (page(Language::Chinese), page(Language::English));
    for (zh, en) in [
        ("&#62;：无法读取", "&#62;: cannot be read"),
        ("数量为负", "a quantity is negative"),
        ("说明如何标明退货", "say how refunds are told"),
        ("按一件计", "counts as one piece"),
        ("第 7 条：为空", "row 7: is empty"),
    ] {
        assert!(chinese.contains(zh) && !chinese.contains(en), "{zh}: {chinese}");
        assert!(english.contains(en) && !english.contains(zh), "{en}: {english}");
    }
    assert!(chinese.contains("4,711") && !chinese.contains("<lines>"), "{chinese}");
    let empty = AdministrationViews {
        rotation: RotationView { rotating: true },
        ..AdministrationViews::default()
    };
    let page = administration_page(&empty, Language::English, &proof(), &PAGES).unwrap();
    assert!(page.contains("none was made here yet") && page.contains("being rotated"));
    assert!(!page.contains("value=\"rotate_vault_key\""), "one is under way");
}

#[test]
fn a_user_has_a_page_with_what_changes_it_and_a_password_only_when_it_was_made() {
    let shown = |language, change: fn(&mut UserViews)| {
        let mut views = user_views();
        change(&mut views);
        user_page(&views, language, &proof(), &PAGES).unwrap()
    };
    for (language, said) in [
        (Language::Chinese, ["移除用户", "合规、会员请求与台账", "取消第二因素"]),
        (
            Language::English,
            ["Remove the user", "asks joint questions", "Take the second factor away"],
        ),
    ] {
        let page = shown(language, |_| ());
        for word in said {
            assert!(page.contains(word), "{word}");
        }
        assert!(page.contains("name=\"officer\" type=\"checkbox\" value=\"on\" checked"), "{page}");
        assert!(page.contains("name=\"store\" type=\"checkbox\" value=\"on\">"), "{page}");
        assert!(!page.contains("class=\"code\"") && !page.contains("one-time-code"));
    }
    let made = shown(Language::English, |views| {
        views.password = Some(MadePassword("abcd".to_owned().into()));
        views.has_second_factor = true;
    });
    assert!(
        made.contains("<strong class=\"code\">abcd</strong>") && made.contains("one-time-code")
    );
    let views = UserViews {
        password: Some(MadePassword("abcd".to_owned().into())),
        ..UserViews::default()
    };
    assert!(!format!("{views:?}").contains("abcd"), "not where it is logged");
    let nobody = shown(Language::English, |views| {
        views.name = "<b>".to_owned();
        views.person = None;
    });
    assert!(nobody.contains("There is no such user.") && nobody.contains("&#60;b&#62;"));
    assert!(!nobody.contains("value=\"remove\""));
}

#[test]
fn a_draft_is_read_in_one_language_and_signed_and_decided_on_where_that_can_be() {
    for (language, said, not) in [
        (
            Language::Chinese,
            ["兑换比率由 1/2 改为 2/5", "隐私预算", "加入", "退出", "不通过"],
            "rate 1/2 becomes",
        ),
        (
            Language::English,
            ["rate 1/2 becomes 2/5", "Privacy budget", "joins", "leaves", "declines it"],
            "兑换比率由",
        ),
    ] {
        let page = draft_page(&draft_views(), language, &proof(), &PAGES).unwrap();
        for word in said {
            assert!(page.contains(word), "{word}");
        }
        assert!(!page.contains(not), "{not}: the other language's words");
        for shown in [
            "drug &#60;shop&#62;",
            "value=\"sign\"",
            "value=\"adopt\"",
            "value=\"decline\"",
            "value=\"remove\"",
            "1 / 4",
            "2 / 4",
            "id=\"sign-code\"",
            "id=\"decide-code\"",
            "enctype=\"multipart/form-data\"",
            "coalition constitution sign",
        ] {
            assert!(page.contains(shown), "{shown}");
        }
        // what is of one topic stands together: one heading for two rates
        assert_eq!(page.matches("<h3>").count(), 2);
        let list = administration_page(&samples::administration(), language, &proof(), &PAGES);
        assert!(
            list.unwrap().contains(&format!("/administration/drafts/{}?lang", "b2".repeat(32)))
        );
    }
    let shown = |change: fn(&mut DraftViews)| {
        let mut views = draft_views();
        change(&mut views);
        draft_page(&views, Language::English, &proof(), &PAGES).unwrap()
    };
    let others = shown(|views| views.draft.has_own_keys = false);
    assert!(!others.contains("value=\"sign\"") && others.contains("cannot sign it"));
    let unsigned = shown(|views| views.draft.state = "unsigned".to_owned());
    assert!(!unsigned.contains("value=\"adopt\"") && unsigned.contains("that joins has signed"));
    let decided = shown(|views| {
        views.draft.state = "taken".to_owned();
        views.draft.brands[0].stance = Some("adopted".to_owned());
        views.draft.brands[0].signed = true;
    });
    for gone in ["adopt", "sign", "remove"] {
        assert!(!decided.contains(&format!("value=\"{gone}\"")), "{gone}");
    }
    assert!(!shown(|views| views.has_second_factor = false).contains("one-time-code"));
    let problem = shown(|views| views.problem = Some("<b>".to_owned()));
    assert!(problem.contains("role=\"alert\">&#60;b&#62;"), "{problem}");
    assert!(shown(|views| views.draft.changes.clear()).contains("Nothing but its number"));
}
