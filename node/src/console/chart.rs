//! What pages draw of what they show: each chart as an element that is ready, with words for who cannot see it. The
//! table beside it has every figure.

use super::Language;
use super::text::{figure, signed_yuan, yuan};
use crate::charts::{self, Bar, Flow, Interval, Point};
use crate::service::{BudgetView, ReleaseRow, ReleaseView};

/// Rows shown of a release.
pub(super) const ROWS_MAX: usize = 60;
/// Names of group columns that are times, and so make a trend.
const TIMES: [&str; 8] =
    ["period", "year", "half_year", "quarter", "month", "week", "day", "purchased_on"];
/// A trend takes so many times.
const TIMES_MIN: usize = 3;

fn tick(value: f64) -> String {
    figure(value)
}

/// The first value column of a release, over time where its one key is a time; none when it has no finite value.
pub(super) fn release(release: &ReleaseView, language: Language) -> Option<String> {
    let rows = release.rows.iter().take(ROWS_MAX);
    let name = release.values.first().map_or("", String::as_str);
    let title = language.say("加噪结果与 95% 区间", "Noised values with 95 % intervals");
    let description = format!("{name} · {}", release.keys.join(" · "));
    let over_time = trend_of(release).and_then(|points| charts::trend(&points, &tick));
    let chart = over_time.or_else(|| {
        let intervals: Vec<Interval> = rows.filter_map(interval).collect();
        charts::intervals(&intervals, &tick)
    })?;
    Some(chart.element(title, &description))
}

fn interval(row: &ReleaseRow) -> Option<Interval> {
    let value = *row.values.first()?;
    Some(Interval {
        label: row.keys.join(" · "),
        shown: figure(value),
        low: *row.low.first()?,
        value,
        high: *row.high.first()?,
        faint: row.quality.first().is_some_and(|quality| quality != "usable"),
    })
}

/// Whether a group column of this name, with these values, is a time, and there are enough of them to make a trend.
pub(super) fn are_times(key: &str, labels: &[&str]) -> bool {
    // 2026-11-01, 2026Q4, 2026H2
    let is_time = |name: &&str| {
        let (year, rest) = name.split_at_checked(4).unwrap_or_default();
        !year.is_empty()
            && year.bytes().all(|byte| byte.is_ascii_digit())
            && rest.starts_with(['-', 'Q', 'H'])
    };
    labels.len() >= TIMES_MIN && (TIMES.contains(&key) || labels.iter().all(is_time))
}

/// The points of a release whose one key is a time, in the order of the times; none of any other.
fn trend_of(release: &ReleaseView) -> Option<Vec<Point>> {
    let [key] = release.keys.as_slice() else { return None };
    // a part of an answer is no trend: the times that are missing may be anywhere
    let whole = release.rows.len() <= ROWS_MAX
        && usize::try_from(release.rows_in_all).is_ok_and(|all| all <= release.rows.len());
    let labels: Vec<&str> =
        release.rows.iter().filter_map(|row| Some(row.keys.first()?.as_str())).collect();
    if !whole || !are_times(key, &labels) {
        return None;
    }
    let point = |row: &ReleaseRow| {
        let ends = [*row.low.first()?, *row.high.first()?];
        let label = row.keys.first()?.clone();
        Some(Point { label, value: *row.values.first()?, interval: Some(ends) })
    };
    let mut points = release.rows.iter().map(point).collect::<Option<Vec<_>>>()?;
    points
        .sort_by_cached_key(|point| (point.label.parse().unwrap_or(i64::MAX), point.label.clone()));
    Some(points)
}

/// What this brand and another owe each other, as the net of both.
pub(super) struct Net<'a> {
    pub(super) name: &'a str,
    /// What they owe less what this brand owes, in micro-fen.
    pub(super) micro_fen: i128,
}

/// Who owes this brand, and whom it owes, net; none when nobody owes anything.
pub(super) fn net_flow(own: &str, nets: &[Net<'_>], language: Language) -> Option<String> {
    let flows: Vec<Flow> = nets
        .iter()
        .filter(|net| net.micro_fen != 0)
        .map(|net| {
            let owed_here = net.micro_fen < 0;
            let (from, to) = if owed_here { (own, net.name) } else { (net.name, own) };
            Flow {
                from: from.to_owned(),
                to: to.to_owned(),
                // for the eye; the table has it exact
                amount: net.micro_fen.unsigned_abs() as f64,
                shown: signed_yuan(net.micro_fen),
                owed_here,
            }
        })
        .collect();
    drawn_flow(
        &flows,
        language.say("净额：由应付方流向应收方", "Net: from who owes to who is owed"),
    )
}

/// A payment of a statement.
pub(super) struct Payment<'a> {
    pub(super) payer: &'a str,
    pub(super) payee: &'a str,
    pub(super) micro_fen: u64,
    /// Whether this brand pays it.
    pub(super) is_own: bool,
}

