//! The import of members.
//!
//! Each row is a whole: a member is enrolled with consents in one transaction, or not at all. The same
//! list again enrols nobody twice and changes nobody. What else members are known by, and what has changed of those
//! who are known, [`changes`] enters, a row at a time: an interrupted list is read again from its beginning, and what
//! was entered is not entered twice.

mod changes;

use std::collections::BTreeMap;

use datafusion::arrow::record_batch::RecordBatch;
use protocol::ids::BrandId;
use protocol::time::Timestamp;

use super::clean::{Adjustment, DropReason, Dropped, Issue};
use super::columns::{CellProblem, FileProblem, TEXT, Text, missing, required};
use super::formats::{Batch, Progress, Source};
use super::import::{ImportError, ImportTerms};
use super::mapping::{ConsentMapping, Decision, MembersMapping};
use super::report::Sightings;
use crate::vault::{
    ATTRIBUTE_MAX, Attribute, CardNumber, Consent, Enrolment, Guardian, Identifier, IdentifierKind,
    MatchKey, NewMember, Purpose, Vault, is_birth_date,
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
    /// Cards that were known already; nothing of them was changed, unless the mapping says `update = true`.
    pub known: u64,
    /// Of them, members of whom an attribute was changed.
    pub updated: u64,
    /// Cards that nobody had, entered as further ones of members whom the match key names.
    pub new_cards: u64,
    /// Consents of known members that were entered, by purpose.
    pub consents_given: BTreeMap<Purpose, u64>,
    /// Refusals of known members that were entered, by purpose.
    pub consents_withdrawn: BTreeMap<Purpose, u64>,
    /// What the other identifiers said of who people are.
    pub sightings: Sightings,
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
        let worked = began.elapsed();
        // others may have a turn in it
        progress(batch.progress);
        terms.pace.rest(worked);
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
        columns.extend(self.identifiers.iter().map(|(_, name)| name.as_str()));
        columns.extend(self.attributes.iter().map(|(_, name)| name.as_str()));
        let decisions = self.consent.iter().flat_map(|consent| &consent.decisions);
        columns.extend(decisions.filter_map(|(_, decision)| decision.column.as_deref()));
        let guardian = self.consent.as_ref().and_then(|consent| consent.guardian.as_ref());
        columns.extend(guardian.map(|guardian| guardian.column.as_str()));
        columns
    }
}

/// What somebody says to each purpose.
type Decisions = Vec<(Purpose, bool)>;

/// What a row is beside the person it names.
struct Listed {
    place: u64,
    /// By what else the person is known.
    identifiers: Vec<Identifier>,
}

/// What people consent to, and who decided for a child.
type Decided = (Decisions, Option<Guardian>);

