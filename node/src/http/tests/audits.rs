//! The report of an audit on the officer's page: what is compared, who may bring one, and what is refused. And how
//! many members have agreed to what.

use super::*;

async fn brought(fixture: &Fixture, roles: &[Role], language: &str, report: &str) -> Answer {
    let client = fixture.client();
    let origin = format!("https://{}", client.address());
    let cookie = format!("__Host-session-grocer={}", fixture.auth.token_for(roles));
    let body = format!(
        "--bound\r\nContent-Disposition: form-data; name=\"report\"; filename=\"a\"\r\n\r\n{report}\r\n--bound--\r\n"
    );
    let headers = [
        ("cookie", cookie.as_str()),
        ("origin", origin.as_str()),
        ("content-type", "multipart/form-data; boundary=bound"),
    ];
    let path = format!("/officer/audit?lang={language}");
    client.send(Method::POST, &path, &headers, Some(body.into())).await.unwrap()
}

fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.to_vec()).unwrap()
}

fn report() -> serde_json::Value {
    let status = crate::console::samples::status();
    let head = |brand: &str, height: u64, header: &str, size: u64| {
        serde_json::json!({
            "log": brand, "height": height, "header": header.repeat(32), "size": size
        })
    };
    serde_json::json!({
        "alliance": status.alliance, "epoch": 1, "constitution": "00",
        "heads": [
            head("grocer", 412, "c4", 52_736),
            head("drug", 398, "00", 50_944),
            head("kids", 400, "c4", 50_000),
            head("home", 5, "c4", 60),
            head("nobody", 1, "c4", 1),
        ],
        "counts": {"logs": 5, "entries": 205_000},
        "findings": [{"log": "drug", "height": 398, "leaf": 50_943, "counterparty": null,
            "rule": "entry/altered", "message": "<script>"}],
        "findings_not_listed": 0, "resolved": [], "disclosures": [],
        "not_checked": [{"log": "kids", "reason": "sealed_without_key", "count": 4_711}],
        "budget": null,
    })
}

#[tokio::test]
async fn a_report_is_shown_beside_what_the_node_has_seen() {
    let fixture = Fixture::start();
    let report = report().to_string();
    for (language, said) in [
        (
            "en",
            [
                "Corning Drugstore: the copy that was audited",
                "are two logs",
                "this node has not come so far",
                "no log of this alliance",
                "not compared",
                "without the auditor&#39;s key",
            ],
        ),
        (
            "zh",
            [
                "康宁药房: 审计的副本",
                "是两个不同的日志",
                "本节点尚未到达该区块",
                "本联盟没有此日志",
                "无法比较",
                "没有审计方密钥",
            ],
        ),
    ] {
        let page = text(&brought(&fixture, &[Role::Officer], language, &report).await);
        for words in said {
            assert!(page.contains(words), "{words}: {page}");
        }
        for shown in ["entry/altered", "50,943", "4,711", "205,000"] {
            assert!(page.contains(shown), "{shown}");
        }
        assert!(page.contains("&#60;script") && !page.contains("<script>"), "{page}");
        // one log is another, and one is the same
        assert_eq!(page.matches("role=\"alert\"").count(), 1, "{page}");
        assert_eq!(page.matches(&"c4".repeat(32)).count(), 5, "{page}");
    }
    // looked at again, nothing of it is there
    let client = fixture.client();
    let cookie = format!("__Host-session-grocer={}", fixture.auth.token_for(&[Role::Officer]));
    let again = client.send(Method::GET, "/officer?lang=en", &[("cookie", &cookie)], None).await;
    assert!(!text(&again.unwrap()).contains("entry/altered"));
}

#[tokio::test]
async fn an_officer_counts_consents_when_that_is_asked_for() {
    let fixture = Fixture::start();
    let client = fixture.client();
    let cookie = format!("__Host-session-grocer={}", fixture.auth.token_for(&[Role::Officer]));
    let get = async |path: &str| {
        let got = client.send(Method::GET, path, &[("cookie", &cookie)], None).await.unwrap();
        text(&got)
    };
    let plain = get("/officer?lang=en").await;
    assert!(plain.contains("Count them") && !plain.contains("Never said"));
    // the member of the fixture has agreed to three purposes, and to no brand and no offers
    let row = |name: &str, given: u8, never: u8| {
        format!(
            "<th scope=\"row\">{name}</th><td class=\"number\">{given}</td><td class=\"number\">0</td><td class=\"number\">{never}</td>"
        )
    };
    let english = get("/officer?lang=en&consents=count").await;
    for row in [
        row("exchanges with other brands", 1, 0),
        row("offers", 0, 1),
        row("exchanges: data to Corning Drugstore", 0, 1),
    ] {
        assert!(english.contains(&row), "{row}: {english}");
    }
    let chinese = get("/officer?lang=zh&consents=count").await;
    assert!(chinese.contains(&row("多品牌加噪统计", 1, 0)), "{chinese}");
    // and to which notice, and when
    assert!(english.contains("<td>version 1: 1 (1970-01-01)</td>"), "{english}");
    assert!(chinese.contains("<td>第 1 版：1（1970-01-01）</td>"), "{chinese}");
}

