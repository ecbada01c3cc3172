//! Balances of a programme of before, as a file has them: whose card brings how many points until when.
//!
//! Rows of one card are one balance, which is brought once and whole: a row that is wrong keeps the others of its
//! card back, and no other card's. What points are is not known here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use datafusion::arrow::record_batch::RecordBatch;

use super::clean::Issue;
use super::columns::{CellProblem, FileProblem, TEXT, Text, WHOLE, Whole, missing, required};
use super::formats::{Counted, Encoding, Source, TextTerms};
use super::times::day_of;
use crate::vault::CardNumber;

/// Most rows of a file: its balances are in memory together.
const ROWS_MAX: u64 = 2_000_000;
/// Most rows of one card that have points.
pub const OPENING_LOTS_MAX: usize = 64;
/// Most problems that are listed one by one; all are counted.
const PROBLEMS_MAX: usize = 1_000;

const CARD: &str = "card";
const POINTS: &str = "points";
const EXPIRES_ON: &str = "expires_on";
const TIER_POINTS: &str = "tier_points";

/// Why a file of balances cannot be read as a whole.
#[derive(Debug, thiserror::Error)]
pub enum OpeningsProblem {
    /// The file itself.
    #[error(transparent)]
    File(#[from] FileProblem),
    /// Too long for one file.
    #[error(
        "{file}: has more than {ROWS_MAX} rows; write several files, all rows of a card in one of them"
    )]
    TooLong {
        /// Its name.
        file: String,
    },
}

/// A row that was left out. Nothing of its content is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// A cell is wrong, or the row cannot be taken apart.
    Wrong(Issue),
    /// It says something else of what counts towards a tier than another row of its card.
    TierPoints(Counted, u64),
    /// Its card has too many rows with points.
    TooManyLots(Counted, u64),
    /// Another row of its card is wrong.
    WithAnother(Counted, u64),
}

impl LeftOut {
    const fn place(&self) -> u64 {
        match self {
            Self::Wrong(issue) => issue.place,
            Self::TierPoints(_, place)
            | Self::TooManyLots(_, place)
            | Self::WithAnother(_, place) => *place,
        }
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong(issue) => fmt::Display::fmt(issue, f),
            Self::TierPoints(counted, place) => write!(
                f,
                "{counted} {place}, {TIER_POINTS}: is another than in a row of the same card before; state it \
                 in one of them, or the same in each"
            ),
            Self::TooManyLots(counted, place) => write!(
                f,
                "{counted} {place}: is one of more than {OPENING_LOTS_MAX} rows of a card with points; add up \
                 those that expire on one day"
            ),
            Self::WithAnother(counted, place) => write!(
                f,
                "{counted} {place}: waits for another row of the same card that is wrong; correct that one and \
                 bring the file again"
            ),
        }
    }
}

/// What a card brings.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct OpeningRows {
    /// Where its rows are.
    pub places: Vec<u64>,
    /// Points and their last day, as in `2027-03-31`; none where no day is stated.
    pub lots: Vec<(u64, Option<String>)>,
    /// What counts towards a tier, where a row says it.
    pub tier_points: Option<u64>,
}

/// What a file brings.
#[derive(Default)]
pub struct OpeningsFile {
    /// Its name.
    pub file: String,
    /// How places are counted in it.
    pub counted: Counted,
    /// Rows read.
    pub rows_read: u64,
    /// Rows left out.
    pub rows_left_out: u64,
    /// The first of them, in their order.
    pub left_out: Vec<LeftOut>,
    /// What each card brings.
    pub cards: BTreeMap<String, OpeningRows>,
}

/// The number of a day as balances have it, `2027-03-31`: days since 1970-01-01.
#[must_use]
pub fn opening_day(text: &str) -> Option<u32> {
    let day = day_of(text).filter(|_| text.len() == 10)?;
    u32::try_from(day).ok()
}

/// Reads a file of balances: CSV with a row of names first, JSON lines, or Parquet, with the columns `card` and `points`,
/// and, if it has them, `expires_on` and `tier_points`. A wrong row is no error: it is in what is given.
///
/// # Errors
/// When the file as a whole is not what it should be.
pub fn read_openings(source: &Source, encoding: Encoding) -> Result<OpeningsFile, OpeningsProblem> {
    let file = source.name();
    let terms = TextTerms { delimiter: b',', encoding };
    let opened = source.open(&[CARD, POINTS, EXPIRES_ON, TIER_POINTS], terms)?;
    for (column, accepted) in [(CARD, TEXT), (POINTS, WHOLE)] {
        if !opened.names.contains(column) {
            return Err(missing(&file, column, accepted).into());
        }
    }
    let found = OpeningsFile { file, counted: opened.counted, ..OpeningsFile::default() };
    let mut reading = Reading { found, wrong: BTreeSet::new() };
    for batch in opened.batches {
        let batch = batch?;
        let columns = Columns::of(&reading.found.file, &batch.columns)?;
        for (place, problem) in &batch.broken {
            reading.found.rows_read += 1;
            reading.leave_out_row(*place, None, Issue::broken(*problem));
        }
        for (row, place) in batch.places.iter().copied().enumerate() {
            reading.found.rows_read += 1;
            match columns.row(row) {
                Ok(row) => reading.take(place, &row),
                Err((card, issue)) => reading.leave_out_row(place, card, issue),
            }
        }
        if reading.found.rows_read > ROWS_MAX {
            return Err(OpeningsProblem::TooLong { file: reading.found.file });
        }
    }
    Ok(reading.whole())
}

