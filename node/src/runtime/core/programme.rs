//! The programme in a node: its events in a turn, its changes in the journal, its books beside the balances.
//!
//! Changes and the movements of balances they cause are records of one append, so that neither is ever
//! without the other. The programme's state is made of its own records alone: what exchanges move is
//! followed as a record too.

use ::programme::requests::Key;
use ::programme::rules::Rules;
use ::programme::state::{Answer, Change, Event, Purchase, Refusal, Way};
use ::programme::{Account, Programme};
use protocol::codec;
use protocol::crypto::sha256;
use protocol::time::Timestamp;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::{Core, Turn, TurnError};
use crate::exchange::points::{PointsError, PointsLedger, account};
use crate::exchange::record::NodeRecord;
use crate::journal::RECORD_MAX;
use crate::service::{ErrorKind, ServiceError};
use crate::vault::{BlindIndex, Vault};

/// Changes of one record at most.
const CHANGES: usize = 4096;
/// Things that are due looked at in one turn; the others in the next.
const DUE: usize = 1000;
/// Members with points at which a programme may still begin: all of them go into one append.
const BEGIN_MAX: usize = 300_000;

/// What the two sides of the books have come to.
#[derive(Debug, thiserror::Error)]
pub enum ProgrammeError {
    /// The programme refused what it had decided itself.
    #[error("the programme does not hang together: {0}")]
    Changes(Refusal),
    /// Balances are not what the programme takes them for.
    #[error("balances do not follow the programme: {0}")]
    Points(#[from] PointsError),
}

/// The programme of a brand before anything is replayed.
pub(super) fn programme_of(vault: &Vault) -> Programme {
    Programme::new(&vault.blind(BlindIndex::Programme, b"assignment"))
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

    /// After the last record: from now on the programme follows what exchanges move.
    pub(super) fn resume_programme(&mut self) {
        self.points.watch(self.programme.rules().is_some());
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
    pub(super) fn follow_points(&mut self, now: Timestamp, turn: &mut Turn) {
        let moved = self.points.take_moved();
        if moved.is_empty() {
            return;
        }
        let mut changes = Vec::with_capacity(moved.len());
        for it in moved {
            let account = account(it.member);
            if let Err(error) = self.programme.follow(account, it.points, it.way, now, &mut changes)
            {
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
            // it earned before there was a programme
            if self.points.has_earned(purchase.part.as_bytes()) {
                continue;
            }
            let event = Event::Purchased(purchase);
            match self.programme.handle(event, now, &mut random, &mut changes) {
                Ok(Answer::Earned { earned, .. }) if !earned.is_zero() => {
                    movements = movements.saturating_add(1);
                    points = points.saturating_add(earned.get());
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

    /// The first rules begin the programme with the points members have; others are announced.
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
        if self.programme.rules().is_some() {
            let rules = text.to_owned();
            return self.happen(Event::ProposeRules { rules, effective }, now, turn).map(drop);
        }
        let rules =
            Rules::from_toml(text).map_err(|error| refused(&Refusal::Rules(error.to_string())))?;
        let balances: Vec<_> = self.points.balances().collect();
        if balances.len() > BEGIN_MAX {
            return Err(ServiceError::new(
                ErrorKind::Refused,
                "programme_begins_too_late",
                format!("{} members have points already", balances.len()),
                format!("a programme begins with at most {BEGIN_MAX} members who have points"),
            ));
        }
        let mut changes = Vec::new();
        let begin = |programme: &mut Programme, changes: &mut Vec<Change>| {
            programme.open(&rules, now, changes)?;
            for (member, balance) in &balances {
                let account: Account = account(*member);
                let all = balance.available.plus(balance.held).unwrap_or(balance.available);
                let came = Way::Give(::programme::accounts::Side::CameIn);
                programme.follow(account, all, came, now, changes)?;
                if !balance.held.is_zero() {
                    programme.follow(account, balance.held, Way::Hold, now, changes)?;
                }
            }
            for (member, owed) in self.points.owed() {
                let came = Way::TakeBack(::programme::accounts::Side::Exchanged);
                programme.follow(account(member), owed, came, now, changes)?;
            }
            Ok::<(), Refusal>(())
        };
        let begun = begin(&mut self.programme, &mut changes);
        if let Err(error) = begun {
            self.failure = Some(TurnError::Programme(ProgrammeError::Changes(error)));
            return Err(ServiceError::stopped());
        }
        self.record_programme(&changes, turn);
        self.points.watch(true);
        Ok(())
    }
}

/// A refusal as people and programs see it.
pub(super) fn refused(refusal: &Refusal) -> ServiceError {
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
        R::KeyTaken => (ErrorKind::Conflict, "take a fresh idempotency key"),
        R::Text { .. } => (ErrorKind::Invalid, "shorten the text"),
        R::Broken(_) => (ErrorKind::Internal, "look at the node's log"),
        _ => (ErrorKind::Refused, "the rules of the programme say when this is possible"),
    };
    ServiceError::new(kind, refusal.code(), refusal.to_string(), remedy)
}
