//! The operator's figures for the desk, as `node.toml` has them under `[desk]`.

use std::collections::BTreeSet;

use jiff::civil::{Date, Time};
use protocol::time::Milliseconds;
use serde::{Deserialize, Serialize};

use super::DeskRules;
use super::alerts::Limits;
use super::deadline::Calendar;
use crate::auth::Role;

/// Settings of the desk; each has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeskSettings {
    /// Calendar days until a member's request is answered.
    pub answer_days: u16,
    /// Working days until it is done.
    pub done_working_days: u16,
    /// Weekdays that are holidays, `YYYY-MM-DD`.
    pub holidays: Vec<String>,
    /// Weekend days that are working days, `YYYY-MM-DD`.
    pub workdays: Vec<String>,
    /// Days until an erased member's purchase lines are out of every file, 2 or more.
    pub facts_days: u16,
    /// Days for which it is known that somebody was erased, so that a list of the past does not make the person a
    /// member again; 30 or more, and at most 30 more until the key of it is destroyed.
    pub erased_known_days: u16,
    /// Hours after it was found within which a breach must have been told.
    pub breach_hours: u16,
    /// Members that one user may read within an hour without an alert.
    pub members_an_hour: u32,
    /// When the shops are open, in China, as `08:00-22:00`; members read at other times are an alert.
    /// Empty: always.
    pub open_hours: String,
    /// Points that a member may gain within an hour without an alert.
    pub points_an_hour: u64,
    /// Minutes after which the head of the operation log goes into the brand's log, if it has grown.
    pub operations_minutes: u32,
    /// Roles whose users need a second factor.
    pub second_factor: Vec<Role>,
    /// Version of the notice on the use of data that members are shown on their own pages: what they agree
    /// to there is entered with it.
    pub notice_version: u32,
    /// Where that notice is, `https://...`; members' pages name it.
    pub notice_url: String,
}

impl Default for DeskSettings {
    fn default() -> Self {
        Self {
            answer_days: 7,
            done_working_days: 15,
            holidays: Vec::new(),
            workdays: Vec::new(),
            facts_days: 30,
            erased_known_days: 180,
            breach_hours: 24,
            members_an_hour: 200,
            open_hours: String::new(),
            points_an_hour: 50_000,
            operations_minutes: 60,
            second_factor: Vec::new(),
            notice_version: 1,
            notice_url: String::new(),
        }
    }
}

impl DeskSettings {
    /// Whether nothing was set.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The figures, read.
    ///
    /// # Errors
    /// A sentence that says which setting is wrong and what would be right.
    pub fn rules(&self) -> Result<DeskRules, String> {
        let dates = |name: &str, list: &[String]| -> Result<BTreeSet<Date>, String> {
            list.iter()
                .map(|text| {
                    text.parse::<Date>()
                        .map_err(|_| format!("desk.{name}: {text:?} is no date; write YYYY-MM-DD"))
                })
                .collect()
        };
        if !(2..=3650).contains(&self.facts_days) {
            return Err(format!("desk.facts_days: {} is not 2 to 3650", self.facts_days));
        }
        if !(30..=1095).contains(&self.erased_known_days) {
            return Err(format!(
                "desk.erased_known_days: {} is not 30 to 1095",
                self.erased_known_days
            ));
        }
        if !(1..=3650).contains(&self.answer_days) || !(1..=3650).contains(&self.done_working_days)
        {
            return Err("desk.answer_days and desk.done_working_days are 1 to 3650".to_owned());
        }
        if self.operations_minutes == 0 {
            return Err("desk.operations_minutes: 0 is not 1 or more".to_owned());
        }
        if self.notice_version == 0 {
            return Err("desk.notice_version: 0 is not 1 or more".to_owned());
        }
        if !self.notice_url.is_empty() && !self.notice_url.starts_with("https://") {
            return Err("desk.notice_url: it begins with https://, or is empty".to_owned());
        }
        Ok(DeskRules {
            answer_days: self.answer_days,
            done_working_days: self.done_working_days,
            calendar: Calendar {
                holidays: dates("holidays", &self.holidays)?,
                workdays: dates("workdays", &self.workdays)?,
            },
            facts_days: self.facts_days,
            erased_known: Milliseconds::from_seconds(u64::from(self.erased_known_days) * 86_400),
            breach_within: Milliseconds::from_seconds(u64::from(self.breach_hours) * 3600),
            operations_after: Milliseconds::from_seconds(u64::from(self.operations_minutes) * 60),
            limits: Limits {
                members_an_hour: self.members_an_hour,
                open: open_hours(&self.open_hours)?,
                points_an_hour: self.points_an_hour,
            },
            notice_version: self.notice_version,
            notice_url: (!self.notice_url.is_empty()).then(|| self.notice_url.clone()),
        })
    }
}

fn open_hours(text: &str) -> Result<(Time, Time), String> {
    if text.is_empty() {
        return Ok((Time::midnight(), Time::midnight()));
    }
    let wrong = || format!("desk.open_hours: {text:?} is no time of day; write 08:00-22:00");
    let (from, to) = text.split_once('-').ok_or_else(wrong)?;
    let time = |text: &str| text.trim().parse::<Time>().map_err(|_| wrong());
    Ok((time(from)?, time(to)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_wrong_ones_named() {
        let read = |text: &str| toml::from_str::<DeskSettings>(text).unwrap().rules();
        let rules = read("open_hours = \"08:00-22:30\"\nholidays = [\"2026-10-01\"]").unwrap();
        assert_eq!(rules.limits.open.1, Time::constant(22, 30, 0, 0));
        assert_eq!((rules.answer_days, rules.calendar.holidays.len()), (7, 1));
        assert!(DeskSettings::default().is_default() && DeskSettings::default().rules().is_ok());
        for (text, named) in [
            ("open_hours = \"8 to 10\"", "desk.open_hours"),
            ("holidays = [\"1.10.2026\"]", "desk.holidays"),
            ("workdays = [\"soon\"]", "desk.workdays"),
            ("facts_days = 1", "desk.facts_days"),
            ("erased_known_days = 7", "desk.erased_known_days"),
            ("answer_days = 0", "desk.answer_days"),
            ("operations_minutes = 0", "desk.operations_minutes"),
            ("notice_version = 0", "desk.notice_version"),
            ("notice_url = \"http://grocer.example\"", "desk.notice_url"),
        ] {
            assert!(read(text).unwrap_err().starts_with(named), "{text}");
        }
        assert!(toml::from_str::<DeskSettings>("answer_day = 3").is_err());
        assert!(toml::from_str::<DeskSettings>("second_factor = [\"root\"]").is_err());
    }
}