/// Who pays whom; none when nobody pays.
pub(super) fn payment_flow(payments: &[Payment<'_>], language: Language) -> Option<String> {
    let flow = |payment: &Payment<'_>| Flow {
        from: payment.payer.to_owned(),
        to: payment.payee.to_owned(),
        amount: payment.micro_fen as f64,
        shown: yuan(payment.micro_fen),
        owed_here: payment.is_own,
    };
    let flows: Vec<Flow> = payments.iter().map(flow).collect();
    drawn_flow(&flows, language.say("付款：由付款方流向收款方", "Payments: from payer to payee"))
}

fn drawn_flow(flows: &[Flow], title: &str) -> Option<String> {
    let words = flows.iter().map(|flow| format!("{} → {}: {}", flow.from, flow.to, flow.shown));
    let words: Vec<String> = words.take(charts::FLOWS_MAX).collect();
    Some(charts::flow(flows)?.element(title, &words.join("; ")))
}

/// Exact values over time; none of fewer than two.
pub(super) fn exact_trend(points: &[Point], title: &str, description: &str) -> Option<String> {
    Some(charts::trend(points, &tick)?.element(title, description))
}

/// Exact values, a bar each; none without any.
pub(super) fn exact_bars(bars: &[Bar], title: &str, description: &str) -> Option<String> {
    Some(charts::bars(bars, &tick)?.element(title, description))
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
    use super::super::STYLE_SHEET;
    use super::*;

    fn answer(key: &str, rows: &[(&str, f64)]) -> ReleaseView {
        let row = |(name, value): &(&str, f64)| ReleaseRow {
            keys: vec![(*name).to_owned()],
            values: vec![*value],
            low: vec![value - 5.0],
            high: vec![value + 5.0],
            quality: vec!["usable".to_owned()],
        };
        ReleaseView {
            keys: vec![key.to_owned()],
            values: vec!["m".to_owned()],
            rows: rows.iter().map(row).collect(),
            rows_in_all: u32::try_from(rows.len()).unwrap(),
            ..ReleaseView::default()
        }
    }

    #[test]
    fn the_style_sheet_has_every_ink_of_the_charts() {
        for ink in charts::INKS {
            for attribute in ["fill", "stroke"] {
                let rule = format!(".drawn [{attribute}=\"{ink}\"]");
                assert!(STYLE_SHEET.contains(&rule), "{rule}");
            }
        }
    }

    #[test]
    fn times_make_a_trend_and_other_groups_a_row_each() {
        let months = [("10", 300.0), ("9", 200.0), ("11", 400.0)];
        let trend = release(&answer("month", &months), Language::English).unwrap();
        assert!(trend.contains("<polygon") && trend.contains("<desc>m · month</desc>"));
        let place = |name: &str| trend.find(&format!("\n{name}\n")).unwrap();
        assert!(place("9") < place("10") && place("10") < place("11"), "times are in their order");
        let rows = release(&answer("department", &months), Language::English).unwrap();
        assert!(!rows.contains("<polygon") && rows.matches("<circle").count() == 3);
        // of two times, and of a part of an answer, nobody reads a trend
        let two = release(&answer("month", &months[..2]), Language::English).unwrap();
        let part = ReleaseView { rows_in_all: 12, ..answer("month", &months) };
        let part = release(&part, Language::English).unwrap();
        assert!(!two.contains("<polygon") && !part.contains("<polygon"));
    }

    #[test]
    fn odd_releases_are_drawn_or_left_out() {
        assert_eq!(release(&ReleaseView::default(), Language::English), None);
        let none = answer("department", &[("a", f64::NAN)]);
        assert_eq!(release(&none, Language::Chinese), None);
        let many = vec![("a", 1.0); ROWS_MAX + 1];
        let many = release(&answer("department", &many), Language::English).unwrap();
        assert_eq!(many.matches("<circle").count(), ROWS_MAX);
    }

    #[test]
    fn what_is_owed_flows_from_who_owes() {
        let net = |name, micro_fen| Net { name, micro_fen };
        let nets = [net("B", 250_000_000), net("C", -100_000_000), net("D", 0)];
        let flow = net_flow("A", &nets, Language::English).unwrap();
        assert!(flow.contains("<desc>B → A: +2.50; A → C: −1.00</desc>"), "{flow}");
        assert_eq!(flow.matches("<polygon").count(), 2);
        assert_eq!(net_flow("A", &[net("D", 0)], Language::English), None);
        let payment = Payment { payer: "B", payee: "A", micro_fen: 250_000_000, is_own: false };
        let paid = payment_flow(&[payment], Language::Chinese).unwrap();
        assert!(paid.contains("B → A: 2.50") && paid.contains("付款"), "{paid}");
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
