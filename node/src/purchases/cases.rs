//! Tests of what an import makes of whole files: formats, refunds, guests, corrections, orders sent twice,
//! dry runs, and both real data sets.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::tests::{Shop, now, terms};
use super::*;

/// A mapping of a till's exports; `more` is added to `[purchases]`.
pub(super) fn till(more: &str) -> Mapping {
    Mapping::from_toml(&till_text(more)).unwrap()
}

/// The same as it is written.
pub(super) fn till_text(more: &str) -> String {
    format!(
        "format = \"coalition import 1\"\nname = \"till\"\n\
         [members]\nfiles = [\"m.csv\"]\n[members.columns]\ncard = \"card\"\nmatch_key = \"key\"\n\
         [members.consent]\nsource = \"member\"\nnotice_version = 3\n\
         programme = {{ column = \"points\", granted = [\"yes\", \"1\"], refused = [\"no\"] }}\n\
         joint_analytics = {{ column = \"sums\", granted = [\"yes\"] }}\n\
         [purchases]\nfiles = [\"p.csv\", \"p.jsonl\"]\ntime_zone = \"Asia/Shanghai\"\n\
         basket = \"receipt\"\nline = \"no\"\nmember = \"card\"\npurchased_at = \"at\"\n\
         department = \"dept\"\nquantity = \"pieces\"\namount = \"yuan\"\ncurrency = \"CNY\"\n\
         fen_per_unit = 100\n{more}"
    )
}

const MEMBERS: &str =
    "card,key,points,sums\nC1,person-one,yes,yes\nC2,person-two,no,perhaps\nC3,person-3,,\n";

pub(super) fn sent(name: &str, text: &str) -> Source {
    let format = Format::of_name(name).unwrap();
    Source::Sent { name: name.to_owned(), format, bytes: text.as_bytes().to_vec().into() }
}

pub(super) fn shop(mapping: &Mapping) -> Shop {
    let shop = Shop::open();
    let source = sent("m.csv", MEMBERS);
    let report = import_members(&shop.vault, &source, terms(mapping), now(), &mut |_| {}).unwrap();
    assert_eq!((report.enrolled, report.issues.len()), (3, 0));
    shop
}

pub(super) fn import(
    shop: &Shop,
    mapping: &Mapping,
    source: &Source,
) -> (ImportReport, Vec<BasketChange>) {
    let mut changes = Vec::new();
    let mut sink = |batch: &[BasketChange]| {
        changes.extend_from_slice(batch);
        Ok(())
    };
    let report =
        shop.facts.import(&shop.vault, source, terms(mapping), &mut sink, &mut |_| {}).unwrap();
    (report, changes)
}

const STORE: &str = "channel = \"store\"\n";

#[test]
fn consent_is_what_the_file_says_and_nothing_more() {
    let mapping = till(STORE);
    let shop = Shop::open();
    let source = sent("m.csv", MEMBERS);
    let report = import_members(&shop.vault, &source, terms(&mapping), now(), &mut |_| {}).unwrap();
    assert_eq!(report.consenting[&crate::vault::Purpose::Programme], 1);
    assert_eq!(report.adjusted[&Adjustment::ConsentNotUnderstood], 1);
    let of = |card: &str| {
        let card = crate::vault::CardNumber::new(card).unwrap();
        shop.vault.consents(shop.vault.by_card(&card).unwrap().unwrap()).unwrap()
    };
    use crate::vault::Purpose::{Exchange, JointAnalytics, Programme};
    let first = of("C1");
    assert!(first.allows(Programme) && first.allows(JointAnalytics) && !first.allows(Exchange));
    assert_eq!(first.in_force(Programme).unwrap().notice_version, 3);
    // a refusal is recorded; what is not understood, or not said, is no consent
    let second = of("C2");
    assert!(!second.in_force(Programme).unwrap().granted);
    assert!(second.in_force(JointAnalytics).is_none());
    assert!(of("C3").decisions().is_empty());
}

