//! A panel as an SVG picture.
//!
//! Axes and their ticks are ours: powers on a logarithmic axis, round numbers from zero on an even one, names side by side.

use core::fmt::Write as _;
use core::ops::Range;
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::record::{Axis, Curve, Drawn, Origin, Panel, Scale};

/// Pixels, in width and height; a picture scales.
pub const SIZE: (u32, u32) = (720, 440);

/// Okabe and Ito's colours, told apart by everybody.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(90, 90, 90),
];
/// Of the title, and of a row of what the curves are.
const HEAD: u32 = 44;
const ROW: u32 = 20;
const FOOT: u32 = 18;
const IN_A_ROW: usize = 3;
/// How many ticks an even axis has at most.
const TICKS_MAX: f64 = 8.0;

/// What cannot be drawn.
#[derive(Debug)]
pub struct PlotError(String);

impl core::fmt::Display for PlotError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "a plot cannot be drawn: {}", self.0)
    }
}

impl core::error::Error for PlotError {}

/// Draws `panel`, with `foot` in small letters below: where it was measured, for a picture that stands alone.
///
/// # Errors
/// The drawing library refuses, which nothing measured makes it do.
pub fn svg(panel: &Panel, foot: &str) -> Result<String, PlotError> {
    let mut text = String::new();
    let drawn = draw(panel, foot, SVGBackend::with_string(&mut text, SIZE).into_drawing_area());
    drawn.map_err(|error| PlotError(error.to_string()))?;
    Ok(text)
}

type Failure = DrawingAreaErrorKind<std::io::Error>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Ruler, Ruler>>;

fn draw(panel: &Panel, foot: &str, whole: DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), Failure> {
    whole.fill(&WHITE)?;
    let (area, below) = whole.split_vertically(SIZE.1 - if foot.is_empty() { 0 } else { FOOT });
    if !foot.is_empty() {
        let style = ("sans-serif", 11).with_color(COLOURS[6]).into_text_style(&below);
        below.draw(&Text::new(foot, (12, 0), style))?;
    }
    let points = || panel.curves.iter().flat_map(|curve| &curve.points);
    let x = Ruler::new(&panel.x, points().map(|point| point.x));
    let y = Ruler::new(&panel.y, points().flat_map(|point| [point.least, point.y, point.most]));
    let (head, body) = area.split_vertically(HEAD + ROW * rows(panel));
    draw_head(panel, &head, x.is_even())?;
    let mut chart = ChartBuilder::on(&body)
        .margin(12)
        .margin_right(28)
        .x_label_area_size(46)
        .y_label_area_size(64)
        .build_cartesian_2d(x.clone(), y.clone())?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_labels(x.ticks.len())
        .y_labels(y.ticks.len())
        .x_desc(&panel.x.label)
        .y_desc(&panel.y.label)
        // Many names are long beside each other.
        .label_style(("sans-serif", if !x.is_even() && x.ticks.len() > 6 { 11 } else { 13 }))
        .axis_desc_style(("sans-serif", 14))
        .draw()?;
    for (index, curve) in panel.curves.iter().enumerate() {
        if x.is_even() {
            draw_line(&mut chart, curve, index)?;
        } else {
            draw_bars(&mut chart, curve, (index, panel.curves.len()), y.foot())?;
        }
    }
    whole.present()
}

/// Of what the curves are.
fn rows(panel: &Panel) -> u32 {
    u32::try_from(panel.curves.len().div_ceil(IN_A_ROW)).unwrap_or(1)
}

