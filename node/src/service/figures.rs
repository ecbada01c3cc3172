//! Figures of a period: exact, of this brand's own members, for its own staff. Neither printed nor kept anywhere.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Bilingual, ErrorKind, ServiceError};

/// How a period is cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PeriodStep {
    /// A day each.
    Day,
    /// A week each, from Monday on.
    #[default]
    Week,
    /// A month each.
    Month,
}

impl PeriodStep {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Day, Self::Week, Self::Month];

    /// Its name in requests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// Days of the longest period that is cut so: some hundred steps.
    #[must_use]
    pub const fn days_max(self) -> i32 {
        match self {
            Self::Day => 366,
            Self::Week => 3 * 366,
            Self::Month => 10 * 366,
        }
    }
}

impl FromStr for PeriodStep {
    type Err = ServiceError;
    fn from_str(text: &str) -> Result<Self, ServiceError> {
        Self::ALL.into_iter().find(|step| step.name() == text).ok_or_else(|| {
            ServiceError::new(
                ErrorKind::Invalid,
                "step_unknown",
                "the period is cut by something else than day, week or month",
                "choose day, week or month",
            )
            .in_chinese("统计粒度须为日、周或月", "请选择 day、week 或 month")
        })
    }
}

/// Which period, and how it is cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeriodRequest {
    /// Its first day; without it, so many days before the last.
    pub from: Option<Date>,
    /// Its last day; without it, the last day with a purchase.
    pub to: Option<Date>,
    /// How it is cut.
    pub by: PeriodStep,
}

impl PeriodRequest {
    /// A period as people write it; what is empty is not said.
    ///
    /// # Errors
    /// When a day is none, they are the wrong way round, or the period is too long for its steps.
    pub fn parse(from: &str, to: &str, by: &str) -> Result<Self, ServiceError> {
        let (from, to) = (day(from)?, day(to)?);
        let by = if by.is_empty() { PeriodStep::default() } else { by.parse()? };
        if let (Some(from), Some(to)) = (from, to) {
            let days = to.since((jiff::Unit::Day, from)).map_or(i32::MAX, |span| span.get_days());
            let most = by.days_max();
            if days < 0 || days >= most {
                return Err(ServiceError::new(
                    ErrorKind::Invalid,
                    "period_invalid",
                    format!("a period by {} has 1 to {most} days", by.name()),
                    "choose a last day that is not before the first, or a coarser cut",
                )
                .in_chinese(
                    format!("该统计粒度的期间须为 1 至 {most} 天"),
                    "请使末日不早于首日，或改用更粗的粒度",
                ));
            }
        }
        Ok(Self { from, to, by })
    }
}

fn day(text: &str) -> Result<Option<Date>, ServiceError> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let day = text.parse::<Date>().ok().filter(|day| (1970..=2199).contains(&day.year()));
    day.map(Some).ok_or_else(|| {
        ServiceError::new(
            ErrorKind::Invalid,
            "day_malformed",
            "a day of the period is no day",
            "write it as in 2026-11-30, from 1970 to 2199",
        )
        .in_chinese("期间的日期无效", "请按 2026-11-30 的格式填写，年份为 1970 至 2199")
    })
}

/// Sales of something: a step, a store, a channel, a category, or all.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeriodRow {
    /// Of what; empty for what the purchases do not say.
    pub name: String,
    /// Sales to members, before refunds, fen.
    pub sales_fen: u64,
    /// Baskets.
    pub baskets: u64,
    /// Members who bought.
    pub members: u64,
    /// Of them, whose first purchase it was that is known; of steps and of all alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_members: Option<u64>,
}

/// Exact figures of a period.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeriodFiguresView {
    /// First day, `YYYY-MM-DD`; empty where nobody has bought anything.
    pub from: String,
    /// Last day.
    pub to: String,
    /// How it is cut.
    pub by: PeriodStep,
    /// All of it.
    pub total: PeriodRow,
    /// Day by day, week by week (named by its Monday) or month by month, those without a sale too.
    pub steps: Vec<PeriodRow>,
    /// By store, the most sales first.
    pub stores: Vec<PeriodRow>,
    /// By channel.
    pub channels: Vec<PeriodRow>,
    /// By category.
    pub departments: Vec<PeriodRow>,
    /// Whose figures they are, and how they may be used.
    pub note: Bilingual,
}

/// Redacted.
impl fmt::Debug for PeriodFiguresView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeriodFiguresView").field("by", &self.by).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_days_in_their_order_and_not_too_many() {
        let none = PeriodRequest::parse("", " ", "").unwrap();
        assert_eq!(none, PeriodRequest::default());
        let one = PeriodRequest::parse("2017-03-31", "2017-03-31", "day").unwrap();
        assert_eq!((one.from, one.by), (one.to, PeriodStep::Day));
        assert!(PeriodRequest::parse("2016-01-01", "2016-12-31", "day").is_ok());
        for (from, to, by, code) in [
            ("2016-01-01", "2017-01-01", "day", "period_invalid"),
            ("2017-02-01", "2017-01-01", "month", "period_invalid"),
            ("2017-02-30", "", "day", "day_malformed"),
            ("", "0001-01-01", "day", "day_malformed"),
            ("", "' OR 1=1", "day", "day_malformed"),
            ("", "", "year", "step_unknown"),
        ] {
            let refused = PeriodRequest::parse(from, to, by).unwrap_err();
            assert_eq!(refused.code, code, "{from} {to} {by}");
            assert!(refused.chinese.is_some());
        }
    }

    #[test]
    fn figures_are_not_printed() {
        let total = PeriodRow { sales_fen: 4711, ..PeriodRow::default() };
        let view = PeriodFiguresView { total, ..PeriodFiguresView::default() };
        assert!(!format!("{view:?}").contains("4711"));
    }
}
