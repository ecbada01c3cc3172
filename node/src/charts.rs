//! Charts, drawn by plotters as SVG: intervals, bars, a trend with its band, who owes whom.
//!
//! A chart is a picture without scripts, styles or links, as the pages' content security policy asks. Its colours
//! are [`INKS`], as attributes: a file that is looked at by itself is whole, and in a page the style sheet gives each
//! ink the scheme's own colour, bright or dark. What the numbers are called comes with them: nothing here knows
//! of brands, money or languages. Values that no axis holds are left out; the table beside a chart has them.

use std::fmt;
use std::io;
use std::ops::Range;

use plotters::chart::ChartBuilder;
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::types::RangedCoordf64;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea as _};
use plotters::element::{Circle, PathElement, Polygon, Rectangle, Text};
use plotters::prelude::SVGBackend;
use plotters::series::LineSeries;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color as _, IntoFont as _, RGBColor, TRANSPARENT, TextStyle};

/// Units across: a page shows about one for each CSS pixel.
pub const WIDTH: u32 = 640;
/// Most rows of a chart of rows; more are left to the table.
pub const ROWS_MAX: usize = 200;
/// Most points of a trend: a day each for more than a year.
pub const POINTS_MAX: usize = 400;
/// Most flows; the largest are drawn.
pub const FLOWS_MAX: usize = 40;

const INK: RGBColor = RGBColor(0x1b, 0x24, 0x30);
const QUIET: RGBColor = RGBColor(0x56, 0x62, 0x74);
const LINE: RGBColor = RGBColor(0xd9, 0xde, 0xe6);
const VALUE: RGBColor = RGBColor(0x0b, 0x5c, 0xad);
const BAND: RGBColor = RGBColor(0x8f, 0xb8, 0xde);
const OWES: RGBColor = RGBColor(0xa3, 0x23, 0x1c);
const FAINT: RGBColor = RGBColor(0x7a, 0x4b, 0x00);

/// The inks as the attributes have them: for words, for words that step back, for lines of the grid, for values, for
/// intervals, for what this brand owes, for what is not to be relied on.
pub const INKS: [&str; 7] =
    ["#1B2430", "#566274", "#D9DEE6", "#0B5CAD", "#8FB8DE", "#A3231C", "#7A4B00"];

/// Beyond it an axis has no more numbers that people tell apart.
const VALUE_MAX: f64 = 1e15;
const ROW_HEIGHT: u32 = 40;
const AXIS_HEIGHT: u32 = 28;
/// Beside the plot: half of the words under the first and the last tick.
const SIDE: u32 = 32;
const TREND_HEIGHT: u32 = 260;
/// Points that get a dot each.
const DOTS_MAX: usize = 62;
const FONT: f64 = 16.0;

type Canvas<'t> = DrawingArea<SVGBackend<'t>, Shift>;
type Plot<'t> = DrawingArea<SVGBackend<'t>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;

/// A chart.
#[derive(Clone, PartialEq, Eq)]
pub struct Chart {
    height: u32,
    body: String,
}

/// Redacted: it may be of exact figures.
impl fmt::Debug for Chart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chart").field("height", &self.height).finish_non_exhaustive()
    }
}

impl Chart {
    fn drawn(height: u32, draw: impl FnOnce(&Canvas<'_>) -> Drawn) -> Option<Self> {
        let mut text = String::new();
        {
            let canvas = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
            draw(&canvas).ok()?;
            canvas.present().ok()?;
        }
        // its element is written anew around it, with words for who cannot see it
        let (_, body) = text.split_once(">\n")?;
        let body = body.strip_suffix("</svg>\n")?.to_owned();
        Some(Self { height, body })
    }

    /// Units from top to bottom.
    #[must_use]
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// What is drawn, to be put into an SVG.
    #[must_use]
    pub fn body(&self) -> &str {
        &self.body
    }

    /// As an element of a page: what it is, and what a screen reader says of it.
    #[must_use]
    pub fn element(&self, title: &str, description: &str) -> String {
        let (title, description) = (escaped(title), escaped(description));
        format!(
            "<svg class=\"chart drawn\" role=\"img\" aria-label=\"{title}\" viewBox=\"0 0 {WIDTH} {}\">\
             <title>{title}</title><desc>{description}</desc>\n{}</svg>",
            self.height, self.body
        )
    }
}

/// A number without idle zeros, to four decimals.
#[must_use]
pub fn plain(value: f64) -> String {
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// A text within SVG or HTML.
#[must_use]
pub fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', "&#39;")
}

/// A value in its interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Interval {
    /// Of what.
    pub label: String,
    /// The value as people read it.
    pub shown: String,
    /// Lower end.
    pub low: f64,
    /// The value.
    pub value: f64,
    /// Upper end.
    pub high: f64,
    /// Whether it is not to be relied on.
    pub faint: bool,
}

