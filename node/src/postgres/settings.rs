//! What a connection may set: the privacy of its questions, and what PostgreSQL's clients set by habit.

use std::collections::BTreeMap;
use std::time::Duration;

use super::errors::{INVALID_VALUE, NO_SETTING, Refused, UNSUPPORTED};
use crate::service::{Scope, pico_rho};

/// The most that the next questions may spend in all, in rho.
pub const BUDGET: &str = "coalition.budget";
/// What one question may cost, in rho.
pub const RHO: &str = "coalition.rho";
/// Who answers.
pub const SCOPE: &str = "coalition.scope";
/// Whether intervals are shown beside the values.
pub const INTERVALS: &str = "coalition.intervals";

/// Settings that clients read or write and that mean nothing here, with their values.
const OTHERS: &[(&str, &str)] = &[
    ("application_name", ""),
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("datestyle", "ISO, MDY"),
    ("default_table_access_method", "heap"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "on"),
    ("extra_float_digits", "1"),
    ("idle_in_transaction_session_timeout", "0"),
    ("integer_datetimes", "on"),
    ("intervalstyle", "postgres"),
    ("is_superuser", "off"),
    ("jit", "off"),
    ("lock_timeout", "0"),
    ("max_identifier_length", "63"),
    ("row_security", "on"),
    ("search_path", "public"),
    ("server_encoding", "UTF8"),
    ("server_version", SERVER_VERSION),
    ("server_version_num", "150000"),
    ("session_authorization", ""),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("synchronous_commit", "on"),
    ("timezone", "UTC"),
    ("transaction_isolation", "read committed"),
    ("transaction_read_only", "on"),
    ("xmloption", "content"),
];

/// The version whose dialect and catalogue clients may count on.
pub const SERVER_VERSION: &str = "15.0 (Coalition)";
/// Those that cannot be set.
const FIXED: &[&str] = &[
    "integer_datetimes",
    "is_superuser",
    "max_identifier_length",
    "server_encoding",
    "server_version",
    "server_version_num",
    "session_authorization",
    "standard_conforming_strings",
];
/// Longest value.
const VALUE_MAX: usize = 1024;

/// The settings of one connection.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    budget: Option<u64>,
    /// What one question may cost, pico-rho.
    pub rho: Option<u64>,
    /// Who answers.
    pub scope: Option<Scope>,
    /// Whether intervals are shown.
    pub intervals: bool,
    others: BTreeMap<&'static str, String>,
    /// What `SET LOCAL` has changed, to be put back when the transaction ends.
    local: Vec<(String, Option<String>)>,
    /// How often the budget was set: what was taken off one is not given back to the next.
    budgets: u64,
    /// Questions that came to nothing, of which what was taken may yet come back.
    unsettled: Vec<(String, Spent)>,
}

/// What was taken off a budget for a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    pico_rho: u64,
    of: u64,
}

/// Most questions of which what was taken may yet come back.
const UNSETTLED_MAX: usize = 16;