/// PIPL art. 31: a child's consent is a guardian's; the report does not count what is not in force.
#[test]
fn a_childs_consents_are_what_a_guardian_said() {
    use crate::vault::Guardian;
    use crate::vault::Purpose::Programme;
    // the 24th of November 2025
    let today = protocol::time::Timestamp::from_unix_ms(1_764_000_000_000);
    let rules = |guardian: &str| {
        Mapping::from_toml(&format!(
            "format = \"coalition import 1\"\nname = \"till\"\n[members]\nfiles = [\"m.csv\"]\n\
             [members.columns]\ncard = \"card\"\nbirth_date = \"born\"\n\
             [members.consent]\nsource = \"member\"\nnotice_version = 3\n\
             programme = {{ column = \"points\", granted = [\"yes\"], refused = [\"no\"] }}\n{guardian}"
        ))
    };
    let people = "card,born,points,who\nA1,1990-05-06,yes,\nA2,2020-01-01,yes,\nA3,2020-01-01,yes,mother\n\
        A4,2020-01-01,no,\nA5,2015/3/1,yes,\nA6,9999-01-01,yes,\nA7,2020-01-01,yes,aunt\nA8,,yes,-\n";
    let said =
        "guardian = { column = \"who\", parent = [\"mother\", \"father\"], none = [\"-\"] }\n";
    for (guardian, consenting, missing) in [("", 2, 3), (said, 3, 2)] {
        let mapping = rules(guardian).unwrap();
        let shop = Shop::open();
        let source = sent("m.csv", people);
        let report =
            import_members(&shop.vault, &source, terms(&mapping), today, &mut |_| {}).unwrap();
        assert_eq!((report.enrolled, report.consenting[&Programme]), (6, consenting));
        assert_eq!(report.adjusted[&Adjustment::GuardianMissing], missing);
        let unclear = report.adjusted.get(&Adjustment::ConsentNotUnderstood).copied();
        assert_eq!(unclear, (!guardian.is_empty()).then_some(1), "an aunt is not explained");
        // what is no date of birth is told, and nobody is taken for an adult because of it
        let issues: Vec<String> = report.issues.iter().map(ToString::to_string).collect();
        assert_eq!(issues.len(), 2, "{issues:?}");
        assert!(
            issues.iter().all(|it| it.contains("birth_date: is not a date of birth")),
            "{issues:?}"
        );
        let of = |card: &str| {
            let card = crate::vault::CardNumber::new(card).unwrap();
            let history = shop.vault.consents(shop.vault.by_card(&card).unwrap().unwrap()).unwrap();
            history.in_force(Programme).copied()
        };
        assert!(of("A1").unwrap().granted && of("A2").is_none());
        assert!(!of("A4").unwrap().granted, "a child may refuse alone");
        let third = of("A3").map(|it| it.guardian);
        assert_eq!(third, (!guardian.is_empty()).then_some(Some(Guardian::Parent)));
        assert!(of("A7").is_none() && of("A8").unwrap().granted);
    }
    for (guardian, problem) in [
        ("guardian = { column = \"who\" }\n", "which values of the column"),
        ("guardian = { column = \"who\", parent = [\"a\"], other = [\"a\"] }\n", "one meaning"),
    ] {
        let error = rules(guardian).unwrap_err().to_string();
        assert!(error.contains("members.consent.guardian") && error.contains(problem), "{error}");
    }
}

#[test]
fn who_agreed_to_exchange_agreed_to_the_brands_that_the_mapping_names() {
    use crate::vault::Purpose::Exchange;
    use protocol::ids::BrandId;
    let [own, grocer, fuel] =
        ["corner_shop", "grocer", "fuel_stop"].map(|name| BrandId::new(name).unwrap());
    let enrol = |consent: &str| {
        let mapping = Mapping::from_toml(&format!(
            "format = \"coalition import 1\"\nname = \"till\"\n\
             [members]\nfiles = [\"m.csv\"]\n[members.columns]\ncard = \"card\"\n\
             [members.consent]\nsource = \"member\"\nnotice_version = 3\n{consent}\
             exchange = {{ column = \"points\", granted = [\"yes\"], refused = [\"no\"] }}\n"
        ));
        let mapping = mapping.unwrap();
        let shop = Shop::open();
        let alliance = [own, grocer, fuel];
        let terms = ImportTerms { brands: &alliance, ..terms(&mapping) };
        import_members(&shop.vault, &sent("m.csv", MEMBERS), terms, now(), &mut |_| {}).unwrap();
        ["C1", "C2", "C3"].map(|card| {
            let card = crate::vault::CardNumber::new(card).unwrap();
            let history = shop.vault.consents(shop.vault.by_card(&card).unwrap().unwrap()).unwrap();
            let mut receivers = history.receivers(Exchange);
            receivers.sort();
            assert_eq!(history.allows_to(Exchange, grocer), receivers.contains(&grocer));
            receivers
        })
    };
    // only who agreed, and nobody to the brand itself
    assert_eq!(enrol("receivers = [\"grocer\"]\n"), [vec![grocer], vec![], vec![]]);
    let all = "receivers = [\"*\"]\nbecause = \"the form names them all\"\n";
    assert_eq!(enrol(all), [vec![fuel, grocer], vec![], vec![]]);
    assert_eq!(enrol(""), [vec![], vec![], vec![]]);
}

#[test]
fn a_packed_file_in_gbk_is_read_and_a_wrong_byte_costs_one_row() {
    use std::io::Write as _;
    let mapping = till("encoding = \"GBK\"\nchannel = \"store\"\n");
    let shop = shop(&mapping);
    let text = "receipt,no,card,at,dept,pieces,yuan\n\
                R1,1,C1,2025-03-31 10:00:00,蔬菜,2,12.50\n\
                R1,2,C1,2025-03-31 10:00:00,水果,1,1\n";
    let mut bytes = encoding_rs::GBK.encode(text).0.into_owned();
    bytes.extend_from_slice(b"R2,1,C1,2025-03-31 11:00:00,\xff,1,3\n");
    bytes.extend_from_slice(b"R3,1,C1,2025-03-31 12:00:00,DELI,1,4\n");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.csv.gz");
    // several packed files joined are one
    let mut packed = Vec::new();
    for part in [&bytes[..60], &bytes[60..]] {
        let mut encoder =
            flate2::write::GzEncoder::new(&mut packed, flate2::Compression::default());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap();
    }
    // cut short, nothing of it counts
    std::fs::write(&path, &packed[..packed.len() - 12]).unwrap();
    let source = Source::File(path.clone());
    let mut none = |_: &[BasketChange]| Ok(());
    let cut = shop.facts.import(&shop.vault, &source, terms(&mapping), &mut none, &mut |_| {});
    assert!(cut.unwrap_err().to_string().starts_with("p.csv.gz: cannot be read"));
    assert_eq!(shop.facts.rows().unwrap(), 0);

    std::fs::write(&path, &packed).unwrap();
    let (report, _) = import(&shop, &mapping, &source);
    assert_eq!((report.rows_read, report.rows_kept, report.amount_fen), (4, 3, 1_750));
    let told: Vec<String> = report.issues.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1);
    assert!(
        told[0].starts_with("line 4: has a sequence of bytes that is none in GB18030"),
        "{told:?}"
    );
    // Chinese departments are as they were written
    let snapshot = shop.facts.snapshot().unwrap();
    let rows = shop
        .ask(&snapshot, "SELECT department, sum(amount_fen) FROM purchases GROUP BY 1 ORDER BY 2");
    assert_eq!(rows, ["|水果|100|", "|DELI|400|", "|蔬菜|1250|"]);
    // text that is packed otherwise, or Parquet that is packed once more, has a name of no format
    for name in ["p.parquet.gz", "p.csv.zip", "p.gz"] {
        assert_eq!(Format::of_name(name), None, "{name}");
    }
}