/// A value of a row.
#[derive(Clone, PartialEq)]
pub struct Bar {
    /// Of what.
    pub label: String,
    /// The value as people read it.
    pub shown: String,
    /// The value.
    pub value: f64,
}

/// A value of a time.
#[derive(Clone, PartialEq)]
pub struct Point {
    /// The time.
    pub label: String,
    /// The value.
    pub value: f64,
    /// The ends of its interval; none for an exact one.
    pub interval: Option<[f64; 2]>,
}

/// What goes from one to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// From whom.
    pub from: String,
    /// To whom.
    pub to: String,
    /// How much.
    pub amount: f64,
    /// The same as people read it.
    pub shown: String,
    /// Whether it is this brand that owes it.
    pub owed_here: bool,
}

/// A row for each value: a dot, and its interval as a line. None without any that an axis holds.
#[must_use]
pub fn intervals(rows: &[Interval], tick: &dyn Fn(f64) -> String) -> Option<Chart> {
    let held = |row: &&Interval| [row.low, row.value, row.high].into_iter().all(is_held);
    let rows: Vec<&Interval> = rows.iter().filter(held).take(ROWS_MAX).collect();
    let span = span(rows.iter().flat_map(|row| [row.low, row.value, row.high]));
    let words = |row: &&Interval| (row.label.clone(), row.shown.clone());
    let words: Vec<(String, String)> = rows.iter().map(words).collect();
    in_rows(&words, span, tick, |plot, place, y| {
        let Some(row) = rows.get(place) else { return Ok(()) };
        let (line, dot) = if row.faint { (FAINT, FAINT) } else { (BAND, VALUE) };
        plot.draw(&PathElement::new(vec![(row.low, y), (row.high, y)], line.stroke_width(5)))?;
        plot.draw(&Circle::new((row.value, y), 5, dot.filled()))
    })
}

/// A row for each value: a bar from zero. None without any that an axis holds.
#[must_use]
pub fn bars(rows: &[Bar], tick: &dyn Fn(f64) -> String) -> Option<Chart> {
    let rows: Vec<&Bar> = rows.iter().filter(|row| is_held(row.value)).take(ROWS_MAX).collect();
    let span = span(rows.iter().map(|row| row.value));
    let words: Vec<(String, String)> =
        rows.iter().map(|row| (row.label.clone(), row.shown.clone())).collect();
    in_rows(&words, span, tick, |plot, place, y| {
        let Some(row) = rows.get(place) else { return Ok(()) };
        let corners = [(0.0, y + 0.12), (row.value, y - 0.12)];
        plot.draw(&Rectangle::new(corners, VALUE.filled()))
    })
}

