//! What is unusual in the operation log and in points: found as it happens, told at once.
//!
//! Three rules, with the operator's figures: one user reads many members within an hour; somebody reads
//! members when the shops are closed; a member's points grow by more than they should within an hour. A
//! rule tells once an hour of the same user or member. Windows are in memory and begin anew with the
//! node; what was told is in the operation log.

use std::collections::{BTreeMap, VecDeque};

use jiff::civil::Time;
use protocol::time::{Milliseconds, Timestamp};

use super::operations::{Deed, Operation};
use crate::vault::MemberId;

/// The time over which is counted, and within which a rule tells once.
const WINDOW: Milliseconds = Milliseconds::from_seconds(3600);
/// What comes within so long of the one before is counted as if all had come with the last of it: a window is
/// as large for a member with a thousand exchanges an hour as for one with ten, and no alert is lost by it.
const GRAIN: Milliseconds = Milliseconds::from_seconds(60);
/// Users and members counted at a time; beyond, the counts begin anew.
const COUNTED_MAX: usize = 100_000;

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertKind {
    /// One user has read many members within an hour.
    MassReading,
    /// Members were read when the shops are closed.
    OffHours,
    /// A member's points have grown by more than they should within an hour.
    PointsGrowth,
}

impl AlertKind {
    /// Every rule.
    pub const ALL: [Self; 3] = [Self::MassReading, Self::OffHours, Self::PointsGrowth];

    /// Its name in answers and figures.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MassReading => "mass_reading",
            Self::OffHours => "off_hours",
            Self::PointsGrowth => "points_growth",
        }
    }
}

/// What counts as unusual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Members that one user may read within an hour.
    pub members_an_hour: u32,
    /// When the shops open and close, in China; equal times mean never closed.
    pub open: (Time, Time),
    /// Points that a member may gain within an hour.
    pub points_an_hour: u64,
}

/// Something unusual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// By which rule.
    pub kind: AlertKind,
    /// The user, where one is meant.
    pub user: Option<String>,
    /// The member, where one is meant.
    pub member: Option<MemberId>,
    /// How many members or points.
    pub count: u64,
}

/// What came at about the same time.
struct Grain {
    first: Timestamp,
    last: Timestamp,
    count: u64,
}

#[derive(Default)]
struct Window {
    sum: u64,
    grains: VecDeque<Grain>,
}

impl Window {
    fn add(&mut self, at: Timestamp, count: u64) -> u64 {
        match self.grains.back_mut() {
            Some(grain) if at.since(grain.first) < GRAIN => {
                grain.last = grain.last.max(at);
                grain.count = grain.count.saturating_add(count);
            }
            _ => self.grains.push_back(Grain { first: at, last: at, count }),
        }
        self.sum = self.sum.saturating_add(count);
        while let Some(past) = self.grains.pop_front_if(|grain| at.since(grain.last) > WINDOW) {
            self.sum = self.sum.saturating_sub(past.count);
        }
        self.sum
    }
}

/// Counts, and says when something is unusual.
pub struct Watch {
    limits: Limits,
    readers: BTreeMap<String, Window>,
    gains: BTreeMap<MemberId, Window>,
    told: BTreeMap<(AlertKind, String), Timestamp>,
}

impl Watch {
    /// Begins to count.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let (readers, gains, told) = Default::default();
        Self { limits, readers, gains, told }
    }

    /// An operation was written.
    pub fn operation(&mut self, operation: &Operation) -> Vec<Found> {
        let reads = matches!(operation.deed, Deed::Read | Deed::Export);
        // the member's own session, and the node itself, are no staff
        if !reads
            || operation.members == 0
            || matches!(operation.by.as_str(), "member" | "coalition")
        {
            return Vec::new();
        }
        if self.readers.len() >= COUNTED_MAX {
            self.readers.clear();
        }
        let window = self.readers.entry(operation.by.clone()).or_default();
        let count = window.add(operation.at, u64::from(operation.members));
        let mut found = Vec::new();
        let user = Some(operation.by.clone());
        let mass = count > u64::from(self.limits.members_an_hour);
        if mass && self.tells(AlertKind::MassReading, &operation.by, operation.at) {
            found.push(Found {
                kind: AlertKind::MassReading,
                user: user.clone(),
                member: None,
                count,
            });
        }
        let closed = !is_open(self.limits.open, operation.at);
        if closed && self.tells(AlertKind::OffHours, &operation.by, operation.at) {
            found.push(Found { kind: AlertKind::OffHours, user, member: operation.member, count });
        }
        found
    }

    /// A member gained points.
    pub fn gained(&mut self, member: MemberId, points: u64, at: Timestamp) -> Option<Found> {
        if self.gains.len() >= COUNTED_MAX {
            self.gains.clear();
        }
        let count = self.gains.entry(member).or_default().add(at, points);
        if count <= self.limits.points_an_hour {
            return None;
        }
        let key: String = member.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let kind = AlertKind::PointsGrowth;
        let member = Some(member);
        self.tells(kind, &key, at).then_some(Found { kind, user: None, member, count })
    }

    fn tells(&mut self, kind: AlertKind, whom: &str, at: Timestamp) -> bool {
        self.told.retain(|_, told| at.since(*told) <= WINDOW);
        let key = (kind, whom.to_owned());
        if self.told.contains_key(&key) {
            return false;
        }
        self.told.insert(key, at);
        true
    }
}