impl Settings {
    /// Sets one; without a value, as it was at the beginning.
    ///
    /// # Errors
    /// When there is no such setting, or it does not take this value.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), Refused> {
        let name = name.to_ascii_lowercase();
        if value.is_some_and(|value| value.len() > VALUE_MAX) {
            return Err(wrong(&name, "it is too long", "write a shorter one"));
        }
        let rho = |value: Option<&str>, name: &str| -> Result<Option<u64>, Refused> {
            let value = value.map(str::trim).filter(|value| !value.is_empty());
            value
                .map(|value| match value.bytes().all(|byte| byte == b'0' || byte == b'.') {
                    true => Ok(0),
                    false => {
                        pico_rho(value).map_err(|why| wrong(name, &why, "SET it to rho, '0.005'"))
                    }
                })
                .transpose()
        };
        match name.as_str() {
            BUDGET => {
                self.budget = rho(value, BUDGET)?.filter(|budget| *budget > 0);
                self.budgets = self.budgets.wrapping_add(1);
                self.unsettled.clear();
            }
            RHO => self.rho = rho(value, RHO)?.filter(|rho| *rho > 0),
            SCOPE => {
                self.scope = match value.map(str::trim).unwrap_or_default() {
                    "" | "default" => None,
                    "alliance" => Some(Scope::Joint),
                    scope => Some(scope.parse().map_err(|_| {
                        let hint = "joint (or alliance): all brands together; local: this brand's own \
                                    members; pack: each brand for itself; empty: pack when brand is \
                                    among the group keys, else joint";
                        wrong(SCOPE, "it is none of joint, alliance, local, pack", hint)
                    })?),
                };
            }
            INTERVALS => {
                self.intervals = match value.unwrap_or("off").trim().to_ascii_lowercase().as_str() {
                    "on" | "true" | "yes" | "1" => true,
                    "off" | "false" | "no" | "0" => false,
                    _ => return Err(wrong(INTERVALS, "it is neither on nor off", "SET it to on")),
                }
            }
            name => self.set_other(name, value)?,
        }
        Ok(())
    }

    fn set_other(&mut self, name: &str, value: Option<&str>) -> Result<(), Refused> {
        let (name, usual) = *OTHERS.iter().find(|(known, _)| *known == name).ok_or_else(|| {
            Refused::new(
                NO_SETTING,
                format!("unrecognized configuration parameter \"{}\"", shortened(name)),
                format!(
                    "this database has {BUDGET}, {RHO}, {SCOPE} and {INTERVALS}; SHOW ALL lists all"
                ),
            )
        })?;
        let Some(value) = value else {
            self.others.remove(name);
            return Ok(());
        };
        let same = value.eq_ignore_ascii_case(usual);
        if FIXED.contains(&name) && !same {
            return Err(wrong(name, "it cannot be changed", "leave it as it is"));
        }
        if name == "client_encoding" {
            let plain: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
            if !["utf8", "unicode"].contains(&plain.to_ascii_lowercase().as_str()) {
                return Err(Refused::new(
                    UNSUPPORTED,
                    "texts are in UTF-8 alone",
                    "SET client_encoding TO 'UTF8'",
                ));
            }
            self.others.remove(name);
            return Ok(());
        }
        if name == "statement_timeout" && milliseconds(value).is_none() {
            return Err(wrong(name, "it is no time", "milliseconds, or such as '30s'"));
        }
        self.others.insert(name, value.to_owned());
        Ok(())
    }

    /// As [`Self::set`], until the transaction ends.
    ///
    /// # Errors
    /// As [`Self::set`].
    pub fn set_local(&mut self, name: &str, value: Option<&str>) -> Result<(), Refused> {
        let before = self.show(name);
        self.set(name, value)?;
        self.local.push((name.to_ascii_lowercase(), before));
        Ok(())
    }

    /// The transaction has ended: what was set for it alone is put back.
    pub fn end_transaction(&mut self) {
        for (name, before) in std::mem::take(&mut self.local).into_iter().rev() {
            // it was in force before
            let _ = self.set(&name, before.as_deref());
        }
    }

    /// Everything as at the beginning.
    pub fn reset(&mut self) {
        *self = Self { budgets: self.budgets.wrapping_add(1), ..Self::default() };
    }

    /// The value of one.
    #[must_use]
    pub fn show(&self, name: &str) -> Option<String> {
        let name = name.to_ascii_lowercase();
        Some(match name.as_str() {
            BUDGET => self.budget.map(in_rho).unwrap_or_default(),
            RHO => self.rho.map(in_rho).unwrap_or_default(),
            SCOPE => self.scope.map(|scope| scope.name().to_owned()).unwrap_or_default(),
            INTERVALS => on_or_off(self.intervals).to_owned(),
            name => {
                let (name, usual) = OTHERS.iter().find(|(known, _)| *known == name)?;
                self.others.get(name).cloned().unwrap_or_else(|| (*usual).to_owned())
            }
        })
    }

    /// The names of all.
    pub fn names() -> impl Iterator<Item = &'static str> {
        let own = [BUDGET, INTERVALS, RHO, SCOPE];
        own.into_iter().chain(OTHERS.iter().map(|(name, _)| *name))
    }

    /// What the next questions may spend, pico-rho; none: nothing.
    #[must_use]
    pub const fn budget(&self) -> Option<u64> {
        self.budget
    }

    /// Takes a cost off the budget.
    pub const fn spend(&mut self, cost: u64) -> Spent {
        if let Some(budget) = self.budget {
            self.budget = Some(budget.saturating_sub(cost));
        }
        Spent { pico_rho: cost, of: self.budgets }
    }

    /// Gives back what was taken, less what was charged.
    pub fn charged(&mut self, spent: Spent, charged: u64) {
        let back = spent.pico_rho.saturating_sub(charged);
        if spent.of == self.budgets {
            self.budget = self.budget.map(|budget| budget.saturating_add(back));
        }
    }

    /// Keeps in mind that a question's cost may yet be returned.
    pub fn may_come_back(&mut self, question: String, spent: Spent) {
        if spent.of != self.budgets {
            return;
        }
        if self.unsettled.len() >= UNSETTLED_MAX {
            self.unsettled.remove(0);
        }
        self.unsettled.push((question, spent));
    }

    /// The questions whose cost may yet be returned; they are to be put back if it was not.
    pub fn unsettled(&mut self) -> Vec<(String, Spent)> {
        std::mem::take(&mut self.unsettled)
    }

    /// How long a statement may take; none: as long as it takes.
    #[must_use]
    pub fn statement_timeout(&self) -> Option<Duration> {
        let set = self.others.get("statement_timeout")?;
        milliseconds(set).filter(|ms| *ms > 0).map(Duration::from_millis)
    }
}

