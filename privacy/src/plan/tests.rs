use super::*;
use crate::contract::RawColumn;
use crate::exact;
use crate::testing::{brand, local_question, raw_contract, sample_contract, spec};

fn plan(sql: &str) -> DpPlan {
    DpPlan::new(&sample_contract(), &spec(sql, 5)).unwrap()
}

fn refused(sql: &str) -> RefusalCode {
    DpPlan::new(&sample_contract(), &spec(sql, 5)).unwrap_err().code()
}

fn labels(plan: &DpPlan) -> Vec<String> {
    plan.cells().iter().map(|cell| cell.labels().join("/")).collect()
}

#[test]
fn one_zero_or_one_column_matches_the_published_table() {
    let plan = plan("SELECT count(distinct member) AS active FROM purchases");
    assert_eq!((plan.participants().len(), plan.tolerated_colluders()), (5, 1));
    let aggregate = &plan.columns()[0];
    // sigma^2 = 25 / (2 * 0.005) = 2500, a share has 2500/4 = 25^2.
    assert_eq!(*aggregate.share_deviation(), exact::integer(25));
    let summary = plan.summary();
    assert!((summary.aggregates[0].smallest_cell - 754.0).abs() < 1.0, "{summary:?}");
    assert_eq!(summary.pico_rho, PicoRho::new(5_000_000_000));
}

#[test]
fn the_sample_question_has_two_cells_and_counts_memberships() {
    let plan = plan(
        "SELECT half_year(purchased_on) AS half, count(distinct member) AS active_memberships \
         FROM purchases GROUP BY half_year(purchased_on)",
    );
    assert_eq!(labels(&plan), ["2017-H1", "2017-H2"]);
    assert_eq!(plan.columns()[0].squared_bound(), 2);
    // Trap 7: a person with accounts at five brands counts five times, and the answer says so.
    assert_eq!(plan.columns()[0].unit(), "memberships");
}

#[test]
fn the_noise_of_the_honest_never_costs_more_than_is_charged() {
    for sql in [
        "SELECT count(*) FROM purchases",
        "SELECT sum(amount_fen), count(*) c, count(distinct member) m FROM purchases",
        "SELECT date_trunc('month', purchased_on) m, count(distinct member) FROM purchases GROUP BY 1",
    ] {
        for rho in [5_000_000, 5_000_000_000, 4_999_999_999, 5_999_999_999] {
            let mut spec = spec(sql, 5);
            spec.rho = PicoRho::new(rho);
            let plan = DpPlan::new(&sample_contract(), &spec).unwrap();
            let n = plan.participants().len() as u128;
            let mut total = PicoRho::ZERO;
            for aggregate in plan.columns() {
                let scale = u128::from(aggregate.scale());
                assert_eq!(aggregate.squared_sensitivity(), n * n * aggregate.squared_bound());
                let sensitivity = exact::integer(aggregate.squared_sensitivity() * scale * scale);
                let honest = n - plan.tolerated_colluders() as u128;
                let variance = exact::times(&exact::squared(aggregate.share_deviation()), honest);
                let cost = PicoRho::of_gaussian(&sensitivity, &variance).unwrap();
                assert!(cost <= aggregate.rho());
                assert!(*aggregate.share_deviation() >= exact::integer(3));
                total = total.checked_add(aggregate.rho()).unwrap();
            }
            assert!(total <= plan.rho());
        }
    }
}

#[test]
fn cells_come_from_public_facts() {
    let months = plan(
        "SELECT date_trunc('month', purchased_on) m, count(*) FROM purchases \
         WHERE purchased_on >= '2017-04-01' AND purchased_on < '2017-07-01' GROUP BY 1",
    );
    assert_eq!(labels(&months), ["2017-04", "2017-05", "2017-06"]);
    let departments = plan(
        "SELECT department, half_year(purchased_on) h, count(*) FROM purchases \
         WHERE department <> 'FUEL' GROUP BY department, h",
    );
    assert_eq!(
        labels(&departments),
        [
            "GROCERY/2017-H1",
            "GROCERY/2017-H2",
            "PRODUCE/2017-H1",
            "PRODUCE/2017-H2",
            "OTHER/2017-H1",
            "OTHER/2017-H2"
        ]
    );
}