/// The title, and what the curves are: above the plot, where they cover nothing.
fn draw_head(panel: &Panel, area: &DrawingArea<SVGBackend<'_>, Shift>, is_even: bool) -> Result<(), Failure> {
    #[expect(clippy::cast_possible_wrap, reason = "pixels")]
    let (width, head, row) = (SIZE.0 as i32, HEAD as i32, ROW as i32);
    let middle = Pos::new(HPos::Center, VPos::Top);
    area.draw(&Text::new(
        panel.title.as_str(),
        (width / 2, 12),
        ("sans-serif", 17).into_text_style(area).pos(middle),
    ))?;
    let style = ("sans-serif", 14).into_text_style(area);
    for (index, curve) in panel.curves.iter().enumerate() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "a handful of curves"
        )]
        let (left, top) = (
            64 + (index % IN_A_ROW) as i32 * (width - 80) / IN_A_ROW as i32,
            head + (index / IN_A_ROW) as i32 * row,
        );
        let name = match curve.origin {
            Origin::Measured => curve.name.clone(),
            Origin::Model => format!("{} (model)", curve.name),
            Origin::Dissertation => format!("{} (dissertation)", curve.name),
        };
        if matches!(curve.drawn, Drawn::Steps | Drawn::Spans) {
            let line = if curve.drawn == Drawn::Steps {
                [(left - 7, top + 7), (left + 7, top + 7)]
            } else {
                [(left, top), (left, top + 14)]
            };
            area.draw(&PathElement::new(line, colour(curve, index).stroke_width(2)))?;
        } else if is_even {
            let mark = EmptyElement::at((left, top + 7))
                + Polygon::new(shape(index), filling(curve, index))
                + PathElement::new(shape(index), colour(curve, index).stroke_width(2));
            area.draw(&mark)?;
        } else {
            area.draw(&Rectangle::new([(left - 6, top + 1), (left + 6, top + 13)], bar(curve, index)))?;
            area.draw(&Rectangle::new(
                [(left - 6, top + 1), (left + 6, top + 13)],
                colour(curve, index).stroke_width(1),
            ))?;
        }
        area.draw(&Text::new(name, (left + 14, top), style.clone()))?;
    }
    Ok(())
}

fn draw_line(chart: &mut Chart<'_, '_>, curve: &Curve, index: usize) -> Result<(), Failure> {
    let style = colour(curve, index).stroke_width(2);
    let line: Vec<(f64, f64)> = curve.points.iter().map(|point| (point.x, point.y)).collect();
    match (curve.drawn, curve.origin) {
        (Drawn::Line, Origin::Measured) => {
            chart.draw_series(LineSeries::new(line.iter().copied(), style))?;
        }
        (Drawn::Line, Origin::Model | Origin::Dissertation) => {
            // What was not measured here is dashed.
            chart.draw_series(DashedLineSeries::new(line.iter().copied(), 6, 4, style))?;
        }
        (Drawn::Steps, _) => {
            let corners = line.windows(2).flat_map(|pair| [pair[0], (pair[1].0, pair[0].1)]);
            chart.draw_series([PathElement::new(
                corners.chain(line.last().copied()).collect::<Vec<_>>(),
                style,
            )])?;
        }
        (Drawn::Spans, _) => {
            let spans = curve.points.iter().map(|point| vec![(point.x, point.least), (point.x, point.most)]);
            chart.draw_series(spans.map(|span| PathElement::new(span, style)))?;
        }
        (Drawn::Marks, _) => {}
    }
    if matches!(curve.drawn, Drawn::Line | Drawn::Marks) {
        draw_spread(chart, curve, 0.0, index)?;
        chart.draw_series(line.into_iter().map(|at| {
            EmptyElement::at(at)
                + Polygon::new(shape(index), filling(curve, index))
                + PathElement::new(shape(index), style)
        }))?;
    }
    Ok(())
}

/// Side by side over each name.
fn draw_bars(
    chart: &mut Chart<'_, '_>,
    curve: &Curve,
    (index, of): (usize, usize),
    foot: f64,
) -> Result<(), Failure> {
    #[expect(clippy::cast_precision_loss, reason = "a handful of curves")]
    let (width, aside) = (0.7 / of as f64, (index as f64 - (of as f64 - 1.0) / 2.0) * 0.7 / of as f64);
    let corners = curve.points.iter().map(|point| {
        let at = point.x + aside;
        [(at - width * 0.45, foot), (at + width * 0.45, point.y)]
    });
    chart.draw_series(corners.clone().map(|corners| Rectangle::new(corners, bar(curve, index))))?;
    chart
        .draw_series(corners.map(|corners| Rectangle::new(corners, colour(curve, index).stroke_width(1))))?;
    draw_spread(chart, curve, aside, index)
}

fn draw_spread(chart: &mut Chart<'_, '_>, curve: &Curve, aside: f64, index: usize) -> Result<(), Failure> {
    let spread = curve.points.iter().filter(|point| point.least < point.most);
    chart.draw_series(spread.map(|point| {
        let at = point.x + aside;
        PathElement::new(vec![(at, point.least), (at, point.most)], colour(curve, index).stroke_width(1))
    }))?;
    Ok(())
}