/// A cost in rho, with all its decimals and no more.
#[must_use]
pub fn in_rho(pico: u64) -> String {
    let (whole, part) = (pico / 1_000_000_000_000, pico % 1_000_000_000_000);
    let decimals = format!("{part:012}");
    let decimals = decimals.trim_end_matches('0');
    if decimals.is_empty() { whole.to_string() } else { format!("{whole}.{decimals}") }
}

const fn on_or_off(is: bool) -> &'static str {
    if is { "on" } else { "off" }
}

fn milliseconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let factor = match unit.trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn wrong(name: &str, what: &str, hint: &str) -> Refused {
    Refused::new(INVALID_VALUE, format!("the value of {}: {what}", shortened(name)), hint)
}

fn shortened(name: &str) -> String {
    name.chars().take(63).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_runs_down_and_is_shown_in_full() {
        let mut settings = Settings::default();
        assert_eq!((settings.budget(), settings.show(BUDGET).as_deref()), (None, Some("")));
        settings.set("Coalition.Budget", Some("0.05")).unwrap();
        assert_eq!(settings.budget(), Some(50_000_000_000));
        let spent = settings.spend(5_000_000_001);
        assert_eq!(settings.show(BUDGET).unwrap(), "0.044999999999");
        settings.charged(spent, 5_000_000_000);
        assert_eq!(settings.show(BUDGET).unwrap(), "0.045");
        let all = settings.spend(u64::MAX);
        assert_eq!(settings.budget(), Some(0), "spent, which is not the same as not set");
        settings.charged(all, u64::MAX);
        assert_eq!(settings.budget(), Some(0));
        // what was taken off one budget is not given back to the next
        settings.may_come_back("a".into(), spent);
        settings.set(BUDGET, Some("0.001")).unwrap();
        settings.charged(spent, 0);
        settings.may_come_back("b".into(), spent);
        assert_eq!(settings.budget(), Some(1_000_000_000));
        assert_eq!(settings.unsettled(), []);
        for (value, budget) in
            [("", None), ("0", None), ("0.0", None), ("2", Some(2_000_000_000_000))]
        {
            settings.set(BUDGET, Some(value)).unwrap();
            assert_eq!(settings.budget(), budget, "{value}");
        }
        for value in ["-1", "a", "1e-3", "0.0000000000001", "99999999999999"] {
            let refused = settings.set(BUDGET, Some(value)).unwrap_err();
            assert_eq!(refused.state, INVALID_VALUE, "{value}");
        }
    }

    #[test]
    fn scopes_intervals_and_habits_are_read_and_the_rest_is_refused() {
        let mut settings = Settings::default();
        settings.set(SCOPE, Some("alliance")).unwrap();
        assert_eq!(settings.scope, Some(Scope::Joint));
        settings.set(SCOPE, Some("local")).unwrap();
        settings.set(INTERVALS, Some("ON")).unwrap();
        settings.set("statement_timeout", Some("2s")).unwrap();
        assert_eq!(settings.statement_timeout(), Some(Duration::from_secs(2)));
        settings.set("client_encoding", Some("utf-8")).unwrap();
        settings.set("standard_conforming_strings", Some("on")).unwrap();
        for (name, value, state) in [
            (SCOPE, "everyone", INVALID_VALUE),
            (INTERVALS, "perhaps", INVALID_VALUE),
            ("statement_timeout", "soon", INVALID_VALUE),
            ("client_encoding", "GBK", UNSUPPORTED),
            ("standard_conforming_strings", "off", INVALID_VALUE),
            ("coalition.budgte", "1", NO_SETTING),
        ] {
            let refused = settings.set(name, Some(value)).unwrap_err();
            assert_eq!(refused.state, state, "{name}");
            assert!(!refused.hint.is_empty());
        }
        assert_eq!((settings.scope, settings.intervals), (Some(Scope::Local), true));
        assert!(Settings::names().all(|name| settings.show(name).is_some()));
        settings.reset();
        assert_eq!((settings.scope, settings.intervals), (None, false));
    }

    #[test]
    fn what_is_set_for_a_transaction_ends_with_it() {
        let mut settings = Settings::default();
        settings.set(BUDGET, Some("0.01")).unwrap();
        settings.set_local(BUDGET, Some("0.02")).unwrap();
        settings.set_local(BUDGET, Some("0.03")).unwrap();
        settings.end_transaction();
        assert_eq!(settings.show(BUDGET).unwrap(), "0.01");
    }
}
