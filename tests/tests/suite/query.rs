//! Walk 3: a joint question over five real nodes, from the SQL text to the release in every log.

use std::time::Instant;

use node::cleanroom::QueryTimes;
use node::service::{ErrorKind, QueryView, Question};
use protocol::time::Milliseconds;

use super::alliance::{Alliance, eventually};

const ACTIVE_BY_HALF: &str = "SELECT half_year(purchased_on) AS half, \
     count(distinct member) AS active_memberships FROM purchases GROUP BY half_year(purchased_on)";

/// Waits for the end of a question.
async fn ended(node: &node::service::Node, id: &str) -> QueryView {
    let mut view = QueryView::default();
    eventually("the question ends", async || {
        view = node.query_by_id(id.to_owned()).await.unwrap();
        ["released", "void"].contains(&view.step.as_str())
    })
    .await;
    view
}

#[tokio::test(flavor = "multi_thread")]
async fn five_brands_answer_together_and_only_the_noised_sum_is_seen() {
    let mut alliance = Alliance::of_the_sample().await;
    for brand in alliance.brands.clone() {
        alliance.import(brand.as_str()).await;
    }
    let asker = alliance.node("grocer_one");
    let before = asker.status().budget.unwrap();
    assert_eq!((before.profile.as_str(), before.spent_pico_rho), ("trial", 0));

    // what cannot be answered is refused for reasons that cost nothing
    for (sql, kind, code) in [
        ("SELECT sum(basket) FROM purchases", ErrorKind::Invalid, "unknown"),
        ("SELECT sum(quantity) FROM purchases", ErrorKind::Refused, "unbounded"),
        (
            "SELECT count(*) FROM purchases WHERE department LIKE 'G%'",
            ErrorKind::Refused,
            "unsupported",
        ),
    ] {
        let refused = asker.plan(sql.into()).await.unwrap_err();
        assert_eq!((refused.kind, refused.code), (kind, code), "{sql}: {refused}");
    }

    let plan = asker.plan(ACTIVE_BY_HALF.into()).await.unwrap();
    assert_eq!((plan.cells, plan.participants.len()), (2, 5));
    assert_eq!(plan.left_after_pico_rho, before.quota_pico_rho - plan.cost_pico_rho);
    // what is shown before anything is spent: cost in rho and epsilon, the bound, the error of a cell
    assert!(plan.rho > 0.0 && plan.epsilon > plan.rho, "{plan:?}");
    let [noise] = &plan.sigma[..] else { panic!("{plan:?}") };
    assert!(!noise.bound.is_empty(), "{noise:?}");
    assert!(0.0 < noise.expected_error && noise.expected_error < noise.sigma, "{noise:?}");
    let other = asker.query(ACTIVE_BY_HALF.into(), "0".repeat(64)).await.unwrap_err();
    assert_eq!(other.code, "plan_changed");
    assert_eq!(asker.status().budget.unwrap(), before);

    let began = Instant::now();
    let asked = asker.query(ACTIVE_BY_HALF.into(), plan.plan.clone()).await.unwrap();
    // asking again while it is under way is the same question
    let twice = asker.query(ACTIVE_BY_HALF.into(), plan.plan.clone()).await.unwrap();
    assert_eq!(twice.id, asked.id);
    let view = ended(&asker, &asked.id).await;
    println!("joint query over five nodes: {:?}", began.elapsed());
    let release = view.release.expect("a release");
    assert_eq!((view.step.as_str(), &view.reason), ("released", &None));
    assert_eq!(
        (&release.keys[..], &release.values[..]),
        (&["half".to_owned()][..], &["active_memberships".to_owned()][..],)
    );

    // every brand arrives at the same release by itself
    for brand in alliance.brands.clone() {
        let theirs = ended(&alliance.node(brand.as_str()), &asked.id).await.release.unwrap();
        assert_eq!(theirs, release, "{brand}");
        let node = alliance.node(brand.as_str());
        eventually("the status shows it", async || {
            node.status().latest_release.as_ref() == Some(&release)
        })
        .await;
    }

    // the noise is what the plan said, not more
    let exact = node::cli::demo::exact::active_memberships_by_half().await.unwrap();
    assert_eq!(exact.len(), release.rows.len());
    for (row, (half, exact)) in release.rows.iter().zip(exact) {
        assert_eq!(row.keys, [half]);
        // an answer that were all noise would pass what follows
        assert!(exact > 900, "{exact}");
        assert!((row.values[0] - exact as f64).abs() <= 7.0 * plan.sigma[0].sigma, "{row:?}");
        assert!(row.low[0] < row.values[0] && row.values[0] < row.high[0]);
    }

    // charged once, on the asker's account
    let after = asker.status().budget.unwrap();
    assert_eq!((after.spent_pico_rho, after.reserved_pico_rho), (plan.cost_pico_rho, 0));
    assert_eq!(after.alliance_spent_pico_rho, plan.cost_pico_rho);
    let helper = alliance.node("fuel_stop").status().budget.unwrap();
    assert_eq!((helper.spent_pico_rho, helper.alliance_spent_pico_rho), (0, plan.cost_pico_rho));

    // the same question again, at whichever brand and after a restart, is the same answer for nothing
    alliance.restart("grocer_one").await;
    for brand in ["grocer_one", "fuel_stop"] {
        let node = alliance.node(brand);
        let plan = node.plan(ACTIVE_BY_HALF.into()).await.unwrap();
        assert_eq!((plan.plan.as_str(), plan.cost_pico_rho), (view.plan.as_str(), 0));
        let again = node.query(ACTIVE_BY_HALF.into(), plan.plan).await.unwrap();
        assert_eq!(
            (again.id.as_str(), again.release.as_ref()),
            (asked.id.as_str(), Some(&release))
        );
    }
    let kept = alliance.node("grocer_one").status();
    assert_eq!(kept.budget.unwrap(), after);
    assert_eq!(kept.latest_release.as_ref(), Some(&release));
    let node = alliance.node("grocer_one");
    eventually("nothing needs an operator's eye", async || node.status().alerts.is_empty()).await;
}

