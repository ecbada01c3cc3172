//! Where intervals and bars go, in percent of the width: the picture then fits any screen without
//! scripts, and without style attributes, which the content security policy forbids.

use super::text::rounded;
use crate::service::{BudgetView, ReleaseRow, ReleaseView};

/// Rows shown of a release.
pub(super) const ROWS_MAX: usize = 60;
/// Height of one row, of the axis, in CSS pixels.
const ROW_HEIGHT: usize = 40;
const AXIS_HEIGHT: usize = 28;

/// A bar of what is owed, to the left or the right of the middle.
#[derive(Debug, PartialEq)]
pub(super) struct NetBar {
    /// Whether this brand owes it.
    pub(super) owes: bool,
    pub(super) x: String,
    pub(super) width: String,
    pub(super) y: usize,
    pub(super) label_y: usize,
}

impl NetBar {
    /// The bar in a row, where the longest of all is `most`.
    pub(super) fn of(row: usize, net: i128, most: u128) -> Self {
        // a quarter of the width at most on each side, in hundredths of a percent
        let length = (net.unsigned_abs() * 2_500).checked_div(most).unwrap_or(0);
        let percent = |hundredths: u128| format!("{}.{:02}%", hundredths / 100, hundredths % 100);
        let x = if net < 0 { 5_000_u128.saturating_sub(length) } else { 5_000 };
        let y = row * NET_ROW_HEIGHT + 6;
        Self { owes: net < 0, x: percent(x), width: percent(length), y, label_y: y + 12 }
    }

    /// Height of a chart of so many.
    pub(super) fn height(rows: usize) -> u32 {
        u32::try_from(rows * NET_ROW_HEIGHT + 4).unwrap_or(u32::MAX)
    }
}

/// Height of a row of net positions, in CSS pixels.
const NET_ROW_HEIGHT: usize = 26;

/// A chart of intervals over one axis.
#[derive(Debug, PartialEq)]
pub(super) struct IntervalChart {
    pub(super) height: usize,
    pub(super) axis_y: usize,
    pub(super) rows: Vec<ChartRow>,
    pub(super) ticks: Vec<Tick>,
}

/// One row: where its parts are, and its words.
#[derive(Debug, PartialEq)]
pub(super) struct ChartRow {
    pub(super) label: String,
    pub(super) value: String,
    pub(super) label_y: usize,
    pub(super) line_y: usize,
    pub(super) low: String,
    pub(super) high: String,
    pub(super) middle: String,
}

/// A mark on the axis.
#[derive(Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) x: String,
    pub(super) anchor: &'static str,
    pub(super) label: String,
}

impl IntervalChart {
    /// The first value column of a release; none when it has no finite value.
    pub(super) fn of(release: &ReleaseView) -> Option<Self> {
        let rows: Vec<(&ReleaseRow, [f64; 3])> =
            release.rows.iter().take(ROWS_MAX).filter_map(|row| Some((row, ends(row)?))).collect();
        let first = rows.first()?.1;
        let (mut least, mut most) = (first[0].min(0.0), first[2].max(0.0));
        for (_, [low, _, high]) in &rows {
            (least, most) = (least.min(*low), most.max(*high));
        }
        let step = step(most - least);
        let (least, most) = ((least / step).floor() * step, (most / step).ceil() * step);
        // room for the dots at both ends
        let x = |value: f64| format!("{:.2}%", 2.0 + 96.0 * (value - least) / (most - least));

        let axis_y = rows.len() * ROW_HEIGHT + 4;
        let count = ((most - least) / step).round().clamp(1.0, 10.0) as u32;
        let ticks = (0..=count).map(|tick| {
            let value = least + f64::from(tick) * step;
            let anchor = match tick {
                0 => "start",
                last if last == count => "end",
                _ => "middle",
            };
            Tick { x: x(value), anchor, label: rounded(value) }
        });
        let ticks = ticks.collect();
        let rows = rows.iter().enumerate().map(|(position, (row, [low, middle, high]))| ChartRow {
            label: row.keys.join(" · "),
            value: rounded(*middle),
            label_y: position * ROW_HEIGHT + 16,
            line_y: position * ROW_HEIGHT + 29,
            low: x(*low),
            high: x(*high),
            middle: x(*middle),
        });
        let rows = rows.collect();
        Some(Self { height: axis_y + AXIS_HEIGHT, axis_y, rows, ticks })
    }
}