/// An axis of values below, and over it rows with words at both ends, what is drawn of a row beneath them.
fn in_rows(
    words: &[(String, String)],
    span: Range<f64>,
    tick: &dyn Fn(f64) -> String,
    draw: impl Fn(&Plot<'_>, usize, f64) -> Drawn,
) -> Option<Chart> {
    let count = u32::try_from(words.len()).ok().filter(|count| *count > 0)?;
    Chart::drawn(count * ROW_HEIGHT + AXIS_HEIGHT, |canvas| {
        let rows = f64::from(count);
        let mut chart = ChartBuilder::on(canvas)
            .margin_left(SIDE)
            .margin_right(SIDE)
            .x_label_area_size(AXIS_HEIGHT)
            .build_cartesian_2d(span.clone(), 0.0..rows)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .bold_line_style(LINE)
            .light_line_style(TRANSPARENT)
            .axis_style(QUIET)
            .set_all_tick_mark_size(4)
            .x_labels(6)
            .x_label_style(style(&QUIET, HPos::Center, VPos::Top))
            .x_label_formatter(&|value: &f64| tick(*value))
            .draw()?;
        let plot = chart.plotting_area();
        if span.start < 0.0 {
            plot.draw(&PathElement::new(vec![(0.0, 0.0), (0.0, rows)], QUIET))?;
        }
        for (place, (label, shown)) in words.iter().enumerate() {
            // from the top; a row's words are over what is drawn of it
            let top = rows - place as f64;
            let label = shortened(label, 44);
            let left = style(&INK, HPos::Left, VPos::Center);
            let right = style(&INK, HPos::Right, VPos::Center);
            plot.draw(&Text::new(label, (span.start, top - 0.32), left))?;
            plot.draw(&Text::new(shortened(shown, 24), (span.end, top - 0.32), right))?;
            draw(plot, place, top - 0.7)?;
        }
        Ok(())
    })
}

/// A line over time, with the band of its intervals. None of fewer than two points.
#[must_use]
pub fn trend(points: &[Point], tick: &dyn Fn(f64) -> String) -> Option<Chart> {
    let ends = |point: &Point| point.interval.unwrap_or([point.value; 2]);
    let held = |point: &&Point| is_held(point.value) && ends(point).into_iter().all(is_held);
    let points: Vec<&Point> = points.iter().filter(held).take(POINTS_MAX).collect();
    let last = i32::try_from(points.len()).ok()?.checked_sub(1).filter(|last| *last > 0)?;
    let span = span(points.iter().flat_map(|point| {
        let [low, high] = ends(point);
        [low, point.value, high]
    }));
    let has_band = points.iter().any(|point| point.interval.is_some());
    let name = |place: &f64| {
        // between two points there is no time to name
        let near = (place - place.round()).abs() < 1e-6;
        let place = if near { place.round() as usize } else { usize::MAX };
        points.get(place).map_or(String::new(), |point| shortened(&point.label, 10))
    };
    let at = |place: usize| place as f64;
    Chart::drawn(TREND_HEIGHT, |canvas| {
        let mut chart = ChartBuilder::on(canvas)
            .margin_top(10)
            .margin_right(SIDE + 8)
            .x_label_area_size(AXIS_HEIGHT)
            .y_label_area_size(88)
            .build_cartesian_2d(0.0..f64::from(last), span)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(LINE)
            .light_line_style(TRANSPARENT)
            .axis_style(QUIET)
            .set_all_tick_mark_size(4)
            .x_labels(6)
            .y_labels(6)
            .label_style(style(&QUIET, HPos::Center, VPos::Top))
            .x_label_formatter(&name)
            .y_label_formatter(&|value: &f64| tick(*value))
            .draw()?;
        if has_band {
            let low = points.iter().enumerate().map(|(place, point)| (at(place), ends(point)[0]));
            let high = points.iter().enumerate().map(|(place, point)| (at(place), ends(point)[1]));
            let around: Vec<(f64, f64)> = low.chain(high.rev()).collect();
            chart.plotting_area().draw(&Polygon::new(around, BAND.mix(0.5)))?;
        }
        let line = points.iter().enumerate().map(|(place, point)| (at(place), point.value));
        let dots = if points.len() <= DOTS_MAX { 3 } else { 0 };
        chart
            .draw_series(LineSeries::new(line, VALUE.filled().stroke_width(2)).point_size(dots))?;
        Ok(())
    })
}

/// Bands from who owes on the left to who is owed on the right, each as wide as what it is. None without any.
#[must_use]
pub fn flow(flows: &[Flow]) -> Option<Chart> {
    let held = |flow: &&Flow| is_held(flow.amount) && flow.amount > 0.0;
    let mut flows: Vec<&Flow> = flows.iter().filter(held).collect();
    flows.sort_by(|one, other| other.amount.total_cmp(&one.amount));
    flows.truncate(FLOWS_MAX);
    let most: f64 = flows.iter().map(|flow| flow.amount).sum();
    let from = Column::of(flows.iter().map(|flow| (flow.from.as_str(), flow.amount)), most);
    let to = Column::of(flows.iter().map(|flow| (flow.to.as_str(), flow.amount)), most);
    if flows.is_empty() {
        return None;
    }
    let height = from.height().max(to.height());
    Chart::drawn(height, |canvas| {
        const LEFT: i32 = 190;
        const RIGHT: i32 = WIDTH as i32 - 190;
        const NODE: i32 = 8;
        let (mut left, mut right) = (from.tops(), to.tops());
        for flow in &flows {
            let thick = thickness(flow.amount, most);
            let start = taken(&mut left, &flow.from, thick);
            let end = taken(&mut right, &flow.to, thick);
            let ink = if flow.owed_here { OWES } else { VALUE };
            let edge = |below: i32| {
                (0..=16_i32).map(move |step| {
                    let part = f64::from(step) / 16.0;
                    // level at both ends
                    let eased = part * part * (3.0 - 2.0 * part);
                    let x = f64::from(LEFT + NODE) + f64::from(RIGHT - LEFT - 2 * NODE) * part;
                    let y = f64::from(start) + f64::from(end - start) * eased;
                    (x.round() as i32, y.round() as i32 + below)
                })
            };
            let around: Vec<(i32, i32)> = edge(0).chain(edge(thick).rev()).collect();
            canvas.draw(&Polygon::new(around, ink.mix(0.55)))?;
        }
        for (column, x, anchor, words) in
            [(&from, LEFT, HPos::Right, LEFT - 8), (&to, RIGHT - NODE, HPos::Left, RIGHT + 8)]
        {
            for node in &column.nodes {
                let corners = [(x, node.top), (x + NODE, node.top + node.thick)];
                canvas.draw(&Rectangle::new(corners, QUIET.filled()))?;
                let middle = node.top + node.thick / 2;
                let text = style(&INK, anchor, VPos::Center);
                canvas.draw(&Text::new(shortened(&node.name, 20), (words, middle), text))?;
            }
        }
        // what a lone band is worth stands on it; of many, the table says it
        if let [flow] = flows.as_slice() {
            let middle = from.nodes.first().map_or(0, |node| node.top + node.thick / 2);
            let text = style(&INK, HPos::Center, VPos::Center);
            canvas.draw(&Text::new(flow.shown.clone(), (WIDTH as i32 / 2, middle), text))?;
        }
        Ok(())
    })
}

/// Most units that all flows together are high, beside the room between them.
const FLOW_HEIGHT: f64 = 180.0;
/// Between two in a column: a line of words.
const FLOW_GAP: i32 = 22;

fn thickness(amount: f64, most: f64) -> i32 {
    (FLOW_HEIGHT * amount / most).round().max(2.0) as i32
}

struct Node {
    name: String,
    top: i32,
    thick: i32,
}

/// Those on one side of a chart of flows, each once, in the order in which they come.
struct Column {
    nodes: Vec<Node>,
}

impl Column {
    fn of<'n>(flows: impl Iterator<Item = (&'n str, f64)>, most: f64) -> Self {
        let mut nodes: Vec<Node> = Vec::new();
        for (name, amount) in flows {
            let thick = thickness(amount, most);
            match nodes.iter_mut().find(|node| node.name == name) {
                Some(node) => node.thick += thick,
                None => nodes.push(Node { name: name.to_owned(), top: 0, thick }),
            }
        }
        let mut top = FLOW_GAP / 2;
        for node in &mut nodes {
            node.top = top;
            top += node.thick + FLOW_GAP;
        }
        Self { nodes }
    }

    fn height(&self) -> u32 {
        let end = self.nodes.last().map_or(0, |node| node.top + node.thick);
        u32::try_from(end + FLOW_GAP / 2).unwrap_or(1)
    }

    /// Where the next band of each begins.
    fn tops(&self) -> Vec<(&str, i32)> {
        self.nodes.iter().map(|node| (node.name.as_str(), node.top)).collect()
    }
}

