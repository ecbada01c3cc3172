//! The programme in a node: its events in a turn, its changes in the journal, its books beside the balances.
//!
//! Changes and the movements of balances they cause are records of one append, so that neither is ever
//! without the other. The programme's state is made of its own records alone: what exchanges move is
//! followed as a record too.

use std::cell::Cell;
use std::sync::Arc;

use ::programme::accounts::Side;
use ::programme::calendar::DayOfYear;
use ::programme::requests::Key;
use ::programme::rules::{NoticePeriod, Rules};
use ::programme::state::{Answer, Change, Event, ProgrammeCopy, Purchase, Refusal, Way};
use ::programme::{Account, BasketPart, Programme};
use alliance_config::sample;
use protocol::codec;
use protocol::crypto::sha256;
use protocol::time::Timestamp;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::operations::{internal, vault_error};
use super::{Core, Turn, TurnError};
use crate::exchange::points::{PointsError, PointsLedger, account};
use crate::exchange::record::NodeRecord;
use crate::journal::RECORD_MAX;
use crate::programme::Earned;
use crate::runtime::state_record::StateRecord;
use crate::service::{ErrorKind, ServiceError};
use crate::store::StoreError;
use crate::vault::{BlindIndex, ConsentHistory, KeyError, MemberId, Purpose, Vault, VaultError};

/// Changes of one record at most.
const CHANGES: usize = 4096;
/// Things that are due looked at in one turn; the others in the next.
const DUE: usize = 200;
/// Members looked at in one turn for whether they still take part; the next ones in the next, round and round.
const LOOKED_AT: usize = 16;
/// Bytes of a piece of a snapshot.
const PIECE: usize = 1 << 20;
/// Members with points at which a programme may still begin: all of them go into one append.
const BEGIN_MAX: usize = 300_000;

/// What the two sides of the books have come to.
#[derive(Debug, thiserror::Error)]
pub enum ProgrammeError {
    /// The programme refused what it had decided itself.
    #[error("the programme does not hang together: {0}")]
    Changes(#[from] Refusal),
    /// A journal of before there was a programme, with more balances than go into one append.
    #[error(
        "{0} members have points from before there was a programme; at most {BEGIN_MAX} can be taken over"
    )]
    TooMany(usize),
    /// Balances are not what the programme takes them for.
    #[error("balances do not follow the programme: {0}")]
    Points(#[from] PointsError),
}

/// The programme of a brand before anything is replayed.
pub(super) fn programme_of(vault: &Vault) -> Result<Programme, VaultError> {
    Ok(Programme::new(&assignment_key(vault)?))
}

fn assignment_key(vault: &Vault) -> Result<[u8; 32], VaultError> {
    vault.blind(BlindIndex::Programme, b"assignment")
}

/// What marks of coupons are made with, held here: a page of a list asks no key service for them.
pub(super) fn coupon_marks(vault: &Vault) -> Result<hmac::Key, VaultError> {
    let key = vault.blind(BlindIndex::Programme, b"coupon marks")?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &key))
}

/// The rules of a node whose brand has none of its own yet.
pub(super) fn first_rules() -> Rules {
    // shipped with the node; a test reads them
    Rules::from_toml(sample::FIRST_RULES).expect("the shipped rules are rules")
}

pub(super) fn random(bytes: &mut [u8]) {
    // a coupon's code is a secret: without randomness there is none
    assert!(SystemRandom::new().fill(bytes).is_ok(), "the system's random generator failed");
}

/// Whose consent to marketing is in force, asked of the vault at the moment an offer would be made: what is
/// withdrawn counts from then on.
struct Consenting<'v> {
    vault: &'v Vault,
    // why it could not say
    failed: Cell<Option<VaultError>>,
}

impl<'v> Consenting<'v> {
    const fn of(vault: &'v Vault) -> Self {
        Self { vault, failed: Cell::new(None) }
    }

    /// Nobody is made an offer of whom the vault cannot say it; the turn is then not to be concluded.
    fn has(&self, account: Account) -> bool {
        match allows_marketing(self.vault, account) {
            Ok(allows) => allows,
            Err(error) => {
                self.failed.set(Some(error));
                false
            }
        }
    }
}