#[test]
fn a_cell_of_fewer_than_three_brands_is_refused() {
    use RefusalCode::TooFewCarriers;
    assert_eq!(refused("SELECT department, count(*) FROM purchases GROUP BY 1"), TooFewCarriers);
    let only = "SELECT count(*) FROM purchases WHERE department = 'FUEL'";
    assert_eq!(refused(only), TooFewCarriers);
    // A disjunction with a condition nobody meets must not lend its carriers.
    let hidden = "SELECT count(*) FROM purchases WHERE department = 'FUEL' \
                  OR (department = 'GROCERY' AND quantity > 999)";
    assert_eq!(refused(hidden), TooFewCarriers);
    // PRODUCE has three carriers, but only two of them are asked here.
    let mut three = spec("SELECT count(*) FROM purchases WHERE department = 'PRODUCE'", 5);
    three.participants = vec![brand(1), brand(2), brand(3), brand(4)];
    let refusal = DpPlan::new(&sample_contract(), &three).unwrap_err();
    assert_eq!(refusal.code(), TooFewCarriers);
    assert!(refusal.to_string().contains("department = 'PRODUCE'"), "{refusal}");
}

#[test]
fn who_asks_whom_for_what_and_how_much_is_checked() {
    let sql = "SELECT count(*) FROM purchases";
    let refused = |change: fn(&mut QuerySpec)| {
        let mut spec = spec(sql, 5);
        change(&mut spec);
        DpPlan::new(&sample_contract(), &spec).unwrap_err().code()
    };
    assert_eq!(refused(|s| s.participants.truncate(2)), RefusalCode::Participants);
    assert_eq!(refused(|s| s.participants.reverse()), RefusalCode::Participants);
    assert_eq!(refused(|s| s.participants[1] = s.participants[0]), RefusalCode::Participants);
    assert_eq!(refused(|s| s.purpose = "marketing".parse().unwrap()), RefusalCode::Purpose);
    assert_eq!(refused(|s| s.rho = PicoRho::ZERO), RefusalCode::Cost);
    assert_eq!(refused(|s| s.rho = PicoRho::new(6_000_000_001)), RefusalCode::Cost);
    // a thousandth of the usual cost is the least
    assert_eq!(refused(|s| s.rho = PicoRho::new(1)), RefusalCode::Cost);
    assert_eq!(refused(|s| s.rho = PicoRho::new(4_999_999)), RefusalCode::Cost);
    let mut cheap = spec(sql, 5);
    cheap.rho = PicoRho::new(5_000_000);
    assert!(DpPlan::new(&sample_contract(), &cheap).is_ok());
    cheap.rho = PicoRho::new(4_999_999);
    let refusal = DpPlan::new(&sample_contract(), &cheap).unwrap_err();
    assert!(refusal.to_string().contains("at least 5e-6 rho"), "{refusal}");
    let local = DpPlan::local(&sample_contract(), brand(2), &local_question(sql, 4_999_999));
    assert_eq!(local.unwrap_err().code(), RefusalCode::Cost);
    let mut dear = spec(sql, 5);
    dear.rho = PicoRho::new(6_000_000_001);
    let refusal = DpPlan::new(&sample_contract(), &dear).unwrap_err();
    assert!(refusal.to_string().contains("one of 5 brands may spend 6e-3 rho"), "{refusal}");
    assert!(refusal.hint().en.starts_with("ask with "), "{refusal}");
}

