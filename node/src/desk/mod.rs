//! The desk: what a brand does for its members and must be able to answer for.
//!
//! Ties the vault, the operation log and the requests together: whoever reads or changes a member goes
//! through here and leaves an entry, which is written before the thing is done. Knows the time only as
//! it is told. Does not know points, the network or HTTP; who may do what is checked before
//! ([`auth`](crate::auth)), and what somebody sees of a member is one table there.

pub mod alerts;
mod certificate;
pub mod deadline;
mod enrolment;
mod erasure;
mod export;
mod operations;
mod record;
mod records;
mod requests;
mod settings;
mod users;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use minicbor::{Decode, Encode};
use protocol::ids::BrandId;
use protocol::time::{Milliseconds, Timestamp};
use ring::hmac;

use self::alerts::{Found, Limits, Watch};
use self::deadline::Calendar;
use self::records::Sealed;
pub use certificate::{Certificate, certificate_hash, from_hex, hex};
pub use enrolment::{Enrolled, Newcomer};
pub use erasure::Erased;
pub use export::*;
pub use operations::{Deed, Head, Note, Operation, OperationLog};
pub(crate) use record::request_view;
pub use record::{IdentifierView, MemberRecordView, PairView};
pub use records::{Assessment, Breach, Occasion};
pub use requests::{Request, RequestKey, RequestKind, RequestNumber, RequestState};
pub use settings::DeskSettings;

use zeroize::Zeroizing;

use crate::metrics::Metrics;
use crate::store::{Keyspace, Store, StoreError, Write};
use crate::vault::{
    Attribute, CardNumber, Consent, CorrectionError, DataKey, Identifier, IdentifierError,
    KEY_BYTES, KeyError, LegalHold, MemberId, MergeError, Random, Sighting, Vault, VaultError,
    masked, masked_value,
};

const ALERTS: Keyspace = "desk_alert";
/// Most assessments, and most breaches, that are looked through at once.
const RECORDS_MAX: usize = 10_000;
/// Who acts when it is the member, and when it is the node itself.
pub const MEMBER: &str = "member";
/// The node itself.
pub const NODE: &str = "coalition";