fn colour(curve: &Curve, index: usize) -> RGBColor {
    COLOURS[curve.colour.unwrap_or(index) % COLOURS.len()]
}

/// Full what was measured, pale what was not.
fn bar(curve: &Curve, index: usize) -> ShapeStyle {
    let colour = colour(curve, index);
    if curve.origin == Origin::Measured { colour.filled() } else { colour.mix(0.3).filled() }
}

/// Shapes as well as colours: a curve is told from its neighbours in black and white. Around a point, closed.
fn shape(index: usize) -> Vec<(i32, i32)> {
    match index % 4 {
        0 => vec![(-2, -4), (2, -4), (4, -2), (4, 2), (2, 4), (-2, 4), (-4, 2), (-4, -2), (-2, -4)],
        1 => vec![(0, -5), (5, 4), (-5, 4), (0, -5)],
        2 => vec![(0, -6), (6, 0), (0, 6), (-6, 0), (0, -6)],
        _ => vec![(-4, -4), (4, -4), (4, 4), (-4, 4), (-4, -4)],
    }
}

/// What a shape is filled with: its colour, where it was measured.
fn filling(curve: &Curve, index: usize) -> ShapeStyle {
    if curve.origin == Origin::Measured { colour(curve, index).filled() } else { WHITE.filled() }
}

/// An axis: where values lie, and what is written there.
#[derive(Clone)]
struct Ruler {
    scale: Scale,
    /// From one end to the other, as placed.
    range: Range<f64>,
    /// Where something is written, as placed.
    ticks: Vec<f64>,
}

impl Ranged for Ruler {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    #[expect(clippy::cast_possible_truncation, reason = "a pixel")]
    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let Range { start, end } = self.range;
        let share = ((place(&self.scale, *value) - start) / (end - start)).clamp(-0.1, 1.1);
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.iter().map(|tick| value_at(&self.scale, *tick)).collect()
    }

    fn range(&self) -> Range<f64> {
        value_at(&self.scale, self.range.start)..value_at(&self.scale, self.range.end)
    }
}

impl ValueFormatter<f64> for Ruler {
    fn format_ext(&self, value: &f64) -> String {
        match &self.scale {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a place in the list"
            )]
            Scale::Names(names) => names.get(value.round().max(0.0) as usize).cloned().unwrap_or_default(),
            Scale::Linear | Scale::Log2 | Scale::Log10 => number(*value),
        }
    }
}

impl Ruler {
    fn new(axis: &Axis, values: impl Iterator<Item = f64>) -> Self {
        let scale = axis.scale.clone();
        let placed = values.filter(|value| value.is_finite()).map(|value| place(&scale, value));
        let (least, most) = placed.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| {
            (least.min(value), most.max(value))
        });
        let (least, most) = if least <= most { (least, most) } else { (0.0, 1.0) };
        let (range, ticks) = match &scale {
            Scale::Linear => {
                let step = round_step((most.max(0.0) - least.min(0.0)).max(f64::MIN_POSITIVE) / TICKS_MAX);
                let (from, to) = ((least.min(0.0) / step).floor(), (most / step).ceil().max(1.0));
                (from * step..to * step, every(from, to, 1.0).map(|tick| tick * step).collect())
            }
            Scale::Log2 | Scale::Log10 => {
                let (from, to) = (least.floor(), most.ceil().max(least.floor() + 1.0));
                let step = ((to - from) / 14.0).ceil();
                (from - 0.15..to + 0.15, every(from, to, step).collect())
            }
            Scale::Names(names) => {
                #[expect(clippy::cast_precision_loss, reason = "a handful of names")]
                let last = names.len() as f64 - 1.0;
                (-0.5..last + 0.5, every(0.0, last, 1.0).collect())
            }
        };
        Self { scale, range, ticks }
    }

    /// Where bars stand.
    fn foot(&self) -> f64 {
        match self.scale {
            Scale::Linear | Scale::Names(_) => 0.0,
            Scale::Log2 | Scale::Log10 => value_at(&self.scale, self.range.start),
        }
    }

    /// It measures, and does not name.
    fn is_even(&self) -> bool {
        !matches!(self.scale, Scale::Names(_))
    }
}

