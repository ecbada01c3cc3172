//! Questions about members themselves and about their purchases by what is known of them, over real nodes.

use std::fmt::Write as _;
use std::path::Path;

use alliance_config::sample_alliance::{PILOT_TABLES, SETTINGS};
use node::service::*;

use super::alliance::{Alliance, eventually};

async fn asked(node: &Node, sql: &str, scope: Scope, pico_rho: u64) -> (PlanView, QueryView) {
    let question = Question {
        sql: sql.to_owned(),
        scope: Some(scope),
        pico_rho: Some(pico_rho),
        ..Question::default()
    };
    let plan = node.plan(question.clone()).await.unwrap();
    let id = node.query(question, plan.plan.clone()).await.unwrap().id;
    let mut view = QueryView::default();
    eventually("the question ends", async || {
        view = node.query_by_id(id.clone()).await.unwrap();
        ["released", "void"].contains(&view.step.as_str())
    })
    .await;
    assert_eq!(view.step, "released", "{sql}: {:?}", view.reason);
    (plan, view)
}

/// Exact figures by group, whose own words for what is not declared are gathered under OTHER as the clean room does.
async fn exact(node: &Node, template: &str, declared: &[String]) -> Vec<(String, f64)> {
    let figures = node.figures(template.to_owned(), Vec::new()).await.unwrap();
    let mut all: Vec<(String, f64)> = declared.iter().map(|name| (name.clone(), 0.0)).collect();
    for row in &figures.rows {
        let at = declared.iter().position(|name| *name == row[0]).unwrap_or(declared.len() - 1);
        all[at].1 += row[1].parse::<f64>().unwrap();
    }
    all
}

fn compare(release: &ReleaseView, exact: &[(String, f64)], sigma: f64) {
    assert_eq!(release.rows.len(), exact.len(), "{release:?}");
    for (row, (name, exact)) in release.rows.iter().zip(exact) {
        assert_eq!(&row.keys, std::slice::from_ref(name));
        assert!((row.values[0] - exact).abs() <= 7.0 * sigma, "{exact} {sigma} {row:?}");
    }
}

const BY_AGE: &str =
    "SELECT age_band, count(distinct member) AS members FROM members GROUP BY age_band";
const SALES: &str = "SELECT m.age_band, sum(p.amount_fen) AS sales_fen FROM purchases AS p \
                     JOIN members AS m ON p.member = m.member GROUP BY m.age_band";