#[tokio::test]
async fn what_is_no_report_of_this_alliance_is_refused_and_so_is_who_is_no_officer() {
    let fixture = Fixture::start();
    let other = {
        let mut report = report();
        report["alliance"] = "elsewhere".into();
        report.to_string()
    };
    let large = " ".repeat(multipart::FILES_BYTES_MAX);
    for (report, said) in [
        ("no findings", "this is no report of an audit (line 1"),
        ("", "no file was chosen"),
        (&other, "a report on the alliance elsewhere"),
        (&large, "a constitution or a report has at most 1 MiB"),
    ] {
        let page = text(&brought(&fixture, &[Role::Officer], "en", report).await);
        assert!(page.contains(said) && page.contains("role=\"alert\""), "{said}: {page}");
    }
    let refused = brought(&fixture, &[Role::Partner, Role::Store], "en", &other).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);

    let client = fixture.client();
    let cookie = format!("__Host-session-grocer={}", fixture.auth.token_for(&[Role::Officer]));
    let headers = [
        ("cookie", cookie.as_str()),
        ("origin", "https://elsewhere.example"),
        ("content-type", "multipart/form-data; boundary=bound"),
    ];
    let forged = client.send(Method::POST, "/officer/audit", &headers, Some("--bound--".into()));
    assert_eq!(code(&forged.await.unwrap()), "origin_foreign");
}

/// What was kept of an own audit and cannot be read takes no page away.
#[tokio::test]
async fn a_report_of_the_own_audit_that_cannot_be_read_takes_no_page_away() {
    let fixture = Fixture::start();
    let client = fixture.client();
    let cookie = format!("__Host-session-grocer={}", fixture.auth.token_for(&[Role::Officer]));
    let view = RunningAuditView { made_ms: Some(7), ..RunningAuditView::default() };
    for (kept, is_shown) in [(report().to_string(), true), ("{".to_owned(), false)] {
        fixture.audits.keep(view.clone(), Some(kept));
        for path in ["/officer?lang=en", "/officer/report?lang=en"] {
            let got = client.send(Method::GET, path, &[("cookie", &cookie)], None).await.unwrap();
            assert_eq!(got.status, StatusCode::OK, "{path}: {}", text(&got));
            assert_eq!(text(&got).contains("entry/altered"), is_shown, "{path}: {}", text(&got));
        }
    }
}

/// The node's own audit is asked for once at a time, by the officer, over the API and on the page.
#[tokio::test]
async fn the_nodes_own_audit_is_asked_for_and_told_of() {
    let fixture = Fixture::start();
    let officer = fixture.client_as(&[Role::Officer]);
    let start = async || officer.send(Method::POST, "/api/v1/audits", &[], None).await.unwrap();
    let none = officer.send(Method::GET, "/api/v1/audits/latest/report", &[], None).await.unwrap();
    assert_eq!((none.status, code(&none).as_str()), (StatusCode::NOT_FOUND, "audit_none"));
    let begun = start().await;
    assert_eq!(begun.status, StatusCode::ACCEPTED);
    assert_eq!(begun.headers["location"], "/api/v1/audits/latest");
    let again = start().await;
    assert_eq!((again.status, code(&again).as_str()), (StatusCode::CONFLICT, "audit_running"));
    let view: RunningAuditView = officer.get("/api/v1/audits/latest").await.unwrap();
    assert_eq!(view, RunningAuditView { running: true, ..RunningAuditView::default() });

    let client = fixture.client();
    let origin = format!("https://{}", client.address());
    let cookie = format!("__Host-session-grocer={}", fixture.auth.token_for(&[Role::Officer]));
    for (language, said) in [("en", "an audit is being made"), ("zh", "正在审计")] {
        let path = format!("/officer/own-audit?lang={language}");
        let headers = [("cookie", cookie.as_str()), ("origin", origin.as_str())];
        let page = client.send(Method::POST, &path, &headers, None).await.unwrap();
        assert!(text(&page).contains(said), "{}", text(&page));
        let foreign = [("cookie", cookie.as_str()), ("origin", "https://elsewhere.example")];
        let refused = client.send(Method::POST, &path, &foreign, None).await.unwrap();
        assert_eq!(code(&refused), "origin_foreign");
    }
}