/// Why the desk could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The store.
    #[error("the desk's store failed")]
    Store(#[from] StoreError),
    /// A key.
    #[error("a key of the desk could not be used")]
    Key(#[from] KeyError),
    /// The vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// An identifier was not entered.
    #[error(transparent)]
    Identifier(#[from] IdentifierError),
    /// Members were not merged.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// Something was not corrected.
    #[error(transparent)]
    Correction(#[from] CorrectionError),
    /// A record that this version did not write, or that somebody took away.
    #[error("the stored {0} cannot be read, or something of it is missing")]
    Damaged(&'static str),
    /// The card is another's.
    #[error("the card, or what came with it, is another member's")]
    Taken,
    /// Nobody has this.
    #[error("no member has this card number, or none any more")]
    UnknownMember,
    /// There is none.
    #[error("there is no request with this id")]
    UnknownRequest,
    /// There is none.
    #[error("there is no record with this number")]
    UnknownRecord,
    /// Done.
    #[error("the request was closed already")]
    Closed,
    /// Another kind.
    #[error("this request asks for something else")]
    OtherKind,
    /// Too many.
    #[error("the member has too many open requests")]
    TooManyRequests,
    /// Empty or too long.
    #[error("a text has 1 to {} bytes", records::TEXT_MAX)]
    Text,
}

/// The operator's figures.
#[derive(Clone, Debug)]
pub struct DeskRules {
    /// Calendar days until a member has an answer.
    pub answer_days: u16,
    /// Working days until a request is done.
    pub done_working_days: u16,
    /// Which days are working days.
    pub calendar: Calendar,
    /// Days until an erased member's purchase lines are out of every file.
    pub facts_days: u16,
    /// For how long it is known that somebody was erased.
    pub erased_known: Milliseconds,
    /// How long after it was found a breach must have been told.
    pub breach_within: Milliseconds,
    /// After which time the head of the operation log goes into the brand's log, if it has grown.
    pub operations_after: Milliseconds,
    /// What counts as unusual.
    pub limits: Limits,
    /// Version of the notice that members' own pages show.
    pub notice_version: u32,
    /// Where it is.
    pub notice_url: Option<String>,
}

impl DeskRules {
    /// Within how many days of an erasure nothing of it is known any more: keys are destroyed a period at a time.
    const fn erased_known_days(&self) -> u64 {
        self.erased_known.get() / 86_400_000 + 30
    }
}

/// An alert as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Alert {
    /// Number of its entry in the operation log.
    #[n(0)]
    pub number: u64,
    /// When.
    #[n(1)]
    pub at: Timestamp,
    /// By which rule.
    #[n(2)]
    pub kind: String,
    /// The user, where one is meant.
    #[n(3)]
    pub user: Option<String>,
    /// The member, where one is meant.
    #[n(4)]
    pub member: Option<MemberId>,
    /// How many members or points.
    #[n(5)]
    pub count: u64,
}

/// Clocks that have run out.
struct Overdue {
    // how many
    requests: usize,
    // which
    breaches: Vec<u32>,
    // members whose purchase lines are still in files
    erased: usize,
}

/// The desk of one brand.
pub struct Desk {
    vault: Arc<Vault>,
    log: OperationLog,
    watch: Mutex<Watch>,
    sealed: Sealed,
    rules: DeskRules,
    metrics: Metrics,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl Desk {
    /// The desk of a vault, in its store.
    ///
    /// # Errors
    /// When the store or a key fails, or the operation log is damaged.
    pub fn open(
        vault: Arc<Vault>,
        store: Arc<dyn Store>,
        random: Random,
        rules: DeskRules,
        metrics: Metrics,
    ) -> Result<Self, DeskError> {
        let log = OperationLog::open(
            Arc::clone(&store),
            vault.file_key("operations")?,
            Arc::clone(&random),
        )?;
        let sealed = Sealed { store, key: vault.file_key("desk")?, random };
        let watch = Mutex::new(Watch::new(rules.limits));
        let desk = Self { vault, log, watch, sealed, rules, metrics };
        desk.finish_erasures()?;
        Ok(desk)
    }

    /// The vault.
    #[must_use]
    pub fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    /// The operation log.
    #[must_use]
    pub const fn log(&self) -> &OperationLog {
        &self.log
    }

    /// What seals where pages of this node's lists begin, as long as the desk's key is the same.
    #[must_use]
    pub(crate) fn cursor_key(&self) -> DataKey {
        let desk = hmac::Key::new(hmac::HMAC_SHA256, self.sealed.key.expose());
        let mut key = [0; KEY_BYTES];
        key.copy_from_slice(hmac::sign(&desk, b"coalition list cursors v0").as_ref());
        DataKey::from_bytes(key)
    }

    /// The operator's figures.
    #[must_use]
    pub const fn rules(&self) -> &DeskRules {
        &self.rules
    }

    /// The member named by a card number, or by `~` and the id under which this node shows members.
    ///
    /// # Errors
    /// When nobody is.
    pub fn member(&self, name: &str) -> Result<MemberId, DeskError> {
        if let Some(id) = name.strip_prefix('~').and_then(RequestNumber::parse) {
            let id = format!("{id}");
            let bytes = from_hex(&id).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
            let id = MemberId::from_bytes(bytes.ok_or(DeskError::UnknownMember)?);
            // unknown and erased ones are nobody
            self.vault.consents(id)?;
            return Ok(id);
        }
        let card = CardNumber::new(name).map_err(|_| DeskError::UnknownMember)?;
        self.vault.by_card(&card)?.ok_or(DeskError::UnknownMember)
    }

    /// The card number of the member who is named so.
    ///
    /// # Errors
    /// When nobody is, or the store or the key fails.
    pub fn card_of(&self, name: &str) -> Result<Zeroizing<String>, DeskError> {
        let profile = self.vault.profile(self.member(name)?)?;
        Ok(Zeroizing::new(profile.card.expose().to_owned()))
    }

    /// Enters what somebody is about to do; on the disk when this returns. Gives what is unusual in it.
    ///
    /// # Errors
    /// When it cannot be written: then it must not be done.
    pub fn note(&self, note: Note, at: Timestamp) -> Result<Vec<Found>, DeskError> {
        let operation = self.log.write(note, at)?;
        let found = self.watch().operation(&operation);
        for found in &found {
            self.raise(found, at)?;
        }
        Ok(found)
    }

    /// The same of several entries at once, with what they tell of in the same transaction.
    fn note_with(&self, notes: Vec<Note>, told: &[Write], at: Timestamp) -> Result<(), DeskError> {
        for operation in self.log.write_with(notes, told, at)? {
            let found = self.watch().operation(&operation);
            for found in &found {
                self.raise(found, at)?;
            }
        }
        Ok(())
    }

    /// A member gained points: whether that was too many.
    ///
    /// # Errors
    /// When an alert cannot be written.
    pub fn gained(&self, member: MemberId, points: u64, at: Timestamp) -> Result<(), DeskError> {
        let found = self.watch().gained(member, points, at);
        found.map_or(Ok(()), |found| self.raise(&found, at))
    }

    fn raise(&self, found: &Found, at: Timestamp) -> Result<(), DeskError> {
        let what = match &found.user {
            Some(user) => format!("{}: {user}, {}", found.kind.name(), found.count),
            None => format!("{}: {}", found.kind.name(), found.count),
        };
        let note = Note::new(NODE, Deed::Alert, what);
        let note = found.member.map_or(note.clone(), |member| note.about(member));
        let operation = self.log.write(note, at)?;
        let alert = Alert {
            number: operation.number,
            at,
            kind: found.kind.name().to_owned(),
            user: found.user.clone(),
            member: found.member,
            count: found.count,
        };
        self.sealed.put(ALERTS, &operation.number.to_be_bytes(), &alert)?;
        self.metrics.count("alerts", "kind", found.kind.name());
        tracing::warn!(kind = found.kind.name(), "unusual use of members' data");
        Ok(())
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        // it holds counts only
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Alerts, oldest first, those after an entry's number.
    ///
    /// # Errors
    /// When the store or the key fails.
    pub fn alerts(&self, after: u64, most: usize) -> Result<Vec<Alert>, DeskError> {
        self.sealed.scan(ALERTS, Some(&after.to_be_bytes()), most)
    }

    // --- consents

    /// Enters a decision of a member's.
    ///
    /// # Errors
    /// As of [`Vault::decide`].
    pub fn decide(&self, by: &str, member: MemberId, decision: Consent) -> Result<(), DeskError> {
        let history = self.vault.consents(member)?;
        let before = match decision.receiver {
            Some(receiver) => history.in_force_to(decision.purpose, receiver),
            None => history.in_force(decision.purpose),
        };
        let words = |granted: bool| if granted { "granted" } else { "withdrawn" }.to_owned();
        let what = match decision.receiver {
            Some(receiver) => format!("{} to {receiver}", decision.purpose.name()),
            None => decision.purpose.name().to_owned(),
        };
        let note = Note::new(by, Deed::Consent, what)
            .about(member)
            .changed(before.map(|it| words(it.granted)), Some(words(decision.granted)));
        self.note(note, decision.at)?;
        Ok(self.vault.decide(member, decision)?)
    }

    // --- correction

    /// Sets and removes attributes of a member.
    ///
    /// # Errors
    /// As of [`Vault::correct`].
    pub fn correct(
        &self,
        by: &str,
        member: MemberId,
        values: &BTreeMap<Attribute, Option<String>>,
        at: Timestamp,
    ) -> Result<(), DeskError> {
        let profile = self.vault.profile(member)?;
        for (attribute, value) in values {
            let before = profile.attributes.get(attribute).map(|value| masked(value));
            let note = Note::new(by, Deed::Correct, attribute.column())
                .about(member)
                .changed(before, value.as_deref().map(masked));
            self.note(note, at)?;
        }
        self.vault.correct(member, values, at)?;
        Ok(())
    }

    /// Enters an identifier of a member's.
    ///
    /// # Errors
    /// As of [`Vault::add_identifier`].
    pub fn add_identifier(
        &self,
        by: &str,
        member: MemberId,
        identifier: &Identifier,
        at: Timestamp,
    ) -> Result<(), DeskError> {
        let note = Note::new(by, Deed::Correct, identifier.kind().name())
            .about(member)
            .changed(None, Some(shown(identifier)));
        self.note(note, at)?;
        Ok(self.vault.add_identifier(member, identifier, at)?)
    }

    /// Removes an identifier of a member's.
    ///
    /// # Errors
    /// As of [`Vault::remove_identifier`].
    pub fn remove_identifier(
        &self,
        by: &str,
        member: MemberId,
        identifier: &Identifier,
        at: Timestamp,
    ) -> Result<(), DeskError> {
        let note = Note::new(by, Deed::Correct, identifier.kind().name())
            .about(member)
            .changed(Some(shown(identifier)), None);
        self.note(note, at)?;
        Ok(self.vault.remove_identifier(member, identifier)?)
    }

    /// Tells what was seen of somebody, and says who it is.
    ///
    /// # Errors
    /// As of [`Vault::sight`].
    pub fn sight(
        &self,
        by: &str,
        identifiers: &[Identifier],
        at: Timestamp,
    ) -> Result<Sighting, DeskError> {
        let mut is_known = false;
        for identifier in identifiers {
            is_known |= self.vault.by_identifier(identifier)?.is_some();
        }
        if !is_known {
            let kinds: Vec<&str> = identifiers.iter().map(|it| it.kind().name()).collect();
            let what = format!("somebody nobody knew: {}", kinds.join(", "));
            self.note(Note::new(by, Deed::Intake, what).about_many(1), at)?;
        }
        // two members who both have a name, and so perhaps points, become one by a person's review only: points that
        // were moved stay with who stays
        let sighting = self.vault.sight(identifiers, &[], false, at)?;
        self.note_merges(by, &sighting, at)?;
        Ok(sighting)
    }

    fn note_merges(&self, by: &str, sighting: &Sighting, at: Timestamp) -> Result<(), DeskError> {
        for absorbed in &sighting.absorbed {
            let note = Note::new(by, Deed::Merge, "a member without a name was merged")
                .about(sighting.member)
                .changed(Some(member_name(*absorbed)), Some(member_name(sighting.member)));
            self.note(note, at)?;
        }
        Ok(())
    }

    /// The number by which a till knows a member: the card, or what the vault gave to who has none. Entered in the
    /// operation log first.
    ///
    /// # Errors
    /// When there is no such member, or the store or a key fails.
    pub fn reference(
        &self,
        by: &str,
        member: MemberId,
        at: Timestamp,
    ) -> Result<Zeroizing<String>, DeskError> {
        let note = Note::new(by, Deed::Session, "the number of whoever was recognised");
        self.note(note.about(member), at)?;
        Ok(Zeroizing::new(self.vault.profile(member)?.card.expose().to_owned()))
    }

    // --- merging

    /// Merges a member into another.
    ///
    /// # Errors
    /// As of [`Vault::merge`].
    pub fn merge(
        &self,
        by: &str,
        (into, absorbed): (MemberId, MemberId),
        at: Timestamp,
    ) -> Result<(), DeskError> {
        let note = Note::new(by, Deed::Merge, "merged")
            .about(into)
            .changed(Some(member_name(absorbed)), Some(member_name(into)));
        self.note(note, at)?;
        Ok(self.vault.merge(into, absorbed, by, at)?)
    }

    /// Undoes a merge.
    ///
    /// # Errors
    /// As of [`Vault::part`].
    pub fn part(
        &self,
        by: &str,
        (into, absorbed): (MemberId, MemberId),
        at: Timestamp,
    ) -> Result<(), DeskError> {
        let note = Note::new(by, Deed::Merge, "parted")
            .about(into)
            .changed(Some(member_name(into)), Some(member_name(absorbed)));
        self.note(note, at)?;
        Ok(self.vault.part(into, absorbed, by, at)?)
    }

    /// Enters what a person found of a pair.
    ///
    /// # Errors
    /// As of [`Vault::judge`].
    pub fn judge(
        &self,
        by: &str,
        pair: (MemberId, MemberId),
        same: bool,
        at: Timestamp,
    ) -> Result<(), DeskError> {
        let words = if same { "one person" } else { "two people" };
        let note = Note::new(by, Deed::Merge, format!("reviewed: {words}"))
            .about(pair.0)
            .changed(Some(member_name(pair.1)), None);
        self.note(note, at)?;
        Ok(self.vault.judge(pair, same, by, at)?)
    }

    // --- legal hold

    /// Puts a member under a legal hold, or lifts it.
    ///
    /// # Errors
    /// As of [`Vault::set_hold`].
    pub fn set_hold(
        &self,
        by: &str,
        member: MemberId,
        reason: Option<String>,
        at: Timestamp,
    ) -> Result<(), DeskError> {
        let before = self.vault.hold(member)?.map(|hold| hold.reason);
        let note = Note::new(by, Deed::Hold, if reason.is_some() { "put on" } else { "lifted" })
            .about(member)
            .changed(before, reason.clone());
        self.note(note, at)?;
        let hold = reason.map(|reason| LegalHold { reason, by: by.to_owned(), at });
        Ok(self.vault.set_hold(member, hold.as_ref())?)
    }

    // --- records

    /// Enters an assessment.
    ///
    /// # Errors
    /// When a text does not fit or the store fails.
    pub fn assess(
        &self,
        by: &str,
        occasion: Occasion,
        [purpose, risks, measures]: [String; 3],
        at: Timestamp,
    ) -> Result<Assessment, DeskError> {
        let by = by.to_owned();
        let keep_until = at;
        let new = Assessment { number: 0, at, by, occasion, purpose, risks, measures, keep_until };
        let entered = self.sealed.assess(new)?;
        let what = format!("assessment {} entered", entered.number);
        self.note(Note::new(&entered.by, Deed::Record, what), at)?;
        Ok(entered)
    }

    /// Every assessment, oldest first.
    ///
    /// # Errors
    /// When the store or the key fails.
    pub fn assessments(&self) -> Result<Vec<Assessment>, DeskError> {
        self.sealed.assessments(None, RECORDS_MAX)
    }

    /// Assessments behind a number, oldest first, so many at most.
    ///
    /// # Errors
    /// When the store or the key fails.
    pub fn assessments_after(
        &self,
        number: Option<u32>,
        most: usize,
    ) -> Result<Vec<Assessment>, DeskError> {
        self.sealed.assessments(number, most)
    }

    /// Enters a breach; the clock runs from when it was found.
    ///
    /// # Errors
    /// When a text does not fit or the store fails.
    pub fn breach(
        &self,
        by: &str,
        found: Timestamp,
        [what, measures]: [String; 2],
        members: u64,
        at: Timestamp,
    ) -> Result<Breach, DeskError> {
        let new = Breach {
            number: 0,
            found,
            by: by.to_owned(),
            what,
            measures,
            members,
            tell_by: found.plus(self.rules.breach_within),
            authority_told: None,
            members_told: None,
            not_told_because: None,
        };
        let entered = self.sealed.breach(new)?;
        let what = format!("breach {} entered", entered.number);
        self.note(Note::new(by, Deed::Record, what), at)?;
        Ok(entered)
    }

    /// Every breach, oldest first.
    ///
    /// # Errors
    /// When the store or the key fails.
    pub fn breaches(&self) -> Result<Vec<Breach>, DeskError> {
        self.sealed.breaches(None, RECORDS_MAX)
    }

    /// Breaches behind a number, oldest first, so many at most.
    ///
    /// # Errors
    /// When the store or the key fails.
    pub fn breaches_after(
        &self,
        number: Option<u32>,
        most: usize,
    ) -> Result<Vec<Breach>, DeskError> {
        self.sealed.breaches(number, most)
    }

    /// Enters who was told of a breach.
    ///
    /// # Errors
    /// When there is no such breach or the store fails.
    pub fn told(
        &self,
        by: &str,
        number: u32,
        (authority, members): (bool, bool),
        not_told_because: Option<String>,
        at: Timestamp,
    ) -> Result<Breach, DeskError> {
        let breach = self.sealed.told(number, authority, members, not_told_because, at)?;
        let what = format!("breach {number}: told authority {authority}, members {members}");
        self.note(Note::new(by, Deed::Record, what), at)?;
        Ok(breach)
    }

    /// Which clocks have run out at a moment.
    fn overdue(&self, at: Timestamp) -> Result<Overdue, DeskError> {
        let requests = self.open_requests(1_000)?.iter().filter(|it| it.is_overdue(at)).count();
        let late = |it: &&Breach| it.is_open() && at > it.tell_by;
        let breaches = self.breaches()?.iter().filter(late).map(|it| it.number).collect();
        let erased = self.vault.erased_subjects(None, 10_000)?;
        let facts_by = |erased: Timestamp| deadline::days_after(erased, self.rules.facts_days);
        let erased = erased.iter().filter(|(_, erased)| at > facts_by(*erased)).count();
        Ok(Overdue { requests, breaches, erased })
    }

    /// Tells whoever collects figures how many clocks have run out: an officer need not look to be told.
    ///
    /// # Errors
    /// When the store or the key fails.
    pub fn measure(&self, at: Timestamp) -> Result<(), DeskError> {
        let Overdue { requests, breaches, erased } = self.overdue(at)?;
        for (of, count) in [("request", requests), ("breach", breaches.len()), ("erasure", erased)]
        {
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            self.metrics.set("clocks_overdue", "of", of, count);
        }
        Ok(())
    }

    /// What an officer has to look at as long as it is so, in English and Chinese: clocks that have run out.
    ///
    /// # Errors
    /// When the store or the key fails.
    pub fn standing(&self, at: Timestamp) -> Result<Vec<String>, DeskError> {
        let Overdue { requests, breaches, erased } = self.overdue(at)?;
        let mut standing = Vec::new();
        if requests > 0 {
            standing.push(format!(
                "{requests} members' requests are overdue / {requests} 项会员请求已逾期"
            ));
        }
        for number in breaches {
            standing.push(format!(
                "breach {number}: authority or members have not been told in time / 第 {number} \
                 号泄露事件：未按时通知主管部门或会员"
            ));
        }
        if erased > 0 {
            standing.push(format!(
                "purchase lines of {erased} erased members are still in files / {erased} \
                 名已删除会员的消费明细仍在文件中"
            ));
        }
        Ok(standing)
    }

    // --- the key of the vault

    /// Begins to rotate the key of the vault; [`Self::rewrap`] does the rest.
    ///
    /// # Errors
    /// As of [`Vault::begin_rotation`].
    pub fn begin_rotation(&self, by: &str, at: Timestamp) -> Result<(), DeskError> {
        self.note(Note::new(by, Deed::Keys, "rotation of the vault's key begun"), at)?;
        Ok(self.vault.begin_rotation()?)
    }

    /// Whether a rotation is under way.
    ///
    /// # Errors
    /// When the key service fails.
    pub fn is_rotating(&self) -> Result<bool, DeskError> {
        Ok(self.vault.is_rotating()?)
    }

    /// Wraps again what an older key wraps, and forgets the older key. Blocks; may be interrupted.
    ///
    /// # Errors
    /// When the store or a key fails; the older key is then still held.
    pub fn rewrap(&self, at: Timestamp) -> Result<u64, DeskError> {
        let metrics = &self.metrics;
        self.vault.rewrap(&mut |done| {
            metrics.set("vault_rewrapped", "", "", done.rewrapped);
        })?;
        // a record written meanwhile by whoever had taken the old key before it was replaced
        let done = self.vault.rewrap(&mut |_| {})?;
        self.vault.end_rotation()?;
        self.note(Note::new(NODE, Deed::Keys, "rotation of the vault's key ended"), at)?;
        Ok(done.looked_at)
    }
}

/// An identifier in the operation log: masked, and of a kind whose value is not kept only that it is one.
fn shown(identifier: &Identifier) -> String {
    if identifier.kind().keeps_value() {
        masked_value(identifier.kind(), identifier.expose())
    } else {
        "****".to_owned()
    }
}

/// How a member is named to staff: opaque, and of use at this node alone.
#[must_use]
pub fn member_name(id: MemberId) -> String {
    format!("~{}", hex(id.as_bytes()))
}

/// Brands as text.
pub(crate) fn names(brands: &[BrandId]) -> Vec<String> {
    brands.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