#[tokio::test(flavor = "multi_thread")]
async fn members_are_asked_of_real_nodes_and_who_withdraws_is_out_of_the_next_question() {
    let ids = alliance_config::sample::BRANDS.map(|brand| brand.id);
    let alliance = Alliance::of(&ids, &format!("{SETTINGS}\n{PILOT_TABLES}")).await;
    for brand in &alliance.brands {
        alliance.import(brand.as_str()).await;
    }
    let node = alliance.node("health_home");
    let datasets = node.datasets().await.unwrap();
    let table = datasets[0].tables.iter().find(|table| table.name == "members").unwrap();
    let ages = table.columns.iter().find(|column| column.name == "age_band").unwrap();
    let mut bands: Vec<String> =
        ages.values.iter().map(|value| value.value.clone()).filter(|it| it != "OTHER").collect();
    assert_eq!((bands.len(), bands[0].as_str()), (6, "19-24"));
    bands.push("OTHER".to_owned());

    // one brand about its own: exactly for its staff, noised for its analysts
    let truth = exact(&node, "members-by-age", &bands).await;
    let people: f64 = truth.iter().map(|(_, members)| members).sum();
    assert_eq!(people, 294.0, "every member of the file, whether or not there are purchases");
    let total = node.figures("member-total".to_owned(), Vec::new()).await.unwrap();
    assert!(total.rows == [["294"]]);
    let (plan, view) = asked(&node, BY_AGE, Scope::Local, 3_000_000_000).await;
    compare(&view.release.unwrap(), &truth, plan.sigma[0].sigma);
    let sales = exact(&node, "sales-by-age", &bands).await;
    let (plan, view) = asked(&node, SALES, Scope::Local, 3_000_000_000).await;
    // what clipping takes away comes beside the noise: nobody's sums go beyond the bound
    let release = view.release.unwrap();
    assert_eq!(release.rows.len(), bands.len());
    for (row, (_, exact)) in release.rows.iter().zip(&sales) {
        assert!(row.values[0] <= exact + 7.0 * plan.sigma[0].sigma, "{exact} {row:?}");
    }

    // all brands together, whose members these are as memberships
    let mut all: Vec<(String, f64)> = bands.iter().map(|name| (name.clone(), 0.0)).collect();
    for brand in &alliance.brands {
        let theirs = exact(&alliance.node(brand.as_str()), "members-by-age", &bands).await;
        for (sum, (_, members)) in all.iter_mut().zip(theirs) {
            sum.1 += members;
        }
    }
    let (plan, view) = asked(&node, BY_AGE, Scope::Joint, 4_000_000_000).await;
    let release = view.release.unwrap();
    compare(&release, &all, plan.sigma[0].sigma);
    // the same question again is the same answer, for nothing
    let (again, same) = asked(&node, BY_AGE, Scope::Joint, 4_000_000_000).await;
    assert_eq!((again.cost_pico_rho, &same.id), (0, &view.id));

    // who withdraws is out of the next question
    let cards = node.cards(0, None, 1_000).await.unwrap();
    assert!(cards.len() >= 200, "{}", cards.len());
    for card in cards.iter().take(200) {
        let request = ConsentRequest {
            purpose: "joint_analytics".into(),
            granted: false,
            notice_version: 1,
            ..ConsentRequest::default()
        };
        node.decide("ann", card.clone(), request).await.unwrap();
    }
    let (plan, view) =
        asked(&node, "SELECT count(*) AS members FROM members", Scope::Local, 3_000_000_000).await;
    let value = view.release.unwrap().rows[0].values[0];
    let sigma = plan.sigma[0].sigma;
    assert!((value - (people - 200.0)).abs() <= 7.0 * sigma && 14.0 * sigma < 200.0, "{value}");
    // and stays a member for the brand's own staff
    assert_eq!(exact(&node, "members-by-age", &bands).await, truth);
}

const MAPPING: &str = r#"
format = "coalition import 1"
name = "stores"

[members]
files = ["members.csv"]
[members.columns]
card = "card"
[members.consent]
source = "sample_rule"
notice_version = 1
because = "Made up for a test."
programme = { default = "granted" }
joint_analytics = { default = "granted" }

[purchases]
files = ["purchases.csv"]
time_zone = "Asia/Shanghai"
channel = "store"
basket = "basket"
line = "line"
member = "card"
purchased_at = "at"
department_always = "GROCERY"
quantity = "quantity"
amount = "fen"
currency = "CNY"
fen_per_unit = 1
store = "shop"
region = "city"
hour = true
"#;

/// What a mapping adds for electronic cards.
const SHOWN: &str =
    "\n[purchases.electronic_card]\ncolumn = \"shown\"\nvalues = [\"app\", \"wallet\"]\n";
/// The column of a contract for it, which the sample's data do not have.
const CARD_COLUMN: &str = "[[clean_room.tables.columns]]\nkind = \"integer\"\nname = \"electronic_card\"\n\
                           unit = \"cards\"\nminimum = 0\nmaximum = 1\n";

/// Imports these files from a folder that is made for them.
async fn import(node: &Node, folder: &Path, mapping: &str, members: &str, purchases: &str) {
    std::fs::create_dir(folder).unwrap();
    std::fs::write(folder.join("members.csv"), members).unwrap();
    std::fs::write(folder.join("purchases.csv"), purchases).unwrap();
    let path = folder.to_str().unwrap().to_owned();
    node.import(ImportSource::Folder { path, mapping: mapping.to_owned() }).await.unwrap();
    eventually("the import ends", async || {
        let view = node.import_progress().await.unwrap();
        assert_eq!(view.failed, None);
        view.done
    })
    .await;
}

