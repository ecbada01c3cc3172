//! The import of members.
//!
//! Each row is a whole: a member is enrolled with consents in one transaction, or not at all. The same
//! list again enrols nobody twice and changes nobody.

use std::collections::BTreeMap;

use datafusion::arrow::record_batch::RecordBatch;
use protocol::ids::BrandId;
use protocol::time::Timestamp;

use super::clean::{Adjustment, DropReason, Dropped, Issue};
use super::columns::{CellProblem, FileProblem, TEXT, Text, missing, required};
use super::formats::{Batch, Progress, Source};
use super::import::{ImportError, ImportTerms};
use super::mapping::{ConsentMapping, Decision, MembersMapping};
use crate::vault::{
    ATTRIBUTE_MAX, Attribute, CardNumber, Consent, Enrolment, MatchKey, NewMember, Purpose, Vault,
};

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
    /// New members who consent, by purpose.
    pub consenting: BTreeMap<Purpose, u64>,
    /// Rows not kept, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
    /// Rows kept with something to tell.
    pub adjusted: BTreeMap<Adjustment, u64>,
    /// The first dropped rows, one by one.
    pub issues: Vec<Issue>,
}

/// Imports a file of members, with the consents that the mapping tells, as of `at`. The same file again
/// enrols nobody twice. Blocks.
///
/// # Errors
/// When the file as a whole is not what it should be, or the vault fails. A wrong row is no error:
/// it is in the report, and stops no other.
pub fn import_members(
    vault: &Vault,
    source: &Source,
    terms: ImportTerms<'_>,
    at: Timestamp,
    progress: &mut dyn FnMut(Progress),
) -> Result<MembersReport, ImportError> {
    let mapping = terms.mapping.members.as_ref().ok_or_else(|| FileProblem::NotMapped {
        mapping: terms.mapping.name.clone(),
        part: "members",
    })?;
    let file = source.name();
    let wanted = mapping.columns();
    let opened = source.open(&wanted, mapping.text)?;
    if let Some(column) = wanted.iter().find(|name| !opened.names.contains(**name)) {
        return Err(missing(&file, column, TEXT).into());
    }
    let mut intake = Intake {
        vault,
        mapping,
        brands: terms.brands,
        at,
        people: BTreeMap::new(),
        waiting: 0,
        report: MembersReport { file: file.clone(), ..MembersReport::default() },
        dropped: Dropped { counted: opened.counted, ..Dropped::default() },
    };
    let mut began = std::time::Instant::now();
    for batch in opened.batches {
        let batch = batch?;
        intake.batch(&file, &batch)?;
        progress(batch.progress);
        terms.pace.rest(began.elapsed());
        began = std::time::Instant::now();
    }
    intake.enrol()?;
    let Intake { report, dropped, .. } = intake;
    Ok(MembersReport { dropped: dropped.counts, issues: dropped.issues, ..report })
}

impl MembersMapping {
    fn columns(&self) -> Vec<&str> {
        let mut columns = vec![self.card.as_str()];
        columns.extend(self.match_key.as_deref());
        columns.extend(self.attributes.iter().map(|(_, name)| name.as_str()));
        let decisions = self.consent.iter().flat_map(|consent| &consent.decisions);
        columns.extend(decisions.filter_map(|(_, decision)| decision.column.as_deref()));
        columns
    }
}

/// What somebody says to each purpose.
type Decisions = Vec<(Purpose, bool)>;

struct Intake<'a> {
    vault: &'a Vault,
    mapping: &'a MembersMapping,
    brands: &'a [BrandId],
    at: Timestamp,
    /// By what they consent to, since those are enrolled together.
    people: BTreeMap<Decisions, Vec<(u64, NewMember)>>,
    waiting: usize,
    report: MembersReport,
    dropped: Dropped,
}