#[test]
fn everything_that_decides_the_answer_is_in_the_hash() {
    let sql = "SELECT sum(amount_fen) FROM purchases";
    let base = plan(sql).hash();
    assert_eq!(plan("select SUM(amount_fen) from purchases").hash(), base);
    let mut cheaper = spec(sql, 5);
    cheaper.rho = PicoRho::new(4_999_999_999);
    assert_ne!(DpPlan::new(&sample_contract(), &cheaper).unwrap().hash(), base);
    assert_ne!(DpPlan::new(&sample_contract(), &spec(sql, 4)).unwrap().hash(), base);
    let mut raw = raw_contract();
    let RawColumn::Integer { bound, .. } = &mut raw.tables[0].columns[3] else { panic!() };
    *bound = Some(200_000);
    let tighter = Contract::try_from(raw).unwrap();
    assert_ne!(DpPlan::new(&tighter, &spec(sql, 5)).unwrap().hash(), base);
    // whose bound it is decides too: the largest, the sum and so the noise are the same of these
    let own = |brands: [(&str, u64); 2]| {
        let mut raw = raw_contract();
        let RawColumn::Integer { bound_by_brand, .. } = &mut raw.tables[0].columns[3] else {
            panic!()
        };
        bound_by_brand.extend(brands.map(|(brand, bound)| (brand.to_owned(), bound)));
        let plan = DpPlan::new(&Contract::try_from(raw).unwrap(), &spec(sql, 5)).unwrap();
        (plan.columns()[0].hashed().bounds(), plan.columns()[0].squared_sensitivity())
    };
    let one = own([("fuel_stop", 100_000), ("health_home", 1_000_000)]);
    let other = own([("fuel_stop", 1_000_000), ("health_home", 100_000)]);
    assert_eq!(one.1, other.1);
    assert_ne!(one.0, other.0);
    assert_eq!(plan(sql).columns()[0].hashed().bounds(), None);
}

/// With bounds of brands' own too: Delta is their sum, and the honest brands' noise pays for it.
#[test]
fn the_noise_of_unlike_brands_never_costs_more_than_is_charged() {
    let mut raw = raw_contract();
    raw.tables[0].rows_bound_by_brand.insert("fuel_stop".into(), 200);
    let RawColumn::Integer { bound_by_brand, .. } = &mut raw.tables[0].columns[3] else { panic!() };
    bound_by_brand.insert("fresh_counter".into(), 50_000);
    bound_by_brand.insert("health_home".into(), 10_000_000);
    let contract = Contract::try_from(raw).unwrap();
    let sql = "SELECT count(*) c, sum(amount_fen) s, median(amount_fen) q FROM purchases";
    for rho in [5_000_000, 4_999_999_999, 5_999_999_999] {
        let mut spec = spec(sql, 5);
        spec.rho = PicoRho::new(rho);
        let plan = DpPlan::new(&contract, &spec).unwrap();
        let [rows, sums, bins] = plan.columns() else { panic!() };
        // by hand: fuel_stop counts 200 rows, the other four 2,000 each
        assert_eq!(rows.squared_sensitivity(), 8_200 * 8_200);
        // 50,000 and 10,000,000, and three times 500,000
        assert_eq!(sums.squared_sensitivity(), 11_550_000 * 11_550_000);
        // rows on nine levels: 8,200 times root 9
        assert_eq!(bins.squared_sensitivity(), 9 * 8_200 * 8_200);
        for column in [rows, sums, bins] {
            let scale = u128::from(column.scale());
            let sensitivity = exact::integer(column.squared_sensitivity() * scale * scale);
            let honest = 5 - plan.tolerated_colluders() as u128;
            let variance = exact::times(&exact::squared(column.share_deviation()), honest);
            let cost = PicoRho::of_gaussian(&sensitivity, &variance).unwrap();
            assert!(cost <= column.rho(), "{}", column.name());
        }
    }
    // who is not asked adds no noise: the first three brands alone
    let three = DpPlan::new(&contract, &crate::testing::spec(sql, 3)).unwrap();
    assert_eq!(three.columns()[0].squared_sensitivity(), 4_200 * 4_200);
    assert_eq!(three.columns()[1].squared_sensitivity(), 1_050_000 * 1_050_000);
}

