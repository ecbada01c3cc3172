//! Pages of the officer: witnesses, evidence, requests, breaches, and how the own audits went.

use super::*;

#[test]
fn an_officer_sees_how_the_witnesses_do() {
    for (language, said) in [
        (Language::Chinese, ["见证方状况", "规则 20", "未连接"]),
        (Language::English, ["How the witnesses do", "rule 20", "not connected"]),
    ] {
        let page = officer_page(&samples::officer(), language, &proof(), &PAGES).unwrap();
        for shown in said.into_iter().chain(["37 ms", "26 h"]) {
            assert!(page.contains(shown), "{shown}");
        }
        // and so does who reads the file
        let file = report_file(&samples::officer(), language, &proof()).unwrap();
        assert!(file.contains("37 ms") && !file.contains("<form"), "{file}");
    }
}

#[test]
fn an_officer_sees_whole_roots_evidence_and_rule_changes() {
    let views = samples::officer();
    let page = officer_page(&views, Language::English, &proof(), &PAGES).unwrap();
    for head in &views.status.heads {
        assert!(page.contains(&head.root), "the whole root of {}", head.brand);
    }
    for words in
        ["two headers at height 9", "2026-12-28", "grocer, drug", "current", "coalition audit"]
    {
        assert!(page.contains(words), "{words}");
    }
}

#[test]
fn a_report_file_stands_by_itself() {
    let views = samples::officer();
    for language in [Language::Chinese, Language::English] {
        let file = report_file(&views, language, &proof()).unwrap();
        for head in &views.status.heads {
            assert!(file.contains(&head.root), "the whole root of {}", head.brand);
        }
        // nothing that runs, nothing from anywhere else, and where a hand signs
        for forbidden in
            ["<script", "<link", "<img", " src=", "url(", "@import", "onclick", "href=\"http"]
        {
            assert!(!file.contains(forbidden), "{forbidden}");
        }
        assert!(file.contains("default-src &#39;none&#39;") || file.contains("default-src 'none'"));
        assert!(file.contains("________") && file.contains("@media print"));
        assert!(file.contains(&format!("<html lang=\"{}\"", language.html_tag())));
    }
}

#[test]
fn an_officer_sees_requests_operations_and_breaches_with_their_clocks() {
    let views = samples::records();
    for (language, said) in [
        (Language::Chinese, ["删除该会员", "已逾期", "大量读取会员: 4,000", "更早的记录"]),
        (
            Language::English,
            ["erase this member", "overdue", "members read in numbers: 4,000", "Older entries"],
        ),
    ] {
        let page = records_page(&views, language, &proof(), &PAGES).unwrap();
        for word in said {
            assert!(page.contains(word), "{word}");
        }
        for shown in ["before=91", "138****5678", "2026-09-21", "a lost phone", "name=\"request\""]
        {
            assert!(page.contains(shown), "{shown}");
        }
        assert!(page.contains("&#60;script") && !page.contains("role=\"alert\""));
        // a breach of which everybody was told has no form any more
        assert_eq!(page.matches("value=\"told\"").count(), 1);
    }
    let nothing = records_page(&RecordsViews::default(), Language::English, &proof(), &PAGES);
    assert!(nothing.unwrap().contains("No request is open."));
}

#[test]
fn an_officer_sees_how_the_nodes_own_audit_went_and_what_it_found() {
    let shown = |language, change: fn(&mut OfficerViews)| {
        let mut views = samples::officer();
        change(&mut views);
        officer_page(&views, language, &proof(), &PAGES).unwrap()
    };
    for (language, none, found) in [
        (Language::Chinese, "尚无结果。", "最近一次结果的内容"),
        (Language::English, "There is no result yet.", "What the last result says"),
    ] {
        assert!(shown(language, |_| ()).contains(none));
        let page = shown(language, |views| {
            views.running_audit.made_ms = Some(1_795_000_000_000);
            views.running_audit.took_ms = 61_000;
            views.running_audit.findings = 1;
            views.running_audit.failed = Some("log kids: <b>".to_owned());
            let finding = AuditFindingView {
                log: "drug".to_owned(),
                height: Some(7),
                entry: None,
                rule: "tree/root".to_owned(),
                message: "<script>".to_owned(),
            };
            let findings = vec![finding];
            let openings = AddedUpView { answers: 1_204, added_up: 1_203, unreadable: 1 };
            views.running_audit.openings = openings;
            let openings = Some(AddedUpView { answers: 7, added_up: 7, unreadable: 0 });
            views.own_audit = Some(AuditView { findings, openings, ..AuditView::default() });
        });
        for said in
            [found, "2026-11-18", "61 s", "✕ 1", "&#60;b&#62;", "tree/root", "&#60;script&#62;"]
        {
            assert!(page.contains(said), "{said}");
        }
        // what was added up again of answers, in the result and in its report
        let (missing, damaged) = match language {
            Language::Chinese => ("未核验）；", "1 个公开值文件已损坏"),
            Language::English => ("not checked); ", "1 damaged files of openings"),
        };
        for said in ["1,203 / 1,204", missing, damaged, "7 / 7"] {
            assert!(page.contains(said), "{said}");
        }
        assert!(page.contains("/officer/own-audit?lang="), "another can be asked for");
    }
    // and so does who reads the report that is signed and filed
    for (language, none, said) in [
        (Language::Chinese, "尚无结果。", "最近一次结果"),
        (Language::English, "There is no result yet.", "The last result is of"),
    ] {
        let mut views = samples::officer();
        let file = report_file(&views, language, &proof()).unwrap();
        assert!(file.contains(none) && !file.contains(said), "{file}");
        views.running_audit.made_ms = Some(1_795_000_000_000);
        views.running_audit.findings = 1_234;
        views.running_audit.openings = AddedUpView { answers: 45, added_up: 41, unreadable: 0 };
        let finding = AuditFindingView {
            log: "drug".to_owned(),
            height: Some(7),
            entry: None,
            rule: "tree/root".to_owned(),
            message: "<script>".to_owned(),
        };
        let findings = vec![finding];
        let audit = AuditView { findings, findings_not_listed: 1_233, ..AuditView::default() };
        views.own_audit = Some(audit);
        let file = report_file(&views, language, &proof()).unwrap();
        for said in
            [said, "2026-11-18", "1,234", "41 / 45", "(+1,233)", "tree/root", "&#60;script&#62;"]
        {
            assert!(file.contains(said), "{said}: {file}");
        }
        assert!(!file.contains(none) && !file.contains("<script"), "{file}");
    }
    // who is suspended from joint questions, and what a draft changes, in words
    for (language, said) in [
        (Language::Chinese, ["已暂停：未公开所认证的内容", "兑换比率由 1/2 改为 2/5"]),
        (Language::English, ["suspended: did not open", "rate 1/2 becomes 2/5"]),
    ] {
        let page = shown(language, |_| ());
        for word in said {
            assert!(page.contains(word), "{word}");
        }
        assert!(page.contains(&"9b".repeat(16)));
    }
    let running = shown(Language::English, |views| {
        views.running_audit = RunningAuditView {
            running: true,
            logs: 2,
            logs_all: 5,
            entries: 1_200,
            entries_all: 7_000,
            ..RunningAuditView::default()
        };
    });
    assert!(running.contains("2 / 5") && running.contains("1,200 / 7,000"), "{running}");
    assert!(!running.contains("/officer/own-audit"), "one at a time");
}
