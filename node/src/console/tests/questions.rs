//! Pages of the analyst: what a question costs, its step and its answer.

use super::*;

#[test]
fn an_analyst_sees_cost_and_error_before_anything_is_spent() {
    let views = samples::questions();
    for (language, said) in [
        (Language::Chinese, ["花费与预期误差", "噪声与数值相当", "活跃会员", "购买日期"]),
        (
            Language::English,
            [
                "Cost and expected error",
                "as much noise as answer",
                "Active members",
                "day of purchase",
            ],
        ),
    ] {
        let page = questions_page(&views, language, &proof(), &PAGES).unwrap();
        for word in said {
            assert!(page.contains(word), "{word}");
        }
        // 0.5 less 0.0625 spent and 0.03125 reserved
        for figure in [
            "0.005",
            "±412",
            "±1,013",
            "8,240",
            "0.0125",
            "value=\"pla9\"",
            "<strong>0.40625</strong>",
        ] {
            assert!(page.contains(figure), "{figure}\n{page}");
        }
        assert!(page.contains("a &#60; b") && !page.contains("a < b"));
        assert_eq!(page.matches(" selected").count(), 2, "who answers, and a template's default");
    }
    let page = questions_page(&views, Language::English, &proof(), &PAGES).unwrap();
    // values are offered as SQL has them, each with its column
    for word in ["&#39;DAIRY&#39;\tdepartment\n", "&#39;LET&#39;&#39;S EAT&#39;\tdepartment\n"] {
        assert!(page.contains(word), "{word:?}\n{page}");
    }
    // what was asked before, in one line, when and by whom, what came of it, and the way back to it
    let id = &views.answers[0].id;
    for shown in [
        "AS half_year, count(*) FROM b</code>".to_owned(),
        " UTC · lin</small>".to_owned(),
        "<td>released</td><td class=\"number\">0.0625</td><td class=\"number\">1.9</td>".to_owned(),
        format!("href=\"/questions?again={id}&amp;lang=en\""),
        format!("href=\"/questions/{id}/parquet\""),
    ] {
        assert!(page.contains(&shown), "{shown}\n{page}");
    }
    let mut others = samples::questions();
    let lacking = QueryView {
        sql: None,
        asked_ms: None,
        asked_by: None,
        release: None,
        step: "reading".to_owned(),
        charged_pico_rho: 5_000_000_000,
        ..samples::answered()
    };
    let long = QueryView { sql: Some("雪 ".repeat(500)), ..lacking.clone() };
    others.answers = vec![lacking, long];
    let page = questions_page(&others, Language::English, &proof(), &PAGES).unwrap();
    assert_eq!(page.matches("<td>under way</td>").count(), 2, "{page}");
    assert_eq!((page.matches("again=").count(), page.matches("/parquet").count()), (1, 0));
    assert!(page.contains("雪 雪…") || page.contains("雪 …"), "{page}");
    let refused = QuestionsViews {
        problem: Some("no column brnd: it is brand".to_owned()),
        plan: None,
        ..samples::questions()
    };
    let page = questions_page(&refused, Language::English, &proof(), &PAGES).unwrap();
    assert!(page.contains("it is brand") && !page.contains("name=\"plan\""));
}

#[test]
fn a_question_shows_its_step_and_then_its_answer() {
    let status = samples::status();
    let page = |query: &QueryView, refresh| {
        question_page(&status, query, Language::English, refresh, &proof(), &PAGES).unwrap()
    };
    let answered = page(&samples::answered(), true);
    assert!(
        answered.contains("11,873") && answered.contains("/parquet") && answered.contains("<svg")
    );
    assert!(!answered.contains("http-equiv=\"refresh\""), "it has ended");
    // what was asked is there as it was written
    assert!(answered.contains("AS half_year,\n count(*)") && answered.contains(" UTC · lin"));
    assert_eq!(answered.matches("✓").count(), 3);
    let waiting = QueryView { step: "committing".to_owned(), release: None, ..samples::answered() };
    let shown = page(&waiting, true);
    assert!(shown.contains("http-equiv=\"refresh\"") && shown.contains("aria-current=\"step\""));
    assert_eq!(shown.matches("✓").count(), 1);
    assert!(!page(&waiting, false).contains("http-equiv=\"refresh\""));
    let void = QueryView {
        step: "void".to_owned(),
        reason: Some("<b>kids</b> stayed away".to_owned()),
        ..waiting
    };
    assert!(page(&void, true).contains("nothing was released: &#60;b&#62;kids"));
}
