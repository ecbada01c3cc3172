//! What an audit says: findings, counts, and what could not be checked.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::ids::{BrandId, ConstitutionHash, Epoch, HeaderHash, Height, LeafIndex, TreeSize};
use crate::witness::rules::Violation;

/// Most findings that are listed; what is beyond is counted.
pub const FINDINGS_MAX: usize = 1_000;

/// Writes the rules down once: as variants, as their codes, and as the list of all of them.
macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident $code:literal,)*) => {
        /// Which rule is broken. The codes are stable; `block/<n>` has the number of a [`Violation`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rule {
            $($(#[$doc])* $name,)*
            /// A rule of `witness::rules`, by its number.
            Block(u16),
        }

        impl Rule {
            /// All of them, but for those that have a number.
            pub const NAMED: &'static [Self] = &[$(Self::$name),*];
        }

        impl fmt::Display for Rule {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name => f.write_str($code),)*
                    Self::Block(number) => write!(f, "block/{number}"),
                }
            }
        }
    };
}

rules! {
    /// A brand of the constitution has no folder.
    FolderMissing "folder/missing",
    /// A folder is of no brand of the constitution.
    FolderStranger "folder/stranger",
    /// A certificate cannot be read, and with it none that follows.
    CertificateUnreadable "certificate/unreadable",
    /// A certificate is of another log or height, or its tree does not grow.
    CertificateOrder "certificate/order",
    /// A signature is wrong, or there is no quorum.
    CertificateSignature "certificate/signature",
    /// Entries that no certificate covers.
    CertificateMissing "certificate/missing",
    /// There are certificates and no checkpoint.
    CheckpointMissing "checkpoint/missing",
    /// The checkpoint is no signed note.
    CheckpointUnreadable "checkpoint/unreadable",
    /// The checkpoint is not signed by the log.
    CheckpointSignature "checkpoint/signature",
    /// The checkpoint's size is not that of a certified block.
    CheckpointUncertified "checkpoint/uncertified",
    /// The checkpoint's root is not the certified one.
    CheckpointRoot "checkpoint/root",
    /// A cosignature is wrong.
    CheckpointCosignature "checkpoint/cosignature",
    /// Cosigned by a key that nobody is known by.
    CheckpointStranger "checkpoint/stranger",
    /// A tile or bundle is not there.
    TileMissing "tile/missing",
    /// A tile has not the length that its name says.
    TileMalformed "tile/malformed",
    /// A tile holds other hashes than the entries have.
    TileDisagrees "tile/disagrees",
    /// An entry is not the one that was certified.
    EntryAltered "entry/altered",
    /// A certified entry is no entry of this protocol.
    EntryUnreadable "entry/unreadable",
    /// Entries that belong to no block.
    EntryUnaccounted "entry/unaccounted",
    /// A sealed entry is not of the one size.
    EntrySize "entry/size",
    /// The entries do not make the certified tree.
    TreeRoot "tree/root",
    /// The header is not the block that the certificate names.
    BlockHeader "block/header",
    /// A block of another log was shown for its stance on a constitution and is not in that log.
    EpochBallot "epoch/ballot",
    /// A log begins under a constitution before that is adopted and in effect.
    EpochBegan "epoch/began",
    /// A block of another log is recognised that is not in that log's folder.
    RecognisedBeyond "recognised/beyond",
    /// The block secret does not open, or not every reader was given the same.
    SealedSecret "sealed/secret",
    /// A counterparty was given another opening than its column has.
    SealedOpening "sealed/opening",
    /// A leaf that is in no column is not padding.
    SealedPadding "sealed/padding",
    /// An auditor was given another secret than the block's.
    Disclosure "sealed/disclosure",
    /// A return takes back what it may not.
    ExchangeReturn "exchange/return",
    /// A closing is not borne out by its log.
    ClearingClosing "clearing/closing",
    /// A closing says something else of ended logs than its own log entered when it closed them out.
    ClearingClosedOut "clearing/closed-out",
    /// A statement was entered for a cut-off that not every brand has closed.
    ClearingIncomplete "clearing/incomplete",
    /// A statement is not the one that follows from the closings.
    ClearingStatement "clearing/statement",
    /// Evidence against a brand, and it holds: the finding is the accused brand's.
    EvidenceProven "evidence/proven",
    /// Entered as evidence, and it proves nothing.
    EvidenceVoid "evidence/void",
    /// A payment is none that a statement asks for, or was confirmed before.
    ClearingPayment "clearing/payment",
    /// Something is granted as discharged that nothing discharges.
    ClearingDischarge "clearing/discharge",
    /// A dispute names a block that does not break the rule.
    DisputeUnfounded "dispute/unfounded",
    /// One side alone says that a dispute is resolved.
    DisputeUnagreed "dispute/unagreed",
    /// A resolution is of no dispute, or other totals stand in the logs than it says.
    DisputeResolution "dispute/resolution",
    /// A log goes on after it has ended.
    LogEnded "log/ended",
    /// A partner is closed out with other totals than the logs have.
    PartnerTotals "partner/totals",
    /// What a log said to a brand is not acknowledged for a day.
    ExchangeUnanswered "exchange/unanswered",
    /// An operation log has become shorter, or has two heads at one length.
    OperationLog "operations/head",
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// In which log.
    pub log: BrandId,
    /// In which block, where one is meant.
    pub height: Option<Height>,
    /// At which leaf, where one is meant.
    pub leaf: Option<LeafIndex>,
    /// Whose column, where one is meant.
    pub counterparty: Option<BrandId>,
    /// Which rule.
    pub rule: Rule,
    /// One sentence; no personal data and nothing that was sealed.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "log {}", self.log)?;
        if let Some(height) = self.height {
            write!(f, ", block {height}")?;
        }
        if let Some(leaf) = self.leaf {
            write!(f, ", entry {leaf}")?;
        }
        write!(f, ": {}: {}", self.rule, self.message)
    }
}