#[test]
fn public_caps_must_rule_out_an_overflow() {
    let mut raw = raw_contract();
    let RawColumn::Integer { bound, maximum, .. } = &mut raw.tables[0].columns[3] else { panic!() };
    (*bound, *maximum) = (Some(1_000_000_000_000_000), 1_000_000_000_000_000);
    let contract = Contract::try_from(raw).unwrap();
    let refusal = DpPlan::new(&contract, &spec("SELECT sum(amount_fen) FROM purchases", 5));
    assert_eq!(refusal.unwrap_err().code(), RefusalCode::Overflow);
}

/// Trap 7: counts of a joint answer are of memberships, and are called so wherever they appear: one
/// person may have an account at each brand, so that 2,469 people can be 10,019.
#[test]
fn trap_7_joint_counts_are_labelled_memberships() {
    for sql in [
        "SELECT count(distinct member) FROM purchases",
        "SELECT count(*) FROM (SELECT member, count(*) n FROM purchases GROUP BY member) x",
        "SELECT sum(case when n > 2 then 1 else 0 end) FROM \
         (SELECT member, count(*) n FROM purchases GROUP BY member) x",
        "SELECT avg(case when n > 2 then 1 else 0 end) FROM \
         (SELECT member, count(*) n FROM purchases GROUP BY member) x",
    ] {
        let plan = plan(sql);
        assert_eq!(plan.columns()[0].unit(), "memberships", "{sql}");
        assert_eq!(plan.summary().aggregates[0].unit, "memberships");
    }
    assert_eq!(plan("SELECT count(*) FROM purchases").columns()[0].unit(), "rows");
    assert!(crate::release::PROTECTED.contains("counts are of memberships"));
}

#[test]
fn a_subquery_bounds_what_a_member_can_move() {
    let squared = |sql: &str| plan(sql).columns()[0].squared_bound();
    // one row a member, in one of four bins
    let spent = "(SELECT member, sum(amount_fen) s, count(*) n FROM purchases GROUP BY member) x";
    let bins = "case when s < 1000 then 'a' when s < 5000 then 'b' else 'c' end";
    assert_eq!(squared(&format!("SELECT {bins} b, count(*) FROM {spent} GROUP BY 1")), 1);
    assert_eq!(
        squared(&format!("SELECT {bins} b, count(distinct member) FROM {spent} GROUP BY 1")),
        1
    );
    // what it is made of, or its range for every row, whichever is less
    assert_eq!(squared(&format!("SELECT sum(s) FROM {spent}")), 500_000 * 500_000);
    assert_eq!(squared(&format!("SELECT sum(n) FROM {spent}")), 2_000 * 2_000);
    assert_eq!(squared(&format!("SELECT sum(least(n, 7)) FROM {spent}")), 7 * 7);
    assert_eq!(squared("SELECT sum(2 * amount_fen) FROM purchases"), 1_000_000 * 1_000_000);
    let half = "SELECT sum(case when quantity > 1 then amount_fen else 0 end) FROM purchases";
    assert_eq!(squared(half), 500_000 * 500_000);
    let yes = "SELECT sum(case when quantity > 1 then 1 else 0 end) FROM purchases";
    assert_eq!(squared(yes), 2_000 * 2_000);
    // joined to one row a member, nothing repeats; joined to many, it may
    let visits = |rows: &str| {
        format!("SELECT sum(amount_fen) FROM purchases p JOIN {rows} v ON p.member = v.member")
    };
    let one = visits("(SELECT member, count(*) n FROM visits GROUP BY member)");
    assert_eq!(squared(&one), 500_000 * 500_000);
    assert_eq!(squared(&visits("visits")), (500_000u128 * 500).pow(2));
}