impl Intake<'_> {
    fn batch(&mut self, file: &str, batch: &Batch) -> Result<(), ImportError> {
        let columns = Columns::of(file, &batch.columns, self.mapping)?;
        for (at, problem) in &batch.broken {
            self.report.rows_read += 1;
            self.dropped.add(*at, Issue::broken(*problem));
        }
        for (row, place) in batch.places.iter().copied().enumerate() {
            self.report.rows_read += 1;
            match columns.person(row) {
                Err(issue) => self.dropped.add(place, issue),
                Ok(person) => {
                    let (consents, unclear) = columns.consents(row, self.mapping);
                    if unclear {
                        let told = Adjustment::ConsentNotUnderstood;
                        *self.report.adjusted.entry(told).or_default() += 1;
                    }
                    self.people.entry(consents).or_default().push((place, person));
                    self.waiting += 1;
                }
            }
            if self.waiting >= ENROL_ROWS {
                self.enrol()?;
            }
        }
        Ok(())
    }

    fn enrol(&mut self) -> Result<(), ImportError> {
        self.waiting = 0;
        for (decisions, people) in std::mem::take(&mut self.people) {
            let (places, people): (Vec<u64>, Vec<NewMember>) = people.into_iter().unzip();
            let consents = self.mapping.consent.as_ref().map_or_else(Vec::new, |consent| {
                consent.entries(&decisions, (self.vault.brand(), self.brands), self.at)
            });
            for (place, enrolment) in places.into_iter().zip(self.vault.enrol(&people, &consents)?)
            {
                match enrolment {
                    Enrolment::Created(_) => {
                        self.report.enrolled += 1;
                        for (purpose, _) in decisions.iter().filter(|(_, granted)| *granted) {
                            *self.report.consenting.entry(*purpose).or_default() += 1;
                        }
                    }
                    Enrolment::Known(_) => self.report.known += 1,
                    Enrolment::Conflict => {
                        self.dropped.add(place, Issue::row(DropReason::Conflict));
                    }
                    Enrolment::TooLong(attribute) => {
                        let issue = Issue::cell(attribute.column(), CellProblem::NotAnIdentifier);
                        self.dropped.add(place, issue);
                    }
                }
            }
        }
        Ok(())
    }
}

impl ConsentMapping {
    /// What is recorded of somebody's decisions. Who agreed to exchange agreed to the receivers that the
    /// mapping names, each in a consent of its own (PIPL art. 23).
    fn entries(
        &self,
        decisions: &[(Purpose, bool)],
        (own, alliance): (BrandId, &[BrandId]),
        at: Timestamp,
    ) -> Vec<Consent> {
        let entry = |purpose, granted, receiver| Consent {
            source: self.source,
            receiver,
            ..Consent::new(purpose, granted, self.notice_version, at)
        };
        let mut entries: Vec<Consent> =
            decisions.iter().map(|(purpose, granted)| entry(*purpose, *granted, None)).collect();
        if decisions.contains(&(Purpose::Exchange, true)) {
            let receivers = self.receivers.of(own, alliance);
            entries
                .extend(receivers.into_iter().map(|to| entry(Purpose::Exchange, true, Some(to))));
        }
        entries
    }
}

struct Columns {
    card: Text,
    match_key: Option<Text>,
    attributes: Vec<(Attribute, Text)>,
    consents: Vec<Option<Text>>,
}

impl Columns {
    fn of(file: &str, batch: &RecordBatch, mapping: &MembersMapping) -> Result<Self, FileProblem> {
        let text = |name: &str| Text::of(file, name, required(file, batch, name, TEXT)?);
        let mut attributes = Vec::new();
        for (attribute, name) in &mapping.attributes {
            attributes.push((*attribute, text(name)?));
        }
        let mut consents = Vec::new();
        for (_, decision) in mapping.consent.iter().flat_map(|consent| &consent.decisions) {
            consents.push(decision.column.as_deref().map(text).transpose()?);
        }
        let match_key = mapping.match_key.as_deref().map(text).transpose()?;
        Ok(Self { card: text(&mapping.card)?, match_key, attributes, consents })
    }

    fn person(&self, row: usize) -> Result<NewMember, Issue> {
        let wrong = |field| move |_| Issue::cell(field, CellProblem::NotAnIdentifier);
        let cell = |field| move |problem| Issue::cell(field, problem);
        let card = self.card.at(row).map_err(cell("card"))?;
        let card = card.ok_or(Issue::cell("card", CellProblem::Missing))?;
        let match_key = match &self.match_key {
            Some(column) => column.at(row).map_err(cell("match_key"))?,
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
            card: CardNumber::new(card).map_err(wrong("card"))?,
            match_key: match_key.map(MatchKey::new).transpose().map_err(wrong("match_key"))?,
            attributes,
        })
    }

    /// What the member decided, and whether some of it was in words that the mapping does not explain:
    /// those are taken for no decision, and no decision is no consent.
    fn consents(&self, row: usize, mapping: &MembersMapping) -> (Vec<(Purpose, bool)>, bool) {
        let (mut decided, mut unclear) = (Vec::new(), false);
        let decisions = mapping.consent.iter().flat_map(|consent| &consent.decisions);
        for ((purpose, decision), column) in decisions.zip(&self.consents) {
            match decision.of(column.as_ref(), row) {
                Ok(Some(granted)) => decided.push((*purpose, granted)),
                Ok(None) => {}
                Err(()) => unclear = true,
            }
        }
        (decided, unclear)
    }
}

impl Decision {
    fn of(&self, column: Option<&Text>, row: usize) -> Result<Option<bool>, ()> {
        let Some(column) = column else { return Ok(self.default) };
        match column.at(row).map_err(drop)? {
            None => Ok(self.default),
            Some(said) if self.granted.contains(said) => Ok(Some(true)),
            Some(said) if self.refused.contains(said) => Ok(Some(false)),
            Some(_) => Err(()),
        }
    }
}