/// Why something could not be checked. Never to be read as sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Sealed entries and no key that opens them.
    SealedWithoutKey,
    /// Blocks judged by something that is altered or missing.
    JudgedByMissing,
    /// Columns whose exact totals continue from a block that could not be opened.
    TotalsUnknown,
    /// Returns of leaves that could not be opened.
    OtherLegUnopened,
    /// Files beyond the last certified size, or of no log.
    FileNotOfLog,
    /// Disputes in which what was wrapped to the accuser did not open.
    DisputeWithoutEvidence,
    /// Certified blocks after the one of the checkpoint, and what they refer to beyond the copy: it was
    /// made in between.
    NotInCheckpoint,
    /// Entries that the log's owner has put elsewhere after their retention.
    Archived,
    /// Sealed entries older than the retention, of which the keys are gone.
    Deleted,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SealedWithoutKey => {
                "sealed entries: what they say is not checkable without the auditor's key"
            }
            Self::JudgedByMissing => "blocks judged by something that is altered or missing",
            Self::TotalsUnknown => "columns whose totals continue from a block that did not open",
            Self::OtherLegUnopened => "returns of an exchange that could not be opened",
            Self::FileNotOfLog => "files beyond the last certified size, or of no log",
            Self::DisputeWithoutEvidence => {
                "disputes that only who holds the block's secret can decide"
            }
            Self::NotInCheckpoint => {
                "blocks after the checkpoint's, and what they refer to beyond the copy"
            }
            Self::Deleted => {
                "sealed entries older than the retention: the keys that opened them were destroyed, what they said is not checkable"
            }
            Self::Archived => {
                "entries that were archived after their retention: their hashes are checked, what they say is not"
            }
        })
    }
}

