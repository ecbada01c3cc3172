//! The pages of figures: what staff sees, and what is left to the file.

use super::*;

pub(super) fn sample() -> FiguresViews {
    let row = |name: &str, sales_fen, members, new_members| PeriodRow {
        name: name.to_owned(),
        sales_fen,
        baskets: 2,
        members,
        new_members,
    };
    let stores = (0..31).map(|store| row(&format!("store <{store}>"), 100, 1, None)).collect();
    FiguresViews {
        status: samples::status(),
        from: "2017-03-27".to_owned(),
        to: "2017-04-09".to_owned(),
        figures: Some(PeriodFiguresView {
            from: "2017-03-27".to_owned(),
            to: "2017-04-09".to_owned(),
            total: row("", 1_234_567, 3, Some(2)),
            steps: vec![
                row("2017-03-27", 1_234_500, 2, Some(2)),
                row("2017-04-03", 67, 1, Some(0)),
            ],
            stores,
            channels: vec![row("", 1_234_567, 3, None)],
            departments: vec![row("DAIRY", 1_234_567, 3, None)],
            ..PeriodFiguresView::default()
        }),
        dashboards: samples::questions().templates,
        programme: Some((programme().report, campaigns().campaigns)),
        ..FiguresViews::default()
    }
}

pub(super) fn dashboard() -> DashboardViews {
    let row = |month: &str, members: &str| vec![month.to_owned(), members.to_owned()];
    DashboardViews {
        status: samples::status(),
        template: samples::questions().templates.into_iter().next(),
        figures: Some(FiguresView {
            columns: row("month", "active_members"),
            keys: 1,
            rows: vec![row("1", "4711"), row("2", "12"), row("3", "<i>")],
            note: words("仅供内部使用", "Not to be passed on"),
            ..FiguresView::default()
        }),
        ..DashboardViews::default()
    }
}

#[test]
fn staff_sees_figures_and_charts_and_the_rest_is_a_file() {
    for (language, said) in [
        (Language::Chinese, ["本品牌数据", "首购会员数", "未注明", "仅显示前 30 项"]),
        (
            Language::English,
            ["Figures of this brand", "For the first time", "not known", "The first 30"],
        ),
    ] {
        let page = figures_page(&sample(), language, &proof(), &PAGES).unwrap();
        for word in said {
            assert!(page.contains(word), "{word}");
        }
        let file = "/figures/csv?from=2017-03-27&amp;to=2017-04-09&amp;by=week";
        // sales, an average basket, points that expired, the file
        for figure in ["12,345.67", "6,172.83", "4,321", file] {
            assert!(page.contains(figure), "{figure}");
        }
        assert_eq!(page.matches("<svg").count(), 5, "two trends, three parts");
        assert!(page.contains("store &#60;0&#62;") && !page.contains("store <"));
        assert!(!page.contains("store &#60;30&#62;"), "beyond what is shown");
    }
    // who may not see the programme has no part of it, and a problem is told
    let views = FiguresViews {
        programme: None,
        figures: None,
        problem: Some("a day of the period is no day".to_owned()),
        ..sample()
    };
    let page = figures_page(&views, Language::English, &proof(), &PAGES).unwrap();
    assert!(page.contains("role=\"alert\"") && page.contains("is no day"));
    assert!(!page.contains("points-title") && !page.contains("<svg"));
}

/// The other language is of the same period and the same parameters; nothing else of the address is kept.
#[test]
fn the_language_switch_keeps_what_is_shown() {
    let page = figures_page(&sample(), Language::English, &proof(), &PAGES).unwrap();
    let link = "href=\"/figures?lang=zh&#38;from=2017-03-27&#38;to=2017-04-09&#38;by=week\"";
    assert!(page.contains(link), "{page}");
    // what was typed and is no day stands in it as one value
    let views = FiguresViews { from: "\"&by=<b> 年".to_owned(), ..sample() };
    let page = figures_page(&views, Language::Chinese, &proof(), &PAGES).unwrap();
    let link = "href=\"/figures?lang=en&#38;from=%22%26by%3D%3Cb%3E%20%E5%B9%B4&#38;to=2017-04-09";
    assert!(page.contains(link), "{page}");
    let parameters = [("department", "DAIRY & EGGS"), ("stranger", "1")];
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let views = DashboardViews { parameters, ..dashboard() };
    let id = &views.template.as_ref().unwrap().id;
    let page = dashboard_page(&views, Language::English, &proof(), &PAGES).unwrap();
    let path = format!("href=\"/figures/dashboards/{id}?lang=zh");
    let link = format!("{path}&#38;parameter.department=DAIRY%20%26%20EGGS\"");
    assert!(page.contains(&link), "{page}");
}

#[test]
fn a_dashboard_has_its_parameters_its_values_and_a_file() {
    let page = dashboard_page(&dashboard(), Language::English, &proof(), &PAGES).unwrap();
    let values = "<td>1</td><td class=\"number\">4711</td>";
    assert!(page.contains("Not to be passed on") && page.contains(values));
    assert!(page.contains("&#60;i&#62;") && !page.contains("<i>"));
    assert!(page.contains("name=\"parameter.department\"") && page.contains("/csv\""));
    // a value that is no number is in the table alone, and two months are no trend
    assert_eq!((page.matches("<svg").count(), page.matches("<rect").count()), (1, 2));
    let problem = Some("there is none".to_owned());
    let unknown = DashboardViews { problem, ..DashboardViews::default() };
    let page = dashboard_page(&unknown, Language::English, &proof(), &PAGES).unwrap();
    assert!(page.contains("there is none") && !page.contains("<table"));
}