#[test]
fn a_condition_inside_an_aggregate_needs_carriers_too() {
    use RefusalCode::TooFewCarriers;
    let hidden =
        "SELECT sum(case when department = 'FUEL' then amount_fen else 0 end) FROM purchases";
    assert_eq!(refused(hidden), TooFewCarriers);
    let deeper = "SELECT count(*) FROM (SELECT member, sum(case when department = 'FUEL' then 1 else 0 end) f \
                  FROM purchases GROUP BY member) x WHERE f > 0";
    assert_eq!(refused(deeper), TooFewCarriers);
    let joined = "SELECT a.kind, count(*) FROM purchases p LEFT JOIN aisles a ON a.department = p.department GROUP BY 1";
    assert_eq!(refused(joined), TooFewCarriers);
    // the same without FUEL is asked of those who carry the rest
    let without =
        deeper.replace("FROM purchases GROUP", "FROM purchases WHERE department <> 'FUEL' GROUP");
    assert_eq!(
        plan(&without.replace("department = 'FUEL'", "department = 'PRODUCE'")).cells().len(),
        1
    );
    let shops = joined.replace("LEFT JOIN", "JOIN");
    assert_eq!(labels(&plan(&shops)), ["dry", "fresh"]);
}

/// The sample contract, whose `amount_fen` these brands alone tell.
fn told_by(brands: &[usize]) -> Contract {
    let mut raw = raw_contract();
    let RawColumn::Integer { carriers, .. } = &mut raw.tables[0].columns[3] else { panic!() };
    *carriers = Some(brands.iter().map(|index| brand(*index).to_string()).collect());
    raw.try_into().unwrap()
}

/// With noise, what one brand alone tells is that brand's total, in whatever form it is read: there is no plan, and so
/// nothing to be charged.
#[test]
fn a_number_that_fewer_than_three_brands_tell_is_refused_wherever_it_is_read() {
    let (two, three) = (told_by(&[1, 2]), told_by(&[1, 2, 3]));
    for sql in [
        "SELECT sum(amount_fen) FROM purchases",
        "SELECT avg(amount_fen) FROM purchases",
        "SELECT median(amount_fen) FROM purchases",
        "SELECT sum(2 * amount_fen - 7) FROM purchases",
        "SELECT count(*) FROM purchases WHERE amount_fen > 0",
        "SELECT count(distinct member) FROM purchases WHERE NOT amount_fen > 0",
        "SELECT sum(case when amount_fen > 100 then 1 else 0 end) FROM purchases",
        "SELECT case when amount_fen < 100 then 'small' else 'large' end s, count(*) FROM purchases GROUP BY s",
        "SELECT count(*) FROM (SELECT member, max(amount_fen) f FROM purchases GROUP BY member \
         HAVING max(amount_fen) > 5) x",
        // read, though nothing comes of it
        "SELECT count(*) FROM (SELECT member, sum(amount_fen) f FROM purchases GROUP BY member) x",
        "SELECT count(*) FROM visits v JOIN (SELECT member, sum(amount_fen) f FROM purchases GROUP BY member) x \
         ON v.member = x.member WHERE x.f > 3",
    ] {
        let refusal = DpPlan::new(&two, &spec(sql, 5)).unwrap_err();
        assert_eq!(refusal.code(), RefusalCode::TooFewCarriers, "{sql}: {refusal}");
        assert_eq!(refusal.message().en, "only 2 participant(s) tell amount_fen", "{sql}");
        assert_eq!(refusal.message().zh, "仅有 2 个参与方提供 amount_fen", "{sql}");
        assert!(refusal.hint().en.contains("leave amount_fen out"), "{refusal}");
        assert!(refusal.hint().zh.contains("请去掉 amount_fen"), "{}", refusal.hint().zh);
        assert!(DpPlan::new(&three, &spec(sql, 5)).is_ok(), "{sql}");
        // three tell it, but two of them are asked
        let mut fewer = spec(sql, 5);
        fewer.participants = vec![brand(0), brand(1), brand(2), brand(4)];
        let refusal = DpPlan::new(&three, &fewer).unwrap_err();
        assert_eq!(refusal.message().en, "only 2 participant(s) tell amount_fen", "{sql}");
    }
    // what does not read it is asked as ever
    assert!(
        DpPlan::new(&two, &spec("SELECT count(*), count(distinct member) FROM purchases", 5))
            .is_ok()
    );
    // those who carry a text and tell the number are counted, and the text's own come first
    let of = |value: &str| {
        let sql = format!("SELECT sum(amount_fen) FROM purchases WHERE department = '{value}'");
        DpPlan::new(&three, &spec(&sql, 5)).map_err(|refusal| refusal.message().en.clone())
    };
    assert!(of("GROCERY").is_ok());
    let produce = "only 2 participant(s) tell amount_fen in rows with department = 'PRODUCE'";
    assert_eq!(of("PRODUCE").unwrap_err(), produce);
    let fuel = "only 1 participant(s) may carry rows with department = 'FUEL'";
    assert_eq!(of("FUEL").unwrap_err(), fuel);
}