struct Reading {
    found: OpeningsFile,
    /// Cards of which a row is wrong.
    wrong: BTreeSet<String>,
}

impl Reading {
    fn leave_out(&mut self, what: LeftOut) {
        self.found.rows_left_out += 1;
        if self.found.left_out.len() < PROBLEMS_MAX {
            self.found.left_out.push(what);
        }
    }

    fn leave_out_row(&mut self, place: u64, card: Option<&str>, issue: Issue) {
        let counted = self.found.counted;
        self.wrong.extend(card.map(str::to_owned));
        self.leave_out(LeftOut::Wrong(Issue { place, counted, ..issue }));
    }

    fn take(&mut self, place: u64, row: &Row<'_>) {
        let counted = self.found.counted;
        let rows = self.found.cards.entry(row.card.to_owned()).or_default();
        let other = row.tier_points.is_some_and(|it| rows.tier_points.is_some_and(|of| of != it));
        let wrong = if other {
            Some(LeftOut::TierPoints(counted, place))
        } else if row.points > 0 && rows.lots.len() >= OPENING_LOTS_MAX {
            Some(LeftOut::TooManyLots(counted, place))
        } else {
            None
        };
        if let Some(wrong) = wrong {
            self.wrong.insert(row.card.to_owned());
            self.leave_out(wrong);
            return;
        }
        rows.places.push(place);
        rows.tier_points = rows.tier_points.or(row.tier_points);
        if row.points > 0 {
            rows.lots.push((row.points, row.last_day.map(str::to_owned)));
        }
    }

    /// Without the cards of which a row is wrong.
    fn whole(mut self) -> OpeningsFile {
        let counted = self.found.counted;
        for card in std::mem::take(&mut self.wrong) {
            let rows = self.found.cards.remove(&card).unwrap_or_default();
            for place in rows.places {
                self.leave_out(LeftOut::WithAnother(counted, place));
            }
        }
        self.found.left_out.sort_by_key(LeftOut::place);
        self.found
    }
}

struct Row<'a> {
    card: &'a str,
    points: u64,
    last_day: Option<&'a str>,
    tier_points: Option<u64>,
}

struct Columns {
    card: Text,
    points: Whole,
    expires_on: Option<Text>,
    tier_points: Option<Whole>,
}

/// A number that is there and not below zero.
fn number(found: Result<i64, CellProblem>) -> Result<u64, CellProblem> {
    u64::try_from(found?).map_err(|_| CellProblem::NotWhole)
}

impl Columns {
    fn of(file: &str, batch: &RecordBatch) -> Result<Self, FileProblem> {
        let is_there = |name: &str| batch.column_by_name(name).is_some();
        let text = |name: &str| Text::of(file, name, required(file, batch, name, TEXT)?);
        let whole = |name: &str| Whole::of(file, name, required(file, batch, name, WHOLE)?);
        Ok(Self {
            card: text(CARD)?,
            points: whole(POINTS)?,
            expires_on: is_there(EXPIRES_ON).then(|| text(EXPIRES_ON)).transpose()?,
            tier_points: is_there(TIER_POINTS).then(|| whole(TIER_POINTS)).transpose()?,
        })
    }

    /// A row; or what is wrong with it, and whose it is where that can be read.
    fn row(&self, row: usize) -> Result<Row<'_>, (Option<&str>, Issue)> {
        let of_card = |problem| (None::<&str>, Issue::cell(CARD, problem));
        let card = self.card.at(row).map_err(of_card)?;
        let card = card.ok_or_else(|| of_card(CellProblem::Missing))?;
        if CardNumber::new(card).is_err() {
            return Err(of_card(CellProblem::NotAnIdentifier));
        }
        let points = number(self.points.at(row));
        let points = points.map_err(|problem| (Some(card), Issue::cell(POINTS, problem)))?;
        let last_day = match &self.expires_on {
            Some(column) => match column.at(row) {
                Ok(Some(day)) if opening_day(day).is_none() => Err(CellProblem::NotADate),
                found => found,
            },
            None => Ok(None),
        };
        let last_day =
            last_day.map_err(|problem| (Some(card), Issue::cell(EXPIRES_ON, problem)))?;
        let tier_points = match self.tier_points.as_ref().map(|column| number(column.at(row))) {
            None | Some(Err(CellProblem::Missing)) => None,
            Some(Ok(number)) => Some(number),
            Some(Err(problem)) => return Err((Some(card), Issue::cell(TIER_POINTS, problem))),
        };
        Ok(Row { card, points, last_day, tier_points })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::formats::Format;
    use super::*;