/// Something that could not be checked, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct NotChecked {
    /// In which log.
    pub log: BrandId,
    /// Why.
    pub reason: Reason,
    /// How many.
    pub count: u64,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Logs with a folder.
    pub logs: u64,
    /// Blocks walked.
    pub blocks: u64,
    /// Entries whose hash was compared.
    pub entries: u64,
    /// Certificates that stand.
    pub certificates: u64,
    /// Signatures that were found valid, on certificates and checkpoints.
    pub signatures: u64,
    /// Sealed entries that were opened and priced.
    pub payloads: u64,
    /// Returns that were matched with what they take back.
    pub returns: u64,
    /// Statements that were derived again.
    pub statements: u64,
    /// Payments stated or confirmed that a statement asks for.
    pub payments: u64,
    /// Disputes whose evidence shows what they say.
    pub disputes: u64,
    /// Disputes that both sides have resolved, by terms that the logs bear out.
    pub resolutions: u64,
    /// Partners that were closed out with the totals that the logs have.
    pub closed_out: u64,
    /// Entries passed on to other applications' auditors.
    pub applications: u64,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        let Self {
            logs,
            blocks,
            entries,
            certificates,
            signatures,
            payloads,
            returns,
            statements,
            payments,
            disputes,
            resolutions,
            closed_out,
            applications,
        } = other;
        for (number, more) in [
            (&mut self.logs, logs),
            (&mut self.blocks, blocks),
            (&mut self.entries, entries),
            (&mut self.certificates, certificates),
            (&mut self.signatures, signatures),
            (&mut self.payloads, payloads),
            (&mut self.returns, returns),
            (&mut self.statements, statements),
            (&mut self.payments, payments),
            (&mut self.disputes, disputes),
            (&mut self.resolutions, resolutions),
            (&mut self.closed_out, closed_out),
            (&mut self.applications, applications),
        ] {
            *number = number.saturating_add(*more);
        }
    }
}

/// Blocks of a log that its brand let an auditor open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DisclosedTo {
    /// Whose log.
    pub log: BrandId,
    /// The entry that discloses them.
    pub entry: LeafIndex,
    /// To whom.
    pub auditor: String,
    /// The first block.
    pub first: Height,
    /// The last.
    pub last: Height,
}

/// How far one log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LogHead {
    /// Whose.
    pub log: BrandId,
    /// Last certified height.
    pub height: Height,
    /// Its id.
    pub header: HeaderHash,
    /// Entries up to it.
    pub size: TreeSize,
}

/// The result of an audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Which alliance.
    pub alliance: BrandId,
    /// Under which constitution.
    pub epoch: Epoch,
    /// Its hash.
    pub constitution: ConstitutionHash,
    /// The last certified block of every log that has one.
    pub heads: Vec<LogHead>,
    /// How much was looked at.
    pub counts: Counts,
    /// What is wrong, log after log.
    pub findings: Vec<Finding>,
    /// How many more there are.
    pub findings_not_listed: u64,
    /// What was wrong and both sides have agreed on since: no findings any more.
    pub resolved: Vec<Finding>,
    /// What could not be checked.
    pub not_checked: Vec<NotChecked>,
    /// Who was given which blocks.
    pub disclosures: Vec<DisclosedTo>,
}

impl Report {
    /// Whether nothing was found. Says nothing of what could not be checked.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Where something was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) log: BrandId,
    pub(super) height: Option<Height>,
    pub(super) leaf: Option<LeafIndex>,
}

impl Place {
    pub(super) const fn log(log: BrandId) -> Self {
        Self { log, height: None, leaf: None }
    }
    pub(super) const fn block(log: BrandId, height: Height) -> Self {
        Self { log, height: Some(height), leaf: None }
    }
    pub(super) const fn at(self, leaf: LeafIndex) -> Self {
        Self { leaf: Some(leaf), ..self }
    }
}

