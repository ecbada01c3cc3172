//! A change of rules: what differs, in plain words, and from when.

use protocol::time::{Milliseconds, Timestamp};

use super::{Rules, Words};
use crate::calendar::DAY_MS;
use crate::plain::{Concern, Statement, statements};

/// One rule that differs between two versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it is about.
    pub key: String,
    /// Whom it concerns.
    pub concern: Concern,
    /// How it was; none when it is new.
    pub before: Option<Words>,
    /// How it will be; none when it ends.
    pub after: Option<Words>,
}

impl Difference {
    /// Whether members must be told before it takes effect.
    #[must_use]
    pub const fn needs_notice(&self) -> bool {
        match self.concern {
            Concern::Terms => true,
            Concern::Offer => self.before.is_some(),
            Concern::Internal => false,
        }
    }

    /// The difference as a sentence.
    #[must_use]
    pub fn words(&self) -> Words {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => Words {
                zh: format!("原为：{} 改为：{}", before.zh, after.zh),
                en: format!("Was: {} Will be: {}", before.en, after.en),
            },
            (None, Some(after)) => {
                Words { zh: format!("新增：{}", after.zh), en: format!("New: {}", after.en) }
            }
            (Some(before), None) => {
                Words { zh: format!("取消：{}", before.zh), en: format!("Ends: {}", before.en) }
            }
            (None, None) => Words::default(),
        }
    }
}

/// Who says how long members are told before a change that touches them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeBy {
    /// The brand's own rules, those in force.
    Rules,
    /// The alliance's constitution: no brand's rules go below it.
    Constitution,
}

impl NoticeBy {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rules => "rules",
            Self::Constitution => "constitution",
        }
    }

    /// Its name for people.
    #[must_use]
    pub const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Rules => ("现行规则", "the rules in force"),
            Self::Constitution => ("联盟章程", "the alliance's constitution"),
        }
    }
}

/// How many days before a change that touches members they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoticePeriod {
    /// How many days.
    pub days: u32,
    /// Who says so.
    pub by: NoticeBy,
}

impl NoticePeriod {
    /// As the rules in force say, or the constitution where that is longer.
    #[must_use]
    pub fn of(rules: &Rules, constitution: Milliseconds) -> Self {
        // a begun day is a day
        let days = u32::try_from(constitution.get().div_ceil(DAY_MS)).unwrap_or(u32::MAX);
        if days > rules.change_notice_days {
            return Self { days, by: NoticeBy::Constitution };
        }
        Self { days: rules.change_notice_days, by: NoticeBy::Rules }
    }

    /// The first moment at which a change may hold that is announced at this one.
    #[must_use]
    pub const fn earliest(self, announced: Timestamp) -> Timestamp {
        let notice = (self.days as u64).saturating_mul(DAY_MS);
        Timestamp::from_unix_ms(announced.unix_ms().saturating_add(notice))
    }
}

/// Why rules cannot follow others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleChangeError {
    /// The version was not raised.
    #[error("version: above {in_force}, the version in force (found {found})")]
    Version {
        /// What is in force.
        in_force: u32,
        /// What was proposed.
        found: u32,
    },
    /// Days would shift under points that are valid until one of them.
    #[error(
        "zone_offset_minutes: {in_force}, as in the rules in force: it does not change (found {found})"
    )]
    Zone {
        /// What is in force.
        in_force: u32,
        /// What was proposed.
        found: u32,
    },
    /// Members must know earlier.
    #[error(
        "members are told {days} days before, by {}: effective at the earliest at {earliest_ms} (Unix milliseconds; found {found_ms}); what touches them: {touches}", .by.words().1
    )]
    Notice {
        /// Days of notice.
        days: u32,
        /// Who says so.
        by: NoticeBy,
        /// The earliest moment.
        earliest_ms: u64,
        /// What was proposed.
        found_ms: u64,
        /// Keys of the differences that need it.
        touches: String,
    },
    /// Another change is announced and not yet in force.
    #[error("version {version} is announced and not in force yet: withdraw it first, or wait")]
    Pending {
        /// Its version.
        version: u32,
    },
}

/// A change of rules, announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleChange {
    /// Version in force.
    pub from: u32,
    /// Version to come.
    pub to: u32,
    /// When it was announced.
    pub announced: Timestamp,
    /// From when it holds.
    pub effective: Timestamp,
    /// What differs.
    pub differences: Vec<Difference>,
}

/// What differs between two sets of rules, in the order of the first.
#[must_use]
pub fn differences(old: &Rules, new: &Rules) -> Vec<Difference> {
    let (old, mut new) = (statements(old), statements(new));
    let mut all = Vec::new();
    for Statement { key, concern, words } in old {
        let place = new.iter().position(|it| it.key == key);
        let after = place.map(|place| new.remove(place).words);
        if after.as_ref() != Some(&words) {
            all.push(Difference { key, concern, before: Some(words), after });
        }
    }
    all.extend(new.into_iter().map(|Statement { key, concern, words }| Difference {
        key,
        concern,
        before: None,
        after: Some(words),
    }));
    all
}

impl RuleChange {
    /// A change that may be announced, under a constitution with so long a notice.
    ///
    /// # Errors
    /// [`RuleChangeError`]: the version was not raised, or members would know too late.
    pub fn between(
        old: &Rules,
        new: &Rules,
        announced: Timestamp,
        effective: Timestamp,
        constitution: Milliseconds,
    ) -> Result<Self, RuleChangeError> {
        if new.version <= old.version {
            return Err(RuleChangeError::Version { in_force: old.version, found: new.version });
        }
        if new.zone != old.zone {
            let (in_force, found) = (old.zone.minutes(), new.zone.minutes());
            return Err(RuleChangeError::Zone { in_force, found });
        }
        let differences = differences(old, new);
        let touching: Vec<&str> = differences
            .iter()
            .filter(|difference| difference.needs_notice())
            .map(|difference| difference.key.as_str())
            .collect();
        let notice = NoticePeriod::of(old, constitution);
        let NoticePeriod { days, by } = notice;
        let earliest = notice.earliest(announced);
        if !touching.is_empty() && effective < earliest {
            return Err(RuleChangeError::Notice {
                days,
                by,
                earliest_ms: earliest.unix_ms(),
                found_ms: effective.unix_ms(),
                touches: touching.join(", "),
            });
        }
        Ok(Self { from: old.version, to: new.version, announced, effective, differences })
    }