struct Intake<'a> {
    vault: &'a Vault,
    mapping: &'a MembersMapping,
    brands: &'a [BrandId],
    at: Timestamp,
    /// By what they consent to, since those are enrolled together.
    people: BTreeMap<Decided, Vec<(Listed, NewMember)>>,
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
            match columns.person(row, self.at) {
                Err(issue) => self.dropped.add(place, issue),
                Ok(person) => {
                    let (consents, unclear) = columns.consents(row, self.mapping);
                    let guardian = columns.guardian(row, self.mapping);
                    if unclear || guardian.is_err() {
                        self.told(Adjustment::ConsentNotUnderstood);
                    }
                    let guardian = guardian.unwrap_or_default();
                    let (identifiers, unread) = columns.identifiers(row);
                    if unread {
                        self.told(Adjustment::IdentifierNotRead);
                    }
                    let listed = Listed { place, identifiers };
                    self.people.entry((consents, guardian)).or_default().push((listed, person));
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
        let tombstones = self.vault.tombstones()?;
        for ((decisions, guardian), people) in std::mem::take(&mut self.people) {
            let people = self.without_erased(&tombstones, people)?;
            let (listed, people): (Vec<Listed>, Vec<NewMember>) = people.into_iter().unzip();
            let consents = self.mapping.consent.as_ref().map_or_else(Vec::new, |consent| {
                let brands = (self.vault.brand(), self.brands);
                consent.entries((decisions.as_slice(), guardian), brands, self.at)
            });
            let enrolments = self.vault.enrol(&people, &consents)?;
            for ((listed, person), enrolment) in listed.into_iter().zip(&people).zip(enrolments) {
                let Listed { place, identifiers } = listed;
                match enrolment {
                    Enrolment::Created(_) => {
                        self.report.enrolled += 1;
                        for (purpose, _) in decisions.iter().filter(|(_, granted)| *granted) {
                            *self.report.consenting.entry(*purpose).or_default() += 1;
                        }
                        self.sight(&person.card, identifiers)?;
                    }
                    Enrolment::WithoutGuardian(_) => {
                        // what the file says was given is not in force, and is not counted as if it were
                        self.report.enrolled += 1;
                        self.told(Adjustment::GuardianMissing);
                        self.sight(&person.card, identifiers)?;
                    }
                    Enrolment::Known(id) => {
                        self.report.known += 1;
                        self.update(id, place, person, &consents)?;
                        self.sight(&person.card, identifiers)?;
                    }
                    Enrolment::Conflict => match self.new_card(person)? {
                        Some(id) => {
                            self.report.known += 1;
                            self.update(id, place, person, &consents)?;
                            self.sight(&person.card, identifiers)?;
                        }
                        None => self.dropped.add(place, Issue::row(DropReason::Conflict)),
                    },
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
        (decisions, guardian): (&[(Purpose, bool)], Option<Guardian>),
        (own, alliance): (BrandId, &[BrandId]),
        at: Timestamp,
    ) -> Vec<Consent> {
        let entry = |purpose, granted, receiver| Consent {
            source: self.source,
            receiver,
            guardian,
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
    identifiers: Vec<(IdentifierKind, Text)>,
    consents: Vec<Option<Text>>,
    guardian: Option<Text>,
}

impl Columns {
    fn of(file: &str, batch: &RecordBatch, mapping: &MembersMapping) -> Result<Self, FileProblem> {
        let text = |name: &str| Text::of(file, name, required(file, batch, name, TEXT)?);
        let mut attributes = Vec::new();
        for (attribute, name) in &mapping.attributes {
            attributes.push((*attribute, text(name)?));
        }
        let mut identifiers = Vec::new();
        for (kind, name) in &mapping.identifiers {
            identifiers.push((*kind, text(name)?));
        }
        let mut consents = Vec::new();
        for (_, decision) in mapping.consent.iter().flat_map(|consent| &consent.decisions) {
            consents.push(decision.column.as_deref().map(text).transpose()?);
        }
        let match_key = mapping.match_key.as_deref().map(text).transpose()?;
        let guardian = mapping.consent.as_ref().and_then(|consent| consent.guardian.as_ref());
        let guardian = guardian.map(|guardian| text(&guardian.column)).transpose()?;
        let card = text(&mapping.card)?;
        Ok(Self { card, match_key, attributes, identifiers, consents, guardian })
    }

    fn person(&self, row: usize, at: Timestamp) -> Result<NewMember, Issue> {
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
                if *attribute == Attribute::BirthDate && !is_birth_date(text, at) {
                    return Err(Issue::cell(attribute.column(), CellProblem::NotABirthDate));
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

    /// Who decided for a child; words that the mapping does not explain are an error, and nobody's consent.
    fn guardian(&self, row: usize, mapping: &MembersMapping) -> Result<Option<Guardian>, ()> {
        let stated = mapping.consent.as_ref().and_then(|consent| consent.guardian.as_ref());
        let (Some(stated), Some(column)) = (stated, &self.guardian) else { return Ok(None) };
        match column.at(row).map_err(drop)? {
            None => Ok(None),
            Some(said) if stated.parent.contains(said) => Ok(Some(Guardian::Parent)),
            Some(said) if stated.other.contains(said) => Ok(Some(Guardian::Other)),
            Some(said) if stated.none.contains(said) => Ok(None),
            Some(_) => Err(()),
        }
    }

    /// By what else the member is known, and whether something there is none of its kind: it is left out.
    fn identifiers(&self, row: usize) -> (Vec<Identifier>, bool) {
        let (mut found, mut unread) = (Vec::new(), false);
        for (kind, column) in &self.identifiers {
            match column.at(row) {
                Ok(None) => {}
                Ok(Some(text)) => match Identifier::parse(*kind, text) {
                    Ok(identifier) => found.push(identifier),
                    Err(_) => unread = true,
                },
                Err(_) => unread = true,
            }
        }
        (found, unread)
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
