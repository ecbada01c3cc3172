//! Random questions and random databases for them, from a seed.
//!
//! The questions are texts of the supported SQL, composed without looking at what binds them; the
//! databases hold what engines hold: guests, absent values, texts nobody declared, days outside the
//! declared ones.

use super::evaluate::{Database, Raw, RawRow};
use super::{raw_contract, value};
use crate::civil::CivilDate;
use crate::contract::{Contract, RawColumn, RawContract};

/// splitmix64 (Steele, Lea and Flood 2014).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }

    fn between(&mut self, least: i64, greatest: i64) -> i64 {
        least + i64::try_from(self.below((greatest - least + 1).cast_unsigned())).unwrap()
    }
}

/// The sample contract with small bounds, so that clipping happens, and every value at every brand.
pub(crate) fn open_contract() -> Contract {
    raw_open_contract().try_into().unwrap()
}

pub(crate) fn raw_open_contract() -> RawContract {
    let mut raw = raw_contract();
    raw.tables[0].rows_bound = 5;
    raw.tables[1].rows_bound = 2;
    for column in &mut raw.tables[1].columns {
        if let RawColumn::Integer { bound, .. } = column {
            *bound = Some(1_000);
        }
    }
    for column in &mut raw.tables[0].columns {
        match column {
            RawColumn::Text { values, .. } => {
                *values = ["GROCERY", "PRODUCE", "FUEL"].map(|text| value(text, None)).to_vec();
            }
            RawColumn::Integer { name, bound, minimum, maximum, .. } if name == "quantity" => {
                (*minimum, *maximum, *bound) = (-5, 5, Some(20));
            }
            RawColumn::Integer { minimum, maximum, bound, .. } => {
                (*minimum, *maximum, *bound) = (-1_000, 1_000, Some(1_000));
            }
            RawColumn::Date { .. } | RawColumn::Private { .. } => {}
        }
    }
    raw
}