    fn sent(format: Format, text: &str) -> Source {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        Source::Sent { name: "before.csv".to_owned(), format, bytes }
    }

    fn read(format: Format, text: &str) -> OpeningsFile {
        read_openings(&sent(format, text), Encoding::Utf8).unwrap()
    }

    fn told(found: &OpeningsFile) -> Vec<String> {
        found.left_out.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rows_of_a_card_are_one_balance_and_other_columns_are_passed_over() {
        let text = "name,card,tier_points,points,expires_on\n\
                    Li,C1,300,50,2027-03-31\nLi,C1,,20,\nLi,C1,300,0,\nWang,C2,,7,2027-01-01\n";
        let found = read(Format::Csv, text);
        assert_eq!((found.rows_read, found.rows_left_out), (4, 0));
        let one = &found.cards["C1"];
        assert_eq!(one.places, [2, 3, 4]);
        assert_eq!(one.lots, [(50, Some("2027-03-31".to_owned())), (20, None)]);
        assert_eq!(one.tier_points, Some(300));
        assert_eq!(found.cards["C2"].tier_points, None);
        let lines = "{\"card\":\"C1\",\"points\":50,\"expires_on\":\"2027-03-31\",\"tier_points\":300}\n\
                     {\"card\":\"C1\",\"points\":20}\n";
        let same = read(Format::JsonLines, lines);
        assert_eq!(same.cards["C1"].lots, one.lots);
        assert_eq!(same.cards["C1"].tier_points, one.tier_points);
    }

    #[test]
    fn a_wrong_row_keeps_its_card_back_and_no_other() {
        let text = "card,points,expires_on,tier_points\n\
                    C1,50,2027-03-31,\nC1,-5,,\nC2,7,2027-02-30,\nC3,x,,\nC4,1,,10\nC4,1,,11\n\
                    ,5,,\nC 5,5,,\nC6,5\nC7,8,,\nC8,1,,-1\n";
        let found = read(Format::Csv, text);
        assert_eq!(found.cards.keys().collect::<Vec<_>>(), ["C7"]);
        let told = told(&found);
        assert_eq!((found.rows_read, found.rows_left_out, told.len()), (11, 10, 10));
        for (line, begins) in [
            (0, "line 2: waits for another row of the same card"),
            (1, "line 3, points: is not a whole number in range"),
            (2, "line 4, expires_on: is not a date"),
            (3, "line 5, points: is not a whole number in range"),
            (4, "line 6: waits for another row of the same card"),
            (5, "line 7, tier_points: is another than in a row"),
            (6, "line 8, card: is empty"),
            (7, "line 9, card: is too long, or has characters"),
            (8, "line 10: has 2 cells where the first row names 4"),
            (9, "line 12, tier_points: is not a whole number in range"),
        ] {
            assert!(told[line].starts_with(begins), "{}", told[line]);
        }
        // nothing of what stood there
        assert!(told.iter().all(|it| !it.contains("C1") && !it.contains("C 5")), "{told:?}");
    }

    #[test]
    fn a_card_with_too_many_lots_and_a_file_without_its_columns_are_refused() {
        let mut text = "card,points\n".to_owned();
        for number in 0..=OPENING_LOTS_MAX {
            text += &format!("C1,{}\n", number + 1);
        }
        let found = read(Format::Csv, &text);
        assert!(found.cards.is_empty());
        assert_eq!(found.rows_left_out, 65);
        assert!(told(&found).iter().any(|it| it.contains("more than 64 rows of a card")));
        for (text, says) in [
            ("card,expires_on\nC1,\n", "before.csv: has no column points (whole numbers)"),
            ("points\n5\n", "before.csv: has no column card"),
            ("", "before.csv: has no first row of names"),
        ] {
            let error = read_openings(&sent(Format::Csv, text), Encoding::Utf8).err().unwrap();
            assert!(error.to_string().starts_with(says), "{error}");
        }
    }

    #[test]
    fn a_day_is_written_in_one_way() {
        assert_eq!(opening_day("1970-01-02"), Some(1));
        for wrong in ["2027-3-31", "2027-02-30", "2027-03-31T00:00", "1969-12-31", "31.03.2027", ""]
        {
            assert_eq!(opening_day(wrong), None, "{wrong}");
        }
    }
}