#[test]
fn every_format_says_the_same() {
    let mapping =
        till("channels = { column = \"via\", values = { POS = \"store\", APP = \"app\" } }\n");
    let rows = [
        ("R1", 1, "C1", "2025-03-31 23:59:59", "DELI", 2, "12.50", "POS"),
        ("R1", 2, "C1", "2025-03-31 23:59:59", "酒, \"白\"", 1, "0.10", "POS"),
        ("R2", 1, "C2", "2025-03-31T16:00:00Z", "DELI", 1, "7", "APP"),
    ];
    let mut csv = "via,yuan,pieces,dept,at,card,no,receipt,unused\n".to_owned();
    let mut json = String::new();
    for (receipt, no, card, at, dept, pieces, yuan, via) in rows {
        let quoted = dept.replace('"', "\"\"");
        csv += &format!("{via},{yuan},{pieces},\"{quoted}\",{at},{card},{no},{receipt},x\n");
        let object = serde_json::json!({
            "receipt": receipt, "no": no, "card": card, "at": at, "dept": dept, "pieces": pieces,
            "yuan": yuan.parse::<f64>().unwrap(), "via": via, "unused": null,
        });
        json += &format!("{object}\n");
    }
    let mut told = Vec::new();
    for source in [sent("p.csv", &csv), sent("p.jsonl", &json)] {
        let shop = shop(&mapping);
        let (report, mut changes) = import(&shop, &mapping, &source);
        assert_eq!((report.rows_kept, report.amount_fen), (3, 1_960), "{report:?}");
        changes.sort_by_key(|change| change.after);
        let snapshot = shop.facts.snapshot().unwrap();
        // who has not consented is not seen; the last row is the first of April by the brand's clock
        let seen = "SELECT department, purchased_on, quantity, amount_fen, channel FROM purchases ORDER BY amount_fen";
        assert_eq!(
            shop.ask(&snapshot, seen),
            ["|酒,\"白\"|2025-03-31|1|10|store|", "|DELI|2025-03-31|2|1250|store|"]
        );
        let [app, store] = changes.as_slice() else { panic!("{changes:?}") };
        assert_eq!((app.channel, app.day, app.after.get()), (Channel::App, 20_179, 700));
        assert!(app.channel.is_online() && !store.channel.is_online());
        assert_eq!(store.departments, [("DELI".to_owned(), 1_250), ("酒, \"白\"".to_owned(), 10)]);
        told.push(report.rows_kept);
    }
    assert_eq!(told, [3, 3]);
}

#[test]
fn broken_rows_of_every_kind_are_told_by_line_without_their_content() {
    let mapping = till(&format!(
        "{STORE}[purchases.cleaning]\nearliest = \"2020-01-01\"\n[purchases.guests]\n"
    ));
    let shop = shop(&mapping);
    let text = "receipt,no,card,at,dept,pieces,yuan\n\
        R1,1,C1,2025-03-31,DELI,1,1.00\n\
        R2,1,C1,2025-03-31,DELI,1\n\
        R3,1,C1,2025-02-30,DELI,1,1.00\n\
        R4,1,C1,1999-12-31,DELI,1,1.00\n\
        R5,1,C1,2199-01-01,DELI,1,1.00\n\
        R6,1,13812345678,2025-03-31,DELI,1,1.00\n\
        R7,x,C1,2025-03-31,DELI,1,1.00\n\
        R8,1,C1,2025-03-31,DELI,1,1.005\n\
        R9,1,C1,2025-03-31,DELI,-1,-1.00\n\
        R10,1,,2025-03-31,DELI,2.0,1.00\n";
    let (report, changes) = import(&shop, &mapping, &sent("p.csv", text));
    assert_eq!((report.rows_read, report.rows_kept, report.guest_rows), (10, 2, 1));
    assert_eq!(changes.len(), 2);
    let told: Vec<String> = report.issues.iter().map(ToString::to_string).collect();
    for (place, beginning) in [
        "line 3: has 6 cells where the first row names 7",
        "line 4, purchased_at: is not a date",
        "line 5, purchased_at: is a day before or after",
        "line 6, purchased_at: is a day before or after",
        "line 7: no member has this card",
        "line 8, line: is not a whole number",
        "line 9, amount: is not an amount",
        "line 10: a quantity or amount is negative, and nothing tells a refund",
    ]
    .into_iter()
    .enumerate()
    {
        assert!(told[place].starts_with(beginning), "{}", told[place]);
    }
    assert!(told.iter().all(|told| !told.contains("13812345678") && !told.contains("R6")));
    assert_eq!(report.dropped[&DropReason::ImpossibleDate], 2);
}

