//! The programme in a node: its events in a turn, its changes in the journal, its books beside the balances.
//!
//! Changes and the movements of balances they cause are records of one append, so that neither is ever
//! without the other. The programme's state is made of its own records alone: what exchanges move is
//! followed as a record too.

use ::programme::accounts::Side;
use ::programme::requests::Key;
use ::programme::rules::Rules;
use ::programme::state::{Answer, Change, Event, ProgrammeCopy, Purchase, Refusal, Way};
use ::programme::{Account, BasketPart, Programme};
use alliance_config::sample;
use protocol::codec;
use protocol::crypto::sha256;
use protocol::time::Timestamp;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::{Core, Turn, TurnError};
use crate::exchange::points::{PointsError, PointsLedger, account};
use crate::exchange::record::NodeRecord;
use crate::journal::RECORD_MAX;
use crate::runtime::state_record::StateRecord;
use crate::service::{ErrorKind, ServiceError};
use crate::store::StoreError;
use crate::vault::{BlindIndex, MemberId, Vault};

/// Changes of one record at most.
const CHANGES: usize = 4096;
/// Things that are due looked at in one turn; the others in the next.
const DUE: usize = 1000;
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
pub(super) fn programme_of(vault: &Vault) -> Programme {
    Programme::new(&assignment_key(vault))
}

fn assignment_key(vault: &Vault) -> [u8; 32] {
    vault.blind(BlindIndex::Programme, b"assignment")
}

/// The rules of a node whose brand has none of its own yet.
pub(super) fn first_rules() -> Rules {
    // shipped with the node; a test reads them
    Rules::from_toml(sample::FIRST_RULES).expect("the shipped rules are rules")
}

fn random(bytes: &mut [u8]) {
    // a coupon's code is a secret: without randomness there is none
    assert!(SystemRandom::new().fill(bytes).is_ok(), "the system's random generator failed");
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
        Ok(())
    }

    /// Records changes, with the movements of balances they cause.
    fn record_programme(&mut self, changes: &[Change], turn: &mut Turn) {
        for change in changes {
            if let Err(error) = follow(&mut self.points, change) {
                self.failure = Some(TurnError::Programme(error.into()));
                return;
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
                let moves = |_| self.programme.handle(merge, now, &mut random, &mut changes);
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
        let answer = self.programme.handle(event, now, &mut random, &mut changes);
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

    /// Purchases come in; gives how many earned points, and how many.
    pub fn purchases(
        &mut self,
        purchases: Vec<Purchase>,
        now: Timestamp,
        turn: &mut Turn,
    ) -> (u64, u64) {
        let (mut movements, mut points, mut beyond) = (0_u64, 0_u64, 0_u64);
        self.follow_points(now, turn);
        // one record for all of them: what follows asks the programme's books alone
        let mut changes = Vec::new();
        for purchase in purchases {
            match self.earned_before(purchase.part) {
                Ok(false) => {}
                Ok(true) => continue,
                Err(error) => {
                    self.failure = Some(error.into());
                    return (0, 0);
                }
            }
            let member = MemberId::from_bytes(*purchase.account.as_bytes());
            let event = Event::Purchased(purchase);
            match self.programme.handle(event, now, &mut random, &mut changes) {
                Ok(Answer::Earned { earned, .. }) if !earned.is_zero() => {
                    movements = movements.saturating_add(1);
                    points = points.saturating_add(earned.get());
                    turn.gained.push((member, earned.get()));
                }
                Ok(_) => {}
                Err(error @ Refusal::Broken(_)) => {
                    self.failure = Some(TurnError::Programme(ProgrammeError::Changes(error)));
                    return (0, 0);
                }
                Err(_) => beyond = beyond.saturating_add(1),
            }
        }
        self.record_programme(&changes, turn);
        if beyond > 0 {
            self.alert(format!(
                "{beyond} purchases earned nothing: the balance would leave its range / {beyond} \
                 笔购物未计积分：余额超出范围"
            ));
        }
        (movements, points)
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
            let restored = Programme::restore(&assignment_key(&self.vault), &bytes);
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
        match self.programme.tick(now, DUE, &mut random, &mut changes) {
            Ok(_) => self.record_programme(&changes, turn),
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
            return self.happen(Event::ProposeRules { rules, effective }, now, turn).map(drop);
        }
        let rules =
            Rules::from_toml(text).map_err(|error| refused(&Refusal::Rules(error.to_string())))?;
        let mut changes = Vec::new();
        self.programme.open(&rules, now, &mut changes).map_err(|error| refused(&error))?;
        self.record_programme(&changes, turn);
        Ok(())
    }
}

/// A refusal as people and programs see it.
pub(in crate::runtime) fn refused(refusal: &Refusal) -> ServiceError {
    use Refusal as R;
    let (kind, remedy) = match refusal {
        R::NoRules => (ErrorKind::Refused, "the programme manager proposes rules"),
        R::Rules(_) => (ErrorKind::Invalid, "correct the file and check it again"),
        R::Change(_) => (ErrorKind::Refused, "raise the version, and announce it early enough"),
        R::Unknown { .. } | R::NotHeld | R::NotOpen { .. } | R::NothingAnnounced => {
            (ErrorKind::NotFound, "look at the list of what there is")
        }
        R::Coupon(::programme::coupons::CouponError::Unknown) => {
            (ErrorKind::NotFound, "type the code again as it is on the coupon")
        }
        R::NotPaid => {
            (ErrorKind::NotFound, "give the idempotency key of the payment, and its member")
        }
        R::Terms(_) => (ErrorKind::Invalid, "correct the field and send it again"),
        R::NameTaken { .. } => (ErrorKind::Conflict, "take another name"),
        R::TooMany { .. } => (ErrorKind::Refused, "end or drop some that are there"),
        R::ReasonMissing => (ErrorKind::Invalid, "send it as reason"),
        R::NothingToAdjust => (ErrorKind::Invalid, "give a number of points other than zero"),
        R::OwnAdjustment => (ErrorKind::Refused, "ask somebody else who may decide on corrections"),
        R::KeyTaken => (ErrorKind::Conflict, "take a fresh idempotency key"),
        R::Text { .. } => (ErrorKind::Invalid, "shorten the text"),
        R::Broken(_) => (ErrorKind::Internal, "look at the node's log"),
        _ => (ErrorKind::Refused, "the rules of the programme say when this is possible"),
    };
    ServiceError::new(kind, refusal.code(), refusal.to_string(), remedy)
}