fn taken(tops: &mut [(&str, i32)], name: &str, thick: i32) -> i32 {
    let Some((_, top)) = tops.iter_mut().find(|(it, _)| *it == name) else { return 0 };
    let begins = *top;
    *top += thick;
    begins
}

fn style(ink: &'static RGBColor, across: HPos, down: VPos) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", FONT).into_font()).color(ink).pos(Pos::new(across, down))
}

fn is_held(value: f64) -> bool {
    value.is_finite() && value.abs() <= VALUE_MAX
}

/// From the least to the most, zero among them, and never nothing.
fn span(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (least, most) =
        values.fold((0.0_f64, 0.0_f64), |(least, most), value| (least.min(value), most.max(value)));
    // an axis of a width that is lost among its numbers has no ticks
    if most - least > most.abs().max(least.abs()) * 1e-9 { least..most } else { least..least + 1.0 }
}

fn shortened(text: &str, characters: usize) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    text.chars().take(characters.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(value: f64) -> String {
        format!("{value:.0}")
    }

    fn interval(low: f64, value: f64, high: f64) -> Interval {
        let (label, shown) = ("a <b>".to_owned(), whole(value));
        Interval { label, shown, low, value, high, faint: false }
    }

    fn count(chart: &Chart, what: &str) -> usize {
        chart.body().matches(what).count()
    }

    /// What stands between an attribute's quotes, in each element of a kind.
    fn attributes(chart: &Chart, element: &str, name: &str) -> Vec<f64> {
        let begins = format!("<{element} ");
        let named = format!(" {name}=\"");
        let lines = chart.body().lines().filter(|line| line.starts_with(&begins));
        let values = lines.filter_map(|line| line.split_once(&named)?.1.split('"').next());
        values.map(|value| value.parse().unwrap()).collect()
    }

    #[test]
    fn a_picture_brings_nothing_that_the_policy_forbids_and_its_words() {
        let chart = intervals(&[interval(1.0, 2.0, 3.0)], &whole).unwrap();
        let element = chart.element("A & B", "1 \"to\" 3");
        for forbidden in ["style=", "<style", "<script", "href", "http", "class=\"ink"] {
            assert!(!element.contains(forbidden), "{forbidden}");
        }
        assert!(
            element.starts_with("<svg class=\"chart drawn\" role=\"img\" aria-label=\"A &amp; B\"")
        );
        assert!(element.contains("<title>A &amp; B</title><desc>1 &quot;to&quot; 3</desc>"));
        assert!(element.contains("a &lt;b&gt;") && element.ends_with("</svg>"));
        assert_eq!(element.matches("<svg").count(), element.matches("</svg>").count());
    }

    #[test]
    fn numbers_have_no_idle_zeros() {
        let numbers = [0.0, -0.0, 0.30000000000000004, 20.0, -1.5].map(plain);
        assert_eq!(numbers, ["0", "0", "0.3", "20", "-1.5"]);
    }

    #[test]
    fn every_colour_is_an_ink() {
        let charts = [
            intervals(&[Interval { faint: true, ..interval(-1.0, 2.0, 3.0) }], &whole),
            intervals(&[interval(-1.0, 2.0, 3.0)], &whole),
            trend(&points(5), &whole),
            flow(&[debt("A", "B", 5.0), Flow { owed_here: true, ..debt("B", "C", 1.0) }]),
            bars(&[Bar { label: "x".to_owned(), shown: "7".to_owned(), value: 7.0 }], &whole),
        ];
        for chart in charts {
            let chart = chart.unwrap();
            for part in chart.body().split("=\"#").skip(1) {
                let colour = format!("#{}", part.split('"').next().unwrap());
                assert!(INKS.contains(&colour.as_str()), "{colour}");
            }
        }
    }

    #[test]
    fn intervals_share_an_axis_that_holds_zero() {
        let rows = [interval(100.0, 200.0, 300.0), interval(350.0, 400.0, 450.0)];
        let chart = intervals(&rows, &whole).unwrap();
        assert_eq!((count(&chart, "<circle"), chart.height()), (2, 108));
        let dots = attributes(&chart, "circle", "cx");
        // from SIDE at 0 to WIDTH - SIDE at 450
        assert!((dots[0] - 288.0).abs() <= 2.0 && (dots[1] - 544.0).abs() <= 2.0, "{dots:?}");
        assert!(chart.body().contains("\n0\n") && chart.body().contains("\n400\n"));
    }

    #[test]
    fn odd_values_are_drawn_or_left_out() {
        assert_eq!(intervals(&[], &whole), None);
        for odd in [f64::NAN, f64::INFINITY, f64::MAX, -f64::MAX] {
            assert_eq!(intervals(&[interval(odd, odd, odd)], &whole), None, "{odd}");
            assert_eq!(trend(&[point(odd), point(odd)], &whole), None, "{odd}");
            assert_eq!(flow(&[debt("A", "B", odd)]), None, "{odd}");
        }
        for value in [0.0, -0.0, 1e-300, 1e15, -1e15, f64::MIN_POSITIVE] {
            assert!(intervals(&[interval(value, value, value)], &whole).is_some(), "{value}");
            assert!(trend(&[point(value), point(value)], &whole).is_some(), "{value}");
        }
        let many = vec![interval(1.0, 2.0, 3.0); ROWS_MAX + 1];
        assert_eq!(count(&intervals(&many, &whole).unwrap(), "<circle"), ROWS_MAX);
    }

    fn point(value: f64) -> Point {
        Point { label: "2026-11-01".to_owned(), value, interval: None }
    }

    fn points(many: u32) -> Vec<Point> {
        let point = |day: u32| {
            let value = f64::from(day * 10);
            let interval = Some([value - 5.0, value + 5.0]);
            Point { label: format!("day {day}"), value, interval }
        };
        (0..many).map(point).collect()
    }

    #[test]
    fn a_trend_has_its_band_its_line_and_names_of_times() {
        let chart = trend(&points(5), &whole).unwrap();
        assert_eq!((count(&chart, "<polygon"), count(&chart, "<circle")), (1, 5));
        assert!(chart.body().contains("\nday 0\n") && chart.body().contains("\nday 4\n"));
        let across = attributes(&chart, "circle", "cx");
        assert!(across.windows(2).all(|pair| pair[0] < pair[1]), "{across:?}");
        let down = attributes(&chart, "circle", "cy");
        assert!(down.windows(2).all(|pair| pair[0] > pair[1]), "{down:?}");
        // an exact one has no band, one point is no trend, a long one is a line alone
        assert_eq!(count(&trend(&[point(1.0), point(2.0)], &whole).unwrap(), "<polygon"), 0);
        assert_eq!(trend(&points(1), &whole), None);
        assert_eq!(count(&trend(&points(366), &whole).unwrap(), "<circle"), 0);
    }

    fn debt(from: &str, to: &str, amount: f64) -> Flow {
        let (from, to, shown) = (from.to_owned(), to.to_owned(), whole(amount));
        Flow { from, to, amount, shown, owed_here: false }
    }

    #[test]
    fn bands_go_from_who_owes_to_who_is_owed() {
        let flows = [debt("A", "C", 30.0), debt("B", "C", 10.0), debt("A", "D", 0.0)];
        let chart = flow(&flows).unwrap();
        assert_eq!((count(&chart, "<polygon"), count(&chart, "<rect")), (2, 3));
        assert!(!chart.body().contains("\nD\n"), "nothing is owed to it");
        let heights = attributes(&chart, "rect", "height");
        assert_eq!(heights, [135.0, 45.0, 180.0]);
        assert_eq!(flow(&[]), None);
    }
}