/// In a text file as well what is no finite number is a bad row, as an amount and as a quantity.
#[test]
fn cells_that_are_no_finite_number_are_bad_rows_and_in_no_sum() {
    let mapping = till(STORE);
    let shop = shop(&mapping);
    let mut text =
        "receipt,no,card,at,dept,pieces,yuan\nR0,1,C1,2025-03-31,DELI,1,1.00\n".to_owned();
    let bad = ["NaN", "nan", "inf", "-inf", "Infinity", "1e999"];
    for (number, cell) in (1..).zip(bad) {
        text += &format!("R{number},1,C1,2025-03-31,DELI,1,{cell}\n");
        text += &format!("R{number},2,C1,2025-03-31,DELI,{cell},1.00\n");
    }
    let (report, changes) = import(&shop, &mapping, &sent("p.csv", &text));
    assert_eq!((report.rows_read, report.rows_kept, report.amount_fen), (13, 1, 100));
    assert_eq!(report.dropped, BTreeMap::from([(DropReason::Malformed, 12)]));
    assert_eq!(changes.len(), 1);
    let snapshot = shop.facts.snapshot().unwrap();
    let sum = "SELECT count(*), sum(amount_fen), sum(quantity) FROM purchases";
    assert_eq!(shop.ask(&snapshot, sum), ["|1|100|1|"]);
}

#[test]
fn a_purchase_without_a_member_is_a_mistake_until_guests_are_stated() {
    let text = "receipt,no,card,at,dept,pieces,yuan\nR1,1,,2025-03-31,DELI,1,1\nR2,1,GUEST,2025-03-31,DELI,1,1\n";
    let strict = till(STORE);
    let shop_strict = shop(&strict);
    let (report, _) = import(&shop_strict, &strict, &sent("p.csv", text));
    assert_eq!(report.dropped[&DropReason::NoMember], 1);
    assert_eq!(report.dropped[&DropReason::UnknownMember], 1);
    let open = till(&format!("{STORE}[purchases.guests]\nvalues = [\"GUEST\"]\n"));
    let shop = shop(&open);
    let (report, changes) = import(&shop, &open, &sent("p.csv", text));
    assert_eq!((report.rows_kept, report.guest_rows), (2, 2));
    assert!(changes.iter().all(|change| change.member.is_none()));
    let snapshot = shop.facts.snapshot().unwrap();
    assert_eq!(shop.ask(&snapshot, "SELECT count(*) FROM purchases"), ["|0|"]);
    assert_eq!(shop.facts.rows().unwrap(), 2);
}

#[test]
fn a_refund_lowers_the_basket_it_names_and_else_stands_by_itself() {
    let mapping = till(&format!(
        "{STORE}[purchases.refunds]\ncolumn = \"kind\"\nvalues = [\"back\"]\noriginal = \"of\"\n"
    ));
    let shop = shop(&mapping);
    let head = "receipt,no,card,at,dept,pieces,yuan,kind,of\n";
    let sale = format!(
        "{head}R1,1,C1,2025-03-31,DELI,2,10.00,sale,\nR1,2,C1,2025-03-31,WINE,1,30.00,sale,\n"
    );
    import(&shop, &mapping, &sent("p.csv", &sale));
    // one is written with a sign, one without; the third names a basket nobody knows, the fourth one in which its
    // member has nothing, which is the same
    let back = format!(
        "{head}B1,1,C1,2025-04-02,DELI,-1,-5.00,back,R1\nB1,2,C1,2025-04-02,WINE,1,30.00,back,R1\n\
         B2,1,C1,2025-04-02,DELI,1,2.00,back,R9\nB3,1,C2,2025-04-02,DELI,1,1.00,back,R1\n\
         B4,1,C1,2025-04-02,DELI,-1,-1.00,sale,\n"
    );
    let source = sent("p.csv", &back);
    let (report, mut changes) = import(&shop, &mapping, &source);
    assert_eq!((report.rows_kept, report.refund_rows, report.amount_fen), (4, 4, -3_800));
    assert_eq!(report.adjusted[&Adjustment::RefundAlone], 2);
    assert_eq!(report.dropped, [(DropReason::Negative, 1)].into());
    changes.sort_by_key(|change| change.after);
    let [alone, others, lowered] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!((alone.before.get(), alone.after.get(), alone.refund), (0, -200, None));
    assert_eq!((others.before.get(), others.after.get(), others.refund), (0, -100, None));
    assert!(others.member.is_some() && others.member != alone.member);
    assert_eq!(lowered.member, alone.member);
    assert_eq!((lowered.part, lowered.before.get(), lowered.after.get()), (1, 4_000, 500));
    assert!(lowered.refund.is_some());
    // again, it changes nothing
    assert!(import(&shop, &mapping, &source).0.already_imported);
    let again = sent("p.csv", &back.replace("B4,1", "B5,1"));
    let (report, changes) = import(&shop, &mapping, &again);
    assert_eq!((report.rows_kept, report.dropped[&DropReason::Duplicate]), (0, 4));
    assert!(changes.is_empty());
    // sales alone are seen by joint questions
    let snapshot = shop.facts.snapshot().unwrap();
    let seen = shop.ask(&snapshot, "SELECT count(*), sum(amount_fen) FROM purchases");
    assert_eq!(seen, ["|2|4000|"]);
    let counted: i64 =
        shop.facts.counted_baskets().unwrap().iter().map(|basket| basket.after.get()).sum();
    assert_eq!(counted, 200);
}