#[test]
fn a_brand_answers_alone_of_a_number_that_it_tells_and_of_no_other() {
    let contract = told_by(&[1]);
    let sum = local_question("SELECT sum(amount_fen) FROM purchases", 4_000_000_000);
    assert!(DpPlan::local(&contract, brand(1), &sum).is_ok());
    let refusal = DpPlan::local(&contract, brand(2), &sum).unwrap_err();
    assert_eq!(refusal.code(), RefusalCode::TooFewCarriers);
    assert_eq!(refusal.message().en, "by the contract this brand does not tell amount_fen");
    assert_eq!(refusal.message().zh, "按契约，该品牌不提供 amount_fen");
    let count = local_question("SELECT count(*) FROM purchases", 4_000_000_000);
    assert!(DpPlan::local(&contract, brand(2), &count).is_ok());
}

#[test]
fn keys_are_expressions_with_public_values() {
    let months = plan(
        "SELECT extract(quarter from purchased_on) q, date_trunc('month', purchased_on) m, count(*) \
         FROM purchases WHERE purchased_on >= '2017-11-01' GROUP BY 1, 2",
    );
    // only months that lie in the quarter
    assert_eq!(labels(&months), ["4/2017-11", "4/2017-12"]);
    let visits = plan(
        "SELECT least(n, 2) n, count(*) FROM (SELECT member, count(*) n FROM visits GROUP BY member) x \
         GROUP BY 1",
    );
    assert_eq!(labels(&visits), ["0", "1", "2"]);
    let sizes = plan(
        "SELECT case when amount_fen < 0 then 'refund' when amount_fen < 100 then 'small' else 'large' end s, \
         count(*) FROM purchases GROUP BY s",
    );
    assert_eq!(labels(&sizes), ["refund", "small", "large"]);
}

#[test]
fn too_many_cells_and_values_are_refused() {
    use RefusalCode::TooManyCells;
    let wide = "SELECT quantity - quantity a, least(greatest(quantity, 0), 1000) b, least(greatest(amount_fen, 0), 999) c, \
                count(*) FROM purchases GROUP BY 1, 2, 3";
    assert!([TooManyCells, RefusalCode::Unsupported].contains(&refused(wide)));
    let wide = "SELECT least(greatest(quantity, 0), 900) b, least(greatest(amount_fen, 0), 900) c, count(*) \
                FROM purchases GROUP BY 1, 2";
    assert_eq!(refused(wide), TooManyCells);
    let histograms =
        "SELECT least(greatest(quantity, 0), 200) q, median(amount_fen) FROM purchases GROUP BY 1";
    assert_eq!(refused(histograms), TooManyCells);
}