    /// Whether members are to be told.
    #[must_use]
    pub fn touches_members(&self) -> bool {
        self.differences.iter().any(Difference::needs_notice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(version: u32, text: &str) -> Rules {
        let head = format!("format = \"coalition programme 1\"\nversion = {version}\n");
        Rules::from_toml(&format!("{head}{text}")).unwrap()
    }

    /// A trial's constitution.
    const NONE: Milliseconds = Milliseconds::new(0);
    const NOW: Timestamp = Timestamp::from_unix_ms(1_000 * DAY_MS);

    fn after(days: u64) -> Timestamp {
        Timestamp::from_unix_ms(NOW.unix_ms() + days * DAY_MS)
    }

    #[test]
    fn what_touches_members_waits_for_the_notice_and_what_does_not_need_not() {
        let old = rules(
            1,
            "[expiry]\nvalid_days = 365\n[[reward]]\nname = \"towel\"\nzh = \"毛巾\"\nen = \"Towel\"\nprice_points = 800",
        );
        let shorter = rules(
            2,
            "[expiry]\nvalid_days = 180\n[[reward]]\nname = \"towel\"\nzh = \"毛巾\"\nen = \"Towel\"\nprice_points = 800",
        );
        let error = RuleChange::between(&old, &shorter, NOW, after(29), NONE).unwrap_err();
        let RuleChangeError::Notice { days: 30, touches, .. } = error else { panic!("{error}") };
        assert_eq!(touches, "expiry");
        let change = RuleChange::between(&old, &shorter, NOW, after(30), NONE).unwrap();
        assert!(change.touches_members());
        assert_eq!(change.differences.len(), 1);
        let words = change.differences[0].words();
        assert!(words.en.contains("Was: Points are valid for 365 days"), "{words:?}");
        assert!(words.zh.contains("改为：积分自获得之日起 180 天有效"), "{words:?}");
        // an offer may come at once, and not go at once
        let more = rules(
            2,
            &format!(
                "{}\n[[reward]]\nname = \"cup\"\nzh = \"杯\"\nen = \"Cup\"\nprice_points = 900",
                old.text().split_once('\n').unwrap().1.split_once('\n').unwrap().1
            ),
        );
        assert!(RuleChange::between(&old, &more, NOW, NOW, NONE).is_ok());
        let fewer = rules(2, "[expiry]\nvalid_days = 365");
        assert!(RuleChange::between(&old, &fewer, NOW, NOW, NONE).is_err());
        // nor does fraud's business need telling
        let stricter = rules(
            2,
            &format!(
                "{}\n[fraud]\naccounts_per_device = 2",
                old.text().split_once('\n').unwrap().1.split_once('\n').unwrap().1
            ),
        );
        assert!(!RuleChange::between(&old, &stricter, NOW, NOW, NONE).unwrap().touches_members());
    }

    #[test]
    fn a_version_is_raised_and_a_zone_stays() {
        let old = rules(3, "");
        let same = RuleChange::between(&old, &rules(3, ""), NOW, after(60), NONE).unwrap_err();
        assert_eq!(same, RuleChangeError::Version { in_force: 3, found: 3 });
        let moved =
            RuleChange::between(&old, &rules(4, "zone_offset_minutes = 0"), NOW, after(60), NONE);
        assert_eq!(moved.unwrap_err(), RuleChangeError::Zone { in_force: 480, found: 0 });
    }

    /// A brand's file cannot promise its members less than the constitution does; it may promise more.
    #[test]
    fn the_constitutions_notice_is_the_least_whatever_the_file_says() {
        let old = rules(1, "change_notice_days = 3\n[expiry]\nvalid_days = 365");
        let new = rules(2, "change_notice_days = 3\n[expiry]\nvalid_days = 180");
        let days = |days: u64| Milliseconds::new(days * DAY_MS);
        let error = RuleChange::between(&old, &new, NOW, after(29), days(30)).unwrap_err();
        let RuleChangeError::Notice { days: 30, by: NoticeBy::Constitution, earliest_ms, .. } =
            error
        else {
            panic!("{error}")
        };
        assert_eq!(earliest_ms, after(30).unix_ms());
        assert!(error.to_string().contains("30 days before, by the alliance's constitution"));
        assert!(RuleChange::between(&old, &new, NOW, after(30), days(30)).is_ok());
        // a begun day counts whole
        let longer = Milliseconds::new(30 * DAY_MS + 1);
        assert_eq!(NoticePeriod::of(&old, longer).days, 31);
        // the file's where it is longer, and where both say the same
        for constitution in [days(2), days(3)] {
            let error = RuleChange::between(&old, &new, NOW, after(2), constitution).unwrap_err();
            assert!(
                matches!(error, RuleChangeError::Notice { days: 3, by: NoticeBy::Rules, .. }),
                "{error}"
            );
        }
        // what touches nobody needs none
        let extra = rules(
            2,
            "change_notice_days = 3\n[expiry]\nvalid_days = 365\n[fraud]\naccounts_per_device = 2",
        );
        assert!(RuleChange::between(&old, &extra, NOW, NOW, days(30)).is_ok());
    }
}