/// Where a line was bought, of which label and in which hour is kept where the mapping says so; a file that was read
/// before it did is read again, and lines of which it says something are corrected.
#[test]
fn stores_regions_labels_and_hours_are_kept_where_the_mapping_names_them() {
    let before = till(STORE);
    let after = till(&format!(
        "{STORE}store = \"shop\"\nregion = \"city\"\nlabel = \"brand\"\nhour = true\n"
    ));
    let shop = shop(&before);
    let long = "x".repeat(65);
    let text = format!(
        "receipt,no,card,at,dept,pieces,yuan,shop,city,brand\n\
         R1,1,C1,2025-03-31 08:59,DELI,1,9.00,S1,North,Own\n\
         R1,2,C1,2025-03-31 08:59,WINE,1,30.00,S1,North,\n\
         R2,1,C1,2025-04-01,DELI,1,5.00,S2,South,Own\n\
         R3,1,C1,2025-04-02 00:10,DELI,1,6.00,,,\n\
         R4,1,C1,2025-04-03,DELI,1,7.00,{long},,\n"
    );
    let source = sent("p.csv", &text);
    let (report, changes) = import(&shop, &before, &source);
    assert!(report.rows_kept == 5 && changes.iter().all(|change| change.hour.is_none()));
    let seen = "SELECT amount_fen, store, region, label, hour FROM purchases ORDER BY 1";
    let rows = || shop.ask(&shop.facts.snapshot().unwrap(), seen);
    assert_eq!(rows(), ["|500|||||", "|600|||||", "|700|||||", "|900|||||", "|3000|||||"]);

    let (report, _) = import(&shop, &after, &source);
    let told: Vec<String> = report.issues.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|told| told.starts_with("line 6, store: ")), "{told:?}");
    assert_eq!(report.adjusted[&Adjustment::Corrected], 4);
    assert_eq!(
        rows(),
        [
            // of a day alone no hour is known
            "|500|S2|South|Own||",
            "|600||||0|",
            "|700|||||",
            "|900|S1|North|Own|8|",
            "|3000|S1|North||8|",
        ]
    );
    // and once more there is nothing new
    let again = import(&shop, &after, &sent("again.csv", &format!("{text}\n"))).0;
    assert_eq!((again.rows_kept, again.adjusted.get(&Adjustment::Corrected)), (0, None));
    // a basket that is new has the hour of its first line, for the programme too
    let new = "receipt,no,card,at,dept,pieces,yuan,shop,city,brand\n\
               R8,1,C1,2025-04-05 21:59,DELI,1,8.00,,,\nR9,1,C1,2025-04-06,DELI,1,9.00,,,\n";
    let mut changes = import(&shop, &after, &sent("new.csv", new)).1;
    changes.sort_by_key(|change| change.after);
    let hours: Vec<Option<u32>> = changes.iter().map(|change| change.hour).collect();
    assert_eq!(hours, [Some(21), None]);
    let counted = shop.facts.counted_baskets().unwrap();
    assert!(counted.iter().any(|change| (change.after.get(), change.hour) == (800, Some(21))));
    // a member's own copy has them too
    let card = crate::vault::CardNumber::new("C1").unwrap();
    let member = shop.vault.by_card(&card).unwrap().unwrap();
    let lines = shop.facts.lines_of(&shop.vault.subjects(member).unwrap()).unwrap();
    let wine = lines.iter().find(|line| line.amount_fen == 3_000).unwrap();
    let texts = [&wine.store, &wine.region, &wine.label].map(|text| text.as_deref());
    assert_eq!((texts, wine.hour), ([Some("S1"), Some("North"), None], Some(8)));
}