/// Without every hash there is no answer, and the cost comes back once every log shows that none came.
#[tokio::test(flavor = "multi_thread")]
async fn a_brand_that_is_down_voids_the_question_and_the_cost_comes_back() {
    let mut alliance = Alliance::of_the_sample().await;
    let times = QueryTimes {
        reservation: Milliseconds::from_seconds(4),
        opening: Milliseconds::from_seconds(1),
    };
    alliance.stop("grocer_one").await;
    alliance.start_with("grocer_one", times).await;
    alliance.stop("fuel_stop").await;

    let asker = alliance.node("grocer_one");
    let plan = asker.plan(ACTIVE_BY_HALF.into()).await.unwrap();
    let asked = asker.query(ACTIVE_BY_HALF.into(), plan.plan).await.unwrap();
    let view = ended(&asker, &asked.id).await;
    assert_eq!((view.step.as_str(), view.release), ("void", None));
    assert!(view.reason.unwrap().contains("not every brand reserved in time"));
    eventually("the cost stands", async || {
        asker.status().budget.unwrap().spent_pico_rho == plan.cost_pico_rho
    })
    .await;

    // a closing has every brand write a block after the expiry
    alliance.start("fuel_stop").await;
    asker.close(asker.status().now_ms - 1).await.unwrap();
    eventually("the cost is back", async || asker.status().budget.unwrap().spent_pico_rho == 0)
        .await;
    assert!(asker.status().latest_release.is_none());
}

/// A brand that declines by its policy: the asker is told which and why, the cost comes back, and the question is answered
/// without that brand, where the others have agreed to that; then it is not asked of all, which would tell the brand's own.
#[tokio::test(flavor = "multi_thread")]
async fn a_brand_whose_policy_says_no_declines_and_the_others_answer_without_it() {
    const DECLINES: &str = "fuel_stop";
    let mut alliance = Alliance::of_the_sample().await;
    let times = QueryTimes {
        reservation: Milliseconds::from_seconds(20),
        opening: Milliseconds::from_seconds(1),
    };
    alliance.stop("grocer_one").await;
    alliance.start_with("grocer_one", times).await;
    for brand in alliance.brands.clone() {
        let joint = match brand.as_str() {
            DECLINES => "from = [\"grocer_two\"]",
            _ => "minimum_participants = 4",
        };
        let policy = format!("format = 0\n[joint]\n{joint}\n");
        std::fs::write(alliance.data(brand).policy(), policy).unwrap();
        assert!(alliance.node(brand.as_str()).read_policy().await.unwrap().file);
    }
    let asker = alliance.node("grocer_one");
    let plan = asker.plan(ACTIVE_BY_HALF.into()).await.unwrap();
    let asked = asker.query(ACTIVE_BY_HALF.into(), plan.plan).await.unwrap();
    let mut said = String::new();
    eventually("the brand declines", async || {
        let view = asker.query_by_id(asked.id.clone()).await.unwrap();
        said = view.reason.unwrap_or_default();
        !said.is_empty()
    })
    .await;
    assert!(said.starts_with("fuel_stop takes no part: its policy does not allow it"), "{said}");
    let again = "without that brand: --with fresh_counter,grocer_one,grocer_two,health_home";
    assert!(said.contains(again) && said.contains("不参与：其策略不允许"), "{said}");
    assert_eq!(ended(&asker, &asked.id).await.step, "void");
    // a closing has every brand write a block after the expiry
    asker.close(asker.status().now_ms - 1).await.unwrap();
    for brand in alliance.brands.clone() {
        let node = alliance.node(brand.as_str());
        eventually("everyone sees that the cost is back", async || {
            node.status().budget.unwrap().alliance_spent_pico_rho == 0
        })
        .await;
    }
    let void = asker.query_by_id(asked.id).await.unwrap();
    assert_eq!((void.charged_pico_rho, void.release), (0, None));
    assert!(void.reason.unwrap().contains("its cost was returned"));

    // what is to be answered gets the time that it has elsewhere
    drop(asker);
    alliance.restart("grocer_one").await;
    let asker = alliance.node("grocer_one");
    let names = ["fresh_counter", "grocer_one", "grocer_two", "health_home"];
    let four =
        Question { participants: Some(names.map(str::to_owned).to_vec()), ..ACTIVE_BY_HALF.into() };
    let plan = asker.plan(four.clone()).await.unwrap();
    assert_eq!(plan.participants, names);
    let asked = asker.query(four, plan.plan).await.unwrap();
    let view = ended(&asker, &asked.id).await;
    let release = view.release.expect("a release");
    assert_eq!(
        (view.step.as_str(), &release.participants[..]),
        ("released", &names.map(str::to_owned)[..])
    );
    assert_eq!(asker.status().budget.unwrap().spent_pico_rho, plan.cost_pico_rho);
    // in no words, at no brand
    for brand in ["grocer_one", "grocer_two"] {
        for sql in [ACTIVE_BY_HALF, "SELECT count(*) AS n FROM purchases WHERE quantity > 0"] {
            let node = alliance.node(brand);
            eventually("it is refused", async || {
                let refused = node.plan(sql.into()).await;
                refused.is_err_and(|error| error.code == "set_tells_apart")
            })
            .await;
        }
    }
}