/// Where a random question reads from: FROM, its numbers, its texts, its days.
struct Place {
    from: String,
    numbers: Vec<&'static str>,
    texts: Vec<(&'static str, &'static [&'static str])>,
    days: Vec<&'static str>,
}

const DEPARTMENTS: &[&str] = &["GROCERY", "PRODUCE", "FUEL", "OTHER"];
const KINDS: &[&str] = &["dry", "fresh", "OTHER"];
const CHANNELS: &[&str] = &["STORE", "APP", "OTHER"];

fn plain() -> Place {
    Place {
        from: "purchases".into(),
        numbers: vec!["quantity", "amount_fen"],
        texts: vec![("department", DEPARTMENTS)],
        days: vec!["purchased_on"],
    }
}

fn place(dice: &mut Dice) -> Place {
    let inner = plain();
    let filter = |dice: &mut Dice, percent| {
        if dice.chance(percent) {
            format!(" WHERE {}", condition(dice, &inner, 2))
        } else {
            String::new()
        }
    };
    match dice.below(9) {
        0 | 1 => plain(),
        2 => {
            let filter = filter(dice, 50);
            let sum = number(dice, &inner, 1);
            let having =
                dice.pick(&["", " HAVING count(*) >= 2", " HAVING s > 0 AND max(quantity) < 5"]);
            Place {
                from: format!(
                    "(SELECT member, sum({sum}) s, count(*) n, max(quantity) q, min(purchased_on) d \
                     FROM purchases{filter} GROUP BY member{having}) x"
                ),
                numbers: vec!["s", "n", "q"],
                texts: vec![],
                days: vec!["d"],
            }
        }
        3 => {
            let filter = filter(dice, 30);
            Place {
                from: format!(
                    "(SELECT member, department, half_year(purchased_on) h, sum(amount_fen) s, \
                     count(distinct quantity) n FROM purchases{filter} GROUP BY 1, 2, 3) x"
                ),
                numbers: vec!["s", "n"],
                texts: vec![("department", DEPARTMENTS), ("h", &["2017-H1", "2017-H2"])],
                days: vec![],
            }
        }
        4 => Place {
            from: "purchases p JOIN (SELECT member, count(*) n, sum(minutes) t FROM visits \
                   GROUP BY member) v ON p.member = v.member"
                .into(),
            numbers: vec!["quantity", "amount_fen", "n", "t"],
            texts: vec![("department", DEPARTMENTS)],
            days: vec!["purchased_on"],
        },
        5 => Place {
            from: "purchases p JOIN visits v USING (member)".into(),
            numbers: vec!["quantity", "amount_fen", "minutes"],
            texts: vec![("department", DEPARTMENTS), ("channel", CHANNELS)],
            days: vec!["purchased_on"],
        },
        6 => Place {
            from: format!(
                "purchases p {} aisles a ON p.department = a.department",
                dice.pick(&["JOIN", "LEFT JOIN"])
            ),
            numbers: vec!["quantity", "amount_fen"],
            texts: vec![("p.department", DEPARTMENTS), ("a.kind", KINDS)],
            days: vec!["purchased_on"],
        },
        7 => Place {
            from: "(SELECT DISTINCT member, department FROM purchases) x".into(),
            numbers: vec![],
            texts: vec![("department", DEPARTMENTS)],
            days: vec![],
        },
        _ => {
            let filter = filter(dice, 70);
            Place {
                from: format!(
                    "(SELECT member, case when n > 2 then 'often' else 'rarely' end c, n, t FROM \
                     (SELECT member, count(*) n FROM purchases{filter} GROUP BY member) a JOIN \
                     (SELECT member, max(minutes) t FROM visits GROUP BY member) b USING (member)) x"
                ),
                numbers: vec!["n", "t"],
                texts: vec![("c", &["often", "rarely"])],
                days: vec![],
            }
        }
    }
}

fn number(dice: &mut Dice, place: &Place, depth: u8) -> String {
    if place.numbers.is_empty() {
        return dice.between(1, 3).to_string();
    }
    let column = dice.pick(&place.numbers).to_owned();
    if depth == 0 {
        return column;
    }
    match dice.below(8) {
        0 => format!("({column} - {})", number(dice, place, depth - 1)),
        1 => format!("({} * {column})", dice.between(-2, 3)),
        2 => format!("least(greatest({column}, {}), 4)", dice.between(-3, 0)),
        3 => format!("abs({column})"),
        4 => format!(
            "case when {} then {} else {} end",
            condition(dice, place, 1),
            number(dice, place, depth - 1),
            dice.between(-1, 1)
        ),
        _ => column,
    }
}

fn condition(dice: &mut Dice, place: &Place, depth: u8) -> String {
    let simple = |dice: &mut Dice| match dice.below(4) {
        0 if !place.texts.is_empty() => {
            let (column, values) =
                place.texts[usize::try_from(dice.below(place.texts.len() as u64)).unwrap()];
            match dice.below(3) {
                0 => format!("{column} = '{}'", dice.pick(values)),
                1 => format!("{column} <> '{}'", dice.pick(values)),
                _ => format!("{column} IN ('{}', '{}')", dice.pick(values), dice.pick(values)),
            }
        }
        1 if !place.days.is_empty() => format!(
            "{} {} DATE '2017-{:02}-{:02}'",
            dice.pick(&place.days),
            dice.pick(&["<", "<=", ">", ">=", "<>"]),
            dice.between(1, 12),
            dice.between(1, 28)
        ),
        2 if place.numbers.len() > 1 => {
            format!("{} >= {}", dice.pick(&place.numbers), dice.pick(&place.numbers))
        }
        _ if !place.numbers.is_empty() => format!(
            "{} {} {}",
            dice.pick(&place.numbers),
            dice.pick(&["=", "<", "<=", ">", ">=", "<>"]),
            dice.between(0, 4)
        ),
        _ => "NOT department = 'FUEL'".to_owned(),
    };
    if depth == 0 {
        return simple(dice);
    }
    match dice.below(5) {
        0 => format!("({} AND {})", simple(dice), simple(dice)),
        1 => format!("({} OR {})", simple(dice), simple(dice)),
        2 => format!("NOT ({})", simple(dice)),
        _ => simple(dice),
    }
}

fn key(dice: &mut Dice, place: &Place) -> String {
    match dice.below(5) {
        0 if !place.days.is_empty() => {
            let day = dice.pick(&place.days);
            match dice.below(4) {
                0 => format!("half_year({day})"),
                1 => format!("date_trunc('quarter', {day})"),
                2 => format!("extract(month from {day})"),
                _ => format!("extract(year from {day})"),
            }
        }
        1 if !place.numbers.is_empty() => {
            format!("least(greatest({}, 0), 3)", dice.pick(&place.numbers))
        }
        2 => format!("case when {} then 'yes' else 'no' end", condition(dice, place, 1)),
        _ if !place.texts.is_empty() => {
            let (column, _) =
                place.texts[usize::try_from(dice.below(place.texts.len() as u64)).unwrap()];
            column.to_owned()
        }
        _ => format!("case when {} then 'yes' else 'no' end", condition(dice, place, 1)),
    }
}

fn measure(dice: &mut Dice, place: &Place) -> String {
    match dice.below(9) {
        0 => "count(*)".to_owned(),
        1 => "count(distinct member)".to_owned(),
        2 => format!("avg({})", number(dice, place, 2)),
        3 => format!("avg(case when {} then 1 else 0 end)", condition(dice, place, 1)),
        4 => format!("sum({}) / count(distinct member)", number(dice, place, 1)),
        5 => format!("sum({}) / sum({})", number(dice, place, 1), number(dice, place, 1)),
        6 => format!("median({})", number(dice, place, 1)),
        _ => format!("sum({})", number(dice, place, 2)),
    }
}

/// A random question. Some are refused, as questions are.
pub(crate) fn question(dice: &mut Dice) -> String {
    let place = place(dice);
    let keys = match dice.below(4) {
        0 => vec![],
        1 => vec![key(dice, &place), key(dice, &place)],
        _ => vec![key(dice, &place)],
    };
    let measures: Vec<String> = (0..=dice.below(2)).map(|_| measure(dice, &place)).collect();
    let items = keys.iter().chain(&measures).enumerate();
    let items: Vec<String> = items.map(|(index, item)| format!("{item} AS o{index}")).collect();
    // `member` has to be qualified where two tables have one
    let mut text = format!("SELECT {} FROM {}", items.join(", "), place.from);
    if place.from.starts_with("purchases p JOIN") && !place.from.contains("aisles") {
        text = text.replace("distinct member", "distinct p.member");
    }
    if dice.chance(50) {
        text += &format!(" WHERE {}", condition(dice, &place, 2));
    }
    if !keys.is_empty() {
        let ordinals: Vec<String> = (1..=keys.len()).map(|at| at.to_string()).collect();
        text += &format!(" GROUP BY {}", ordinals.join(", "));
    }
    text
}

/// Rows of one member; `None` for guests.
pub(crate) fn account(dice: &mut Dice, member: Option<&str>, most: u64) -> Database {
    let member = member.map(str::to_owned);
    let purchases = (0..dice.below(most + 1)).map(|_| {
        let day = CivilDate::new(
            if dice.chance(3) { 2018 } else { 2017 },
            u8::try_from(dice.between(1, 12)).unwrap(),
            u8::try_from(dice.between(1, 28)).unwrap(),
        );
        let text = dice.pick(&["GROCERY", "GROCERY", "PRODUCE", "FUEL", "OTHER", "IT'S NEW"]);
        let amount =
            if dice.chance(30) { dice.between(-2_000, 2_000) } else { dice.between(0, 60) };
        RawRow {
            member: member.clone(),
            values: vec![
                Raw::Day(day.filter(|_| !dice.chance(2))),
                Raw::Text(Some(text.to_owned()).filter(|_| !dice.chance(3))),
                Raw::Number(Some(dice.between(-6, 6)).filter(|_| !dice.chance(5))),
                Raw::Number(Some(amount).filter(|_| !dice.chance(5))),
            ],
        }
    });
    let purchases = purchases.collect();
    let visits = (0..dice.below(4)).map(|_| RawRow {
        member: member.clone(),
        values: vec![
            Raw::Text(Some(dice.pick(&["STORE", "APP", "PHONE"]).to_owned())),
            Raw::Number(Some(dice.between(-1, 700)).filter(|_| !dice.chance(5))),
        ],
    });
    let visits = visits.collect();
    Database::from([("purchases".to_owned(), purchases), ("visits".to_owned(), visits)])
}

/// All rows of both.
pub(crate) fn together(mut one: Database, two: &Database) -> Database {
    for (table, rows) in two {
        one.entry(table.clone()).or_default().extend(rows.iter().cloned());
    }
    one
}

/// A small random database, with a guest.
pub(crate) fn database(dice: &mut Dice, members: u64) -> Database {
    let guest = if dice.chance(50) { None } else { Some("") };
    (0..members).fold(account(dice, guest, 2), |all, number| {
        let name = format!("m{number}");
        together(all, &account(dice, Some(&name), 6))
    })
}

/// Rows that every engine reads alike: declared values only, none absent, bounds far away.
pub(crate) fn clean_database(dice: &mut Dice, members: u64) -> Database {
    let mut purchases = Vec::new();
    let mut visits = Vec::new();
    for number in 0..members {
        let member = Some(format!("m{number}"));
        for _ in 0..=dice.below(6) {
            let month = u8::try_from(dice.between(1, 12)).unwrap();
            let day = CivilDate::new(2017, month, u8::try_from(dice.between(1, 28)).unwrap());
            let department = dice.pick(&["GROCERY", "PRODUCE", "FUEL", "OTHER"]);
            let values = vec![
                Raw::Day(day),
                Raw::Text(Some(department.to_owned())),
                Raw::Number(Some(dice.between(0, 5))),
                Raw::Number(Some(dice.between(-5, 60))),
            ];
            purchases.push(RawRow { member: member.clone(), values });
        }
        for _ in 0..dice.below(3) {
            let channel = dice.pick(&["STORE", "APP", "OTHER"]);
            let minutes = Raw::Number(Some(dice.between(0, 600)));
            let values = vec![Raw::Text(Some(channel.to_owned())), minutes];
            visits.push(RawRow { member: member.clone(), values });
        }
    }
    Database::from([("purchases".to_owned(), purchases), ("visits".to_owned(), visits)])
}