/// What coupons took off, and whether the card was electronic, is kept where the mapping says where it stands; a
/// file that was read before it did is read again, and only lines that had a coupon are corrected.
#[test]
fn coupons_and_electronic_cards_are_kept_where_the_mapping_names_them() {
    let before = till(&format!("{STORE}[purchases.refunds]\n"));
    let after = till(&format!(
        "{STORE}coupon = \"off\"\n[purchases.refunds]\n\
         [purchases.electronic_card]\ncolumn = \"shown\"\nvalues = [\"app\", \"wallet\"]\n"
    ));
    let shop = shop(&before);
    let text = "receipt,no,card,at,dept,pieces,yuan,off,shown\n\
        R1,1,C1,2025-03-31,DELI,1,9.00,1.00,app\n\
        R1,2,C1,2025-03-31,WINE,1,30.00,0.00,app\n\
        R2,1,C1,2025-04-01,DELI,1,5.00,,plastic\n\
        R3,1,C1,2025-04-02,DELI,1,5.00,-0.50,\n\
        R4,1,C1,2025-04-03,DELI,-1,-9.00,-1.00,wallet\n";
    let source = sent("p.csv", text);
    assert_eq!(import(&shop, &before, &source).0.rows_kept, 5);
    let seen = "SELECT amount_fen, coupon_fen, electronic_card FROM purchases ORDER BY 1, 2";
    let snapshot = shop.facts.snapshot().unwrap();
    assert_eq!(shop.ask(&snapshot, seen), ["|500|||", "|500|||", "|900|||", "|3000|||"]);

    let (report, _) = import(&shop, &after, &source);
    // a coupon that adds to a price is a mistake, and is told as one
    let told: Vec<String> = report.issues.iter().map(ToString::to_string).collect();
    assert!(
        told.iter().any(|told| told.starts_with("line 5, coupon: is not an amount")),
        "{told:?}"
    );
    // the line with a coupon, the other of the same card, and the refund that was shown one too
    assert_eq!(report.adjusted[&Adjustment::Corrected], 3);
    assert_eq!(report.dropped[&DropReason::Duplicate], 1);
    let snapshot = shop.facts.snapshot().unwrap();
    let rows = shop.ask(&snapshot, seen);
    // what did not change was not written again
    assert_eq!(rows, ["|500|||", "|500|||", "|900|100|1|", "|3000|0|1|"]);
    // a member's own copy has them too
    let card = crate::vault::CardNumber::new("C1").unwrap();
    let member = shop.vault.by_card(&card).unwrap().unwrap();
    let lines = shop.facts.lines_of(&shop.vault.subjects(member).unwrap()).unwrap();
    let told: Vec<_> =
        lines.iter().map(|line| (line.amount_fen, line.coupon_fen, line.electronic_card)).collect();
    assert_eq!(told.len(), 5);
    assert!(told.contains(&(900, Some(100), Some(true))), "{told:?}");
    assert!(told.contains(&(500, None, None)), "{told:?}");
    // what a refund says of coupons is not kept
    assert!(told.contains(&(-900, None, Some(true))), "{told:?}");

    // read by the mapping from the start, a card of another kind is known to be one
    let other = super::cases::shop(&after);
    import(&other, &after, &source);
    let snapshot = other.facts.snapshot().unwrap();
    assert_eq!(other.ask(&snapshot, seen), ["|500||0|", "|900|100|1|", "|3000|0|1|"]);
}

#[test]
fn a_corrected_line_replaces_the_one_before() {
    let mapping = till(STORE);
    let shop = shop(&mapping);
    let head = "receipt,no,card,at,dept,pieces,yuan\n";
    let first = format!("{head}R1,1,C1,2025-03-31,DELI,1,99.00\nR1,2,C1,2025-03-31,WINE,1,30.00\n");
    import(&shop, &mapping, &sent("p.csv", &first));
    let before = shop.facts.snapshot().unwrap();
    let corrected = format!(
        "{head}R1,1,C1,2025-03-31,DELI,1,9.90\nR1,1,C1,2025-03-31,DELI,1,9.80\nR1,2,C1,2025-03-31,WINE,1,30.00\n"
    );
    let (report, changes) = import(&shop, &mapping, &sent("p.csv", &corrected));
    assert_eq!(report.adjusted[&Adjustment::Corrected], 1);
    assert_eq!(report.dropped[&DropReason::Contradiction], 1);
    assert_eq!(report.dropped[&DropReason::Duplicate], 1);
    let [change] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!((change.before.get(), change.after.get()), (12_900, 3_990));
    assert_eq!(change.departments, [("DELI".to_owned(), 990), ("WINE".to_owned(), 3_000)]);
    let sum = "SELECT count(*), sum(amount_fen) FROM purchases";
    let after = shop.facts.snapshot().unwrap();
    assert_eq!(shop.ask(&after, sum), ["|2|3990|"]);
    // what a query was bound to stays what it was
    assert_eq!(shop.ask(&before, sum), ["|2|12900|"]);
    assert_ne!(before.id(), after.id());
    assert_eq!(shop.facts.rows().unwrap(), 2);
}

#[test]
fn the_same_order_within_a_minute_counts_once() {
    let mapping = till(STORE);
    let shop = shop(&mapping);
    let line = |receipt: &str, no, card: &str, time: &str, dept: &str| {
        format!("{receipt},{no},{card},2025-03-31 {time},{dept},1,5.00\n")
    };
    let text = [
        "receipt,no,card,at,dept,pieces,yuan\n".to_owned(),
        line("R1", 1, "C1", "12:00:10", "DELI"),
        line("R1", 2, "C1", "12:00:10", "WINE"),
        // sent again, its lines in another order
        line("R2", 1, "C1", "12:00:50", "WINE"),
        line("R2", 2, "C1", "12:00:50", "DELI"),
        // another member's, another order, and the same one later
        line("R3", 1, "C2", "12:00:50", "WINE"),
        line("R3", 2, "C2", "12:00:50", "DELI"),
        line("R4", 1, "C1", "12:00:55", "WINE"),
        line("R5", 1, "C1", "12:01:11", "DELI"),
        line("R5", 2, "C1", "12:01:11", "WINE"),
    ]
    .concat();
    let (report, changes) = import(&shop, &mapping, &sent("p.csv", &text));
    assert_eq!(report.dropped[&DropReason::SameOrderTwice], 2);
    assert_eq!((report.rows_kept, changes.len()), (7, 4));
    assert!(report.issues[0].to_string().starts_with("line 4: the member's same order came twice"));
    // in the next batch too
    let later =
        format!("receipt,no,card,at,dept,pieces,yuan\n{}", line("R6", 1, "C1", "12:00:56", "WINE"));
    let (report, _) = import(&shop, &mapping, &sent("p.csv", &later));
    assert_eq!(report.dropped[&DropReason::SameOrderTwice], 1);
    // and not when the mapping says so
    let kept = till(&format!("{STORE}[purchases.cleaning]\nsame_order_within_seconds = 0\n"));
    assert_eq!(import(&shop, &kept, &sent("p.csv", &later)).0.rows_kept, 1);
}

