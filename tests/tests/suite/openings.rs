//! A retailer moves over from a points programme of before: its members' balances come from a file, by two people, once.

use std::path::Path;

use node::auth::Role;
use node::cli::Io;
use node::cli::openings::{OpeningsArguments, OpeningsReport, bring};
use node::cli::operations::NodeArguments;
use node::client::Client;
use node::service::{OpeningRequest, OpeningsRequest, RulesRequest};

use super::alliance::Alliance;

const BRAND: &str = "fuel_stop";
const PASSWORD: &str = "correct horse battery staple";
const RULES: &str = "format = \"coalition programme 1\"\nversion = 1\n[expiry]\nvalid_days = 365\n\
    [[tier]]\nname = \"gold\"\nzh = \"金卡\"\nen = \"Gold\"\nfrom_points = 500000\n\
    [[trigger]]\nname = \"risen\"\nwhen = \"tier_reached\"\npoints = 7\n";

/// As `coalition programme opening-balances` does.
async fn brings(client: &Client, file: &Path, dry_run: bool) -> Result<OpeningsReport, String> {
    let arguments = OpeningsArguments {
        node: NodeArguments { data: file.to_owned(), user: None },
        file: file.to_owned(),
        dry_run,
        replace: false,
        encoding: "utf-8".to_owned(),
    };
    bring(client, &arguments, &Io::new(true)).await.map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retailer_brings_its_members_balances_from_a_file_by_two_people_and_once() {
    let mut alliance = Alliance::of_the_sample().await;
    let node = alliance.node(BRAND);
    let request = RulesRequest { rules: RULES.to_owned(), effective_ms: None };
    node.take_programme_rules(request).await.unwrap();
    alliance.import(BRAND).await;
    let cards = node.cards(1, None, 2).await.unwrap();
    let [one, two] = &cards[..] else { panic!("{}", cards.len()) };
    let available = async |card: &String| {
        let (member, books) = (
            node.member(card.clone()).await.unwrap(),
            node.programme_member(card.clone()).await.unwrap(),
        );
        assert_eq!(member.available, books.available);
        books.available
    };
    let before = (available(one).await, available(two).await);
    let (auth, certificate, served) = alliance.serve(BRAND);
    let person = async |name: &str, role: Role| {
        auth.add_user(name, &[role], PASSWORD).unwrap();
        let client = Client::connect(served.address, &certificate).unwrap();
        client.login(name, PASSWORD).await.unwrap();
        client
    };
    let (chen, olga) = (person("chen", Role::Partner).await, person("olga", Role::Officer).await);

    let file = alliance.folder.path().join("before.csv");
    let rows = format!(
        "card,points,expires_on,tier_points\n{one},5000,2199-12-31,500000\n{one},700,,\n\
         {two},30,2199-12-31,\nNOBODY,5,,\n"
    );
    std::fs::write(&file, format!("{rows}{two},x,,\n")).unwrap();
    for (name, role) in [("sam", Role::Store), ("tia", Role::Administrator)] {
        let refused = brings(&person(name, role).await, &file, true).await.unwrap_err();
        assert!(refused.contains("role_missing"), "{name}: {refused}");
    }
    // the officer agrees to what was entered, and enters nothing
    let early = brings(&olga, &file, false).await.unwrap();
    assert_eq!((early.given, early.waiting, early.refused.len()), (0, 0, 2));
    assert!(early.refused.iter().any(|it| it.code == "opening_not_entered"), "{early:?}");
    for dry_run in [true, true, false, false] {
        let entered = brings(&chen, &file, dry_run).await.unwrap();
        assert_eq!((entered.rows_read, entered.rows_left_out, entered.members), (5, 2, 2));
        assert_eq!((entered.given, entered.waiting, entered.points_waiting), (0, 1, 5_700));
        assert_eq!(entered.left_out.len(), 2);
        assert!(entered.left_out[0].starts_with("line 4: waits for another row"), "{entered:?}");
        assert!(entered.left_out[1].starts_with("line 6, points: "), "{entered:?}");
        assert_eq!(
            (entered.refused.len(), entered.refused[0].code.as_str()),
            (1, "member_unknown")
        );
        assert_eq!(entered.refused[0].places, [5]);
    }
    assert_eq!((available(one).await, available(two).await), before);

    // the corrected file: what was entered stays, what was left out is entered
    std::fs::write(&file, &rows).unwrap();
    let entered = brings(&chen, &file, false).await.unwrap();
    assert_eq!((entered.waiting, entered.points_waiting), (2, 5_730));
    let would = brings(&olga, &file, true).await.unwrap();
    assert_eq!((would.given, would.points_given), (2, 5_730));
    assert_eq!((available(one).await, available(two).await), before);
    let given = brings(&olga, &file, false).await.unwrap();
    assert_eq!((given.given, given.points_given, given.refused.len()), (2, 5_730, 1));
    for client in [&chen, &olga] {
        let again = brings(client, &file, false).await.unwrap();
        assert_eq!((again.given, again.waiting, again.already_there), (0, 0, 2));
    }
    std::fs::write(&file, format!("card,points\n{one},5700\n")).unwrap();
    let other = brings(&chen, &file, false).await.unwrap();
    assert_eq!(other.refused[0].code, "opening_taken");

    // the points, the tier, and nothing that a tier reached gives
    assert_eq!((available(one).await, available(two).await), (before.0 + 5_700, before.1 + 30));
    let member = node.programme_member(one.clone()).await.unwrap();
    assert_eq!(member.tier.as_deref(), Some("gold"));
    let told = node.programme_notices(0).await.unwrap();
    assert!(!serde_json::to_string(&told).unwrap().contains("tier_reached"));
    let alerts = node.alerts(0, 100).await.unwrap().alerts;
    assert!(alerts.iter().all(|alert| alert.kind != "points_growth"), "{alerts:?}");
    let report = node.programme_report().await.unwrap();
    assert_eq!((report.trial_balance, report.differences), (0, 0));
    assert_eq!(report.opening_points, 5_730);
    let opening = report.accounts.iter().find(|it| it.account == "opening").unwrap();
    assert_eq!(opening.points, -5_730);

    // who did it, how many and how much; nobody's card
    let log = node.operations(0, 1_000).await.unwrap();
    let of = |by: &str| log.iter().filter(|it| it.by == by).map(|it| it.what.clone()).collect();
    let (by_chen, by_olga): (Vec<String>, Vec<String>) = (of("chen"), of("olga"));
    let dry = "opening balances of 2 members, 5705 points, 500000 towards tiers, a dry run";
    assert!(by_chen.iter().any(|what| what == dry), "{by_chen:?}");
    let came_of_it = "opening balances: 2 given with 5730 points, 0 with 0 points wait for another \
        person, 0 given before, 1 refused";
    assert!(by_olga.iter().any(|what| what == came_of_it), "{by_olga:?}");
    let shows = |what: &str| [one, two].iter().any(|card| what.contains(card.as_str()));
    assert!(log.iter().all(|it| !shows(&it.what) && !it.what.contains("NOBODY")), "{log:?}");
    // and the member is shown it
    let export = node.export_member("olga", one.clone()).await.unwrap();
    let brought = export.programme.unwrap().history.opening.unwrap();
    assert_eq!((brought.points, brought.tier_points), (5_700, 500_000));
    assert_eq!(brought.state, "given");

    // after a restart as before it
    let (one, two) = (one.clone(), two.clone());
    served.shutdown.begin();
    drop(node);
    alliance.restart(BRAND).await;
    let node = alliance.node(BRAND);
    let after = node.programme_member(one.clone()).await.unwrap();
    assert_eq!((after.available, after.tier), (before.0 + 5_700, member.tier));
    let others = OpeningRequest { card: two, lots: Vec::new(), tier_points: 9 };
    let request = OpeningsRequest { members: vec![others], ..OpeningsRequest::default() };
    let refused = node.staff("wang").bring_openings(request, true).await.unwrap().refused;
    assert_eq!(refused[0].code, "opening_taken");
}