/// A brand's regions, stores and hours: exactly for its staff, noised for its analysts, and of no use to joint
/// questions, since no other brand has its stores. Electronic cards: of the brand beside all, from the mapping's column
/// to both answers.
#[tokio::test(flavor = "multi_thread")]
async fn stores_and_hours_are_asked_of_a_real_node() {
    const EACH: u32 = 500;
    let ids = alliance_config::sample::BRANDS.map(|brand| brand.id);
    let alliance = Alliance::of(&ids, &format!("{SETTINGS}\n{CARD_COLUMN}{PILOT_TABLES}")).await;
    let node = alliance.node("grocer_one");
    let folder = alliance.folder.path().join("stores");
    let mut members = "card\n".to_owned();
    let mut purchases = "basket,line,card,at,quantity,fen,shop,city,shown\n".to_owned();
    let shops = [("N1", "NORTH", "app"), ("N2", "NORTH", "wallet"), ("S1", "SOUTH", "plastic")];
    for number in 0..3 * EACH {
        let (shop, city, shown) = shops[(number / EACH) as usize];
        let hour = 9 + number / EACH;
        writeln!(members, "C{number}").unwrap();
        writeln!(
            purchases,
            "B{number},1,C{number},2017-05-05 {hour:02}:30:00,1,1000,{shop},{city},{shown}"
        )
        .unwrap();
    }
    let telling = format!("{MAPPING}{SHOWN}");
    import(&node, &folder, &telling, &members, &purchases).await;

    let figures = node.figures("sales-by-region".to_owned(), Vec::new()).await.unwrap();
    let each = u64::from(EACH);
    let row = |region: &str, stores: u64| {
        let (fen, members) = (stores * each * 1_000, stores * each);
        [region.to_owned(), "2".to_owned(), fen.to_string(), members.to_string()].to_vec()
    };
    assert_eq!(figures.rows, [row("NORTH", 2), row("SOUTH", 1)]);
    let figures = node.figures("stores-of-region".to_owned(), Vec::new()).await.unwrap();
    let stores: Vec<&str> = figures.rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(stores, ["N1", "N2"]);

    let by_store = "SELECT store, count(distinct member) AS members FROM purchases GROUP BY store";
    let (plan, view) = asked(&node, by_store, Scope::Local, 6_000_000_000).await;
    let of = f64::from(EACH);
    let exact = [("N1", of), ("N2", of), ("S1", of), ("OTHER", 0.0)];
    let exact: Vec<(String, f64)> =
        exact.iter().map(|(name, members)| ((*name).to_owned(), *members)).collect();
    compare(&view.release.unwrap(), &exact, plan.sigma[0].sigma);
    assert!(7.0 * plan.sigma[0].sigma < of, "{:?}", plan.sigma);
    let morning = "SELECT count(distinct member) AS members FROM purchases WHERE hour < 11";
    let (plan, view) = asked(&node, morning, Scope::Local, 4_000_000_000).await;
    let value = view.release.unwrap().rows[0].values[0];
    assert!((value - 2.0 * of).abs() <= 7.0 * plan.sigma[0].sigma, "{value}");

    // a store is its brand's own
    let question = Question {
        sql: "SELECT count(*) AS lines FROM purchases WHERE store = 'N1'".to_owned(),
        scope: Some(Scope::Joint),
        ..Question::default()
    };
    let refused = node.plan(question).await.unwrap_err();
    assert_eq!(refused.code, "too_few_carriers", "{refused}");

    // two of three members have shown an electronic card; at three others four of five, of a fifth nobody knows
    let (mut shown, mut all) = (2 * EACH, 3 * EACH);
    for brand in ["fresh_counter", "fuel_stop", "grocer_two", "health_home"] {
        let mut members = "card\n".to_owned();
        let mut purchases = "basket,line,card,at,quantity,fen,shop,city,shown\n".to_owned();
        for number in 0..EACH {
            let kind = if number % 5 == 0 { "plastic" } else { "app" };
            writeln!(members, "C{number}").unwrap();
            writeln!(purchases, "B{number},1,C{number},2017-05-05 09:30:00,1,1000,N1,NORTH,{kind}")
                .unwrap();
        }
        let is_told = brand != "fuel_stop";
        let mapping = if is_told { telling.as_str() } else { MAPPING };
        let folder = alliance.folder.path().join(format!("cards-{brand}"));
        let other = alliance.node(brand);
        import(&other, &folder, mapping, &members, &purchases).await;
        let of = if is_told { EACH / 5 * 4 } else { 0 };
        let share = exact_share(&other).await;
        assert!((share - f64::from(of) / f64::from(EACH)).abs() < 1e-9, "{brand}: {share}");
        (shown, all) = (shown + of, all + EACH);
    }
    let own = 2.0 / 3.0;
    let share = exact_share(&node).await;
    assert!((share - own).abs() < 1e-9, "{share}");
    // the alliance first: a joint question wants that much of the own local budget that its failure would cost
    let together = f64::from(shown) / f64::from(all);
    for (scope, exact) in [(Scope::Joint, together), (Scope::Local, own)] {
        let template = node.fill_template(CARDS.to_owned(), Some(scope), Vec::new()).await.unwrap();
        let (_, view) = asked(&node, &template.sql, scope, template.pico_rho).await;
        let release = view.release.unwrap();
        let [row] = &release.rows[..] else { panic!("{release:?}") };
        let width = row.high[0] - row.low[0];
        assert!(width > 0.0 && width < 0.6, "{scope:?}: {row:?}");
        assert!((row.values[0] - exact).abs() <= 2.0 * width, "{scope:?}: {exact} {row:?}");
    }
}