/// Collects while the audit runs.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    pub(super) counts: Counts,
    pub(super) findings: Vec<Finding>,
    pub(super) findings_not_listed: u64,
    pub(super) resolved: Vec<Finding>,
    pub(super) disclosures: Vec<DisclosedTo>,
    not_checked: BTreeMap<(BrandId, Reason), u64>,
}

impl Recorder {
    pub(super) fn find(&mut self, place: Place, rule: Rule, message: impl fmt::Display) {
        if self.findings.len() >= FINDINGS_MAX {
            self.findings_not_listed = self.findings_not_listed.saturating_add(1);
            return;
        }
        let Place { log, height, leaf } = place;
        let (counterparty, message) = (None, message.to_string());
        self.findings.push(Finding { log, height, leaf, counterparty, rule, message });
    }

    pub(super) fn violation(&mut self, place: Place, violation: &Violation) {
        let place = match violation {
            Violation::Payload { index, .. }
            | Violation::Payment { index }
            | Violation::Kinds { index, .. } => place.at(*index),
            _ => place,
        };
        let listed = self.findings.len();
        self.find(place, Rule::Block(violation.number()), violation);
        if let Some(finding) = self.findings.get_mut(listed) {
            finding.counterparty = violation.counterparty();
        }
    }

    /// The same of a log that has gone on after its end, unless that was found before.
    pub(super) fn goes_on(&mut self, place: Place, message: impl fmt::Display) {
        let known = |it: &Finding| it.log == place.log && it.rule == Rule::LogEnded;
        if !self.findings.iter().any(known) {
            self.find(place, Rule::LogEnded, message);
        }
    }

    /// What is wrong with one column in a run of blocks is agreed on: no finding any more.
    pub(super) fn resolve(
        &mut self,
        (log, counterparty): (BrandId, BrandId),
        blocks: std::ops::RangeInclusive<Height>,
    ) {
        let (resolved, findings) = std::mem::take(&mut self.findings).into_iter().partition(|it| {
            let disputable = matches!(it.rule, Rule::Block(18..=21));
            let here = it.height.is_some_and(|height| blocks.contains(&height));
            disputable && here && (it.log, it.counterparty) == (log, Some(counterparty))
        });
        self.findings = findings;
        self.resolved.extend::<Vec<Finding>>(resolved);
    }

    /// The same, if it was not found before: with a key that opens the log it may have been.
    pub(super) fn violation_once(&mut self, place: Place, violation: &Violation) {
        let rule = Rule::Block(violation.number());
        let known = |it: &Finding| (it.log, it.height, it.rule) == (place.log, place.height, rule);
        if !self.findings.iter().any(known) {
            self.violation(place, violation);
        }
    }

    pub(super) fn not_checked(&mut self, log: BrandId, reason: Reason, count: u64) {
        if count > 0 {
            let known = self.not_checked.entry((log, reason)).or_default();
            *known = known.saturating_add(count);
        }
    }

    /// Adds what was found elsewhere, after what was found here.
    pub(super) fn append(&mut self, other: Self) {
        self.counts.add(&other.counts);
        self.disclosures.extend(other.disclosures);
        self.resolved.extend(other.resolved);
        self.findings_not_listed =
            self.findings_not_listed.saturating_add(other.findings_not_listed);
        for finding in other.findings {
            if self.findings.len() < FINDINGS_MAX {
                self.findings.push(finding);
            } else {
                self.findings_not_listed = self.findings_not_listed.saturating_add(1);
            }
        }
        for ((log, reason), count) in other.not_checked {
            self.not_checked(log, reason, count);
        }
    }

    pub(super) fn not_checked_list(&self) -> Vec<NotChecked> {
        let all = self.not_checked.iter();
        all.map(|((log, reason), count)| NotChecked { log: *log, reason: *reason, count: *count })
            .collect()
    }
}

pub(super) fn count(number: &mut u64, more: usize) {
    *number = number.saturating_add(u64::try_from(more).unwrap_or(u64::MAX));
}