fn ends(row: &ReleaseRow) -> Option<[f64; 3]> {
    let ends = [*row.low.first()?, *row.values.first()?, *row.high.first()?];
    ends.iter().all(|end| end.is_finite()).then_some(ends)
}

/// 1, 2 or 5 times a power of ten, at most seven of them over the width.
fn step(width: f64) -> f64 {
    if width <= 0.0 || !width.is_finite() {
        return 1.0;
    }
    let power = 10_f64.powf((width / 7.0).log10().floor()).max(f64::MIN_POSITIVE);
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    steps.into_iter().find(|step| width / step <= 7.0).unwrap_or(10.0 * power)
}

/// A bar of what is spent, reserved and left.
#[derive(Debug, PartialEq)]
pub(super) struct BudgetBar {
    pub(super) spent: String,
    pub(super) reserved: String,
    pub(super) left_pico_rho: u64,
    pub(super) left_percent: String,
}

impl BudgetBar {
    pub(super) fn of(budget: &BudgetView) -> Self {
        let quota = budget.quota_pico_rho;
        let taken = budget.spent_pico_rho.saturating_add(budget.reserved_pico_rho);
        let percent = |part: u64| match quota {
            0 => "0%".to_owned(),
            _ => {
                let hundredths = u128::from(part.min(quota)) * 10_000 / u128::from(quota);
                format!("{}.{:02}%", hundredths / 100, hundredths % 100)
            }
        };
        let left = quota.saturating_sub(taken);
        Self {
            spent: percent(budget.spent_pico_rho),
            reserved: percent(taken),
            left_pico_rho: left,
            left_percent: percent(left),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(rows: &[(f64, f64, f64)]) -> ReleaseView {
        let rows = rows.iter().map(|(low, value, high)| ReleaseRow {
            keys: vec!["a".to_owned(), "b".to_owned()],
            values: vec![*value],
            low: vec![*low],
            high: vec![*high],
            quality: vec!["usable".to_owned()],
        });
        ReleaseView { rows: rows.collect(), ..ReleaseView::default() }
    }

    #[test]
    fn intervals_share_an_axis_that_holds_zero() {
        let chart =
            IntervalChart::of(&release(&[(100.0, 200.0, 300.0), (350.0, 400.0, 450.0)])).unwrap();
        let labels: Vec<&str> = chart.ticks.iter().map(|tick| tick.label.as_str()).collect();
        assert_eq!(labels, ["0", "100", "200", "300", "400", "500"]);
        let row = &chart.rows[0];
        assert_eq!((row.label.as_str(), row.value.as_str()), ("a · b", "200"));
        assert_eq!([&row.low, &row.middle, &row.high], ["21.20%", "40.40%", "59.60%"]);
    }

    #[test]
    fn odd_releases_are_drawn_or_left_out() {
        assert_eq!(IntervalChart::of(&release(&[])), None);
        assert_eq!(IntervalChart::of(&release(&[(f64::NAN, 1.0, 2.0)])), None);
        assert!(IntervalChart::of(&release(&[(0.0, 0.0, 0.0)])).is_some());
        let negative = IntervalChart::of(&release(&[(-33.0, -5.0, 20.0)])).unwrap();
        assert_eq!(negative.ticks[0].label, "−40");
        let many = vec![(1.0, 2.0, 3.0); ROWS_MAX + 1];
        assert_eq!(IntervalChart::of(&release(&many)).unwrap().rows.len(), ROWS_MAX);
        let huge = IntervalChart::of(&release(&[(-f64::MAX, 0.0, f64::MAX)]));
        assert!(huge.is_none_or(|chart| chart.ticks.len() <= 11));
    }

    #[test]
    fn budget_is_exact_and_never_overflows() {
        let budget = BudgetView {
            quota_pico_rho: 60,
            spent_pico_rho: 15,
            reserved_pico_rho: 15,
            ..BudgetView::default()
        };
        let bar = BudgetBar::of(&budget);
        assert_eq!((bar.spent.as_str(), bar.reserved.as_str()), ("25.00%", "50.00%"));
        assert_eq!((bar.left_pico_rho, bar.left_percent.as_str()), (30, "50.00%"));
        let overdrawn = BudgetView { spent_pico_rho: u64::MAX, ..budget };
        assert_eq!(BudgetBar::of(&overdrawn).reserved, "100.00%");
        assert_eq!(BudgetBar::of(&BudgetView::default()).spent, "0%");
    }
}