/// So many cells with these columns: `thousands` of them.
fn thousands(thousands: u32, columns: &str) -> String {
    format!(
        "SELECT least(greatest(quantity, 1), {thousands}) q, least(greatest(amount_fen, 0), 999) a, {columns} \
         FROM purchases GROUP BY 1, 2"
    )
}

/// A joint question has as many cells and figures as it may, and not one more; a brand alone has a tenth of the cells,
/// because a pack brings back so many of every brand. The words say how many there may be.
#[test]
fn as_many_cells_as_there_may_be_are_planned_and_no_more() {
    use RefusalCode::TooManyCells;
    let largest = plan(&thousands(100, "count(*) n, count(distinct member) m"));
    assert_eq!((largest.cells().len(), largest.coordinates()), (CELLS_MAX, COORDINATES_MAX));
    assert_eq!(largest.cells()[99_999].labels(), ["100", "999"]);
    let least = 8 * COORDINATES_MAX * (largest.participants().len() + 1);
    assert!((least..2 * least + 64_000_000).contains(&largest.bytes_held()));
    let one_more = DpPlan::new(&sample_contract(), &spec(&thousands(101, "count(*) n"), 5));
    let refusal = one_more.unwrap_err();
    assert_eq!(refusal.code(), TooManyCells);
    assert!(refusal.hint().en.contains("at most 100000 cells"), "{refusal}");
    let three = "count(*) n, count(distinct member) m, sum(amount_fen) s";
    assert_eq!(refused(&thousands(100, three)), TooManyCells);
    assert_eq!(plan(&thousands(60, three)).coordinates(), 180_000);

    let alone = |sql: &str| {
        DpPlan::local(&sample_contract(), brand(2), &local_question(sql, 4_000_000_000))
    };
    let whole = alone(&thousands(10, three)).unwrap();
    assert_eq!((whole.cells().len(), whole.coordinates()), (CELLS_ALONE_MAX, 30_000));
    let refusal = alone(&thousands(11, "count(*) n")).unwrap_err();
    assert_eq!(refusal.code(), TooManyCells);
    assert!(refusal.hint().en.contains("at most 10000 cells"), "{refusal}");
}

/// An answer is kept as one record: what would not fit it is refused before it is asked, though its noised columns
/// are few.
#[test]
fn an_answer_that_would_not_fit_a_record_is_refused() {
    let named = |columns: u32| {
        let columns: Vec<String> = (0..columns).map(|at| format!("count(*) n{at}")).collect();
        thousands(100, &columns.join(", "))
    };
    assert_eq!(plan(&named(2)).coordinates(), CELLS_MAX);
    let refusal = DpPlan::new(&sample_contract(), &spec(&named(40), 5)).unwrap_err();
    assert_eq!(refusal.code(), RefusalCode::TooManyCells);
    assert!(refusal.to_string().contains(&ANSWER_MAX_BYTES.to_string()), "{refusal}");
}