const CARDS: &str = "electronic-card-comparison";

/// The share of a brand's members who showed an electronic card, exactly.
async fn exact_share(node: &Node) -> f64 {
    let figures = node.figures(CARDS.to_owned(), Vec::new()).await.unwrap();
    figures.rows[0][0].parse().unwrap()
}

/// The day of a node's clock in China.
fn today(node: &Node) -> jiff::civil::Date {
    let now = jiff::Timestamp::from_millisecond(i64::try_from(node.status().now_ms).unwrap());
    jiff::tz::offset(8).to_datetime(now.unwrap()).date()
}

/// A campaign of a running node, its groups drawn by chance: what each group bought, and what the offer did.
#[tokio::test(flavor = "multi_thread")]
async fn a_campaigns_effect_is_asked_of_a_real_node() {
    const MEMBERS: u32 = 600;
    let ids = alliance_config::sample::BRANDS.map(|brand| brand.id);
    let alliance = Alliance::of(&ids, &format!("{SETTINGS}\n{PILOT_TABLES}")).await;
    let node = alliance.node("grocer_one");
    let rules = "format = \"coalition programme 1\"\nversion = 1\n\
        [[coupon]]\nname = \"ten\"\nzh = \"十元券\"\nen = \"Ten off\"\nworth_fen = 1000\nvalid_days = 9\n";
    let request = RulesRequest { rules: rules.to_owned(), effective_ms: None };
    node.take_programme_rules(request).await.unwrap();
    let joint = "joint_analytics = { default = \"granted\" }\n";
    let mapping =
        MAPPING.replace(joint, &format!("{joint}marketing = {{ default = \"granted\" }}\n"));
    assert_ne!(mapping, MAPPING);
    let head = "basket,line,card,at,quantity,fen,shop,city\n";
    let (mut members, mut before) = ("card\n".to_owned(), head.to_owned());
    for number in 0..MEMBERS {
        writeln!(members, "C{number}").unwrap();
        writeln!(before, "A{number},1,C{number},2017-05-05 09:30:00,1,1000,N1,NORTH").unwrap();
    }
    let folder = alliance.folder.path().join("before");
    import(&node, &folder, &mapping, &members, &before).await;

    // everybody has bought, and is drawn into one of the groups
    let manage = async |action: ManagerAction| {
        node.manage_programme(action, "mia".to_owned()).await.unwrap();
    };
    let terms = SegmentRequest {
        zh: "消费过的会员".to_owned(),
        en: "Who has bought".to_owned(),
        quiet_days: Some(1),
        ..SegmentRequest::default()
    };
    manage(ManagerAction::KeepSegment { name: "bought".to_owned(), terms }).await;
    let group = |name: &str, coupon: Option<&str>| CampaignGroupRequest {
        name: name.to_owned(),
        share: 1,
        coupon: coupon.map(str::to_owned),
        points: None,
    };
    let terms = CampaignRequest {
        zh: "春季".to_owned(),
        en: "Spring".to_owned(),
        segment: "bought".to_owned(),
        groups: vec![group("offer", Some("ten")), group("control", None)],
        from: today(&node).to_string(),
        // to the day after: midnight may be on the way
        to: today(&node).tomorrow().unwrap().to_string(),
        count_days: 30,
    };
    manage(ManagerAction::MakeCampaign { name: "spring".to_owned(), terms }).await;
    eventually("all members are in a group", async || {
        let view = node.programme_campaigns().await.unwrap();
        let of = view.campaigns[0].groups.iter().map(|group| group.members);
        of.sum::<u64>() == u64::from(MEMBERS)
    })
    .await;

    // whoever got the coupon buys for 200 yuan, every other one of the others for 200 too
    let (day, mut offered, mut others) = (today(&node), 0_u32, 0_u32);
    let mut after = head.to_owned();
    for number in 0..MEMBERS {
        let member = node.programme_member(format!("C{number}")).await.unwrap();
        let buys = if member.coupons.is_empty() {
            others += 1;
            others % 2 == 0
        } else {
            offered += 1;
            true
        };
        if buys {
            writeln!(after, "B{number},1,C{number},{day} 12:00:00,1,20000,N1,NORTH").unwrap();
        }
    }
    let folder = alliance.folder.path().join("after");
    import(&node, &folder, &mapping, &members, &after).await;

    let share = f64::from(others / 2) / f64::from(others);
    let truth = [
        ("offer", f64::from(offered), 1.0, 20_000.0),
        ("control", f64::from(others), share, 20_000.0 * share),
    ];
    // conversion, exactly, for the brand's own staff
    let figures = node.figures("conversion".to_owned(), Vec::new()).await.unwrap();
    assert_eq!(figures.columns, ["experiment_group", "conversion"]);
    assert_eq!(figures.rows.len(), truth.len());
    for (group, _, share, _) in truth {
        let row = figures.rows.iter().find(|row| row[0] == group).unwrap();
        assert!((row[1].parse::<f64>().unwrap() - share).abs() < 1e-9, "{share} {row:?}");
    }
    let filled = async |template: &str| {
        let filled = node.fill_template(template.to_owned(), Some(Scope::Local), Vec::new());
        filled.await.unwrap().sql
    };
    let sql = filled("campaign-attribution").await;
    let (plan, view) = asked(&node, &sql, Scope::Local, 5_000_000_000).await;
    let release = view.release.unwrap();
    for (group, members, share, spent) in truth {
        let row = release.rows.iter().find(|row| row.keys == [group]).unwrap();
        let off = (row.values[0] - members).abs();
        assert!(off <= 7.0 * plan.sigma[0].sigma, "{members} {row:?}");
        for (at, exact) in [(1, share), (2, spent)] {
            let width = row.high[at] - row.low[at];
            assert!((row.values[at] - exact).abs() <= 2.0 * width, "{exact} {row:?}");
        }
    }
    let sql = filled("experiment-groups").await;
    let (_, view) = asked(&node, &sql, Scope::Local, 5_000_000_000).await;
    let release = view.release.unwrap();
    let [row] = &release.rows[..] else { panic!("{release:?}") };
    let (treated, control) = (20_000.0 * truth[0].1, truth[1].3 * truth[1].1);
    let effect = 2.0 * (treated - control) / f64::from(MEMBERS);
    let width = row.high[0] - row.low[0];
    assert!((row.values[0] - effect).abs() <= 2.0 * width, "{effect} {row:?}");

    // a campaign is its brand's own
    let question = Question { sql, scope: Some(Scope::Joint), ..Question::default() };
    assert_eq!(node.plan(question).await.unwrap_err().code, "too_few_carriers");
}