/// A member's consents; none of who was erased, or merged into another; nor of one whose record is damaged: a node that
/// stopped for it would stop again whenever it is started, for what is due stays due.
fn consents(vault: &Vault, account: Account) -> Result<Option<ConsentHistory>, VaultError> {
    match vault.consents(MemberId::from_bytes(*account.as_bytes())) {
        Ok(consents) => Ok(Some(consents)),
        Err(VaultError::UnknownMember) => Ok(None),
        Err(error @ (VaultError::Damaged { .. } | VaultError::Key(KeyError::Unopened))) => {
            tracing::error!(error = %error, "a member whose record cannot be read is taken to consent to nothing");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// When a member's birthday is as the vault has it; none for who was erased, or whose record is damaged.
fn birthday_of(vault: &Vault, account: Account) -> Result<Option<DayOfYear>, VaultError> {
    match vault.birthday(MemberId::from_bytes(*account.as_bytes())) {
        Ok(birthday) => Ok(birthday.and_then(|(month, day)| DayOfYear::new(month, day))),
        Err(VaultError::UnknownMember) => Ok(None),
        Err(error @ (VaultError::Damaged { .. } | VaultError::Key(KeyError::Unopened))) => {
            tracing::error!(error = %error, "the birthday of a member whose record cannot be read is not known");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether a member's consent to marketing is in force. Offers are of the programme: who does not take part in that is
/// made none.
fn allows_marketing(vault: &Vault, account: Account) -> Result<bool, VaultError> {
    let allows = |consents: ConsentHistory| {
        consents.allows(Purpose::Marketing) && consents.allows(Purpose::Programme)
    };
    Ok(consents(vault, account)?.is_some_and(allows))
}

/// Whether a member takes part in the programme: the consent to that is in force (PIPL art. 13). None of whom nothing is
/// known, or nothing can be read: who consents to nothing, and of whom nothing is concluded.
fn takes_part(vault: &Vault, account: Account) -> Result<Option<bool>, VaultError> {
    let mut known = consents(vault, account)?;
    if known.is_none() {
        // whom the vault has merged already, before the programme is told: the one who stays has decided
        known = match vault.merged_into(MemberId::from_bytes(*account.as_bytes())) {
            Ok(Some((into, _))) => consents(vault, crate::exchange::points::account(into))?,
            Ok(None) | Err(VaultError::Damaged { .. } | VaultError::Key(KeyError::Unopened)) => {
                None
            }
            Err(error) => return Err(error),
        };
    }
    Ok(known.map(|it| it.allows(Purpose::Programme)))
}

/// The programme's key for a request of the API: what is asked twice under it is done once.
#[must_use]
pub fn request_key(kind: &str, key: &str) -> Key {
    let hash = sha256(&[kind.as_bytes(), b"\0", key.as_bytes()]);
    let bytes = hash.first_chunk::<16>().copied().unwrap_or_default();
    Key::from_bytes(bytes)
}

fn follow(points: &mut PointsLedger, change: &Change) -> Result<(), PointsError> {
    if change.is_decided_here() {
        change.movements().iter().flatten().try_for_each(|movement| points.follow(movement))?;
    }
    Ok(())
}

/// The programme's part of a snapshot of the node's state, in pieces of bounded size.
pub(in crate::runtime) fn programme_parts(programme: &ProgrammeCopy) -> Vec<StateRecord> {
    let bytes = programme.to_bytes();
    let pieces = bytes.chunks(PIECE);
    let last = pieces.len().saturating_sub(1);
    let piece = |(place, bytes): (usize, &[u8])| {
        StateRecord::Programme(bytes.to_vec().into(), place == last)
    };
    pieces.enumerate().map(piece).collect()
}

impl Core {
    /// Enters changes that the journal has.
    ///
    /// # Errors
    /// When they do not fit.
    pub(super) fn replay_programme(&mut self, bytes: &[u8]) -> Result<(), String> {
        let changes: Vec<Change> = codec::decode("changes of the programme", bytes, RECORD_MAX)
            .map_err(|error| error.to_string())?;
        for change in &changes {
            self.programme.replay(change).map_err(|error| error.to_string())?;
            follow(&mut self.points, change).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// The rules in force; before the first turn those to begin with.
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.programme.rules().unwrap_or(&self.first_rules).clone()
    }

    /// How long members are told before a change of rules that touches them: as the rules in force say, or the
    /// constitution where that is longer.
    pub(super) fn notice_period(&self) -> NoticePeriod {
        let rules = self.programme.rules().unwrap_or(&self.first_rules);
        NoticePeriod::of(rules, self.ledger.constitution().succession().notice)
    }

    /// After the last record: the programme begins, if it has not, and from now on follows what exchanges
    /// move.
    pub fn begin_programme(&mut self, now: Timestamp, turn: &mut Turn) {
        match self.has_any_earned() {
            Ok(any) => self.has_earned_before = any,
            Err(error) => {
                self.failure = Some(error.into());
                return;
            }
        }
        if self.programme.rules().is_none()
            && let Err(error) = self.open_programme(now, turn)
        {
            self.failure = Some(TurnError::Programme(error));
            return;
        }
        self.points.watch(true);
    }

    /// A programme under the first rules, with the points that members have from before there was one.
    fn open_programme(&mut self, now: Timestamp, turn: &mut Turn) -> Result<(), ProgrammeError> {
        let balances = self.points.balances();
        if balances.len() > BEGIN_MAX {
            return Err(ProgrammeError::TooMany(balances.len()));
        }
        let mut changes = Vec::new();
        self.programme.open(&self.first_rules, now, &mut changes)?;
        for (member, balance) in balances.iter() {
            let account: Account = account(*member);
            let all = balance.available.plus(balance.held).unwrap_or(balance.available);
            let came = Way::Give(Side::CameIn);
            self.programme.follow(account, all, came, now, &mut changes)?;
            if !balance.held.is_zero() {
                self.programme.follow(account, balance.held, Way::Hold, now, &mut changes)?;
            }
        }
        for (member, owed) in self.points.beyond() {
            let gone = Way::TakeBack(Side::Exchanged);
            self.programme.follow(account(member), owed, gone, now, &mut changes)?;
        }
        self.record_programme(&changes, turn);
        // what was there before is nobody's gain
        turn.gained.clear();
        Ok(())
    }

    /// Records changes, with the movements of balances they cause.
    pub(super) fn record_programme(&mut self, changes: &[Change], turn: &mut Turn) {
        for change in changes {
            if let Err(error) = follow(&mut self.points, change) {
                self.failure = Some(TurnError::Programme(error.into()));
                return;
            }
            if let Some((account, points)) = change.gained() {
                turn.gained.push((MemberId::from_bytes(*account.as_bytes()), points.get()));
            }
        }
        for some in changes.chunks(CHANGES) {
            let bytes = codec::encode(&some.to_vec());
            turn.record(NodeRecord::Programme(bytes));
        }
    }

    /// The programme's books follow what exchanges have moved.
    pub fn follow_points(&mut self, now: Timestamp, turn: &mut Turn) {
        let moved = self.points.take_moved();
        if moved.is_empty() {
            return;
        }
        let mut changes = Vec::with_capacity(moved.len());
        for it in moved {
            let from = account(it.member);
            let mut done = self.programme.follow(from, it.points, it.way, now, &mut changes);
            // points that come back to who was merged meanwhile are the other's
            if let Some(into) = self.programme.merged_into(from)
                && matches!(it.way, Way::Give(_) | Way::Release)
            {
                let merge = Event::Merge { from, into };
                // to merge makes no offer
                let nobody = |_: Account| false;
                let moves =
                    |()| self.programme.handle(merge, now, &mut random, &nobody, &mut changes);
                done = done.and_then(moves).map(drop);
            }
            if let Err(error) = done {
                self.failure = Some(TurnError::Programme(ProgrammeError::Changes(error)));
                return;
            }
        }
        self.record_programme(&changes, turn);
    }

    /// Lets an event happen.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn happen(
        &mut self,
        event: Event,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<Answer, ServiceError> {
        self.follow_points(now, turn);
        let mut changes = Vec::new();
        let consenting = Consenting::of(&self.vault);
        let consents = |account| consenting.has(account);
        let answer = self.programme.handle(event, now, &mut random, &consents, &mut changes);
        if let Some(error) = consenting.failed.take() {
            return Err(self.vault_failed(error));
        }
        match answer {
            Ok(answer) => {
                self.record_programme(&changes, turn);
                Ok(answer)
            }
            Err(error @ Refusal::Broken(_)) => {
                self.failure = Some(TurnError::Programme(ProgrammeError::Changes(error.clone())));
                Err(refused(&error))
            }
            Err(error) => Err(refused(&error)),
        }
    }

    /// Nothing may be recorded of a turn in which the vault could not say who consents.
    fn vault_failed(&mut self, error: VaultError) -> ServiceError {
        self.failure = Some(TurnError::Vault(error));
        internal()
    }

    /// Whether a member may be made offers that are marketing, now; not where that cannot be read.
    pub(super) fn may_be_offered(&self, account: Account) -> bool {
        allows_marketing(&self.vault, account).unwrap_or_default()
    }

    /// Forgets an erased member but for its sums in the books; what still comes back for it is in suspense.
    ///
    /// # Errors
    /// When the programme's state does not take it.
    pub fn forget_member(
        &mut self,
        member: MemberId,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<(), ServiceError> {
        self.happen(Event::Forget { account: account(member) }, now, turn)?;
        self.enter(NodeRecord::Erased(member, now), turn);
        Ok(())
    }

    /// Moves to the member who stays what another has who was merged, or takes note that they were parted;
    /// false while some of the points are promised.
    ///
    /// # Errors
    /// When the programme does not take it.
    pub fn move_member(
        &mut self,
        from: MemberId,
        into: Option<MemberId>,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<bool, ServiceError> {
        let from = account(from);
        let event = match into {
            Some(into) => Event::Merge { from, into: account(into) },
            None => Event::Part { account: from },
        };
        Ok(self.happen(event, now, turn)? != Answer::Waits)
    }

    /// Purchases come in; gives what they earned. Those of members who do not take part in the programme earn nothing,
    /// and are not remembered there: what is asked is the consent as it is now.
    pub fn purchases(
        &mut self,
        purchases: Vec<Purchase>,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Earned {
        let (mut sum, mut beyond) = (Earned::default(), 0_u64);
        self.follow_points(now, turn);
        // one record for all of them: what follows asks the programme's books alone
        let mut changes = Vec::new();
        let vault = Arc::clone(&self.vault);
        let consenting = Consenting::of(&vault);
        let consents = |account| consenting.has(account);
        for purchase in purchases {
            match self.earned_before(purchase.part) {
                Ok(false) => {}
                Ok(true) => continue,
                Err(error) => {
                    self.failure = Some(error.into());
                    return Earned::default();
                }
            }
            // of a basket of who was merged, the one who stays has decided
            let whose = self.programme.merged_into(purchase.account).unwrap_or(purchase.account);
            let decided = match takes_part(&vault, whose) {
                Ok(decided) => decided,
                Err(error) => {
                    self.failure = Some(TurnError::Vault(error));
                    return Earned::default();
                }
            };
            let takes_part = decided == Some(true);
            if decided == Some(false) {
                let leave = Event::Leave { account: whose };
                let left = self.programme.handle(leave, now, &mut random, &consents, &mut changes);
                if let Err(error) = left {
                    self.failure = Some(TurnError::Programme(ProgrammeError::Changes(error)));
                    return Earned::default();
                }
            }
            if takes_part
                && self.programme.asks_birthday(purchase.account)
                && let Err(error) = self.ask_birthday(&vault, purchase.account, now, &mut changes)
            {
                self.failure = Some(error);
                return Earned::default();
            }
            let event = if takes_part {
                Event::Purchased(purchase)
            } else {
                Event::PurchasedOutside(purchase)
            };
            match self.programme.handle(event, now, &mut random, &consents, &mut changes) {
                Ok(Answer::Earned { earned, .. }) if !earned.is_zero() => {
                    sum =
                        sum.and(Earned { movements: 1, points: earned.get(), without_consent: 0 });
                }
                Ok(Answer::Earned { .. }) if !takes_part => {
                    sum.without_consent = sum.without_consent.saturating_add(1);
                }
                Ok(_) => {}
                Err(error @ Refusal::Broken(_)) => {
                    self.failure = Some(TurnError::Programme(ProgrammeError::Changes(error)));
                    return Earned::default();
                }
                Err(_) => beyond = beyond.saturating_add(1),
            }
        }
        if let Some(error) = consenting.failed.take() {
            self.failure = Some(TurnError::Vault(error));
            return Earned::default();
        }
        self.record_programme(&changes, turn);
        if beyond > 0 {
            self.alert(format!(
                "{beyond} purchases earned nothing: the balance would leave its range / {beyond} \
                 笔购物未计积分：余额超出范围"
            ));
        }
        sum
    }

    /// The programme goes by what a member has decided about taking part.
    ///
    /// # Errors
    /// When the vault cannot say it, or the programme's state does not take it.
    pub fn follow_consent(
        &mut self,
        member: MemberId,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<(), ServiceError> {
        let account = account(member);
        let takes_part = takes_part(&self.vault, account).map_err(|it| self.vault_failed(it))?;
        let event = match takes_part {
            Some(true) => Event::ComeBack { account },
            Some(false) => Event::Leave { account },
            None => return Ok(()),
        };
        self.happen(event, now, turn).map(drop)
    }

    /// Looks at the next members whom the programme remembers: consents are withdrawn and given in more ways than
    /// [`Self::follow_consent`] is told of (a merge, a node that ended in between), and a journal of an earlier version
    /// remembers members who never agreed.
    fn look_at_consents(&mut self, now: Timestamp, turn: &mut Turn) {
        let next = self.programme.members_after(self.looked_at, LOOKED_AT);
        self.looked_at = next.last().map(|(account, _)| *account);
        for (account, is_in) in next {
            let takes_part = match takes_part(&self.vault, account) {
                Ok(takes_part) => takes_part,
                Err(error) => {
                    self.failure = Some(TurnError::Vault(error));
                    return;
                }
            };
            let event = match (is_in, takes_part) {
                (true, Some(false)) => Event::Leave { account },
                (false, Some(true)) => Event::ComeBack { account },
                // a list or an enrolment told the vault of a birth date; where the vault has none, what a member told stays
                (true, Some(true)) => match birthday_of(&self.vault, account) {
                    Ok(born)
                        if born.is_some() && born != self.programme.profile(account).birthday =>
                    {
                        Event::Birthday { account, birthday: born }
                    }
                    Ok(_) => continue,
                    Err(error) => {
                        self.failure = Some(TurnError::Vault(error));
                        return;
                    }
                },
                _ => continue,
            };
            // a refusal that is none of these events' is a failure already
            if self.happen(event, now, turn).is_err() {
                return;
            }
        }
    }

    /// The programme learns from the vault when a member's birthday is.
    fn ask_birthday(
        &mut self,
        vault: &Vault,
        account: Account,
        now: Timestamp,
        changes: &mut Vec<Change>,
    ) -> Result<(), TurnError> {
        let birthday = birthday_of(vault, account)?;
        let event = Event::Birthday { account, birthday };
        // to know it makes no offer
        let nobody = |_: Account| false;
        let known = self.programme.handle(event, now, &mut random, &nobody, changes);
        known.map(drop).map_err(|error| TurnError::Programme(ProgrammeError::Changes(error)))
    }

    /// The same for a member who did something else than buy, once the programme remembers anything of that member.
    pub(super) fn meet(&mut self, account: Account, now: Timestamp, turn: &mut Turn) {
        if !self.programme.knows(account) || !self.programme.asks_birthday(account) {
            return;
        }
        if !matches!(takes_part(&self.vault, account), Ok(Some(true))) {
            return;
        }
        let (vault, mut changes) = (Arc::clone(&self.vault), Vec::new());
        match self.ask_birthday(&vault, account, now, &mut changes) {
            Ok(()) => self.record_programme(&changes, turn),
            Err(error) => self.failure = Some(error),
        }
    }

    /// Month and day of a member's birth date as the vault has it, for who joins.
    ///
    /// # Errors
    /// When the vault's store fails.
    pub(super) fn birthday_kept(
        &self,
        account: Account,
    ) -> Result<Option<DayOfYear>, ServiceError> {
        birthday_of(&self.vault, account).map_err(vault_error)
    }

    /// Follows a birth date that was corrected, if the programme knows the member: of others it learns it when it
    /// meets them.
    ///
    /// # Errors
    /// When the vault's store fails, or the programme does not take it.
    pub fn follow_birthday(
        &mut self,
        member: MemberId,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<(), ServiceError> {
        let account = account(member);
        // of who does not take part nothing is remembered
        if !self.programme.knows(account) || self.programme.profile(account).outside {
            return Ok(());
        }
        let birthday = self.birthday_kept(account)?;
        self.happen(Event::Birthday { account, birthday }, now, turn).map(drop)
    }

    /// Whether a basket earned before there was a programme.
    fn earned_before(&self, part: BasketPart) -> Result<bool, StoreError> {
        if self.has_earned_before { self.has_earned(part.as_bytes()) } else { Ok(false) }
    }

    /// Takes up a piece of it.
    ///
    /// # Errors
    /// When all of them together are no state of a programme.
    pub(in crate::runtime) fn take_up_programme(
        &mut self,
        piece: &[u8],
        is_last: bool,
    ) -> Result<(), String> {
        self.programme_pieces.extend_from_slice(piece);
        if is_last {
            let bytes = std::mem::take(&mut self.programme_pieces);
            let key = assignment_key(&self.vault).map_err(|error| error.to_string())?;
            let restored = Programme::restore(&key, &bytes);
            self.programme = restored.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Lets time pass for the programme.
    pub fn tick_programme(&mut self, now: Timestamp, turn: &mut Turn) {
        if self.programme.rules().is_none() {
            return;
        }
        self.follow_points(now, turn);
        let mut changes = Vec::new();
        let consenting = Consenting::of(&self.vault);
        let consents = |account| consenting.has(account);
        let ticked = self.programme.tick(now, DUE, &mut random, &consents, &mut changes);
        if let Some(error) = consenting.failed.take() {
            self.failure = Some(TurnError::Vault(error));
            return;
        }
        match ticked {
            Ok(_) => {
                self.record_programme(&changes, turn);
                self.look_at_consents(now, turn);
            }
            Err(error) => {
                self.failure = Some(TurnError::Programme(ProgrammeError::Changes(error)));
            }
        }
    }

    /// Announces rules, or takes them at once while nobody has anything under those in force.
    ///
    /// # Errors
    /// What is wrong with the rules, with line and field; or when they would hold too early.
    pub fn take_rules(
        &mut self,
        text: &str,
        effective: Timestamp,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<(), ServiceError> {
        self.follow_points(now, turn);
        if !self.programme.is_unused() {
            let rules = text.to_owned();
            let notice = self.ledger.constitution().succession().notice;
            let proposed = Event::ProposeRules { rules, effective, notice };
            return self.happen(proposed, now, turn).map(drop);
        }
        let rules = Rules::from_toml(text).map_err(|error| refused(&Refusal::from(error)))?;
        let mut changes = Vec::new();
        self.programme.open(&rules, now, &mut changes).map_err(|error| refused(&error))?;
        self.record_programme(&changes, turn);
        Ok(())
    }
}

/// A refusal as people and programs see it.
pub(in crate::runtime) fn refused(refusal: &Refusal) -> ServiceError {
    use Refusal as R;
    let (kind, remedy, in_chinese) = match refusal {
        R::NoRules => {
            (ErrorKind::Refused, "the programme manager proposes rules", "由积分计划负责人提交规则")
        }
        R::Rules(_) => {
            (ErrorKind::Invalid, "correct the file and check it again", "更正文件后再检查")
        }
        R::Change(_) => (
            ErrorKind::Refused,
            "raise the version, and announce it early enough",
            "提高版本号，并提前足够的天数公告",
        ),
        R::Unknown { .. } | R::NotHeld | R::NotOpen { .. } | R::NothingAnnounced => {
            (ErrorKind::NotFound, "look at the list of what there is", "查看现有的列表")
        }
        R::Coupon(::programme::coupons::CouponError::Unknown) => (
            ErrorKind::NotFound,
            "type the code again as it is on the coupon",
            "按券上所示重新输入券码",
        ),
        R::NotPaid => (
            ErrorKind::NotFound,
            "give the idempotency key of the payment, and its member",
            "给出该笔支付的编号和会员",
        ),
        R::Terms(_) => {
            (ErrorKind::Invalid, "correct the field and send it again", "更正该项后再提交")
        }
        R::NameTaken { .. } => (ErrorKind::Conflict, "take another name", "换一个名称"),
        R::TooMany { .. } => {
            (ErrorKind::Refused, "end or drop some that are there", "先结束或删除一些")
        }
        R::HeldForReview { .. } => (
            ErrorKind::Refused,
            "let whoever reviews cases of fraud look at it",
            "请复核人员处理该复核事项",
        ),
        R::ReasonMissing => (ErrorKind::Invalid, "send it as reason", "填写理由"),
        R::NothingToAdjust => {
            (ErrorKind::Invalid, "give a number of points other than zero", "填写不为零的积分数")
        }
        R::OwnAdjustment => (
            ErrorKind::Refused,
            "ask somebody else who may decide on corrections",
            "请另一位有权决定更正的人办理",
        ),
        R::OpeningTaken => (
            ErrorKind::Conflict,
            "leave it as it is; a wrong balance is corrected",
            "保持不变；余额有误时办理更正",
        ),
        R::OpeningWaits => (
            ErrorKind::Conflict,
            "bring what waits, or let the programme's manager replace it",
            "提交待确认的内容，或由积分计划负责人替换",
        ),
        R::OpeningNotEntered => (
            ErrorKind::Refused,
            "let the programme's manager bring it first",
            "请积分计划负责人先录入",
        ),
        R::OpeningEmpty | R::OpeningLots { .. } | R::OpeningExpired { .. } => {
            (ErrorKind::Invalid, "correct the row and bring it again", "更正该行后再提交")
        }
        R::KeyTaken => (ErrorKind::Conflict, "take a fresh idempotency key", "重新打开本页后再试"),
        R::Text { .. } => (ErrorKind::Invalid, "shorten the text", "缩短文字"),
        R::Broken(_) => (ErrorKind::Internal, "look at the node's log", "查看节点日志"),
        _ => (
            ErrorKind::Refused,
            "the rules of the programme say when this is possible",
            "何时可以办理，见积分计划的规则",
        ),
    };
    let ::programme::rules::Words { zh, en } = refusal.words();
    ServiceError::new(kind, refusal.code(), en, remedy).in_chinese(zh, in_chinese)
}

#[cfg(test)]
mod tests {
    use protocol::ids::BrandId;

    use super::*;
    use crate::store::{MemoryStore, Store, Write};
    use crate::vault::{CardNumber, Consent, Enrolment, HeldBrandKey, NewMember, sample_rule};

    /// One record that is damaged stops nothing: nobody is offered anything on the strength of it.
    #[test]
    fn a_member_whose_record_is_damaged_consents_to_nothing() {
        let store = Arc::new(MemoryStore::new());
        let held: Arc<dyn Store> = store.clone();
        let key = HeldBrandKey::from_bytes(&mut [7; 32]);
        let brand = BrandId::new("a").unwrap();
        let vault = Vault::new(brand, held, Arc::new(key), Arc::new(SystemRandom::new()));
        let at = Timestamp::from_unix_ms(1);
        let card = CardNumber::new("CARD-1").unwrap();
        let person = NewMember { card, match_key: None, attributes: [].into() };
        let enrolled = vault.enrol(&[person], &sample_rule(at)).unwrap();
        let [Enrolment::Created(member)] = enrolled[..] else { panic!() };
        vault.decide(member, Consent::new(Purpose::Marketing, true, 1, at)).unwrap();
        let whose = account(member);
        assert!(allows_marketing(&vault, whose).unwrap());
        assert_eq!(takes_part(&vault, whose).unwrap(), Some(true));
        let keyspaces = store.keyspaces().unwrap();
        assert!(keyspaces.iter().any(|it| it == "vault_member"), "{keyspaces:?}");
        let (keyspace, key) = ("vault_member", member.as_bytes().to_vec());
        let whole = store.get(keyspace, &key).unwrap().unwrap();
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for value in [flipped, whole[..whole.len() / 2].to_vec(), vec![0xff]] {
            let key = key.clone();
            store.transaction(&[Write::Put { keyspace, key, value }]).unwrap();
            assert!(!allows_marketing(&vault, whose).unwrap());
            assert_eq!(takes_part(&vault, whose).unwrap(), None);
        }
    }
}