/// Whether the shops are open at a moment.
fn is_open((from, to): (Time, Time), at: Timestamp) -> bool {
    let ms = i64::try_from(at.unix_ms()).unwrap_or(i64::MAX);
    let Ok(at) = jiff::Timestamp::from_millisecond(ms) else { return true };
    let time = jiff::tz::offset(8).to_datetime(at).time();
    match from.cmp(&to) {
        std::cmp::Ordering::Equal => true,
        std::cmp::Ordering::Less => (from..to).contains(&time),
        // over midnight
        std::cmp::Ordering::Greater => time >= from || time < to,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        let time = |hour| Time::constant(hour, 0, 0, 0);
        Limits { members_an_hour: 10, open: (time(8), time(22)), points_an_hour: 1_000 }
    }

    /// Some hours and minutes after midnight in China.
    fn at(hours: u64, minutes: u64) -> Timestamp {
        Timestamp::from_unix_ms(1_767_196_800_000 + (hours * 60 + minutes) * 60_000)
    }

    fn read(by: &str, members: u32, at: Timestamp) -> Operation {
        Operation {
            number: 1,
            at,
            by: by.to_owned(),
            deed: Deed::Read,
            member: None,
            members,
            what: String::new(),
            before: None,
            after: None,
        }
    }

    #[test]
    fn who_reads_many_members_is_told_of_once_an_hour() {
        let mut watch = Watch::new(limits());
        assert!(watch.operation(&read("ann", 10, at(9, 0))).is_empty());
        assert!(watch.operation(&read("bob", 10, at(9, 1))).is_empty());
        let found = watch.operation(&read("ann", 1, at(9, 30)));
        assert_eq!((found[0].kind, found[0].count), (AlertKind::MassReading, 11));
        assert_eq!(found[0].user.as_deref(), Some("ann"));
        assert!(watch.operation(&read("ann", 1, at(9, 40))).is_empty(), "once an hour");
        // the first ten are more than an hour ago
        assert!(watch.operation(&read("ann", 8, at(10, 20))).is_empty());
        assert_eq!(watch.operation(&read("ann", 9, at(10, 35))).len(), 1);
        // a member's own session is no staff
        assert!(watch.operation(&read("member", 99, at(11, 0))).is_empty());
    }

    #[test]
    fn reading_when_the_shops_are_closed_is_told() {
        let mut watch = Watch::new(limits());
        assert!(watch.operation(&read("ann", 1, at(21, 59))).is_empty());
        let found = watch.operation(&read("ann", 1, at(22, 0)));
        assert_eq!(found[0].kind, AlertKind::OffHours);
        assert_eq!(watch.operation(&read("bob", 1, at(31, 59))).len(), 1);
        assert!(watch.operation(&read("bob", 1, at(32, 0))).is_empty());
        let never = Limits { open: (Time::midnight(), Time::midnight()), ..limits() };
        assert!(Watch::new(never).operation(&read("ann", 1, at(3, 0))).is_empty());
    }

    #[test]
    fn points_that_grow_too_fast_are_told() {
        let mut watch = Watch::new(limits());
        let [one, other] = [1, 2].map(|number| MemberId::from_bytes([number; 16]));
        assert_eq!(watch.gained(one, 900, at(9, 0)), None);
        assert_eq!(watch.gained(other, 900, at(9, 0)), None);
        let found = watch.gained(one, 101, at(9, 59)).unwrap();
        assert_eq!(
            (found.kind, found.member, found.count),
            (AlertKind::PointsGrowth, Some(one), 1_001)
        );
        assert_eq!(watch.gained(one, 1, at(9, 59)), None);
        assert_eq!(watch.gained(other, 200, at(10, 1)), None, "the first were an hour ago");
    }

    #[test]
    fn a_window_is_small_however_much_comes() {
        let mut window = Window::default();
        let tenths = |number: u64| Timestamp::from_unix_ms(number * 100);
        for number in 0..36_000 {
            assert_eq!(window.add(tenths(number), 1), number + 1);
        }
        assert_eq!(window.grains.len(), 60);
        // a minute goes as a whole, an hour after the last of it
        assert_eq!(window.add(tenths(36_599), 1), 36_001);
        assert_eq!(window.add(tenths(36_600), 1), 35_402);
        assert_eq!(window.add(tenths(999_999), 1), 1);
        assert_eq!(window.grains.len(), 1);
    }
}
