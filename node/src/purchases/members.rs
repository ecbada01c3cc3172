//! The import of members.

use std::collections::BTreeMap;

use datafusion::arrow::record_batch::RecordBatch;

use super::clean::{DropReason, Dropped, Issue};
use super::columns::{CellProblem, FileProblem, TEXT, Text, has};
use super::import::{ImportError, Progress};
use super::source::Source;
use crate::vault::{
    ATTRIBUTE_MAX, Attribute, CardNumber, Consent, Enrolment, MatchKey, NewMember, Vault,
};

const CARD: &str = "member_id";
const MATCH_KEY: &str = "match_key";

/// People enrolled in one transaction.
const ENROL_ROWS: usize = 1_024;

/// What an import of members did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MembersReport {
    /// Name of the file.
    pub file: String,
    /// Rows read.
    pub rows_read: u64,
    /// New members.
    pub enrolled: u64,
    /// Cards that were known already; nothing of them was changed.
    pub known: u64,
    /// Rows not kept, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
    /// The first dropped rows, one by one.
    pub issues: Vec<Issue>,
}

/// Imports a file of members with the same consents for all, each recorded with its source. The
/// same file again enrols nobody twice. Blocks.
///
/// # Errors
/// When the file as a whole is not what it should be, or the vault fails. A wrong row is no error:
/// it is in the report, and stops no other.
pub fn import_members(
    vault: &Vault,
    source: &Source,
    consents: &[Consent],
    progress: &mut dyn FnMut(Progress),
) -> Result<MembersReport, ImportError> {
    let file = source.name();
    let attributes = Attribute::ALL.map(Attribute::column);
    let opened = source.open(&[&[CARD, MATCH_KEY], attributes.as_slice()].concat())?;
    if !has(&opened.schema, CARD) {
        return Err(FileProblem::MissingColumn { file, column: CARD, accepted: TEXT }.into());
    }
    let mut report = MembersReport { file: file.clone(), ..MembersReport::default() };
    let mut dropped = Dropped::default();
    for batch in opened.batches {
        let after_row = report.rows_read;
        let batch = batch.map_err(|source| FileProblem::Damaged {
            file: file.clone(),
            after_row,
            source,
        })?;
        let columns = Columns::of(&file, &batch)?;
        let mut people = Vec::with_capacity(ENROL_ROWS);
        for row in 0..batch.num_rows() {
            report.rows_read += 1;
            match columns.person(row) {
                Ok(person) => people.push((report.rows_read, person)),
                Err(issue) => dropped.add(report.rows_read, issue),
            }
            if people.len() == ENROL_ROWS {
                enrol(vault, std::mem::take(&mut people), consents, &mut report, &mut dropped)?;
            }
        }
        enrol(vault, people, consents, &mut report, &mut dropped)?;
        progress(Progress { rows_done: report.rows_read, rows: opened.rows });
    }
    Ok(MembersReport { dropped: dropped.counts, issues: dropped.issues, ..report })
}

fn enrol(
    vault: &Vault,
    people: Vec<(u64, NewMember)>,
    consents: &[Consent],
    report: &mut MembersReport,
    dropped: &mut Dropped,
) -> Result<(), ImportError> {
    let (rows, people): (Vec<u64>, Vec<NewMember>) = people.into_iter().unzip();
    for (row, enrolment) in rows.into_iter().zip(vault.enrol(&people, consents)?) {
        match enrolment {
            Enrolment::Created(_) => report.enrolled += 1,
            Enrolment::Known(_) => report.known += 1,
            Enrolment::Conflict => dropped.add(row, Issue::row(DropReason::Conflict)),
            Enrolment::TooLong(attribute) => {
                dropped.add(row, Issue::cell(attribute.column(), CellProblem::NotAnIdentifier));
            }
        }
    }
    Ok(())
}

struct Columns {
    card: Text,
    match_key: Option<Text>,
    attributes: Vec<(Attribute, Text)>,
}

impl Columns {
    fn of(file: &str, batch: &RecordBatch) -> Result<Self, FileProblem> {
        let optional =
            |name| has(&batch.schema(), name).then(|| Text::of(file, batch, name)).transpose();
        let mut attributes = Vec::new();
        for attribute in Attribute::ALL {
            if let Some(column) = optional(attribute.column())? {
                attributes.push((attribute, column));
            }
        }
        Ok(Self { card: Text::of(file, batch, CARD)?, match_key: optional(MATCH_KEY)?, attributes })
    }

    fn person(&self, row: usize) -> Result<NewMember, Issue> {
        let wrong = |column| move |_| Issue::cell(column, CellProblem::NotAnIdentifier);
        let cell = |column| move |problem| Issue::cell(column, problem);
        let card = self.card.at(row).map_err(cell(CARD))?;
        let card = card.ok_or(Issue::cell(CARD, CellProblem::Missing))?;
        let match_key = match &self.match_key {
            Some(column) => column.at(row).map_err(cell(MATCH_KEY))?,
            None => None,
        };
        let mut attributes = BTreeMap::new();
        for (attribute, column) in &self.attributes {
            if let Some(text) = column.at(row).map_err(cell(attribute.column()))? {
                if text.len() > ATTRIBUTE_MAX {
                    return Err(Issue::cell(attribute.column(), CellProblem::NotAnIdentifier));
                }
                attributes.insert(*attribute, text.to_owned());
            }
        }
        Ok(NewMember {
            card: CardNumber::new(card).map_err(wrong(CARD))?,
            match_key: match_key.map(MatchKey::new).transpose().map_err(wrong(MATCH_KEY))?,
            attributes,
        })
    }
}