/// Whether a reading ends in time must not hang on one member's rows, multiplied: a count of members is bounded
/// by its cells however many rows are joined.
#[test]
fn joins_that_multiply_a_members_rows_are_refused() {
    let joined = |tables: usize, first: &str| {
        let more =
            (1..tables).map(|at| format!(" JOIN purchases p{at} ON p0.member = p{at}.member"));
        let more: String = more.collect();
        format!("SELECT count(distinct p0.member) FROM {first} p0{more}")
    };
    for (sql, rows) in [
        (joined(2, "purchases"), "4000000"),
        (joined(8, "purchases"), "18446744073709551615"),
        (
            "SELECT count(*) FROM (SELECT a.member, count(*) n FROM purchases a JOIN purchases b \
             ON a.member = b.member GROUP BY a.member) x"
                .to_owned(),
            "4000000",
        ),
    ] {
        for refusal in [
            DpPlan::new(&sample_contract(), &spec(&sql, 5)).unwrap_err(),
            DpPlan::local(&sample_contract(), brand(2), &local_question(&sql, 4_000_000_000))
                .unwrap_err(),
        ] {
            assert_eq!(refusal.code(), RefusalCode::TooComplex, "{sql}: {refusal}");
            assert!(refusal.to_string().contains(rows), "{refusal}");
            assert!(refusal.hint().en.contains("subqueries grouped by the member"), "{refusal}");
        }
    }
    // as many rows as a member's are counted for, and joins of what has one row a member
    assert_eq!(joined_rows(&joined(2, "visits")), 1_000_000);
    let one = "(SELECT member, count(*) n FROM purchases GROUP BY member)";
    assert_eq!(joined_rows(&joined(2, one)), 2_000);
    assert_eq!(joined_rows("SELECT count(*) FROM purchases"), 0);
}

fn joined_rows(sql: &str) -> u64 {
    let plan = plan(sql);
    plan.query().from.joined_rows(BoundsAt::others(plan.contract_tables()))
}

/// Planning happens in a node's one loop, for whoever asks: what would take long is refused before it does.
#[test]
fn what_takes_long_to_plan_is_refused_soon() {
    let mut raw = raw_contract();
    let many = |name: &str| RawColumn::Text {
        name: name.into(),
        values: (0..300).map(|at| crate::testing::value(&format!("{name}{at}"), None)).collect(),
        other_carriers: None,
    };
    raw.tables[0].columns.extend([many("brand_of"), many("size_of")]);
    let contract = Contract::try_from(raw).unwrap();
    let planned = |sql: &str| {
        DpPlan::new(&contract, &spec(sql, 5)).map(|plan| plan.hash()).map_err(|no| no.code())
    };
    // 301 * 301 combinations, of each of which all of these are looked at
    let conditions: Vec<String> = (0..150).map(|at| format!("quantity <> {at}")).collect();
    let conditions = conditions.join(" AND ");
    let wide = format!(
        "SELECT count(*) FROM purchases WHERE brand_of <> 'x' AND size_of <> 'y' AND {conditions}"
    );
    let wide = wide.replace("'x'", "'brand_of1'").replace("'y'", "'size_of1'");
    assert_eq!(planned(&wide), Err(RefusalCode::TooComplex));
    // with few conditions, or few combinations, it is planned
    let few =
        "SELECT count(*) FROM purchases WHERE brand_of <> 'brand_of1' AND size_of <> 'size_of1'";
    assert!(planned(few).is_ok());
    let one = format!("SELECT count(*) FROM purchases WHERE {conditions}");
    assert!(planned(&one).is_ok());
    // so are as many cells as there are combinations
    let cells = "SELECT brand_of, size_of, count(*) FROM purchases GROUP BY 1, 2";
    assert!(planned(cells).is_ok());
    // a subquery's column named again and again at each level, and an expression that doubles itself
    let mut nested = "SELECT member, quantity a FROM purchases".to_owned();
    for level in 0..6 {
        let named = vec!["a"; 40].join(", ");
        nested = format!("SELECT member, least({named}) a FROM ({nested}) l{level}");
    }
    let doubled = format!("{}quantity{}", "abs(".repeat(7), ")".repeat(7));
    for sql in [
        format!("SELECT sum(a) FROM ({nested}) x"),
        format!("SELECT count(*) FROM ({nested}) x WHERE a > 3"),
        // what the inner ones double is doubled again outside
        format!(
            "SELECT sum({}) FROM purchases",
            doubled.replace("quantity", &vec!["quantity"; 40].join(" + "))
        ),
    ] {
        // by the count of steps: taken, they would not end
        assert_eq!(planned(&sql), Err(RefusalCode::TooComplex), "{sql}");
    }
}