/// Where a value lies. What has no logarithm lies at the foot.
fn place(scale: &Scale, value: f64) -> f64 {
    match scale {
        Scale::Linear | Scale::Names(_) => value,
        Scale::Log2 => value.max(f64::MIN_POSITIVE).log2(),
        Scale::Log10 => value.max(f64::MIN_POSITIVE).log10(),
    }
}

/// What lies there.
fn value_at(scale: &Scale, at: f64) -> f64 {
    match scale {
        Scale::Linear | Scale::Names(_) => at,
        Scale::Log2 => at.exp2(),
        Scale::Log10 => 10_f64.powf(at),
    }
}

/// The numbers from `from` to `to`.
fn every(from: f64, to: f64, step: f64) -> impl Iterator<Item = f64> {
    core::iter::successors(Some(from), move |tick| Some(tick + step))
        .take_while(move |tick| *tick <= to + step * 1e-6)
}

/// The next of 1, 2, 5, 10 … that is not below `least`.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|step| *step >= least)
        .unwrap_or(power * 10.0)
}

/// A number for people: `250k`, `0.25`.
#[must_use]
pub fn number(value: f64) -> String {
    let mut text = String::new();
    let (scaled, unit) = match value.abs() {
        large if large >= 1e9 => (value / 1e9, "G"),
        large if large >= 1e6 => (value / 1e6, "M"),
        large if large >= 1e5 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = match scaled.abs() {
        large if large >= 100.0 => 0,
        middle if middle >= 1.0 => 2,
        0.0 => 0,
        _ => 3,
    };
    let _ = write!(text, "{scaled:.digits$}");
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    text.push_str(unit);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::record::Point;

    fn panel(x: Axis, points: Vec<Point>) -> Panel {
        let curve = Curve {
            name: "ours & <theirs>".into(),
            origin: Origin::Measured,
            drawn: Drawn::Line,
            colour: None,
            points,
        };
        Panel { title: "a title".into(), x, y: Axis::linear("Gb/s"), curves: vec![curve], ..Panel::default() }
    }

    #[test]
    fn a_picture_names_its_axes_and_curves_and_is_escaped() {
        let picture = svg(
            &panel(Axis::log2("connections"), vec![Point::exact(2.0, 1.0), Point::exact(16_384.0, 40.0)]),
            "on a machine",
        );
        let picture = picture.unwrap();
        for part in [
            "on a machine",
            "a title",
            "connections",
            "Gb/s",
            "ours &amp; &lt;theirs&gt;",
            "\n16384\n",
            "\n40\n",
        ] {
            assert!(picture.contains(part), "{part} is missing");
        }
    }

    #[test]
    fn names_stand_under_their_places() {
        let points = vec![Point::exact(0.0, 1.0), Point::exact(1.0, 2.0)];
        let picture = svg(&panel(Axis::names("stack", ["nginx", "Atlas"]), points), "").unwrap();
        assert!(picture.contains("nginx") && picture.contains("Atlas"));
    }

    #[test]
    fn nothing_measured_is_an_empty_picture() {
        assert!(svg(&panel(Axis::log10("size"), Vec::new()), "").unwrap().contains("</svg>"));
        assert!(
            svg(&panel(Axis::linear("x"), vec![Point::exact(0.0, f64::NAN)]), "").unwrap().contains("</svg>")
        );
    }

    #[test]
    fn ticks_are_round_and_reach_as_far_as_the_values() {
        let ruler = Ruler::new(&Axis::linear("y"), [0.3, 7.3].into_iter());
        assert_eq!((ruler.range.start, ruler.range.end, ruler.ticks.len()), (0.0, 8.0, 9));
        let ruler = Ruler::new(&Axis::log2("x"), [1.0, 1_000.0].into_iter());
        assert_eq!(
            ruler
                .key_points(plotters::coord::ranged1d::BoldPoints(9))
                .pop()
                .map(|tick| ruler.format_ext(&tick))
                .unwrap(),
            "1024"
        );
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.25, 1.5, 100.0, 1_024.0, 16_000.0, 2_500_000.0, 4e9].map(number);
        assert_eq!(shown, ["0", "0.25", "1.5", "100", "1024", "16000", "2.5M", "4G"]);
    }
}