#[test]
fn a_price_under_cost_is_dropped_or_told() {
    let text = "receipt,no,card,at,dept,pieces,yuan,cost\nR1,1,C1,2025-03-31,DELI,2,10.00,4.99\n\
        R1,2,C1,2025-03-31,DELI,2,10.00,5.01\nR1,3,C1,2025-03-31,DELI,1,1.00,\n";
    let strict = till(&format!("{STORE}cost = \"cost\"\n"));
    let strict_shop = shop(&strict);
    let (report, _) = import(&strict_shop, &strict, &sent("p.csv", text));
    assert_eq!((report.rows_kept, report.dropped[&DropReason::UnderCost]), (2, 1));
    let kept =
        till(&format!("{STORE}cost = \"cost\"\n[purchases.cleaning]\nkeep_under_cost = true\n"));
    let (report, _) = import(&shop(&kept), &kept, &sent("p.csv", text));
    assert_eq!((report.rows_kept, report.adjusted[&Adjustment::UnderCost]), (3, 1));
}

#[test]
fn a_dry_run_says_the_same_and_keeps_nothing() {
    let mapping = till(&format!("{STORE}[purchases.guests]\n"));
    let shop = Shop::open();
    let contents = |shop: &Shop| {
        let pairs = |name: &String| {
            let name = super::tests::SPACES.iter().find(|space| *space == name)?;
            Some(shop.store.scan_prefix(name, b"", None, usize::MAX).unwrap())
        };
        shop.store.keyspaces().unwrap().iter().map(pairs).collect::<Vec<_>>()
    };
    let before = contents(&shop);
    assert!(before.iter().all(Option::is_some), "a keyspace that the test does not know");
    let rows = "receipt,no,card,at,dept,pieces,yuan\nR1,1,C1,2025-03-31,DELI,1,5\nR1,1,C1,2025-03-31,DELI,1,5\n\
        R2,1,C9,2025-03-31,DELI,1,5\nR3,1,,2025-03-31,DELI,1,5\n";
    let (members, purchases) = (sent("m.csv", MEMBERS), sent("p.csv", rows));
    let folder = tempfile::tempdir().unwrap();
    let (vault, facts) = shop.facts.aside(&shop.vault, folder.path()).unwrap();
    let enrolled = import_members(&vault, &members, terms(&mapping), now(), &mut |_| {}).unwrap();
    let mut sink = |_: &[BasketChange]| Ok(());
    let said = facts.import(&vault, &purchases, terms(&mapping), &mut sink, &mut |_| {}).unwrap();
    assert_eq!((enrolled.enrolled, said.rows_kept), (3, 2));
    assert_eq!(contents(&shop), before);
    assert_eq!(shop.facts.rows().unwrap(), 0);

    let real = import_members(&shop.vault, &members, terms(&mapping), now(), &mut |_| {}).unwrap();
    assert_eq!(real, enrolled);
    assert_eq!(import(&shop, &mapping, &purchases).0, said);
    // over what is there, a dry run sees that it is
    let (vault, facts) = shop.facts.aside(&shop.vault, &folder.path().join("again")).unwrap();
    let again = facts.import(&vault, &purchases, terms(&mapping), &mut sink, &mut |_| {}).unwrap();
    assert_eq!((again.rows_kept, again.dropped[&DropReason::Duplicate]), (0, 3), "{again:?}");
}

/// Tills send while somebody tries a file out, and the other way round. Fails when an import aside takes what another is about
/// for what a crash has left: it tells it as its own, or gives it up, or takes a number that is taken.
#[test]
fn a_dry_run_beside_an_import_leaves_that_alone_and_tells_its_own() {
    let mapping = till(STORE);
    let shop = shop(&mapping);
    let rows = |number: u32| {
        let head = "receipt,no,card,at,dept,pieces,yuan";
        sent("p.csv", &format!("{head}\nR{number},1,C1,2025-03-31,DELI,1,{number}\n"))
    };
    let folder = tempfile::tempdir().unwrap();
    let (vault, facts) = shop.facts.aside(&shop.vault, &folder.path().join("before")).unwrap();
    let mut said = Vec::new();
    // the import counts already, and tells what it came to
    let mut sink = |_: &[BasketChange]| {
        let (vault, facts) = shop.facts.aside(&shop.vault, &folder.path().join("beside")).unwrap();
        for number in [2, 1] {
            let mut told = 0;
            let mut aside = |changes: &[BasketChange]| {
                told += changes.len();
                Ok(())
            };
            let none = &mut |_: Progress| {};
            let report =
                facts.import(&vault, &rows(number), terms(&mapping), &mut aside, none).unwrap();
            said.push((report.gave_up.is_some(), report.rows_kept, told));
        }
        Ok(())
    };
    let real = rows(1);
    let report =
        shop.facts.import(&shop.vault, &real, terms(&mapping), &mut sink, &mut |_| {}).unwrap();
    assert_eq!(report.rows_kept, 1);
    assert_eq!(said, [(false, 1, 1), (false, 0, 0)]);
    // one that began before the import, and ends after it
    let mut none = |_: &[BasketChange]| Ok(());
    let late = facts.import(&vault, &rows(3), terms(&mapping), &mut none, &mut |_| {}).unwrap();
    assert_eq!((late.rows_kept, late.gave_up), (1, None));
    assert_eq!(shop.facts.rows().unwrap(), 1);
    assert_eq!(import(&shop, &mapping, &rows(2)).0.rows_kept, 1);
}

fn shared(part: &str) -> Option<PathBuf> {
    let path = std::env::var_os("COALITION_SHARED").map(PathBuf::from)?.join("data").join(part);
    // who says where the data are wants them used
    assert!(path.is_dir(), "COALITION_SHARED is set, and there is no folder {}", path.display());
    Some(path)
}

fn skipped(part: &str) {
    eprintln!("skipped: data/{part} (COALITION_SHARED is not set)");
}

fn import_folder(
    folder: &std::path::Path,
    mapping: &Mapping,
) -> (Shop, MembersReport, ImportReport) {
    let shop = Shop::open();
    let files = crate::intake::BrandFiles::of_folder(folder, mapping).unwrap();
    let (members, purchases) = (files.members.unwrap(), files.purchases.unwrap());
    let members =
        import_members(&shop.vault, &members, terms(mapping), now(), &mut |_| {}).unwrap();
    let (purchases, _) = import(&shop, mapping, &purchases);
    (shop, members, purchases)
}

/// All four brands of the data, as they are: cancellations, guests, orders sent twice.
#[test]
fn online_retail_imports_without_an_edit() {
    let Some(folder) = shared("online-retail") else { return skipped("online-retail") };
    let mapping = Mapping::shipped("online-retail").unwrap();
    // members, lines, lines with nothing sold, negative ones that nothing explains, sent twice, sum in fen
    for (brand, members, rows, nothing, twice) in [
        ("brand_22", 4_169, 212_914, 0, 8),
        ("brand_23", 3_392, 93_500, 0, 7),
        ("brand_2x", 3_929, 132_030, 0, 13),
        ("brand_8x", 3_925, 100_470, 0, 4),
    ] {
        let (shop, people, report) = import_folder(&folder.join(brand), &mapping);
        assert_eq!((people.rows_read, people.enrolled), (members, members), "{brand}");
        assert!(people.consenting.is_empty());
        let dropped = |reason| report.dropped.get(&reason).copied().unwrap_or(0);
        eprintln!(
            "{brand}: {report}; {} guests, {} refunds",
            report.guest_rows, report.refund_rows
        );
        assert_eq!(report.rows_read, rows);
        assert_eq!(dropped(DropReason::NothingSold), nothing);
        assert_eq!(dropped(DropReason::SameOrderTwice), twice, "{brand}");
        let sum: u64 = report.dropped.values().sum();
        assert_eq!(report.rows_kept + sum, rows);
        assert_eq!(shop.facts.rows().unwrap(), report.rows_kept);
    }
}

/// The sums that the sample of lines, as CSV, has; and the same members.
#[test]
fn complete_journey_imports_from_csv_without_an_edit() {
    let Some(folder) = shared("complete-journey/csv_sample") else {
        return skipped("complete-journey/csv_sample");
    };
    let mapping = Mapping::shipped("complete-journey").unwrap();
    for brand in ["fresh_counter", "fuel_stop", "grocer_one", "grocer_two", "health_home"] {
        let (_, people, report) = import_folder(&folder.join(brand), &mapping);
        eprintln!("{brand}: {report}");
        assert!(people.enrolled > 0 && people.dropped.is_empty(), "{people:?}");
        // members are a sample as well: a line's may be missing, and nothing else is wrong
        assert_eq!(report.rows_read, 2_000);
        let known = [DropReason::UnknownMember, DropReason::NothingSold];
        assert!(report.dropped.keys().all(|reason| known.contains(reason)), "{report}");
        assert!(report.rows_kept > 1_500);
    }
}

/// The largest brand of the full data, to the fen.
#[test]
fn complete_journey_imports_whole() {
    let Some(folder) = shared("complete-journey/full") else {
        return skipped("complete-journey/full");
    };
    let mapping = Mapping::shipped("complete-journey").unwrap();
    let (_, people, report) = import_folder(&folder.join("health_home"), &mapping);
    eprintln!("{report}");
    assert_eq!((people.enrolled, report.rows_read), (2_413, 180_296));
    assert_eq!(report.dropped.keys().collect::<Vec<_>>(), [&DropReason::NothingSold]);
}
